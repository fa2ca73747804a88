# SPDX-License-Identifier: Apache-2.0
"""top, on a pseudo-terminal: what it shows, and that it leaves the terminal as it found it."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import host

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    def __init__(self, argv, rows=24, columns=80):
        self.text = ""
        # The parent keeps the terminal's other end open, to read its settings after top has gone.
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.popen = subprocess.Popen(argv, stdin=self.slave, stdout=self.slave, stderr=self.slave, env={**os.environ, "TERM": "xterm"},
                                      preexec_fn=self._take)

    def _take(self):
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, pattern):
        """Everything since the last call, up to the pattern."""
        until = time.monotonic() + host.PATIENCE
        while not re.search(pattern, self.text, re.S):
            if not select.select([self.master], [], [], max(0, until - time.monotonic()))[0]:
                raise AssertionError(f"{pattern!r} never came, but {self.text!r}")
            self.text += os.read(self.master, 65536).decode()
        end = re.search(pattern, self.text, re.S).end()
        seen, self.text = self.text[:end], self.text[end:]
        return seen

    def key(self, text):
        os.write(self.master, text.encode())

    def ended(self, case):
        case.assertEqual(self.popen.wait(host.PATIENCE), 0)
        self.read_until(re.escape(LEAVE))
        case.assertEqual(termios.tcgetattr(self.slave), self.before)
        os.close(self.master)
        os.close(self.slave)


def picture(text):
    """The lines of the last whole picture."""
    lines = text.split("\x1b[H")[-1].split("\x1b[J")[0].split("\n")
    return [line.replace("\x1b[K", "").rstrip("\r") for line in lines]


class Top(host.HostTest):
    def top(self, interval="200ms"):
        return Terminal([host.MRLEASECTL, "--address", self.address, "top", "--interval", interval])

    def test_shows_leases_and_breaks_at_eighty_columns(self):
        self.lease()
        t = self.top()
        seen = t.read_until(r"\x1b\[J")
        self.assertIn(ENTER, seen)
        lines = picture(seen)
        self.assertTrue(all(len(line) <= 80 for line in lines) and len(lines) <= 24, lines)
        self.assertIn("1 leases (bounce 1)", seen)
        self.assertIn("active", seen)
        freeze = self.ctl_json("freeze", self.path, "--detach")["freeze"]
        t.read_until(r"1 freezes hold.*holding.*frozen.*\x1b\[J")
        self.ctl("thaw", freeze)
        t.read_until(r"0 freezes hold")
        t.key("q")
        t.ended(self)

    def test_follows_the_windows_size(self):
        self.lease()
        t = self.top("1h")  # only the resizing draws
        t.read_until(r"\x1b\[J")
        t.resize(8, 40)
        lines = picture(t.read_until(r"\x1b\[J"))
        self.assertTrue(len(lines) <= 8 and all(len(line) <= 40 for line in lines), lines)
        t.resize(30, 120)
        self.assertTrue(any(len(line) > 40 for line in picture(t.read_until(r"\x1b\[J"))))
        t.key("q")
        t.ended(self)

    def test_every_way_out_restores_the_terminal(self):
        for way in (lambda t: t.key("q"), lambda t: t.key("\x03"), lambda t: t.popen.send_signal(signal.SIGTERM),
                    lambda t: t.popen.send_signal(signal.SIGHUP)):
            t = self.top()
            t.read_until(r"\x1b\[J")
            way(t)
            t.ended(self)

    def test_a_daemon_that_goes_and_comes_back(self):
        t = self.top()
        t.read_until(r"\x1b\[J")
        self.daemon.stop(signal.SIGKILL)
        t.read_until(r"OLD.*cannot connect")
        self.start_daemon()
        t.read_until(r"sessions, bounce(?:(?!OLD).)*breaks pending(?:(?!cannot).)*\x1b\[J")
        t.key("q")
        t.ended(self)

    def test_for_scripts(self):
        _, lease = self.lease()
        once = self.ctl("top", "--once")
        self.assertIn("1 leases (bounce 1)", once)
        self.assertNotIn("\x1b", once)
        self.assertLessEqual(max(map(len, once.splitlines())), 80)
        batch = self.ctl("top", "--batch", "--count", "3", "--interval", "100ms")
        self.assertEqual(batch.count("1 leases (bounce 1)"), 3)
        self.assertIn("--once", self.ctl("top", expect=2))  # no terminal
        self.assertIn("--interval", self.ctl("top", "--interval", "1ms", expect=2))
        self.assertIn(f'"id":"{lease}"', self.ctl("--json", "top", "--once"))


if __name__ == "__main__":
    host.main()

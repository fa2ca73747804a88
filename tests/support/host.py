# SPDX-License-Identifier: Apache-2.0
"""Processes for tests in Python: the real daemon, clients with leases, foreign tasks (all but the daemon as nobody)."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

MRLEASED = os.environ["MRLEASED"]
MRLEASECTL = os.environ["MRLEASECTL"]
LEASE_HOLDER = os.environ["LEASE_HOLDER"]
NOBODY = 65534
PATIENCE = 20


class Lines:
    """What a process says, line by line, read as it comes."""

    def __init__(self, stream):
        self.lines, self.changed, self.ended = [], threading.Condition(), False
        self.stream, self.gate, self.at_gate = stream, threading.Lock(), threading.Event()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def jam(self):
        """From now on nobody reads, and the pipe is full: who writes, blocks."""
        self.gate.acquire()
        pipe = os.open(f"/proc/self/fd/{self.stream.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
        os.write(pipe, b"jam\n")
        assert self.at_gate.wait(PATIENCE)
        for size in (4096, 1):
            try:
                while True:
                    os.write(pipe, b"." * size)
            except BlockingIOError:
                pass
        os.close(pipe)

    def _read(self, stream):
        for line in stream:
            if not self.gate.acquire(blocking=False):
                self.at_gate.set()
                self.gate.acquire()
            self.gate.release()
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, text, after=0):
        """The first line from `after` on that contains the text."""
        def find():
            return next((line for line in self.lines[after:] if text in line), None)
        with self.changed:
            self.changed.wait_for(lambda: find() is not None or self.ended, PATIENCE)
            found = find()
            assert found is not None, f"{text!r} was not said, but: {self.lines}"
            return found


class Process:
    def __init__(self, argv, **options):
        self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.out, self.err = Lines(self.popen.stdout), Lines(self.popen.stderr)

    def say(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def wait(self, timeout=PATIENCE):
        return self.popen.wait(timeout)

    def stop(self, how=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()


class HostTest(unittest.TestCase):
    """A daemon over a directory of its own on the disk (the guards need a real file system)."""
    options = []

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.directory = tempfile.mkdtemp(prefix="mrlease-test-", dir=os.environ.get("MRLEASE_TEST_DIR", "/var/tmp"))
        self.addCleanup(shutil.rmtree, self.directory)
        os.chmod(self.directory, 0o755)
        os.chown(self.directory, NOBODY, NOBODY)
        self.address = self.directory + "/admin.sock"
        self.start_daemon()
        self.path = self.make_file("data")

    def start_daemon(self):
        socket = self.directory + "/mrleased.sock"
        self.daemon = Process([MRLEASED, "--foreground", "--socket", socket, "--root", self.directory, "--log-level", "debug", *self.options])
        self.addCleanup(self.daemon.stop)
        self.daemon.err.wait("serving " + socket)

    def make_file(self, name, size=16 * 4096):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as f:
            f.write(b"a" * size)
        os.chown(path, NOBODY, NOBODY)
        return path

    def lease(self, path=None, backing="bounce"):
        """A client, and its lease's number."""
        client = Process([LEASE_HOLDER, self.directory + "/mrleased.sock", path or self.path, backing])
        self.addCleanup(client.stop)
        return client, int(client.out.wait("lease ").split()[1])

    def foreign(self, code, *arguments):
        """Python code in a process of nobody."""
        process = Process(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/python3", "-c", code, *arguments])
        self.addCleanup(process.stop, signal.SIGKILL)
        return process

    def ctl(self, *words, expect=0, **options):
        done = subprocess.run([MRLEASECTL, "--address", self.address, *words], capture_output=True, text=True, timeout=PATIENCE * 3, **options)
        self.assertEqual(done.returncode, expect, f"{words}: {done.stdout} {done.stderr}")
        return done.stdout if expect == 0 else done.stderr

    def ctl_json(self, *words):
        return json.loads(self.ctl("--json", *words))

    def ctl_process(self, *words):
        process = Process([MRLEASECTL, "--address", self.address, *words])
        self.addCleanup(process.stop, signal.SIGKILL)
        return process

    def wait_blocked(self, process, number, thread=None):
        """Until the process, or its thread of that name, sits in this system call. There is no event for it: its /proc file is looked at."""
        task = process.popen.pid if thread is None else thread_of(process.popen.pid, thread)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with open(f"/proc/{task}/syscall", encoding="ascii") as f:
                if f.read().split()[0] == str(number):
                    return
            self.assertIsNone(process.popen.poll(), "it has ended")
            time.sleep(0.002)
        self.fail("it never blocked")


def thread_of(pid, name):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f:
            if f.read().strip() == name:
                return int(task)
    raise AssertionError(f"{pid} has no thread {name}")


def main():
    unittest.main(verbosity=2)

# SPDX-License-Identifier: Apache-2.0
"""disarm: works while the daemon's loop is stopped (by ptrace: one thread of it, as a bug would)."""
import ctypes
import os
import signal
import subprocess
import time

import host

WRITE = 1      # __NR_write, arch/x86/entry/syscalls/syscall_64.tbl
TRUNCATE = 76  # __NR_truncate, arch/x86/entry/syscalls/syscall_64.tbl
SEIZE, INTERRUPT = 0x4206, 0x4207  # include/uapi/linux/ptrace.h
WALL = 0x40000000                  # include/uapi/linux/wait.h, __WALL


def stop_thread(tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(tid, WALL)


class Disarm(host.HostTest):
    def disarm(self, expect=0):
        done = subprocess.run([host.MRLEASECTL, "disarm", "--disarm-socket", self.directory + "/disarm.sock"],
                              capture_output=True, text=True, timeout=host.PATIENCE, check=False)
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stdout + done.stderr

    def test_a_wedged_daemon_lets_go(self):
        self.lease(backing="direct")
        stop_thread(self.daemon.popen.pid)  # the loop's
        other = self.foreign("import os, sys; os.truncate(sys.argv[1], 0)", self.path)
        self.wait_blocked(other, TRUNCATE)
        self.assertIn("no answer in time", self.ctl("--timeout", "300ms", "stats", expect=4))
        self.assertEqual(os.path.getsize(self.path), 16 * 4096)
        begun = time.monotonic()
        self.assertIn("disarmed", self.disarm())
        self.assertEqual(other.wait(), 0)
        self.assertLess(time.monotonic() - begun, 5)  # the dead-man timer would take 10 s
        self.assertEqual(os.path.getsize(self.path), 0)
        self.daemon.stop(9)

    def test_a_stuck_log_keeps_nobody(self):
        """The log's thread is in the middle of a line that nobody reads (the pipe is full): nobody else is."""
        self.lease(backing="direct")
        self.daemon.err.jam()
        os.kill(self.daemon.popen.pid, signal.SIGHUP)  # reloads, and says so
        self.wait_blocked(self.daemon, WRITE, "mrl-log")
        self.assertEqual(self.foreign("import os, sys; os.truncate(sys.argv[1], 0)", self.path).wait(), 0)
        self.assertIn("direct", self.ctl("leases"))
        self.assertIn("disarmed", self.disarm())
        self.daemon.stop(9)

    def test_a_daemon_that_works_disarms_too_and_says_so(self):
        client, _ = self.lease(backing="direct")
        client.say("hang")
        client.out.wait("hanging")
        self.disarm()
        self.daemon.err.wait("disarmed by mrleasectl")
        self.assertEqual(self.foreign("import os, sys; os.truncate(sys.argv[1], 0)", self.path).wait(), 0)
        self.assertEqual(self.ctl("leases").count("active"), 1)
        self.daemon.stop()
        self.daemon.err.wait("signal Terminated")
        self.assertNotIn("fenced", "\n".join(self.daemon.err.lines))

    def test_anothers_socket_is_left_alone(self):
        second = host.Process([host.MRLEASED, "--socket", self.directory + "/second.sock"])
        self.addCleanup(second.stop)
        self.assertEqual(second.wait(), 1)
        second.err.wait("another mrleased serves " + self.directory + "/disarm.sock")
        self.disarm()

    def test_root_only(self):
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", host.MRLEASECTL, "disarm",
                               "--disarm-socket", self.directory + "/disarm.sock"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("as root", done.stderr)
        self.daemon.stop()
        self.assertFalse(os.path.exists(self.directory + "/disarm.sock"))
        self.assertIn("systemctl status mrleased", self.disarm(expect=3))


if __name__ == "__main__":
    host.main()

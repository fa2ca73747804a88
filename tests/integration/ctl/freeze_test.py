# SPDX-License-Identifier: Apache-2.0
"""freeze: whatever becomes of mrleasectl and of the command, the file is thawed."""
import json
import os
import signal

import host

TRUNCATE = 76  # __NR_truncate, arch/x86/entry/syscalls/syscall_64.tbl


class Freeze(host.HostTest):
    def setUp(self):
        super().setUp()
        self.client, _ = self.lease()

    def frozen(self):
        return [b for f in self.ctl_json("files")["files"] for b in f.get("breaks", []) if b["phase"] == "BREAK_PHASE_HOLDING"]

    def truncate(self):
        return self.foreign("import os, sys; os.truncate(sys.argv[1], 4096)", self.path)

    def expect_thawed(self):
        self.assertEqual(self.truncate().wait(), 0)  # would wait for the hold, a minute
        self.assertEqual(self.frozen(), [])

    def test_while_a_command_runs(self):
        inside = self.ctl("freeze", self.path, "--", host.MRLEASECTL, "--address", self.address, "--json", "files", self.path)
        self.assertEqual([b["phase"] for b in json.loads(inside)["files"][0]["breaks"]], ["BREAK_PHASE_HOLDING"])
        self.assertEqual(self.frozen(), [])

    def test_what_is_written_meanwhile_comes_after(self):
        hold = self.ctl_process("freeze", self.path)
        hold.out.wait("stands still")
        self.client.say("write 8192 LATER")
        self.client.out.wait("written")
        with open(self.path, "rb") as f:
            self.assertEqual(os.pread(f.fileno(), 5, 8192), b"aaaaa")
        hold.popen.send_signal(signal.SIGINT)
        self.assertEqual(hold.wait(), 0)
        self.ctl("sync", self.path)
        with open(self.path, "rb") as f:
            self.assertEqual(os.pread(f.fileno(), 5, 8192), b"LATER")

    def test_the_commands_status_is_passed_on(self):
        self.ctl("freeze", self.path, "--", "sh", "-c", "exit 42", expect=42)
        self.ctl("freeze", self.path, "--", "sh", "-c", "kill -KILL $$", expect=128 + signal.SIGKILL)
        self.assertIn("cannot run", self.ctl("freeze", self.path, "--", "/no/such/command", expect=127))
        self.ctl("freeze", self.path, "--", "/etc/passwd", expect=126)
        self.ctl("freeze", self.path, "--", expect=2)
        self.ctl("freeze", self.directory + "/none", "--", "true", expect=1)
        self.expect_thawed()

    def test_the_command_has_its_own_world(self):
        # Our connection in its hands would keep the freeze alive after us.
        self.assertNotIn("socket:", self.ctl("freeze", self.path, "--", "ls", "-l", "/proc/self/fd"))
        ignored = self.ctl("freeze", self.path, "--", "grep", "-E", "SigBlk|SigIgn", "/proc/self/status")
        self.assertEqual([int(line.split()[1], 16) for line in ignored.splitlines()], [0, 0])
        self.assertNotIn("GRPC_VERBOSITY", self.ctl("freeze", self.path, "--", "env"))

    def test_a_foreign_truncate_waits_for_the_commands_end(self):
        hold = self.ctl_process("freeze", self.path, "--", "cat")
        hold.err.wait("stands still")
        other = self.truncate()
        self.wait_blocked(other, TRUNCATE)
        self.assertEqual(os.path.getsize(self.path), 16 * 4096)
        hold.popen.stdin.close()  # and cat ends
        self.assertEqual(hold.wait(), 0)
        self.assertEqual(other.wait(), 0)
        self.assertEqual(os.path.getsize(self.path), 4096)

    def test_signals_thaw(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            hold = self.ctl_process("freeze", self.path, "--", "cat")
            hold.err.wait("stands still")
            hold.popen.send_signal(number)
            self.assertEqual(hold.wait(), 128 + number)
            self.assertEqual(self.frozen(), [])
        hold = self.ctl_process("freeze", self.path)
        hold.out.wait("stands still")
        hold.popen.send_signal(signal.SIGTERM)
        self.assertEqual(hold.wait(), 0)
        self.expect_thawed()

    def test_a_command_that_ignores_the_signal_does_not_hold_the_file(self):
        hold = self.ctl_process("freeze", self.path, "--", "sh", "-c", 'trap "" TERM; echo ready; exec cat')
        hold.out.wait("ready")
        hold.popen.send_signal(signal.SIGTERM)
        self.assertEqual(hold.wait(), 128 + signal.SIGTERM)
        self.expect_thawed()

    def test_killed_mrleasectl_thaws_and_ends_the_command(self):
        hold = self.ctl_process("freeze", self.path, "--", "sh", "-c", "echo $$; exec cat")
        command = int(hold.out.wait("").strip())
        pidfd = os.pidfd_open(command)
        other = self.truncate()
        self.wait_blocked(other, TRUNCATE)
        hold.popen.kill()
        self.assertEqual(hold.wait(), -signal.SIGKILL)
        self.assertEqual(other.wait(), 0)
        self.expect_thawed()
        try:
            signal.pidfd_send_signal(pidfd, 0)
            with open(f"/proc/{command}/stat", encoding="ascii") as f:
                self.assertEqual(f.read().split()[2], "Z")
        except (ProcessLookupError, FileNotFoundError):
            pass
        os.close(pidfd)

    def test_a_hold_that_passes_is_told(self):
        hold = self.ctl_process("freeze", self.path, "--hold", "200ms", "--", "cat")
        hold.err.wait("the freeze has ended")
        hold.popen.stdin.close()
        self.assertEqual(hold.wait(), 4)  # cat's success is none
        self.ctl("freeze", self.path, "--hold", "200ms", expect=4)
        hold = self.ctl_process("freeze", self.path, "--hold", "200ms", "--", "sh", "-c", "cat; exit 7")
        hold.err.wait("the freeze has ended")
        hold.popen.stdin.close()
        self.assertEqual(hold.wait(), 7)

    def test_detached(self):
        freeze = self.ctl_json("freeze", self.path, "--detach")["freeze"]
        self.assertEqual([b["id"] for b in self.frozen()], [freeze])
        self.assertIn("thawed", self.ctl("thaw", freeze))
        self.expect_thawed()
        self.ctl("freeze", self.path, "--detach", "--", "true", expect=2)

    def test_thawed_by_somebody_else(self):
        hold = self.ctl_process("freeze", self.path, "--", "cat")
        hold.err.wait("stands still")
        self.ctl("thaw", self.frozen()[0]["id"])
        hold.err.wait("the freeze has ended")
        hold.popen.stdin.close()
        self.assertEqual(hold.wait(), 4)

    def test_the_daemons_end_is_told(self):
        hold = self.ctl_process("freeze", self.path, "--", "cat")
        hold.err.wait("stands still")
        self.daemon.stop(signal.SIGKILL)
        hold.err.wait("the freeze has ended")
        hold.popen.stdin.close()
        self.assertEqual(hold.wait(), 4)


if __name__ == "__main__":
    host.main()

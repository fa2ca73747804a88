# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, fail, or go read-only under a lease."""
import ctypes
import errno
import os
import time

from disk import run
from faulty import Faulty
from row import FENCED_BY_MS, PAGE


PROCESS_MADVISE, FSYNC, MADV_PAGEOUT = 440, 74, 21  # asm/unistd_64.h, asm-generic/mman-common.h
LIBC = ctypes.CDLL(None, use_errno=True)


def page_out(pid, file):
    """What the process maps of the file, as the kernel does it when memory is short."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in f if line.rstrip().endswith(" " + file)]
    pidfd = os.pidfd_open(pid)
    for begin, end in ranges:
        vector = (ctypes.c_ulong * 2)(begin, end - begin)
        if LIBC.syscall(PROCESS_MADVISE, pidfd, vector, ctypes.c_ulong(1), MADV_PAGEOUT, 0) < 0:
            raise OSError(ctypes.get_errno(), "process_madvise")
    os.close(pidfd)


def in_fsync(pid):
    """How many threads of the process are in fsync(2)."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/syscall", encoding="ascii") as f:
                count += f.read().split()[0] == str(FSYNC)
        except OSError:  # it has ended
            pass
    return count


class DiskFaults(Faulty):
    def full(self):
        """No block is left when bounce pages are flushed."""
        self.on_disk(32, True)
        self.begin()
        self.disk.fill()
        self.stream()
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.ENOSPC}, "disk full")
        self.freeze_fails({errno.ENOSPC}, "disk full")
        self.kept("disk full")
        self.ask(self.receiver, "resume")
        self.others_go_on("disk full")
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.ENOSPC}, "still full")
        self.disk.make_room()
        self.durable("there is room again")
        self.lives("after it")

    def full_frozen(self):
        """No block is left when a frozen store is thawed."""
        self.args.size *= 16  # so that pages are left which have no block yet
        self.on_disk(64, True)
        self.begin()
        self.ask(self.receiver, "quiet")
        self.ask(self.foreign, "freeze 20000")
        self.disk.fill()
        self.ask(self.receiver, "resume")
        self.counters.advance(400, self.sender, 60)
        self.ask(self.receiver, "quiet")
        # EIO where ext4 gives the page a block and refuses the write fault all the same (store/inside_writer.cc).
        self.thaw_fails("disk full", "No space left on device", "Input/output error")
        self.kept("disk full")
        self.truncate_within(self.args.size // 2, FENCED_BY_MS, "disk full, the lease is gone")

    def full_settled(self):
        """No block is left for the page that a truncate cuts in two, and that was written under a freeze."""
        self.args.freeze_conflict, self.args.preserve = "allow", True
        self.on_disk(32, True)
        self.begin()
        self.ask(self.receiver, "quiet")
        self.ask(self.foreign, f"truncate {self.floor * PAGE}")  # whose blocks go back
        self.told(self.floor * PAGE)
        self.ask(self.foreign, f"truncate {self.args.size}")
        answer = self.ask(self.receiver, f"extend {self.floor * PAGE}")
        self.ask(self.foreign, f"extended {answer['now_ns']}")
        self.ask(self.foreign, "freeze 20000")
        self.disk.fill()
        began = time.monotonic_ns()
        self.ask(self.receiver, "resume")
        self.counters.advance(400, self.sender, 60)
        self.ask(self.receiver, "quiet")
        written = [page for page in range(self.floor + 1, self.args.size // PAGE - 1) if self.counters.written_since(page, began)]
        if not written:
            raise RuntimeError("nothing was written under the freeze")
        page = written[len(written) // 2]
        self.truncate_within(page * PAGE + 100, FENCED_BY_MS, "disk full, a page cut in two")
        self.fenced_for("disk full, a page cut in two", "No space left on device", "Input/output error")
        self.kept("disk full, a page cut in two")

    def full_reattached(self):
        """No block is left when what a truncate has cut off is put back: it stays where it is, and goes back when there is room."""
        self.args.preserve = True
        self.on_disk(32, True)
        self.begin()
        cut = self.args.size // 2 // PAGE * PAGE
        self.ask(self.foreign, f"truncate {cut}")
        self.told(cut)
        self.stream()
        self.disk.fill()
        self.ask(self.foreign, f"truncate {self.args.size}")
        answer = self.receiver.ask(f"reattach {cut}", 60)
        self.expect(answer["code"] in {errno.ENOSPC, errno.EIO}, f"disk full: mrl_reattach says {errno.errorcode.get(answer['code'], 0)}: {answer['error']}")
        self.ask(self.receiver, "quiet")
        self.kept("disk full")
        self.ask(self.receiver, "resume")
        self.disk.make_room()
        answer = self.ask(self.receiver, f"reattach {cut}")
        self.ask(self.foreign, f"reattached {cut} {answer['now_ns']}")
        self.stream()
        self.ask(self.receiver, "quiet")
        self.durable("there is room again")
        self.bounded("put back")
        self.lives("after it")

    def thaw_fails(self, what, *known):
        """The freeze ends in time all the same; the lease is fenced, and the application told why."""
        thawed = self.ask(self.foreign, "thaw")
        took = thawed["wait_ns"] / 1e6
        self.expect(took <= FENCED_BY_MS, f"{what}: the thaw returned after {took:.0f} of {FENCED_BY_MS} ms")
        self.fenced_for(what, *known)

    def fenced_for(self, what, *known):
        self.event("fenced")
        why = self.receiver.ask("info", 20)["fenced_why"]
        self.expect(why.startswith("writing to the file: ") and any(k in why for k in known),
                    f"{what}: the application is told FENCED: {why}")

    def failing_frozen(self):
        """The disk fails when a frozen store is thawed: a page that is not in the page cache is read before it is written to."""
        self.on_disk(32, False)
        self.begin()
        self.ask(self.receiver, "quiet")
        self.ask(self.foreign, "freeze 20000")
        self.ask(self.receiver, "resume")
        self.counters.advance(400, self.sender, 60)
        self.ask(self.receiver, "quiet")
        with open(self.file, "rb") as f:
            os.fsync(f.fileno())
            page_out(self.receiver.pid, self.file)
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self.disk.break_blocks(self.file)
            try:
                os.pread(f.fileno(), 1, 0)
                self.expect(False, "the file's first page is not in the page cache")
            except OSError as error:
                self.expect(error.errno == errno.EIO, f"the disk fails: a read says {error}")
        self.thaw_fails("the disk fails", "Input/output error")
        self.disk.mend()  # what was not written under the freeze is on the disk only
        self.kept("the disk failed")
        self.truncate_within(self.args.size // 2, FENCED_BY_MS, "the disk failed, the lease is gone")

    def failing(self):
        """The disk does not take what is written. The peer is quiet while others truncate: what would be written to blocks that ext4 gives
        the file on a disk that fails would stay zeros on the disk, whoever writes it again after that."""
        self.on_disk(32, False)
        self.begin()
        self.disk.break_blocks(self.file)
        self.stream()
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.EIO}, "the disk fails")
        self.kept("the disk fails")
        cut = self.cut_size()
        for size in (cut, self.args.size):
            self.ask(self.foreign, f"truncate {size}")
        self.count(self.ask(self.foreign, f"zeros {cut}"))
        self.bounded("the disk fails")
        self.sync_fails({errno.EIO}, "it still fails")
        self.disk.mend()
        answer = self.ask(self.receiver, "extend")
        self.ask(self.foreign, f"extended {answer['now_ns']}")
        self.ask(self.receiver, "resume")
        self.stream()
        self.ask(self.receiver, "quiet")
        self.durable("the disk works again")
        self.expect(not self.sum["lost"], f"the disk fails: what was cut off is zeros {self.first}")
        self.lives("after it")

    def failing_unasked(self):
        """The disk fails a sync that policy wants, and works again before anybody asks for one: who does hears of it, once."""
        self.args.daemon_options += " --writeback-interval-ms 200"
        self.on_disk(32, False)
        self.begin()
        self.disk.break_blocks(self.file)
        self.stream()
        self.ask(self.receiver, "quiet")
        end = time.monotonic() + 20
        while not (failed := "writing to the file: Input/output error" in self.daemon.says()) and time.monotonic() < end:
            time.sleep(0.05)
        self.expect(failed, "the disk fails: a sync that nobody asked for has failed")
        self.disk.mend()
        self.sync_fails({errno.EIO}, "the disk works again")
        self.durable("and the next one")
        self.lives("after it")

    def hanging(self):
        """The disk hangs while policy has the file synced again and again: no more than one of those syncs is in the kernel, whoever reads the
        file waits for none, and when the disk goes on so does all else."""
        self.args.daemon_options += " --writeback-interval-ms 200 --work-deadline-ms 1000"
        self.on_disk(32, False)
        self.begin()
        self.disk.hang()
        try:
            end, most = time.monotonic() + 5, 0
            while time.monotonic() < end:
                self.stream()
                most = max(most, in_fsync(self.daemon.pid))
                self.ask(self.foreign, "read")
            self.expect(most == 1, f"the disk hangs: {most} syncs of the file are in the kernel")
            self.bounded("the disk hangs")
        finally:
            self.disk.go_on()
        self.ask(self.receiver, "quiet")
        self.durable("the disk goes on")
        self.lives("after it")

    def read_only(self):
        """The file system goes read-only: asked for, which the kernel refuses as long as the file is leased, and by an error."""
        self.on_disk(32, False)
        self.begin()
        try:
            run("mount", "-o", "remount,ro", self.disk.mount)
            self.expect(False, "remount,ro of a leased file's file system is refused")
        except RuntimeError as refused:
            print(f"  {refused}", flush=True)
        self.disk.error_found()
        self.stream()
        self.ask(self.receiver, "quiet")
        self.sync_fails({errno.EROFS, errno.EIO}, "read-only")
        self.kept("read-only")
        self.others_are_refused({errno.EROFS, errno.EIO}, "read-only")

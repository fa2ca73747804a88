# SPDX-License-Identifier: Apache-2.0
"""Watches pages leave the page cache while memory regions over them live, by tracepoints of the kernel in an instance of their own: nothing
of mrlease says what is seen. A memory region lives from the entry of the driver's reg_user_mr until ib_dereg_mr_user has returned,
so a page that leaves within is one that the device could still have written."""
import os
import re

TRACING = "/sys/kernel/tracing"
NAME = "mrlease_cachewatch"
DELETE = "filemap/mm_filemap_delete_from_page_cache"
# The registration's own probe tells the range; the return tells the memory region that came of it.
PROBES = {"mrl_reg": "p:mrl_reg rxe_reg_user_mr start=$arg2:x64 length=$arg3:u64", "mrl_regd": "r:mrl_regd rxe_reg_user_mr mr=$retval:x64",
          "mrl_dereg": "p:mrl_dereg ib_dereg_mr_user mr=$arg1:x64", "mrl_deregd": "r:mrl_deregd ib_dereg_mr_user code=$retval:s32"}
LINE = re.compile(r"^.*-(\d+) +\[\d+\] \S+ +([\d.]+): (\w+): (.*)$")
ERRORS = range((1 << 64) - 4095, 1 << 64)  # MAX_ERRNO, linux/err.h
PAGE = 4096


def put(path, text, append=False):
    fd = os.open(path, os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))
    try:
        os.write(fd, text.encode() + b"\n")
    finally:
        os.close(fd)


class CacheWatch:
    """Of all files; the one to be judged is named with a memory region's start."""
    def __init__(self):
        if not os.path.exists(TRACING + "/instances"):
            os.system(f"mount -t tracefs tracefs {TRACING}")
        self.at = f"{TRACING}/instances/{NAME}"
        os.makedirs(self.at, exist_ok=True)
        for probe in PROBES.values():
            put(TRACING + "/kprobe_events", probe, append=True)
        put(self.at + "/trace_clock", "mono")
        put(self.at + "/buffer_size_kb", "32768")
        self.events = [DELETE] + ["kprobes/" + name for name in PROBES]

    def start(self, inode):
        put(self.at + "/trace", "")
        put(f"{self.at}/events/{DELETE}/filter", f"i_ino == {inode}")
        for event in self.events:
            put(f"{self.at}/events/{event}/enable", "1")

    def stop(self):
        """The lines of the trace."""
        for event in self.events:
            put(f"{self.at}/events/{event}/enable", "0")
        lost = 0
        for cpu in os.listdir(self.at + "/per_cpu"):
            with open(f"{self.at}/per_cpu/{cpu}/stats", encoding="ascii") as f:
                lost += int(re.search(r"overrun: (\d+)", f.read())[1])
        with open(self.at + "/trace", encoding="ascii", errors="replace") as f:
            lines = [line for line in f if not line.startswith("#")]
        if lost:
            raise RuntimeError(f"the trace has lost {lost} events: nothing can be said")
        return lines

    def close(self):
        os.rmdir(self.at)
        for name in PROBES:
            put(TRACING + "/kprobe_events", "-:" + name, append=True)


class Seen:
    """What a trace tells: regions registered, pages that left, and those of them that a memory region was over."""
    def __init__(self, lines, bases):
        """bases: the addresses at which the file's first page is mapped, one a client."""
        self.registered, self.left, self.unprotected = 0, 0, []
        alive, coming, going = {}, {}, {}  # mr -> pages; thread -> pages; thread -> mr
        for line in lines:
            match = LINE.match(line.rstrip("\n"))
            if not match:
                raise RuntimeError("a line of the trace is not understood: " + line.rstrip())
            thread, when, event, rest = match.groups()
            words = dict(word.split("=", 1) for word in rest.split() if "=" in word)
            if event == "mrl_reg":
                if int(words["start"], 16) in bases:
                    coming[thread] = -(-int(words["length"]) // PAGE)
            elif event == "mrl_regd":
                pages, mr = coming.pop(thread, 0), int(words["mr"], 16)
                if pages and mr not in ERRORS:
                    alive[mr] = pages
                    self.registered += 1
            elif event == "mrl_dereg":
                going[thread] = int(words["mr"], 16)
            elif event == "mrl_deregd":
                mr = going.pop(thread, 0)
                if int(words["code"]) == 0:
                    alive.pop(mr, None)
            else:
                # From 5.17 on the event is of a folio.
                first = int(words["ofs"]) // PAGE
                self.left += 1 << int(words.get("order", "0"))
                over = [pages for pages in [*alive.values(), *coming.values()] if first < pages]
                if over:
                    self.unprotected.append(f"page {first} at {when} under {len(over)} memory regions")
        self.still = len(alive)

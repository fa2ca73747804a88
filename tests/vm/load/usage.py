# SPDX-License-Identifier: Apache-2.0
"""What a process has of the machine, and whether it has grown."""
import collections
import os
import re
import statistics
import time


def usage(pid):
    """(descriptors, KiB of memory that are its own or a memfd's, what the descriptors are) of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        resident = sum(int(kib) for kib in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+)", f.read()))
    kinds = collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            kind = re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{number}"))
            # Of the tasks last looked at, a bounded number (sys/proc_file.h); in a procfs that is mounted nowhere the path is from its root.
            if not kind.startswith(("/proc/N/task/", "/N/task/")):
                kinds[kind] += 1
        except OSError:  # closed meanwhile
            pass
    return sum(kinds.values()), resident, kinds


def at_rest(pid):
    """usage(), once nobody is closing anything any more: for a fifth of a second it has the same descriptors, or 5 s are over."""
    end, same, now = time.monotonic() + 5, 0, usage(pid)
    while same < 10 and time.monotonic() < end:
        time.sleep(0.02)
        last, now = now, usage(pid)
        same = same + 1 if now[2] == last[2] else 0
    return now


# A spare store comes and goes, and what a worker is just closing.
MORE_DESCRIPTORS = 3
MORE_KIB = 1024
PAGE_KIB = 4


def thirds(values):
    """The medians of the first third and of the last."""
    third = len(values) // 3
    return statistics.median(values[:third]), statistics.median(values[-third:])


def risen(samples):
    """What is wrong with samples of usage() after each of many that differ: what the last third has, beside the first."""
    if len(samples) < 3 * MORE_DESCRIPTORS:  # too few to tell
        return []
    bad = []
    for what, at, more in (("descriptors", 0, MORE_DESCRIPTORS), ("memory", 1, MORE_KIB)):
        first, last = thirds([s[at] for s in samples])
        if last > first + more:
            bad.append(f"its {what} rise: {first:.0f}, then {last:.0f}")
    return bad


def grown(samples):
    """What is wrong with samples of usage() after each of many that do the same: it is seen if each leaves a descriptor, or a page."""
    first, last, times = samples[0], samples[-1], len(samples) - 1
    if times <= 2 * MORE_DESCRIPTORS:
        return [f"{times} times tell nothing of growth"]
    bad = []
    if last[0] > first[0] + MORE_DESCRIPTORS:
        bad.append(f"its descriptors grow: {first[0]}, {last[0]}: {dict(last[2] - first[2])}")
    # Of a heap that settles most steps are none; a few are large, and tell of no leak.
    steps = [after[1] - before[1] for before, after in zip(samples, samples[1:])]
    if statistics.median(steps) >= PAGE_KIB or last[1] > first[1] + MORE_KIB:
        bad.append(f"its memory grows: {[s[1] for s in samples]} KiB")
    return bad

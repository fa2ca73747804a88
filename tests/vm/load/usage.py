# SPDX-License-Identifier: Apache-2.0
"""What a process has of the machine."""
import collections
import os
import re


def usage(pid):
    """(descriptors, KiB of memory that are its own, what the descriptors are) of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        resident = int(re.search(r"RssAnon:\s+(\d+)", f.read())[1])
    kinds = collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            kind = re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{number}"))
            if not kind.startswith("/proc/N/task/"):  # of the tasks last looked at, a bounded number (sys/proc_file.h)
                kinds[kind] += 1
        except OSError:  # closed meanwhile
            pass
    return sum(kinds.values()), resident, kinds

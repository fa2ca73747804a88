# SPDX-License-Identifier: Apache-2.0
"""The memory regions that the kernel has (`rdma resource`), and those whose process is dead."""
import os
import re
import subprocess
import time


def memory_regions():
    """Of user processes, all over: [(pid, length)]. The kernel tells no pid of a process that has been waited for: 0."""
    command = os.environ.get("RECV_NS", "").split() + ["rdma", "resource", "show", "mr"]
    out = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout
    found = []
    for line in out.splitlines():
        length, pid = re.search(r"\bmrlen (\d+)", line), re.search(r"\bpid (\d+)", line)
        if length and (pid or " comm [" not in line):  # [name]: the kernel's own
            found.append((int(pid[1]) if pid else 0, int(length[1])))
    return found


def no_orphans():
    """What is wrong: memory regions of dead processes, 5 s after whoever asks has waited for the last of them."""
    end = time.monotonic() + 5
    while True:
        left = memory_regions()
        orphans = [region for region in left if not region[0] or not os.path.exists(f"/proc/{region[0]}")]
        if not orphans or time.monotonic() > end:
            break
        time.sleep(0.05)
    print(f"memory regions left: {len(left)}, of dead processes: {len(orphans)}", flush=True)
    return [f"memory regions of dead processes: {orphans}"] if orphans else []

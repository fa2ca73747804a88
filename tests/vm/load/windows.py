#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""windows.py FILE SOCKET BACKING DAEMON-LOG COMMAND...: drives vm_windows, which COMMAND runs: a remote peer writes by a memory
window, somebody else truncates, and the owner tries to deregister what the window is bound to. Then, with direct, a hung owner:
rxe refuses to destroy its memory region, so it has to be killed. Exit 0: nothing was let through that should not be."""
import os
import signal
import sys

from several import PAGE, PAGES, Client, by_others, logged, make, written

SUCCESS = "0"  # IBV_WC_SUCCESS


def write(client, page):
    client.tell(f"write {page}")
    status = client.expect("wrote")[1]
    if status != SUCCESS:
        raise SystemExit(f"NOT OK: the write to page {page} by the window ended with status {status}")


def used(path, backing, command):
    make(path)
    client = Client(command)
    client.expect("bound")
    write(client, 1)
    by_others(lambda: os.truncate(path, PAGES * PAGE // 2))
    if backing == "direct":
        client.expect("event 2")
    write(client, 2)
    client.tell("dereg")
    client.expect("refused")
    by_others(lambda: os.truncate(path, PAGES * PAGE // 2 - PAGE))  # it is leased still
    if backing == "direct":
        client.expect("event 2")
    write(client, 3)
    client.tell("sync")
    client.expect("durable")
    if written(path, PAGES // 2 - 1) != [1, 2, 3]:
        raise SystemExit(f"NOT OK: in the file are the pages {written(path, PAGES // 2 - 1)}")
    client.tell("give back")
    client.expect("given")
    client.tell("dereg")
    client.expect("deregistered")
    client.process.stdin.close()
    if client.process.wait():
        raise SystemExit(f"NOT OK: it ended with {client.process.returncode}")
    print(f"{backing}: written by a memory window, before and after truncates; what it is bound to stays leased")


def hung(path, log, command):
    make(path)
    client = Client(command)
    client.expect("bound")
    write(client, 1)
    os.kill(client.process.pid, signal.SIGSTOP)
    by_others(lambda: os.truncate(path, PAGE))
    if client.process.wait(20) != -signal.SIGKILL:
        raise SystemExit("NOT OK: a device could reach the pages while they were truncated: the owner lives")
    if not logged(log, "1 could not be destroyed"):
        raise SystemExit("NOT OK: the log does not say why it was killed")
    print("direct: a hung owner whose memory region has a window is killed before the truncate goes on")


def main():
    path, socket, backing, log, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]
    used(path, backing, command + [path, socket, backing])
    if backing == "direct":
        hung(path, log, command + [path, socket, backing])


if __name__ == "__main__":
    main()

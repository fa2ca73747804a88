#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""several.py [--remove | --remove-only] FILE SOCKET BACKING DAEMON-LOG COMMAND...: drives vm_several, which COMMAND runs, through a truncate
by somebody else, a sync, and, hung, through a fence. --remove: through the removal of device rxe9 instead; --remove-only: of rxe9, which
is the only one that the client has. Exit 0: every memory region of the lease took part."""
import errno
import os
import signal
import subprocess
import sys
import time

PAGE, PAGES = 4096, 64


class Client:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def expect(self, word):
        """Lines up to the one that begins with it; the case's limit is the deadline."""
        for line in self.process.stdout:
            print("  " + line.rstrip())
            if line.startswith(word):
                return line.split()
            if line.startswith("failed"):
                break
        raise SystemExit(f"NOT OK: {word} did not come")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        self.expect("deregistered")
        if self.process.wait():
            raise SystemExit(f"NOT OK: it ended with {self.process.returncode}")


def by_others(function):
    """As another user, in a process of its own."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65500, 65500, 65500)
        os.setresuid(65533, 65533, 65533)
        function()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("NOT OK: the operation of somebody else failed")


def written(path, pages):
    with open(path, "rb") as f:
        data = f.read()
    return [p for p in range(pages) if any(data[p * PAGE:(p + 1) * PAGE])]


def make(path):
    with open(path, "wb") as f:
        f.write(bytes(PAGES * PAGE))
        os.fsync(f.fileno())
    os.chown(path, 65534, 65500)
    os.chmod(path, 0o660)


def removed(path, command, namespace):
    """One of the devices goes while the lease is active: the others go on, and so does whoever truncates."""
    make(path)
    client = Client(command)
    regions = int(client.expect("devices")[3])
    client.expect("written")
    subprocess.run(namespace + ["rdma", "link", "delete", "rxe9"], check=True)
    by_others(lambda: os.truncate(path, PAGES * PAGE // 2))
    client.tell("again")
    client.expect("gone")
    client.expect("written")
    client.tell("sync")
    client.expect("durable")
    if written(path, PAGES // 2) != list(range(2 * regions - 1)):
        raise SystemExit(f"NOT OK: in the file are the pages {written(path, PAGES // 2)} of {2 * regions - 1}")
    client.end()
    print(f"{regions} memory regions, one of which has lost its device: the others go on, and all is deregistered")


BOUND = 1.0 + 0.4 + 1.0  # several.sh's deadlines, and what an emulated machine needs


def within(what, function):
    began = time.monotonic()
    by_others(function)
    took = time.monotonic() - began
    print(f"  {what} waited {took:.2f} s")
    if took > BOUND:
        raise SystemExit(f"NOT OK: {what} waited {took:.1f} of {BOUND} s")


def read_page(path, page):
    with open(path, "rb") as f:
        if not any(os.pread(f.fileno(), PAGE, page * PAGE)):
            os._exit(1)


def answer(client, question, word):
    client.tell(question)
    return client.expect(word)


def only_one_removed(path, command, namespace):
    """The client has no device any more. Its lease is there: nobody waits longer for it, and what was written is kept, on the
    file and, of what was cut off, in its memory."""
    make(path)
    client = Client(command + ["rxe9"])
    client.expect("written")
    answer(client, f"write {PAGES - 2}", "written")
    subprocess.run(namespace + ["rdma", "link", "delete", "rxe9"], check=True)
    within("a read", lambda: read_page(path, 0))
    within("a truncate", lambda: os.truncate(path, PAGES * PAGE // 2))
    within("a growth", lambda: os.truncate(path, PAGES * PAGE))
    if written(path, PAGES) != [0]:
        raise SystemExit(f"NOT OK: in the file are the pages {written(path, PAGES)}")
    kept = answer(client, "kept", "kept")
    if kept[1:] != ["2", "of", "2"]:
        raise SystemExit(f"NOT OK: of what was written its memory has {' '.join(kept[1:])} pages")
    heard = " ".join(answer(client, "told", "told")[1:])
    if "catastrophic" not in heard:
        raise SystemExit(f"NOT OK: the application hears of its device: {heard}")
    another = answer(client, "another", "another")
    if another[1] != str(errno.ENODEV) or "removed" not in another:
        raise SystemExit(f"NOT OK: a further memory region on a device that is gone: {' '.join(another)}")
    answer(client, "again", "gone")
    answer(client, "sync", "durable")
    client.end()
    print(f"the only device is gone: others went on, its memory has what was written, told: {heard}; {' '.join(another[2:])}")


def logged(log, text, seconds=10):
    """The daemon's log is written by a thread of its own, after the fact."""
    end = time.monotonic() + seconds
    while True:
        with open(log, encoding="utf-8", errors="replace") as f:
            if text in f.read():
                return True
        if time.monotonic() > end:
            return False
        time.sleep(0.01)


def main():
    if sys.argv[1].startswith("--remove"):
        scenario = removed if sys.argv.pop(1) == "--remove" else only_one_removed
        command = sys.argv[5:]
        scenario(sys.argv[1], command + sys.argv[1:4], command[:command.index("setpriv")])
        return
    path, socket, backing, log, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]
    make(path)
    client = Client(command + [path, socket, backing])
    about = client.expect("devices")
    regions = int(about[3])
    client.expect("written")
    by_others(lambda: os.truncate(path, PAGES * PAGE // 2))
    client.expect("event")  # TRIMMED, or RECALL and RESTORED
    if backing == "direct":
        client.expect("event 2")
    client.tell("again")
    client.expect("written")
    client.tell("sync")
    client.expect("durable")
    if written(path, PAGES // 2) != list(range(2 * regions)):
        raise SystemExit(f"NOT OK: in the file are the pages {written(path, PAGES // 2)} of {2 * regions}")
    client.end()
    print(f"{backing}: {regions} memory regions on {about[1]} devices, before and after a truncate")
    if backing != "direct":  # none of the others has to be asked for a truncate
        return
    make(path)
    client = Client(command + [path, socket, backing])
    client.expect("written")
    os.kill(client.process.pid, signal.SIGSTOP)  # nsenter and setpriv become it
    began = time.monotonic()
    by_others(lambda: os.truncate(path, PAGE))
    print(f"{backing}: a hung client is fenced, the truncate waited {time.monotonic() - began:.1f} s")
    client.process.kill()
    if not logged(log, f"fence: {regions} memory regions destroyed"):
        raise SystemExit(f"NOT OK: the fence has not destroyed {regions} memory regions")


if __name__ == "__main__":
    main()

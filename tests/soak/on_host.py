#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""on_host.py MINUTES OUT BUILD: one daemon on this machine, whose clients have leases and no device. While they live, others truncate,
write, read, freeze and sync their files, some of them are killed, some hang, and it is asked over gRPC. What is read, and what the files
hold when all leases are gone, is compared with what was written."""
import json
import os
import random
import signal
import sys
import time
import unittest

MINUTES, OUT, BUILD = float(sys.argv[1]), sys.argv[2], sys.argv[3]
os.environ.update(MRLEASED=BUILD + "/daemon/loop/mrleased", MRLEASECTL=BUILD + "/daemon/ctl/mrleasectl",
                  LEASE_HOLDER=BUILD + "/tests/support/lease_holder")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "support"))
import host  # noqa: E402
from steady import Steady  # noqa: E402

PAGE, PAGES, CLIENTS = 4096, 16, 6
BACKINGS = ("bounce", "odp", "direct")
# Stays for all of a round: the start of a program is not what is measured.
STRANGER = """
import os, sys
for line in sys.stdin:
    verb, path, at = line.split()
    at = int(at)
    if verb == "truncate": os.truncate(path, at); os.truncate(path, %d)
    else:
        fd = os.open(path, os.O_RDWR)
        if verb == "write": os.pwrite(fd, b"w" * 100, at)
        elif verb == "sync": os.fsync(fd)
        else: print("read", os.pread(fd, 100, at).hex())
        os.close(fd)
    print("done", flush=True)
""" % (PAGE * PAGES)


class Content:
    """How each page of a file begins."""
    def __init__(self, path):
        self.path, self.pages, self.on_lease = path, [b"a" * 100] * PAGES, PAGES

    def write(self, page, text, by_device):
        if by_device and page >= self.on_lease:
            return  # cut off, and not taken back
        self.pages[page] = text + self.pages[page][len(text):]

    def cut(self, page):
        self.pages[page:] = [bytes(100)] * (PAGES - page)
        self.on_lease = min(self.on_lease, page)

    def wrong(self, page, found):
        return [] if found == self.pages[page] else [f"{self.path}, page {page}: {found!r}, not {self.pages[page]!r}"]

    def wrong_in_file(self):
        bad = []
        with open(self.path, "rb") as f:
            for page in range(PAGES):
                f.seek(page * PAGE)
                bad += self.wrong(page, f.read(100))
        return bad


class Soak(host.HostTest):
    # The last events are kept for who watches: as few as fill up in the first minute.
    options = ["--recall-deadline-ms", "2000", "--fence-deadline-ms", "500", "--admin-events-max", "500"]

    def round(self, rng, steady):
        paths = [self.make_file(f"file-{i}", PAGE * PAGES) for i in range(CLIENTS)]
        socket, unprivileged = self.directory + "/mrleased.sock", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        clients = [host.Process([host.LEASE_HOLDER, socket, path, BACKINGS[i % len(BACKINGS)]]) for i, path in enumerate(paths)]
        stranger = host.Process(unprivileged + ["/usr/bin/python3", "-c", STRANGER])
        for client in clients:
            client.out.wait("lease ")
        contents = [Content(path) for path in paths]
        # Where reads are not held, bounce pages are in the file later.
        held = all(lease["guard"] == "GUARD_PRECONTENT" for lease in self.ctl_json("leases")["leases"])
        for step in range(60):
            client, page = rng.randrange(CLIENTS), rng.randrange(1, PAGES)
            verb, content = rng.choice(("truncate", "write", "read", "sync")), contents[client]
            if client % len(BACKINGS) == 0:
                at, text, said = rng.randrange(PAGES), f"{step}-by-a-device", len(clients[client].out.lines)
                clients[client].say(f"write {at * PAGE} {text}")
                clients[client].out.wait("written", said)
                content.write(at, text.encode(), True)
            said = len(stranger.out.lines)
            stranger.say(f"{verb} {paths[client]} {page * PAGE}")
            stranger.out.wait("done", said)
            steady.count(**{verb + "s": 1})
            if verb == "truncate":
                content.cut(page)
            if verb == "write":
                content.write(page, b"w" * 100, False)
                # The daemon takes it over when the call has returned, and a page that a device writes before that stays the device's
                # (README). Who reads waits for it.
                said = len(stranger.out.lines)
                stranger.say(f"read {paths[client]} {page * PAGE}")
                stranger.out.wait("done", said)
            if verb in ("read", "write") and held:
                steady.problems += content.wrong(page, bytes.fromhex(stranger.out.wait("read ", said).split()[1]))
                steady.count(**{"reads compared": 1})
            if step % 20 == 7:
                self.ctl("freeze", paths[client], "--", "true")
                self.ctl("sync", paths[client])
                steady.count(freezes=1)
            if step % 20 == 13:
                json.loads(self.ctl("--json", "leases"))
                steady.count(**{"lists over gRPC": 1})
        # One dies with a lease that is asked for, one is never heard of again until it is fenced.
        clients[0].say("hang")
        clients[0].out.wait("hanging")
        clients[1].stop(signal.SIGKILL)
        for number in (0, 1):
            said = len(stranger.out.lines)
            stranger.say(f"truncate {paths[number]} {PAGE}")
            stranger.out.wait("done", said)
            contents[number].cut(1)
        steady.count(**{"clients killed": 1, "clients that hung": 1, "clients": CLIENTS, "rounds": 1})
        for process in [*clients, stranger]:
            process.stop(signal.SIGKILL)
            for stream in (process.popen.stdin, process.popen.stdout, process.popen.stderr):
                stream.close()
        while self.ctl_json("leases").get("leases"):
            time.sleep(0.01)
        for content in contents:
            steady.problems += content.wrong_in_file()
        steady.count(**{"files compared": CLIENTS})

    def test(self):
        rng, end = random.Random(1), time.monotonic() + MINUTES * 60
        steady = Steady(self.daemon.popen.pid)
        looked = 0.0
        while time.monotonic() < end and len(steady.problems) < 10:
            self.round(rng, steady)
            if time.monotonic() > looked + max(1.0, MINUTES):
                looked = time.monotonic()
                steady.look()
                print(f"{int(end - looked)} s left", file=sys.stderr, flush=True)
        self.assertIsNone(self.daemon.popen.poll(), "the daemon lives")
        self.assertEqual(steady.report("On this host, " + os.uname().release, OUT), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0, warnings="ignore")

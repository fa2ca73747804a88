# SPDX-License-Identifier: Apache-2.0
"""What is asked of every fault: what the application is told, whether its data is there, how long others wait."""
import errno
import os
import re

from disk import Disk
from row import FENCED_BY_MS, FILE_GROUP, RECEIVER
from scenarios import Scenario


def named(code):
    return errno.errorcode.get(code, code)


class Faulty(Scenario):
    disk = None

    def on_disk(self, mib, sparse):
        """The leased file is on a disk of its own; sparse: every page that is written needs a block."""
        self.disk = Disk(self.name, mib)
        self.args.dir = self.disk.mount
        self.file = f"{self.disk.mount}/data"
        with open(self.file, "wb") as f:
            if sparse:
                f.truncate(self.args.size)
            else:
                f.write(bytes(self.args.size))
            os.fsync(f.fileno())
        os.chown(self.file, RECEIVER, FILE_GROUP)
        os.chmod(self.file, 0o660)

    def sync_fails(self, codes, what):
        """And says what failed, and the kernel's word for it."""
        answer = self.receiver.ask("sync", 30)
        says = re.match(r"(fsync|writing to the file|cannot write the file at offset \d+): ", answer["error"]) and os.strerror(answer["code"]) in answer["error"]
        self.expect(answer["code"] in codes and says, f"{what}: mrl_sync says {named(answer['code'])}: {answer['error']}")

    def freeze_fails(self, codes, what):
        """What was acknowledged is not in the file: nothing stands still, and the next one is asked for in vain as well."""
        for _ in range(2):
            answer = self.foreign.ask("freeze 20000", 30)
            self.expect(answer["code"] in codes,
                        f"{what}: a freeze says {named(answer['code'])}: {answer.get('text', '')}")

    def kept(self, what):
        """What was acknowledged is where the application can read it."""
        seen = self.receiver.ask("orphans 4096", 30)
        self.expect(not seen["lost"] and not seen["risen"], f"{what}: {seen['lost']} pages of its mapping are lost {seen.get('first', '')}")

    def durable(self, what):
        """By a sync of the application."""
        self.ask(self.receiver, "sync")
        for how in ("check-direct", "check"):
            seen = self.ask(self.foreign, how)
            self.expect(not seen.get("lost"), f"{what}: {seen.get('lost')} pages are not in the file ({how}) {seen.get('first', '')}")

    def others_go_on(self, what):
        """A truncate, a growth and reads by somebody else, each within its bound."""
        self.truncate_cycle()
        self.bounded(what)

    def others_are_refused(self, codes, what):
        """As others_go_on(), on a disk that takes nothing: a sync gets the disk's error, a truncate what it gets of a file that nobody
        leases (ext4 without a journal goes on until memory is written, where an error does not set SB_RDONLY: 6.1.176; on 7.3 it is
        refused), a read what is there."""
        seen = self.ask(self.foreign, "read")
        if self.args.backing != "bounce":  # whose pages the disk does not take
            self.expect(not seen["lost"], f"{what}: a foreign read lacks {seen['lost']} pages {seen['first']}")
        got = self.foreign.ask("sync", 30)["code"]
        self.expect(got in codes, f"{what}: a foreign sync gets {named(got)}")
        beside = self.disk.truncate_beside()
        got = self.foreign.ask(f"truncate {self.cut_size()}", 30)["code"]
        self.expect(got == beside, f"{what}: a foreign truncate gets {named(got)}, one of a file beside it {named(beside)}")
        self.bounded(what)

    def bounded(self, what):
        waits = self.foreign.ask("waits", 20)
        longest = {name: max(list_) / 1e6 for name, list_ in waits.items() if isinstance(list_, list)}
        print(f"  {what}: longest waits of others in ms: " + ", ".join(f"{k} {v:.0f}" for k, v in longest.items()), flush=True)
        for name in ("truncate", "grow", "open", "read", "sync"):
            self.expect(longest.get(name, 0) <= FENCED_BY_MS, f"{what}: {name} waited {longest.get(name, 0):.0f} of {FENCED_BY_MS} ms")

    def lives(self, what):
        info = self.receiver.ask("info", 20)
        self.expect(not info["fenced"] and info["rkey"] == self.first_info["rkey"],
                    f"{what}: the lease is there, with its keys: {info['events']}")

    def end(self):
        for program in reversed(self.programs):
            program.end(10)
        self.programs.clear()
        if self.disk:
            self.disk.close()

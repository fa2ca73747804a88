#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the vm tier that are no plain row: scenarios.py NAME --backing B ... (the options of drive.py).
Prints what it saw; exit 0 when everything held."""
import os
import random
import re
import signal
import subprocess
import sys
import time

from drive import parse
from on_disk import pages_not_on_disk
from process import Died
from row import RECALL_DEADLINE_MS, Refused, Row

BOUND_MS = RECALL_DEADLINE_MS + 1000


class Scenario(Row):
    def expect(self, holds, what):
        print(("ok: " if holds else "NOT OK: ") + what, flush=True)
        if not holds:
            self.problems.append(what)

    def begin(self):
        self.start_peers()
        self.other = self.start_foreign("mrl_other")  # there and ready: the start of a program is slow in the rig
        self.stream()

    def truncate_within(self, size, bound_ms, what, by=None):
        answer = (by or self.other).ask(f"truncate {size}", bound_ms / 1000 + 20)
        took = answer["wait_ns"] / 1e6
        self.expect(answer["code"] == 0 and took <= bound_ms,
                    f"{what}: truncate returned {answer['code']} after {took:.0f} of {bound_ms} ms")
        self.expect(os.stat(self.file).st_size == size, "the file has its new size")

    def peer_has_lost_access(self):
        """The sender's next operation fails, because the memory region is gone."""
        sent = self.sender.line(30)
        self.expect("remote access error" in sent["failures"], "the peer gets: " + (sent["failures"] or "no error"))

    def client_lives_and_is_told(self):
        os.kill(self.receiver.pid, signal.SIGCONT)
        end, info = time.monotonic() + 10, {}
        while time.monotonic() < end:
            info = self.receiver.ask("info", 20)
            if info.get("fenced") and "fenced" in info["events"]:
                break
            time.sleep(0.02)
        self.expect(bool(info.get("fenced")) and "fenced" in info.get("events", ""),
                    "after SIGCONT the client is told FENCED, and lives: " + info.get("events", ""))

    def regions(self):
        """How many memory regions of the file's size the kernel has, whoever owns them."""
        out = subprocess.run(["rdma", "resource", "show", "mr"], text=True, stdout=subprocess.PIPE, check=False).stdout
        return len(re.findall(rf"\bmrlen {self.args.size}\b", out))

    def no_regions_within(self, seconds):
        began = time.monotonic()
        while self.regions() and time.monotonic() < began + seconds + 5:
            time.sleep(0.01)
        took = time.monotonic() - began
        self.expect(self.regions() == 0 and took <= seconds, f"its memory regions are gone after {took * 1000:.0f} ms")

    # ---- the scenarios ----

    def stopped_active(self):
        self.begin()
        os.kill(self.receiver.pid, signal.SIGSTOP)
        self.truncate_within(self.args.size // 2, BOUND_MS, "stopped while Active")
        self.peer_has_lost_access()
        self.client_lives_and_is_told()

    def stopped_in_dereg(self):
        """Between the daemon's acknowledgement that the memory region goes and ibv_dereg_mr(): it is still there, and nobody may
        destroy it by its handle any more."""
        self.begin()
        self.truncate_within(self.args.size // 2, BOUND_MS, "stopped in ibv_dereg_mr()")
        self.expect(self.regions() == 0, f"{self.regions()} memory regions are there when the truncate has returned")

    def stopped_bounce(self):
        """The daemon needs nothing of a bounce client: neither the peer nor the client notices."""
        self.begin()
        os.kill(self.receiver.pid, signal.SIGSTOP)
        self.truncate_within(self.args.size // 2, BOUND_MS, "stopped with bounce")
        self.ask(self.foreign, "sync")
        self.stream()
        os.kill(self.receiver.pid, signal.SIGCONT)
        self.stream()
        self.expect(not self.receiver.ask("info", 20)["fenced"], "nobody was fenced")

    def stopped_frozen(self):
        self.begin()
        self.ask(self.foreign, "freeze 20000")
        self.stream()
        os.kill(self.receiver.pid, signal.SIGSTOP)
        self.truncate_within(self.args.size // 2, BOUND_MS, "stopped while Frozen (freeze_conflict thaw)")
        self.peer_has_lost_access()
        self.client_lives_and_is_told()

    def caught_in_thaw(self):
        """Freeze, write, thaw, and stop the client after a little while; True when the thaw was then not over."""
        self.ask(self.foreign, "freeze 20000")
        self.counters.advance(600, self.sender, 60)
        self.foreign.tell("thaw")
        time.sleep(self.random.uniform(0.0, 0.03))
        os.kill(self.receiver.pid, signal.SIGSTOP)
        try:
            self.foreign.line(0.3)
        except Died:
            return True
        os.kill(self.receiver.pid, signal.SIGCONT)
        return False

    def stopped_in_thaw(self):
        self.begin()
        self.random = random.Random(self.args.seed)
        caught = any(self.caught_in_thaw() for _ in range(30))
        self.expect(caught, "the client was stopped in the middle of a thaw")
        if caught:
            self.truncate_within(self.args.size // 2, BOUND_MS, "stopped in the middle of a thaw")
            self.peer_has_lost_access()
            self.client_lives_and_is_told()
            self.foreign.line(20)  # the thaw's own answer

    def killed(self):
        """What it had acknowledged is in the file, and its memory regions are gone, whether or not a child lives on."""
        self.begin()
        self.ask(self.receiver, "quiet")
        self.expect(self.regions() > 0, "there are memory regions to lose")
        os.kill(self.receiver.pid, signal.SIGKILL)
        self.no_regions_within(1)
        if self.args.fork_child:
            os.kill(self.child, 0)
            print("ok: the forked child lives", flush=True)
        self.count(self.ask(self.foreign, "check"))
        self.expect(self.sum["lost"] == 0, f"lost {self.sum['lost']} {self.first}")

    def event(self, name, count=1):
        """Until the receiver has heard of it that many times."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            events = dict(e.rsplit(" ", 1) for e in self.receiver.ask("info", 20)["events"].split(", ") if e)
            if int(events.get(name, 0)) >= count:
                return
            time.sleep(0.02)
        self.expect(False, f"the receiver hears {name} {count} times: {events}")

    def daemon_replaced(self):
        """The daemon ends, by SIGTERM and by SIGKILL, and another one takes its place, which knows nothing."""
        self.begin()
        keys = self.first_info
        for number, how in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
            os.kill(self.daemon.pid, how)
            self.daemon.wait(20)
            self.event("disconnected", number)
            self.stream()
            self.start_daemon()
            self.event("reconnected", number)
            self.ask(self.foreign, f"reconnected {number}")
            print("coverage: " + self.receiver.ask("info", 20).get("coverage", ""), flush=True)
            self.truncate_within(self.args.size // 2, BOUND_MS, f"after {how.name}: protected again", self.foreign)
            self.told(self.args.size // 2)
            self.stream()
            self.ask(self.foreign, f"truncate {self.args.size}")
            answer = self.ask(self.receiver, "extend")
            self.ask(self.foreign, f"extended {answer['now_ns']}")
            self.stream()
            self.freeze_cycle()
            self.check_cycle(0)
        info = self.receiver.ask("info", 20)
        self.expect(not info["fenced"], "nobody was fenced: " + info["events"])
        if self.args.backing != "direct":
            self.expect((keys["address"], keys["rkey"]) == (info["address"], info["rkey"]), "the keys are the same")
        for what in ("lost", "torn", "not_durable", "foreign_errors"):
            self.expect(self.sum[what] == 0, f"{what} {self.sum[what]} {self.first}")

    def killed_while_recalled(self):
        self.begin()
        os.kill(self.receiver.pid, signal.SIGSTOP)
        self.other.tell(f"truncate {self.args.size // 2}")
        time.sleep(0.3)
        self.expect(not self.other.said(), "the truncate is held")
        os.kill(self.receiver.pid, signal.SIGKILL)
        began = time.monotonic()
        code = self.other.line(20)["code"]
        took = (time.monotonic() - began) * 1000
        self.expect(code == 0 and took < 1000, f"the pending truncate goes on, {took:.0f} ms after SIGKILL")
        self.no_regions_within(1)

    def written_back(self):
        """What the peer wrote is on the disk a little after the policy's interval, and nobody has asked for it; without one it is not."""
        self.begin()
        self.ask(self.receiver, "quiet")
        began = time.monotonic()
        if "--writeback-interval-ms" not in self.args.daemon_options:
            behind = pages_not_on_disk(self.file)
            return self.expect(behind > 0, f"without a policy the disk is {behind} pages behind")
        while (behind := pages_not_on_disk(self.file)) and time.monotonic() < began + 10:  # the kernel itself writes what is older than 30 s
            time.sleep(0.05)
        took = time.monotonic() - began
        return self.expect(behind == 0, f"{took * 1000:.0f} ms after the last write the disk is {behind} pages behind")

    def run_scenario(self, name):
        try:
            getattr(self, name)()
        except (Died, Refused) as died:
            self.problems.append(str(died))
        for program in reversed(self.programs):
            program.end(10)
        if getattr(self, "child", 0):
            os.kill(self.child, signal.SIGKILL)
        for problem in self.problems:
            print("NOT OK: " + problem)
        return 1 if self.problems else 0


def main():
    args = parse(sys.argv[2:])
    return Scenario(args).run_scenario(sys.argv[1])


if __name__ == "__main__":
    sys.exit(main())

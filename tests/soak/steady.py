# SPDX-License-Identifier: Apache-2.0
"""What a daemon has of the machine, looked at between rounds, when nobody has a lease: is it the same after an hour as after a minute?"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "vm", "load"))
from usage import thirds, usage  # noqa: E402

# Of the last third of the samples against the first third, without the first fifth: pools and malloc's arenas fill for a while, and an arena
# grows by 256 KiB at once. A leak of one descriptor in two rounds is far above that in half an hour; so is, on the host, one of 64 bytes a
# foreign operation (30,000 of them between the two), and in the rig, which is slower, one of 300.
MORE_DESCRIPTORS = 2
MORE_KIB = 512
SAMPLES_MIN = 10


class Steady:
    def __init__(self, pid):
        self.pid, self.began, self.samples, self.sums, self.problems = pid, time.monotonic(), [], {}, []

    def count(self, **more):
        for what, n in more.items():
            self.sums[what] = self.sums.get(what, 0) + n

    def look(self, **more):
        """more: what else is to be seen to stay the same."""
        descriptors, kib, _ = usage(self.pid)
        threads = len(os.listdir(f"/proc/{self.pid}/task"))
        self.samples.append(dict(seconds=round(time.monotonic() - self.began), descriptors=descriptors, kib=kib, threads=threads, **more))

    def judge(self):
        settled = self.samples[len(self.samples) // 5:]
        if len(self.samples) < SAMPLES_MIN:
            return self.problems + [f"{len(self.samples)} samples tell nothing: {SAMPLES_MIN} at least"]
        bad = list(self.problems)
        for what in settled[0]:
            if what == "seconds":
                continue
            first, last = thirds([s[what] for s in settled])
            if last > first + (MORE_KIB if what == "kib" else MORE_DESCRIPTORS):
                bad.append(f"{what} grow: {first:.0f}, then {last:.0f}")
        return bad

    def report(self, title, path):
        bad = self.judge()
        seconds = round(time.monotonic() - self.began)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(dict(title=title, seconds=seconds, sums=self.sums, samples=self.samples, problems=bad), f, indent=1)
        print(f"\n{title}: {seconds // 60} min {seconds % 60} s")
        for what, n in self.sums.items():
            print(f"  {what:<28}{n:>12}")
        names = list(self.samples[0]) if self.samples else []
        print("  " + "".join(f"{name:>12}" for name in names))
        step = max(1, len(self.samples) // 12)
        for sample in self.samples[::step] + self.samples[-1:]:
            print("  " + "".join(f"{sample[name]:>12}" for name in names))
        for problem in bad:
            print("NOT OK: " + problem)
        print("steady" if not bad else "not steady", flush=True)
        return 1 if bad else 0

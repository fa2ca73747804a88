# SPDX-License-Identifier: Apache-2.0
"""The counters at the start of the sender's table (layout.h)."""
import mmap
import os
import struct
import time

from process import Died


class Counters:
    def __init__(self, path, sender, seconds):
        end = time.monotonic() + seconds
        while not os.path.exists(path):
            if not sender.alive():
                raise Died(f"{sender.what} ended ({sender.process.returncode}): {sender.last_words()}")
            if time.monotonic() > end:
                raise Died("the sender and the receiver did not meet")
            time.sleep(0.02)
        with open(path, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)

    def ops(self):
        return struct.unpack_from("<Q", self.map, 16)[0]

    def errors(self):
        return struct.unpack_from("<Q", self.map, 24)[0]

    def written_since(self, page, ns):
        """Was the page's last write acknowledged after that moment of CLOCK_MONOTONIC?"""
        return struct.unpack_from("<Q", self.map, 48 + page * 24 + 16)[0] > ns

    def advance(self, more, sender, seconds):
        """Until the sender has done `more` operations."""
        goal, end = self.ops() + more, time.monotonic() + seconds
        while self.ops() < goal:
            if self.errors() or not sender.alive():
                raise Died("the sender's operations fail")
            if time.monotonic() > end:
                raise Died(f"the sender made no progress for {seconds} s")
            time.sleep(0.005)

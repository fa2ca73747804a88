#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""checkpoints.py SLOT_BYTES < LINES: each line is "SNAPSHOT ROUND...": a snapshot of example 03's file, and for each slot the round
that its sender knew to be durable before the snapshot was begun. A sender begins a round when the one before is durable: so a
slot holds whole words of one round or of two that follow each other, and none older than it was told."""
import array
import sys

MASK = (1 << 64) - 1
PAGE_WORDS = 512


def mix(x):  # splitmix64, as the senders do
    x = ((x ^ x >> 30) * 0xbf58476d1ce4e5b9) & MASK
    x = ((x ^ x >> 27) * 0x94d049bb133111eb) & MASK
    return x ^ x >> 31


def main():
    slot_bytes = int(sys.argv[1])
    places = int.from_bytes(array.array("Q", map(mix, range(slot_bytes // 8))).tobytes(), "little")
    snapshots = of_two_rounds = pages_of_two = bad = 0
    for line in sys.stdin:
        path, *told = line.split()
        snapshots += 1
        with open(path, "rb") as file:
            for slot, durable in enumerate(map(int, told)):
                data = file.read(slot_bytes)
                own = (int.from_bytes(data, "little") ^ places).to_bytes(slot_bytes, "little")
                words = array.array("Q", own)
                left = set(words)  # one word for each round
                rounds = []
                for r in range(durable, durable + 1000):
                    if left and mix(slot << 32 | r) in left:
                        left.remove(mix(slot << 32 | r))
                        rounds.append(r)
                    elif not left:
                        break
                if left or not rounds:
                    wrong = [p for p, w in enumerate(words) if w in left]
                    print(f"NOT OK: {path} slot {slot}: {len(wrong)} words of no round from {durable} on, at {wrong[:4]} ...")
                    bad += 1
                elif rounds[-1] - rounds[0] > 1:
                    print(f"NOT OK: {path} slot {slot}: of rounds {rounds}")
                    bad += 1
                of_two_rounds += len(rounds) == 2
                if len(rounds) == 2:
                    pages_of_two += sum(len(set(words[p:p + PAGE_WORDS])) > 1 for p in range(0, len(words), PAGE_WORDS))
    print(f"{snapshots} snapshots, {of_two_rounds} slots in them were being written ({pages_of_two} pages of two rounds), {bad} bad")
    return 1 if bad or not snapshots else 0


if __name__ == "__main__":
    sys.exit(main())

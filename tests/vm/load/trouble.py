#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""trouble.py FILE SIZE CUT: once, and until standard input has something or ends, truncates the file to CUT bytes and lets it grow to
SIZE again, punches holes into it and makes it durable, as somebody who may write it and knows nothing of leases. Says how
often; exit 1: one of them failed."""
import ctypes
import os
import select
import sys

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2  # linux/falloc.h
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def punch(file, offset, length):
    # opened for each: under the lease guard an open waits for the lease that an open descriptor would keep away
    fd = os.open(file, os.O_RDWR)
    try:
        if LIBC.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length):
            raise OSError(ctypes.get_errno(), "fallocate")
    finally:
        os.close(fd)


def durable(file):
    fd = os.open(file, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def main():
    file, size, cut = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rounds = 0
    while True:
        os.truncate(file, cut)
        os.truncate(file, size)
        punch(file, 4096, 8192)
        durable(file)
        rounds += 1
        if select.select([sys.stdin], [], [], 0)[0]:
            break
    print(f"{rounds} rounds of two truncates, a punch and an fsync")


if __name__ == "__main__":
    sys.exit(main())

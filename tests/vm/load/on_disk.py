# SPDX-License-Identifier: Apache-2.0
"""What the disk below a file has, whatever the page cache says: its blocks, read from the block device past every cache."""
import array
import fcntl
import mmap
import os
import struct

PAGE = 4096
FS_IOC_FIEMAP = 0xC020660B                  # linux/fs.h
HEADER, EXTENT = "QQIIII", "QQQQQIIII"      # struct fiemap, struct fiemap_extent (linux/fiemap.h)
NOT_WRITTEN = 0x2 | 0x4 | 0x800             # FIEMAP_EXTENT_UNKNOWN, _DELALLOC, _UNWRITTEN
EXTENTS_MAX = 1024


def device_of(path):
    number = os.stat(path).st_dev
    with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/uevent", encoding="ascii") as f:
        return "/dev/" + dict(line.strip().split("=", 1) for line in f)["DEVNAME"]


def extents(file):
    """(offset in the file, offset on the device, length), bytes, of what has been written."""
    size = struct.calcsize(HEADER)
    buffer = array.array("B", struct.pack(HEADER, 0, 2**64 - 1, 0, 0, EXTENTS_MAX, 0) + bytes(EXTENTS_MAX * struct.calcsize(EXTENT)))
    fcntl.ioctl(file, FS_IOC_FIEMAP, buffer)
    count = struct.unpack_from(HEADER, buffer)[3]
    for n in range(count):
        logical, physical, length, _, _, flags, *_ = struct.unpack_from(EXTENT, buffer, size + n * struct.calcsize(EXTENT))
        if not flags & NOT_WRITTEN:
            yield logical, physical, length


def pages_not_on_disk(path):
    """How many pages of the file the disk has otherwise than who reads the file gets them."""
    with open(path, "rb") as file:
        content = file.read()
        disk = bytearray(len(content))
        device = os.open(device_of(path), os.O_RDONLY | os.O_DIRECT)
        try:
            for logical, physical, length in extents(file):
                with mmap.mmap(-1, length) as block:
                    os.preadv(device, [block], physical)
                    end = min(logical + length, len(content))
                    disk[logical:end] = block[:end - logical]
        finally:
            os.close(device)
    return sum(content[at:at + PAGE] != disk[at:at + PAGE] for at in range(0, len(content), PAGE))

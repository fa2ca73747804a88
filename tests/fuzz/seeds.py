#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds that are valid messages, corpus/*/seed_*. Run it again after a change of the protocols. What else lies in
corpus/ was found by the targets, and is kept since it reaches what the seeds do not."""
import os
import random
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PROTO = os.path.join(HERE, "..", "..", "proto")
FRAMES = {  # descriptors beside it, the frame
    "hello": (0, 'id: 1 hello { version_min: 1 version_max: 3 program: "app" }'),
    "welcome": (1, "reply_to: 1 welcome { version: 3 userfaultfd: true recall_deadline_ms: 2000 }"),
    "add_device": (1, 'id: 2 add_device { name: "rxe0" driver_id: 14 }'),
    "register": (1, "id: 3 register { range { offset: 4096 length: 65536 } write: true backing: BACKING_DIRECT share: true }"),
    "reclaim": (2, "id: 3 register { range { length: 8192 } backing: BACKING_BOUNCE reclaim: true on_file_end: 8192 }"),
    "granted": (1, 'reply_to: 3 granted { lease: 5 backing: BACKING_BOUNCE guard: GUARD_PRECONTENT coverage: "x" file_size: 9 }'),
    "add_mr": (0, "id: 4 add_mr { lease: 5 device: 1 handle: 2 lkey: 3 rkey: 4 address: 140000000000000 length: 65536 }"),
    "recall": (1, "recall { lease: 5 recall: 4294967297 action: ACTION_TRIM reason: REASON_TRUNCATE offset: 4096 length: 61440 "
                  "size: 4096 deadline_ms: 2000 store: 7 }"),
    "recall_done": (0, 'id: 6 recall_done { recall: 4294967297 code: 5 message: "no" }'),
    "merge": (0, "id: 7 merge { lease: 5 store: 7 ranges { offset: 4096 length: 4096 } ranges { offset: 16384 length: 8192 } }"),
    "freeze": (1, "id: 8 freeze_file { range { offset: 0 length: 0 } hold_ms: 5000 }"),
    "resumed": (0, "id: 9 resumed { waiting: 3 waiting: 18446744073709551615 }"),
    "status": (0, 'reply_to: 1 status { code: 0 }'),
    "frozen": (0, "reply_to: 1 frozen { freeze: 3 unsettled_pages: 1 }"),
    "extended": (0, "reply_to: 1 extended { file_size: 65536 }"),
    "notice": (0, 'notice { lease: 5 kind: FENCED size: 1 message: "late" }'),
    "resume": (0, "resume {}"),
}
ADMIN = {  # which request, its type
    "leases": (0, "ListLeasesRequest", 'filter { file { device: 8 inode: 100 } uid: 1000 pid: 7 backings: 1 states: 2 } page_size: 10'),
    "leases_path": (0, "ListLeasesRequest", 'filter { file { path: "/srv/a" } } page_token: "l5.1"'),
    "files": (1, "ListFilesRequest", 'file { path: "/srv/a" } page_size: 500 page_token: "f8.64"'),
    "watch": (2, "WatchEventsRequest", 'types: "lease_granted" types: "fenced" after_sequence: 3'),
    "range": (3, "Range", "offset: 4096 length: 8192"),
}
CONFIGURATION = {
    "types": 'recall-deadline-ms = 1_000\nforeground = true\nsocket = "/a"\non-timeout = \'deny\'\nroot = ["/x", "/y"]\n',
    "mistakes": "colour = 5\nrecal-deadline-ms = 5\n[deadlines]\nx = 1979-05-27\nsocket = 1.5\n",
    "list": 'root = "/x"\nfence-deadline-ms = 0x1F4\n',
}
QUIESCE, REREGISTER, TRIM, SETTLE, FREEZE, THAW, DIRTY, RELEASE = range(1, 9)
EXTEND, SYNC, ADD_MR, FENCED = (0,), (1,), (2,), (3, 1, 0)
REGIONS = {  # backing, as region_of_a_liar.cc counts them; what happens
    "direct": (0, [QUIESCE, REREGISTER, ADD_MR, FREEZE, SYNC, THAW, DIRTY, EXTEND, RELEASE]),
    "direct_frozen": (0, [FREEZE, FREEZE, THAW, FENCED]),
    "cooperative": (1, [FREEZE, SYNC, THAW, TRIM, SETTLE, EXTEND, RELEASE]),
    "cooperative_frozen": (1, [ADD_MR, FREEZE, TRIM, FENCED]),
    "transparent": (2, [FREEZE, SYNC, THAW, TRIM, SETTLE, EXTEND, RELEASE]),
    "transparent_frozen": (2, [FREEZE, TRIM, ADD_MR, FREEZE, FENCED]),
    "bounce": (3, [ADD_MR, SYNC, EXTEND, RELEASE]),
}


def region(backing, steps, lie=0):
    """Each recall is of the whole region, SETTLE says that half of it is left, stores are numbered alike. The daemon's one lie is the
    second of its answers, to Register."""
    said = [0, backing, 1, lie, *[0] * 10, 1, 1, 0, 1, 0]  # manners, backing, answers, the file's size, lease, length, write, preserve
    for step in steps:
        if isinstance(step, tuple):
            said += step
            continue
        size = [1, 5] if step == SETTLE else [2]
        said += [4, step, 1, 0, 1, *size, 0] + ([3] if step in (FREEZE, TRIM) else [])
    return bytes(reversed(said))  # FuzzedDataProvider takes small numbers from the end


SAY, WAIT = 8, [4, 2]


def register(backing):
    return [SAY, 17, 1, 0, 1, 8, 1, backing, 0, 1, 1, 0, 5]  # all of the first file, for writing


def hold(kind, size):
    return [5, 0, kind, size >> 16, size >> 8 & 255, size & 255] + [1] * (kind == 0)  # a truncate is one


def scene(backing):
    """A client's whole life, and what others do to its file."""
    recalled, again = [SAY, 14, 1, 0, 1], [SAY, 14, 1, 1, 0, 1]
    said = [1] + register(backing) + WAIT + hold(0, 4096) + recalled + WAIT + again + WAIT
    said += [SAY, 11, 1, 0, 1, 8, 50, 1, 0, 5] + WAIT + [SAY, 14, 2, 1, 0, 1] + WAIT + hold(1, 0) + [SAY, 10, 1, 0, 1, 8, 1, 0, 5] + WAIT
    said += hold(2, 0) + hold(3, 0) + [SAY, 13, 2, 1, 0, 1, 2, 1] + [SAY, 6, 1, 1] + [SAY, 5, 1, 1] + WAIT
    return bytes(reversed(said))


def encode(file, kind, text):
    return subprocess.run(["protoc", "--proto_path=" + PROTO, f"--encode={kind}", file], input=text.encode(), check=True,
                          capture_output=True).stdout


def write(target, name, content):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "seed_" + name), "wb") as f:
        f.write(content)


def main():
    for name, (fds, text) in FRAMES.items():
        frame = encode("lease.proto", "mrlease.wire.v1.Frame", text)
        write("frames", name, bytes([fds]) + frame)
        # FuzzedDataProvider takes lengths of strings by "\\" and another byte, and small numbers from the end.
        write("lying_daemon", name, frame.replace(b"\\", b"\\\\") + b"\\ " + bytes([fds]))
    for name, (which, kind, text) in ADMIN.items():
        write("admin_requests", name, bytes([which]) + encode("admin.proto", "mrlease.admin.v1." + kind, text))
    for name, text in CONFIGURATION.items():
        write("configuration", name, text.encode())
    for kind in range(1, 6):
        message = struct.pack("<IHHQQQQQIIQ", 0x504C524D, 1, kind, 9, 0x100000001, 1 << 40, 65536, 4096, 77, 0, 3)
        write("peers", str(kind), message)
    for name, (backing, steps) in REGIONS.items():
        write("region_of_a_liar", name, region(backing, steps))
    for backing in range(1, 5):
        write("broker", str(backing), scene(backing))
    for number in range(4):
        write("broker", f"any_{number}", random.Random(number).randbytes(400))
    write("region_of_a_liar", "bounce_short", region(3, [SYNC], 14))
    write("messages", "register", bytes(40) + b"\0")
    write("translate", "empty", bytes(3))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""abi.py LIBRARY HEADER... RECORD: what programs were compiled against stays as it was: the size of every public struct, where
its members are, every enumerator, every prototype, every symbol with its version. RECORD is the ABI of the last release, or of
now before the first.
--write: make it so, for a new symbol or a member at the end. --self-test: changes of the header are found.
Exit 1: something differs; what is only added is told apart from what breaks."""
import os
import re
import subprocess
import sys
import tempfile

from symbols import exported_by


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def members(body):
    """Names of a struct's members: 'uint64_t offset, length;' has two, 'char guard[24];' one."""
    for declaration in body.split(";"):
        for name in declaration.split(","):
            found = re.search(r"(\w+)\s*(?:\[[^\]]*\])?\s*$", name)
            if found:
                yield found.group(1)


def questions(header):
    """C statements that print the facts."""
    text = without_comments(header)
    for name, body in re.findall(r"struct (\w+) \{(.*?)\}", text, flags=re.S):
        yield f'printf("struct {name} size %zu align %zu\\n", sizeof(struct {name}), _Alignof(struct {name}));'
        for member in members(body):
            yield (f'printf("struct {name} {member} at %zu size %zu\\n", offsetof(struct {name}, {member}), '
                   f"sizeof(((struct {name} *)0)->{member}));")
    for name, body in re.findall(r"enum (\w+) \{(.*?)\}", text, flags=re.S):
        yield f'printf("enum {name} size %zu\\n", sizeof(enum {name}));'
        for enumerator in re.findall(r"\b(MRL_\w+)\b", body):
            yield f'printf("{enumerator} = %d\\n", (int){enumerator});'


def prototypes(header):
    return ["prototype " + " ".join(each.split()) for each in re.findall(r"^MRL_API ([^;]*);", without_comments(header), flags=re.M)]


def facts_of_header(path):
    with open(path, encoding="utf-8") as f:
        header = f.read()
    with tempfile.TemporaryDirectory() as folder:
        source, program = folder + "/abi.c", folder + "/abi"
        with open(source, "w", encoding="utf-8") as f:
            f.write(f'#include "{os.path.abspath(path)}"\n#include <stdio.h>\nint main(void) {{\n' + "\n".join(questions(header)) + "\nreturn 0; }\n")
        subprocess.run(["cc", "-std=c11", "-I", os.path.dirname(os.path.dirname(os.path.abspath(path))), source, "-o", program], check=True, timeout=50)
        printed = subprocess.run([program], check=True, text=True, stdout=subprocess.PIPE, timeout=50).stdout.splitlines()
    return printed + prototypes(header)


def compare(now, record):
    gone, new = [line for line in record if line not in now], [line for line in now if line not in record]
    return [f"breaks programs: was: {line}" for line in gone] + [f"new: {line}" for line in new]


# What a careless hand would do, each found as something that breaks.
CHANGES = [("size_t struct_size;        /* sizeof(struct mrl_event)", "uint32_t first; size_t struct_size;        /*"),
           ("MRL_EVENT_FENCED = 4", "MRL_EVENT_FENCED = 14"),
           ("char backing_reason[200];", "char backing_reason[300];"),
           ("mrl_sync(struct mrl_region *region, uint64_t offset,", "mrl_sync(struct mrl_region *region, uint32_t offset,"),
           ("uint64_t offset, length;   /* of the file */", "uint64_t length, offset;")]


def self_test(header):
    with open(header, encoding="utf-8") as f:
        text = f.read()
    before = facts_of_header(header)
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for old, new in CHANGES:
            changed = folder + "/mrlease.h"
            with open(changed, "w", encoding="utf-8") as f:
                f.write(text.replace(old, new))
            if old not in text or not any(line.startswith("breaks") for line in compare(facts_of_header(changed), before)):
                missed.append(f"not found: {old} -> {new}")
    print("\n".join(missed) or f"{len(CHANGES)} changes, all found")
    return 1 if missed or len(before) < 90 else 0


def main():
    if sys.argv[1] == "--self-test":
        return self_test(sys.argv[2])
    library, *headers, path = [argument for argument in sys.argv[1:] if argument != "--write"]
    now = [fact for header in headers for fact in facts_of_header(header)] + ["symbol " + name for name in exported_by(library)]
    if "--write" in sys.argv:
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(now) + "\n")
    with open(path, encoding="utf-8") as f:
        differences = compare(now, f.read().splitlines())
    print("\n".join(differences) or f"{len(now)} facts, as recorded")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

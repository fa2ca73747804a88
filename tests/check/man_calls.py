#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""man_calls.py ROOT: each call of the public headers has a man page, or an alias of one; its prototype there is the header's; what pages name
of the library is there; the errors that the header lists for a call are in its page. --self-test ROOT: a mistake of each kind,
planted, is found."""
import os
import re
import sys

HEADERS, PAGES = ["client-lib/include/mrlease/mrlease.h", "client-lib/include/mrlease/peers.h"], "client-lib/man"


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def calls_of(header):
    """Name: prototype, on one line."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    return {name: " ".join(prototype.split())
            for prototype, name in re.findall(r"MRL_API\s+((?:[^;()]*?)\b(mrl_\w+)\([^;]*\));", text)}


def errors_of(header, call):
    """The errno values in the list of the comment before it: lines that begin with them."""
    before = header[:re.search(rf"MRL_API[^;]*\b{call}\(", header).start()]
    comment = before[before.rfind("/*"):]
    return {code for line in re.findall(r"^ \*   ((?:E[A-Z]+(?:, )?)+) ", comment, flags=re.M) for code in line.split(", ")}


def synopsis_of(page):
    lines = page.split(".SH SYNOPSIS")[1].split(".SH ")[0].splitlines()
    return " ".join(" ".join(re.sub(r'^\.B |"', "", line) for line in lines).split())


def wrong_in(header, pages):
    calls = calls_of(header)
    for call, prototype in calls.items():
        page = pages.get(call, "")
        if page.startswith(".so man3/"):
            page = pages.get(page.split("/")[1].strip()[:-2], "")
        if not page:
            yield f"{call} has no page"
            continue
        if prototype + ";" not in synopsis_of(page):
            yield f"{call}: the header says {prototype}; its page does not"
        listed = set(re.findall(r"^\.B (E[A-Z]+)$", page, flags=re.M))
        for code in sorted(errors_of(header, call) - listed):
            yield f"{call}: the header lists {code}; its page does not"
    known = set(re.findall(r"\b(?:mrl_|MRL_)\w+", header))
    for name, page in pages.items():
        for word in sorted(set(re.findall(r"\b(?:mrl|MRL)_[A-Za-z_]+\b", page)) - known):
            if word.lower() not in known and not word.endswith("_"):
                yield f"{name}.3 names {word}, which no header has"


def main():
    root = sys.argv[-1]
    header = "\n".join(read(os.path.join(root, name)) for name in HEADERS)
    folder = os.path.join(root, PAGES)
    pages = {name[:-2]: read(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".3")}
    wrong = list(wrong_in(header, pages))
    if sys.argv[1] != "--self-test":
        print("\n".join(wrong) or f"{len(calls_of(header))} calls, each with its page")
        return 1 if wrong else 0
    planted = {
        "a call without a page": (header, {k: v for k, v in pages.items() if k != "mrl_enter"}),
        "another prototype": (header.replace("mrl_extend(struct mrl_region *region, uint64_t", "mrl_extend(struct mrl_region *region, uint32_t"), pages),
        "an error that is not listed": (header, {**pages, "mrl_reg_mr": pages["mrl_reg_mr"].replace(".B ESTALE\n", ".B EOTHER\n")}),
        "a name that is not there": (header, {**pages, "mrl_sync": pages["mrl_sync"] + "mrl_synchronize\n"}),
    }
    missed = [f"{what} is not found" for what, (h, p) in planted.items() if not list(wrong_in(h, p))]
    print("\n".join(wrong + missed) or f"{len(planted)} planted mistakes, all found")
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())

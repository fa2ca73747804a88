#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model of the recall protocol (recall.pml), checked by spin. check.py: no error, and no statement that is never
reached. check.py --self-test: each mistake that can be planted is found, and the functions that the model names are there."""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recall.pml")
ROOT = os.path.join(os.path.dirname(MODEL), "..", "..")
# What spin must say of each planted mistake: P1, or what is wrong when nothing can happen any more.
P1, STUCK, LOST = "(mr[0]&&keyed[0]))&& !((mr[1]", "&&up)&&serving)", "k_fenced["
MISTAKES = {
    "ANSWER_BEFORE_ACK": P1,    # the guard is answered before the client has said that it complied
    "NOT_RECALLED_ALL": P1,     # one of two overlapping leases is not recalled
    "RESTORE_TOO_EARLY": P1,    # leases come back before the operation has left
    "FENCE_UNFINISHED": P1,     # a fence counts for done when it is ordered
    "FENCE_HANDED_BACK": P1,    # a fence forgets a memory region that is handed back and not deregistered yet
    "FENCE_BLIND": P1,          # a successor fences without the client's descriptor
    "GONE_FIRST": P1,           # a session is over before its memory regions are
    "FORGET_ONE": P1,           # a successor forgets one of two overlapping leases
    "SUCCESSOR_ANSWERS": P1,    # a successor answers what is held at once
    "SUCCESSOR_RESTORES": P1,   # a successor gives leases back while an allowed operation still runs
    "LATE_MARK": P1,            # the journal does not tell "held" from "being answered"
    "SAME_NUMBERS": P1,         # answers to the predecessor's recalls count
    "NOT_JOURNALED": STUCK,     # an event that was read is not noted
    "READ_FORGOTTEN": STUCK,    # a successor forgets that its predecessor was reading
    "NO_DEADLINE": STUCK,       # a recall has none
    "NOT_ASKED_AGAIN": STUCK,   # a request that the predecessor had taken is not asked again
    "NOTED_TOO_LATE": LOST,     # that a lease is quiesced is noted after its client was asked
}
UNREACHED = re.compile(r"unreached in (\w+) ?(\w*)")


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def verify(folder, mistakes, compile_options, pan_options):
    """What pan says."""
    for command in (["spin", "-a"] + ["-D" + m for m in mistakes] + [MODEL],
                    ["cc", "-w", "-O1", "-DCOLLAPSE", "-DNOBOUNDCHECK", *compile_options, "-o", "pan", "pan.c"]):
        code, text = run(command, folder)
        if code != 0:
            sys.exit(f"{' '.join(command)}: {text}")
    return run(["./pan", "-m100000", *pan_options], folder)[1]


def unreached(text):
    """Statements of the model, not of the claim, that no execution reaches; the ends of endless loops apart."""
    process = ""
    for line in text.splitlines():
        found = UNREACHED.match(line)
        if found:
            process = found.group(2) if found.group(1) == "proctype" else ""
        elif process and "state" in line and '"-end-"' not in line and line.startswith("\t/"):
            yield f"{process}: {line.strip()}"


def safety(folder, mistakes=()):
    return verify(folder, mistakes, ["-DSAFETY", "-DNOCLAIM"], [])


def number(pattern, text):
    found = re.search(pattern, text)
    return found.group(1) if found else "?"


def check(name, text, want_all_reached):
    print(f"{name}: {number(r'errors: ([0-9]+)', text)} errors, {number(r'([0-9.e+]+) states, stored', text)} states, "
          f"depth {number(r'depth reached ([0-9]+)', text)}, {number(r'elapsed time ([0-9.e+-]+)', text)} s")
    missing = list(unreached(text)) if want_all_reached else []
    for line in missing:
        print(f"never reached: {line}")
    good = "errors: 0" in text and "Search not completed" not in text and "max search depth too small" not in text
    if not good:
        print(text)
    return good and not missing


def model():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        good = check("P1, nothing stuck, nothing lost", safety(one), True)
        # Every execution of the model ends, so no fairness is needed for P2.
        good &= check("P2", verify(two, [], [], ["-a", "-N", "p2"]), False)
    return 0 if good else 1


def finds(name):
    with tempfile.TemporaryDirectory() as folder:
        text = safety(folder, [name])
    said = number(r"pan:\d+: (.*)", text)
    return name, "errors: 1" in text and MISTAKES[name] in said, said


def sources():
    for top in ("daemon", "client-lib/src"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith(".cc"):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        yield f.read()


def names_that_are_gone(model):
    """Functions that the model says it stands for, and that there are not."""
    code = "\n".join(sources())
    named = re.findall(r"\b((?:\w+::)+\w+)", " ".join(re.findall(r"<- ([^*]*)", model)))
    return [name for name in named if name not in code and f" {name.split('::')[-1]}(" not in code]


def self_test():
    with open(MODEL, encoding="utf-8") as f:
        model_text = f.read()
    planted = set(re.findall(r"^#ifn?def (\w+)", model_text, re.M))
    status = 0
    for name in names_that_are_gone(model_text):
        print(f"the model names {name}, which is not in the sources")
        status = 1
    if planted != set(MISTAKES):
        print(f"in the model or in MISTAKES, not in both: {planted ^ set(MISTAKES)}")
        status = 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, found, said in pool.map(finds, MISTAKES):
            print(f"{name}: {'found' if found else 'NOT FOUND'}: {said}")
            status = status if found else 1
    return status


if __name__ == "__main__":
    sys.exit(self_test() if "--self-test" in sys.argv[1:] else model())

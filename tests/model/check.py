#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py [--self-test]: spin looks at every interleaving of recall.pml: the promises hold, and nobody is left waiting.
--self-test: it finds each of the mistakes that can be planted there."""
import os
import re
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recall.pml")
SAFETY, LIVENESS = "assertions and end states", "the operation ends, under weak fairness"
PLANTED = {
    "ANSWER_FIRST": SAFETY,
    "FORGET_ONE": SAFETY,
    "RESTORE_EARLY": SAFETY,
    "LEAVING_IS_GONE": SAFETY,
    "NO_DUPLICATE_IS_GONE": SAFETY,
    "KILLED_LETS_GO": SAFETY,
    "SUCCESSOR_ALLOWS": SAFETY,
    "SUCCESSOR_FORGETS": LIVENESS,
    "NO_DEADLINE": LIVENESS,
}


def errors_in(what, mistake=""):
    """(errors, states) of one verification."""
    safety = what == SAFETY
    with tempfile.TemporaryDirectory() as folder:
        run = lambda command, seconds: subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                                      timeout=seconds, check=True).stdout
        run(["spin", "-a"] + ([f"-D{mistake}"] if mistake else []) + [MODEL], 50)
        run(["cc", "-O2", "-w", "-o", "pan", "pan.c"] + (["-DSAFETY", "-DNOCLAIM"] if safety else ["-DNFAIR=3", "-DCOLLAPSE"]), 100)
        said = run(["./pan", "-n", "-m1000000"] + ([] if safety else ["-a", "-f", "-N", "p2"]), 500)
    errors = re.search(r"errors: (\d+)", said)
    if not errors or "max search depth too small" in said or "out of memory" in said:
        raise RuntimeError("spin did not look at all of it:\n" + said)
    return int(errors.group(1)), re.search(r"([\d.e+]+) states, stored", said).group(1)


def main():
    bad = 0
    if sys.argv[1:] == ["--self-test"]:
        for mistake, what in PLANTED.items():
            errors, _ = errors_in(what, mistake)
            if errors == 0:
                print(f"{mistake}: not found")
                bad = 1
        print(f"{len(PLANTED)} mistakes planted, " + ("not all found" if bad else "all found"))
        return bad
    for what in (SAFETY, LIVENESS):
        errors, states = errors_in(what)
        print(f"{what}: {errors} errors in {states} states")
        bad = bad or errors
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

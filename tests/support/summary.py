#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""summary.py RESULTS EXPECTED_SKIPS "TIERS": add up what the tiers left as files. A skip that the list does not name
fails; a tier that left nothing fails."""
import os
import sys
import xml.etree.ElementTree as xml


LISTED = {"vm": "vm-tier", "soak": "soak"}


def ctest(path, tier):
    if not os.path.exists(path):
        yield tier, f"{tier} left no results", "FAIL", ""
        return
    cases = list(xml.parse(path).getroot().iter("testcase"))
    for case in cases:
        skipped, failed = case.find("skipped") is not None, case.find("failure") is not None
        state = "FAIL" if failed or case.get("status") == "fail" else "SKIP" if skipped else "PASS"
        yield tier, case.get("name"), state, ""
    if not cases:
        yield tier, f"{tier} ran nothing", "FAIL", ""


def reports(directory, tier):
    """What a sanitizer has found, by kind and place."""
    found = set()
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        with open(f"{directory}/{name}", encoding="utf-8", errors="replace") as f:
            found |= {line.strip() for line in f if line.startswith("SUMMARY: ") or ": runtime error: " in line} or {f"see {name}"}
    for each in sorted(found):
        yield tier, each, "FAIL", ""


def listed(directory, tier):
    """A folder for each place it ran in, with a line for each case."""
    found = False
    for place in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        path = f"{directory}/{place}/cases.txt"
        if not os.path.exists(path):
            continue
        found = True
        with open(path, encoding="utf-8") as f:
            for line in f:
                state, name, *why = line.rstrip("\n").split(" ", 2)
                yield tier, f"{place}/{name}", state, " ".join(why)
    if not found:
        yield tier, f"{tier} left no results", "FAIL", ""


def expected(path):
    with open(path, encoding="utf-8") as f:
        return {line.split("#")[0].strip() for line in f} - {""}


def main():
    results, skips, tiers = sys.argv[1], expected(sys.argv[2]), sys.argv[3].split()
    every = []
    for tier in tiers:
        folder = LISTED.get(tier)
        every += listed(f"{results}/{folder}", tier) if folder else ctest(f"{results}/ctest-{tier}.xml", tier)
        every += reports(f"{results}/{tier}-reports", tier)
    count = {state: sum(1 for case in every if case[2] == state) for state in ("PASS", "FAIL", "SKIP")}
    surprising = [case for case in every if case[2] == "SKIP" and f"{case[0]}:{case[1]}" not in skips]
    for tier in tiers:
        mine = [case[2] for case in every if case[0] == tier]
        print(f"{tier}: {mine.count('PASS')} passed, {mine.count('FAIL')} failed, {mine.count('SKIP')} skipped.")
    for tier, name, state, why in every:
        if state == "FAIL":
            print(f"FAILED {tier}:{name} {why}")
    for tier, name, _, why in surprising:
        print(f"SKIPPED and not expected (tests/expected_skips.txt): {tier}:{name} {why}")
    print(f"{count['PASS']} passed, {count['FAIL']} failed, {count['SKIP']} skipped")
    return 1 if count["FAIL"] or surprising or not count["PASS"] else 0


if __name__ == "__main__":
    sys.exit(main())

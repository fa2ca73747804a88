#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py BUILD [--quick] [--only NAME] [--junit FILE]: builds the sources with every deliberate bug of mutants.py in them, in BUILD, switches one on
after the other, and wants its test to fail. With none of them on, each of those tests has to pass. The sources themselves have no such
switch. --quick: only those that a unit test can tell whose program is quickly built. Exit 1: one was not caught, or the text that it replaces is gone."""
import argparse
import collections
import concurrent.futures
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

from mutants import MUTANTS

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
PROGRAMS = {
    "core": "tests/unit/core/unit_core",
    "guard": "tests/unit/guard/unit_guard",
    "store": "tests/unit/store/store_test",
    "keep": "tests/unit/keep/unit_keep",
    "session": "tests/unit/session/unit_session",
    "fence_order": "tests/unit/fence/fence_order_test",
    "client": "tests/unit/client/unit_client",
    "region": "tests/unit/client/unit_client_region",
    "proto": "tests/unit/proto/proto_test",
    "sim": "tests/sim/mrlease_sim",
    "integration_daemon": "tests/integration/daemon/integration_daemon",
    "integration_guard_precontent": "tests/integration/guard/integration_guard_precontent",
    "integration_guard_lease": "tests/integration/guard/integration_guard_lease",
}
# The others need the session library or the daemon, which take as long to build as all these together, or run for long.
QUICK = ("core", "guard", "store", "keep", "fence_order", "client", "region", "proto")
# Seconds; one that hangs is caught.
LIMIT = 150
SWITCH = """// The switch of tests/mutants, which the sources themselves do not have.
#pragma once
#include <cstdlib>
#include <cstring>
namespace mrlease_mutants {
inline bool on(const char* name) {
  static const char* const wanted = std::getenv("MRLEASE_MUTANT");
  return wanted != nullptr && std::strcmp(wanted, name) == 0;
}
}  // namespace mrlease_mutants
"""


def program_of(mutant):
    return mutant.caught_by.split(":")[0]


def source_files():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], stdout=subprocess.PIPE, check=False).stdout.decode().split("\0")
    return [name for name in listed if name and os.path.exists(os.path.join(ROOT, name))]


def mutated():
    """The text of each file that has mutants, and what is wrong with the list."""
    texts, wrong = {}, []
    for m in MUTANTS:
        if m.file not in texts:
            with open(os.path.join(ROOT, m.file), encoding="utf-8") as f:
                texts[m.file] = f.read()
        pairs = zip(m.old, m.new) if isinstance(m.old, tuple) else [(m.old, m.new)]
        for old, new in pairs:
            if texts[m.file].count(old) != 1:
                wrong.append(f"{m.name}: {m.file} has its text {texts[m.file].count(old)} times, not once")
            texts[m.file] = texts[m.file].replace(old, new.replace("MUTANT", f'::mrlease_mutants::on("{m.name}")'))
    names = collections.Counter(m.name for m in MUTANTS)
    return texts, wrong + [f"{name} is there {count} times" for name, count in names.items() if count > 1]


def write(path, text):
    """Not what is the same: it would be built again."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            if f.read() == text:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def copy_sources(to, texts):
    write(os.path.join(to, "mutants.h"), SWITCH)
    for name in source_files():
        target = os.path.join(to, name)
        if name in texts:
            write(target, f'#include "{to}/mutants.h"\n#line 1\n' + texts[name])
            continue
        source = os.path.join(ROOT, name)
        if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target)


def build(sources, programs):
    out = os.path.join(sources, "build", "release")
    texts, wrong = mutated()
    if wrong:
        sys.exit("\n".join(wrong))
    copy_sources(sources, texts)
    configured, preset = os.path.join(out, "build.ninja"), os.path.join(sources, "CMakePresets.json")
    if not os.path.exists(configured) or os.path.getmtime(configured) < os.path.getmtime(preset):
        subprocess.run(["cmake", "--fresh", "--preset", "release"], cwd=sources, stdout=subprocess.DEVNULL, check=True)
    targets = [os.path.basename(PROGRAMS[program]) for program in programs]
    subprocess.run(["cmake", "--build", out, "-j", str(os.cpu_count()), "--target", *targets, "--", "--quiet"], check=True)
    return out


def fails(out, caught_by, mutant):
    """Does that test fail while that bug is on? One that does not end in time does."""
    environment = {**os.environ, "MRLEASE_MUTANT": mutant, "GTEST_FAIL_FAST": "1", "GTEST_BRIEF": "1"}
    kind, _, rest = caught_by.partition(":")
    command = [os.path.join(out, PROGRAMS[kind])] + (["--gtest_filter=" + rest] if rest else [])
    if kind == "sim":
        command += ["--seeds", "200"]
    try:
        return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT, check=False).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("build")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only")
    p.add_argument("--junit", help="the results as the other tiers leave them")
    a = p.parse_args()
    wanted = [m for m in MUTANTS if (not a.quick or program_of(m) in QUICK) and a.only in (None, m.name)]
    if not wanted:
        sys.exit(f"there is no mutant {a.only}")
    out = build(os.path.abspath(a.build), sorted({program_of(m) for m in wanted}))
    for test in dict.fromkeys(m.caught_by for m in wanted):
        if fails(out, test, ""):
            sys.exit(f"{test} fails without any of them: nothing can be said")

    def tried(m):
        began = time.monotonic()
        return m, fails(out, m.caught_by, m.name), time.monotonic() - began

    caught, results = 0, xml.Element("testsuite")
    # Side by side: some are found by a test that waits until its deadline.
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    for m, found, seconds in pool.map(tried, wanted):
        caught += found
        result = xml.SubElement(results, "testcase", name=m.name)
        if not found:
            xml.SubElement(result, "failure", message="not caught by " + m.caught_by)
        print(f"{'caught' if found else 'NOT CAUGHT':<11}{m.name:<56}{program_of(m)[:7]:<8}{seconds:3.0f} s", flush=True)
    if a.junit:
        xml.ElementTree(results).write(a.junit)
    left = len(MUTANTS) - len(wanted) if not a.only else 0
    print(f"{caught} caught / {len(wanted)} planted" + (f"; {left} more without --quick" if left else ""))
    return 0 if caught == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())

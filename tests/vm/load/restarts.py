#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A row of the demo while something befalls the daemon, a service of systemd, again and again:
restarts.py --kills N | --served-kills N | --stalls N | --restarts N | --upgrades N --packages "A.deb B.deb" + the options of drive.py.
Nobody may notice more than a wait, which is bounded. Exit 0: nothing was lost, no error, no lease fenced, no memory region left, the keys
are the same, no application was asked for anything."""
import argparse
import sys

from drive import parse
from regions import no_orphans
from row import FENCED_BY_MS
from systemd import Killer, Restarter, ServedKiller, Staller, UnderSystemd, Upgrader, shown


def told(events):
    """{"trimmed": 6} of "trimmed 6"."""
    return {word.split()[0]: int(word.split()[1]) for word in events.split(", ") if word}


def judge(result, trouble):
    bad = list(result["problems"]) + trouble.judge()
    bad += [f"{k} is {result[k]}" for k in ("errors", "lost", "torn", "not_durable", "foreign_errors") if result[k]]
    if not result["keys_same"]:
        bad.append("the keys have changed")
    more = {k: n for k, n in told(result["events"]).items() if k not in ("trimmed", "reconnected")}
    if more:
        bad.append(f"the application was told more than RECONNECTED: {more}")
    if told(result["events"]).get("trimmed", 0) > result["truncates"]:
        bad.append("the application was told of more truncates than there were")
    if trouble.done < trouble.count:
        bad.append(f"only {trouble.done} of {trouble.count} were done")
    # Who is held waits for a daemon (each successor begins the wait anew: while one after the other is killed, for all of them), then for the client: P2's bound beside the time in which nobody served.
    bound = trouble.away * 1000 + FENCED_BY_MS
    for what in ("truncate", "grow", "open", "read"):
        longest = result["foreign_wait_ms_by"].get(what, dict(max=0))["max"]
        print(f"longest {what}: {longest:.0f} of {bound:.0f} ms", flush=True)
        if longest > bound:
            bad.append(f"a system call ({what}) waited {longest:.0f} ms, at most {bound:.0f} ms is right")
    if result["phases"] == "truncate" and result["truncates"] < trouble.count:
        bad.append(f"only {result['truncates']} truncates met {trouble.count} blows")
    if not result["truncates"] and "truncate" in result["phases"]:
        bad.append("nothing was truncated")
    if not result["freezes"] and "freeze" in result["phases"]:
        bad.append("nothing was frozen")
    return bad


def main():
    p = argparse.ArgumentParser(add_help=False)
    for what in ("kills", "served-kills", "stalls", "restarts", "upgrades"):
        p.add_argument("--" + what, type=int, default=0)
    p.add_argument("--packages", default="")
    own, others = p.parse_known_args()
    args = parse(others)
    row = UnderSystemd(args)
    if own.kills:
        row.trouble = Killer(own.kills, args.seed)
    elif own.served_kills:
        row.trouble = ServedKiller(own.served_kills, args.seed)
    elif own.stalls:
        row.trouble = Staller(own.stalls, args.seed)
    elif own.restarts:
        row.trouble = Restarter(own.restarts, args.seed)
    else:
        row.trouble = Upgrader(own.upgrades, args.seed, own.packages.split())
    trouble, result = row.trouble, row.run()
    show = ("name", "backing", "guard", "ops", "errors", "lost", "torn", "not_durable", "truncates", "freezes",
            "unsettled", "first", "foreign_ops", "foreign_wait_ms_max", "stall_ms_max", "keys_same", "events", "seconds")
    print("row " + " ".join(f"{k}={result[k]}" for k in show), flush=True)
    print(f"waits={result['foreign_wait_ms_by']}", flush=True)
    print(f"{type(trouble).__name__}={trouble.done} away={trouble.away:.1f}s seconds={trouble.seconds:.1f} "
          f"restarts={shown('NRestarts')} state={shown('ActiveState')}", flush=True)
    bad = judge(result, trouble) + no_orphans()
    for problem in bad:
        print("NOT OK: " + problem, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

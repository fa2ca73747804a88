#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""judge_rows.py [--control] FILE...: exit 1 and say why when a row is not as it must be."""
import json
import sys

from report import judge


def main():
    control = sys.argv[1] == "--control"
    rows = []
    for path in sys.argv[1 + control:]:
        with open(path) as f:
            rows.append(json.load(f))
    bad = judge(rows, control)
    print("\n".join(bad) or "as it must be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

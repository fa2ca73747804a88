#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""symbols.py LIBRARY HEADER...: the shared library exports what the headers declare with MRL_API, and nothing else."""
import re
import subprocess
import sys


def exported_by(library):
    """Names with their versions, "mrl_open@@MRLEASE_0", in nm's order."""
    listing = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    # "A" entries name the versions of the version script
    return [line.split()[2] for line in listing.splitlines() if line.split()[1] not in "Aa"]


def main():
    library, headers = sys.argv[1], sys.argv[2:]
    exported = {name.split("@")[0] for name in exported_by(library)}
    declared, silent = set(), []
    for header in headers:
        with open(header, encoding="utf-8") as f:
            found = re.findall(r"MRL_API[^;(]*?\b(mrl_\w+)\(", f.read())
        declared.update(found)
        silent += [] if found else [header]
    wrong = [f"exported and not declared: {name}" for name in sorted(exported - declared)]
    wrong += [f"declared and not exported: {name}" for name in sorted(declared - exported)]
    wrong += [f"{header} declares nothing: this check cannot work" for header in silent]
    print("\n".join(wrong) or f"{len(exported)} symbols, all declared")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

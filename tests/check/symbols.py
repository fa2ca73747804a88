#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""symbols.py LIBRARY HEADER: the shared library exports what the header declares with MRL_API, and nothing else."""
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
    library, header = sys.argv[1:3]
    exported = {name.split("@")[0] for name in exported_by(library)}
    with open(header, encoding="utf-8") as f:
        declared = set(re.findall(r"MRL_API[^;(]*?\b(mrl_\w+)\(", f.read()))
    wrong = [f"exported and not declared: {name}" for name in sorted(exported - declared)]
    wrong += [f"declared and not exported: {name}" for name in sorted(declared - exported)]
    if not declared:
        wrong.append(f"{header} declares nothing: this check cannot work")
    print("\n".join(wrong) or f"{len(exported)} symbols, all declared")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

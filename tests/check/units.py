#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""units.py SERVICE SOCKET MRLEASED KEEP-FOLDER: systemd takes the units as they are, their exposure stays at 4.1 or below,
and the numbers that stand in the unit and in the code are the same."""
import os
import re
import subprocess
import sys
import tempfile

EXPOSURE_MAX = 4.1


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=50)
    return done.returncode, done.stdout + done.stderr


def setting(text, name):
    return [line.split("=", 1)[1] for line in text.split("\n") if line.startswith(name + "=")]


def main():
    service, socket, program, keep = sys.argv[1:]
    broken = []
    with open(service, encoding="utf-8") as f:
        text = f.read()
    with tempfile.TemporaryDirectory() as folder:
        # verify wants the program to be there; it is not installed when this runs.
        with open(os.path.join(folder, "mrleased.service"), "w", encoding="utf-8") as f:
            f.write(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=" + os.path.abspath(program), text))
        with open(socket, encoding="utf-8") as f, \
                open(os.path.join(folder, "mrleased.socket"), "w", encoding="utf-8") as g:
            g.write(f.read())
        units = [os.path.join(folder, name) for name in ("mrleased.service", "mrleased.socket")]
        code, said = run("systemd-analyze", "verify", "--man=no", *units)
        said = "\n".join(line for line in said.split("\n") if "mrleased" in line)
        if code != 0 or said:
            broken.append(f"systemd-analyze verify: {code}: {said}")
        _, said = run("systemd-analyze", "security", "--offline=true", "--no-pager", units[0])
        found = re.search(r"Overall exposure level for mrleased.service: ([0-9.]+)", said)
        if not found or float(found.group(1)) > EXPOSURE_MAX:
            broken.append(f"systemd-analyze security: {found.group(1) if found else said}, at most {EXPOSURE_MAX} is wanted")
    with open(os.path.join(keep, "keeper.h"), encoding="utf-8") as f:
        in_code = re.search(r"kStoreMax = (\d+)", f.read()).group(1)
    if setting(text, "FileDescriptorStoreMax") != [in_code]:
        broken.append(f"FileDescriptorStoreMax={setting(text, 'FileDescriptorStoreMax')}, kStoreMax = {in_code}")
    if setting(text, "StartLimitIntervalSec") != ["0"]:
        broken.append("StartLimitIntervalSec= must be 0: a start limit that is reached ends in fail-open")
    print("\n".join(broken) or f"the units hold; exposure {found.group(1)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

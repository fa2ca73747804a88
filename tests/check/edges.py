#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The house's one-way edges. edges.py ROOT: prints what breaks one, exit 1. edges.py --self-test ROOT: plants one
broken edge of every kind into a copy of the sources and wants each to be found."""
import os
import re
import shutil
import sys
import tempfile

# A folder may include these folders of the project, and itself. What is not named here is not checked for includes.
MAY_INCLUDE = {
    "proto": [],
    "daemon/core": [],
    "daemon/sys": ["proto"],
    "daemon/fence": ["daemon/sys", "proto"],
    "daemon/guard": ["daemon/core", "daemon/sys", "proto"],
    "daemon/store": ["daemon/fence", "daemon/sys", "proto"],
    "daemon/keep": ["daemon/sys"],
    "daemon/session": ["daemon/core", "daemon/fence", "daemon/guard", "daemon/keep", "daemon/store", "daemon/sys", "proto"],
    "daemon/config": ["daemon/core", "daemon/session", "daemon/admin"],
    "daemon/ctl": ["daemon/sys", "proto"],
    "daemon/admin": ["daemon/core", "daemon/fence", "daemon/guard", "daemon/keep", "daemon/session", "daemon/sys", "proto"],
    "daemon": ["daemon", "proto"],
    "client-lib/include": [],
    "client-lib/src/protocol": ["client-lib/src/util", "client-lib/include", "proto"],
    "client-lib/src/verbs": ["client-lib/src/util", "client-lib/include"],
    "client-lib/src/preload": ["client-lib/src/region", "client-lib/src/verbs", "client-lib/include", "proto"],
    "client-lib/src/peers": ["client-lib/src/util", "client-lib/src/verbs", "proto"],
    "client-lib": ["client-lib", "proto"],
    "tests/vm/load": ["client-lib/include", "tests/support"],
}
GENERATED = {"lease.pb.h": "proto", "admin.pb.h": "proto", "admin.grpc.pb.h": "proto"}
STANDARD_ONLY = ["daemon/core"]  # no header of the system, none of a library
NO_LIBRARY = {"client-lib/include": re.compile(r"<(asio|google)[./]"), "proto": re.compile(r"<asio[./]")}
RAW_CALL = re.compile(r"(?<![\w.>])(?:::)?(?:syscall|ioctl)\)?\s*\(")
RAW_CALL_IN = {"daemon": ["daemon/sys", "daemon/guard", "daemon/fence", "daemon/store"],
               "client-lib": ["client-lib/src/uffd", "client-lib/src/verbs", "client-lib/src/util", "client-lib/src/preload"]}
VERBS_CALL = re.compile(r"(?<![\w.>])ibv_[a-z0-9_]+\)?\s*\((?!\*)|&(?:::)?ibv_[a-z0-9_]+")
VERBS_CALL_IN = {"client-lib/src": ["client-lib/src/verbs", "client-lib/src/preload"], "daemon": []}


def sources(root):
    for top in ("proto", "daemon", "client-lib", "tests/vm/load"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".h", ".hpp", ".cc", ".c")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def most_specific(path, table):
    fitting = [folder for folder in table if inside(path, folder)]
    return max(fitting, key=len) if fitting else None


def code_of(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return [re.sub(r"//.*", "", line) for line in text.split("\n")]


def included_folder(root, name):
    if name in GENERATED:
        return GENERATED[name]
    if name.startswith("mrlease/"):
        return "client-lib/include"
    return os.path.dirname(name) if os.path.exists(os.path.join(root, name)) else None


def check_includes(root, path, line):
    found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
    if not found:
        return
    name, home = found.group(2), most_specific(path, MAY_INCLUDE)
    target = included_folder(root, name)
    if target and home and not inside(target, home) and not any(inside(target, f) for f in MAY_INCLUDE[home]):
        yield f"{home} must not include {target} ({name})"
    if target and home in ("daemon", "client-lib") and not any(inside(target, f) for f in MAY_INCLUDE[home]):
        yield f"{home} must not include {target} ({name})"
    if target is None and found.group(1) == '"':
        yield f"{name} is not named from the root, so nobody sees which folder it is of"
    if target is None and found.group(1) == "<" and any(inside(path, f) for f in STANDARD_ONLY):
        if "/" in name or "." in name:
            yield f"{home} takes the standard library only, not <{name}>"
    for folder, pattern in NO_LIBRARY.items():
        if inside(path, folder) and pattern.match("<" + name):
            yield f"{folder} must not show <{name}>"


def check_calls(path, line):
    for kind, pattern, homes in (("raw system call", RAW_CALL, RAW_CALL_IN), ("verbs call", VERBS_CALL, VERBS_CALL_IN)):
        top = most_specific(path, homes)
        if top and pattern.search(line) and not any(inside(path, f) for f in homes[top]):
            yield f"a {kind} stands outside {', '.join(homes[top]) or 'the library'}: {line.strip()}"


def check(root):
    broken = []
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        if "SPDX-License-Identifier: Apache-2.0" not in text[:200]:
            broken.append(f"{path}:1: no SPDX line")
        for number, line in enumerate(code_of(text), 1):
            for what in list(check_includes(root, path, line)) + list(check_calls(path, line)):
                broken.append(f"{path}:{number}: {what}")
    return broken


PLANTED = {
    "daemon/core/planted.cc": '#include "daemon/guard/guard.h"',
    "daemon/core/planted2.cc": "#include <sys/stat.h>",
    "daemon/core/planted3.cc": "#include <spdlog/spdlog.h>",
    "daemon/guard/planted.cc": '#include "daemon/session/broker.h"',
    "daemon/session/planted3.cc": '#include "daemon/admin/events.h"',
    "daemon/admin/planted.cc": '#include "daemon/loop/reloader.h"',
    "daemon/session/planted.cc": '#include "client-lib/src/protocol/frames.h"',
    "daemon/session/planted2.cc": "int f() { return ::ioctl(0, 0); }",
    "daemon/loop/planted.cc": "#include <mrlease/mrlease.h>",
    "daemon/core/planted4.cc": '#include "../guard/guard.h"',
    "daemon/core/planted5.cc": '#include "guard/guard.h"',
    "daemon/sys/planted.cc": '#include "daemon/core/types.h"',
    "daemon/fence/planted.cc": '#include "daemon/store/file_work.h"',
    "daemon/store/planted.cc": '#include "daemon/core/types.h"',
    "daemon/keep/planted.cc": '#include "daemon/session/session.h"',
    "daemon/ctl/planted.cc": '#include "daemon/admin/words.h"',
    "daemon/config/planted.cc": '#include "daemon/loop/office.h"',
    "daemon/session/planted4.cc": "long f() { return (::syscall)(1); }",
    "daemon/session/planted5.cc": "void f(ibv_mr* m) { ibv_dereg_mr(m); }",
    "client-lib/src/region/planted3.cc": "auto f = &ibv_dereg_mr;",
    "daemon/loop/planted2.cc": "long f() { return syscall(1); }",
    "client-lib/src/peers/planted.cc": '#include "client-lib/src/region/region.h"',
    "client-lib/src/region/planted.cc": '#include "daemon/core/types.h"',
    "client-lib/src/region/planted2.cc": "void f(ibv_mr* m) { ibv_dereg_mr(m); }",
    "client-lib/include/mrlease/planted.h": "#include <asio/io_context.hpp>",
    "client-lib/include/mrlease/planted2.h": "#include <google/protobuf/message_lite.h>",
    "proto/planted.cc": '#include "daemon/core/types.h"',
    "tests/vm/load/planted.cc": '#include "daemon/core/types.h"',
}


def self_test(root):
    failures = [f"the sources themselves: {line}" for line in check(root)]
    with tempfile.TemporaryDirectory() as copy:
        for top in ("proto", "daemon", "client-lib", "tests/vm/load"):
            shutil.copytree(os.path.join(root, top), os.path.join(copy, top))
        for path, line in PLANTED.items():
            os.makedirs(os.path.dirname(os.path.join(copy, path)), exist_ok=True)
            with open(os.path.join(copy, path), "w", encoding="utf-8") as f:
                f.write(f"// SPDX-License-Identifier: Apache-2.0\n{line}\n")
        unsigned = os.path.join(copy, "daemon/core/planted_unsigned.cc")
        with open(unsigned, "w", encoding="utf-8") as f:
            f.write("int x;\n")
        found = check(copy)
    if not any("planted_unsigned.cc:1: no SPDX line" in line for line in found):
        failures.append("planted and not found: a file without its SPDX line")
    for path in PLANTED:
        if not any(line.startswith(path + ":2:") for line in found):
            failures.append(f"planted and not found: {path}: {PLANTED[path]}")
    return failures


def main():
    self_testing = sys.argv[1] == "--self-test"
    broken = self_test(sys.argv[2]) if self_testing else check(sys.argv[1])
    print("\n".join(broken) or ("every planted edge was found" if self_testing else "every edge holds"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

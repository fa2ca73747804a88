#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""man_facts.py ROOT: numbers, names and exit codes that the man pages state are those of the code. mrleased.8's options have a
check of their own. --self-test ROOT: each fact, changed in the page, is found."""
import os
import re
import sys

CTL, LIB, DAEMON = "daemon/man/mrleasectl.1", "client-lib/man/mrlease.7", "daemon/man/mrleased.8"


def thousandth(text):
    return str(int(text) // 1000)


def minutes(text):
    return str(int(text) // 60000)


# Page, the words in it with one group, source, the words there with one group, how the source's is written in the page.
FACTS = [(page, r'\.TH \S+ \d "" "mrlease ([0-9.]+)"', "CMakeLists.txt", r"project\(mrlease VERSION ([0-9.]+)", str)
         for page in (CTL, LIB, DAEMON)]
FACTS += [
    (CTL, r"does not end within (\d+) s", "daemon/ctl/hold.cc", r"kGraceMs = (\d+)", thousandth),
    (CTL, r"not all are gone in time \((\d+) s\)", "daemon/admin/drain.cc", r"kUsualTimeout\{(\d+)\}", thousandth),
    (CTL, r"By default (\d+) s for questions", "daemon/ctl/client.h", r"kQuestion\{(\d+)\}", thousandth),
    (CTL, r"(\d+) minutes for breaks", "daemon/ctl/commands_breaks.cc", r"kLong\{(\d+)\}", minutes),
    (CTL, r"by default\n\.IR (\S+) \.", "daemon/ctl/client.h", r'address = "([^"]+)"', str),
    (CTL, r"\.SH FILES(?:.|\n)*?\.I (\S*admin\.sock)", "daemon/ctl/client.h", r'address = "([^"]+)"', str),
    (DAEMON, r"\.I (\S*admin\.sock)", "daemon/ctl/client.h", r'address = "([^"]+)"', str),
    (LIB, r"instead of\n\.IR (\S+) ;", "client-lib/include/mrlease/mrlease.h", r'MRL_DEFAULT_SOCKET "([^"]+)"', str),
    (LIB, r"\.SH ENVIRONMENT\n\.TP\n\.B (\w+)", "client-lib/src/api/api_context.cc", r'secure_getenv\("(\w+)"\)', str),
    (LIB, r"every (\d+) s at the longest", "client-lib/src/region/reconnect.cc", r"kLongestPause\{(\d+)\}", thousandth),
    (LIB, r"Pages of (\d+) bytes only", "client-lib/src/util/outcome.h", r"kPage = (\d+)", str),
]
# Exit status: the pages' order is the enumeration's.
EXIT_CODES = (CTL, "daemon/ctl/client.h", r"enum Exit \{([^}]*)\}")


def one(text, pattern, where):
    found = re.findall(pattern, text)
    if not found:
        return None, f"{where}: nothing reads like {pattern}"
    return found[0], None


def compare(pages, read):
    for page, in_page, source, in_source, written in FACTS:
        stated, trouble = one(pages[page], in_page, page)
        fact, other = one(read(source), in_source, source)
        if trouble or other:
            yield trouble or other
        elif stated != written(fact):
            yield f"{page} says {stated}, {source} {written(fact)} ({in_page})"
    page, source, pattern = EXIT_CODES
    codes, trouble = one(read(source), pattern, source)
    stated = re.findall(r"\n\.B (\d+)\n", pages[page].split(".SH EXIT STATUS")[1].split(".SH ")[0])
    if trouble or stated != re.findall(r"= (\d+)", codes):
        yield trouble or f"{page}: the exit codes {stated} are not those of {source}"


def reader(root):
    def read(path):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            return f.read()
    return read


def main():
    read = reader(sys.argv[-1])
    pages = {page: read(page) for page in (CTL, LIB, DAEMON)}
    wrong = list(compare(pages, read))
    if sys.argv[1] != "--self-test":
        print("\n".join(wrong) or f"{len(FACTS) + 1} facts, all as in the code")
        return 1 if wrong else 0
    missed = []
    for page, in_page, *_ in FACTS + [(CTL, r"\.SH EXIT STATUS(?:.|\n)*?\.B (3)\n")]:
        found = re.search(in_page, pages[page])
        changed = pages[page][:found.start(1)] + "7" + pages[page][found.end(1):]
        if not list(compare({**pages, page: changed}, read)):
            missed.append(f"a wrong {in_page} in {page} is not found")
    print("\n".join(wrong + missed) or f"{len(FACTS) + 1} planted mistakes, all found")
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())

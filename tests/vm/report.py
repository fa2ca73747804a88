# SPDX-License-Identifier: Apache-2.0
"""The demo's tables (80 columns) and its judgement."""
import re
import textwrap

KEY = """ops: the sender's operations; err: of them failed; lost: pages without their last acknowledged write, after a
truncate, freeze or sync; torn: pages of a frozen copy that mix writes or moved; n.d.: pages not durable after a sync
that said so; ops f: operations of others (truncate, grow, sync, freeze, thaw, open, read) and how long they waited, ms;
stall: the sender's longest, waiting for an operation or asked to
pause, ms."""


def short(number):
    return str(number) if number < 100000 else f"{number // 1000}k"


def ms(value):
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def line_of(row):
    return (row["name"].replace("-cooperative", "-coop"), row["backing"] + "+" * bool(row.get("transparent") and row["backing"] == "odp"),
            row["guard"][:7], short(row["ops"]), row["errors"], short(row["lost"]), row["torn"],
            short(row["not_durable"]), row["foreign_ops"], ms(row["foreign_wait_ms_p50"]),
            ms(row["foreign_wait_ms_p99"]),
            ms(row["foreign_wait_ms_max"]), ms(row["stall_ms_max"]))


def table(rows):
    lines = [("row", "backing", "guard", "ops", "err", "lost", "torn", "n.d.", "ops f", "p50", "p99", "max", "stall")]
    lines += [tuple(str(cell) for cell in line_of(row)) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        cells = [cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))]
        print(" ".join(cells).rstrip())


def notes(row):
    if row.get("refused"):
        yield f"{row['name']}: refused: {row['refused']}"
    elif not row["mrlease"]:
        yield f"{row['name']}: a plain ibv_reg_mr of the file's mapping, no mrlease."
    else:
        yield (f"{row['name']}: {row['reason'] or row['backing'] + ': asked for'}. Guard {row['coverage']}. "
               f"{row['truncates']} truncates, {row['freezes']} freezes, {row['syncs']} syncs; "
               f"{'odd offsets and lengths' if row['unaligned'] else 'whole pages'}; "
               f"keys {'unchanged' if row['keys_same'] else 'changed'}; stall {ms(row['stall_ms_max'])} " +
               (f"of {row['budget_ms']} ms budget." if row["transparent"] or row["backing"] == "bounce" else
                "ms: the application is asked to stop it."))
    if row["first"]:
        yield f"{row['name']}: the first: {row['first']}"
    for problem in row["problems"][:3]:
        yield f"{row['name']}: {problem}"


def print_tables(rows):
    for kernel in dict.fromkeys(row["kernel"] for row in rows):
        mine = [row for row in rows if row["kernel"] == kernel]
        print(f"kernel {kernel}")
        table(mine)
        for row in mine:
            for note in notes(row):
                print(textwrap.fill(note, 80, initial_indent="  ", subsequent_indent="    "))
        print()
    print(textwrap.fill(" ".join(KEY.split()), 80))


def judge(rows, control):
    """What is wrong with these rows, as sentences."""
    leased = [row for row in rows if row["mrlease"]]
    if control:
        return [] if sum(row["lost"] for row in leased) else ["the control run lost nothing: the counts mean nothing"]
    bad = []
    for row in leased:
        where = f"{row['kernel']} {row['name']}"
        first = f" (the first: {row['first']})" if row["first"] else ""
        bad += [f"{where}: {key} = {row[key]}{first}" for key in ("errors", "lost", "torn", "not_durable") if row[key]]
        bad += [f"{where}: {problem}" for problem in row["problems"]]
        done = [row[phase + "s"] for phase in row["phases"].split()]
        if not row["ops"] or min(done) < row["cycles"]:
            bad.append(f"{where}: only {done} of {row['phases']}, {row['cycles']} of each were due")
        if row["transparent"] and row["stall_ms_max"] > row["budget_ms"]:
            bad.append(f"{where}: the sender stalled {row['stall_ms_max']} ms, the budget is {row['budget_ms']} ms")
        if row["transparent"] and not row["keys_same"]:
            bad.append(f"{where}: address or rkey changed")
        bad += [f"{where}: {words} is expected, it is {row[name]}" for words, name in unmet(row)]
    for row in rows:
        if not row["mrlease"]:
            bad += [f"{row['kernel']} {row['name']}: {what}" for what in judge_plain(row)]
    return bad


def unmet(row):
    """Which path the row was to take (drive.py --expect): words like guard=lease or key_changes>0."""
    for words in row["expected"].split():
        name, sign, value = re.fullmatch(r"(\w+)([=>])(\w+)", words).groups()
        if not (str(row[name]) == value if sign == "=" else row[name] > int(value)):
            yield words, name


def judge_plain(row):
    """6.1 pins a file's pages and does both kinds of harm; from 6.5 on the kernel refuses."""
    if row["kernel"].startswith("6.1."):
        if row.get("refused"):
            yield row["refused"]
        elif not (row["lost"] and row["not_durable"]):
            yield f"the problem did not show: lost = {row['lost']}, not durable = {row['not_durable']}"
    elif "ibv_reg_mr" not in row.get("refused", "") or "Bad address" not in row["refused"]:
        yield "a plain registration was not refused with EFAULT: " + (row.get("refused") or "it was granted")

#!/usr/bin/env python3
"""Counts the instructions and heap allocations of a relay's work for a datagram.

Times differ from run to run and from machine to machine; these counts do not, but for what is due
by the clock now and then. They are taken by valgrind, which runs the program instruction by
instruction: each kind of work runs for some rounds and then for twice as many, and the difference
is divided by the datagrams, so that whatever is not done for each of them cancels out. Only what
runs in user space is counted, not the kernel.

    counts.py             compare with the thresholds in the tree; 1 if something costs more
    counts.py --update    write what is found into the thresholds
    counts.py --json      print what is found, compare with nothing
"""

import argparse
import json
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple, NoReturn

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".build/release/relay-checks"
THRESHOLDS = ROOT / "Benchmarks/thresholds.txt"
MARK = "counting_mark"
# What a relay that runs in threads does by the clock comes to 0.1 % of a run; a compiler's next
# patch release may come to more.
TOLERANCE = 0.01
# A thread beside may set something up once; make allocations finds any in a million datagrams.
ALLOCATIONS_LEFT_OUT = 0.01
ROUNDS = 200
# A run takes seconds; valgrind on a slow machine may take minutes.
WALL_SECONDS = 900


class Count(NamedTuple):
    instructions: float | None
    allocations: float


def give_up(status: int, text: str) -> NoReturn:
    print(f"counts: {text}", file=sys.stderr)
    sys.exit(status)


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=WALL_SECONDS)
    if done.returncode != 0:
        give_up(1, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def allocations(program: pathlib.Path, arguments: list[str]) -> dict[str, Count]:
    """Runs everything as it is: only allocations are counted."""
    counts = {}
    for line in run([str(program), "counts", *arguments]).splitlines():
        name, _, _, allocated = line.split()
        counts[name] = Count(None, float(allocated))
    return counts


def instructions(program: pathlib.Path, arguments: list[str]) -> dict[str, Count]:
    """Runs everything under valgrind, which begins a new part at each mark: for each kind of work
    there is a part for what comes before, one for the rounds and one for twice as many."""
    with tempfile.TemporaryDirectory() as folder:
        # valgrind 3.19 trips over the debug information that Swift writes.
        stripped = f"{folder}/relay-checks"
        run(["objcopy", "--strip-debug", str(program), stripped])
        tool = [
            "valgrind", "-q", "--tool=callgrind", f"--dump-before={MARK}",
            f"--callgrind-out-file={folder}/part",
        ]
        lines = run([*tool, stripped, "counts", *arguments]).splitlines()

        def total(part: int) -> int:
            text = pathlib.Path(f"{folder}/part.{part}").read_text()
            found = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
            if not found:
                give_up(70, "valgrind's output does not have totals where they are expected")
            return int(found[1])

        counts = {}
        for number, line in enumerate(lines):
            name, datagrams, _, allocated = line.split()
            more = total(3 * number + 3) - total(3 * number + 2)
            counts[name] = Count(more / (int(datagrams) / 2), float(allocated))
        return counts


def has_valgrind() -> bool:
    if not shutil.which("valgrind") or not shutil.which("objcopy"):
        subprocess.run([ROOT / ".ci/install-packages", "valgrind", "binutils"], check=False)
    return bool(shutil.which("valgrind") and shutil.which("objcopy"))


def count(program: pathlib.Path, arguments: list[str]) -> dict[str, Count]:
    if not program.exists():
        give_up(66, f"{program} is missing; make counts builds it")
    if has_valgrind():
        return instructions(program, arguments)
    print("counts: SKIPPED: there is no valgrind here, and it cannot be installed.")
    print("counts: SKIPPED: instructions are NOT checked, only allocations are.")
    return allocations(program, arguments)


# ---- Thresholds -------------------------------------------------------------------------------

HEADER = """\
# What a relay's work may cost for a datagram in user space: instructions and heap allocations.
#
# `make test` fails if something costs more by over 1 %. If it has to, or costs less now:
#     make counts ARGS=--update
# and commit the difference together with what made it. Benchmarks/counts.py says how it is counted.
# Where there are no lines for an architecture nothing is checked there, and the check says so.
#
# architecture  work                  instructions  allocations
"""


def read_thresholds(path: pathlib.Path) -> dict[str, dict[str, Count]]:
    thresholds: dict[str, dict[str, Count]] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            architecture, name, instructions, allocated = line.split()
            entry = Count(float(instructions), float(allocated))
        except ValueError:
            give_up(65, f"{path}:{number}: must be architecture, work and two numbers")
        thresholds.setdefault(architecture, {})[name] = entry
    return thresholds


def write_thresholds(path: pathlib.Path, thresholds: dict[str, dict[str, Count]]) -> None:
    lines = [
        f"{architecture:<15} {name:<21} {entry.instructions:>12.1f} {entry.allocations:>12.4f}\n"
        for architecture, entries in sorted(thresholds.items())
        for name, entry in entries.items()
    ]
    path.write_text(HEADER + "".join(lines))


def compare(found: dict[str, Count], expected: dict[str, Count], is_partial: bool) -> list[str]:
    """What is worse than it should be, a line each."""
    failures = []
    for name, entry in found.items():
        limit = expected.get(name)
        if limit is None:
            failures.append(f"{name}: has no threshold")
            continue
        pairs = [("instructions", entry.instructions, limit.instructions, TOLERANCE, 0),
                 ("allocations", entry.allocations, limit.allocations, 0, ALLOCATIONS_LEFT_OUT)]
        for what, value, most, share, some in pairs:
            if value is None or most is None:
                continue
            line = f"{name}: {what} for a datagram: expected {most:.6g}, found {value:.6g}"
            if value > most * (1 + share) + some:
                failures.append(line)
            elif value < most * (1 - share) - some:
                print(f"counts: cheaper now, so the threshold can be lower: {line}")
    if not is_partial:
        failures += [f"{name}: has a threshold and is not there" for name in expected
                     if name not in found]
    return failures


def check(found: dict[str, Count], path: pathlib.Path, is_partial: bool) -> int:
    architecture = platform.machine()
    expected = read_thresholds(path).get(architecture)
    if expected is None:
        print(f"counts: SKIPPED: {path} has nothing for {architecture}.")
        return 0
    failures = compare(found, expected, is_partial)
    for failure in failures:
        print(f"counts: FAILED: {failure}")
    if failures:
        print("counts: if it has to be so: make counts ARGS=--update")
    print(f"counts: {len(found)} kinds of work, {len(failures)} failures")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the thresholds")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--only", metavar="NAME,…", help="only these kinds of work")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each (%(default)s)")
    parser.add_argument("--waste", action="store_true", help="do useless work, to be found out")
    parser.add_argument("--thresholds", type=pathlib.Path, default=THRESHOLDS)
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    options = parser.parse_args()
    arguments = ["--rounds", str(options.rounds)]
    arguments += ["--only", options.only] if options.only else []
    arguments += ["--waste"] if options.waste else []
    found = count(options.program, arguments)
    if options.json:
        print(json.dumps({name: entry._asdict() for name, entry in found.items()}, indent=1))
        return 0
    if not options.update:
        return check(found, options.thresholds, bool(options.only))
    if any(entry.instructions is None for entry in found.values()):
        give_up(69, "--update needs valgrind")
    thresholds = read_thresholds(options.thresholds) if options.thresholds.exists() else {}
    entries = thresholds.setdefault(platform.machine(), {})
    if not options.only:
        entries.clear()
    entries.update(found)
    write_thresholds(options.thresholds, thresholds)
    print(f"counts: wrote {len(found)} to {options.thresholds}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the parts of the relay cost by themselves."""

import statistics
import subprocess

import counts

MEANING = ("of user space alone; engine: decisions without a socket, in batches of 64; the others:"
           " a whole relay or agent on loopback, one datagram or train at a time, both peers"
           " included, whose time is mostly the system's")
# So many sessions that none of them is in a cache; a gigabyte of tables.
COLD_SESSIONS = 1_000_000


def nanoseconds(arguments: list[str]) -> dict[str, float]:
    found = {}
    output = counts.run([str(counts.PROGRAM), "counts", *arguments])
    for line in output.splitlines():
        name, _, spent, _ = line.split()
        found[name] = float(spent)
    return found


def measure(rounds: int) -> list[dict]:
    """A row for each kind of work."""
    counted = counts.count(counts.PROGRAM, ["--rounds", str(counts.ROUNDS)])
    timed: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, spent in nanoseconds(["--rounds", "2000"]).items():
            timed.setdefault(name, []).append(spent)
        cold = nanoseconds(["--only", "engine-scattered", "--rounds", "2000",
                            "--sessions", str(COLD_SESSIONS)])
        timed.setdefault("engine-scattered, 1M sessions", []).append(cold["engine-scattered"])
    return [{"work": name, "nanoseconds": statistics.median(spent),
             "instructions": counted[name].instructions if name in counted else None,
             "allocations": counted[name].allocations if name in counted else None}
            for name, spent in timed.items()]


def cells(parts: list[dict]) -> list[list[str]]:
    lines = [["work", "ns", "instructions", "allocations"]]
    for part in parts:
        forms = (("nanoseconds", "{:,.1f}"), ("instructions", "{:,.1f}"), ("allocations", "{:g}"))
        lines.append([part["work"]] + ["-" if part[name] is None else form.format(part[name])
                                       for name, form in forms])
    return lines

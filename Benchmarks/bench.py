#!/usr/bin/env python3
"""Measures the relay beside others, and what its parts cost.

Every round runs each relay under each load, one after the other, so that what disturbs the machine
disturbs all alike. Shown are medians over the rounds and, as ×, the median of each round's ratio to
the first relay: above 1, the first one is cheaper. CPU times are in seconds for a million delivered
datagrams: of the relay's processes; together with the load generator's and the kernel's threads for
soft interrupts; and of all that ran on the machine. A relay that is not busy all the time waits for
the load generator, and gains less from batches than one that has to keep up.

    make bench                                      everything that is installed; some minutes
    make bench ARGS="--relays ours,loop --loads plain,gso --rounds 9"
    make bench ARGS="--networks veth,nic --relays ours,nftables"
    make bench ARGS="--only macro --relays agent,hop,socat"    what goes beside one program
    make bench ARGS="--with old=../old/quic-relay"  another build, too
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import loads
import machine
import micro
import networks
import relays
import report

LOAD = relays.ROOT / ".build/bench/load"
# Above this somebody else is at work, and times mean little.
QUIET_LOAD_AVERAGE = 0.5
# Of a second, the kernel stops whoever keeps a core busy before all others for the last 50 ms
# (sched_rt_runtime_us). The generator does while it looks for when to send; it warms up before.
REALTIME_LATENCY_SECONDS = 0.4


class Failure(Exception):
    """What ends the program: a status as in sysexits.h, and one line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def chosen(text: str, known: dict | tuple, what: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise Failure(64, f"--{what} {name}: must be some of {','.join(known)}")
    return names


def number(text: str, option: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise Failure(64, f"--{option} {text}: must be a number from {least:g} to {most:g}")
    return value


def cores(text: str, option: str) -> set[int]:
    available = os.sched_getaffinity(0)
    try:
        found = {int(part) for part in text.split(",")}
    except ValueError:
        found = {-1}
    if not found <= available:
        raise Failure(
            64, f"--{option} {text}: must be some of {','.join(map(str, sorted(available)))}")
    return found


class Bench:
    """What the command line asks for."""

    def __init__(self, options: argparse.Namespace) -> None:
        known = relays.known(options.program)
        self.loads = [loads.BY_NAME[name]
                      for name in chosen(options.loads, loads.BY_NAME, "loads")]
        self.relays = [known[name] for name in chosen(options.relays, known, "relays")]
        try:
            self.relays += [relays.another(text) for text in options.another]
        except ValueError as error:
            raise Failure(64, str(error)) from error
        self.networks = chosen(options.networks, networks.KINDS, "networks")
        self.families = [int(name) for name in chosen(options.families, ("4", "6"), "families")]
        self.rounds = int(number(options.rounds, "rounds", 1, 1000))
        self.seconds = number(options.seconds, "seconds", 0.1, 600)
        self.relay_cores = cores(options.relay_cores, "relay-cores")
        self.load_cores = cores(options.load_cores, "load-cores")
        self.is_realtime = options.realtime
        self.load_threads = int(number(options.load_threads, "load-threads", 1, 16))
        self.runs: dict[tuple, dict[str, list[report.Run]]] = {}
        self.notes: list[str] = []
        self.failed: set[tuple] = set()
        first = self.relays[0]
        if first.missing:
            raise Failure(66, f"{first.name}: {first.missing}")
        for name in list(self.networks):
            if obstacle := networks.obstacle(name):
                self.networks.remove(name)
                self.note(f"{name}: SKIPPED: {obstacle}")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            print(f"bench: {text}", file=sys.stderr)

    def places(self) -> Iterator[networks.Network]:
        for name in self.networks:
            for family in self.families:
                with networks.KINDS[name](family) as place:
                    yield place

    def measure(self) -> None:
        for place in self.places():
            for turn in range(self.rounds):
                print(f"bench: {place.name}, IPv{place.family}, round {turn + 1} of {self.rounds}",
                      file=sys.stderr)
                for load in self.loads:
                    if obstacle := place.obstacle(load):
                        self.note(f"{load.name} is left out on {place.name}: {obstacle}")
                        continue
                    for relay in self.relays:
                        self.measure_one(place, load, relay)

    def measure_one(
        self, place: networks.Network, load: loads.Load, relay: relays.Relay
    ) -> None:
        obstacle = relay.obstacle(load, place)
        if obstacle:
            self.note(f"{relay.name} is left out: {obstacle}")
            return
        key = (place.name, place.family, load.name)
        if (*key, relay.name) in self.failed:
            return
        try:
            run = self.run(place, load, relay)
        except RuntimeError as error:
            # What is compared with must work; the others are left out, and it is said.
            if relay is self.relays[0]:
                raise
            self.failed.add((*key, relay.name))
            self.note(f"FAILED: {load.name} on {place.name}, IPv{place.family}: {error}")
            return
        self.runs.setdefault(key, {}).setdefault(relay.name, []).append(run)

    def run(
        self, place: networks.Network, load: loads.Load, relay: relays.Relay
    ) -> report.Run:
        seconds = self.seconds_of(load)
        with relays.running(relay, place, self.prepare_relay) as group:
            command = [str(LOAD), *place.load(relay.protocol), *load.command,
                       "--seconds", str(seconds), "--meter", str(group),
                       "--cores", ",".join(map(str, sorted(self.load_cores)))]
            if relay.protocol == "register":
                command += ["--threads", str(self.load_threads)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds + 600,
                preexec_fn=self.prepare_load)
            if done.returncode != 0:
                raise RuntimeError(f"{load.name} through {relay.name}: {done.stderr.strip()}")
        run = json.loads(done.stdout)
        if relay.is_kernel:
            for name in ("relay", "relay_user", "relay_system"):
                run["cpu_s_per_million"].pop(name, None)
        return run

    def seconds_of(self, load: loads.Load) -> float:
        """How long a load is measured."""
        if not (self.is_realtime and load.is_latency and self.seconds > REALTIME_LATENCY_SECONDS):
            return self.seconds
        self.note(f"{load.name} is measured for {REALTIME_LATENCY_SECONDS} s each: "
                  "the kernel lets nobody have a core for a whole second before all others")
        return REALTIME_LATENCY_SECONDS

    def prepare_relay(self) -> None:
        """Done in a relay's process before it is one."""
        os.sched_setaffinity(0, self.relay_cores)
        self.prepare_load()

    def prepare_load(self) -> None:
        if self.is_realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def tables(self) -> Iterator[tuple[str, str, list, list[dict]]]:
        """A title, what it means, columns and rows for each load at each place."""
        for (place, family, name), by_relay in self.runs.items():
            load = loads.BY_NAME[name]
            columns = report.LATENCY if load.is_latency else report.THROUGHPUT
            for relay, runs in by_relay.items():
                wrong = report.wrongs(runs)
                if wrong:
                    # A relay that does this is broken, however fast it is.
                    self.note(f"WRONG: {relay} under {name} on {place}: {wrong}")
            yield (f"{name}, {place}, IPv{family}", load.meaning, columns,
                   report.rows(by_relay, columns))

    @property
    def is_wrong(self) -> bool:
        return any(note.startswith(("WRONG", "FAILED")) for note in self.notes)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relays", default="ours,loop,nginx,socat,coturn,nftables",
                        help="what is compared, the first with all others (%(default)s)")
    parser.add_argument("--with", dest="another", action="append", default=[],
                        metavar="NAME=COMMAND", help="another quic-relay, or with other options")
    parser.add_argument("--loads", default=",".join(loads.BY_NAME), help="(%(default)s)")
    parser.add_argument("--networks", default=",".join(networks.KINDS), help="(%(default)s)")
    parser.add_argument("--families", default="4", help="4, 6 or 4,6 (%(default)s)")
    parser.add_argument("--rounds", default="3", help="(%(default)s)")
    parser.add_argument("--seconds", default="1", help="of each measurement (%(default)s)")
    last = max(os.sched_getaffinity(0))
    parser.add_argument("--relay-cores", default=str(last), help="(%(default)s)")
    parser.add_argument("--load-cores", default=str(min(os.sched_getaffinity(0))),
                        help="(%(default)s)")
    parser.add_argument("--realtime", action="store_true",
                        help="run before all others (SCHED_FIFO), on a machine that is not quiet")
    parser.add_argument("--load-threads", default="1",
                        help="of the load generator, where each peer has a socket (%(default)s)")
    parser.add_argument("--program", type=pathlib.Path, default=relays.PROGRAM,
                        help="the relay that is ours (%(default)s)")
    parser.add_argument("--only", choices=("micro", "macro"),
                        help="micro: what the parts cost; macro: only whole relays")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE",
                        help="write the tables into FILE, between its two marks")
    parser.add_argument("--list", action="store_true", help="say what there is, measure nothing")
    return parser.parse_args()


def show_list(options: argparse.Namespace) -> None:
    for load in loads.LOADS:
        print(f"load   {load.name:12} {load.meaning}")
    for relay in relays.known(options.program).values():
        print(f"relay  {relay.name:12} {relay.missing or relay.version or 'is there'}")


def facts(bench: Bench, before: float) -> dict[str, str]:
    found = machine.facts(relays.ROOT)
    for relay in bench.relays:
        if relay.version and not relay.missing:
            found[relay.name] = relay.version
    found["rounds"] = f"{bench.rounds} of {bench.seconds:g} s each"
    found["pinned"] = (f"relays to {sorted(bench.relay_cores)}, "
                       f"load to {sorted(bench.load_cores)}"
                       + (", both before all others (SCHED_FIFO)" if bench.is_realtime else ""))
    found["load average"] = f"{before:.2f} before, {machine.load_average():.2f} after"
    return found


def run(options: argparse.Namespace) -> int:
    if options.list:
        show_list(options)
        return 0
    bench = Bench(options)
    before = machine.load_average()
    if before > QUIET_LOAD_AVERAGE:
        bench.note(f"the machine is busy (load average {before:.2f}): only ratios mean something")
    parts = [] if options.only == "macro" else micro.measure(bench.rounds)
    if options.only != "micro":
        bench.measure()
    tables = list(bench.tables())
    known = facts(bench, before)
    if options.json:
        print(json.dumps({
            "machine": known, "notes": bench.notes, "parts": parts,
            "tables": [{"title": title, "rows": rows} for title, _, _, rows in tables],
            "runs": [{"network": key[0], "family": key[1], "load": key[2], "relays": by_relay}
                     for key, by_relay in bench.runs.items()],
        }, indent=1))
    else:
        print("\n".join(f"{name:14}{value}" for name, value in known.items()))
        for line in bench.notes:
            print(f"note          {line}")
        if parts:
            print(f"\nparts: {micro.MEANING}\n{report.text(micro.cells(parts))}")
        for title, meaning, columns, rows in tables:
            print(f"\n{title}: {meaning}\n{report.text(report.cells(rows, columns))}")
    if options.markdown:
        write_markdown(options.markdown, known, bench.notes, parts, tables)
    return 1 if bench.is_wrong else 0


BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def write_markdown(path: pathlib.Path, known: dict, notes: list, parts: list,
                   tables: list) -> None:
    document = path.read_text()
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise Failure(65, f"{path} must have one line {BEGIN} and one {END}")
    lines = [BEGIN, "", "Made by `make bench`; do not edit.", ""]
    lines += [f"- {name}: {value}" for name, value in known.items()]
    lines += [f"- note: {line}" for line in notes]
    if parts:
        lines += ["", f"**Parts**: {micro.MEANING}.", "", report.markdown(micro.cells(parts))]
    for title, meaning, columns, rows in tables:
        lines += ["", f"**{title}**: {meaning}.", "", report.markdown(report.cells(rows, columns))]
    start, rest = document.split(BEGIN)
    path.write_text(start + "\n".join(lines) + "\n\n" + END + rest.split(END)[1])


def main() -> int:
    # Relays and namespaces are taken away again whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run(arguments())
    except Failure as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.status
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None)
        print(f"bench: {error}{f': {detail}' if detail else ''}", file=sys.stderr)
        return 70
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""Medians and ratios of what was measured, and tables of them."""

import statistics
from collections.abc import Callable, Iterable

Run = dict
# What must be nothing, whoever relays: a relay that does it is broken, not slow.
WRONGS = ("misdelivered", "corrupted", "duplicated")


def at(run: Run, path: str) -> float | None:
    """The figure at a path such as latency_us.p50."""
    value = run
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def added(percentile: str) -> Callable[[Run], float | None]:
    """What the relay's way takes more than the direct one, in the same run."""
    def figure(run: Run) -> float | None:
        relayed, direct = at(run, f"latency_us.{percentile}"), at(run, f"direct_us.{percentile}")
        return None if relayed is None or direct is None else relayed - direct
    return figure


def taken(path: str) -> Callable[[Run], float | None]:
    return lambda run: at(run, path)


def busy(run: Run) -> float | None:
    """How much of a core the relay had to do, in percent: below a hundred it waited for more."""
    spent, rate = at(run, "cpu_s_per_million.relay"), at(run, "datagrams_per_s")
    return None if spent is None or rate is None else spent * rate / 1e4


# The columns of each kind of load: title, figure, format, and whether a ratio to ours follows.
THROUGHPUT = [
    ("relay CPU-s/M", taken("cpu_s_per_million.relay"), "{:.3f}", True),
    ("together", taken("cpu_s_per_million.together"), "{:.2f}", True),
    ("machine", taken("cpu_s_per_million.machine"), "{:.2f}", True),
    ("datagrams/s", taken("datagrams_per_s"), "{:,.0f}", False),
    ("busy %", busy, "{:.0f}", False),
    ("loss %", lambda run: 100 * run["loss"], "{:.2f}", False),
    ("p50 µs", taken("latency_us.p50"), "{:,.0f}", False),
    ("p99 µs", taken("latency_us.p99"), "{:,.0f}", False),
]
LATENCY = [
    ("added p50 µs", added("p50"), "{:.1f}", True),
    ("added p99 µs", added("p99"), "{:.1f}", True),
    ("relayed p50", taken("latency_us.p50"), "{:.1f}", False),
    ("p90", taken("latency_us.p90"), "{:.1f}", False),
    ("p99", taken("latency_us.p99"), "{:.1f}", False),
    ("p99.9", taken("latency_us.p999"), "{:.0f}", False),
    ("direct p50", taken("direct_us.p50"), "{:.1f}", False),
    ("late p99", taken("late_us.p99"), "{:.1f}", False),
    ("relay CPU-s/M", taken("cpu_s_per_million.relay"), "{:.2f}", True),
    ("loss %", lambda run: 100 * run["loss"], "{:.2f}", False),
]


def median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(figure: Callable[[Run], float | None], runs: list[Run], base: list[Run]) -> float | None:
    """The median over the rounds of what a relay has by what the first one has: what disturbed a
    round disturbed both."""
    ratios = []
    for run, other in zip(runs, base):
        value, unit = figure(run), figure(other)
        if value is not None and unit is not None and unit > 0 and value > 0:
            ratios.append(value / unit)
    return median(ratios)


def rows(relays: dict[str, list[Run]], columns: list) -> list[dict[str, float | None]]:
    """A row for each relay; the first one is what the others are compared with."""
    base = next(iter(relays.values()))
    table = []
    for name, runs in relays.items():
        row: dict = {"relay": name}
        for title, figure, _, has_ratio in columns:
            row[title] = median(figure(run) for run in runs)
            if has_ratio:
                row[f"{title} ratio"] = ratio(figure, runs, base)
        table.append(row)
    return table


def cells(table: list[dict], columns: list) -> list[list[str]]:
    lines = [["relay"]]
    for title, _, _, has_ratio in columns:
        lines[0] += [title, "×"] if has_ratio else [title]
    for row in table:
        line = [row["relay"]]
        for title, _, form, has_ratio in columns:
            line.append("-" if row[title] is None else form.format(row[title]))
            if has_ratio:
                share = row[f"{title} ratio"]
                line.append("-" if share is None else f"{share:.2f}")
        lines.append(line)
    return lines


def text(lines: list[list[str]]) -> str:
    """Columns for a terminal: the first to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  " + "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths)))
        for line in lines)


def markdown(lines: list[list[str]]) -> str:
    marks = ["---"] + ["--:"] * (len(lines[0]) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])


def wrongs(runs: list[Run]) -> str | None:
    found = [f"{sum(run[name] for run in runs)} {name}" for name in WRONGS
             if any(run[name] for run in runs)]
    return ", ".join(found) or None

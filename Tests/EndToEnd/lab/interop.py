"""Writes Documentation/interop.md from what a run of the laboratory has left: `make interop`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.results import RESULTS, Results  # noqa: E402  (found by the line above)

_TEMPLATE = Path(__file__).with_name("interop.txt")


def page(results: Results) -> str:
    """The whole file."""
    matrix, impairments = results.tables()
    return _TEMPLATE.read_text().format(
        date=results.date,
        kernel=results.kernel,
        cores=os.cpu_count(),
        versions=_rows(results.versions),
        matrix="\n".join(matrix),
        impairments="\n".join(impairments),
        figures=_rows(results.figures),
    )


def _rows(pairs: dict[str, str]) -> str:
    return "\n".join(f"| {name} | {text} |" for name, text in pairs.items())


def main() -> None:
    """Prints it, or says what is missing."""
    results = Results.read(RESULTS)
    if not (results.matrix and results.impairments and results.figures):
        sys.exit(f"interop: {RESULTS} is not of a whole run: make interop")
    cells = results.matrix | results.impairments
    failed = [name for name, text in cells.items() if text == "FAILED"]
    if failed:
        sys.exit(f"interop: {len(failed)} cells failed, among them: {failed[0]}")
    print(page(results), end="")


if __name__ == "__main__":
    main()

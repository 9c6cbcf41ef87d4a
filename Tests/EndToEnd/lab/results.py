"""What a run of the laboratory has shown: tables and figures, for the summary and for the note."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.matrix import EVENTS, NATS, Cell, why_meaningless
from lab.stacks import STACKS, kernel
from relay_process import REPOSITORY, relay_binary

# Where a run leaves its results, for `make interop`.
RESULTS = REPOSITORY / ".build" / "interop.json"


@dataclasses.dataclass
class Results:
    """Outcomes of cells, by the names of NAT, program and event; of impairments; and figures."""

    matrix: dict[str, str] = dataclasses.field(default_factory=dict)
    impairments: dict[str, str] = dataclasses.field(default_factory=dict)
    figures: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    kernel: str = ""
    date: str = ""
    # Of the relay's program, the first characters of its SHA-256.
    relay: str = ""

    def is_empty(self) -> bool:
        """Whether nothing was run."""
        return not (self.matrix or self.impairments or self.figures)

    def write(self) -> None:
        """Adds it to what this relay has shown so far, or begins anew with another one."""
        self.versions = {s.name: s.describe() for s in STACKS if s.why_not() is None}
        self.kernel = kernel()
        self.date = datetime.datetime.now(datetime.UTC).date().isoformat()
        self.relay = hashlib.sha256(relay_binary().read_bytes()).hexdigest()[:16]
        if RESULTS.exists():
            self._add_to(Results.read(RESULTS))
        RESULTS.write_text(json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1))

    def _add_to(self, before: Results) -> None:
        same = (self.versions, self.kernel, self.relay)
        if (before.versions, before.kernel, before.relay) != same:
            return
        self.matrix = before.matrix | self.matrix
        self.impairments = before.impairments | self.impairments
        self.figures = before.figures | self.figures

    @classmethod
    def read(cls, path: Path) -> Results:
        """What a run has written."""
        return cls(**json.loads(path.read_text()))

    def tables(self) -> tuple[list[str], list[str]]:
        """The matrix and the impairments as lines of Markdown, none where nothing was run."""
        return (
            _matrix_table(self.matrix) if self.matrix else [],
            _impairments_table(self.impairments) if self.impairments else [],
        )


def _matrix_table(outcomes: dict[str, str]) -> list[str]:
    rows = []
    for nat, stack in itertools.product(NATS, STACKS):
        cells = [Cell(nat, stack, event) for event in EVENTS]
        texts = [outcomes.get(c.name, "–" if why_meaningless(c) else "") for c in cells]
        if any(text not in ("", "–") for text in texts):
            rows.append([nat.name, stack.name, *texts])
    return _table(["NAT", "program", *(event.name for event in EVENTS)], rows)


def _impairments_table(outcomes: dict[str, str]) -> list[str]:
    keys = [tuple(name.split(", ", 1)) for name in outcomes]
    stacks = list(dict.fromkeys(stack for _, stack in keys))
    names = dict.fromkeys(name for name, _ in keys)
    rows = [[n, *(outcomes.get(f"{n}, {stack}", "") for stack in stacks)] for n in names]
    return _table(["wire", *stacks], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = list(rows)
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return [
        "| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |"
        for line in (head, ["-" * width for width in widths], *body)
    ]

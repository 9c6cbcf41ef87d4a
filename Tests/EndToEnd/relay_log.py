"""Reads the relay's log lines: the one place that knows how they look."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass

from peers import Address

# 2026-01-31T08:00:00.000Z info session_paired session=1a2b3c4d a=192.0.2.1:4433 …
_LINE = re.compile(
    r"(?P<time>\d{4}-\S+Z) (?P<level>[a-z]+) (?P<name>[a-z_]+)(?P<fields>( \S+=.*)?)"
)
_FIELD = re.compile(r' (?P<name>[a-z_0-9]+)=(?P<value>"(?:[^"\\]|\\.)*"|\S*)')


@dataclass(frozen=True)
class Event:
    """One line of the log."""

    time: str
    level: str
    name: str
    fields: dict[str, str]


def short(session: uuid.UUID | str) -> str:
    """How a log line names a session."""
    return str(session)[:8]


def shown(address: Address) -> str:
    """How a log line shows an address."""
    return f"{address.host}:{address.port}"


def parse(output: str) -> list[Event]:
    """The events among what the relay printed; an unfinished line is not among them."""
    finished = output[: output.rfind("\n") + 1]
    matches = (_LINE.fullmatch(line) for line in finished.splitlines())
    return [
        Event(match["time"], match["level"], match["name"], _fields(match["fields"]))
        for match in matches
        if match
    ]


def _fields(text: str) -> dict[str, str]:
    pairs = ((match["name"], match["value"]) for match in _FIELD.finditer(text))
    return {name: json.loads(value) if value[:1] == '"' else value for name, value in pairs}

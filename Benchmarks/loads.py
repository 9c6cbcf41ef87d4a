"""What is offered to the relays."""

import resource
from dataclasses import dataclass

# Files that the load generator has open beside its peers' sockets.
OTHER_FILES = 200


@dataclass(frozen=True)
class Load:
    """A way to call the load generator."""

    name: str
    meaning: str
    arguments: tuple[str, ...]
    sessions: int = 16
    # Sends in both directions, which proxies with one sink do not take.
    is_duplex: bool = False
    # Fixed rate beside direct datagrams: what counts is latency, not CPU time.
    is_latency: bool = False

    @property
    def command(self) -> list[str]:
        return ["--sessions", str(self.sessions), *self.arguments]


def many_sessions() -> int:
    """10,000, or as many as there may be sockets, two for a session, where only the administrator
    may have more."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return min(10_000, (files - OTHER_FILES) // 2)


def latency(name: str, rate: int) -> Load:
    return Load(
        name, f"{rate} datagrams/s on a schedule, as many beside them directly",
        ("--rate", str(rate), "--burst", "1", "--spin", "--beside"), is_latency=True)


LOADS = [
    Load("plain", "16 sessions send 16 datagrams of 1,200 bytes in turn",
         ("--burst", "16", "--window", "1024")),
    Load("gso", "the same as GSO trains of 16, received with GRO",
         ("--burst", "16", "--train", "16", "--coalesce", "--window", "2048")),
    Load("turns", "16 sessions send a datagram each in turn: no bursts to gain from",
         ("--burst", "1", "--window", "512")),
    Load("small", "as plain, with 100 bytes", ("--burst", "16", "--size", "100")),
    Load("mixed", "as plain, with 40 to 1,452 bytes as QUIC mixes them",
         ("--burst", "16", "--size", "mixed")),
    Load("duplex", "as plain, in both directions", ("--burst", "16", "--duplex"), is_duplex=True),
    Load("one", "one session, bursts of 16", ("--burst", "16", "--window", "512"), sessions=1),
    Load("many", f"{many_sessions():,} sessions send a datagram each in turn",
         ("--burst", "1", "--window", "512"), sessions=many_sessions()),
    Load("flood", "as plain, as fast as the sender can", ("--burst", "16", "--flood")),
    latency("latency-5k", 5_000),
    latency("latency-20k", 20_000),
]
BY_NAME = {load.name: load for load in LOADS}

"""Where relay and peers are: on loopback, or in network namespaces of their own."""

import os
import pathlib
import shutil
import subprocess
from dataclasses import dataclass, field

from loads import Load

PORT = 4471
SINK_PORT = 4472


def bracketed(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


@dataclass
class Network:
    """Addresses of the relay and the peers, and how to run something where the relay is."""

    name: str
    family: int
    relay_bind: str           # what the relay binds
    relay_a: str              # where A reaches it
    relay_b: str              # where B does
    sink: str                 # where B is, for relays that send everything to one address
    enter_relay: list[str] = field(default_factory=list)
    load_arguments: list[str] = field(default_factory=list)

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def obstacle(self, load: Load) -> str | None:
        """Why a load means nothing here."""
        return None

    def load(self, protocol: str) -> list[str]:
        """The load generator's arguments for this network."""
        arguments = ["--relay", bracketed(self.relay_a, PORT), *self.load_arguments]
        if protocol != "register":
            return [*arguments, "--protocol", protocol, "--b", bracketed(self.sink, SINK_PORT)]
        return [*arguments, "--relay-b", bracketed(self.relay_b, PORT)]


def loopback(family: int) -> Network:
    address = "::1" if family == 6 else "127.0.0.1"
    return Network("loopback", family, address, address, address, address)


class Veth(Network):
    """Three namespaces, A, relay and B, and a veth pair between the relay and each peer. They go
    when this does."""

    def __init__(self, family: int, name: str = "veth") -> None:
        prefix = "fd77::{}:{}" if family == 6 else "10.77.{}.{}"
        self.names = {side: f"bench-{os.getpid()}-{side}" for side in ("a", "relay", "b")}
        super().__init__(
            name, family, "::" if family == 6 else "0.0.0.0", prefix.format(1, 1),
            prefix.format(2, 1), prefix.format(2, 2),
            ["ip", "netns", "exec", self.names["relay"]],
            ["--namespace-a", self.names["a"], "--namespace-b", self.names["b"],
             "--a", prefix.format(1, 2), "--b", prefix.format(2, 2)])
        self.prefix = prefix

    def load(self, protocol: str) -> list[str]:
        # A later --b, with a port, wins.
        return super().load(protocol)

    def __enter__(self) -> "Veth":
        try:
            for name in self.names.values():
                run(["ip", "netns", "add", name])
                run(["ip", "-n", name, "link", "set", "lo", "up"])
            for number, side in ((1, "a"), (2, "b")):
                self.connect(number, side)
            sysctl = [*self.enter_relay, "sysctl", "-q", "-w"]
            run([*sysctl, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def connect(self, number: int, side: str) -> None:
        relay, peer = self.names["relay"], self.names[side]
        run(["ip", "-n", relay, "link", "add", f"to-{side}", "type", "veth",
             "peer", "name", "to-relay", "netns", peer])
        length = "112" if self.family == 6 else "24"
        no_detection = ["nodad"] if self.family == 6 else []
        for name, device, host in ((relay, f"to-{side}", 1), (peer, "to-relay", 2)):
            address = self.prefix.format(number, host) + "/" + length
            run(["ip", "-n", name, "address", "add", address, "dev", device, *no_detection])
            run(["ip", "-n", name, "link", "set", device, "up"])
        run(["ip", "-n", peer, "route", "add", "default", "via", self.prefix.format(number, 1)])

    def __exit__(self, *_: object) -> None:
        for name in self.names.values():
            if pathlib.Path(f"/run/netns/{name}").exists():
                subprocess.run(["ip", "netns", "del", name], check=False, timeout=60)


class NIC(Veth):
    """As `Veth`, and the kernel puts together what arrives at the relay before it goes up (GRO), as
    the drivers of network cards have it done; a veth pair does not by itself.

    A card interrupts when some time has passed, not for each frame; here the kernel waits as long
    for more of the same flow (gro_flush_timeout). While more comes all the time it does so for up to
    a tick of 4 ms, where a card's driver passes on what it has.
    """

    MODERATION_NANOSECONDS = 20_000

    def __init__(self, family: int) -> None:
        super().__init__(family, "nic")

    def obstacle(self, load: Load) -> str | None:
        return "a card does not hold back as long" if load.is_latency else None

    def connect(self, number: int, side: str) -> None:
        super().connect(number, side)
        # A device that leaves segmentation to the other end gets no GRO there (drivers/net/veth.c);
        # this is TCP's, the senders of UDP trains keep theirs.
        self.set_offload(self.names[side], "to-relay", "tso", "off")
        device = f"to-{side}"
        self.set_offload(self.names["relay"], device, "gro", "on")
        for setting, value in (
            ("gro_flush_timeout", self.MODERATION_NANOSECONDS), ("napi_defer_hard_irqs", 1),
        ):
            run([*self.enter_relay, "sh", "-c",
                 f"echo {value} > /sys/class/net/{device}/{setting}"])

    @staticmethod
    def set_offload(namespace: str, device: str, feature: str, state: str) -> None:
        run(["ip", "netns", "exec", namespace, "ethtool", "-K", device, feature, state])


KINDS = {"loopback": loopback, "veth": Veth, "nic": NIC}


def obstacle(kind: str) -> str | None:
    """Why there cannot be such a network here."""
    if kind == "loopback":
        return None
    if os.geteuid() != 0:
        return "network namespaces need root"
    tool = "ethtool" if kind == "nic" else "ip"
    return None if shutil.which(tool) else f"{tool} is missing"

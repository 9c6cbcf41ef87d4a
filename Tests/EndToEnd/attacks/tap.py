"""Counts the UDP datagrams on a link of a namespace, whoever they are for."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from attacks.spoofing import ETH_P_ALL, ETH_P_IP, ETH_P_IPV6
from lab.namespaces import Namespace
from peers import Address
from waiting import WAIT_WALL_SECONDS, wait_until

# linux/if_packet.h
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_PACKET_OUTGOING = 4
# asm-generic/socket.h
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 64 << 20
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Seen:
    """One UDP datagram on the link."""

    source: Address
    destination: Address
    payload: bytes
    # Whether the host of the tap sent it.
    is_outgoing: bool


Chosen = Callable[[Seen], bool]


class Tap:
    """Listens to everything on a link until it is closed."""

    def __init__(self, host: Namespace, link: str) -> None:
        """Begins to listen."""
        with host.inside():
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
            )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.bind((link, ETH_P_ALL))
        self._socket.settimeout(_POLL_SECONDS)
        self._seen: list[Seen] = []
        self._missed = 0
        self._began = time.monotonic()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def age_seconds(self) -> float:
        """For how long it has listened."""
        return time.monotonic() - self._began

    def close(self) -> None:
        """Ends it."""
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def seen(self, chosen: Chosen) -> list[Seen]:
        """The datagrams so far that are so; none may have escaped."""
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._missed += struct.unpack("@II", counts)[1]
        assert self._missed == 0, f"{self._missed} packets were too many for the tap"
        return [each for each in list(self._seen) if chosen(each)]

    def count(self, chosen: Chosen = lambda seen: True) -> int:
        """How many datagrams there were that are so."""
        return len(self.seen(chosen))

    def payload_bytes(self, chosen: Chosen = lambda seen: True) -> int:
        """The bytes of their payloads."""
        return sum(len(each.payload) for each in self.seen(chosen))

    def wait_for(self, chosen: Chosen, count: int) -> None:
        """Returns when that many datagrams have come that are so."""
        wait_until(lambda: self.count(chosen) >= count, f"{count} datagrams on the link")

    def settle(self, chosen: Chosen = lambda seen: True, quiet_seconds: float = 0.5) -> None:
        """Returns when no datagram that is so has come for a while; that must happen."""
        deadline = time.monotonic() + WAIT_WALL_SECONDS
        count, since = -1, time.monotonic()
        while time.monotonic() - since < quiet_seconds:
            assert time.monotonic() < deadline, f"it does not end: {count} datagrams so far"
            time.sleep(_POLL_SECONDS)
            if (now := self.count(chosen)) != count:
                count, since = now, time.monotonic()

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                packet, where = self._socket.recvfrom(65_536)
            except TimeoutError:
                continue
            is_outgoing = where[2] == _PACKET_OUTGOING
            if where[1] == ETH_P_IP:
                self._take_ipv4(packet, is_outgoing)
            elif where[1] == ETH_P_IPV6:
                self._take_ipv6(packet, is_outgoing)

    def _take_ipv4(self, packet: bytes, is_outgoing: bool) -> None:
        length = (packet[0] & 15) * 4
        is_first = struct.unpack_from("!H", packet, 6)[0] & 0x1FFF == 0
        if packet[9] == socket.IPPROTO_UDP and is_first:
            self._take_udp(packet[12:16], packet[16:20], packet[length:], is_outgoing)

    def _take_ipv6(self, packet: bytes, is_outgoing: bool) -> None:
        if packet[6] == socket.IPPROTO_UDP:
            self._take_udp(packet[8:24], packet[24:40], packet[40:], is_outgoing)

    def _take_udp(
        self, source: bytes, destination: bytes, datagram: bytes, is_outgoing: bool
    ) -> None:
        ports = struct.unpack_from("!HHH", datagram)
        source_address = Address(str(ipaddress.ip_address(source)), ports[0])
        destination_address = Address(str(ipaddress.ip_address(destination)), ports[1])
        payload = datagram[8 : ports[2]]
        self._seen.append(Seen(source_address, destination_address, payload, is_outgoing))

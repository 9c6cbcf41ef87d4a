"""For hosting layers that read QUIC_RELAY_IP and QUIC_RELAY_ONLY: the same calls, without the
shared port.

`register_with_relay` takes the place of the function of that name. It registers from the port that
QUIC is going to use and frees it at once, so the QUIC library needs no patch; QUIC must bind the
port within some seconds, before its NAT forgets it. A server that waits longer for its client
calls `serve_through_relay` instead.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping

from quic_relay.address import Address, split
from quic_relay.forwarder import ForwarderProcess
from quic_relay.registration import register_port

ADDRESS_VARIABLE = "QUIC_RELAY_IP"
PORT_VARIABLE = "QUIC_RELAY_PORT"
ONLY_VARIABLE = "QUIC_RELAY_ONLY"

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


def relay_address(environment: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """The relay that the environment names, as host and port; nothing if it names none.

    QUIC_RELAY_IP may be a host name and may have a port; else QUIC_RELAY_PORT or 4433 is taken.
    Raises ValueError where one of the two is no address or port.
    """
    text = environment.get(ADDRESS_VARIABLE, "").strip()
    if not text:
        return None
    port = environment.get(PORT_VARIABLE, "").strip()
    if not port:
        return split(text)
    try:
        _, checked = split(f"relay:{port}")
    except ValueError:
        raise ValueError(f"{PORT_VARIABLE}={port}: must be a number from 1 to 65535") from None
    return split(text, checked)


def is_relay_only(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether hole punching is to be left out. Raises ValueError for an unclear word."""
    word = environment.get(ONLY_VARIABLE, "").strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{ONLY_VARIABLE}={word}: must be one of {', '.join(_TRUE + _FALSE[1:])}")


class RelayKeepalive:
    """What `register_with_relay` returns: there is nothing to keep, nor to stop.

    QUIC's own datagrams keep the mapping alive from the first one on.
    """

    def __init__(self, relay: Address, local_port: int) -> None:
        self.relay = relay
        self.local_port = local_port

    def stop(self) -> None:
        """Does nothing; callers stop the keep-alive once QUIC is up."""


def register_with_relay(
    relay_addr: tuple[str, int],
    session_id: uuid.UUID | str,
    local_port: int,
    max_retries: int = 5,
) -> RelayKeepalive:
    """Registers this peer from `local_port` and frees the port for QUIC.

    Raises ConnectionError when the relay does not acknowledge, and OSError when the port is taken.
    """
    with register_port(relay_addr, session_id, local_port, tries=max_retries) as registered:
        return RelayKeepalive(registered.relay, registered.local_port)


def serve_through_relay(
    relay_addr: tuple[str, int], session_id: uuid.UUID | str, local_port: int
) -> ForwarderProcess:
    """Lets clients reach the QUIC server on `local_port` of this machine for as long as it takes.

    The server sees its client at 127.0.0.1. To be stopped when the server ends.
    """
    return ForwarderProcess(relay_addr, session_id, forward_to=("127.0.0.1", local_port))

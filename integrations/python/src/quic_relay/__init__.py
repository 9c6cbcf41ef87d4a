"""Lets QUIC programs reach each other through a quic-relay.

Two ways, for programs that need not know of the relay:

- `register` tells the relay where a peer is, from the very socket or port that QUIC is going to
  use, right before QUIC takes it over.
- `Forwarder` stands between the relay and a QUIC program on this machine, for as long as that
  lives: it registers, keeps NAT mappings alive, and comes back after they are lost.

Nothing here shares a port between two sockets: the kernel gives each peer's datagrams to one of
them for good (SO_REUSEPORT, socket(7)), and in half of all runs that is the wrong one.
"""

from quic_relay.address import Address, resolve
from quic_relay.forwarder import Forwarder, ForwarderProcess
from quic_relay.registration import RegistrationError, Registered, register, register_port
from quic_relay.tokens import Token, mint

__all__ = [
    "Address",
    "Forwarder",
    "ForwarderProcess",
    "Registered",
    "RegistrationError",
    "Token",
    "mint",
    "register",
    "register_port",
    "resolve",
]

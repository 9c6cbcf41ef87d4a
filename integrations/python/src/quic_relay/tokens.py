"""Tokens: leave to register for a session at a relay that asks for it (Documentation/protocol.md)."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import time
import uuid

from quic_relay.registration import session_id

DEFAULT_SECONDS = 3_600

_EXPIRY_LIMIT = 2**64


@dataclasses.dataclass(frozen=True)
class Token:
    """What a registration of version 2 shows; `str` is how an agent takes it with `--token`."""

    expires_at: int
    """POSIX seconds."""
    mac: str
    """64 hexadecimal digits."""

    def __str__(self) -> str:
        return f"exp={self.expires_at};mac={self.mac}"


def mint(
    secret: bytes | str,
    session: uuid.UUID | str,
    *,
    seconds: int = DEFAULT_SECONDS,
    expires_at: int | None = None,
) -> Token:
    """A token for one session, good for so many seconds or until a time in POSIX seconds.

    The secret is a line of the relay's file, without its end: text stands for its UTF-8 bytes.
    """
    key = secret.encode() if isinstance(secret, str) else secret
    if not key or b"\n" in key:
        raise ValueError("a secret is one line of the relay's file, without its end")
    if expires_at is None:
        if seconds <= 0:
            raise ValueError(f"a token must be good for some time, not {seconds} s")
        expires_at = int(time.time()) + seconds
    if not 0 <= expires_at < _EXPIRY_LIMIT:
        raise ValueError(f"{expires_at} is not a time in POSIX seconds")
    message = f"quic-relay v2|{session_id(session)}|{expires_at}".encode("ascii")
    return Token(expires_at, hmac.new(key, message, hashlib.sha256).hexdigest())

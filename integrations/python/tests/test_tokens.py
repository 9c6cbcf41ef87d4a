"""What a relay with secrets takes for a token."""

from __future__ import annotations

import pathlib
import re
import time
import uuid

import pytest

from quic_relay import Token, mint

PROTOCOL = pathlib.Path(__file__).parents[3] / "Documentation" / "protocol.md"

# | `secret` | `session` | `exp` | `mac` |
VECTOR = re.compile(r"^\| `([^`]+)` \| `([0-9A-Fa-f-]{36})` \| (\d+) \| `([0-9a-f]{64})` \|$", re.M)


def test_the_document_has_the_vectors_of_both_implementations() -> None:
    vectors = VECTOR.findall(PROTOCOL.read_text())
    assert len(vectors) >= 4
    for secret, session, expiry, mac in vectors:
        token = mint(secret, session, expires_at=int(expiry))
        assert token == Token(int(expiry), mac)
        assert str(token) == f"exp={expiry};mac={mac}"
        assert mint(secret.encode(), uuid.UUID(session), expires_at=int(expiry)) == token


def test_a_token_is_good_for_an_hour() -> None:
    before = int(time.time())
    token = mint("0123456789abcdef0123456789", uuid.uuid4())
    assert before + 3_600 <= token.expires_at <= int(time.time()) + 3_600


@pytest.mark.parametrize(
    ("secret", "session", "seconds"),
    [
        ("", str(uuid.uuid4()), 1),
        ("two\nlines", str(uuid.uuid4()), 1),
        ("secret", "no id", 1),
        ("secret", str(uuid.uuid4()), 0),
        ("secret", str(uuid.uuid4()), -2**40),
    ],
)
def test_what_makes_no_token_is_refused(secret: str, session: str, seconds: int) -> None:
    with pytest.raises(ValueError):
        mint(secret, session, seconds=seconds)
    with pytest.raises(ValueError):
        mint("secret", str(uuid.uuid4()), expires_at=2**64)

"""A relay for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fake_relay import FakeRelay


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def relay(request: pytest.FixtureRequest) -> Iterator[FakeRelay]:
    """A relay on loopback, once for each IP version."""
    fake = FakeRelay(request.param)
    yield fake
    fake.close()

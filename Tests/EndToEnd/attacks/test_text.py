"""What an attacker writes never does anything to a log, a terminal or a reader of either."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers import exchange
from prometheus import metrics_address
from relay_log import parse
from relay_process import StartRelay, neutral_environment, relay_binary
from waiting import wait_until

# A title for the terminal, another colour, a cleared screen, a line of a log, and its C1 twins.
HOSTILE_TEXTS = [
    "\x1b]0;owned\x07",
    "\x1b[31m\x1b[2J",
    "\n2026-01-01T00:00:00.000Z error stopped reason=attacker",
    "\r\x08\x00\x7f",
    "\x9b2J\x9d0;owned\x9c",
    '" session=00000000 \\',
]
_KEY = "00000000000000aa"


def _datagrams(session: str, text: str, rng: random.Random) -> list[bytes]:
    """Whatever may carry a text: lines that are none, attributes, STUN's SOFTWARE, data."""
    raw = text.encode("latin-1")
    software = b"\x80\x22" + len(raw).to_bytes(2, "big") + raw + bytes(-len(raw) % 4)
    return [
        raw,
        b"REG:" + raw,
        f"REG:{session}".encode() + raw,
        f"REG:{session};peer={_KEY};x=".encode() + raw + b"\n",
        f"REG:{session};".encode() + raw + f"={_KEY}\n".encode(),
        f'REG:{session};peer={_KEY};cookie={rng.getrandbits(128):032x};a="b c"\n'.encode(),
        b"\0\1" + len(software).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + software,
    ]


@pytest.fixture
def control_path() -> Iterator[str]:
    """Where a control socket may be: its path must be short (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="text-") as directory:
        yield f"{directory}/control.sock"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_is_printable_and_has_only_the_relays_own_lines(
    start_relay: StartRelay, control_path: str, log_format: str, rng: random.Random
) -> None:
    """By the wire, by HTTP and by the control socket, with everything logged that there is."""
    options = ["--stun", "--log-level", "trace", "--control", control_path, "--metrics", "0"]
    relay = start_relay(*options)
    other = start_relay("--log-format", log_format, "--log-level", "trace", "--stun")
    # The addresses of the first are known from its log, which is text for that.
    http = metrics_address(relay)
    for text in HOSTILE_TEXTS:
        _ask_by_http(http, text)
        _ask_by_control(control_path, text)
    for target in (relay, other):
        peer = target.peer("127.0.0.9")
        for text in HOSTILE_TEXTS:
            for datagram in _datagrams(str(target.new_session()), text, rng):
                peer.send(datagram)
        a, b = target.pair("127.0.0.2", "127.0.0.3")
        # What a peer sends is no text of ours either.
        for text in HOSTILE_TEXTS:
            a.send(text.encode("latin-1"))
            b.expect(text.encode("latin-1"))
        exchange(a, b, "after all that")
        target.stop()
        printed = target.log.read_bytes()
        assert all(0x20 <= byte < 0x7F or byte == 0x0A for byte in printed)
        assert b"owned" not in printed and b"attacker" not in printed
    lines = other.output().splitlines()
    events = [json.loads(line) for line in lines] if log_format == "json" else parse(other.output())
    assert len(events) == len(lines) > 0
    assert len(parse(relay.output())) == len(relay.output().splitlines())


def _ask_by_http(address: tuple[str, int], text: str) -> None:
    request = f"GET /{text} HTTP/1.1\r\nHost: {text}\r\nUser-Agent: {text}\r\n\r\n"
    with socket.create_connection(address, timeout=30) as client, contextlib.suppress(OSError):
        client.sendall(request.encode("latin-1"))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass


def _ask_by_control(path: str, text: str) -> None:
    """As a client that may use the socket: its requests are answered, in JSON, and not logged."""
    wait_until(lambda: os.path.exists(path), "the control socket")
    requests = [
        {"id": 1, "request": text},
        {"id": 2, "request": "evict", "sessions": [text]},
        {"id": 3, "request": "view", "filter": text},
        {"id": 4, "request": "log_level", "level": text},
    ]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.settimeout(30)
        with client.makefile("rb") as lines:
            lines.readline()
            for request in requests:
                client.sendall(json.dumps(request).encode() + b"\n")
                answer = lines.readline()
                assert all(0x20 <= byte < 0x7F for byte in answer.rstrip(b"\n")), answer
                assert "error" in json.loads(answer), answer


@pytest.mark.parametrize("command", [["status"], ["sessions"], ["events"], ["drain"]], ids=str)
def test_a_control_socket_that_is_no_relays_cannot_write_to_the_terminal(
    control_path: str, command: list[str], tmp_path: Path
) -> None:
    """Somebody else's socket, to which a user was led: its words are not shown as they are."""
    with _false_relay(control_path):
        asked = subprocess.run(
            [str(relay_binary()), *command, "--control", control_path],
            capture_output=True,
            env=neutral_environment(),
            timeout=60,
            check=False,
        )
    assert asked.returncode != 0
    shown = (asked.stdout + asked.stderr).decode()
    assert all(character.isprintable() or character == "\n" for character in shown), shown
    assert "owned" not in shown


@contextlib.contextmanager
def _false_relay(path: str) -> Iterator[None]:
    """Greets everybody with an error that is anything but plain text."""
    failure = {"code": "too_many_clients", "message": "".join(HOSTILE_TEXTS)}
    line = json.dumps({"error": failure}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.sendall(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        # Wakes the thread out of its accept.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()

"""Fixtures: a relay for each test, a printed seed, and lines for the summary."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent_process import Agent, StartAgent
from couples import Stack, StartNat
from dashboard import DashboardRelay, StartDashboard
from faults import Faults
from nat import Nat
from programs import aioquic_options
from relay_process import GuardedRelay, Relay, StartRelay, why_no_relay
from sanitized import why_left_out
from tmux import why_no_tmux

Note = Callable[[str], None]

_relays = pytest.StashKey[list[Relay]]()
_agents = pytest.StashKey[list[Agent]]()
_notes = pytest.StashKey[list[str]]()


@pytest.fixture
def seed() -> int:
    """The seed of this test's random choices; set END_TO_END_SEED to repeat a run."""
    return _seed()


@pytest.fixture
def rng(seed: int) -> random.Random:
    """This test's random choices."""
    return random.Random(seed)


@pytest.fixture
def start_relay(
    request: pytest.FixtureRequest, tmp_path: Path, rng: random.Random
) -> Iterator[StartRelay]:
    """Starts a relay with extra arguments; all of a test's relays end with it."""
    yield from _relay_starter(request.node, tmp_path, rng)


@pytest.fixture(scope="module")
def start_shared_relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartRelay]:
    """The same for a relay that all tests of a file share."""
    directory = tmp_path_factory.mktemp("shared")
    yield from _relay_starter(request.node, directory, random.Random(_seed()))


@pytest.fixture
def start_nat() -> Iterator[StartNat]:
    """Starts a NAT with a public address before a relay; all of a test's NATs end with it."""
    with contextlib.ExitStack() as started:

        def start(relay: Relay, host: str, delay_seconds: float = 0.0) -> Nat:
            return started.enter_context(Nat(relay.address, host, delay_seconds))

        yield start


@pytest.fixture
def start_agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartAgent]:
    """Starts an agent for a session; all of a test's agents end with it."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    started: list[Agent] = []
    request.node.stash[_agents] = started

    def start(*arguments: Any, **options: Any) -> Agent:
        relays, session, *more = arguments
        log = tmp_path / f"agent-{len(started)}.log"
        agent = Agent(relays, session, log, *more, **options)
        started.append(agent)
        return agent

    yield start
    errors = []
    for agent in started:
        try:
            agent.stop()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture
def faults(tmp_path: Path, seed: int) -> Iterator[Faults]:
    """System calls that a relay can be started with, and that fail once a test says so."""
    with Faults(tmp_path / "faults", seed) as faults:
        yield faults


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def relay(request: pytest.FixtureRequest, start_relay: StartRelay) -> Relay:
    """A relay with default settings, once for each IP version."""
    return start_relay(host=request.param)


@pytest.fixture
def relay_ipv4(start_relay: StartRelay) -> Relay:
    """A relay on IPv4, whose many loopback addresses let peers live on different hosts."""
    return start_relay()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """The secret that a relay and tokens share."""
    path = tmp_path / "secrets"
    path.write_text(f"{'5f' * 32}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(secret_file: Path, tmp_path: Path, rng: random.Random) -> Iterator[GuardedRelay]:
    """A relay with that secret."""
    arguments = ["--auth-secret-file", str(secret_file)]
    relay = GuardedRelay("127.0.0.1", arguments, tmp_path / "guarded.log", rng)
    yield relay
    relay.stop()


@pytest.fixture
def start_dashboard(
    request: pytest.FixtureRequest, tmp_path: Path, rng: random.Random
) -> Iterator[StartDashboard]:
    """Starts a relay in a terminal with extra arguments; all of a test's relays end with it."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    no_terminal = why_no_tmux()
    if no_terminal:
        pytest.skip(no_terminal)
    with contextlib.ExitStack() as started:
        count = 0

        def start(*arguments: str, **options: Any) -> DashboardRelay:
            nonlocal count
            directory = tmp_path / f"terminal-{count}"
            directory.mkdir()
            count += 1
            relay = DashboardRelay(directory, rng, *arguments, **options)
            started.callback(relay.end)
            return relay

        yield start


@pytest.fixture(params=[False, True], ids=["in-process", "attached"])
def dashboard(request: pytest.FixtureRequest, start_dashboard: StartDashboard) -> DashboardRelay:
    """A relay with default settings, and its dashboard in a terminal of 120 by 35.

    Once in one process, and once attached to a relay in another.
    """
    relay = start_dashboard(attached=request.param)
    relay.wait_for_dashboard()
    return relay


@pytest.fixture
def own_dashboard(start_dashboard: StartDashboard) -> DashboardRelay:
    """A relay with default settings that shows its dashboard itself."""
    relay = start_dashboard()
    relay.wait_for_dashboard()
    return relay


@pytest.fixture
def attached_dashboard(start_dashboard: StartDashboard) -> DashboardRelay:
    """A relay with default settings, and a dashboard that is attached to it."""
    relay = start_dashboard(attached=True)
    relay.wait_for_dashboard()
    return relay


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Writes a self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


@pytest.fixture
def aioquic(certificate: tuple[Path, Path]) -> Stack:
    """aioquic, whose server and client send at once."""
    return Stack("aioquic", "aioquic_peer.py", tuple(aioquic_options("127.0.0.1", certificate)))


@pytest.fixture
def quic_portal() -> Stack:
    """quic-portal, whose client sends everything before the server does."""
    return Stack("quic-portal", "quic_portal_peer.py")


@pytest.fixture(params=["aioquic", "quic-portal"])
def stack(request: pytest.FixtureRequest, aioquic: Stack, quic_portal: Stack) -> Stack:
    """Each of the two."""
    return aioquic if request.param == "aioquic" else quic_portal


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Puts a line into the summary, where it is read even when all tests pass."""
    notes = request.config.stash.setdefault(_notes, [])

    def add(line: str) -> None:
        print(line)
        notes.append(line)

    return add


def pytest_configure() -> None:
    """Lets what the tests start have signals as usual, also where they were started by nohup(1), or
    in the background by a shell."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips, and says so, what makes no sense under a sanitizer."""
    directory = Path(__file__).parent
    for item in items:
        reason = why_left_out(f"{item.path.relative_to(directory)}::{item.name}")
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what relays and agents printed beside a failure."""
    report = yield
    if report.failed:
        relays = [relay for node in item.listchain() for relay in node.stash.get(_relays, [])]
        for relay in relays:
            report.sections.append((f"output of the relay, {relay.log.name}", relay.output()))
        for agent in item.stash.get(_agents, []):
            report.sections.append((f"output of an agent, {agent.log.name}", agent.output()))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the noted lines."""
    notes = config.stash.get(_notes, [])
    if notes:
        terminalreporter.section("notes")
        for line in notes:
            terminalreporter.write_line(line)


def _seed() -> int:
    chosen = os.environ.get("END_TO_END_SEED")
    value = int(chosen) if chosen else random.SystemRandom().getrandbits(32)
    print(f"END_TO_END_SEED={value}")
    return value


def _relay_starter(node: Any, directory: Path, rng: random.Random) -> Iterator[StartRelay]:
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    started: list[Relay] = []
    node.stash[_relays] = started

    def start(*arguments: str, host: str = "127.0.0.1", **options: Any) -> Relay:
        log = directory / f"relay-{len(started)}.log"
        relay = Relay(host, list(arguments), log, rng, **options)
        started.append(relay)
        return relay

    yield start
    errors = []
    for relay in started:
        try:
            relay.stop()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)

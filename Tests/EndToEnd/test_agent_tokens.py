"""A relay that takes registrations with a token only, and agents that have one or have not."""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path

import pytest

from agent_process import StartAgent
from peers import Address, Peer, free_ports
from relay_process import GuardedRelay, neutral_environment, relay_binary
from test_agent import LOCAL, Couple, send_until_received
from waiting import wait_until

def mint(secret_file: Path, session: uuid.UUID, ttl: str = "1h") -> str:
    """A token for a session, as the program prints it."""
    command = [str(relay_binary()), "token", "--secret-file", str(secret_file)]
    command += ["--session", str(session), "--ttl", ttl]
    made = subprocess.run(
        command, check=True, capture_output=True, text=True, env=neutral_environment()
    )
    return made.stdout.strip()


def test_agents_with_a_token_meet(
    guarded: GuardedRelay, secret_file: Path, start_agent: StartAgent
) -> None:
    session = uuid.uuid4()
    relays = [guarded.address]
    couple = Couple(
        start_agent, (relays, relays), session, "--token", mint(secret_file, session)
    )
    with (
        Peer(couple.client.address, LOCAL) as client,
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
    ):
        send_until_received(client, server)
        send_until_received(server, client)


@pytest.mark.parametrize(
    ("of_another_session", "ttl"), [(True, "1h"), (False, "1s")], ids=["another", "expired"]
)
def test_a_token_that_does_not_fit_is_refused(
    guarded: GuardedRelay,
    secret_file: Path,
    start_agent: StartAgent,
    of_another_session: bool,
    ttl: str,
) -> None:
    session = uuid.uuid4()
    token = mint(secret_file, uuid.uuid4() if of_another_session else session, ttl)
    if not of_another_session:
        expiry = int(token.split(";")[0].removeprefix("exp="))
        wait_until(lambda: time.time() > expiry + 1, "the token to expire")
    agent = start_agent([guarded.address], session, "--token", token)
    wait_until(lambda: agent.process.poll() is not None, "the agent's end")
    assert agent.process.returncode == 77, agent.output()
    refused = agent.events("registration_refused")
    assert [event.fields["reason"] for event in refused] == ["auth"]
    agent.kill()


def test_without_a_token_there_is_no_answer_to_version_1(guarded: GuardedRelay) -> None:
    with Peer(Address(LOCAL, guarded.address.port), LOCAL, free_ports(LOCAL, 1)[0]) as peer:
        peer.send(f"REG:{uuid.uuid4()}\n".encode())
        peer.expect_silence()
    assert int(guarded.summary()["dropped_unauthorized"]) == 1

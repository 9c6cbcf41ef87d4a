"""A relay, agents and QUIC programs, each in its own namespace of an internet."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent_process import Agent
from lab.internet import Internet, Site
from lab.namespaces import Namespace
from lab.nats import LOCAL_PORTS
from lab.stacks import LabStack
from peers import Address
from programs import Child, Received, check, payload, where
from relay_log import Event, parse
from relay_process import STOP_WALL_SECONDS, neutral_environment, relay_binary
from waiting import wait_until

RELAY_PORT = 4433
LOCAL = "127.0.0.1"
# One port for both ends, as an HTTP server knows itself by its name and port.
PROGRAM_PORT = 5555
CLIENT_PORT = 5556

# A wall guards against hanging; it says nothing about speed. A transfer takes seconds.
CELL_WALL_SECONDS = 240.0
_POLL_SECONDS = 0.005


class LabRelay:
    """The relay on its host, with both of that host's IP versions, as people run it."""

    def __init__(self, host: Namespace, log: Path, *arguments: str) -> None:
        """Starts it and returns when it listens."""
        self.log = log
        command = [str(relay_binary()), "--no-tui", "--port", str(RELAY_PORT), *arguments]
        with host.inside(), log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=neutral_environment(),
            )
        try:
            wait_until(lambda: self._has_ended() or self.events("listening"), "the relay")
            assert not self._has_ended(), self.output()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def process_id(self) -> int:
        """Its number."""
        return self._process.pid

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[Event]:
        """The events of one kind that it has logged so far."""
        return [event for event in parse(self.output()) if event.name == name]

    def stop(self) -> None:
        """Ends it; it must still run and obey SIGTERM."""
        if self._process.returncode is not None:
            return
        assert not self._has_ended(), f"the relay ended by itself\n{self.output()}"
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_WALL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError("SIGTERM did not end the relay") from None
        assert status == 0, f"the relay answered SIGTERM with {status}\n{self.output()}"

    def _has_ended(self) -> bool:
        return self._process.poll() is not None


class Laboratory:
    """What runs in one internet. It ends before the internet is removed."""

    def __init__(self, internet: Internet, directory: Path) -> None:
        """Starts the relay."""
        self.internet = internet
        self._directory = directory
        self._running = contextlib.ExitStack()
        self.relay = LabRelay(internet.relay, directory / "relay.log")
        self._running.callback(self.relay.stop)
        self._programs = self._running.enter_context(contextlib.ExitStack())
        self.agents: list[Agent] = []
        self.children: list[Child] = []

    def close(self) -> None:
        """Ends everything, last started first; each must have been running still."""
        self._running.close()

    def end_programs(self) -> None:
        """Ends agents and programs, and makes room for others."""
        self._programs.close()
        self.agents.clear()
        self.children.clear()

    def agent(self, site: Site, session: uuid.UUID, **options: Any) -> Agent:
        """Starts an agent at a site and returns when it has registered."""
        log = self._directory / f"agent-{len(self.agents)}.log"
        with site.host.inside():
            agent = Agent([Address(site.relay, RELAY_PORT)], session, log, **options)
        self._programs.callback(agent.stop)
        self.agents.append(agent)
        agent.await_event("registered")
        return agent

    def agents_for(
        self, session: uuid.UUID, server: Site, client: Site, client_port: int = PROGRAM_PORT
    ) -> tuple[Agent, Agent]:
        """Starts the agents of a session: for a server at one site, for a client at the other."""
        return (
            self.agent(server, session, forward=Address(LOCAL, PROGRAM_PORT)),
            self.agent(client, session, listen=Address(LOCAL, client_port)),
        )

    def child(self, site: Site, program: str, arguments: list[str], name: str) -> Child:
        """Starts a program at a site."""
        with site.host.inside():
            child = Child(program, arguments, self._directory / f"{name}.log")
        self._programs.callback(child.end)
        self.children.append(child)
        return child

    def outputs(self) -> list[tuple[str, str]]:
        """What everything printed, for a failure."""
        shown = [("relay", self.relay.output())]
        shown += [(agent.log.name, agent.output()) for agent in self.agents]
        return shown + [(child.log.name, child.output()) for child in self.children]


class LabTransfer:
    """A transfer in turns between two sites: the client sends, then the server."""

    def __init__(
        self,
        lab: Laboratory,
        stack: LabStack,
        sites: tuple[Site, Site],
        certificate: tuple[Path, Path],
        seed: int,
        byte_count: int,
        pause_seconds: float = 0.0,
    ) -> None:
        """Starts agents if the stack needs them, and both programs; `sites`: server's, client's."""
        self._seed, self._byte_count = seed, byte_count
        self._deadline = time.monotonic() + CELL_WALL_SECONDS
        session = uuid.UUID(int=seed, version=4)
        if not stack.registers:
            lab.agents_for(session, *sites)
        self._pause = str(pause_seconds)
        self.server = self._start(lab, stack, "server", sites[0], session, certificate)
        with sites[0].host.inside():
            self.server.await_bound(LOCAL_PORTS[0] if stack.registers else PROGRAM_PORT)
        self.client = self._start(lab, stack, "client", sites[1], session, certificate)

    def _start(
        self,
        lab: Laboratory,
        stack: LabStack,
        role: str,
        site: Site,
        session: uuid.UUID,
        certificate: tuple[Path, Path],
    ) -> Child:
        if stack.registers:
            arguments = where(LOCAL_PORTS[0], Address(site.relay, RELAY_PORT))
            arguments += ["--session", str(session)]
        else:
            port = PROGRAM_PORT if role == "server" else CLIENT_PORT
            arguments = where(port, Address(LOCAL, PROGRAM_PORT))
        own_seed = self._seed if role == "server" else self._seed + 1
        arguments = [role, *arguments, "--bytes", str(self._byte_count), "--seed", str(own_seed)]
        arguments += ["--pause-seconds", self._pause]
        if stack.takes_certificate:
            file, key = map(str, certificate)
            arguments += ["--local-host", LOCAL, "--certificate", file, "--key", key]
        if role == "client":
            arguments += stack.client_options
        return lab.child(site, stack.program, arguments, role)

    def wait_until(
        self, condition: Callable[[], object], what: str, poll_seconds: float = _POLL_SECONDS
    ) -> None:
        """Waits while the transfer runs, in which it must not end."""
        while not condition():
            check(self.client.is_running(), self._both, f"ended before {what}")
            self._check_wall(what)
            time.sleep(poll_seconds)

    def finish(self) -> Received:
        """Awaits the end, checks both checksums, and returns what the client got."""
        while self.client.is_running():
            # A server that fails ends the wait.
            self.server.is_running()
            self._check_wall("the client's end")
            time.sleep(_POLL_SECONDS)
        self.server.ask_to_end()
        while self.server.is_running():
            self._check_wall("the server's end")
            time.sleep(_POLL_SECONDS)
        server, client = (Received(**child.report()) for child in self._both)
        for got, sender_seed in ((server, self._seed + 1), (client, self._seed)):
            sent = payload(sender_seed, self._byte_count)
            whole = got.byte_count == self._byte_count
            check(whole, self._both, f"{got.byte_count} bytes of {self._byte_count} came")
            same = got.sha256 == hashlib.sha256(sent).hexdigest()
            check(same, self._both, "other bytes than were sent")
        return client

    @property
    def _both(self) -> Sequence[Child]:
        return (self.server, self.client)

    def _check_wall(self, what: str) -> None:
        in_time = time.monotonic() < self._deadline
        check(in_time, self._both, f"not within {CELL_WALL_SECONDS:g} s: {what}")

"""An agent under test as a child process."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from peers import Address
from relay_log import Event, parse
from relay_process import STOP_WALL_SECONDS, neutral_environment, relay_binary
from waiting import wait_until


class Agent:
    """A running `quic-relay agent` for a local client, or for a server at `forward`."""

    def __init__(
        self,
        relays: Sequence[Address | str],
        session: uuid.UUID | str,
        log: Path,
        *arguments: str,
        listen: Address | None = None,
        forward: Address | None = None,
    ) -> None:
        """Starts it and returns when it has its local address."""
        self.log = log
        self._is_stopped = False
        command = [str(relay_binary()), "agent", *arguments]
        for relay in relays:
            command += ["--relay", relay if isinstance(relay, str) else _shown(relay)]
        if forward is None:
            command += ["--listen", _shown(listen or Address("127.0.0.1", 0))]
        else:
            command += ["--forward", _shown(forward)]
        environment = neutral_environment() | {"QUIC_RELAY_SESSION": str(session)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        try:
            wait_until(lambda: self._has_ended() or self.events("agent_started"), "the start")
            (started,) = self.events("agent_started")
        except BaseException:
            self.kill()
            raise AssertionError(f"the agent did not start\n{self.output()}") from None
        host, _, port = started.fields["address"].rpartition(":")
        # Where a local client finds its server.
        self.address = Address(host.strip("[]"), int(port))

    def output(self) -> str:
        """What the agent printed so far."""
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[Event]:
        """The events of one kind that it has logged so far."""
        return [event for event in parse(self.output()) if event.name == name]

    def await_event(self, name: str, count: int = 1) -> Event:
        """Waits for the event, or for so many of them, and returns the last one."""

        def has_come() -> bool:
            assert not self._has_ended(), f"the agent ended by itself\n{self.output()}"
            return len(self.events(name)) >= count

        wait_until(has_come, f"{count} times {name} in {self.log.name}")
        return self.events(name)[count - 1]

    def summary(self) -> dict[str, str]:
        """Ends the agent and returns its totals, which must add up."""
        self.stop()
        (stopped,) = self.events("stopped")
        fields = stopped.fields
        for leg in ("upstream", "local"):
            parts = ("forwarded", "dropped", "consumed")
            total = sum(int(fields.get(f"{leg}_{part}", 0)) for part in parts)
            assert int(fields[f"{leg}_received"]) == total, fields
        return fields

    def stop(self) -> None:
        """Ends the agent, which must still be running and must obey SIGTERM."""
        if self._is_stopped:
            return
        self._is_stopped = True
        early = self.process.poll()
        assert early is None, f"the agent ended by itself with status {early}\n{self.output()}"
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_WALL_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("SIGTERM did not end the agent") from None
        assert status == 0, f"the agent answered SIGTERM with {status}\n{self.output()}"

    def kill(self) -> None:
        """Ends the agent without asking."""
        self._is_stopped = True
        self.process.kill()
        self.process.wait()

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


# The fixture `start_agent`: relays, session, more arguments; `listen=` or `forward=`.
StartAgent = Callable[..., Agent]


def _shown(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"

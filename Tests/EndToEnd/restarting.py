"""A relay that is ended and begun again at the same address, or replaced while it runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from peers import ACK, Peer, registration
from relay_log import Event, parse
from relay_process import START_WALL_SECONDS, STOP_WALL_SECONDS, RelayPeers, neutral_environment
from relay_process import relay_binary
from waiting import wait_until

# prctl(2): orphans become children of this process, which can then wait for their end.
_PR_SET_CHILD_SUBREAPER = 36

# Where a state file has the number of datagrams that were forwarded (Documentation/restart.md):
# behind the header, and behind what was received.
_FORWARDED_OFFSET = 144 + 16

# QUIC rides out what is well below its idle timeout; this is how long a restart takes at most.
_LONGEST_PAUSE_SECONDS = 1.5


class RestartingRelay(RelayPeers):
    """A relay that can be restarted in three ways; all that it printed is in one file."""

    def __init__(
        self,
        directory: Path,
        rng: random.Random,
        *arguments: str,
        binary: Path | None = None,
    ) -> None:
        """Starts it, and returns when it answers."""
        super().__init__("127.0.0.1", rng)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._rng = rng
        self._binary = binary or relay_binary()
        self._arguments = arguments
        self._log = directory / "relay.log"
        self._log.touch()
        self._is_running = False
        self.process_id = 0
        self.begin()

    def begin(self) -> None:
        """Starts it, and returns when it answers."""
        told = self.event_count("listening")
        with self._log.open("ab") as output:
            self.process_id = self._start(output).pid
        self._is_running = True
        with Peer(self.address, "127.0.0.254") as probe:
            wait_until(
                lambda: self._answers(probe), "the relay answers", START_WALL_SECONDS
            )
        # It answers before the rest of it is there.
        wait_until(
            lambda: self.event_count("listening") > told, "the relay listens", START_WALL_SECONDS
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it with a signal."""
        self.signal(number)
        status = self.wait()
        expected = -signal.SIGKILL if number == signal.SIGKILL else 0
        assert status == expected, f"ended with {status}\n{self.output()}"

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self.process_id, number)

    def wait(self) -> int:
        """Its exit status once it has ended; minus the signal that ended it."""
        status: list[int] = []

        def has_ended() -> bool:
            process, code = os.waitpid(self.process_id, os.WNOHANG)
            if process:
                status.append(os.waitstatus_to_exitcode(code))
            return bool(process)

        wait_until(has_ended, "the relay ends", STOP_WALL_SECONDS)
        self._is_running = False
        return status[0]

    def restart(self, kind: str) -> None:
        """Kills it, stops it, or lets it hand over; returns when the next one answers."""
        if kind == "hand-over":
            with self.handing_over():
                pass
            return
        time.sleep(self._rng.random())
        self.end(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        # Somebody, or a service manager, takes so long to start it again.
        time.sleep(self._rng.random() * _LONGEST_PAUSE_SECONDS)
        self.begin()

    @contextlib.contextmanager
    def handing_over(self) -> Iterator[None]:
        """Lets it hand over while something is done; afterwards the next one is there."""
        count = self.event_count("handover_done")
        self.signal(signal.SIGUSR2)
        yield
        assert self.wait() == 0, self.output()
        done = self.events("handover_done")
        assert len(done) == count + 1, self.output()
        self.process_id = int(done[-1].fields["process"])
        self._is_running = True

    def try_another(self, *arguments: str) -> tuple[int, str]:
        """Starts another relay on any port, which must end; its exit status and output."""
        result = subprocess.run(
            [str(self._binary), "--no-tui", "--bind", "127.0.0.1", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=neutral_environment(),
            timeout=STOP_WALL_SECONDS,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr

    def output(self) -> str:
        """What all of them printed so far."""
        return self._log.read_text(errors="replace")

    def events(self, name: str) -> list[Event]:
        """The events of one kind that all of them logged so far."""
        return [event for event in parse(self.output()) if event.name == name]

    def event_count(self, name: str) -> int:
        """How many there are."""
        return len(self.events(name))

    def forwarded(self) -> int:
        """How many datagrams were forwarded, as it wrote down at most a second ago."""
        directory = Path(self._arguments[self._arguments.index("--state-dir") + 1])
        try:
            state = (directory / "sessions.state").read_bytes()
        except FileNotFoundError:
            return 0
        return int.from_bytes(state[_FORWARDED_OFFSET : _FORWARDED_OFFSET + 8], "little")

    def close(self) -> None:
        """Ends it if it still runs, and frees the peers' ports."""
        self.close_peers()
        if self._is_running:
            self.end()

    def _start(self, output: object) -> subprocess.Popen[bytes]:
        command = [str(self._binary), "--no-tui", "--bind", self.address.host]
        command += ["--port", str(self.address.port), *self._arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,  # type: ignore[arg-type]
            stderr=subprocess.STDOUT,
            env=neutral_environment(),
        )
        # Waited for by its id, as those are that it hands over to.
        process.returncode = 0
        return process

    def _answers(self, probe: Peer) -> bool:
        probe.send(registration(self.new_session()))
        try:
            return probe.receive(0.05) == ACK
        except (TimeoutError, ConnectionRefusedError):
            return False

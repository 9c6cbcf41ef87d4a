"""A service manager as systemd is one to the relay: as much of its protocol as the relay uses.

Passes sockets (sd_listen_fds(3)), hears notices and keeps descriptors (sd_notify(3)), watches for
signs of life and starts again what has failed (systemd.service(5)).
"""

from __future__ import annotations

import array
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from relay_log import Event, parse
from relay_process import neutral_environment, relay_binary
from waiting import wait_until

# Enough for every test; a relay that fails again and again is not started for ever.
RESTART_LIMIT = 5
RECEIVE_BYTES = 4_096
# TimeoutAbortSec=: how long a process that was aborted may take for its last words.
ABORT_SECONDS = 2.0

# Puts the descriptors where they belong and becomes the service, so that LISTEN_PID is its number.
LAUNCHER = """
import fcntl, os, sys
count, *words = sys.argv[1:]
passed = [int(word) for word in words[: int(count)]]
moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in passed]
for index, descriptor in enumerate(moved):
    os.dup2(descriptor, 3 + index)
os.closerange(3 + len(moved), 1000)
if moved:
    os.environ["LISTEN_PID"] = str(os.getpid())
command = words[int(count) :]
os.execv(command[0], command)
"""


@dataclass(frozen=True)
class Notice:
    """One datagram that the service sent."""

    process: int
    fields: dict[str, str]


@dataclass
class Service:
    """What a unit says about the relay."""

    arguments: list[str]
    # Names and sockets of the socket unit.
    sockets: list[tuple[str, socket.socket]] = field(default_factory=list)
    watchdog_seconds: float | None = None
    restarts: bool = False
    is_abstract: bool = False
    variables: dict[str, str] = field(default_factory=dict)


class ServiceManager:
    """Runs one service until the test is over."""

    def __init__(self, directory: Path, service: Service) -> None:
        """Prepares everything but starts nothing yet."""
        self.log = directory / "service.log"
        self.notices: list[Notice] = []
        self.store: list[tuple[str, int]] = []
        self.restarts = 0
        self.watchdog_kills = 0
        self._service = service
        self._lock = threading.RLock()
        self._is_over = False
        self._alive_at = 0.0
        self._pauses = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if service.is_abstract:
            self._path = f"@quic-relay-test-{os.getpid()}-{id(self)}"
            self._socket.bind("\0" + self._path[1:])
        else:
            self._path = str(directory / "notify")
            self._socket.bind(self._path)
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self.log.touch()
        self._start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._thread.join()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._socket.close()
        for _, descriptor in self.store:
            os.close(descriptor)
        if error is not None:
            print(f"output of the service:\n{self.output()}\nnotices: {self.notices}")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The service's latest process."""
        assert self._process is not None, "the service has not been started"
        return self._process

    def output(self) -> str:
        """What the service printed in all of its lives."""
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[Event]:
        """The logged events of one kind."""
        return [event for event in parse(self.output()) if event.name == name]

    def noticed(self, name: str, process: int | None = None) -> list[str]:
        """The values of one field, oldest first, of one process if given."""
        with self._lock:
            return [
                notice.fields[name]
                for notice in self.notices
                if name in notice.fields and process in (None, notice.process)
            ]

    def wait_for(self, name: str, count: int = 1, process: int | None = None) -> None:
        """Waits until a field has been noticed that often."""
        wait_until(
            lambda: len(self.noticed(name, process)) >= count or self.process.poll() is not None,
            f"{name} noticed {count} times, only {self.notices}",
        )
        assert len(self.noticed(name, process)) >= count, f"the service ended\n{self.output()}"

    def end(self, number: int = signal.SIGTERM) -> int:
        """Asks the service to end, for good, and returns its exit status."""
        self._service.restarts = False
        self.process.send_signal(number)
        status = self.process.wait(60)
        # What it sent at its end has been read when there was nothing to read after that.
        before = self._pauses
        wait_until(lambda: self._pauses > before, "the last notices to be read")
        return status

    def _start(self) -> None:
        environment = {**neutral_environment(), "NOTIFY_SOCKET": self._path}
        passed = [(name, s.fileno()) for name, s in self._service.sockets] + self.store
        if passed:
            environment["LISTEN_FDS"] = str(len(passed))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in passed)
        if self._service.watchdog_seconds is not None:
            environment["WATCHDOG_USEC"] = str(int(self._service.watchdog_seconds * 1e6))
        environment.update(self._service.variables)
        numbers = [str(descriptor) for _, descriptor in passed]
        command = [sys.executable, "-c", LAUNCHER, str(len(passed)), *numbers]
        command += [str(relay_binary()), "--no-tui", *self._service.arguments]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[descriptor for _, descriptor in passed],
            )
        self._alive_at = 0.0

    def _run(self) -> None:
        while not self._is_over:
            self._receive()
            self._watch()

    def _receive(self) -> None:
        space = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4 * 16)
        try:
            text, ancillary, _, _ = self._socket.recvmsg(RECEIVE_BYTES, space)
        except TimeoutError:
            self._pauses += 1
            return
        process, descriptors = 0, array.array("i")
        for level, kind, value in ancillary:
            assert level == socket.SOL_SOCKET
            if kind == socket.SCM_CREDENTIALS:
                process = struct.unpack("3i", value)[0]
            else:
                descriptors.frombytes(value)
        fields = dict(line.split("=", 1) for line in text.decode().split("\n"))
        if fields.get("FDSTORE") == "1":
            self.store += [(fields["FDNAME"], descriptor) for descriptor in descriptors]
        else:
            for descriptor in descriptors:
                os.close(descriptor)
        if fields.get("FDSTOREREMOVE") == "1":
            for name, descriptor in self.store:
                if name == fields["FDNAME"]:
                    os.close(descriptor)
            self.store = [kept for kept in self.store if kept[0] != fields["FDNAME"]]
        if "READY" in fields or "WATCHDOG" in fields:
            self._alive_at = time.monotonic()
        with self._lock:
            self.notices.append(Notice(process, fields))

    def _watch(self) -> None:
        wanted = self._service.watchdog_seconds
        if wanted is not None and self._alive_at > 0:
            if time.monotonic() - self._alive_at > wanted and self.process.poll() is None:
                self.watchdog_kills += 1
                self._alive_at = 0.0
                self.process.send_signal(signal.SIGABRT)
                try:
                    self.process.wait(ABORT_SECONDS)
                except subprocess.TimeoutExpired:
                    self.process.kill()
        if self._service.restarts and self.process.poll() not in (None, 0):
            assert self.restarts < RESTART_LIMIT, "the service fails again and again"
            self.restarts += 1
            self._start()

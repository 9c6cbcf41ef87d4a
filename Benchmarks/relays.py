"""The relays that are compared, and how each is started."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import machine
from loads import Load
from networks import KINDS, PORT, SINK_PORT, Network, bracketed

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOOP = ROOT / ".build/bench/loop"
HOP = ROOT / ".build/bench/hop"
PROGRAM = ROOT / ".build/release/quic-relay"
# What holds all sessions of one source, as the load generator is one.
LIMITS = ["--half-open-limit-per-ip", "1000000", "--registration-rate-per-ip", "1000000",
          "--ack-rate-per-ip", "1000000", "--session-limit", "100000"]
STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True)
class Relay:
    """A program that forwards datagrams, or the kernel."""

    name: str
    protocol: str                      # how sessions are set up: register, sink or turn
    command: Callable[[Network, pathlib.Path], list[str]]
    missing: str | None                # why it cannot be measured here
    version: str | None = None
    session_limit: int = 100_000
    families: tuple[int, ...] = (4, 6)
    networks: tuple[str, ...] = tuple(KINDS)
    is_kernel: bool = False            # no process whose CPU time could be taken

    def obstacle(self, load: Load, network: Network) -> str | None:
        """Why this relay does not take that load there."""
        if self.missing:
            return self.missing
        if network.name not in self.networks:
            return f"not on {network.name}"
        if network.family not in self.families:
            return f"not measured with IPv{network.family}"
        if load.sessions > self.session_limit:
            return f"not measured with more than {self.session_limit} sessions"
        if load.is_duplex and self.protocol != "register":
            return "one direction only"
        return None


def lacks(program: str | pathlib.Path, package: str) -> str | None:
    found = shutil.which(program) if isinstance(program, str) else program.exists()
    return None if found else f"{pathlib.Path(program).name} is missing ({package})"


def ours(name: str, command: list[str]) -> Relay:
    """A quic-relay, with all that it shows switched on as ever."""
    def start(network: Network, _: pathlib.Path) -> list[str]:
        bind = [] if network.name != "loopback" else ["--bind", network.relay_bind]
        return [*command, "--no-tui", "--port", str(PORT), *bind, "--control", "off",
                "--log-level", "error", *LIMITS]
    return Relay(name, "register", start, lacks(pathlib.Path(command[0]), "make build"))


def loop() -> Relay:
    return Relay(
        "loop", "register", lambda network, _: [str(LOOP), network.relay_bind, str(PORT)],
        lacks(LOOP, "make bench builds it"))


def agent(program: pathlib.Path) -> Relay:
    """An agent whose relay is the sink: the load generator acknowledges registrations."""
    def start(network: Network, _: pathlib.Path) -> list[str]:
        return [str(program), "agent", "--relay", bracketed(network.sink, SINK_PORT),
                "--listen", bracketed(network.relay_bind, PORT), "--log-level", "error",
                "--session", "0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10"]
    # As many local clients as it remembers.
    return Relay("agent", "sink", start, lacks(program, "make build"), session_limit=256)


def hop() -> Relay:
    def start(network: Network, _: pathlib.Path) -> list[str]:
        return [str(HOP), network.relay_bind, str(PORT), network.sink, str(SINK_PORT)]
    return Relay("hop", "sink", start, lacks(HOP, "make bench builds it"))


def nginx() -> Relay:
    def start(network: Network, folder: pathlib.Path) -> list[str]:
        module = f"load_module {STREAM_MODULE};" if STREAM_MODULE.exists() else ""
        (folder / "nginx.conf").write_text(
            f"{module} worker_processes 1; pid {folder}/nginx.pid; daemon off;"
            "worker_rlimit_nofile 100000; events { worker_connections 50000; }"
            f"stream {{ server {{ listen {bracketed(network.relay_bind, PORT)} udp;"
            f"proxy_pass {bracketed(network.sink, SINK_PORT)}; proxy_timeout 60s; }} }}")
        return ["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
    missing = lacks("nginx", "nginx-full")
    if not missing and subprocess.run(
            "nginx -V 2>&1 | grep -q -- --with-stream", shell=True, check=False).returncode:
        missing = "nginx was built without stream"
    if not missing and not STREAM_MODULE.exists() and pathlib.Path("/etc/debian_version").exists():
        missing = "nginx has no stream module (libnginx-mod-stream)"
    return Relay("nginx", "sink", start, missing, machine.first_line(["nginx", "-v"]))


def socat() -> Relay:
    def start(network: Network, _: pathlib.Path) -> list[str]:
        kind = f"UDP{network.family}"
        here = bracketed(network.relay_bind, 0).rsplit(":", 1)[0]
        there = bracketed(network.sink, SINK_PORT)
        return ["socat", "-b", "65536", f"{kind}-LISTEN:{PORT},bind={here},fork,reuseaddr",
                f"{kind}:{there}"]
    # A process for each session.
    return Relay("socat", "sink", start, lacks("socat", "socat"),
                 machine.first_line(["sh", "-c", "socat -V | grep 'socat version'"]),
                 session_limit=64)


def coturn() -> Relay:
    def start(network: Network, folder: pathlib.Path) -> list[str]:
        addresses = ["--listening-ip", network.relay_a, "--relay-ip",
                     network.relay_b if network.name != "loopback" else network.relay_bind]
        return ["turnserver", "-n", *addresses, "--listening-port", str(PORT), "--no-auth",
                "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers",
                "--min-port", "10000", "--max-port", "31000", "--relay-threads", "1",
                "--no-stdout-log", "--log-file", f"{folder}/turn.log", "--simple-log",
                "--userdb", f"{folder}/turndb", "--pidfile", f"{folder}/turn.pid"]
    return Relay("coturn", "turn", start, lacks("turnserver", "coturn"),
                 machine.first_line(["turnserver", "--version"]), families=(4,))


def nftables() -> Relay:
    """Address translation by the kernel, in the relay's namespace."""
    def start(network: Network, folder: pathlib.Path) -> list[str]:
        kind = "ip6" if network.family == 6 else "ip"
        (folder / "nat.nft").write_text(
            f"table {kind} bench {{\n"
            "  chain before {\n    type nat hook prerouting priority dstnat\n"
            f"    udp dport {PORT} dnat to {bracketed(network.sink, SINK_PORT)}\n  }}\n"
            "  chain after {\n    type nat hook postrouting priority srcnat\n"
            # Not what goes directly from peer to peer beside it.
            "    ct status dnat masquerade\n  }\n}\n")
        # Stays while it is measured; others in this namespace must not pay for its rules.
        script = (f"nft -f {folder}/nat.nft || exit; trap 'nft delete table {kind} bench' EXIT;"
                  "trap exit TERM; sleep 600 & wait")
        return ["sh", "-c", script]
    return Relay("nftables", "sink", start, lacks("nft", "nftables"),
                 machine.first_line(["nft", "--version"]), networks=("veth", "nic"), is_kernel=True)


def known(program: pathlib.Path) -> dict[str, Relay]:
    """All of them, ours first."""
    relays = [ours("ours", [str(program)]), loop(), nginx(), socat(), coturn(), nftables(),
              agent(program), hop()]
    return {relay.name: relay for relay in relays}


def another(text: str) -> Relay:
    """A quic-relay from NAME=COMMAND: another build, or other options."""
    name, separator, command = text.partition("=")
    parts = shlex.split(command)
    if not separator or not name.isidentifier() or not parts:
        raise ValueError(f"--with {text}: must be NAME=COMMAND")
    return ours(name, parts)


ENDINGS = {signal.SIGTERM, signal.SIGINT}


def begin(prepare: Callable[[], None]) -> None:
    """Done in a relay's process before it is one."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    prepare()


@contextmanager
def running(
    relay: Relay, network: Network, prepare: Callable[[], None]
) -> Iterator[int]:
    """Starts a relay in a process that was prepared for it; its process group, which ends with
    this."""
    with tempfile.TemporaryDirectory() as folder:
        # nginx's worker is nobody, and has to look into it.
        os.chmod(folder, 0o755)
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("QUIC_RELAY_")}
        said = pathlib.Path(folder) / "said"
        # Whoever ends us while a process is made must not leave it behind.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        with said.open("w") as output:
            process = subprocess.Popen(
                [*network.enter_relay, *relay.command(network, pathlib.Path(folder))],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                start_new_session=True, preexec_fn=lambda: begin(prepare))
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
            yield process.pid
            if process.poll() is not None:
                raise RuntimeError(
                    f"{relay.name} ended by itself with {process.returncode}: {said.read_text()}")
        except RuntimeError as error:
            if process.poll() is not None and "ended by itself" not in str(error):
                raise RuntimeError(
                    f"{relay.name} ended with {process.returncode}: {said.read_text()}") from error
            raise
        finally:
            end(process)


def end(process: subprocess.Popen) -> None:
    """Ends the group of processes that a relay is, and waits for its first one."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
    process.wait()

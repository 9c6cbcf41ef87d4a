"""What the relay says of sessions that do not work, each made with programs that really fail so.

All of them fail at the same time, before one relay, since each takes its ten seconds or twenty.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import make_certificate
from conversation import PROGRAM, Conversation
from couples import Couple
from nat import Nat
from peers import Peer, free_ports, registration
from programs import Child, aioquic_options, register_ports, where
from relay_process import Relay, StartRelay

# A wall only. A diagnosis that has lasted 10 s is logged; `idle` is one after 10 s of silence.
DIAGNOSIS_WALL_SECONDS = 90.0
_POLL_SECONDS = 0.02

# The numbers of the deployed client.
_REGISTRATION_SECONDS = 3.0
_CHATTER_SECONDS = 0.1


@dataclass
class _Repeated:
    seconds: float
    action: Callable[[], None]
    due: float = 0.0


@dataclass
class Scene:
    """A session whose two peers are registered, and what is done to it."""

    couple: Couple
    directory: Path
    certificate: tuple[Path, Path]
    things: contextlib.ExitStack
    repeated: list[_Repeated] = field(default_factory=list)

    def options(self, certificate: tuple[Path, Path] | None = None) -> list[str]:
        """What the aioquic programs take."""
        return aioquic_options("127.0.0.1", certificate or self.certificate)

    def start(self, role: str, plays: str, options: list[str] | None = None) -> Child:
        """Starts a program at the place of server or client, which plays the one or the other."""
        is_server = role == "server"
        mapping = self.couple.server if is_server else self.couple.client
        port = self.couple.ports[0 if is_server else 1]
        arguments = [plays, *where(port, mapping.inner), *(options or self.options())]
        child = Child(PROGRAM, arguments, self.directory / f"{role}.log")
        self.things.callback(child.end)
        if plays == "server":
            child.await_bound(port)
        return child

    def converse(self) -> Conversation:
        """Starts a conversation and returns when it is established."""
        relays = (self.couple.server.inner, self.couple.client.inner)
        conversation = Conversation(relays, self.couple.ports, self.directory, *self.options())
        return self.things.enter_context(conversation)

    def peers(self) -> tuple[Peer, Peer]:
        """Raw sockets at the places of server and client."""
        couple = self.couple
        both = zip((couple.server, couple.client), couple.ports, strict=True)
        server, client = (Peer(mapping.inner, port=port) for mapping, port in both)
        return self.things.enter_context(server), self.things.enter_context(client)

    def repeat(self, seconds: float, action: Callable[[], None]) -> None:
        """Lets something happen now and again and again."""
        self.repeated.append(_Repeated(seconds, action))

    def go_on(self) -> None:
        """Does what is due."""
        for each in self.repeated:
            if time.monotonic() >= each.due:
                each.due = time.monotonic() + each.seconds
                each.action()


def _silent(scene: Scene) -> None:
    """Both have registered, and that was it."""


def _mute(scene: Scene) -> None:
    """The server's program was never started."""
    scene.start("client", plays="client")


def _registers_only(scene: Scene) -> None:
    """A socket that only registers has the server's port, and gets all that QUIC should get."""
    server = scene.things.enter_context(
        Peer(scene.couple.server.inner, port=scene.couple.ports[0])
    )
    line = registration(scene.couple.session)
    scene.repeat(_REGISTRATION_SECONDS, lambda: server.send(line))
    scene.start("client", plays="client")


def _stalled(scene: Scene) -> None:
    """The server answers, but the client's firewall lets nothing in any more."""
    scene.couple.client.blocks_inward = True
    scene.start("server", plays="server")
    scene.start("client", plays="client")


def _one_way(scene: Scene) -> None:
    """In the midst of a conversation the client's datagrams stop to get through."""
    scene.converse()
    scene.couple.client.blocks_outward = True


def _idle(scene: Scene) -> None:
    """In the midst of a conversation both programs are killed."""
    scene.converse().end()


def _not_quic(scene: Scene) -> None:
    """Both talk, but not QUIC."""
    for peer in scene.peers():
        words = (f"this is no QUIC, it is text {number}\n".encode() for number in itertools.count())
        scene.repeat(_CHATTER_SECONDS, functools.partial(_say_next, peer, words))


def _say_next(peer: Peer, words: Iterator[bytes]) -> None:
    peer.send(next(words))


def _punching(scene: Scene) -> None:
    """Both punch as the deployed client does, and QUIC never starts."""
    for peer in scene.peers():
        scene.repeat(_CHATTER_SECONDS, functools.partial(peer.send, b"punch"))


def _two_clients(scene: Scene) -> None:
    """Each takes the other one for the server."""
    scene.start("server", plays="client")
    scene.start("client", plays="client")


def _refused(scene: Scene) -> None:
    """The client does not trust the server's certificate."""
    other = make_certificate(scene.directory)
    scene.start("server", plays="server")
    scene.start("client", plays="client", options=scene.options(other))


# What is done to a session, and the diagnosis that it must get.
SCENES: dict[str, tuple[Callable[[Scene], None], str]] = {
    "silent": (_silent, "silent"),
    "punching": (_punching, "silent"),
    "mute": (_mute, "mute"),
    "registers_only": (_registers_only, "registers_only"),
    "stalled": (_stalled, "stalled"),
    "one_way": (_one_way, "one_way"),
    "idle": (_idle, "idle"),
    "not_quic": (_not_quic, "not_quic"),
    "two_clients": (_two_clients, "two_clients"),
    "refused": (_refused, "refused"),
}


def _diagnoses(relay: Relay, scene: Scene) -> list[str]:
    """What the relay has logged of a session: the one place that knows the event."""
    events = relay.events("session_diagnosed", scene.couple.session)
    return [event.fields["diagnosis"] for event in events]


@pytest.fixture(scope="module")
def diagnosed(
    start_shared_relay: StartRelay,
    certificate: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, list[str]]]:
    """The diagnoses of each scene, in the order in which they were logged."""
    relay = start_shared_relay()
    names = [*SCENES, "established"]
    with contextlib.ExitStack() as things:
        hosts = [f"127.0.1.{number + 1}" for number in range(2 * len(names))]
        nats = [things.enter_context(Nat(relay.address, host)) for host in hosts]
        mappings = [nat.mapping() for nat in nats]
        # After the mappings, which must not take one of these ports.
        ports = free_ports(relay.address.host, len(mappings))
        scenes: dict[str, Scene] = {}
        for number, name in enumerate(names):
            server, client = mappings[2 * number : 2 * number + 2]
            own = ports[2 * number : 2 * number + 2]
            session = register_ports(relay, own, (server.inner, client.inner))
            couple = Couple(session, server, client, own)
            directory = tmp_path_factory.mktemp(name)
            scenes[name] = Scene(couple, directory, certificate, things)
        conversation = scenes["established"].converse()
        for name, (begin, _) in SCENES.items():
            begin(scenes[name])
        deadline = time.monotonic() + DIAGNOSIS_WALL_SECONDS
        while time.monotonic() < deadline:
            for scene in scenes.values():
                scene.go_on()
            if all(_diagnoses(relay, scenes[name]) for name in SCENES):
                break
            time.sleep(_POLL_SECONDS)
        conversation.finish()
        yield {name: _diagnoses(relay, scene) for name, scene in scenes.items()}


@pytest.mark.parametrize("name", SCENES)
def test_diagnosis_is_logged_once(diagnosed: dict[str, list[str]], name: str) -> None:
    # What is cut off comes to rest some time after.
    first, *later = diagnosed[name] or ["nothing"]
    assert (first, later) in ((SCENES[name][1], []), (SCENES[name][1], ["idle"]))


def test_what_works_is_not_diagnosed(diagnosed: dict[str, list[str]]) -> None:
    assert diagnosed["established"] == []

"""One side of a transfer with aioquic: both sides send at once on one bidirectional stream."""

from __future__ import annotations

import argparse
import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

from programs import payload, print_received, transfer_parser

ALPN = ["end-to-end"]

# Small enough that both sides are sending long before either has queued everything.
_CHUNK_BYTES = 64 * 1024

Result = TypeVar("Result")
# What one side does with the stream. It ends its own direction.
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Result]]


def add_aioquic_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every aioquic program takes."""
    parser.add_argument("--local-host", required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--retry", action="store_true")


def converse(options: argparse.Namespace, conversation: Conversation[Result]) -> Result:
    """Has the conversation over one connection with the other side, as server or as client."""
    side = _serve if options.role == "server" else _connect
    return asyncio.run(side(options, conversation))


async def _serve(options: argparse.Namespace, conversation: Conversation[Result]) -> Result:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(options.certificate, options.key)
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    tasks: list[asyncio.Task[None]] = []
    protocols: list[QuicConnectionProtocol] = []

    class Protocol(QuicConnectionProtocol):
        """Remembers the connection, which the stream handler is not told."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            protocols.append(self)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Passes failures on, too, which a bare task would swallow.
        try:
            result = await conversation(reader, writer)
            # The client closes when it has everything; until then losses must be repaired.
            await protocols[0].wait_closed()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(result)

    def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(answer(reader, writer)))

    server = await serve(
        options.local_host,
        options.local_port,
        configuration=configuration,
        create_protocol=Protocol,
        stream_handler=on_stream,
        retry=options.retry,
    )
    result = await done
    assert len(protocols) == 1, f"{len(protocols)} connections"
    server.close()
    return result


async def _connect(options: argparse.Namespace, conversation: Conversation[Result]) -> Result:
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=ALPN,
        server_name="localhost",
        verify_mode=ssl.CERT_REQUIRED,
    )
    configuration.load_verify_locations(options.certificate)
    async with connect(
        options.relay_host,
        options.relay_port,
        configuration=configuration,
        local_port=options.local_port,
    ) as connection:
        reader, writer = await connection.create_stream()
        return await conversation(reader, writer)


def main() -> None:
    """Runs one side."""
    parser = transfer_parser()
    add_aioquic_arguments(parser)
    options = parser.parse_args()
    outgoing = payload(options.seed, options.bytes)

    async def exchange(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[bytes, float]:
        """Sends everything and receives exactly as much."""
        start = time.monotonic()
        for position in range(0, len(outgoing), _CHUNK_BYTES):
            writer.write(outgoing[position : position + _CHUNK_BYTES])
            # aioquic's writer has no back-pressure; give the receiving side its turn.
            await asyncio.sleep(0)
        received = await reader.readexactly(len(outgoing))
        if options.role == "server":
            # The end of the stream tells the client that everything it sent has arrived.
            writer.write_eof()
        else:
            rest = await reader.read()
            assert not rest, f"{len(rest)} bytes too many"
        return received, time.monotonic() - start

    print_received(*converse(options, exchange))


if __name__ == "__main__":
    main()

"""One side of a transfer with aioquic: both sides send at once on one bidirectional stream."""

from __future__ import annotations

import argparse
import asyncio
import ssl
import time
from collections.abc import Coroutine
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

from programs import payload, peer_parser, print_received

ALPN = ["end-to-end"]

# Small enough that both sides are sending long before either has queued everything.
_CHUNK_BYTES = 64 * 1024


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outgoing: bytes
) -> bytes:
    """Sends everything and receives exactly as much."""
    for start in range(0, len(outgoing), _CHUNK_BYTES):
        writer.write(outgoing[start : start + _CHUNK_BYTES])
        # aioquic's writer has no back-pressure; give the receiving side its turn.
        await asyncio.sleep(0)
    return await reader.readexactly(len(outgoing))


async def _serve(options: argparse.Namespace) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(options.certificate, options.key)
    outgoing = payload(options.seed, options.bytes)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: list[asyncio.Task[None]] = []
    protocols: list[QuicConnectionProtocol] = []

    class Protocol(QuicConnectionProtocol):
        """Remembers the connection, which the stream handler is not told."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            protocols.append(self)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = time.monotonic()
        received = await _exchange(reader, writer, outgoing)
        seconds = time.monotonic() - start
        # The end of the stream tells the client that everything it sent has arrived.
        writer.write_eof()
        # The client closes when it has everything; until then losses must be repaired.
        await protocols[0].wait_closed()
        print_received(received, seconds)

    def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(_report(answer(reader, writer), done)))

    server = await serve(
        options.local_host,
        options.local_port,
        configuration=configuration,
        create_protocol=Protocol,
        stream_handler=on_stream,
        retry=options.retry,
    )
    await done
    assert len(protocols) == 1, f"{len(protocols)} connections"
    server.close()


async def _report(work: Coroutine[Any, Any, None], done: asyncio.Future[None]) -> None:
    """Passes the end of the work on, failures included, which a bare task would swallow."""
    try:
        await work
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(None)


async def _connect(options: argparse.Namespace) -> None:
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=ALPN,
        server_name="localhost",
        verify_mode=ssl.CERT_REQUIRED,
    )
    configuration.load_verify_locations(options.certificate)
    outgoing = payload(options.seed, options.bytes)
    async with connect(
        options.relay_host,
        options.relay_port,
        configuration=configuration,
        local_port=options.local_port,
    ) as connection:
        reader, writer = await connection.create_stream()
        start = time.monotonic()
        received = await _exchange(reader, writer, outgoing)
        rest = await reader.read()
        assert not rest, f"{len(rest)} bytes too many"
        seconds = time.monotonic() - start
    print_received(received, seconds)


def main() -> None:
    """Runs one side."""
    parser = peer_parser()
    parser.add_argument("--local-host", required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--retry", action="store_true")
    options = parser.parse_args()
    asyncio.run(_serve(options) if options.role == "server" else _connect(options))


if __name__ == "__main__":
    main()

"""aioquic with many connections: a server that sends everything back, and a client of it."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from aioquic_peer import ALPN, add_aioquic_arguments
from programs import TRANSFER_WALL_SECONDS, payload, transfer_parser


async def _serve(options: argparse.Namespace) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(options.certificate, options.key)
    tasks: list[asyncio.Task[None]] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
        writer.write_eof()

    def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.create_task(echo(reader, writer)))

    server = await serve(
        options.local_host,
        options.local_port,
        configuration=configuration,
        stream_handler=on_stream,
    )
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


def _use_no_connection_ids(configuration: QuicConfiguration) -> None:
    """Lets answers have no connection ID, as Chromium and quic-go do (RFC 9000 §5.1)."""
    configuration.connection_id_length = 0
    # Who has none must not offer more of them (RFC 9000 §19.15), which aioquic does not know.
    assert callable(QuicConnection._replenish_connection_ids)
    QuicConnection._replenish_connection_ids = lambda _: None  # type: ignore[method-assign]


async def _connect(options: argparse.Namespace) -> None:
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=ALPN,
        server_name="localhost",
        verify_mode=ssl.CERT_REQUIRED,
    )
    configuration.load_verify_locations(options.certificate)
    if options.no_connection_ids:
        _use_no_connection_ids(configuration)
    outgoing = payload(options.seed, options.bytes)
    async with (
        asyncio.timeout(TRANSFER_WALL_SECONDS),
        connect(
            options.relay_host,
            options.relay_port,
            configuration=configuration,
            local_port=options.local_port,
        ) as connection,
    ):
        reader, writer = await connection.create_stream()
        writer.write(outgoing)
        writer.write_eof()
        received = await reader.read()
    digest = hashlib.sha256(received).hexdigest()
    print(json.dumps({"sha256": digest, "byte_count": len(received)}), flush=True)


def main() -> None:
    """Runs one side; the server until its input ends."""
    parser = transfer_parser()
    add_aioquic_arguments(parser)
    parser.add_argument("--no-connection-ids", action="store_true")
    options = parser.parse_args()
    asyncio.run(_serve(options) if options.role == "server" else _connect(options))


if __name__ == "__main__":
    main()

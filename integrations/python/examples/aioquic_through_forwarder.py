"""aioquic through a relay, as if both ends were on one machine: an echo over one stream.

    python aioquic_through_forwarder.py server --relay relay.example --session $SESSION \\
        --certificate cert.pem --key key.pem
    python aioquic_through_forwarder.py client --relay relay.example --session $SESSION

The forwarder runs in a process of its own; aioquic knows nothing of the relay.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

from quic_relay import ForwarderProcess

_PROTOCOL = ["echo"]


async def run_server(options: argparse.Namespace) -> None:
    """Serves one stream after the other on a port that only this machine reaches."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=_PROTOCOL)
    configuration.load_cert_chain(options.certificate, options.key)
    connections: asyncio.Queue[QuicConnectionProtocol] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    class Connection(QuicConnectionProtocol):
        """A connection that tells that it is there."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.put_nowait(self)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.write_eof()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(echo(reader, writer)))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = await serve(
        "127.0.0.1",
        port,
        configuration=configuration,
        create_protocol=Connection,
        stream_handler=start,
    )
    with ForwarderProcess(options.relay, options.session, forward_to=("127.0.0.1", port)):
        print("serving", flush=True)
        # The client closes when it has everything.
        await (await connections.get()).wait_closed()
    server.close()


async def run_client(options: argparse.Namespace) -> None:
    """Sends some bytes and expects them back."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=_PROTOCOL)
    # The example's certificate is its own; a real program checks it.
    configuration.verify_mode = ssl.CERT_NONE
    payload = bytes(range(256)) * (options.bytes // 256)
    with ForwarderProcess(options.relay, options.session, listen=("127.0.0.1", 0)) as door:
        async with connect(*door.address, configuration=configuration) as client:
            reader, writer = await client.create_stream()
            writer.write(payload)
            writer.write_eof()
            answer = await reader.read()
    if answer != payload:
        raise RuntimeError(f"{len(answer)} of {len(payload)} bytes came back as they were sent")
    print(f"{len(answer)} bytes came back")


def main() -> None:
    """Runs one side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--relay", required=True, metavar="HOST[:PORT]")
    parser.add_argument("--session", required=True, metavar="UUID")
    parser.add_argument("--certificate", metavar="FILE")
    parser.add_argument("--key", metavar="FILE")
    parser.add_argument("--bytes", type=int, default=1 << 20)
    options = parser.parse_args()
    asyncio.run(run_server(options) if options.role == "server" else run_client(options))


if __name__ == "__main__":
    main()

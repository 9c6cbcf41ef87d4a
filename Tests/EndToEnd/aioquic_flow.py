"""A steady flow one way over aioquic: the server sends a little every few milliseconds, the client
only receives, and prints every gap that is longer than the flow's own, with the time it began."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aioquic_peer import add_aioquic_arguments, converse
from conversation import LIVE
from programs import peer_parser

_CHUNK_BYTES = 1_000
_CHUNK_SECONDS = 0.005
# What a busy machine makes of 5 ms now and then is no gap.
_GAP_SECONDS = 0.03

# A wall only: the test ends it long before.
_LIFE_WALL_SECONDS = 900.0


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asking = asyncio.create_task(reader.read())
    while not asking.done():
        writer.write(bytes(_CHUNK_BYTES))
        await asyncio.sleep(_CHUNK_SECONDS)
    writer.write_eof()


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    # Something must be sent for the stream to exist at the other end.
    writer.write(b"go")
    ending = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    ending.add_done_callback(lambda _: writer.write_eof())
    count, last = 0, 0.0
    while chunk := await reader.read(1 << 16):
        now = time.monotonic()
        if count == 0:
            print(LIVE, flush=True)
        elif now - last > _GAP_SECONDS:
            print(json.dumps([last, now - last]), flush=True)
        count, last = count + len(chunk), now
    return count


def main() -> None:
    """Runs one side; the client until its input ends."""
    parser = peer_parser()
    add_aioquic_arguments(parser)
    options = parser.parse_args()

    async def flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        async with asyncio.timeout(_LIFE_WALL_SECONDS):
            if options.role == "client":
                return await _receive(reader, writer)
            await _send(reader, writer)
            return 0

    count = converse(options, flow)
    print(json.dumps({"received": count}), flush=True)


if __name__ == "__main__":
    main()

"""One side of a lively aioquic connection: numbered pings both ways until the client's input ends.

The stream is reliable, so every ping arrives in the end. What a disturbance does to it is the
longest time without a ping.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from aioquic_peer import add_aioquic_arguments, converse
from conversation import LIVE, Pings
from programs import peer_parser

_PING_SECONDS = 0.05
_PING_BYTES = 8

# A wall only: the test ends it long before.
_LIFE_WALL_SECONDS = 600.0


async def _send(writer: asyncio.StreamWriter, ended: asyncio.Event) -> int:
    count = 0
    while not ended.is_set():
        writer.write(count.to_bytes(_PING_BYTES, "big"))
        count += 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _PING_SECONDS)
    writer.write_eof()
    return count


async def _receive(reader: asyncio.StreamReader) -> tuple[int, float]:
    count, longest, last = 0, 0.0, 0.0
    while True:
        try:
            ping = await reader.readexactly(_PING_BYTES)
        except asyncio.IncompleteReadError as error:
            assert not error.partial, f"half a ping: {error.partial!r}"
            return count, longest
        assert int.from_bytes(ping, "big") == count, f"{ping!r} is not ping {count}"
        now = time.monotonic()
        if count == 0:
            print(LIVE, flush=True)
        else:
            longest = max(longest, now - last)
        count, last = count + 1, now


def main() -> None:
    """Runs one side."""
    parser = peer_parser()
    add_aioquic_arguments(parser)
    options = parser.parse_args()

    async def ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Pings:
        ended = asyncio.Event()
        async with asyncio.timeout(_LIFE_WALL_SECONDS):
            sending = asyncio.create_task(_send(writer, ended))
            receiving = asyncio.create_task(_receive(reader))
            if options.role == "client":
                await asyncio.to_thread(sys.stdin.buffer.read)
                ended.set()
            received, longest = await receiving
            ended.set()
            return Pings(await sending, received, longest)

    print(json.dumps(vars(converse(options, ping))), flush=True)


if __name__ == "__main__":
    main()

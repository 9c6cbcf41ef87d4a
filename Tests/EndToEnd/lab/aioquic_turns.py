"""One side of a transfer in turns with aioquic, on one bidirectional stream."""

from __future__ import annotations

import asyncio
import time

from aioquic_peer import add_aioquic_arguments, converse
from lab.turns import TURN_WALL_SECONDS, turns_parser
from programs import payload, print_received


def main() -> None:
    """Runs one side."""
    parser = turns_parser()
    add_aioquic_arguments(parser)
    options = parser.parse_args()
    outgoing = payload(options.seed, options.bytes)

    async def turns(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[bytes, float]:
        start = time.monotonic()
        async with asyncio.timeout(TURN_WALL_SECONDS):
            if options.role == "client":
                writer.write(outgoing)
                writer.write_eof()
                received = await reader.read()
            else:
                received = await reader.read()
                await asyncio.sleep(options.pause_seconds)
                writer.write(outgoing)
                writer.write_eof()
        return received, time.monotonic() - start

    print_received(*converse(options, turns))


if __name__ == "__main__":
    main()

"""`python -m quic_relay`: a forwarder as a process of its own.

Prints one line, `registered HOST:PORT`, once the relay has acknowledged, and ends when its
standard input does, or at a signal.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

from quic_relay.address import split
from quic_relay.forwarder import Forwarder

# sysexits(3)
_USAGE, _UNAVAILABLE = 64, 69


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, with the exit status for it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"quic_relay: {message}", file=sys.stderr)
        sys.exit(_USAGE)


def main() -> None:
    """Runs the program."""
    parser = _Parser(prog="python -m quic_relay", description=__doc__)
    parser.add_argument("--relay", required=True, metavar="HOST[:PORT]")
    parser.add_argument(
        "--session", default="-", metavar="UUID", help="- reads it from standard input"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", metavar="HOST:PORT", help="the QUIC client connects there")
    where.add_argument("--forward", metavar="HOST:PORT", help="the QUIC server listens there")
    parser.add_argument("--wait", type=float, default=10.0, metavar="SECONDS")
    options = parser.parse_args()
    try:
        session = sys.stdin.readline() if options.session == "-" else options.session
        forwarder = Forwarder(
            options.relay,
            session,
            listen=split(options.listen, None, lowest_port=0) if options.listen else None,
            forward_to=split(options.forward, None) if options.forward else None,
        )
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        print(f"quic_relay: {error}", file=sys.stderr)
        sys.exit(_UNAVAILABLE)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    threading.Thread(target=forwarder.run, name="quic-relay", daemon=True).start()
    if not forwarder.wait_acknowledged(options.wait):
        print(
            f"quic_relay: {forwarder.relay} did not acknowledge within {options.wait:g} s",
            file=sys.stderr,
        )
        sys.exit(_UNAVAILABLE)
    print(f"registered {forwarder.address}", flush=True)
    if options.session == "-":
        while sys.stdin.readline():
            pass
    else:
        threading.Event().wait()


if __name__ == "__main__":
    main()

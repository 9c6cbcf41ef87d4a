"""One side of a transfer with quic-portal, whose port the Python integration registers: no agent."""

from __future__ import annotations

import time

from quic_portal import Portal, QuicTransportOptions

from lab.turns import turns_parser
from programs import payload, print_received
from quic_portal_peer import await_close, receive
from quic_relay import register_port


def main() -> None:
    """Runs one side."""
    parser = turns_parser()
    parser.add_argument("--session", required=True)
    options = parser.parse_args()
    relay = (options.relay_host, options.relay_port)
    with register_port(relay, options.session, options.local_port):
        pass
    portal, outgoing = Portal(), payload(options.seed, options.bytes)
    start = time.monotonic()
    if options.role == "server":
        portal.listen(options.local_port, QuicTransportOptions())
        received = receive(portal)
        time.sleep(options.pause_seconds)
        portal.send(outgoing)
        await_close(portal, may_be_lost=False)
    else:
        portal.connect(*relay, options.local_port, QuicTransportOptions())
        portal.send(outgoing)
        received = receive(portal)
        portal.close()
    print_received(received, time.monotonic() - start)


if __name__ == "__main__":
    main()

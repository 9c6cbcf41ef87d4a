"""quic-portal, unpatched, through a relay: the server echoes, the client measures round trips.

    python quic_portal_through_relay.py server --relay relay.example --session $SESSION
    python quic_portal_through_relay.py client --relay relay.example --session $SESSION

Both may sit behind any NAT. Each registers from the port that QUIC is going to use, which is free
again before quic-portal binds it.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time

from quic_portal import Portal, QuicTransportOptions

from quic_relay import register_port, resolve

_WAIT_MILLISECONDS = 30_000


def serve(portal: Portal, local_port: int, messages: int) -> None:
    """Sends back what comes."""
    portal.listen(local_port, QuicTransportOptions())
    for _ in range(messages):
        message = portal.recv(_WAIT_MILLISECONDS)
        if message is None:
            raise TimeoutError("no message came")
        portal.send(bytes(message))
    # The client closes when it has what was sent last, and that ends this wait with an error.
    with contextlib.suppress(RuntimeError):
        portal.recv(_WAIT_MILLISECONDS)


def measure(portal: Portal, relay: tuple[str, int], local_port: int, messages: int) -> None:
    """Sends messages and waits for each to come back."""
    portal.connect(*relay, local_port, QuicTransportOptions())
    times = []
    for number in range(messages):
        message = number.to_bytes(4, "big") * 256
        start = time.perf_counter()
        portal.send(message)
        answer = portal.recv(_WAIT_MILLISECONDS)
        times.append(time.perf_counter() - start)
        if answer is None or bytes(answer) != message:
            raise RuntimeError(f"message {number} did not come back as it was sent")
    portal.close()
    print(f"{messages} messages came back, {1_000 * statistics.median(times):.2f} ms each")


def main() -> None:
    """Runs one side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--relay", required=True, metavar="HOST[:PORT]")
    parser.add_argument("--session", required=True, metavar="UUID")
    parser.add_argument("--local-port", type=int, default=0)
    parser.add_argument("--messages", type=int, default=100)
    options = parser.parse_args()
    relay = resolve(options.relay)
    with register_port(relay, options.session, options.local_port) as registered:
        print(f"registered port {registered.local_port} with {relay}", flush=True)
    portal = Portal()
    if options.role == "server":
        serve(portal, registered.local_port, options.messages)
    else:
        measure(portal, relay, registered.local_port, options.messages)


if __name__ == "__main__":
    main()

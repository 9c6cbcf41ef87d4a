"""A relay that does one thing wrong with every tenth datagram, for the load generator to find.

faulty_relay.py PORT FAULT: drop, corrupt, shorten, duplicate, reorder, misdeliver or none; double
duplicates not every tenth one but all."""

import socket
import sys

EVERY = 10


def main() -> None:
    port, fault = int(sys.argv[1]), sys.argv[2]
    partners: dict[tuple, tuple] = {}
    waiting: dict[bytes, tuple] = {}
    held: tuple | None = None
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        relay.bind(("127.0.0.1", port))
        while True:
            data, source = relay.recvfrom(65536)
            if data.startswith(b"REG:"):
                first = waiting.setdefault(data, source)
                if first != source:
                    partners[first], partners[source] = source, first
                relay.sendto(b"ACK\n", source)
                continue
            to = partners[source]
            # What opens a session is left alone, else there would be nothing to measure.
            number += len(data) > 32
            is_hit = len(data) > 32 and (number % EVERY == 0 or fault == "double")
            if held:
                relay.sendto(data, to)
                relay.sendto(*held)
                held = None
            elif not is_hit or fault == "none":
                relay.sendto(data, to)
            elif fault == "corrupt":
                relay.sendto(data[:-1] + bytes([data[-1] ^ 1]), to)
            elif fault == "shorten":
                relay.sendto(data[:-1], to)
            elif fault in ("duplicate", "double"):
                relay.sendto(data, to)
                relay.sendto(data, to)
            elif fault == "reorder":
                held = (data, to)
            elif fault == "misdeliver":
                relay.sendto(data, next(peer for peer in partners.values()
                                        if peer not in (to, source)))


if __name__ == "__main__":
    main()

"""A small internet in network namespaces: hosts, NATs, a relay, and QUIC programs that use it."""

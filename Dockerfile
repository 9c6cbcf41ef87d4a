# The relay alone: no shell, no package manager, not root. The test suite does not build this file;
# it builds and runs the same program by `make static`.
#
#   docker build -t quic-relay .
#   docker run -d --name relay -p 4433:4433/udp quic-relay
#   docker exec -it relay quic-relay attach
#
# Docker's own proxy for published ports hides the peers' addresses, and with them NAT rebinds: on a
# server use --network host instead of -p.
ARG SWIFT=6.3
FROM swift:${SWIFT}-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libncurses-dev make
WORKDIR /source
COPY . .
RUN make static

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/.build/static/release/quic-relay /usr/bin/quic-relay
# What terminals can do, for the dashboard.
COPY --from=build /lib/terminfo /lib/terminfo
ENV XDG_RUNTIME_DIR=/tmp
EXPOSE 4433/udp
ENTRYPOINT ["/usr/bin/quic-relay"]
CMD ["serve", "--no-tui"]

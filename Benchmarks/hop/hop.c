/* hop - what an agent does at the least, in plain C: what comes to one socket leaves by another.
 *
 * What the agent is compared with: it registers nowhere, and knows one client at a time.
 * hop ADDRESS PORT TO-ADDRESS TO-PORT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BUFFER_BYTES = 8 << 20, BATCH = 64 };

struct address { struct sockaddr_storage storage; socklen_t length; };

static struct address address(const char *host, const char *port) {
    struct address result = {0};
    struct sockaddr_in *v4 = (void *)&result.storage;
    struct sockaddr_in6 *v6 = (void *)&result.storage;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)atoi(port));
        result.length = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)atoi(port));
        result.length = sizeof *v6;
    } else {
        fprintf(stderr, "hop: %s is not an IP address\n", host);
        exit(64);
    }
    return result;
}

static int open_socket(struct address *at, int (*attach)(int, const struct sockaddr *, socklen_t)) {
    int bytes = BUFFER_BYTES, descriptor = socket(at->storage.ss_family, SOCK_DGRAM, 0);
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (attach(descriptor, (void *)&at->storage, at->length)) {
        perror("hop");
        exit(69);
    }
    return descriptor;
}

int main(int argc, char **argv) {
    static char buffer[65536];
    if (argc != 5) {
        fputs("usage: hop ADDRESS PORT TO-ADDRESS TO-PORT\n", stderr);
        return 64;
    }
    struct address here = address(argv[1], argv[2]), there = address(argv[3], argv[4]);
    struct address client = {.length = 0};
    int local = open_socket(&here, bind), upstream = open_socket(&there, connect);
    struct pollfd files[] = {{local, POLLIN, 0}, {upstream, POLLIN, 0}};
    for (;;) {
        poll(files, 2, -1);
        /* Some at a time, so that waiting costs little and neither side waits long. */
        for (int i = 0; i < BATCH && files[0].revents; i++) {
            client.length = sizeof client.storage;
            ssize_t count = recvfrom(local, buffer, sizeof buffer, MSG_DONTWAIT,
                                     (void *)&client.storage, &client.length);
            if (count < 0) break;
            send(upstream, buffer, (size_t)count, 0);
        }
        for (int i = 0; i < BATCH && files[1].revents; i++) {
            ssize_t count = recv(upstream, buffer, sizeof buffer, MSG_DONTWAIT);
            if (count < 0) break;
            if (client.length)
                sendto(local, buffer, (size_t)count, 0, (void *)&client.storage, client.length);
        }
    }
}

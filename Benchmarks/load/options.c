#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options options = {
    .sessions = 16, .threads = 1, .burst = 16, .train = 1, .size = 1200, .window = 1024,
    .seconds = 2, .warm_seconds = 0.3,
};

static const char usage[] =
    "usage: load --relay ADDRESS:PORT [options]\n"
    "  --sessions N        sessions, 1 to 100000 (16)\n"
    "  --size N|mixed      bytes of a datagram, 32 to 65507 (1200)\n"
    "  --burst N           datagrams that a session sends in its turn, 1 to 128 (16)\n"
    "  --train N           of these, so many to one system call as a GSO train (1: none)\n"
    "  --coalesce          receive with GRO\n"
    "  --duplex            B sends, too\n"
    "  --window N          closed loop with so many datagrams under way (1024)\n"
    "  --rate N            instead: N datagrams a second in all, on a schedule\n"
    "  --flood             instead: as many as can be sent\n"
    "  --beside            as much again directly from peer to peer, for comparison\n"
    "  --seconds N         measure for so long (2)    --warm-seconds N   before that (0.3)\n"
    "  --threads N         1 to 16 (1)                --cores 0,1,...    to pin them to\n"
    "  --spin              never sleep\n"
    "  --meter PGID        take the CPU time of this process group\n"
    "  --protocol NAME     register (default), sink or turn: how sessions are set up\n"
    "  --relay-b ADDRESS:PORT                         the relay as B reaches it\n"
    "  --a ADDRESS --b ADDRESS[:PORT]                 where the peers are bound\n"
    "  --namespace-a NAME --namespace-b NAME          network namespaces of the peers\n";

void give_up(int status, const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (status == 71) fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
    exit(status);
}

static double number(const char *option, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        give_up(64, "--%s %s: must be a number from %.10g to %.10g", option, text, least, most);
    return value;
}

static int integer(const char *option, const char *text, int least, int most) {
    double value = number(option, text, least, most);
    if (value != floor(value)) give_up(64, "--%s %s: must be a whole number", option, text);
    return (int)value;
}

/* 192.0.2.1, 192.0.2.1:53, 2001:db8::1 or [2001:db8::1]:53. */
static struct address address(const char *option, const char *text, bool needs_port) {
    struct address result = {0};
    char host[128];
    snprintf(host, sizeof host, "%s", text);
    char *colon = strrchr(host, ':'), *start = host;
    bool is_v6 = host[0] == '[' || (colon && strchr(host, ':') != colon);
    if (is_v6 && host[0] == '[') {
        char *bracket = strchr(host, ']');
        if (!bracket) give_up(64, "--%s %s: ] is missing", option, text);
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
        *bracket = 0;
        start = host + 1;
    } else if (is_v6) {
        colon = NULL;
    }
    int port = 0;
    if (colon) {
        *colon = 0;
        port = integer(option, colon + 1, 0, 65535);
    }
    if (needs_port && port == 0) give_up(64, "--%s %s: needs a port", option, text);
    int parsed;
    if (is_v6) {
        struct sockaddr_in6 *v6 = (void *)&result.storage;
        *v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        parsed = inet_pton(AF_INET6, start, &v6->sin6_addr);
        result.length = sizeof *v6;
    } else {
        struct sockaddr_in *v4 = (void *)&result.storage;
        *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        parsed = inet_pton(AF_INET, start, &v4->sin_addr);
        result.length = sizeof *v4;
    }
    if (parsed != 1) give_up(64, "--%s %s: must be an IP address", option, text);
    return result;
}

static void read_cores(const char *text) {
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *part; (part = strsep(&rest, ","));) {
        if (options.core_count == CORE_LIMIT) give_up(64, "--cores: at most %d", CORE_LIMIT);
        options.cores[options.core_count++] = integer("cores", part, 0, 1023);
    }
}

static enum protocol protocol(const char *text) {
    static const char *const names[] = {"register", "sink", "turn"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i])) return (enum protocol)i;
    give_up(64, "--protocol %s: must be register, sink or turn", text);
}

static void check(void) {
    struct options *o = &options;
    if (!o->relay.length) give_up(64, "--relay is missing; --help shows all options");
    if (!o->relay_b.length) o->relay_b = o->relay;
    sa_family_t family = o->relay.storage.ss_family;
    if (o->a.length && o->a.storage.ss_family != family)
        give_up(64, "--a and --relay must be of one family");
    if (o->b.length && o->b.storage.ss_family != o->relay_b.storage.ss_family)
        give_up(64, "--b and --relay-b must be of one family");
    if (o->burst < o->train) o->burst = o->train;
    if (o->burst % o->train) give_up(64, "--burst must be a multiple of --train");
    if (o->train > 1 && !o->size) give_up(64, "a --train needs a fixed --size");
    if (o->train * (o->size + CHANNEL_BYTES) > TRAIN_BYTES)
        give_up(64, "--train times --size must be at most %d bytes", TRAIN_BYTES);
    if (o->pace == PACE_CLOSED && o->window < o->burst)
        give_up(64, "--window must be at least --burst");
    if (o->protocol != PROTOCOL_REGISTER && o->duplex)
        give_up(64, "--duplex needs --protocol register");
    if (o->protocol != PROTOCOL_REGISTER && !o->b.length)
        give_up(64, "--protocol sink and turn need --b ADDRESS:PORT");
    if (o->protocol != PROTOCOL_REGISTER && o->threads > 1)
        give_up(64, "--threads needs --protocol register: one socket receives everything");
    if (o->threads > o->sessions) o->threads = o->sessions;
}

void read_options(int argc, char **argv) {
    enum { RELAY = 1, RELAY_B, A, B, NAMESPACE_A, NAMESPACE_B, SESSIONS, SIZE, BURST, TRAIN,
           COALESCE, DUPLEX, WINDOW, RATE, FLOOD, BESIDE, SECONDS, WARM, THREADS, CORES, SPIN,
           METER, PROTOCOL, HELP };
    static const struct option names[] = {
        {"relay", 1, 0, RELAY}, {"relay-b", 1, 0, RELAY_B}, {"a", 1, 0, A}, {"b", 1, 0, B},
        {"namespace-a", 1, 0, NAMESPACE_A}, {"namespace-b", 1, 0, NAMESPACE_B},
        {"sessions", 1, 0, SESSIONS}, {"size", 1, 0, SIZE}, {"burst", 1, 0, BURST},
        {"train", 1, 0, TRAIN}, {"coalesce", 0, 0, COALESCE}, {"duplex", 0, 0, DUPLEX},
        {"window", 1, 0, WINDOW}, {"rate", 1, 0, RATE}, {"flood", 0, 0, FLOOD},
        {"beside", 0, 0, BESIDE}, {"seconds", 1, 0, SECONDS}, {"warm-seconds", 1, 0, WARM},
        {"threads", 1, 0, THREADS}, {"cores", 1, 0, CORES}, {"spin", 0, 0, SPIN},
        {"meter", 1, 0, METER}, {"protocol", 1, 0, PROTOCOL}, {"help", 0, 0, HELP}, {0, 0, 0, 0}};
    struct options *o = &options;
    for (int code; (code = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (code) {
        case RELAY: o->relay = address("relay", optarg, true); break;
        case RELAY_B: o->relay_b = address("relay-b", optarg, true); break;
        case A: o->a = address("a", optarg, false); break;
        case B: o->b = address("b", optarg, false); break;
        case NAMESPACE_A: o->namespace_a = optarg; break;
        case NAMESPACE_B: o->namespace_b = optarg; break;
        case SESSIONS: o->sessions = integer("sessions", optarg, 1, SESSION_LIMIT); break;
        case SIZE:
            o->size = !strcmp(optarg, "mixed")
                ? 0 : integer("size", optarg, STAMP_BYTES, SIZE_LIMIT - CHANNEL_BYTES);
            break;
        case BURST: o->burst = integer("burst", optarg, 1, BURST_LIMIT); break;
        case TRAIN: o->train = integer("train", optarg, 1, 64); break;
        case COALESCE: o->coalesce = true; break;
        case DUPLEX: o->duplex = true; break;
        case WINDOW: o->window = integer("window", optarg, 1, 1000000); break;
        case RATE:
            o->pace = PACE_RATE;
            o->rate = number("rate", optarg, 1, 1e8);
            break;
        case FLOOD: o->pace = PACE_FLOOD; break;
        case BESIDE: o->beside = true; break;
        case SECONDS: o->seconds = number("seconds", optarg, 0.01, 3600); break;
        case WARM: o->warm_seconds = number("warm-seconds", optarg, 0, 60); break;
        case THREADS: o->threads = integer("threads", optarg, 1, THREAD_LIMIT); break;
        case CORES: read_cores(optarg); break;
        case SPIN: o->spin = true; break;
        case METER: o->meter_group = integer("meter", optarg, 1, 1 << 30); break;
        case PROTOCOL: o->protocol = protocol(optarg); break;
        case HELP: fputs(usage, stdout); exit(0);
        default: exit(64);
        }
    if (optind < argc) give_up(64, "unexpected argument %s; --help shows all options", argv[optind]);
    check();
}

/*
 * honest_test CONVOYD [WORD]...: guests that keep to the rules get every frame, once, in order and
 * unchanged, whatever they have agreed to, however they cut their buffers, and whatever mode their
 * ports are in.
 *
 * Method: a daemon with ports of each kind; for each case of a table a pair of test guests
 * exchanges verified traffic; lost, doubled, reordered and altered frames and missed calls must be
 * none, and where loss is expected, exactly as many drops must have been counted. The table runs
 * with one worker and with two. WORD chooses cases by a part of the name; HONEST_FRAMES is the
 * number of frames of the long case (default 1000000).
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "guest/vhost_user.h"
#include "lib/daemon.h"
#include "lib/disturb.h"
#include "lib/exchange.h"

enum { CASE_SECONDS_MAX = 60 };

static const char ports[] = "  - {name: a}\n"
                            "  - {name: b}\n"
                            "  - {name: off-a, hold: \"off\"}\n"
                            "  - {name: off-b, hold: \"off\"}\n"
                            "  - {name: fixed-a, hold: \"fixed:32,50us\"}\n"
                            "  - {name: fixed-b, hold: \"fixed:32,50us\"}\n"
                            "  - {name: many-a, queues: 4}\n"
                            "  - {name: many-b, queues: 4}\n"
                            "  - {name: push-a, when-full: push-back}\n"
                            "  - {name: push-b, when-full: push-back}\n"
                            "  - {name: client-a, mode: client}\n"
                            "  - {name: client-b, mode: client}\n"
                            "  - {name: bare-a, offloads: \"off\", mergeable: \"off\"}\n"
                            "  - {name: bare-b, offloads: \"off\", mergeable: \"off\"}\n";

#define LINUX_WITHOUT(bit)                                                                         \
    (UINT64_MAX & ~VIRTIO_FEATURE(bit)) /* taken from front_features_linux                         \
                                         */

struct honest_case {
    const char *name;
    const char *port;          /* NAME-a and NAME-b; NULL: a and b */
    uint64_t features_mask;    /* of front_features_linux, for both; 0: all of them */
    uint64_t features_more;    /* besides */
    bool second_is_plain;      /* the second guest agrees to nothing but VERSION_1 */
    unsigned loss_percent_max; /* a reader that gets no processor time looks like one that stalls */
    bool loss_is_counted;      /* loss is right, when the daemon counts each */
    bool listens;              /* the guests listen, the daemon connects */
    bool no_protocol_features;
    struct front_end_options front; /* pairs, size, regions, buffers */
    struct front_cut cut;
    struct exchange_options exchange;
    struct disturb_options disturb; /* flows 0: the exchange's own traffic */
};

#define NUMBERED(traffic_kind, bytes_min, bytes_max, count)                                        \
    .kind = traffic_kind, .verify = true, .len_min = bytes_min, .len_max = bytes_max,              \
    .frames = count, .window = 128
#define STREAM(traffic_kind)                                                                       \
    .kind = traffic_kind, .verify = true, .stream = true, .len_min = 1, .len_max = 62000,          \
    .frames = 4000, .window = 128

#define DISTURBED(traffic_kind)                                                                    \
    .exchange = {.kind = traffic_kind,                                                             \
                 .verify = true,                                                                   \
                 .len_min = 60,                                                                    \
                 .len_max = 60,                                                                    \
                 .frames = 50000,                                                                  \
                 .window = 128},                                                                   \
    .disturb = {                                                                                   \
        .kind = traffic_kind, .flows = 14, .loss = 0.01, .reorder = 0.01, .duplicate = 0.01}

static const struct honest_case cases[] = {
    {"60 bytes, many frames", .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 60, 0)}},
    {"60 to 1514 bytes", .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 100000)}},
    {"plain Ethernet", .exchange = {NUMBERED(TRAFFIC_ETHER, 60, 1514, 50000)}},
    {"checksums left to the switch, UDP over IPv4", .second_is_plain = true,
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000), .offload_csum = true}},
    {"checksums left to the switch, UDP over IPv6", .second_is_plain = true,
     .exchange = {NUMBERED(TRAFFIC_UDP6, 80, 1514, 50000), .offload_csum = true}},
    {"checksums left to the switch, TCP over IPv4", .second_is_plain = true,
     .exchange = {NUMBERED(TRAFFIC_TCP4, 72, 1514, 50000), .offload_csum = true}},
    {"checksums left to the switch, TCP over IPv6", .second_is_plain = true,
     .exchange = {NUMBERED(TRAFFIC_TCP6, 92, 1514, 50000), .offload_csum = true}},
    {"super-packets, TCP over IPv4", .exchange = {STREAM(TRAFFIC_TCP4)}},
    {"super-packets, TCP over IPv6", .exchange = {STREAM(TRAFFIC_TCP6)}},
    {"super-packets, UDP over IPv4", .exchange = {STREAM(TRAFFIC_UDP4)}},
    {"super-packets, UDP over IPv6", .exchange = {STREAM(TRAFFIC_UDP6)}},
    {"super-packets to a plain guest, TCP over IPv4", .second_is_plain = true,
     .exchange = {STREAM(TRAFFIC_TCP4)}},
    {"super-packets to a plain guest, TCP over IPv6", .second_is_plain = true,
     .exchange = {STREAM(TRAFFIC_TCP6)}},
    {"super-packets to a plain guest, UDP over IPv4", .second_is_plain = true,
     .exchange = {STREAM(TRAFFIC_UDP4)}},
    {"super-packets to a plain guest, UDP over IPv6", .second_is_plain = true,
     .exchange = {STREAM(TRAFFIC_UDP6)}},
    {"super-packets in large buffers, not merged",
     .features_mask = LINUX_WITHOUT(VIRTIO_NET_F_MRG_RXBUF), .exchange = {STREAM(TRAFFIC_TCP4)}},
    {"super-packets of small segments", .second_is_plain = true,
     .front = {.size = 1024}, /* as many as one super-packet has */
     .exchange = {STREAM(TRAFFIC_TCP4), .mss = 100}},
    {"frames in pieces", .cut = {.piece_count = 3, .piece_bytes = {5, 9, 14}, .each_bytes = 200},
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"frames in pieces, indirect",
     .cut = {.piece_count = 2, .piece_bytes = {12, 14}, .each_bytes = 50, .indirect = true},
     .exchange = {NUMBERED(TRAFFIC_UDP6, 80, 1514, 50000), .offload_csum = true}},
    {"super-packets in pieces, indirect", .second_is_plain = true,
     .cut = {.piece_count = 2, .piece_bytes = {12, 66}, .each_bytes = 1000, .indirect = true},
     .exchange = {STREAM(TRAFFIC_TCP4)}},
    {"receive buffers of 100 bytes", .front = {.receive_bytes = 100},
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"receive buffers of 64 KiB", .front = {.receive_bytes = 65562},
     .exchange = {STREAM(TRAFFIC_TCP6)}},
    {"without EVENT_IDX", .features_mask = LINUX_WITHOUT(VIRTIO_RING_F_EVENT_IDX),
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"IN_ORDER", .features_more = VIRTIO_FEATURE(VIRTIO_F_IN_ORDER),
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"legacy: no VERSION_1, header of 10 bytes",
     .features_mask = LINUX_WITHOUT(VIRTIO_F_VERSION_1) & LINUX_WITHOUT(VIRTIO_NET_F_MRG_RXBUF),
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000), .offload_csum = true}},
    {"no protocol features", .no_protocol_features = true,
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"rings of 16", .front = {.size = 16}, .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"rings of 2", .front = {.size = 2},
     .features_mask =
         LINUX_WITHOUT(VIRTIO_NET_F_MRG_RXBUF) & LINUX_WITHOUT(VIRTIO_NET_F_GUEST_TSO4) &
         LINUX_WITHOUT(VIRTIO_NET_F_GUEST_TSO6) & LINUX_WITHOUT(VIRTIO_NET_F_GUEST_USO4) &
         LINUX_WITHOUT(VIRTIO_NET_F_GUEST_USO6),
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 5000)}},
    {"rings of 4096", .front = {.size = 4096},
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"three regions, one off the start of its file",
     .front = {.region_count = 3,
               .regions = {{UINT64_C(0), 4 << 20, 0},
                           {UINT64_C(0x100000000), 4 << 20, 1 << 20},
                           {UINT64_C(0x100400000), 4 << 20, 0}}},
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"lossy, reordered and doubled, TCP over IPv4", DISTURBED(TRAFFIC_TCP4)},
    {"lossy, reordered and doubled, TCP over IPv6", DISTURBED(TRAFFIC_TCP6)},
    {"lossy, reordered and doubled, UDP over IPv4", DISTURBED(TRAFFIC_UDP4)},
    {"lossy, reordered and doubled, UDP over IPv6", DISTURBED(TRAFFIC_UDP6)},
    {"the same, held for 32 or 50 us", "fixed", DISTURBED(TRAFFIC_TCP4)},
    {"the same, in receive buffers of 300 bytes", .front = {.receive_bytes = 300},
     DISTURBED(TRAFFIC_TCP4)},
    {"the same, in pieces",
     .cut = {.piece_count = 3, .piece_bytes = {12, 14, 30}, .each_bytes = 700},
     DISTURBED(TRAFFIC_UDP6)},
    {"the same, to a guest that takes no super-packets", .second_is_plain = true,
     DISTURBED(TRAFFIC_TCP6)},
    {"four queue pairs", "many", .front = {.pairs = 4},
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 100000)}},
    {"one queue pair of four", "many", .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"hold off", "off", .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"hold fixed", "fixed", .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"hold fixed, frame by frame", "fixed",
     .exchange = {.kind = TRAFFIC_UDP4,
                  .verify = true,
                  .len_min = 60,
                  .len_max = 60,
                  .frames = 3000,
                  .window = 1}},
    {"ports without offloads", "bare", .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"the guests listen", "client", .listens = true,
     .exchange = {NUMBERED(TRAFFIC_UDP4, 60, 1514, 50000)}},
    {"a slow reader: every loss is counted", .loss_is_counted = true,
     .front = {.size = 1024}, /* more than may wait for one port */
     .exchange = {.kind = TRAFFIC_UDP4,
                  .verify = true,
                  .len_min = 60,
                  .len_max = 1514,
                  .frames = 100000,
                  .one_way = true,
                  .read_rate = 100000}},
    {"a reader that stops: every loss is counted", .loss_is_counted = true,
     .exchange = {.kind = TRAFFIC_UDP4,
                  .verify = true,
                  .len_min = 60,
                  .len_max = 1514,
                  .frames = 20000,
                  .one_way = true,
                  .read_max = 1000}},
    {"a slow reader that pushes back loses nothing", "push", .loss_percent_max = 10,
     .exchange = {.kind = TRAFFIC_UDP4,
                  .verify = true,
                  .len_min = 60,
                  .len_max = 1514,
                  .frames = 50000,
                  .one_way = true,
                  .read_rate = 100000}},
};

static const char *port_name(const struct honest_case *c, bool second, char *name, size_t bytes)
{
    snprintf(name, bytes, "%s%s%s", c->port ? c->port : "", c->port ? "-" : "", second ? "b" : "a");
    return name;
}

static struct front_end_options front_of(const struct honest_case *c)
{
    struct front_end_options front = c->front;

    front.features = front_features_linux & (c->features_mask ? c->features_mask : UINT64_MAX);
    front.features |= c->features_more;
    front.protocol_features = front_protocol_features;
    front.listen = c->listens;
    if (c->no_protocol_features)
        front.features &= ~VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    return front;
}

/* Frames dropped at both ports of a case. */
static uint64_t drops_of(struct daemon *daemon, const struct honest_case *c)
{
    char first[32], second[32];

    return daemon_counter(daemon, port_name(c, false, first, sizeof(first)), "dropped") +
           daemon_counter(daemon, port_name(c, true, second, sizeof(second)), "dropped");
}

/* Frames that lie in receive buffers of a reader that has stopped. */
static uint64_t unread_of(const struct exchange *x)
{
    uint64_t unread = 0;

    for (unsigned i = 0; i < x->end_count; i++) {
        for (unsigned r = 0; r < x->ends[i].fe.ring_count; r += 2)
            unread += front_ring_used(&x->ends[i].fe.rings[r]);
    }
    return unread;
}

/* Empty when all is as it must be; otherwise what is not, in the caller's buffer. */
static const char *judge(const struct honest_case *c, const struct exchange *x, bool finished,
                         uint64_t drops, char *text, size_t bytes)
{
    struct exchange_result r;

    exchange_get_result(x, &r);
    r.lost -= CV_MIN(r.lost, unread_of(x)); /* delivered, though nobody looked */
    text[0] = '\0';
    if (!finished)
        snprintf(text, bytes, "not done after %d s: %llu sent, %llu received", CASE_SECONDS_MAX,
                 (unsigned long long)r.sent, (unsigned long long)r.received);
    else if (!exchange_result_is_good(&r, c->loss_is_counted || c->loss_percent_max))
        snprintf(text, bytes,
                 "%llu lost, %llu doubled, %llu reordered, %llu altered, %llu faults; %s",
                 (unsigned long long)r.lost, (unsigned long long)r.doubled,
                 (unsigned long long)r.reordered, (unsigned long long)r.altered,
                 (unsigned long long)r.faults, r.first_wrong);
    else if (x->missed_calls > 0)
        snprintf(text, bytes, "%llu calls were missed", (unsigned long long)x->missed_calls);
    else if ((c->loss_is_counted && r.lost == 0) ||
             r.lost * 100 > r.sent * (c->loss_is_counted ? 100 : c->loss_percent_max) ||
             ((c->loss_is_counted || c->loss_percent_max) && r.lost != drops))
        snprintf(text, bytes, "%llu frames lost, %llu drops counted", (unsigned long long)r.lost,
                 (unsigned long long)drops);
    return text;
}

/* Disturbed streams have a judge of their own. */
static void run_disturbed(const struct honest_case *c, struct exchange *x, uint64_t deadline_ns,
                          char *wrong, size_t bytes)
{
    static struct disturb_result r;
    bool finished = disturb_run(x, &c->disturb, c->exchange.frames, deadline_ns, &r);
    const struct ledger_counts *counts = &r.counts;

    if (!finished)
        snprintf(wrong, bytes, "not done after %d s", CASE_SECONDS_MAX);
    else if (counts->lost + counts->reordered + counts->doubled + counts->altered > 0)
        snprintf(wrong, bytes, "%llu lost, %llu doubled, %llu reordered, %llu altered; %s",
                 (unsigned long long)counts->lost, (unsigned long long)counts->doubled,
                 (unsigned long long)counts->reordered, (unsigned long long)counts->altered,
                 r.first_wrong);
    else if (!c->second_is_plain && r.merged < counts->arrived / 10)
        snprintf(wrong, bytes, "only %llu of %llu packets came in super-packets",
                 (unsigned long long)r.merged, (unsigned long long)counts->arrived);
}

static void run_exchange(struct daemon *daemon, const struct honest_case *c, struct exchange *x,
                         uint64_t deadline_ns, uint64_t drops, char *wrong, size_t bytes)
{
    for (unsigned i = 0; i < x->ends[0].fe.ring_count; i++)
        front_end_transmitq(&x->ends[i % 2].fe, i / 2)->cut = c->cut;
    wrong[0] = '\0';
    if (c->disturb.flows > 0) {
        run_disturbed(c, x, deadline_ns, wrong, bytes);
    } else {
        bool finished = exchange_run(x, deadline_ns);

        judge(c, x, finished, drops_of(daemon, c) - drops, wrong, bytes);
    }
}

static bool run_case(struct daemon *daemon, const struct honest_case *c, unsigned workers)
{
    struct exchange_options options = c->exchange;
    struct front_end_options front = front_of(c);
    const char *long_frames = getenv("HONEST_FRAMES");
    uint64_t start_ns = clock_now_ns(), drops = drops_of(daemon, c);
    char a[32], b[32], wrong[1000];
    const char *sockets[2] = {daemon_socket(daemon, port_name(c, false, a, sizeof(a))),
                              daemon_socket(daemon, port_name(c, true, b, sizeof(b)))};
    struct exchange x;
    struct error error;

    if (options.frames == 0)
        options.frames = long_frames ? strtoull(long_frames, NULL, 0) : 1000000;
    if (c->second_is_plain)
        options.second_features = front_features_plain;
    if (exchange_open(&x, sockets, 2, &front, &options, &error) < 0) {
        snprintf(wrong, sizeof(wrong), "cannot start: %s", error.text);
    } else {
        run_exchange(daemon, c, &x, start_ns + CASE_SECONDS_MAX * UINT64_C(1000000000), drops,
                     wrong, sizeof(wrong));
        exchange_close(&x);
    }
    printf("%s %u worker%s %-48s %5llu ms%s%s\n", wrong[0] ? "FAILED" : "passed", workers,
           workers > 1 ? "s" : " ", c->name,
           (unsigned long long)((clock_now_ns() - start_ns) / 1000000), wrong[0] ? ": " : "",
           wrong);
    fflush(stdout);
    return !wrong[0];
}

static bool is_chosen(const struct honest_case *c, int word_count, char **words)
{
    for (int i = 0; i < word_count; i++) {
        if (strstr(c->name, words[i]))
            return true;
    }
    return word_count == 0;
}

/* The whole table on a daemon with so many workers. */
static void run_table(const char *convoyd, unsigned workers, int word_count, char **words,
                      unsigned *passed, unsigned *failed)
{
    struct daemon daemon;
    struct error error;
    char yaml[2048];

    snprintf(yaml, sizeof(yaml), "%sworkers: %u", ports, workers);
    if (daemon_start(&daemon, convoyd, yaml, &error) < 0) {
        printf("FAILED %s\n", error.text);
        (*failed)++;
        return;
    }
    for (unsigned i = 0; i < CV_COUNT_OF(cases); i++) {
        if (!is_chosen(&cases[i], word_count, words))
            continue;
        if (run_case(&daemon, &cases[i], workers))
            (*passed)++;
        else
            (*failed)++;
    }
    if (daemon_stop(&daemon) != 0) {
        printf("FAILED convoyd with %u workers did not end well\n", workers);
        (*failed)++;
    }
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: honest_test CONVOYD [WORD]...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (unsigned workers = 1; workers <= 2; workers++)
        run_table(argv[1], workers, argc - 2, argv + 2, &passed, &failed);
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

/*
 * The guest's packets are merged, held and told of later than they came: it rewrites them under
 * way, lies in them, leaves in between, takes none, or lies about what it has seen. "taker" is an
 * honest guest's port that takes super-packets; each attack runs with the calls and data held as
 * the model says, and with holding for very long.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/vhost_user.h"
#include "hostile.h"
#include "wire/bytes.h"
#include "wire/checksum.h"

enum {
    FLOW = 95, /* of the streams that are merged */
    SEGMENT_BYTES = 1000,
    SHARE_MIN = 20,            /* honest guests keep at least 1/20 of their rate, as in C17 */
    TIME_NS_MAX = 110000,      /* T at the budget of 50 us: twice that, and the margin */
    WAIT_US_MAX = 2000,        /* measured mean wait, on shared processors */
    WAITING_MAX = 1024,        /* packets that wait for one port, as in C18 */
    ATTACK_MS = 400,           /* of each variant */
    LONG_MS = 1000,            /* the longest T that can be stated */
    TOLD_MS = LONG_MS / 2,     /* well before that */
    PLACE_SEGMENTS_MAX = 8000, /* until what a guest gets decides where it waits */
};

static const char adaptive[] = "adaptive", held_long[] = "fixed:256,1s";
static const char *const holds[] = {adaptive, held_long};

static const uint8_t taker_mac[6] = {0x52, 0x54, 0x00, 0x7e, 0x57, 0xf2};

/* --- the stage: a sender, a receiver, and a stream between them --- */

struct stage {
    struct hostile *h;
    char taker_socket[108];
    struct front_end taker, attacker; /* attacker: the attack's own port */
    bool attacker_sends;
    struct traffic_source source;
    struct traffic_checker checker;
    uint64_t rows;     /* super-packets that arrived */
    uint64_t bad_rows; /* of them: headers that are not true */
};

static bool set_key(struct hostile *h, const char *port, const char *key, const char *value)
{
    json_t *reply =
        daemon_call(&h->daemon, "port.set", json_pack("{s:s, s:s}", "name", port, key, value));
    bool done = reply != NULL;

    json_decref(reply);
    return hostile_expect(h, done, "%s: %s cannot be %s", port, key, value);
}

static bool set_hold(struct hostile *h, const char *port, const char *hold)
{
    return set_key(h, port, "hold", hold);
}

/* What the daemon says of the way to a port's first queue, by a path of members; 0: nothing. */
static double tuning_of(struct hostile *h, const char *port, const char *group, const char *member)
{
    json_t *reply = daemon_call(&h->daemon, "port.show", json_pack("{s:s}", "name", port));
    json_t *queues = json_object_get(json_object_get(reply, "tuning"), "queues");
    json_t *to = json_object_get(json_array_get(queues, 0), "to");
    double value = json_number_value(json_object_get(json_object_get(to, group), member));

    hostile_expect(h, to != NULL, "port.show %s says nothing", port);
    json_decref(reply);
    return value;
}

static bool is_held_as(struct hostile *h, const char *port, const char *place)
{
    json_t *reply = daemon_call(&h->daemon, "port.show", json_pack("{s:s}", "name", port));
    json_t *queues = json_object_get(json_object_get(reply, "tuning"), "queues");
    json_t *rule = json_object_get(json_object_get(json_array_get(queues, 0), "to"), "rule");
    const char *word = json_string_value(json_object_get(rule, "place"));
    bool is_it = word && strcmp(word, place) == 0;

    json_decref(reply);
    return is_it;
}

/* The switch learns where an address is. */
static void be_heard(struct hostile *h, struct front_end *fe, const uint8_t mac[6])
{
    uint8_t frame[60] = {0};

    memcpy(frame, hostile_probe_mac, 6);
    memcpy(frame + 6, mac, 6);
    frame[12] = 0x88;
    frame[13] = 0xb7;
    hostile_expect(h, front_end_send(fe, 0, NULL, frame, sizeof(frame)) == 0, "cannot send");
    hostile_expect(h, front_end_flush(fe, 0) == 0, "the first frame is not given back");
}

static struct front_end *sender_of(struct stage *s)
{
    return s->attacker_sends ? &s->attacker : &s->taker;
}

static struct front_end *receiver_of(struct stage *s)
{
    return s->attacker_sends ? &s->taker : &s->attacker;
}

static const char *receiving_port(const struct stage *s)
{
    return s->attacker_sends ? "taker" : "attacker";
}

static void start_stream(struct stage *s, enum traffic_kind kind)
{
    traffic_source_init(&s->source, kind, FLOW,
                        s->attacker_sends ? taker_mac : hostile_attacker_mac,
                        s->attacker_sends ? hostile_attacker_mac : taker_mac);
}

static bool open_taker(struct stage *s)
{
    struct front_end_options options = s->h->attacker;

    snprintf(s->taker_socket, sizeof(s->taker_socket), "%s", daemon_socket(&s->h->daemon, "taker"));
    options.socket = s->taker_socket;
    options.transmit_bytes = 9000;
    if (!hostile_open(s->h, &s->taker, &options))
        return false;
    be_heard(s->h, &s->taker, taker_mac);
    return true;
}

static bool open_attacker(struct stage *s, const struct front_end_options *options)
{
    if (!hostile_open(s->h, &s->attacker, options))
        return false;
    be_heard(s->h, &s->attacker, hostile_attacker_mac);
    return true;
}

static bool stage_open(struct hostile *h, struct stage *s, bool attacker_sends, const char *hold)
{
    *s = (struct stage){.h = h, .attacker_sends = attacker_sends};
    if (traffic_checker_init(&s->checker, FLOW, 1, ~0u) < 0)
        return hostile_expect(h, false, "no memory");
    if (!open_taker(s)) {
        traffic_checker_uninit(&s->checker);
        return false;
    }
    if (!open_attacker(s, &h->attacker) || !set_hold(h, receiving_port(s), hold)) {
        hostile_close(&s->taker);
        traffic_checker_uninit(&s->checker);
        return false;
    }
    start_stream(s, TRAFFIC_TCP4);
    hostile_probe_broadcast(h, 60); /* what goes to an address unknown would be held by all */
    return true;
}

static void stage_close(struct stage *s)
{
    hostile_close(&s->attacker);
    hostile_close(&s->taker);
    traffic_checker_uninit(&s->checker);
    (void)set_hold(s->h, receiving_port(s), adaptive);
}

/* --- what arrives --- */

static bool lengths_are_true(const uint8_t *frame, size_t len, size_t l4, bool is_ipv4)
{
    size_t stated = is_ipv4 ? bytes_load_be16(frame + 16) + 14u : bytes_load_be16(frame + 18) + 54u;
    bool is_udp = frame[is_ipv4 ? 23 : 20] == 17;

    return stated == len && (!is_udp || bytes_load_be16(frame + l4 + 4) + l4 == len);
}

/* The headers of a row agree with each other and with the row, whatever became of its payload. */
static bool row_is_true(const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
    bool is_ipv4 = frame[12] == 0x08, is_tcp = frame[is_ipv4 ? 23 : 20] == 6;
    size_t l4 = is_ipv4 ? 34 : 54, headers = l4 + (is_tcp ? (size_t)(frame[l4 + 12] >> 4) * 4 : 8);
    struct checksum sum = {0};

    if (is_ipv4)
        checksum_add(&sum, frame + 14, 20);
    return (is_ipv4 ? frame[14] == 0x45 && checksum_finish(&sum) == 0 : frame[14] >> 4 == 6) &&
           lengths_are_true(frame, len, l4, is_ipv4) && hdr->flags == VNET_HDR_F_NEEDS_CSUM &&
           hdr->csum_start == l4 && hdr->csum_offset == (is_tcp ? 16 : 6) && hdr->gso_size > 0 &&
           hdr->hdr_len == headers && len > headers + hdr->gso_size &&
           len <= headers + 64 * (size_t)hdr->gso_size;
}

static void see_rows(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                     size_t len)
{
    struct stage *s = context;

    if (hdr->gso_type == VNET_HDR_GSO_NONE)
        return;
    s->rows++;
    /* Room for the headers that are looked at. */
    s->bad_rows += len < (frame[12] == 0x08 ? 54u : 74u) || !row_is_true(hdr, frame, len);
}

/* The same, and every byte at its place. */
static void see_stream(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                       size_t len)
{
    struct stage *s = context;
    const uint8_t *source = s->attacker_sends ? hostile_attacker_mac : taker_mac;

    if (len < 14 || memcmp(frame + 6, source, 6) != 0)
        return;
    see_rows(context, hdr, frame, len);
    if (frame[12] != 0x88) /* be_heard */
        traffic_check(&s->checker, hdr, frame, len);
}

static void read_stream(struct stage *s)
{
    front_ring_receive(front_end_receiveq(receiver_of(s), 0), UINT32_MAX, see_stream, s);
}

static void expect_true_rows(struct stage *s, const char *what)
{
    hostile_expect(s->h, s->bad_rows == 0, "%s: %llu of %llu rows have headers that are not true",
                   what, (unsigned long long)s->bad_rows, (unsigned long long)s->rows);
}

static void expect_unaltered(struct stage *s, const char *what)
{
    expect_true_rows(s, what);
    hostile_expect(s->h, s->checker.counts.altered == 0, "%s: %llu packets altered: %s", what,
                   (unsigned long long)s->checker.counts.altered, s->checker.first_wrong);
}

/* --- what is sent --- */

/* Up to `count` segments of the stream in one burst; returns how many there was room for. */
static unsigned send_burst(struct stage *s, unsigned count, size_t payload)
{
    struct front_ring *ring = front_end_transmitq(sender_of(s), 0);
    unsigned sent = 0;
    uint8_t *room;

    front_ring_reclaim(ring);
    while (sent < count && (room = front_ring_reserve(ring))) {
        struct virtio_net_hdr hdr;
        size_t len = traffic_stream_build(&s->source, room, payload, payload, &hdr);

        if (!front_ring_commit(ring, &hdr, len))
            break;
        sent++;
    }
    front_ring_publish(ring);
    return sent;
}

/* Sends to a reading receiver until packets for it wait as `place`: merging decides that. */
static void send_until_held_as(struct stage *s, const char *place, bool mergeable)
{
    enum traffic_kind kind = s->source.kind;
    unsigned sent = 0;

    while (!s->h->failed && sent < PLACE_SEGMENTS_MAX &&
           !is_held_as(s->h, receiving_port(s), place)) {
        uint8_t frame[100] = {0};

        for (unsigned i = 0; i < 64; i++, sent++) {
            if (mergeable) {
                (void)send_burst(s, 1, SEGMENT_BYTES);
                continue;
            }
            memcpy(frame, s->source.headers, 12);
            frame[12] = 0x88;
            frame[13] = 0xb7;
            (void)!front_end_send(sender_of(s), 0, NULL, frame, sizeof(frame));
        }
        poll(NULL, 0, 2);
        read_stream(s);
    }
    hostile_expect(s->h, sent < PLACE_SEGMENTS_MAX, "packets of kind %d are not held as %s",
                   (int)kind, place);
}

static uint64_t waiting_for(struct stage *s)
{
    return daemon_counter(&s->h->daemon, receiving_port(s), "frames_waiting");
}

/* Everything sent is given back, however long it might have waited. */
static void expect_given_back(struct stage *s, const char *what)
{
    hostile_expect(s->h, front_end_flush(&s->taker, 0) == 0,
                   "%s: the honest sender's frames are not given back", what);
}

/* --- what must stay true of others --- */

struct neighbours {
    uint64_t start_ns, exchanged;
};

static struct neighbours watch_neighbours(struct hostile *h)
{
    return (struct neighbours){clock_now_ns(), __atomic_load_n(&h->exchanged, __ATOMIC_ACQUIRE)};
}

/* Left and right keep a share of their rate; what waits for them waits as their owner has said. */
static void expect_neighbours(struct hostile *h, const struct neighbours *before, const char *what)
{
    uint64_t got = __atomic_load_n(&h->exchanged, __ATOMIC_ACQUIRE) - before->exchanged;
    uint64_t ms = (clock_now_ns() - before->start_ns) / 1000000;
    static const char *const ports[] = {"left", "right"};

    hostile_expect(h, got > h->honest_rate * ms / 1000 / SHARE_MIN,
                   "%s: honest guests exchanged %llu frames in %llu ms, %llu per second before",
                   what, (unsigned long long)got, (unsigned long long)ms,
                   (unsigned long long)h->honest_rate);
    for (unsigned i = 0; i < CV_COUNT_OF(ports); i++) {
        double time_ns = tuning_of(h, ports[i], "rule", "time_max_ns");
        double wait_us = tuning_of(h, ports[i], "measured", "mean_wait_s") * 1e6;

        hostile_expect(h, time_ns <= TIME_NS_MAX, "%s: packets for %s may wait for %.0f ns", what,
                       ports[i], time_ns);
        hostile_expect(h, wait_us <= WAIT_US_MAX, "%s: packets for %s waited for %.0f us", what,
                       ports[i], wait_us);
    }
}

/* --- C6, C11, C19: what is in the packets --- */

struct rewriter {
    struct front_ring *ring;
    size_t headers_len;
    bool stop;
};

/* Writes over the packets that the switch has in hand; headers are mostly put right again. */
static void *rewrite(void *context)
{
    struct rewriter *rewriter = context;
    uint64_t random = 11;

    while (!__atomic_load_n(&rewriter->stop, __ATOMIC_RELAXED)) {
        uint8_t *slot = rewriter->ring->slots[(random >> 33) & rewriter->ring->mask];
        bool in_headers = (random >> 20) % 4 == 0;
        size_t at =
            VNET_HDR_BYTES + (in_headers ? (random >> 24) % rewriter->headers_len
                                         : rewriter->headers_len + (random >> 24) % SEGMENT_BYTES);
        uint8_t was = __atomic_load_n(&slot[at], __ATOMIC_RELAXED);

        __atomic_store_n(&slot[at], (uint8_t)(random >> 40), __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (in_headers)
            __atomic_store_n(&slot[at], was, __ATOMIC_RELAXED);
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
    }
    return NULL;
}

static void send_under_rewriting(struct stage *s)
{
    uint64_t deadline_ns = clock_now_ns() + ATTACK_MS * UINT64_C(1000000);
    struct rewriter rewriter = {.ring = front_end_transmitq(&s->attacker, 0),
                                .headers_len = s->source.headers_len};
    pthread_t thread;

    if (!hostile_expect(s->h, pthread_create(&thread, NULL, rewrite, &rewriter) == 0, "no thread"))
        return;
    while (clock_now_ns() < deadline_ns) {
        (void)send_burst(s, 32, SEGMENT_BYTES);
        front_ring_receive(front_end_receiveq(&s->taker, 0), UINT32_MAX, see_rows, s);
    }
    __atomic_store_n(&rewriter.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

/* C6: payload and headers change while their frames are parsed, summed, merged, held and copied.
 * Whatever is merged has headers that are true. */
static void rows_rewritten(struct hostile *h)
{
    static const enum traffic_kind kinds[] = {TRAFFIC_TCP4, TRAFFIC_UDP6, TRAFFIC_TCP6,
                                              TRAFFIC_UDP4};

    for (unsigned i = 0; i < 2 * CV_COUNT_OF(kinds) && !h->failed; i++) {
        uint64_t faults = hostile_counter(h, "faults");
        struct stage s;

        if (!stage_open(h, &s, true, holds[i % 2]))
            return;
        start_stream(&s, kinds[i / 2]);
        s.source.offload_csum = true; /* a sum of its own would be wrong as soon as it is written */
        send_under_rewriting(&s);
        hostile_expect(h, s.rows > 0, "kind %d, hold %s: nothing was merged", (int)kinds[i / 2],
                       holds[i % 2]);
        expect_true_rows(&s, "rewritten");
        hostile_expect(h, hostile_counter(h, "faults") == faults, "a packet stopped the port");
        stage_close(&s);
    }
}

/* One field of a good segment lies; its IP checksum is put right, so that merging has to look. */
static size_t tell_lie(uint8_t *frame, size_t len, size_t headers_len, uint64_t random)
{
    struct checksum sum = {0};
    uint16_t field;

    switch (random >> 60) {
    case 0: /* bytes behind the packet's end */
        return len + 1 + (random >> 8) % 64;
    case 1: /* the packet goes on behind the frame's end */
        return headers_len - 4 + (random >> 8) % 8;
    case 2:
        bytes_store_be16(frame + 16, (uint16_t)(random >> 8)); /* total length, or flow label */
        break;
    case 3:
        frame[14] = (uint8_t)(random >> 8); /* version and IHL */
        break;
    default:
        frame[12 + (random >> 8) % (headers_len - 12)] ^= (uint8_t)(1u << (random >> 16) % 8);
    }
    if (frame[12] == 0x08 && random & 2) {
        memset(frame + 24, 0, 2);
        checksum_add(&sum, frame + 14, 20);
        field = checksum_finish(&sum);
        memcpy(frame + 24, &field, 2);
    }
    return len;
}

/* C11: segments of a stream, every third with a lie: what is merged is true all the same. */
static void segments_that_lie(struct hostile *h)
{
    uint64_t faults = hostile_counter(h, "faults"), random = 5;
    struct stage s;

    if (!stage_open(h, &s, true, adaptive))
        return;
    for (unsigned i = 0; i < 20000 && !h->failed; i++) {
        struct front_ring *ring = front_end_transmitq(&s.attacker, 0);
        struct virtio_net_hdr hdr;
        uint8_t *frame;
        size_t len;

        if (i % 5000 == 0)
            start_stream(&s, (enum traffic_kind)(TRAFFIC_UDP4 + i / 5000));
        while (front_ring_reclaim(ring), !(frame = front_ring_reserve(ring))) {
            front_ring_publish(ring);
            front_end_wait_call(ring, 10);
            front_ring_receive(front_end_receiveq(&s.taker, 0), UINT32_MAX, see_rows, &s);
        }
        len = traffic_stream_build(&s.source, frame, 200, 200, &hdr);
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        if (i % 3 == 2)
            len = tell_lie(frame, len, s.source.headers_len, random);
        (void)!front_ring_commit(ring, &hdr, len);
        if (i % 16 == 0)
            front_ring_publish(ring);
    }
    hostile_expect(h, front_end_flush(&s.attacker, 0) == 0, "the port stopped taking frames");
    front_ring_receive(front_end_receiveq(&s.taker, 0), UINT32_MAX, see_rows, &s);
    hostile_expect(h, s.rows > 500, "only %llu rows", (unsigned long long)s.rows);
    expect_true_rows(&s, "lies");
    hostile_expect(h, hostile_counter(h, "faults") == faults, "a packet stopped the port");
    stage_close(&s);
}

/* C19: rows of packets whose headers and payload come in odd pieces, few and many. */
static void rows_in_pieces(struct hostile *h)
{
    static const struct front_cut cuts[] = {
        {.piece_count = 16, .piece_bytes = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}},
        {.piece_count = 3, .piece_bytes = {12, 14, 20}, .each_bytes = 120},
        {.piece_count = 1, .piece_bytes = {66}, .each_bytes = 100, .indirect = true},
        {.each_bytes = 30, .indirect = true}, /* more than a frame has: gathered first */
        {.piece_count = 2, .piece_bytes = {204, 1}, .each_bytes = 997},
    };

    for (unsigned i = 0; i < 2 * CV_COUNT_OF(cuts) && !h->failed; i++) {
        struct stage s;

        if (!stage_open(h, &s, true, adaptive))
            return;
        start_stream(&s, i % 2 ? TRAFFIC_TCP6 : TRAFFIC_UDP4);
        front_end_transmitq(&s.attacker, 0)->cut = cuts[i / 2];
        for (unsigned n = 0; n < 200 && !h->failed; n++) {
            (void)send_burst(&s, 8, SEGMENT_BYTES);
            hostile_expect(h, front_end_flush(&s.attacker, 0) == 0, "pieces %u: stuck", i);
            read_stream(&s);
        }
        expect_unaltered(&s, "pieces");
        hostile_expect(h, s.checker.counts.frames > 0, "pieces %u: nothing arrived", i);
        stage_close(&s);
    }
}

/* --- C15: who leaves while packets wait --- */

enum leaving { LEAVE_DISCONNECT, LEAVE_STOP, LEAVE_CUT, LEAVE_REMAP, LEAVE_COUNT };

static const char *const leaving_names[] = {"disconnects", "stops its rings",
                                            "cuts its memory short", "shares its memory anew"};

static void leave(struct stage *s, enum leaving how)
{
    struct front_end *fe = &s->attacker;
    uint64_t before = hostile_counter(s->h, "faults");
    uint32_t base;

    switch (how) {
    case LEAVE_DISCONNECT:
        front_end_disconnect(fe);
        break;
    case LEAVE_STOP:
        for (unsigned i = 0; i < fe->ring_count; i++)
            hostile_expect(s->h, front_end_stop_ring(fe, i, &base) == 0, "%s", fe->error.text);
        break;
    case LEAVE_CUT:
        for (unsigned i = 0; i < fe->ram.count; i++)
            hostile_expect(s->h, ftruncate(fe->ram.regions[i].fd, 0) == 0, "ftruncate");
        front_ring_kick(front_end_transmitq(fe, 0));
        if (!s->attacker_sends)
            (void)send_burst(s, 256, SEGMENT_BYTES); /* K are aboard: they depart */
        hostile_expect_fault(s->h, before, "memory cut off");
        break;
    default:
        for (unsigned i = 0; i < 5; i++)
            hostile_expect(s->h, front_end_share_memory(fe) == 0, "%s", fe->error.text);
    }
}

/* C15: the receiver leaves while rows are held for it; they end, and their sender gets all back. */
static void receiver_leaves(struct hostile *h)
{
    struct stage s;

    if (!stage_open(h, &s, false, held_long))
        return;
    for (unsigned i = 0; i < 3 * LEAVE_COUNT && !h->failed; i++) {
        enum leaving how = (enum leaving)(i % LEAVE_COUNT);

        send_until_held_as(&s, "data", true);
        expect_unaltered(&s, "before it leaves");
        for (unsigned n = 0; n < 5; n++)
            (void)send_burst(&s, 8, SEGMENT_BYTES);
        while (!h->failed && waiting_for(&s) == 0)
            (void)send_burst(&s, 8, SEGMENT_BYTES); /* those of before may have filled a convoy */
        leave(&s, how);
        expect_given_back(&s, leaving_names[how]);
        if (how == LEAVE_REMAP)
            continue;
        hostile_expect(h, waiting_for(&s) == 0, "packets wait for a guest that %s",
                       leaving_names[how]);
        hostile_close(&s.attacker);
        if (!open_attacker(&s, &h->attacker))
            break;
        s.checker.flows[0].next_offset = 0;
        start_stream(&s, TRAFFIC_TCP4);
    }
    stage_close(&s);
}

/* C15: packets were delivered and the call waits: a guest whose rings stop is told at once. */
static void receiver_stops_before_its_call(struct hostile *h)
{
    struct stage s;

    if (!stage_open(h, &s, false, held_long))
        return;
    send_until_held_as(&s, "call", false);
    for (unsigned i = 0; i < 3 && !h->failed; i++) {
        struct front_ring *ring = front_end_receiveq(&s.attacker, 0);
        uint64_t start_ns, calls;
        uint32_t base;

        poll(NULL, 0, LONG_MS + 100); /* no group is left open */
        read_stream(&s);
        front_ring_calls_take(ring);
        calls = ring->stats.calls;
        (void)front_ring_calls_enable(ring, 0);
        start_ns = clock_now_ns();
        (void)send_burst(&s, 4, SEGMENT_BYTES);
        while (!front_ring_has_used(ring) && clock_now_ns() - start_ns < TOLD_MS * 1000000ull)
            poll(NULL, 0, 1);
        hostile_expect(h, front_ring_has_used(ring), "packets whose call waits are not seen");
        hostile_expect(h, front_end_stop_ring(&s.attacker, 0, &base) == 0, "%s",
                       s.attacker.error.text);
        front_ring_calls_take(ring);
        hostile_expect(
            h, ring->stats.calls > calls || clock_now_ns() - start_ns > LONG_MS * UINT64_C(1000000),
            "a guest whose ring stops is not told of what it was given");
        hostile_close(&s.attacker);
        if (!open_attacker(&s, &h->attacker))
            break;
    }
    stage_close(&s);
}

/* C15: the sender leaves while its packets are in rows that are held for another. */
static void sender_leaves(struct hostile *h)
{
    struct stage s;

    if (!stage_open(h, &s, true, held_long))
        return;
    for (unsigned i = 0; i < 3 * LEAVE_COUNT && !h->failed; i++) {
        enum leaving how = (enum leaving)(i % LEAVE_COUNT);

        send_until_held_as(&s, "data", true);
        for (unsigned n = 0; n < 5; n++)
            (void)send_burst(&s, 8, SEGMENT_BYTES);
        leave(&s, how);
        hostile_close(&s.attacker);
        if (!open_attacker(&s, &h->attacker))
            break;
        read_stream(&s);      /* nothing of the guest before is under way any more */
        if (how != LEAVE_CUT) /* zeros stand for the pages that are gone */
            expect_unaltered(&s, leaving_names[how]);
        traffic_checker_uninit(&s.checker);
        if (traffic_checker_init(&s.checker, FLOW, 1, ~0u) < 0)
            break;
        start_stream(&s, TRAFFIC_TCP4);
    }
    stage_close(&s);
}

/* --- C17, C18: bad neighbours --- */

/* The attacker's receiveq for packets of the honest sender. */
struct poor_buffers {
    const char *what;
    bool mergeable;
    uint32_t bytes;
    unsigned count;   /* posted once */
    bool reads;       /* and posted again */
    bool must_arrive; /* in pieces that fit */
};

static const struct poor_buffers poor_buffers[] = {
    {"buffers of 14 bytes", true, 14, 200, false, false},
    {"one buffer", true, 1526, 1, true, false},
    {"24 buffers of 200 bytes", true, 200, 24, true, false},
    {"buffers of one packet", false, 1526, 256, true, true},
    {"four buffers of one packet", false, 1526, 4, false, true},
    {"buffers of 100 bytes, not merged", false, 100, 256, false, false},
    {"no buffers", true, 0, 0, false, false},
};

static bool reopen_poor(struct stage *s, const struct poor_buffers *poor)
{
    struct front_end_options options = s->h->attacker;

    hostile_close(&s->attacker);
    if (!poor->mergeable)
        options.features &= ~VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    options.receive_bytes = 2048;
    if (!hostile_open_unposted(s->h, &s->attacker, &options))
        return false;
    be_heard(s->h, &s->attacker, hostile_attacker_mac);
    s->attacker.rings[0].post_bytes = poor->bytes;
    if (poor->count > 0)
        front_ring_post(&s->attacker.rings[0], poor->count);
    return true;
}

/* C17, C18: rows for a guest that takes them in pieces, or a few, or none. */
static void rows_for_poor_buffers(struct hostile *h)
{
    struct stage s;

    if (!stage_open(h, &s, false, adaptive))
        return;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(poor_buffers) && !h->failed; i++) {
        const struct poor_buffers *poor = &poor_buffers[i / 2];

        if (!set_hold(h, "attacker", i % 2 ? "fixed:64,20ms" : adaptive) || !reopen_poor(&s, poor))
            break;
        start_stream(&s, i % 4 < 2 ? TRAFFIC_TCP4 : TRAFFIC_UDP6);
        for (unsigned n = 0; n < 100 && !h->failed; n++) {
            (void)send_burst(&s, 16, SEGMENT_BYTES);
            hostile_expect(h, waiting_for(&s) <= WAITING_MAX, "%s: too much is held", poor->what);
            if (poor->reads)
                read_stream(&s);
        }
        expect_given_back(&s, poor->what);
        read_stream(&s); /* and posts buffers again, for packets that come anew */
        (void)send_burst(&s, 2, SEGMENT_BYTES);
        expect_given_back(&s, poor->what);
        read_stream(&s);
        expect_unaltered(&s, poor->what);
        hostile_expect(h, !poor->must_arrive || s.checker.counts.frames > 0, "%s: nothing arrived",
                       poor->what);
        hostile_expect_idle(h, poor->what);
        traffic_checker_uninit(&s.checker);
        if (traffic_checker_init(&s.checker, FLOW, 1, ~0u) < 0)
            break;
    }
    stage_close(&s);
}

/* A super-packet of 8 segments from the honest sender. */
static void send_super(struct stage *s)
{
    struct virtio_net_hdr hdr;
    uint8_t frame[8200];
    size_t len = traffic_stream_build(&s->source, frame, 8000, 1000, &hdr);

    hostile_expect(s->h, front_end_send(&s->taker, 0, &hdr, frame, len) == 0, "cannot send");
}

/* C18: nothing waits any more for a guest that was slow; it is told all the same of what it gets,
 * also where that is half a super-packet. Otherwise it would never look, nor post buffers again. */
static void slow_guest_is_told(struct hostile *h)
{
    struct front_end_options options = h->attacker;
    uint64_t stalled, deadline_ns;
    struct front_ring *ring;
    struct stage s;

    if (!stage_open(h, &s, false, adaptive))
        return;
    hostile_close(&s.attacker);
    options.features =
        front_features_plain | (front_features_linux & VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX));
    if (!hostile_open_unposted(h, &s.attacker, &options))
        return;
    be_heard(h, &s.attacker, hostile_attacker_mac);
    stalled = hostile_counter(h, "drop_stalled");
    send_super(&s);
    hostile_expect(h, hostile_await_counter(h, "drop_stalled", stalled + 1), "nothing stalls");
    ring = front_end_receiveq(&s.attacker, 0);
    front_ring_post(ring, 4);
    front_ring_calls_take(ring);
    ring->stats.calls = 0;
    (void)front_ring_calls_enable(ring, 0);
    send_super(&s);
    for (deadline_ns = clock_now_ns() + 1000000000; clock_now_ns() < deadline_ns; poll(NULL, 0, 1))
        if (front_ring_calls_take(ring), ring->stats.calls > 0)
            break;
    hostile_expect(h, front_ring_used(ring) == 4, "%u of 4 buffers are used",
                   front_ring_used(ring));
    hostile_expect(h, ring->stats.calls > 0, "the guest is not told of what it was given");
    stage_close(&s);
}

/* C9: what was too big for the buffers of a guest is not for those of the next, though as many. */
static void buffers_of_the_guest_before(struct hostile *h)
{
    static const uint32_t sizes[] = {14, 200};
    uint64_t dropped = hostile_counter(h, "drop_too_big"), got = hostile_counter(h, "to_packets");
    struct front_end_options options = h->attacker;

    options.size = 128;

    for (unsigned i = 0; i < CV_COUNT_OF(sizes) && !h->failed; i++) {
        struct front_end fe;

        if (!hostile_open_unposted(h, &fe, &options))
            return;
        fe.rings[0].post_bytes = sizes[i];
        front_ring_post(&fe.rings[0], 100);
        hostile_probe_broadcast(h, 1514);
        if (i == 0)
            hostile_expect(h, hostile_await_counter(h, "drop_too_big", dropped + 1),
                           "nothing was too big");
        else
            hostile_expect(h, hostile_await_counter(h, "to_packets", got + 1),
                           "a frame did not fit the buffers of the guest before");
        hostile_close(&fe);
    }
}

/* How a guest lies about what it has seen. */
enum lie { LIE_SLOW, LIE_RANDOM, LIE_NEVER, LIE_ALWAYS, LIE_COUNT };

struct liar {
    struct front_end *fe;
    enum lie lie;
    bool stop;
};

/* Writes the event index of both rings, and flags that mean nothing with it. */
static void *tell_lies(void *context)
{
    struct liar *liar = context;
    uint64_t random = 3;

    while (!__atomic_load_n(&liar->stop, __ATOMIC_RELAXED)) {
        if (liar->lie == LIE_SLOW) /* an answer, but late: calls seem to cost a lot */
            poll(NULL, 0, 2);
        for (unsigned i = 0; i < 2; i++) {
            struct front_ring *ring = &liar->fe->rings[i];
            uint16_t used = __atomic_load_n(&ring->used->index, __ATOMIC_RELAXED);
            uint16_t event = liar->lie == LIE_NEVER    ? (uint16_t)(used - 0x4000)
                             : liar->lie == LIE_RANDOM ? (uint16_t)(random >> 40)
                                                       : used;

            __atomic_store_n(&ring->avail->ring[ring->options.size], event, __ATOMIC_RELAXED);
            __atomic_store_n(&ring->avail->flags, (uint16_t)(random >> 30), __ATOMIC_RELAXED);
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        }
    }
    return NULL;
}

/* C17: a guest seems to look at once, late, never, or at random: its own port's T stays within its
 * budget, and the others' are their own. */
static void event_index_lies(struct hostile *h)
{
    for (unsigned i = 0; i < LIE_COUNT && !h->failed; i++) {
        struct neighbours before = watch_neighbours(h);
        struct stage s;
        struct liar liar = {.fe = &s.attacker, .lie = (enum lie)i};
        pthread_t thread;

        /* With a small weight of waiting, the budget is all that bounds it. */
        if (!stage_open(h, &s, false, adaptive) || !set_key(h, "attacker", "delay-weight", "0.001"))
            return;
        if (pthread_create(&thread, NULL, tell_lies, &liar) != 0)
            return;
        while (clock_now_ns() - before.start_ns < 2 * ATTACK_MS * UINT64_C(1000000)) {
            for (unsigned n = 0; n < 50; n++) {
                (void)send_burst(&s, 1, 200);
                read_stream(&s);
            }
            hostile_expect(h, tuning_of(h, "attacker", "rule", "time_max_ns") <= TIME_NS_MAX,
                           "packets for the liar may wait beyond its budget");
            hostile_expect(h, tuning_of(h, "attacker", "costs", "answer_call_s") <= 1,
                           "the liar's answers are beyond all bounds");
        }
        __atomic_store_n(&liar.stop, true, __ATOMIC_RELAXED);
        pthread_join(thread, NULL);
        expect_neighbours(h, &before, "event index");
        stage_close(&s);
    }
    (void)set_key(h, "attacker", "delay-weight", "0.1");
}

/* Sends with all its might for a while; `bad_sums`: every packet has to be summed, in vain. */
static void flood_segments(struct stage *s, size_t payload, bool bad_sums, bool reads)
{
    uint64_t start_ns = clock_now_ns();
    struct front_ring *ring = front_end_transmitq(&s->attacker, 0);

    while (clock_now_ns() - start_ns < 2 * ATTACK_MS * UINT64_C(1000000)) {
        uint8_t *room;

        front_ring_reclaim(ring);
        while ((room = front_ring_reserve(ring))) {
            struct virtio_net_hdr hdr;
            size_t len = traffic_stream_build(&s->source, room, payload, payload, &hdr);

            room[s->source.l4_offset + 16] ^= bad_sums;
            if (!front_ring_commit(ring, &hdr, len))
                break;
        }
        front_ring_publish(ring);
        if (reads)
            front_ring_receive(front_end_receiveq(&s->taker, 0), UINT32_MAX, see_rows, s);
    }
}

/* C17: segments of one byte in rows as long as can be; such as are summed for nothing; and rows for
 * a guest that stops reading. */
static void flood_of_segments(struct hostile *h)
{
    static const struct {
        const char *what;
        size_t payload;
        bool bad_sums, reads;
    } floods[] = {
        {"segments of one byte", 1, false, true},
        {"segments of one byte, not read", 1, false, false},
        {"wrong sums", 32000, true, true},
        {"large segments, not read", 32000, false, false},
    };
    struct front_end_options options = h->attacker;

    options.transmit_bytes = 33000;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(floods) && !h->failed; i++) {
        struct neighbours before;
        struct stage s;

        if (!stage_open(h, &s, true, holds[i % 2]))
            return;
        hostile_close(&s.attacker);
        if (!open_attacker(&s, &options))
            return;
        before = watch_neighbours(h);
        flood_segments(&s, floods[i / 2].payload, floods[i / 2].bad_sums, floods[i / 2].reads);
        expect_neighbours(h, &before, floods[i / 2].what);
        expect_true_rows(&s, floods[i / 2].what);
        stage_close(&s);
    }
}

const struct hostile_test merge_tests[] = {
    {"C6", "rows rewritten under way", rows_rewritten, 0},
    {"C11", "segments that lie", segments_that_lie, 0},
    {"C19", "rows in odd pieces", rows_in_pieces, 0},
    {"C15", "receiver leaves while rows wait", receiver_leaves, MARK_WARNING},
    {"C15", "receiver stops before its call", receiver_stops_before_its_call, 0},
    {"C15", "sender leaves while in rows", sender_leaves, MARK_WARNING},
    {"C18", "rows for poor buffers", rows_for_poor_buffers, MARK_DROPS},
    {"C18", "slow guest is told of parts", slow_guest_is_told, MARK_DROPS},
    {"C9", "buffers of the guest before", buffers_of_the_guest_before, MARK_DROPS},
    {"C17", "event index lies", event_index_lies, 0},
    {"C17", "flood of segments", flood_of_segments, 0},
};
const unsigned merge_test_count = CV_COUNT_OF(merge_tests);

#include "exchange.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "guest/vhost_user.h"

enum {
    HELLO_ETHERTYPE = 0x88b6, /* IEEE 802: local experiments, the second number */
    HELLO_BYTES = 60,
};

static struct exchange_end *peer_of(const struct exchange *exchange, unsigned index)
{
    return &exchange->ends[index ^ 1];
}

static unsigned takes_of(uint64_t features)
{
    static const struct {
        enum virtio_feature feature;
        unsigned takes;
    } table[] = {
        {VIRTIO_NET_F_GUEST_CSUM, TRAFFIC_TAKES_CSUM},
        {VIRTIO_NET_F_GUEST_TSO4, TRAFFIC_TAKES_TSO4},
        {VIRTIO_NET_F_GUEST_TSO6, TRAFFIC_TAKES_TSO6},
        {VIRTIO_NET_F_GUEST_USO4, TRAFFIC_TAKES_USO},
        {VIRTIO_NET_F_GUEST_USO6, TRAFFIC_TAKES_USO},
    };
    unsigned takes = 0;

    for (unsigned i = 0; i < CV_COUNT_OF(table); i++)
        takes |= features & VIRTIO_FEATURE(table[i].feature) ? table[i].takes : 0;
    return takes;
}

/* What a sender of this kind of super-packet must have agreed to. */
static uint64_t super_feature(enum traffic_kind kind)
{
    return VIRTIO_FEATURE(kind == TRAFFIC_TCP4   ? VIRTIO_NET_F_HOST_TSO4
                          : kind == TRAFFIC_TCP6 ? VIRTIO_NET_F_HOST_TSO6
                                                 : VIRTIO_NET_F_HOST_USO);
}

/* --- opening --- */

static int end_open(struct exchange *exchange, unsigned index, const char *path,
                    const struct front_end_options *front, struct error *error)
{
    struct exchange_end *end = &exchange->ends[index];
    struct front_end_options options = *front;
    unsigned number = exchange->options.first_number + index;
    uint8_t mac[6] = {0x52, 0x54, 0x00, 0x7e, 0x57, (uint8_t)number};
    uint8_t peer_mac[6] = {0x52, 0x54, 0x00, 0x7e, 0x57, (uint8_t)(number ^ 1)};
    int result;

    options.socket = path;
    if (index % 2 == 1 && exchange->options.second_features)
        options.features = exchange->options.second_features;
    if (exchange->options.stream && options.transmit_bytes < exchange->options.len_max + 128)
        options.transmit_bytes = (uint32_t)exchange->options.len_max + 128;
    memcpy(end->mac, mac, sizeof(mac));
    memcpy(end->peer_mac, peer_mac, sizeof(peer_mac));
    end->verify = exchange->options.verify;
    end->sends = index % 2 == 0 || !exchange->options.one_way;
    end->reads_slowly = index % 2 == 1;
    result = front_end_open(&end->fe, &options);
    if (result < 0) {
        *error = end->fe.error;
        return result;
    }
    end->may_offload_csum = end->fe.features & VIRTIO_FEATURE(VIRTIO_NET_F_CSUM);
    end->may_super = end->fe.features & super_feature(exchange->options.kind);
    result = traffic_checker_init(&end->checker, (index ^ 1) * FRONT_PAIRS_MAX, FRONT_PAIRS_MAX,
                                  takes_of(end->fe.features));
    return result < 0 ? error_set(error, result, "no memory for a traffic checker") : 0;
}

static void end_prepare(struct exchange *exchange, unsigned index)
{
    const struct exchange_options *options = &exchange->options;
    struct exchange_end *end = &exchange->ends[index], *peer = peer_of(exchange, index);
    struct virtio_net_hdr hdr;
    size_t len;

    for (unsigned i = 0; i < FRONT_PAIRS_MAX; i++) {
        traffic_source_init(&end->sources[i], options->kind, index * FRONT_PAIRS_MAX + i, peer->mac,
                            end->mac);
        end->sources[i].offload_csum = options->offload_csum && end->may_offload_csum;
    }
    len = CV_MAX(options->len_max, traffic_frame_len_min(&end->sources[0]));
    end->pattern = calloc(1, len);
    assert(end->pattern);
    if (!options->verify)
        traffic_frame_build(&end->sources[0], end->pattern, len, &hdr);
}

static void see_hello(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                      size_t len)
{
    const uint8_t **awaited = context; /* the peer's address, NULL once it was seen */

    (void)hdr;
    if (*awaited && len >= 14 && frame[12] == HELLO_ETHERTYPE >> 8 &&
        frame[13] == (HELLO_ETHERTYPE & 0xff) && memcmp(frame + 6, *awaited, 6) == 0)
        *awaited = NULL;
}

static int send_hello(struct exchange_end *end)
{
    uint8_t frame[HELLO_BYTES] = {0};

    memset(frame, 0xff, 6);
    memcpy(frame + 6, end->mac, 6);
    frame[12] = HELLO_ETHERTYPE >> 8;
    frame[13] = HELLO_ETHERTYPE & 0xff;
    return front_end_send(&end->fe, 0, NULL, frame, sizeof(frame));
}

/* Waits at `end` until the peer's hello is in, repeating it (a port may still be coming up). */
static int wait_hello(struct exchange_end *end, struct exchange_end *peer)
{
    const uint8_t *awaited = peer->mac;

    for (int tries = 0; tries < 50; tries++) {
        int result = send_hello(peer);

        if (result < 0)
            return result;
        for (unsigned i = 0; i < end->fe.ring_count; i += 2) {
            struct front_ring *ring = &end->fe.rings[i];

            if (front_end_wait_call(ring, i == 0 ? 100 : 0))
                front_ring_receive(ring, ring->options.size, see_hello, &awaited);
        }
        if (!awaited)
            return 0;
    }
    return -ETIMEDOUT;
}

static int greet(struct exchange *exchange, struct error *error)
{
    for (unsigned i = 0; i < exchange->end_count; i++) {
        struct exchange_end *end = &exchange->ends[i];
        int result = wait_hello(end, peer_of(exchange, i));

        if (result < 0)
            return error_set(error, result, "%s: nothing from its peer: %s", end->fe.options.socket,
                             strerror(-result));
    }
    return 0;
}

static void set_defaults(struct exchange_options *options)
{
    static const uint16_t mss_of_1500[] = {[TRAFFIC_ETHER] = 1500,
                                           [TRAFFIC_UDP4] = 1472,
                                           [TRAFFIC_UDP6] = 1452,
                                           [TRAFFIC_TCP4] = 1460,
                                           [TRAFFIC_TCP6] = 1440};

    if (options->burst == 0)
        options->burst = 64;
    if (options->give_up_ms == 0)
        options->give_up_ms = 1000;
    if (options->mss == 0)
        options->mss = mss_of_1500[options->kind];
}

int exchange_open(struct exchange *exchange, const char *const *sockets, unsigned count,
                  const struct front_end_options *front, const struct exchange_options *options,
                  struct error *error)
{
    int result = 0;

    assert(count % 2 == 0 && count <= EXCHANGE_ENDS_MAX && options->len_min <= options->len_max);
    *exchange = (struct exchange){.options = *options, .random = options->seed + 1};
    set_defaults(&exchange->options);
    exchange->ends = calloc(count, sizeof(*exchange->ends));
    if (!exchange->ends)
        return error_set(error, -ENOMEM, "no memory for %u guests", count);
    for (unsigned i = 0; result == 0 && i < count; i++) {
        exchange->end_count++;
        result = end_open(exchange, i, sockets[i], front, error);
    }
    for (unsigned i = 0; result == 0 && i < count; i++)
        end_prepare(exchange, i);
    if (result == 0)
        result = greet(exchange, error);
    if (result < 0)
        exchange_close(exchange);
    exchange->started_ns = exchange->moved_ns = clock_now_ns();
    return result;
}

void exchange_close(struct exchange *exchange)
{
    for (unsigned i = 0; i < exchange->end_count; i++) {
        front_end_close(&exchange->ends[i].fe);
        traffic_checker_uninit(&exchange->ends[i].checker);
        free(exchange->ends[i].pattern);
    }
    free(exchange->ends);
    *exchange = (struct exchange){.end_count = 0};
}

/* --- sending --- */

static uint64_t sent_units(const struct exchange *exchange, const struct exchange_end *end)
{
    uint64_t bytes = 0;

    if (!exchange->options.stream)
        return end->sent;
    for (unsigned i = 0; i < FRONT_PAIRS_MAX; i++)
        bytes += end->sources[i].next_offset;
    return bytes / exchange->options.mss;
}

static uint64_t arrived_units(const struct exchange *exchange, const struct exchange_end *peer)
{
    uint64_t bytes = 0;

    if (!exchange->options.stream)
        return peer->received;
    for (unsigned i = 0; i < FRONT_PAIRS_MAX; i++)
        bytes += peer->checker.flows[i].next_offset;
    return bytes / exchange->options.mss;
}

/* Window units of an end that neither arrived nor were given up. */
static uint64_t under_way(const struct exchange *exchange, unsigned index)
{
    const struct exchange_end *end = &exchange->ends[index];
    uint64_t sent = sent_units(exchange, end);
    uint64_t over = arrived_units(exchange, peer_of(exchange, index)) + end->given_up;

    return sent > over ? sent - over : 0;
}

static size_t draw_len(struct exchange *exchange)
{
    const struct exchange_options *options = &exchange->options;

    if (options->len_min == options->len_max)
        return options->len_max;
    exchange->random = exchange->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return options->len_min +
           (size_t)((exchange->random >> 33) % (options->len_max - options->len_min + 1));
}

/* A payload that this end may send, every datagram of it long enough for its record. */
static size_t fit_payload(const struct exchange *exchange, const struct exchange_end *end,
                          size_t len)
{
    size_t mss = exchange->options.mss, rest;

    if (!end->may_super)
        len = CV_MIN(len, mss);
    rest = len % mss;
    return rest > 0 && rest < 17 ? (len > mss ? len - rest : 17) : len;
}

static bool send_one(struct exchange *exchange, struct exchange_end *end, struct front_ring *ring,
                     struct traffic_source *source)
{
    struct virtio_net_hdr hdr = {.flags = 0};
    uint8_t *room = front_ring_reserve(ring);
    struct traffic_source before = *source;
    size_t len = draw_len(exchange);

    if (!room)
        return false;
    if (exchange->options.stream) {
        len = traffic_stream_build(source, room, fit_payload(exchange, end, len),
                                   exchange->options.mss, &hdr);
    } else {
        len = CV_MAX(len, traffic_frame_len_min(source));
        if (exchange->options.verify)
            traffic_frame_build(source, room, len, &hdr);
        else
            memcpy(room, end->pattern, len);
    }
    if (front_ring_commit(ring, &hdr, len))
        return true;
    *source = before; /* the ring has too few descriptors left for this cut */
    return false;
}

bool exchange_offer_one(struct exchange *exchange, unsigned index, size_t len)
{
    struct exchange_end *end = &exchange->ends[index];
    struct front_ring *ring = front_end_transmitq(&end->fe, 0);
    struct traffic_source *source = &end->sources[0], before = *source;
    uint8_t *room = front_ring_reserve(ring);
    struct virtio_net_hdr hdr;

    if (!room)
        return false;
    len = CV_MAX(len, traffic_frame_len_min(source));
    traffic_frame_build(source, room, len, &hdr);
    if (!front_ring_commit(ring, &hdr, len)) {
        *source = before;
        return false;
    }
    end->sent++;
    return true;
}

static bool send_burst(struct exchange *exchange, unsigned index)
{
    const struct exchange_options *options = &exchange->options;
    struct exchange_end *end = &exchange->ends[index];
    struct front_ring *ring = front_end_transmitq(&end->fe, end->next_pair);
    uint64_t left = options->frames == 0          ? UINT64_MAX
                    : options->frames > end->sent ? options->frames - end->sent
                                                  : 0;
    unsigned n = 0, count = (unsigned)CV_MIN(left, (uint64_t)options->burst);
    bool reclaimed = front_ring_reclaim(ring) > 0;

    end->no_room = false;
    if (!end->sends || count == 0)
        return reclaimed;
    if (options->window > 0) {
        uint64_t flying = under_way(exchange, index);

        if (flying >= options->window)
            return reclaimed;
        count = options->stream ? 1 : (unsigned)CV_MIN(count, options->window - flying);
    }
    while (n < count && send_one(exchange, end, ring, &end->sources[end->next_pair]))
        n++;
    end->sent += n;
    end->no_room = n < count;
    front_ring_publish(ring);
    end->next_pair = (end->next_pair + 1) % (end->fe.ring_count / 2);
    return reclaimed || n > 0;
}

/* --- receiving --- */

/* A frame at an end. What others send, or what is flooded before the switch has learnt, is not
 * judged. */
void exchange_judge(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                    size_t len)
{
    struct exchange_end *end = context;
    struct traffic_counts *counts = &end->checker.counts;

    if (len < 14 || memcmp(frame + 6, end->peer_mac, 6) != 0 || frame[0] & 1) {
        counts->foreign++;
    } else if (end->verify) {
        traffic_check(&end->checker, hdr, frame, len);
    } else {
        counts->frames++;
        counts->bytes += len;
    }
}

/* Frames that an end may read now: all, unless it plays the slow reader. */
static unsigned read_allowance(const struct exchange *exchange, const struct exchange_end *end)
{
    const struct exchange_options *options = &exchange->options;
    uint64_t allowed = UINT32_MAX;

    if (!end->reads_slowly)
        return UINT32_MAX;
    if (options->read_rate > 0)
        allowed = (clock_now_ns() - exchange->started_ns) / 1000 * options->read_rate / 1000000;
    if (options->read_max > 0)
        allowed = CV_MIN(allowed, options->read_max);
    return allowed > end->received ? (unsigned)CV_MIN(allowed - end->received, UINT32_MAX) : 0;
}

unsigned exchange_receive(struct exchange *exchange, unsigned index, unsigned max)
{
    struct exchange_end *end = &exchange->ends[index];
    unsigned got = 0;

    for (unsigned i = 0; i < end->fe.ring_count && got < max; i += 2)
        got += front_ring_receive(&end->fe.rings[i], max - got, exchange_judge, end);
    end->received = end->checker.counts.frames;
    end->received_bytes = end->checker.counts.bytes;
    return got;
}

static bool receive_burst(struct exchange *exchange, unsigned index)
{
    unsigned allowance = read_allowance(exchange, &exchange->ends[index]);

    return exchange_receive(exchange, index, CV_MIN(allowance, 4 * exchange->options.burst)) > 0;
}

/* --- the loop --- */

bool exchange_step(struct exchange *exchange)
{
    bool moved = false;

    for (unsigned i = 0; i < exchange->end_count; i++) {
        moved |= send_burst(exchange, i);
        moved |= receive_burst(exchange, i);
    }
    if (moved)
        exchange->moved_ns = clock_now_ns();
    return moved;
}

/* A ring that something is expected of, and how many used elements may come without a call. */
struct awaited {
    struct front_ring *ring;
    uint16_t quiet;
};

static bool is_awaited(const struct exchange *exchange, const struct exchange_end *end,
                       unsigned ring, uint16_t *ret_quiet)
{
    unsigned outstanding = front_ring_outstanding(&end->fe.rings[ring]);

    *ret_quiet = ring % 2 == 1 ? (uint16_t)(outstanding / 2) : 0;
    return ring % 2 == 1 ? end->no_room && outstanding > 0 : read_allowance(exchange, end) > 0;
}

static unsigned arm(struct exchange *exchange, struct pollfd *fds, struct awaited *awaited,
                    bool *ret_ready)
{
    unsigned count = 0;

    for (unsigned i = 0; i < exchange->end_count; i++) {
        struct exchange_end *end = &exchange->ends[i];

        for (unsigned r = 0; r < end->fe.ring_count; r++) {
            struct front_ring *ring = &end->fe.rings[r];
            uint16_t quiet;

            if (!is_awaited(exchange, end, r, &quiet))
                continue;
            *ret_ready |= front_ring_calls_enable(ring, quiet);
            fds[count] = (struct pollfd){.fd = ring->call_fd, .events = POLLIN};
            awaited[count++] = (struct awaited){ring, quiet};
        }
    }
    return count;
}

/* Used elements are there, and the call that was asked for does not come. */
static bool call_is_missed(const struct awaited *awaited, struct pollfd *fd)
{
    uint16_t quiet = awaited->ring->options.event_idx ? awaited->quiet : 0;

    return front_ring_used(awaited->ring) > quiet && poll(fd, 1, 10) == 0;
}

void exchange_wait(struct exchange *exchange, int timeout_ms)
{
    static _Thread_local struct pollfd fds[EXCHANGE_ENDS_MAX * FRONT_RINGS_MAX];
    static _Thread_local struct awaited awaited[EXCHANGE_ENDS_MAX * FRONT_RINGS_MAX];
    bool ready = false;
    unsigned count;

    if (exchange->options.busy) {
        sched_yield();
        return;
    }
    count = arm(exchange, fds, awaited, &ready);
    if (!ready && poll(fds, count, timeout_ms) == 0) {
        for (unsigned i = 0; i < count; i++)
            exchange->missed_calls += call_is_missed(&awaited[i], &fds[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        front_ring_calls_take(awaited[i].ring);
        front_ring_calls_disable(awaited[i].ring);
    }
}

static void give_up_old(struct exchange *exchange, uint64_t now_ns)
{
    if (now_ns - exchange->moved_ns < (uint64_t)exchange->options.give_up_ms * 1000000)
        return;
    for (unsigned i = 0; i < exchange->end_count; i++)
        exchange->ends[i].given_up += under_way(exchange, i);
    exchange->moved_ns = now_ns;
}

bool exchange_is_done(const struct exchange *exchange)
{
    for (unsigned i = 0; i < exchange->end_count; i++) {
        const struct exchange_end *end = &exchange->ends[i];

        if (end->sends && (exchange->options.frames == 0 || end->sent < exchange->options.frames ||
                           under_way(exchange, i) > 0))
            return false;
    }
    return true;
}

/* A sleep ends for what calls cannot tell: it is time to read again, or to give up. */
static int wait_ms(const struct exchange_options *options)
{
    return options->read_rate ? 1 : (int)CV_MIN(options->give_up_ms, 100u);
}

bool exchange_run(struct exchange *exchange, uint64_t deadline_ns)
{
    while (!exchange_is_done(exchange)) {
        uint64_t now_ns = exchange->moved_ns;

        if (!exchange_step(exchange)) {
            exchange_wait(exchange, wait_ms(&exchange->options));
            now_ns = clock_now_ns();
            give_up_old(exchange, now_ns);
        }
        if (now_ns > deadline_ns)
            return false;
    }
    exchange->finished_ns = exchange->moved_ns;
    return true;
}

/* --- the result --- */

static void add_end(const struct exchange *exchange, unsigned index, struct exchange_result *sum)
{
    const struct exchange_end *end = &exchange->ends[index];
    const struct traffic_counts *counts = &end->checker.counts;
    const struct exchange_end *peer = peer_of(exchange, index);

    sum->sent += end->sent;
    sum->received += counts->frames;
    sum->received_bytes += counts->bytes;
    sum->doubled += counts->doubled;
    sum->reordered += counts->reordered;
    sum->altered += counts->altered;
    sum->foreign += counts->foreign;
    sum->super += counts->super;
    for (unsigned i = 0; i < FRONT_PAIRS_MAX && exchange->options.verify; i++) {
        const struct traffic_source *source = &peer->sources[i];

        sum->lost += exchange->options.stream
                         ? traffic_lost_bytes(&end->checker, source->flow, source->next_offset)
                         : traffic_lost(&end->checker, source->flow, source->next_number);
    }
    if (!exchange->options.verify)
        sum->lost += peer->sent - counts->frames;
    if (counts->altered && !sum->first_wrong[0])
        snprintf(sum->first_wrong, sizeof(sum->first_wrong), "%s", end->checker.first_wrong);
}

void exchange_get_result(const struct exchange *exchange, struct exchange_result *ret_result)
{
    *ret_result = (struct exchange_result){.sent = 0};
    for (unsigned i = 0; i < exchange->end_count; i++) {
        const struct front_end *fe = &exchange->ends[i].fe;

        add_end(exchange, i, ret_result);
        for (unsigned r = 0; r < fe->ring_count; r++) {
            ret_result->faults += fe->rings[r].stats.faults;
            ret_result->kicks += fe->rings[r].stats.kicks;
            ret_result->calls += fe->rings[r].stats.calls;
            if (fe->rings[r].stats.faults && !ret_result->first_wrong[0])
                snprintf(ret_result->first_wrong, sizeof(ret_result->first_wrong), "ring %u: %s", r,
                         fe->rings[r].first_fault.text);
        }
    }
}

bool exchange_result_is_good(const struct exchange_result *result, bool loss_allowed)
{
    return (loss_allowed || result->lost == 0) && result->doubled == 0 && result->reordered == 0 &&
           result->altered == 0 && result->faults == 0;
}

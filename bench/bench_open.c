/* Guests: who sends to whom, what they negotiate, and that the switch knows them. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench_state.h"
#include "guest/vhost_user.h"
#include "traffic_bytes.h"

enum {
    ANNOUNCE_BYTES = 60,
    ANNOUNCE_MS = 20,        /* between two announcements of a guest */
    ETHERTYPE_RARP = 0x8035, /* RFC 903; what QEMU announces a guest with */
    RECEIVE_BYTES = 1600,    /* of buffers that need hold no super-packet */
};

/* --- who sends to whom --- */

unsigned bench_destinations(const struct bench_options *options, unsigned guest,
                            unsigned ret_guests[BENCH_GUESTS_MAX])
{
    unsigned count = options->guest_count;

    ret_guests[0] = 0;
    switch (options->pattern) {
    case BENCH_PAIRS:
        ret_guests[0] = guest + 1;
        return guest % 2 == 0;
    case BENCH_BOTH:
        ret_guests[0] = guest ^ 1;
        return 1;
    case BENCH_RING:
        ret_guests[0] = (guest + 1) % count;
        return 1;
    case BENCH_FAN_IN:
        return guest > 0;
    case BENCH_FAN_OUT:
        for (unsigned i = 1; i < count; i++)
            ret_guests[i - 1] = i;
        return guest == 0 ? count - 1 : 0;
    }
    return 0;
}

unsigned bench_sources(const struct bench_options *options, unsigned guest, unsigned *ret_first)
{
    unsigned count = options->guest_count;

    switch (options->pattern) {
    case BENCH_PAIRS:
        *ret_first = guest - 1;
        return guest % 2;
    case BENCH_BOTH:
        *ret_first = guest ^ 1;
        return 1;
    case BENCH_RING:
        *ret_first = (guest + count - 1) % count;
        return 1;
    case BENCH_FAN_IN:
        *ret_first = 1;
        return guest == 0 ? count - 1 : 0;
    case BENCH_FAN_OUT:
        *ret_first = 0;
        return guest > 0;
    }
    return 0;
}

static int check_options(const struct bench_options *options, struct error *error)
{
    bool in_twos = options->pattern == BENCH_PAIRS || options->pattern == BENCH_BOTH;

    if (options->guest_count < 2 || options->guest_count > BENCH_GUESTS_MAX)
        return error_set(error, -EINVAL, "%u guests; from 2 to %u are possible",
                         options->guest_count, BENCH_GUESTS_MAX);
    if (in_twos && options->guest_count % 2 != 0)
        return error_set(error, -EINVAL, "%u guests make no pairs; give an even number of sockets",
                         options->guest_count);
    if (options->sizes != BENCH_CAPTURE && options->flows < options->pairs)
        return error_set(error, -EINVAL,
                         "%u flow(s) cannot use %u queue pairs; give at least as many flows",
                         options->flows, options->pairs);
    if (options->sizes == BENCH_FIXED && options->size_bytes > BENCH_MTU_FRAME &&
        !options->offloads)
        return error_set(error, -EINVAL,
                         "frames of %u bytes are super-packets, which need offloads",
                         options->size_bytes);
    return 0;
}

/* --- what is sent --- */

static int init_sources(struct bench *bench, unsigned guest, const uint8_t (*dst)[6],
                        unsigned dst_count)
{
    struct bench_guest *g = &bench->guests[guest];
    uint8_t src[6];

    bench_guest_mac(guest, src);
    g->sources = calloc(bench->flow_count, sizeof(*g->sources));
    if (!g->sources)
        return -ENOMEM;
    for (unsigned flow = 0; flow < bench->flow_count; flow++) {
        traffic_source_init(&g->sources[flow], bench->options.kind,
                            guest * bench->flow_count + flow, dst[flow % dst_count], src);
        g->sources[flow].offload_csum = bench->options.offloads;
    }
    return 0;
}

static int init_frames(struct bench *bench, unsigned guest, struct error *error)
{
    const struct bench_options *options = &bench->options;
    struct bench_guest *g = &bench->guests[guest];
    unsigned destinations[BENCH_GUESTS_MAX], first;
    unsigned count = bench_destinations(options, guest, destinations);
    uint8_t src[6], dst[BENCH_GUESTS_MAX][6];
    int rc;

    g->sends = count > 0;
    g->receives = bench_sources(options, guest, &first) > 0;
    if (!g->sends)
        return 0;
    bench_guest_mac(guest, src);
    for (unsigned i = 0; i < count; i++)
        bench_guest_mac(destinations[i], dst[i]);
    rc = bench_frames_init(&g->frames, options, guest, src, dst, count,
                           options->ring_size * options->pairs, error);
    if (rc == 0 && options->verify && init_sources(bench, guest, dst, count) < 0)
        rc = error_set(error, -ENOMEM, "no memory for %u flows", bench->flow_count);
    return rc;
}

/* --- connecting --- */

static uint64_t features_wanted(const struct bench_options *options)
{
    uint64_t features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
                        VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) |
                        VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_F_IN_ORDER);

    if (options->mergeable)
        features |= VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    if (options->pairs > 1)
        features |= VIRTIO_FEATURE(VIRTIO_NET_F_MQ);
    if (options->offloads)
        features |=
            VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
            VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6) |
            VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO6) |
            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_USO);
    return features;
}

/* Slots of an odd number of cache lines, so that they do not all compete for the same sets. */
static uint32_t slot_bytes(uint32_t bytes)
{
    return (((bytes + CV_CACHE_LINE_BYTES - 1) / CV_CACHE_LINE_BYTES) | 1) * CV_CACHE_LINE_BYTES;
}

/* What is sent may need what the switch does not offer. */
static int check_features(const struct bench *bench, unsigned guest, struct error *error)
{
    const struct front_end *fe = &bench->guests[guest].fe;
    const struct bench_frames *frames = &bench->guests[guest].frames;
    uint64_t needed = 0;

    for (unsigned i = 0; i < frames->count; i++) {
        uint8_t gso_type = frames->frames[i].hdr.gso_type;

        if (frames->frames[i].hdr.flags & VNET_HDR_F_NEEDS_CSUM)
            needed |= VIRTIO_FEATURE(VIRTIO_NET_F_CSUM);
        if (gso_type == VNET_HDR_GSO_TCPV4)
            needed |= VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4);
        else if (gso_type == VNET_HDR_GSO_TCPV6)
            needed |= VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6);
        else if (gso_type == VNET_HDR_GSO_UDP_L4)
            needed |= VIRTIO_FEATURE(VIRTIO_NET_F_HOST_USO);
    }
    needed &= ~fe->features;
    if (needed == 0)
        return 0;
    char names[128];

    return error_set(error, -ENOTSUP,
                     "guest %u: what is to be sent needs %s, which the switch does not offer on %s",
                     guest, vhost_user_features_format(needed, names, sizeof(names)),
                     fe->options.socket);
}

static const char *what_may_be_wrong(const struct front_end_options *front, int rc)
{
    if (rc == -ENOENT || rc == -ECONNREFUSED)
        return "; is the switch running, and does it listen there?";
    if (rc == -ETIMEDOUT && front->listen)
        return "; does the switch connect there?";
    /* What GET_QUEUE_NUM counts, rings or pairs, is not the same everywhere. */
    return front->pairs > 1 ? "; does the switch offer as many queue pairs there?" : "";
}

static int open_guest(struct bench *bench, unsigned guest, struct error *error)
{
    const struct bench_options *options = &bench->options;
    struct bench_guest *g = &bench->guests[guest];
    /* A super-packet needs large buffers where they cannot be merged: the front end's default. */
    struct front_end_options front = {
        .socket = options->sockets[guest],
        .listen = options->listens[guest],
        .timeout_ms = options->timeout_ms,
        .features = features_wanted(options),
        .protocol_features = front_protocol_features,
        .pairs = options->pairs,
        .size = options->ring_size,
        .receive_bytes = options->offloads ? 0 : slot_bytes(RECEIVE_BYTES),
        .transmit_bytes = slot_bytes(CV_MAX(g->frames.bytes_max, 128u) + (uint32_t)VNET_HDR_BYTES),
    };
    int rc = front_end_open(&g->fe, &front);

    if (rc < 0)
        return error_set(error, rc, "guest %u: %.300s%s", guest, g->fe.error.text,
                         what_may_be_wrong(&front, rc));
    g->is_open = true;
    return check_features(bench, guest, error);
}

static int open_checker(struct bench *bench, unsigned guest, struct error *error)
{
    struct bench_guest *g = &bench->guests[guest];
    uint64_t features = g->fe.features;
    unsigned takes = 0, first, count = bench_sources(&bench->options, guest, &first);

    takes |= features & VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) ? TRAFFIC_TAKES_CSUM : 0;
    takes |= features & VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) ? TRAFFIC_TAKES_TSO4 : 0;
    takes |= features & VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) ? TRAFFIC_TAKES_TSO6 : 0;
    takes |= features & VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) ? TRAFFIC_TAKES_USO : 0;
    if (traffic_checker_init(&g->checker, first * bench->flow_count, count * bench->flow_count,
                             takes) < 0)
        return error_set(error, -ENOMEM, "no memory to verify %u flows", count * bench->flow_count);
    g->checker.frame_bytes_max = BENCH_MTU_FRAME;
    g->has_checker = true;
    return 0;
}

/* --- being heard --- */

static size_t build_announcement(unsigned guest, uint8_t frame[ANNOUNCE_BYTES])
{
    static const uint8_t rarp[8] = {0, 1, 8, 0, 6, 4, 0, 3}; /* Ethernet, IPv4, reverse request */

    memset(frame, 0, ANNOUNCE_BYTES);
    memset(frame, 0xff, 6);
    bench_guest_mac(guest, frame + 6);
    put_be16(frame + 12, ETHERTYPE_RARP);
    memcpy(frame + 14, rarp, sizeof(rarp));
    bench_guest_mac(guest, frame + 22);
    bench_guest_mac(guest, frame + 32);
    return ANNOUNCE_BYTES;
}

static int announce(struct bench *bench, unsigned guest, struct error *error)
{
    struct front_end *fe = &bench->guests[guest].fe;
    uint8_t frame[ANNOUNCE_BYTES];
    char state[256];
    int rc = front_end_send(fe, 0, NULL, frame, build_announcement(guest, frame));

    if (rc == 0)
        return 0;
    front_ring_describe(front_end_transmitq(fe, 0), state, sizeof(state));
    return error_set(error, rc, "guest %u (%s) cannot send: %s", guest, fe->options.socket, state);
}

static void hear(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
    struct bench *bench = context;
    unsigned guest = len >= ANNOUNCE_BYTES ? get_be16(frame + 10) : BENCH_GUESTS_MAX;
    uint8_t mac[6];

    (void)hdr;
    bench_guest_mac(guest, mac);
    if (guest < bench->options.guest_count && memcmp(frame + 6, mac, sizeof(mac)) == 0 &&
        get_be16(frame + 12) == ETHERTYPE_RARP)
        bench->guests[guest].is_heard = true;
}

static void listen_at(struct bench *bench, unsigned guest)
{
    for (unsigned pair = 0; pair < bench->options.pairs; pair++)
        (void)front_ring_receive(front_end_receiveq(&bench->guests[guest].fe, pair), UINT32_MAX,
                                 hear, bench);
}

int bench_announce_again(struct bench *bench, struct error *error)
{
    int rc = 0;

    for (unsigned guest = 0; rc == 0 && guest < bench->options.guest_count; guest++) {
        if (!bench->guests[guest].sends)
            rc = announce(bench, guest, error);
        if (!bench->guests[guest].receives)
            listen_at(bench, guest); /* what is flooded must not fill its ring for good */
    }
    return rc;
}

/* The first guest that nobody has heard; all have been: guest_count. */
static unsigned first_unheard(const struct bench *bench)
{
    unsigned guest = 0;

    while (guest < bench->options.guest_count && bench->guests[guest].is_heard)
        guest++;
    return guest;
}

static int await_heard(struct bench *bench, struct error *error)
{
    uint64_t deadline_ns = clock_now_ns() + (uint64_t)bench->options.timeout_ms * 1000000;
    uint64_t again_ns = 0;
    int rc = 0;

    for (;;) {
        uint64_t now_ns = clock_now_ns();
        unsigned guest = first_unheard(bench);

        if (guest == bench->options.guest_count)
            return 0;
        if (bench_is_interrupted())
            return error_set(error, -EINTR, "interrupted");
        if (now_ns > deadline_ns)
            return error_set(error, -ETIMEDOUT,
                             "guest %u (%s): no other guest hears its broadcasts; the switch does "
                             "not forward between these sockets",
                             guest, bench->options.sockets[guest]);
        for (; now_ns >= again_ns && rc == 0 && guest < bench->options.guest_count; guest++)
            rc = bench->guests[guest].is_heard ? 0 : announce(bench, guest, error);
        if (rc < 0)
            return rc;
        if (now_ns >= again_ns)
            again_ns = now_ns + ANNOUNCE_MS * UINT64_C(1000000);
        for (guest = 0; guest < bench->options.guest_count; guest++)
            listen_at(bench, guest);
        poll(NULL, 0, 1);
    }
}

/* --- rings --- */

static int no_memory(struct error *error)
{
    return error_set(error, -ENOMEM, "no memory for the guests' rings");
}

static int add_sender(struct bench *bench, unsigned guest, unsigned pair, struct error *error)
{
    struct bench_guest *g = &bench->guests[guest];
    struct bench_sender *sender = &bench->senders[bench->sender_count];
    int rc;

    if (front_end_flush(&g->fe, pair) < 0)
        return error_set(error, -ETIMEDOUT, "guest %u (%s): the switch gives nothing back", guest,
                         g->fe.options.socket);
    rc = bench_sender_init(sender, &bench->options, guest, pair, &g->fe, &g->frames, g->sources);
    if (rc == 0)
        bench->sender_count++;
    return rc == -ENOMEM ? no_memory(error) : 0; /* a queue that no flow uses stays silent */
}

static int take_over(struct bench *bench, unsigned guest, struct error *error)
{
    const struct bench_options *options = &bench->options;
    struct bench_guest *g = &bench->guests[guest];
    unsigned first = 0, count = bench_sources(options, guest, &first);
    int rc = 0;

    for (unsigned i = 0; i < g->fe.ring_count; i++) {
        const struct front_ring *ring = &g->fe.rings[i];

        /* Lesser sins are forgiven, such as a num_buffers of 0 without MRG_RXBUF (DPDK). */
        if (ring->options.to_guest && front_ring_outstanding(ring) != options->ring_size)
            return error_set(error, -EPROTO, "guest %u (%s): the switch breaks the rules: %.300s",
                             guest, g->fe.options.socket, ring->first_fault.text);
    }
    if (options->verify && g->receives)
        rc = open_checker(bench, guest, error);
    for (unsigned pair = 0; rc == 0 && pair < options->pairs; pair++) {
        if (g->sends)
            rc = add_sender(bench, guest, pair, error);
        if (rc < 0 || !g->receives)
            continue;
        if (bench_receiver_init(&bench->receivers[bench->receiver_count], options, guest, pair,
                                &g->fe, first, count, bench->flow_count,
                                g->has_checker ? &g->checker : NULL) < 0)
            return no_memory(error);
        bench->receiver_count++;
    }
    return rc;
}

static unsigned common_divisor(unsigned a, unsigned b)
{
    while (b > 0) {
        unsigned rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/*
 * Flows take turns in a queue: were every n-th frame sampled and n had a divisor in common with the
 * number of flows, some flows would never be. A queue has either of two numbers.
 */
static unsigned choose_sample(unsigned sample, unsigned flow_count, unsigned pairs)
{
    unsigned fewer = CV_MAX(flow_count / pairs, 1u), more = (flow_count + pairs - 1) / pairs;

    while (common_divisor(sample, fewer) > 1 || common_divisor(sample, more) > 1)
        sample++;
    return sample;
}

static int allocate(struct bench *bench, struct error *error)
{
    size_t rings = (size_t)bench->options.guest_count * bench->options.pairs;
    bool fan_out = bench->options.pattern == BENCH_FAN_OUT;

    bench->flow_count = CV_MAX(bench->options.flows, fan_out ? bench->options.guest_count - 1 : 1);
    bench->options.sample =
        choose_sample(CV_MAX(bench->options.sample, 1u), bench->flow_count, bench->options.pairs);
    bench->guests = calloc(bench->options.guest_count, sizeof(*bench->guests));
    bench->senders = calloc(rings, sizeof(*bench->senders));
    bench->receivers = calloc(rings, sizeof(*bench->receivers));
    if (!bench->guests || !bench->senders || !bench->receivers)
        return no_memory(error);
    return 0;
}

int bench_open(const struct bench_options *options, struct bench **ret_bench, struct error *error)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    int rc;

    if (!bench)
        return no_memory(error);
    bench->options = *options;
    pthread_mutex_init(&bench->lock, NULL);
    rc = check_options(options, error);
    if (rc == 0)
        rc = allocate(bench, error);
    for (unsigned guest = 0; rc == 0 && guest < options->guest_count; guest++)
        rc = init_frames(bench, guest, error);
    for (unsigned guest = 0; rc == 0 && guest < options->guest_count; guest++) {
        rc = bench_is_interrupted() ? error_set(error, -EINTR, "interrupted")
                                    : open_guest(bench, guest, error);
    }
    if (rc == 0)
        rc = await_heard(bench, error);
    for (unsigned guest = 0; rc == 0 && guest < options->guest_count; guest++)
        rc = take_over(bench, guest, error);
    if (rc < 0) {
        bench->is_broken = rc == -ETIMEDOUT;
        bench_close(bench);
        return rc;
    }
    *ret_bench = bench;
    return 0;
}

static void close_guest(struct bench *bench, struct bench_guest *g)
{
    if (g->is_open) {
        if (bench->is_broken) /* who hangs is not asked to stop the rings */
            front_end_disconnect(&g->fe);
        front_end_close(&g->fe);
    }
    if (g->has_checker)
        traffic_checker_uninit(&g->checker);
    bench_frames_uninit(&g->frames);
    free(g->sources);
}

void bench_close(struct bench *bench)
{
    for (unsigned i = 0; i < bench->sender_count; i++)
        bench_sender_uninit(&bench->senders[i]);
    for (unsigned i = 0; i < bench->receiver_count; i++)
        bench_receiver_uninit(&bench->receivers[i]);
    for (unsigned guest = 0; bench->guests && guest < bench->options.guest_count; guest++)
        close_guest(bench, &bench->guests[guest]);
    pthread_mutex_destroy(&bench->lock);
    free(bench->guests);
    free(bench->senders);
    free(bench->receivers);
    free(bench);
}

/* The guest keeps to every rule and is a bad neighbour: it floods, it stops, it posts useless
 * buffers. */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "guest/vhost_user.h"
#include "hostile.h"

enum {
    FLOOD_MS = 1500,
    HONEST_SHARE_MIN =
        20, /* honest guests keep at least 1/20 of their rate, on shared processors */
    HELD_FRAMES_MAX = 1024, /* that may wait for one port: base/limits.h has 256 per worker */
};

static uint64_t exchanged(const struct hostile *h)
{
    return __atomic_load_n(&h->exchanged, __ATOMIC_ACQUIRE);
}

/* Fills the transmitq with frames for `dst` and publishes. */
static void flood_once(struct front_end *fe, const uint8_t dst[6], size_t len)
{
    struct front_ring *ring = front_end_transmitq(fe, 0);
    uint8_t *frame;

    front_ring_reclaim(ring);
    while ((frame = front_ring_reserve(ring))) {
        memcpy(frame, dst, 6);
        memcpy(frame + 6, hostile_attacker_mac, 6);
        memcpy(frame + 12, "\x88\xb7", 2);
        if (!front_ring_commit(ring, NULL, len))
            break;
    }
    front_ring_publish(ring);
}

static void flood(struct hostile *h, const uint8_t dst[6], size_t len)
{
    uint64_t start_ns = clock_now_ns(), before = exchanged(h), got;
    struct front_end fe;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    while (clock_now_ns() - start_ns < FLOOD_MS * UINT64_C(1000000))
        flood_once(&fe, dst, len);
    got = exchanged(h) - before;
    hostile_expect(
        h, got > h->honest_rate * FLOOD_MS / 1000 / HONEST_SHARE_MIN,
        "under the flood the honest guests exchanged %llu frames in %u ms, %llu per second before",
        (unsigned long long)got, FLOOD_MS, (unsigned long long)h->honest_rate);
    hostile_close(&fe);
}

/* C17: as many frames as the guest can make, to everybody. */
static void broadcast_flood(struct hostile *h)
{
    flood(h, (const uint8_t[6]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 60);
}

/* C17: to an address that nobody has. */
static void unknown_flood(struct hostile *h)
{
    flood(h, (const uint8_t[6]){0x52, 0x54, 0, 9, 9, 9}, 1514);
}

/* C17: to a guest that does not read. */
static void flood_of_one(struct hostile *h)
{
    flood(h, hostile_probe_mac, 1514);
}

/* C17: a new source address with every frame, more than the address table holds. */
static void address_flood(struct hostile *h)
{
    uint64_t start_ns = clock_now_ns(), before = exchanged(h), number = 0;
    struct front_end fe;
    struct front_ring *ring;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    ring = front_end_transmitq(&fe, 0);
    while (clock_now_ns() - start_ns < FLOOD_MS * UINT64_C(1000000)) {
        uint8_t *frame;

        front_ring_reclaim(ring);
        for (; (frame = front_ring_reserve(ring)); number++) {
            memset(frame, 0, 60);
            memcpy(frame, hostile_probe_mac, 6);
            frame[6] = 0x02;
            memcpy(frame + 7, &number, 5);
            if (!front_ring_commit(ring, NULL, 60))
                break;
        }
        front_ring_publish(ring);
    }
    hostile_expect(h, exchanged(h) - before > h->honest_rate * FLOOD_MS / 1000 / HONEST_SHARE_MIN,
                   "%llu source addresses slowed the honest guests", (unsigned long long)number);
    hostile_close(&fe);
}

/* C17: a receive ring of nothing but too-small buffers: frames for it end, and nobody turns in
 * circles. */
static void useless_receive_buffers(struct hostile *h)
{
    for (unsigned mergeable = 0; mergeable < 2; mergeable++) {
        struct front_end_options options = h->attacker;
        struct front_end fe;

        if (!mergeable)
            options.features &= ~VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
        if (!hostile_open_unposted(h, &fe, &options))
            return;
        fe.rings[0].post_bytes = 14;
        front_ring_post(&fe.rings[0], 64);
        for (unsigned i = 0; i < 400; i++)
            hostile_probe_broadcast(h, 1514);
        hostile_expect(h, front_end_flush(&h->probe, 0) == 0,
                       "the probe's frames are not given back");
        hostile_expect_idle(h, mergeable ? "tiny buffers, mergeable" : "tiny buffers");
        hostile_close(&fe);
    }
}

/* C17: kicks without end, for rings that have nothing. */
static void kick_storm(struct hostile *h)
{
    uint64_t start_ns = clock_now_ns(), before = exchanged(h);
    struct front_end fe;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    while (clock_now_ns() - start_ns < FLOOD_MS * UINT64_C(1000000)) {
        front_ring_kick(&fe.rings[0]);
        front_ring_kick(&fe.rings[1]);
    }
    hostile_expect(h, exchanged(h) - before > h->honest_rate * FLOOD_MS / 1000 / HONEST_SHARE_MIN,
                   "the honest guests exchanged only %llu frames under kicks",
                   (unsigned long long)(exchanged(h) - before));
    hostile_close(&fe);
}

/* C17: connections and messages without end. */
static void message_storm(struct hostile *h)
{
    uint64_t start_ns = clock_now_ns(), before = exchanged(h), value;
    struct front_end fe;

    if (!hostile_negotiate(h, &fe, &h->attacker))
        return;
    while (clock_now_ns() - start_ns < FLOOD_MS * UINT64_C(1000000) &&
           hostile_expect(h, front_end_ask_u64(&fe, VU_GET_FEATURES, &value) == 0, "%s",
                          fe.error.text))
        ;
    hostile_expect(h, exchanged(h) - before > h->honest_rate * FLOOD_MS / 1000 / HONEST_SHARE_MIN,
                   "the honest guests exchanged only %llu frames under messages",
                   (unsigned long long)(exchanged(h) - before));
    hostile_close(&fe);
}

/* C18: the guest posts buffers once and never reads again; what is held for it is bounded, the rest
 * counted. */
static void guest_stops_reading(struct hostile *h)
{
    const unsigned count = 6000;
    uint64_t delivered = hostile_counter(h, "to_packets"), drops = hostile_counter(h, "dropped"),
             held;
    struct front_end fe;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    for (unsigned i = 0; i < count && !h->failed; i++)
        hostile_probe_broadcast(h, 1514);
    hostile_expect(h, front_end_flush(&h->probe, 0) == 0, "the probe's frames are not given back");
    held = hostile_counter(h, "frames_waiting");
    hostile_expect(h, held <= HELD_FRAMES_MAX, "%llu frames are held", (unsigned long long)held);
    delivered = hostile_counter(h, "to_packets") - delivered;
    drops = hostile_counter(h, "dropped") - drops;
    hostile_expect(h, delivered + drops + held >= count,
                   "of %u frames %llu were delivered, %llu dropped, %llu are held", count,
                   (unsigned long long)delivered, (unsigned long long)drops,
                   (unsigned long long)held);
    hostile_expect_idle(h, "a guest that does not read");
    hostile_close(&fe);
}

/* C18: one free slot, and packets of 64 KiB for it. */
static void one_slot_for_super_packets(struct hostile *h)
{
    uint64_t own_kib = daemon_anonymous_kib(&h->daemon);
    struct front_end fe;
    struct traffic_source source;
    static uint8_t frame[66000];

    if (!hostile_open_unposted(h, &fe, &h->attacker))
        return;
    front_ring_post(&fe.rings[0], 1);
    traffic_source_init(&source, TRAFFIC_TCP4, 96, hostile_attacker_mac, hostile_probe_mac);
    for (unsigned i = 0; i < 600 && !h->failed; i++) {
        struct virtio_net_hdr hdr;
        size_t len = traffic_stream_build(&source, frame, 64000, 1448, &hdr);

        hostile_expect(h, front_end_send(&h->probe, 0, &hdr, frame, len) == 0,
                       "the probe is stuck");
    }
    hostile_expect(h, front_end_flush(&h->probe, 0) == 0, "the probe's frames are not given back");
    hostile_expect(h,
                   daemon_is_sanitized(&h->daemon) ||
                       daemon_anonymous_kib(&h->daemon) < own_kib + 16 * 1024,
                   "convoyd holds %llu KiB more",
                   (unsigned long long)(daemon_anonymous_kib(&h->daemon) - own_kib));
    hostile_close(&fe);
}

/* C18: queues are disabled and enabled while frames run both ways; nobody else's are stuck. */
static void queue_disabled_and_enabled(struct hostile *h)
{
    struct front_end fe;

    if (!hostile_open(h, &fe, &h->attacker))
        return;
    for (unsigned i = 0; i < 200 && !h->failed; i++) {
        hostile_expect(h, front_end_enable_ring(&fe, i % 2, i / 2 % 2) == 0, "%s", fe.error.text);
        flood_once(&fe, hostile_probe_mac, 300);
        hostile_probe_broadcast(h, 300);
    }
    hostile_expect(h, front_end_flush(&h->probe, 0) == 0, "the probe's frames are not given back");
    hostile_close(&fe);
}

const struct hostile_test life_tests[] = {
    {"C17", "broadcast flood", broadcast_flood, 0},
    {"C17", "flood of an unknown address", unknown_flood, 0},
    {"C17", "flood of one guest", flood_of_one, 0},
    {"C17", "flood of source addresses", address_flood,
     .growth_kib_max = 4096 /* the address table */},
    {"C17", "useless receive buffers", useless_receive_buffers, 0},
    {"C17", "storm of kicks", kick_storm, 0},
    {"C17", "storm of messages", message_storm, 0},
    {"C18", "guest stops reading", guest_stops_reading, 0},
    {"C18", "one slot for super-packets", one_slot_for_super_packets, 0},
    {"C18", "queue disabled and enabled", queue_disabled_and_enabled, 0},
};
const unsigned life_test_count = CV_COUNT_OF(life_tests);

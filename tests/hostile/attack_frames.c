/* The guest's frames lie: checksum and segmentation requests, lengths of headers, packets of no
 * kind. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "guest/vhost_user.h"
#include "hostile.h"

/* Edges of every 16-bit field: nothing, one, around each header of the frame, around its end,
 * everything. */
static const uint16_t edges[] = {0,  1,  12, 13, 14, 18, 33,  34,   38,   40,   42,   53,    54,
                                 58, 59, 60, 61, 74, 99, 100, 1400, 1513, 1514, 1515, 65534, 65535};

static const uint8_t gso_types[] = {0, 1, 2, 3, 4, 5, 6, 0x80, 0x81, 0x84, 0x85, 0xff};

/* A burst of frames from the attacker, with what the probe sees of them. */
struct frame_storm {
    struct hostile *h;
    struct front_end fe;
    uint64_t sent;
    uint64_t seen;       /* at the probe */
    uint64_t bad_seen;   /* at the probe: a header that no driver could accept */
    bool takes_offloads; /* what the probe has agreed to */
};

/* Whatever was sent, the probe may only be given what it agreed to, and requests within the frame.
 */
static void see_storm(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                      size_t len)
{
    struct frame_storm *storm = context;
    bool csum = hdr->flags & VNET_HDR_F_NEEDS_CSUM;

    (void)frame;
    storm->seen++;
    storm->bad_seen +=
        len < 14 || hdr->num_buffers != 1 || csum || hdr->gso_type != 0 || len > 65553;
}

static void storm_read(struct frame_storm *storm)
{
    front_ring_receive(front_end_receiveq(&storm->h->probe, 0), UINT32_MAX, see_storm, storm);
}

static bool storm_open(struct hostile *h, struct frame_storm *storm)
{
    struct front_end_options options = h->attacker;

    *storm = (struct frame_storm){.h = h};
    options.transmit_bytes = 66000;
    if (!hostile_open(h, &storm->fe, &options))
        return false;
    hostile_drain(h, &h->probe, "probe");
    return true;
}

/* Room for the next frame, waiting for it; NULL, noted, when the port stops taking frames. */
static uint8_t *storm_room(struct frame_storm *storm)
{
    struct front_ring *ring = front_end_transmitq(&storm->fe, 0);
    uint64_t deadline_ns = clock_now_ns() + 3000 * UINT64_C(1000000);
    uint8_t *room;

    front_ring_reclaim(ring);
    while (!(room = front_ring_reserve(ring))) {
        front_ring_publish(ring);
        storm_read(storm);
        front_end_wait_call(ring, 10);
        front_ring_reclaim(ring);
        if (!hostile_expect(storm->h, clock_now_ns() < deadline_ns,
                            "frame %llu: the port takes no more", (unsigned long long)storm->sent))
            return NULL;
    }
    return room;
}

static void storm_send(struct frame_storm *storm, const struct virtio_net_hdr *hdr, size_t len)
{
    struct front_ring *ring = front_end_transmitq(&storm->fe, 0);

    (void)!front_ring_commit(ring, hdr, len);
    if (++storm->sent % 32 == 0) {
        front_ring_publish(ring);
        storm_read(storm);
    }
}

/* All frames are taken, none of them stopped the port, and the probe got nothing that it cannot
 * take. */
static void storm_close(struct frame_storm *storm, uint64_t faults)
{
    struct hostile *h = storm->h;

    hostile_expect(h, front_end_flush(&storm->fe, 0) == 0, "the port stopped taking frames");
    storm_read(storm);
    hostile_expect(h, hostile_counter(h, "faults") == faults, "a frame stopped the port");
    hostile_expect(h, storm->bad_seen == 0,
                   "%llu of %llu frames reached the probe in a form it never agreed to",
                   (unsigned long long)storm->bad_seen, (unsigned long long)storm->seen);
    hostile_close(&storm->fe);
}

/* A good frame of a kind to the probe, in the attacker's name. */
static void put_good_frame(uint8_t *frame, enum traffic_kind kind, size_t len)
{
    struct traffic_source source;
    struct virtio_net_hdr hdr;

    traffic_source_init(&source, kind, 97, hostile_probe_mac, hostile_attacker_mac);
    traffic_frame_build(&source, frame, len, &hdr);
}

/* C10: every pair of csum_start and csum_offset with every kind of frame. */
static void checksum_requests(struct hostile *h)
{
    uint64_t faults = hostile_counter(h, "faults");
    struct frame_storm storm;

    if (!storm_open(h, &storm))
        return;
    for (unsigned i = 0; i < CV_COUNT_OF(edges) * CV_COUNT_OF(edges) * 10 && !h->failed; i++) {
        enum traffic_kind kind = (enum traffic_kind)(i % 5);
        size_t len = i / 5 % 2 ? 100 : 1514;
        struct virtio_net_hdr hdr = {.flags = VNET_HDR_F_NEEDS_CSUM,
                                     .csum_start = edges[i / 10 % CV_COUNT_OF(edges)],
                                     .csum_offset = edges[i / 10 / CV_COUNT_OF(edges)]};
        uint8_t *frame = storm_room(&storm);

        if (!frame)
            break;
        put_good_frame(frame, kind, len);
        storm_send(&storm, &hdr, len);
    }
    storm_close(&storm, faults);
}

/* C10: every GSO type with every size and header length, on frames that fit it and frames that do
 * not. */
static void segmentation_requests(struct hostile *h)
{
    uint64_t faults = hostile_counter(h, "faults");
    const unsigned count = CV_COUNT_OF(gso_types) * CV_COUNT_OF(edges) * CV_COUNT_OF(edges) * 5;
    struct frame_storm storm;

    if (!storm_open(h, &storm))
        return;
    for (unsigned i = 0; i < count && !h->failed; i++) {
        enum traffic_kind kind = (enum traffic_kind)(i % 5);
        unsigned type = i / 5 % CV_COUNT_OF(gso_types), rest = i / 5 / CV_COUNT_OF(gso_types);
        bool tcp = kind == TRAFFIC_TCP4 || kind == TRAFFIC_TCP6;
        bool six = kind == TRAFFIC_UDP6 || kind == TRAFFIC_TCP6;
        struct virtio_net_hdr hdr = {.flags = i % 3 ? VNET_HDR_F_NEEDS_CSUM : 0,
                                     .gso_type = gso_types[type],
                                     .gso_size = edges[rest % CV_COUNT_OF(edges)],
                                     .hdr_len = edges[rest / CV_COUNT_OF(edges)],
                                     .csum_start = six ? 54 : 34,
                                     .csum_offset = tcp ? 16 : 6};
        size_t len = i % 97 == 0 ? 40000 : 100 + i % 1400;
        uint8_t *frame = storm_room(&storm);

        if (!frame)
            break;
        put_good_frame(frame, kind, len);
        storm_send(&storm, &hdr, len);
    }
    storm_close(&storm, faults);
}

/* C11: super-packets whose IP and TCP headers lie: IHL, data offset, lengths, fragments, VLAN tags,
 * options. */
static void lying_super_packets(struct hostile *h)
{
    uint64_t faults = hostile_counter(h, "faults"), random = 7;
    struct frame_storm storm;

    if (!storm_open(h, &storm))
        return;
    for (unsigned i = 0; i < 6000 && !h->failed; i++) {
        bool six = i % 2;
        struct virtio_net_hdr hdr;
        struct traffic_source source;
        uint8_t *frame = storm_room(&storm);
        size_t len;

        if (!frame)
            break;
        traffic_source_init(&source, six ? TRAFFIC_TCP6 : TRAFFIC_TCP4, 97, hostile_probe_mac,
                            hostile_attacker_mac);
        len = traffic_stream_build(&source, frame, 1 + i * 11 % 60000, 1448, &hdr);
        frame[14] =
            (uint8_t)((six ? 0x60 : 0x40) | (i / 2 % 16));  /* IHL; in IPv6 a part of the class */
        frame[six ? 66 : 46] = (uint8_t)(i / 32 % 16 << 4); /* data offset */
        if (i % 5 == 0)
            memcpy(frame + (six ? 18 : 16), &random, 2); /* total or payload length */
        if (i % 7 == 0)
            frame[20] ^= 0x20; /* more fragments; in IPv6 the next header */
        if (i % 11 == 0)
            memcpy(frame + 12, "\x81\x00\x00\x05\x88\xa8", 6);
        if (i % 13 == 0)
            len = 14 + i % 60;
        random = random * UINT64_C(6364136223846793005) + 1;
        storm_send(&storm, &hdr, len);
    }
    storm_close(&storm, faults);
}

/* C22: frames of 0 to 64 bytes of every EtherType that a parser knows, filled with edges. */
static void short_frames(struct hostile *h)
{
    static const uint8_t types[][2] = {{0x08, 0x00}, {0x86, 0xdd}, {0x08, 0x06}, {0x81, 0x00},
                                       {0x88, 0xa8}, {0x00, 0x40}, {0xff, 0xff}};
    static const uint8_t fills[] = {0, 0x45, 0x4f, 0x60, 0xff};
    uint64_t faults = hostile_counter(h, "faults");
    struct frame_storm storm;

    if (!storm_open(h, &storm))
        return;
    for (unsigned i = 0; i < 65 * CV_COUNT_OF(types) * CV_COUNT_OF(fills) && !h->failed; i++) {
        size_t len = i % 65;
        uint8_t *frame = storm_room(&storm);

        if (!frame)
            break;
        memset(frame, fills[i / 65 % CV_COUNT_OF(fills)], 64);
        memcpy(frame, hostile_probe_mac, 6);
        memcpy(frame + 6, hostile_attacker_mac, 6);
        memcpy(frame + 12, types[i / 65 / CV_COUNT_OF(fills)], 2);
        storm_send(&storm, NULL, len);
    }
    storm_close(&storm, faults);
}

/* C22: tags upon tags, extension headers without an end, protocol 0, addresses that are reserved.
 */
static void nested_headers(struct hostile *h)
{
    uint64_t faults = hostile_counter(h, "faults");
    struct frame_storm storm;

    if (!storm_open(h, &storm))
        return;
    for (unsigned i = 0; i < 4000 && !h->failed; i++) {
        uint8_t *frame = storm_room(&storm);
        size_t at = 12, len = 60 + i % 1400;

        if (!frame)
            break;
        memset(frame, 0, len);
        memcpy(frame, hostile_probe_mac, 6);
        memcpy(frame + 6, hostile_attacker_mac, 6);
        if (i % 9 == 8) /* to the bridge itself, as 01:80:c2:00:00:0x */
            memcpy(frame, "\x01\x80\xc2\x00\x00", 5);
        if (i % 9 == 7) /* from a group */
            frame[6] |= 1;
        for (unsigned tag = 0; tag < i % 12 && at + 4 < len; tag++, at += 4)
            memcpy(frame + at, tag % 2 ? "\x81\x00\xff\xff" : "\x88\xa8\x0f\xff", 4);
        if (at + 42 < len) {
            memcpy(frame + at, "\x86\xdd\x60\x00\x00\x00\xff\xff\x00\x01", 10);
            frame[at + 8] =
                (uint8_t)(i % 256); /* next header: each in turn, hop-by-hop chains too */
            for (size_t b = at + 42; b + 2 < len; b += 8)
                frame[b] = (uint8_t)(i % 4 ? 0 : 60);
        }
        storm_send(&storm, NULL, len);
    }
    storm_close(&storm, faults);
}

/* Frames of random bytes and random requests, seeded: what no list has thought of. */
static void random_frames(struct hostile *h)
{
    uint64_t faults = hostile_counter(h, "faults"), random = 42;
    struct frame_storm storm;

    if (!storm_open(h, &storm))
        return;
    for (unsigned i = 0; i < 20000 && !h->failed; i++) {
        struct virtio_net_hdr hdr;
        uint8_t *frame = storm_room(&storm);
        size_t len;

        if (!frame)
            break;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        len = (random >> 40) % (i % 64 ? 300 : 65553);
        for (size_t b = 0; b < len; b += 8) {
            uint64_t word =
                (random ^ (b * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xbf58476d1ce4e5b9);

            memcpy(frame + b, &word, 8);
        }
        memcpy(&hdr, frame + 20, sizeof(hdr));
        if (i % 2) {
            put_good_frame(frame, (enum traffic_kind)(i % 5), 100);
            frame[12 + (random >> 20) % 60] ^=
                (uint8_t)(random >> 30); /* one byte of a good frame */
            len = 100;
        } else {
            memcpy(frame, hostile_probe_mac, 6);
            memcpy(frame + 6, hostile_attacker_mac, 6);
        }
        storm_send(&storm, &hdr, len);
    }
    storm_close(&storm, faults);
}

const struct hostile_test frame_tests[] = {
    {"C10", "checksum requests", checksum_requests, MARK_DROPS},
    {"C10", "segmentation requests", segmentation_requests, MARK_DROPS},
    {"C11", "lying super-packets", lying_super_packets, MARK_DROPS},
    {"C22", "short frames", short_frames, MARK_DROPS},
    {"C22", "nested headers", nested_headers, MARK_DROPS},
    {"C22", "random frames", random_frames, MARK_DROPS},
};
const unsigned frame_test_count = CV_COUNT_OF(frame_tests);

/*
 * Goal: what other tests believe is itself tested. The traffic checker must see every loss,
 * doubling, reordering and alteration, and accept what a right switch does. Method: frames are
 * built, damaged in one known way, and judged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "front_ring.h"
#include "traffic.h"
#include "traffic_bytes.h"

static const uint8_t mac_a[6] = {0x52, 0x54, 0, 0, 0, 0xa}, mac_b[6] = {0x52, 0x54, 0, 0, 0, 0xb};

static const enum traffic_kind all_kinds[] = {TRAFFIC_ETHER, TRAFFIC_UDP4, TRAFFIC_UDP6,
                                              TRAFFIC_TCP4, TRAFFIC_TCP6};

struct fixture {
    struct traffic_source source;
    struct traffic_checker checker;
    struct virtio_net_hdr hdr;
    uint8_t frame[66000];
};

static struct fixture *fixture_new(enum traffic_kind kind, bool offload_csum, unsigned takes)
{
    struct fixture *f = malloc(sizeof(*f));

    assert_non_null(f);
    traffic_source_init(&f->source, kind, 7, mac_b, mac_a);
    f->source.offload_csum = offload_csum;
    assert_int_equal(traffic_checker_init(&f->checker, 7, 1, takes), 0);
    return f;
}

static void fixture_free(struct fixture *f)
{
    traffic_checker_uninit(&f->checker);
    free(f);
}

static void send_number(struct fixture *f, uint64_t number, size_t len)
{
    f->source.next_number = number;
    traffic_frame_build(&f->source, f->frame, len, &f->hdr);
    traffic_check(&f->checker, &f->hdr, f->frame, len);
}

/* RFC 3720, B.4: 32 bytes of zeros, of ones, and rising. */
static void crc_vectors(void **state)
{
    uint8_t bytes[32];
    uint32_t crc;

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c_finish(crc32c_add(CRC32C_START, bytes, 32)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c_finish(crc32c_add(CRC32C_START, bytes, 32)), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c_finish(crc32c_add_portable(CRC32C_START, bytes, 32)), 0x46dd794e);
    for (size_t cut = 0; cut <= 32; cut++) {
        crc = crc32c_add(crc32c_add(CRC32C_START, bytes, cut), bytes + cut, 32 - cut);
        assert_int_equal(crc32c_finish(crc), 0x46dd794e);
    }
}

/* Equal numbered datagrams, as a switch that merges delivers them. */
static size_t build_merged(struct fixture *f, unsigned count, size_t len)
{
    static uint8_t single[2000];
    size_t headers = f->source.headers_len, each = len - headers, total = headers;
    uint64_t sum;

    for (unsigned i = 0; i < count; i++) {
        traffic_frame_build(&f->source, single, len, &f->hdr);
        memcpy(f->frame + total, single + headers, each);
        total += each;
    }
    memcpy(f->frame, single, headers);
    put_be16(f->frame + 18, (uint16_t)(total - 54)); /* IPv6: payload length */
    put_be16(f->frame + 58, (uint16_t)(total - 54)); /* UDP: length */
    sum = sum_pseudo_header(f->frame + 14, true, 17, total - 54);
    put_be16(f->frame + 60, sum_fold(sum));
    f->hdr = (struct virtio_net_hdr){.flags = VNET_HDR_F_NEEDS_CSUM,
                                     .gso_type = VNET_HDR_GSO_UDP_L4,
                                     .hdr_len = (uint16_t)headers,
                                     .gso_size = (uint16_t)each,
                                     .csum_start = 54,
                                     .csum_offset = 6};
    return total;
}

/* Each of them counts and is judged; one bad byte is seen, and only its frame is wrong. */
static void merged_numbered_frames_are_judged(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_UDP6, false, TRAFFIC_TAKES_CSUM | TRAFFIC_TAKES_USO);
    size_t len = build_merged(f, 5, 200);

    (void)state;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_string_equal(f->checker.first_wrong, "");
    assert_int_equal(f->checker.counts.frames, 5);
    assert_int_equal(f->checker.counts.merged, 5);
    assert_int_equal(f->checker.counts.super, 1);
    assert_int_equal(f->checker.counts.bytes, 5 * 200);
    assert_int_equal(traffic_lost(&f->checker, 7, 5), 0);

    len = build_merged(f, 3, 100);
    f->frame[len - 100] ^= 1;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 1);
    assert_int_equal(traffic_lost(&f->checker, 7, 8), 1);

    len = build_merged(f, 3, 100);
    f->hdr.gso_size++;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_true(f->checker.counts.altered > 1);
    fixture_free(f);
}

/* Every kind and every length, with and without checksum offload, is accepted as it was built. */
static void numbered_frames_are_right(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * CV_COUNT_OF(all_kinds); i++) {
        struct fixture *f = fixture_new(all_kinds[i / 2], i % 2, TRAFFIC_TAKES_CSUM);
        size_t len = traffic_frame_len_min(&f->source);
        uint64_t sent = 0;

        for (; len <= 1514; len++)
            send_number(f, sent++, len);
        assert_string_equal(f->checker.first_wrong, "");
        assert_int_equal(f->checker.counts.frames, sent);
        assert_int_equal(traffic_lost(&f->checker, 7, sent), 0);
        fixture_free(f);
    }
}

/* One bit turned anywhere in a frame is never taken for a good frame. */
static void every_bit_matters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(all_kinds); i++) {
        struct fixture *f = fixture_new(all_kinds[i], false, 0);
        size_t len = traffic_frame_len_min(&f->source) + 33;

        traffic_frame_build(&f->source, f->frame, len, &f->hdr);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            f->frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
            traffic_check(&f->checker, &f->hdr, f->frame, len);
            f->frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        /* a frame that changed its type or port is foreign, and then lost */
        assert_int_equal(f->checker.flows[0].distinct, 0);
        assert_int_equal(f->checker.counts.altered + f->checker.counts.foreign, 8 * len);
        assert_in_range(f->checker.counts.foreign, 16, 80);
        fixture_free(f);
    }
}

static void cut_and_longer_frames_are_altered(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_UDP4, false, 0);

    (void)state;
    traffic_frame_build(&f->source, f->frame, 300, &f->hdr);
    traffic_check(&f->checker, &f->hdr, f->frame, 299);
    traffic_check(&f->checker, &f->hdr, f->frame, 301);
    assert_int_equal(f->checker.counts.altered, 2);
    fixture_free(f);
}

static void order_is_judged(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_ETHER, false, 0);
    const struct traffic_counts *counts = &f->checker.counts;

    (void)state;
    send_number(f, 0, 60);
    send_number(f, 1, 60);
    send_number(f, 1, 60);
    assert_int_equal(counts->doubled, 1);
    send_number(f, 5, 60);
    assert_int_equal(counts->reordered, 0);
    assert_int_equal(traffic_lost(&f->checker, 7, 6), 3);
    send_number(f, 3, 60);
    assert_int_equal(counts->reordered, 1);
    assert_int_equal(traffic_lost(&f->checker, 7, 6), 2);
    send_number(f, 3, 60);
    assert_int_equal(counts->doubled, 2);
    assert_int_equal(counts->altered, 0);
    fixture_free(f);
}

/* The window of remembered numbers goes round many times, with holes. */
static void window_wraps(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_ETHER, false, 0);
    uint64_t sent = 5 * TRAFFIC_WINDOW + 17;

    (void)state;
    for (uint64_t i = 0; i < sent; i++) {
        if (i % 1000 != 999)
            send_number(f, i, 60);
    }
    assert_int_equal(traffic_lost(&f->checker, 7, sent), sent / 1000);
    send_number(f, sent + 3 * TRAFFIC_WINDOW, 60);
    send_number(f, sent + 3 * TRAFFIC_WINDOW - 9, 60);
    assert_int_equal(f->checker.counts.reordered, 1);
    assert_int_equal(f->checker.counts.doubled, 0);
    fixture_free(f);
}

static void streams_are_right(void **state)
{
    const unsigned all =
        TRAFFIC_TAKES_CSUM | TRAFFIC_TAKES_TSO4 | TRAFFIC_TAKES_TSO6 | TRAFFIC_TAKES_USO;
    static const size_t lens[] = {17, 1400, 1401 + 17, 20001, 64000};

    (void)state;
    for (unsigned k = 1; k < CV_COUNT_OF(all_kinds); k++) {
        struct fixture *f = fixture_new(all_kinds[k], false, all);
        uint64_t supers = 0;

        for (unsigned round = 0; round < 200; round++) {
            size_t payload = lens[round % CV_COUNT_OF(lens)];
            size_t len = traffic_stream_build(&f->source, f->frame, payload, 1400, &f->hdr);

            supers += f->hdr.gso_type != VNET_HDR_GSO_NONE;
            traffic_check(&f->checker, &f->hdr, f->frame, len);
        }
        assert_string_equal(f->checker.first_wrong, "");
        assert_int_equal(f->checker.counts.super, supers);
        assert_int_equal(traffic_lost_bytes(&f->checker, 7, f->source.next_offset), 0);
        fixture_free(f);
    }
}

/* A super-packet is wrong for a receiver that did not agree to it, or with a wrong request. */
static void wrong_super_packets_are_seen(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_TCP4, false, TRAFFIC_TAKES_CSUM);
    struct virtio_net_hdr hdr;
    size_t len = traffic_stream_build(&f->source, f->frame, 5000, 1400, &f->hdr);

    (void)state;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 1);
    f->checker.takes |= TRAFFIC_TAKES_TSO4;
    hdr = f->hdr;
    hdr.gso_size = 0;
    traffic_check(&f->checker, &hdr, f->frame, len);
    hdr.gso_size = 1401 + 60;
    traffic_check(&f->checker, &hdr, f->frame, len);
    hdr = f->hdr;
    hdr.flags = 0;
    traffic_check(&f->checker, &hdr, f->frame, len);
    hdr = f->hdr;
    hdr.csum_start++;
    traffic_check(&f->checker, &hdr, f->frame, len);
    f->frame[1000] ^= 1;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 6);
    f->frame[1000] ^= 1;
    traffic_check(&f->checker, &f->hdr, f->frame, len);
    assert_int_equal(f->checker.counts.altered, 6);
    assert_int_equal(traffic_lost_bytes(&f->checker, 7, 5000), 0);
    fixture_free(f);
}

static void stream_order_is_judged(void **state)
{
    struct fixture *f = fixture_new(TRAFFIC_TCP6, false, 0);
    uint8_t frames[4][1514];
    struct virtio_net_hdr hdr[4];
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        len = traffic_stream_build(&f->source, frames[i], 1000, 1400, &hdr[i]);
    traffic_check(&f->checker, &hdr[0], frames[0], len);
    traffic_check(&f->checker, &hdr[3], frames[3], len);
    assert_int_equal(traffic_lost_bytes(&f->checker, 7, 4000), 2000);
    traffic_check(&f->checker, &hdr[1], frames[1], len);
    assert_int_equal(f->checker.counts.reordered, 1);
    traffic_check(&f->checker, &hdr[2], frames[2], len);
    assert_int_equal(traffic_lost_bytes(&f->checker, 7, 4000), 0);
    traffic_check(&f->checker, &hdr[2], frames[2], len);
    assert_int_equal(f->checker.counts.doubled, 1);
    fixture_free(f);
}

/* --- rings --- */

struct ring_fixture {
    struct guest_ram ram;
    struct front_ring ring;
    uint16_t taken; /* the device's: next available entry */
    uint16_t used;  /* the device's: next used entry */
    unsigned seen;  /* frames shown to the visitor */
    size_t seen_len;
    uint8_t seen_bytes[4096];
};

static struct ring_fixture *ring_new(bool to_guest, bool event_idx, bool in_order)
{
    struct guest_ram_layout layouts[2] = {{0x100000, 1 << 20, 0}, {0x900000, 1 << 20, 4096}};
    struct front_ring_options options = {.size = 16,
                                         .slot_bytes = 2048,
                                         .hdr_bytes = VNET_HDR_BYTES,
                                         .to_guest = to_guest,
                                         .event_idx = event_idx,
                                         .in_order = in_order,
                                         .mergeable = true,
                                         .indirect = true};
    struct ring_fixture *f = calloc(1, sizeof(*f));
    struct error error;

    assert_non_null(f);
    assert_int_equal(guest_ram_init(&f->ram, layouts, 2, true, &error), 0);
    assert_int_equal(front_ring_init(&f->ring, &f->ram, &options, &error), 0);
    return f;
}

static void ring_free(struct ring_fixture *f)
{
    front_ring_uninit(&f->ring);
    guest_ram_uninit(&f->ram);
    free(f);
}

/* The device's view of a guest-physical address. */
static uint8_t *device_at(struct ring_fixture *f, uint64_t address)
{
    for (unsigned i = 0; i < f->ram.count; i++) {
        struct guest_ram_region *r = &f->ram.regions[i];

        if (address - r->layout.guest_address < r->layout.size)
            return r->bytes + (address - r->layout.guest_address);
    }
    fail_msg("address %#llx is in no region", (unsigned long long)address);
    return NULL;
}

/* Takes the next chain; copies between it and `bytes`, descriptor by descriptor. Returns its head.
 */
static uint16_t device_take(struct ring_fixture *f, uint8_t *bytes, size_t *len)
{
    uint16_t head = f->ring.avail->ring[f->taken++ & f->ring.mask], at = head;
    const struct front_desc *table = f->ring.desc;
    size_t done = 0, room = *len;

    if (table[at].flags & FRONT_DESC_INDIRECT) {
        table = (const struct front_desc *)device_at(f, table[at].guest_address);
        at = 0;
    }
    for (;; at = table[at].next) {
        size_t n = CV_MIN((size_t)table[at].len, room - done);

        if (table[at].flags & FRONT_DESC_WRITE)
            memcpy(device_at(f, table[at].guest_address), bytes + done, n);
        else
            memcpy(bytes + done, device_at(f, table[at].guest_address), n);
        done += n;
        if (!(table[at].flags & FRONT_DESC_NEXT))
            break;
    }
    *len = done;
    return head;
}

static void device_use(struct ring_fixture *f, uint32_t id, uint32_t len)
{
    f->ring.used->ring[f->used & f->ring.mask] = (struct front_used_elem){id, len};
    __atomic_store_n(&f->ring.used->index, ++f->used, __ATOMIC_RELEASE);
}

static void see(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
    struct ring_fixture *f = context;

    (void)hdr;
    f->seen++;
    f->seen_len = len;
    memcpy(f->seen_bytes, frame, len);
}

/* Whatever the cut, the device reads the bytes that were sent, in 1000 rounds over a ring of 16. */
static void sent_frames_survive_any_cut(void **state)
{
    static const struct front_cut cuts[] = {
        {.piece_count = 0},
        {.each_bytes = 20},
        {.piece_count = 3, .piece_bytes = {1, 11, 7}},
        {.piece_count = 1, .piece_bytes = {12}, .each_bytes = 3, .indirect = true},
        {.indirect = true},
    };

    (void)state;
    for (unsigned c = 0; c < CV_COUNT_OF(cuts); c++) {
        struct ring_fixture *f = ring_new(false, true, true);

        f->ring.cut = cuts[c];
        for (unsigned i = 0; i < 1000; i++) {
            uint8_t *room = front_ring_reserve(&f->ring), bytes[256];
            size_t len = sizeof(bytes);

            assert_non_null(room);
            for (unsigned b = 0; b < 40; b++)
                room[b] = (uint8_t)(i + b);
            assert_true(front_ring_commit(&f->ring, NULL, 40));
            front_ring_publish(&f->ring);
            device_use(f, device_take(f, bytes, &len), 0);
            assert_int_equal(len, 52);
            for (unsigned b = 0; b < 40; b++)
                assert_int_equal(bytes[12 + b], (uint8_t)(i + b));
            assert_int_equal(front_ring_reclaim(&f->ring), 1);
        }
        assert_int_equal(f->ring.stats.faults, 0);
        ring_free(f);
    }
}

static void full_ring_refuses(void **state)
{
    struct ring_fixture *f = ring_new(false, false, false);

    (void)state;
    f->ring.cut.each_bytes = 12; /* five descriptors for 48 bytes and the header */
    for (unsigned i = 0; i < 3; i++)
        assert_true(front_ring_commit(&f->ring, NULL, 48));
    assert_non_null(front_ring_reserve(&f->ring));
    assert_false(front_ring_commit(&f->ring, NULL, 48));
    f->ring.cut.each_bytes = 0;
    assert_true(front_ring_commit(&f->ring, NULL, 48));
    assert_null(front_ring_reserve(&f->ring));
    ring_free(f);
}

/* Frames in one buffer, in many, and in buffers that are cut themselves. */
static void received_frames_are_gathered(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 3; variant++) {
        struct ring_fixture *f = ring_new(true, false, true);

        f->ring.post_bytes = variant == 0 ? 2048 : 100;
        f->ring.cut.each_bytes = variant == 2 ? 60 : 0;
        front_ring_post(&f->ring, 16);
        for (unsigned i = 0; i < 500; i++) {
            uint8_t bytes[512] = {0};
            uint16_t heads[8], buffers = variant == 0 ? 1 : 5, lens[8];
            size_t total = 12 + 400 + i % 80, done = 0;

            for (size_t b = 12; b < total; b++)
                bytes[b] = (uint8_t)(b * 3 + i);
            bytes[10] = (uint8_t)buffers; /* num_buffers */
            for (unsigned n = 0; n < buffers; n++) {
                size_t len = CV_MIN(total - done, (size_t)f->ring.post_bytes);

                lens[n] = (uint16_t)len;
                heads[n] = device_take(f, bytes + done, &len);
                done += len;
            }
            for (unsigned n = 0; n < buffers; n++)
                device_use(f, heads[n], lens[n]);
            assert_int_equal(front_ring_receive(&f->ring, 16, see, f), 1);
            assert_int_equal(f->seen_len, total - 12);
            assert_memory_equal(f->seen_bytes, bytes + 12, total - 12);
        }
        assert_string_equal(f->ring.first_fault.text, "");
        ring_free(f);
    }
}

/* One wrong move of a device each; everyone is a fault. */
static void wrong_devices_are_seen(void **state)
{
    (void)state;
    for (unsigned wrong = 0; wrong < 8; wrong++) {
        struct ring_fixture *f = ring_new(true, false, wrong == 5);
        uint8_t bytes[64] = {[10] = wrong == 3 ? 0 : wrong == 4 ? 3 : 1};
        size_t len = sizeof(bytes);
        uint16_t first, second;

        front_ring_post(&f->ring, 8);
        first = device_take(f, bytes, &len);
        second = device_take(f, bytes, &len);
        if (wrong == 0)
            device_use(f, 16, 64); /* beyond the ring */
        else if (wrong == 1)
            device_use(f, 12, 64); /* never offered */
        else if (wrong == 2)
            device_use(f, first, 5000); /* longer than the buffer */
        else if (wrong == 3 || wrong == 4)
            device_use(f, first, 64); /* num_buffers 0, or of buffers that are not used */
        else if (wrong == 5)
            device_use(f, second, 64); /* not in order */
        else if (wrong == 6)
            device_use(f, first, 11); /* shorter than its header */
        else
            f->ring.used->index = 9; /* more than was offered */
        front_ring_receive(&f->ring, 16, see, f);
        if (wrong == 5)
            assert_int_equal(f->ring.stats.out_of_order, 1);
        assert_in_range(f->ring.stats.faults, 1, 2);
        ring_free(f);
    }
}

static void giving_back_twice_is_seen(void **state)
{
    struct ring_fixture *f = ring_new(false, false, false);
    uint8_t bytes[256];
    size_t len = sizeof(bytes);
    uint16_t head;

    (void)state;
    assert_true(front_ring_commit(&f->ring, NULL, 60));
    assert_true(front_ring_commit(&f->ring, NULL, 60));
    front_ring_publish(&f->ring);
    head = device_take(f, bytes, &len);
    device_use(f, head, 0);
    assert_int_equal(front_ring_reclaim(&f->ring), 1);
    device_use(f, head, 0);
    front_ring_reclaim(&f->ring);
    assert_int_equal(f->ring.stats.faults, 1);
    ring_free(f);
}

/* IN_ORDER: the last element of a batch stands for all before it. */
static void batches_are_reclaimed(void **state)
{
    struct ring_fixture *f = ring_new(false, false, true);
    uint16_t head = 0;

    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 7; i++)
            assert_true(front_ring_commit(&f->ring, NULL, 60));
        front_ring_publish(&f->ring);
        for (unsigned i = 0; i < 7; i++) {
            uint8_t bytes[256];
            size_t len = sizeof(bytes);

            head = device_take(f, bytes, &len);
        }
        f->ring.used->ring[f->used & f->ring.mask].id = head;
        f->used += 7;
        __atomic_store_n(&f->ring.used->index, f->used, __ATOMIC_RELEASE);
        assert_int_equal(front_ring_reclaim(&f->ring), 7);
    }
    assert_int_equal(f->ring.stats.faults, 0);
    ring_free(f);
}

/* Kicks are made when the device asks for them, by flag and by event index, and not otherwise. */
static void kicks_follow_the_device(void **state)
{
    (void)state;
    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        struct ring_fixture *f = ring_new(false, event_idx, false);
        uint16_t *avail_event = (uint16_t *)&f->ring.used->ring[16];

        *avail_event = 2;
        f->ring.used->flags = 1;
        for (unsigned i = 0; i < 6; i++) {
            if (i == 4)
                f->ring.used->flags = 0;
            assert_true(front_ring_commit(&f->ring, NULL, 60));
            front_ring_publish(&f->ring);
            assert_int_equal(f->ring.stats.kicks, event_idx ? i >= 2 : i >= 4 ? i - 3 : 0);
        }
        ring_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(numbered_frames_are_right),
        cmocka_unit_test(merged_numbered_frames_are_judged),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(cut_and_longer_frames_are_altered),
        cmocka_unit_test(order_is_judged),
        cmocka_unit_test(window_wraps),
        cmocka_unit_test(streams_are_right),
        cmocka_unit_test(wrong_super_packets_are_seen),
        cmocka_unit_test(stream_order_is_judged),
        cmocka_unit_test(sent_frames_survive_any_cut),
        cmocka_unit_test(full_ring_refuses),
        cmocka_unit_test(received_frames_are_gathered),
        cmocka_unit_test(wrong_devices_are_seen),
        cmocka_unit_test(giving_back_twice_is_seen),
        cmocka_unit_test(batches_are_reclaimed),
        cmocka_unit_test(kicks_follow_the_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

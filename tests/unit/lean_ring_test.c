/*
 * Goal: a ring whose descriptors stay as they are offers every buffer once at a time, takes every
 * one that comes back, in whatever order, and asks for and gives notifications as virtio says.
 * Method: the test is the device: it reads available entries and writes used elements in the same
 * memory, in order, shuffled, or wrongly, past the point where indices wrap. It keeps its own list
 * of what it holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lean_ring.h"

enum { SIZE = 16, SLOT_BYTES = 128, ROUNDS = 70000 / SIZE * 3 };

struct bed {
    struct guest_ram ram;
    struct front_ring ring;
    struct lean_ring lean;
    /* the device's */
    uint16_t seen_index, used_index;
    uint16_t held[SIZE]; /* heads that it has taken and not given back */
    unsigned held_count;
    uint64_t random;
};

static void bed_open(struct bed *bed, struct front_ring_options options)
{
    struct guest_ram_layout layout = {.guest_address = 0x10000, .size = 1 << 20};
    struct error error;

    memset(bed, 0, sizeof(*bed));
    bed->random = 1;
    options.size = SIZE;
    options.slot_bytes = SLOT_BYTES;
    options.hdr_bytes = VNET_HDR_BYTES;
    assert_int_equal(guest_ram_init(&bed->ram, &layout, 1, false, &error), 0);
    assert_int_equal(front_ring_init(&bed->ring, &bed->ram, &options, &error), 0);
    if (options.to_guest)
        assert_int_equal(front_ring_post(&bed->ring, SIZE), SIZE);
    lean_ring_init(&bed->lean, &bed->ring);
    for (unsigned head = 0; !options.to_guest && head < SIZE; head++)
        lean_ring_bind(&bed->lean, (uint16_t)head, 60 + head);
}

static void bed_close(struct bed *bed)
{
    front_ring_uninit(&bed->ring);
    guest_ram_uninit(&bed->ram);
}

static unsigned draw(struct bed *bed, unsigned below)
{
    bed->random = bed->random * UINT64_C(6364136223846793005) + 1;
    return (unsigned)(bed->random >> 33) % below;
}

/* Takes all that is offered; what it holds already must not be offered again. */
static unsigned device_take(struct bed *bed)
{
    uint16_t index = __atomic_load_n(&bed->ring.avail->index, __ATOMIC_ACQUIRE);
    unsigned count = 0;

    for (; bed->seen_index != index; bed->seen_index++, count++) {
        uint16_t head = bed->ring.avail->ring[bed->seen_index % SIZE];

        assert_true(head < SIZE);
        for (unsigned i = 0; i < bed->held_count; i++)
            assert_int_not_equal(bed->held[i], head);
        assert_true(bed->held_count < SIZE);
        assert_int_equal(bed->ring.desc[head].guest_address, bed->ring.slot_addresses[head]);
        bed->held[bed->held_count++] = head;
    }
    return count;
}

static void device_write(struct bed *bed, uint32_t id, uint32_t len)
{
    bed->ring.used->ring[bed->used_index++ % SIZE] = (struct front_used_elem){id, len};
}

static void device_publish(struct bed *bed)
{
    __atomic_store_n(&bed->ring.used->index, bed->used_index, __ATOMIC_RELEASE);
}

/* Gives `count` back, the oldest first or any; each is `len` of its head long. */
static void device_give(struct bed *bed, unsigned count, bool shuffled)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned at = shuffled ? draw(bed, bed->held_count) : 0;
        uint16_t head = bed->held[at];

        memmove(&bed->held[at], &bed->held[at + 1],
                (bed->held_count - at - 1) * sizeof(bed->held[0]));
        bed->held_count--;
        device_write(bed, head, 100 + head);
    }
    device_publish(bed);
}

static bool was_kicked(struct bed *bed)
{
    struct pollfd poll_fd = {.fd = bed->ring.kick_fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

/* --- orders --- */

static void receive_rounds(struct bed *bed, bool shuffled)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned count;

        device_take(bed);
        assert_int_equal(bed->held_count, SIZE);
        count = 1 + draw(bed, SIZE);
        device_give(bed, count, shuffled);
        assert_int_equal(lean_ring_used(&bed->lean), count);
        for (unsigned i = 0; i < count; i++) {
            struct lean_buffer ahead = lean_ring_peek(&bed->lean, 0);
            struct lean_buffer buffer = lean_ring_take(&bed->lean);

            assert_int_equal(buffer.len, 100 + buffer.head);
            assert_int_equal(ahead.head, buffer.head);
            assert_int_equal(ahead.len, buffer.len);
        }
        assert_int_equal(lean_ring_used(&bed->lean), 0);
        lean_ring_repost(&bed->lean);
    }
    assert_int_equal(bed->lean.faults, 0);
}

static void test_receive_in_order(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.to_guest = true, .event_idx = true});
    receive_rounds(&bed, false);
    assert_int_equal(bed.lean.out_of_order, 0);
    assert_false(bed.lean.is_permuted);
    bed_close(&bed);
}

static void test_receive_shuffled(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.to_guest = true});
    receive_rounds(&bed, true);
    assert_true(bed.lean.out_of_order > ROUNDS);
    bed_close(&bed);
}

/* What is offered is what lean_ring_head said, and free at that time. */
static void send_rounds(struct bed *bed, bool shuffled)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned count = draw(bed, lean_ring_free(&bed->lean) + 1), held = bed->held_count;
        uint16_t heads[SIZE];

        for (unsigned i = 0; i < count; i++)
            heads[i] = lean_ring_head(&bed->lean, i);
        lean_ring_offer(&bed->lean, count);
        assert_int_equal(device_take(bed), count);
        assert_int_equal(lean_ring_outstanding(&bed->lean), bed->held_count);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(bed->held[held + i], heads[i]);
            assert_int_equal(bed->ring.desc[heads[i]].len, 60 + heads[i]);
        }
        device_give(bed, draw(bed, bed->held_count + 1), shuffled);
        (void)lean_ring_reclaim(&bed->lean);
        assert_int_equal(lean_ring_outstanding(&bed->lean), bed->held_count);
    }
    assert_int_equal(bed->lean.faults, 0);
}

static void test_send_in_order(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.event_idx = true});
    send_rounds(&bed, false);
    assert_false(bed.lean.is_permuted);
    bed_close(&bed);
}

static void test_send_shuffled(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.event_idx = true});
    send_rounds(&bed, true);
    assert_true(bed.lean.is_permuted);
    bed_close(&bed);
}

/* IN_ORDER: one used element may stand for all before it, so the others are not read. */
static void test_send_batched(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.in_order = true});
    for (unsigned round = 0; round < ROUNDS; round++) {
        lean_ring_offer(&bed.lean, 5);
        assert_int_equal(device_take(&bed), 5);
        bed.ring.used->ring[bed.used_index % SIZE] = (struct front_used_elem){bed.held[4], 0};
        bed.used_index = (uint16_t)(bed.used_index + 5);
        bed.held_count = 0;
        device_publish(&bed);
        assert_int_equal(lean_ring_reclaim(&bed.lean), 5);
    }
    assert_int_equal(bed.lean.faults, 0);
    assert_false(bed.lean.is_permuted);
    bed_close(&bed);
}

/* --- a device that is wrong --- */

static void assert_fault(struct bed *bed, const char *words)
{
    assert_int_equal(bed->lean.faults, 1);
    assert_non_null(strstr(bed->lean.first_fault.text, words));
    bed_close(bed);
}

static void test_faults(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.to_guest = true});
    device_write(&bed, SIZE, 60);
    device_publish(&bed);
    assert_int_equal(lean_ring_used(&bed.lean), 1);
    assert_true(lean_ring_take(&bed.lean).head < SIZE);
    assert_fault(&bed, "no descriptor");

    bed_open(&bed, (struct front_ring_options){.to_guest = true});
    bed.used_index = SIZE + 1;
    device_publish(&bed);
    assert_int_equal(lean_ring_used(&bed.lean), 0);
    assert_fault(&bed, "ahead of what was offered");

    bed_open(&bed, (struct front_ring_options){.to_guest = true, .in_order = true});
    device_write(&bed, 3, 60);
    device_publish(&bed);
    assert_int_equal(lean_ring_used(&bed.lean), 1);
    (void)lean_ring_take(&bed.lean);
    assert_fault(&bed, "despite IN_ORDER");
}

/* --- notifications --- */

/* virtio 1.2, 2.7.7.2 and 2.7.10.1: an event index wants to be told when it is passed. */
static void test_kicks(void **state)
{
    struct bed bed;
    uint16_t *event;

    (void)state;
    bed_open(&bed, (struct front_ring_options){.event_idx = true});
    event = (uint16_t *)&bed.ring.used->ring[SIZE];
    for (unsigned round = 0; round < 70000; round++) {
        unsigned count = 1 + draw(&bed, SIZE - 1), ahead = draw(&bed, SIZE);

        *event = (uint16_t)(bed.lean.avail_index + ahead);
        lean_ring_offer(&bed.lean, count);
        assert_int_equal(was_kicked(&bed), ahead < count);
        if (ahead < count) {
            uint64_t kicks;

            assert_int_equal(read(bed.ring.kick_fd, &kicks, sizeof(kicks)), sizeof(kicks));
            assert_int_equal(kicks, 1);
        }
        device_take(&bed);
        device_give(&bed, bed.held_count, false);
        (void)lean_ring_reclaim(&bed.lean);
    }
    bed_close(&bed);

    bed_open(&bed, (struct front_ring_options){.event_idx = false});
    bed.ring.used->flags = 1; /* no kick, please */
    lean_ring_offer(&bed.lean, 1);
    assert_false(was_kicked(&bed));
    bed.ring.used->flags = 0;
    lean_ring_offer(&bed.lean, 1);
    assert_true(was_kicked(&bed));
    assert_int_equal(bed.ring.stats.kicks, 1);
    bed_close(&bed);
}

/* A device with these indices would call. */
static bool is_called(const struct bed *bed, uint16_t old, uint16_t new)
{
    uint16_t event = bed->ring.avail->ring[SIZE];

    if (!bed->lean.event_idx)
        return !(bed->ring.avail->flags & 1);
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static void check_declined(bool event_idx)
{
    struct bed bed;

    bed_open(&bed, (struct front_ring_options){.to_guest = true, .event_idx = event_idx});
    for (unsigned round = 0; round < 70000; round++) {
        uint16_t old = bed.used_index;
        unsigned count;

        device_take(&bed);
        count = 1 + draw(&bed, SIZE);
        device_give(&bed, count, false);
        assert_false(is_called(&bed, old, bed.used_index));
        for (unsigned i = 0; i < count; i++)
            (void)lean_ring_take(&bed.lean);
        lean_ring_repost(&bed.lean);
        lean_ring_calls_decline_again(&bed.lean);
    }
    bed_close(&bed);
}

static void test_calls_declined(void **state)
{
    (void)state;
    check_declined(true);
    check_declined(false);
}

static void check_requested(bool event_idx)
{
    struct bed bed;
    uint64_t one = 1;
    uint16_t old;

    bed_open(&bed, (struct front_ring_options){.to_guest = true, .event_idx = event_idx});
    device_take(&bed);
    assert_false(lean_ring_calls_request(&bed.lean));
    assert_true(bed.lean.wants_calls);
    old = bed.used_index;
    device_give(&bed, 1, false);
    assert_true(is_called(&bed, old, bed.used_index));
    assert_int_equal(lean_ring_calls_take(&bed.lean), 0);
    assert_int_equal(write(bed.ring.call_fd, &one, sizeof(one)), sizeof(one));
    assert_int_equal(lean_ring_calls_take(&bed.lean), 1);
    /* What came before it was asked for is said at once: nobody would call about it. */
    assert_true(lean_ring_calls_request(&bed.lean));
    lean_ring_calls_decline(&bed.lean);
    assert_false(bed.lean.wants_calls);
    old = bed.used_index;
    device_give(&bed, 3, false);
    assert_false(is_called(&bed, old, bed.used_index));
    bed_close(&bed);
}

static void test_calls_requested(void **state)
{
    (void)state;
    check_requested(true);
    check_requested(false);
}

static void test_description(void **state)
{
    struct bed bed;
    char text[256];

    (void)state;
    bed_open(&bed, (struct front_ring_options){.event_idx = true});
    lean_ring_offer(&bed.lean, 7);
    device_take(&bed);
    device_give(&bed, 3, false);
    (void)lean_ring_reclaim(&bed.lean);
    lean_ring_describe(&bed.lean, text, sizeof(text));
    assert_non_null(strstr(text, "available 7 "));
    assert_non_null(strstr(text, "used 3 "));
    assert_non_null(strstr(text, "looked at up to 3"));
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receive_in_order),
        cmocka_unit_test(test_receive_shuffled),
        cmocka_unit_test(test_send_in_order),
        cmocka_unit_test(test_send_shuffled),
        cmocka_unit_test(test_send_batched),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_kicks),
        cmocka_unit_test(test_calls_declined),
        cmocka_unit_test(test_calls_requested),
        cmocka_unit_test(test_description),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: calls and kicks are asked for and given exactly as virtio 1.2, 2.7.7 and 2.7.10 say, and no
 * notification that somebody waits for is ever missing. Method: all small cases of the event index
 * against the sentence of the specification, taken word by word; and all interleavings of a driver
 * that publishes and a device that falls asleep, one memory access at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/vhost_user.h"
#include "ring_bed.h"

#define EVENT_IDX VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX)

enum { SIZE = 8 };

static struct bed bed;
static struct bed_ring ring;
static struct virtq virtq;

static int setup_bed(void **state)
{
    static const struct bed_region region = {0, 8192};

    (void)state;
    bed_init(&bed, &region, 1);
    bed_ring_init(&ring, &bed, SIZE);
    return 0;
}

static int teardown_bed(void **state)
{
    (void)state;
    bed_uninit(&bed);
    return 0;
}

static void start(bool event_idx, uint16_t index)
{
    struct virtq_setup setup;
    enum guest_fault fault;

    ring.avail->idx = ring.used->idx = index;
    ring.used->flags = ring.avail->flags = 0;
    *bed_ring_avail_event(&ring) = *bed_ring_used_event(&ring) = 0;
    setup = bed_ring_setup(&ring, event_idx ? EVENT_IDX : 0);
    fault = virtq_start(&virtq, &setup);
    assert_int_equal(fault, GUEST_FAULT_NONE);
}

/*
 * "the device MUST send a used buffer notification if the idx field in the used ring (which
 * determined where that descriptor index was placed) was equal to used_event" (2.7.7.2): one of the
 * entries just published stands at used_event.
 */
static bool model_wants_call(uint16_t first, unsigned count, uint16_t used_event)
{
    for (unsigned i = 0; i < count; i++)
        if ((uint16_t)(first + i) == used_event)
            return true;
    return false;
}

static void calls_as_the_specification_says(void **state)
{
    static const uint16_t starts[] = {0, 1, 7, 8, 32760, 32767, 32768, 65520, 65528, 65535};
    unsigned calls = 0;

    (void)state;
    for (unsigned s = 0; s < CV_COUNT_OF(starts); s++) {
        for (unsigned count = 0; count <= SIZE; count++) {
            for (int event = -20; event <= 20; event++) {
                uint16_t used_event = (uint16_t)(starts[s] + event);
                bool wanted = model_wants_call(starts[s], count, used_event);

                start(true, starts[s]);
                *bed_ring_used_event(&ring) = used_event;
                for (unsigned i = 0; i < count; i++)
                    virtq_use(&virtq, 0, 0);
                assert_int_equal(virtq_publish(&virtq), wanted);
                assert_int_equal(ring.used->idx, (uint16_t)(starts[s] + count));
                calls += wanted;
            }
        }
    }
    assert_int_equal(calls, CV_COUNT_OF(starts) * SIZE * (SIZE + 1) / 2);
}

/* All 65536 places of the event against all of the index, one entry at a time. */
static void every_index_once(void **state)
{
    (void)state;
    start(true, 0);
    for (unsigned event = 0; event < 65536; event += 257) {
        unsigned calls = 0;

        *bed_ring_used_event(&ring) = (uint16_t)event;
        for (unsigned i = 0; i < 65536; i++) {
            virtq_use(&virtq, 0, 0);
            calls += virtq_publish(&virtq);
        }
        assert_int_equal(calls, 1);
    }
}

/* --- sleep: the race of 2.7.10.1 --- */

/*
 * The driver publishes `count` chains one at a time; between any two of its memory accesses the
 * device may do the whole of its own step. The driver's accesses for one chain: store the index;
 * read what the device asks for, and kick if so. The device: look; if nothing is there, enable
 * kicks; if something came in between, look again; else sleep until a kick.
 */
struct scenario {
    bool event_idx;
    unsigned chains;
    unsigned device_at; /* the driver's access before which the device falls asleep */
};

static bool driver_must_kick(bool event_idx, uint16_t old, uint16_t new)
{
    if (!event_idx)
        return !(ring.used->flags & VIRTQ_USED_F_NO_NOTIFY);
    return model_wants_call(old, (uint16_t)(new - old), *bed_ring_avail_event(&ring));
}

static unsigned device_take_all(void)
{
    enum guest_fault fault = GUEST_FAULT_NONE;
    unsigned count = virtq_available(&virtq, SIZE, &fault);

    assert_int_equal(fault, GUEST_FAULT_NONE);
    virtq_take(&virtq, count);
    return count;
}

/* Takes what is there and goes to sleep; returns how many were taken. */
static unsigned device_sleep(void)
{
    unsigned taken = 0;

    virtq_kicks_disable(&virtq);
    do
        taken += device_take_all();
    while (virtq_kicks_enable(&virtq, 1));
    return taken;
}

static void run_scenario(const struct scenario *scenario, uint16_t index)
{
    unsigned taken = 0, access = 0;
    bool asleep = false;

    start(scenario->event_idx, index);
    virtq_kicks_disable(&virtq);
    for (unsigned i = 0; i < scenario->chains; i++) {
        uint16_t old = ring.avail->idx;

        if (access++ == scenario->device_at) {
            taken += device_sleep();
            asleep = true;
        }
        bed_ring_offer(&ring, 0);
        if (access++ == scenario->device_at) {
            taken += device_sleep();
            asleep = true;
        }
        if (driver_must_kick(scenario->event_idx, old, ring.avail->idx) && asleep)
            taken += device_sleep();
    }
    if (!asleep)
        taken += device_sleep();
    assert_int_equal(taken, scenario->chains);
}

static void sleeping_device_misses_nothing(void **state)
{
    static const uint16_t starts[] = {0, 3, 65530, 65535};

    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++)
        for (unsigned s = 0; s < CV_COUNT_OF(starts); s++)
            for (unsigned chains = 1; chains <= SIZE; chains++)
                for (unsigned at = 0; at <= 2 * chains; at++)
                    run_scenario(&(struct scenario){event_idx, chains, at}, starts[s]);
}

/*
 * The device's own accesses taken apart: it stores its wish, then reads the index. A driver that
 * publishes before the store may see no wish, so the read must see its chain; one that publishes
 * after it sees the wish. Either way somebody acts.
 */
static void wish_and_look_are_in_order(void **state)
{
    (void)state;
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        start(event_idx, 65535);
        if (event_idx)
            *bed_ring_avail_event(&ring) = 1234;
        virtq_kicks_disable(&virtq);
        bed_ring_offer(&ring, 0);
        assert_false(driver_must_kick(event_idx, 65535, 0));
        assert_true(virtq_kicks_enable(&virtq, 1));

        start(event_idx, 65535);
        assert_false(virtq_kicks_enable(&virtq, 1));
        bed_ring_offer(&ring, 0);
        assert_true(driver_must_kick(event_idx, 65535, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_as_the_specification_says),
        cmocka_unit_test(every_index_once),
        cmocka_unit_test(sleeping_device_misses_nothing),
        cmocka_unit_test(wish_and_look_are_in_order),
    };

    return cmocka_run_group_tests(tests, setup_bed, teardown_bed);
}

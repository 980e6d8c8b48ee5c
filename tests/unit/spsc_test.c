/*
 * Goal: the ring between two threads keeps every word and its order, shows nothing before it is
 * published, and is full exactly at its capacity. Method: all fill levels round the wrap of its
 * counters, then two threads at full speed.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/spsc.h"

static void starts_at(struct spsc *ring, uint32_t capacity, uint32_t counter)
{
    assert_true(spsc_init(ring, capacity));
    ring->published = ring->pushed = ring->released_seen = ring->released = ring->popped = counter;
}

/* Every fill level, with counters that wrap in the middle. */
static void holds_its_capacity(void **state)
{
    struct spsc ring;

    (void)state;
    for (uint32_t capacity = 1; capacity <= 16; capacity *= 2) {
        for (uint32_t start = UINT32_MAX - 20; start != 20; start++) {
            starts_at(&ring, capacity, start);
            for (uint32_t i = 0; i < capacity; i++)
                assert_true(spsc_push(&ring, (uint64_t)start + i));
            assert_false(spsc_push(&ring, 0));
            assert_int_equal(spsc_count(&ring), 0);
            assert_true(spsc_publish(&ring));
            assert_false(spsc_publish(&ring));
            assert_int_equal(spsc_count(&ring), capacity);
            for (uint32_t i = 0; i < capacity; i++)
                assert_int_equal(spsc_pop(&ring), (uint64_t)start + i);
            assert_int_equal(spsc_count(&ring), 0);
            assert_false(spsc_push(&ring, 0)); /* popped, but not released */
            spsc_release(&ring);
            assert_true(spsc_push(&ring, 0));
            spsc_uninit(&ring);
        }
    }
}

/* What is pushed between two publications becomes visible with the second. */
static void publishes_in_groups(void **state)
{
    struct spsc ring;

    (void)state;
    starts_at(&ring, 8, 0);
    spsc_push(&ring, 1);
    spsc_publish(&ring);
    spsc_push(&ring, 2);
    spsc_push(&ring, 3);
    assert_int_equal(spsc_count(&ring), 1);
    spsc_publish(&ring);
    assert_int_equal(spsc_count(&ring), 3);
    spsc_uninit(&ring);
}

enum { WORDS = 2000000 };

static void *consume(void *context)
{
    struct spsc *ring = context;
    uint64_t expected = 0;

    while (expected < WORDS) {
        uint32_t count = spsc_count(ring);

        for (uint32_t i = 0; i < count; i++)
            if (spsc_pop(ring) != expected++)
                return NULL;
        spsc_release(ring);
        if (count == 0)
            sched_yield();
    }
    return ring;
}

static void two_threads(void **state)
{
    struct spsc ring;
    pthread_t thread;
    void *result;

    (void)state;
    starts_at(&ring, 64, UINT32_MAX - 1000);
    assert_int_equal(pthread_create(&thread, NULL, consume, &ring), 0);
    for (uint64_t word = 0; word < WORDS; word++) {
        while (!spsc_push(&ring, word)) {
            spsc_publish(&ring);
            sched_yield();
        }
        if (word % 7 == 0)
            spsc_publish(&ring);
    }
    spsc_publish(&ring);
    pthread_join(thread, &result);
    assert_ptr_equal(result, &ring);
    spsc_uninit(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_its_capacity),
        cmocka_unit_test(publishes_in_groups),
        cmocka_unit_test(two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

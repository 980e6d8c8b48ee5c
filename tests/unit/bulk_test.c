/*
 * Goal: a worker knows traffic that comes in bulk, whatever small bursts are in between, and goes
 * back to polling, for a while, when bursts fall apart because it slept. Method: bursts of known
 * sizes and silences, with a clock of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "convoy/bulk.h"

enum { POLL_NS = 200000, PIECE = 65536, LARGE = 5 * BULK_BYTES / 4, SETTLED = 200 };

static struct bulk bulk;
static uint64_t now_ns;

static int start(void **state)
{
    (void)state;
    bulk = (struct bulk){0};
    now_ns = 1000000;
    return 0;
}

static void take(uint64_t bytes)
{
    bulk_taken(&bulk, bytes, now_ns);
}

/* Looks in vain, a microsecond apart. */
static void silence(uint64_t silence_ns)
{
    for (; silence_ns >= 1000; silence_ns -= 1000)
        bulk_silent(&bulk, now_ns += 1000);
}

/* Bursts of so many bytes, in pieces of at most 64 KiB with looks in vain in between. */
static void bursts(unsigned count, uint64_t bytes)
{
    for (; count > 0; count--) {
        for (uint64_t left = bytes; left > 0;) {
            uint64_t piece = CV_MIN(left, PIECE);

            take(piece);
            silence(BULK_SILENCE_NS / 2);
            left -= piece;
        }
        silence(BULK_SILENCE_NS);
    }
}

static void assert_polls(uint64_t expected_ns)
{
    assert_int_equal(bulk_poll_ns(&bulk, POLL_NS), expected_ns);
}

static void large_bursts_are_bulk(void **state)
{
    (void)state;
    assert_polls(POLL_NS);
    bursts(SETTLED, LARGE);
    assert_polls(BULK_SILENCE_NS);
    /* Who is to poll less than that polls no more for it. */
    assert_int_equal(bulk_poll_ns(&bulk, 0), 0);
}

static void small_bursts_are_not(void **state)
{
    (void)state;
    bursts(SETTLED, 3 * BULK_BYTES / 4);
    assert_polls(POLL_NS);
    bursts(SETTLED, 64);
    assert_polls(POLL_NS);
}

static void a_few_are_no_judgement(void **state)
{
    (void)state;
    bursts(8, 4 * BULK_BYTES);
    assert_polls(POLL_NS);
}

static void acknowledgements_in_between_do_not_count(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETTLED; i++) {
        bursts(1, 2 * BULK_BYTES);
        bursts(3, 66);
    }
    assert_polls(BULK_SILENCE_NS);
}

static void nobody_looked_is_no_silence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETTLED; i++) {
        take(LARGE / 2);
        now_ns += 10 * BULK_SILENCE_NS;
        take(LARGE / 2);
        silence(BULK_SILENCE_NS);
    }
    assert_polls(BULK_SILENCE_NS);
}

static void bursts_that_fall_apart_are_polled_for_again(void **state)
{
    uint64_t fallen_ns;

    (void)state;
    bursts(SETTLED, LARGE);
    assert_polls(BULK_SILENCE_NS);
    bursts(SETTLED, PIECE);
    assert_polls(POLL_NS);
    fallen_ns = now_ns;
    /* Polling makes them large again; that is no reason yet. */
    bursts(SETTLED, LARGE);
    assert_true(now_ns - fallen_ns < BULK_AGAIN_NS / 2);
    assert_polls(POLL_NS);
    now_ns += BULK_AGAIN_NS;
    bursts(SETTLED, LARGE);
    assert_polls(BULK_SILENCE_NS);
}

static void a_burst_without_end_is_forgotten(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000000; i++)
        take(PIECE);
    bursts(2 * SETTLED, LARGE);
    assert_polls(BULK_SILENCE_NS);
    bursts(2 * SETTLED, 64);
    assert_polls(POLL_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(large_bursts_are_bulk, start),
        cmocka_unit_test_setup(small_bursts_are_not, start),
        cmocka_unit_test_setup(a_few_are_no_judgement, start),
        cmocka_unit_test_setup(acknowledgements_in_between_do_not_count, start),
        cmocka_unit_test_setup(nobody_looked_is_no_silence, start),
        cmocka_unit_test_setup(bursts_that_fall_apart_are_polled_for_again, start),
        cmocka_unit_test_setup(a_burst_without_end_is_forgotten, start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

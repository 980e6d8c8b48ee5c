/*
 * Goal: numbers for people have at most three digits and the right unit, at every edge.
 * Method: number, expected text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "../../cli/human.h"

static char text[HUMAN_BYTES_MAX];

static void test_counts(void **state)
{
    (void)state;
    assert_string_equal(human_count(0, text), "0");
    assert_string_equal(human_count(9999, text), "9999");
    assert_string_equal(human_count(10000, text), "10.0 k");
    assert_string_equal(human_count(99949, text), "99.9 k");
    assert_string_equal(human_count(99951, text), "100 k");
    assert_string_equal(human_count(999499, text), "999 k");
    assert_string_equal(human_count(999500, text), "1.00 M");
    assert_string_equal(human_count(1234567890, text), "1.23 G");
    assert_string_equal(human_count(UINT64_MAX, text), "18.4 E");
}

static void test_bytes(void **state)
{
    (void)state;
    assert_string_equal(human_bytes(0, text), "0 B");
    assert_string_equal(human_bytes(999, text), "999 B");
    assert_string_equal(human_bytes(1000, text), "1.00 kB");
    assert_string_equal(human_bytes(1500000, text), "1.50 MB");
    assert_string_equal(human_bytes(UINT64_MAX, text), "18.4 EB");
}

static void test_memory(void **state)
{
    (void)state;
    assert_string_equal(human_memory(0, text), "0 B");
    assert_string_equal(human_memory(UINT64_C(256) << 20, text), "256 MiB");
    assert_string_equal(human_memory(UINT64_C(3) << 29, text), "1.5 GiB");
    assert_string_equal(human_memory(1023, text), "1023 B");
}

static void test_durations(void **state)
{
    (void)state;
    assert_string_equal(human_duration(0, text), "0 ms");
    assert_string_equal(human_duration(0.35, text), "350 ms");
    assert_string_equal(human_duration(42.12, text), "42.1 s");
    assert_string_equal(human_duration(60, text), "1 min 0 s");
    assert_string_equal(human_duration(3599, text), "59 min 59 s");
    assert_string_equal(human_duration(7980, text), "2 h 13 min");
    assert_string_equal(human_duration(3 * 86400 + 4 * 3600, text), "3 d 4 h");
    assert_string_equal(human_duration(1e30, text), "46296 d 7 h");
}

static void test_ratios(void **state)
{
    (void)state;
    assert_string_equal(human_ratio(0, true, text), "0.00");
    assert_string_equal(human_ratio(0.00213, true, text), "0.0021");
    assert_string_equal(human_ratio(0.25, true, text), "0.25");
    assert_string_equal(human_ratio(12.34, true, text), "12.3");
    assert_string_equal(human_ratio(1234.4, true, text), "1234");
    assert_string_equal(human_ratio(0, false, text), "-");
}

static void test_times(void **state)
{
    (void)state;
    assert_string_equal(human_time(0, text), "0 us");
    assert_string_equal(human_time(-1, text), "0 us");
    assert_string_equal(human_time(5.2e-8, text), "52.0 ns");
    assert_string_equal(human_time(9.994e-7, text), "999 ns");
    assert_string_equal(human_time(9.996e-7, text), "1.00 us");
    assert_string_equal(human_time(5e-5, text), "50.0 us");
    assert_string_equal(human_time(0.1, text), "100 ms");
    assert_string_equal(human_time(2.3, text), "2.30 s");
    assert_string_equal(human_time(86400, text), "86400 s");
}

static void test_numbers(void **state)
{
    (void)state;
    assert_string_equal(human_number(0, text), "0");
    assert_string_equal(human_number(-3, text), "0");
    assert_string_equal(human_number(0.52, text), "0.52");
    assert_string_equal(human_number(12.34, text), "12.3");
    assert_string_equal(human_number(999.4, text), "999");
    assert_string_equal(human_number(999.6, text), "1.00 k");
    assert_string_equal(human_number(212345.6, text), "212 k");
    assert_string_equal(human_number(6e6, text), "6.00 M");
}

static void test_plain_numbers(void **state)
{
    (void)state;
    assert_string_equal(human_plain(0.1, text), "0.1");
    assert_string_equal(human_plain(1000, text), "1000");
    assert_string_equal(human_plain(0.001, text), "0.001");
    assert_string_equal(human_plain(123.456789, text), "123.456789");
}

static void test_percents(void **state)
{
    (void)state;
    assert_string_equal(human_percent(0, text), "0 %");
    assert_string_equal(human_percent(-0.1, text), "0 %");
    assert_string_equal(human_percent(0.0004, text), "under 0.1 %");
    assert_string_equal(human_percent(0.001, text), "0.1 %");
    assert_string_equal(human_percent(0.025, text), "2.5 %");
    assert_string_equal(human_percent(0.0994, text), "9.9 %");
    assert_string_equal(human_percent(0.0996, text), "10 %");
    assert_string_equal(human_percent(1.234, text), "123 %");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),   cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_durations),
        cmocka_unit_test(test_ratios),   cmocka_unit_test(test_times),
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_plain_numbers),
        cmocka_unit_test(test_percents),
    };

    return cmocka_run_group_tests_name("human", tests, NULL, NULL);
}

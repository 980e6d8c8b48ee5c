/*
 * Goal: quantiles are known to one bucket's width (3.2 %), never understated and never above the
 * largest value; counts, sums and maxima are exact; sums of histograms are histograms of all; and a
 * reader beside the writer sees nothing torn. Method: every bucket's edges, seeded random values of
 * all magnitudes against the sorted values, and two threads.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/histogram.h"

#define VALUE_END (UINT64_C(1) << HISTOGRAM_VALUE_BITS)

static struct histogram histogram;

static int set_up(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    return 0;
}

/* A deterministic sequence (xorshift64*). */
static uint64_t random_state = 1;
static uint64_t random_u64(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Buckets lie side by side, in order, without gaps, and none is wider than 1/32 of its values. */
static void buckets_tile_the_range(void **state)
{
    uint64_t first = 0;

    (void)state;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        uint64_t last = histogram_bucket_max(b);

        assert_true(last >= first);
        assert_int_equal(histogram_bucket(first), b);
        assert_int_equal(histogram_bucket(last), b);
        assert_int_equal(histogram_bucket(first + (last - first) / 2), b);
        if (b + 1 < HISTOGRAM_BUCKETS)
            assert_true((last - first) * 32 <= first);
        first = last + 1;
    }
    assert_int_equal(first, 0); /* the last reached UINT64_MAX */
    assert_int_equal(histogram_bucket(VALUE_END - 1), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(VALUE_END), HISTOGRAM_BUCKETS - 1);
}

static void empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_quantile(&histogram, 0), 0);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    assert_int_equal(histogram_quantile(&histogram, 1), 0);
    assert_true(histogram_mean(&histogram) == 0);
}

static void one_value_is_every_quantile(void **state)
{
    static const uint64_t values[] = {0, 1, 31, 32, 33, 1000, 123456789, VALUE_END - 1};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(values); i++) {
        set_up(NULL);
        histogram_record(&histogram, values[i], 3);
        assert_int_equal(histogram_quantile(&histogram, 0), values[i]);
        assert_int_equal(histogram_quantile(&histogram, 0.999), values[i]);
        assert_int_equal(histogram_quantile(&histogram, 1), values[i]);
        assert_true(histogram_mean(&histogram) == (double)values[i]);
        assert_int_equal(histogram.max, values[i]);
    }
}

/* Ranks fall between values as they should: of 1..10 the half does not exceed 5. */
static void ranks_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 10; value++)
        histogram_record(&histogram, value, 1);
    assert_int_equal(histogram_quantile(&histogram, 0), 1);
    assert_int_equal(histogram_quantile(&histogram, 0.1), 1);
    assert_int_equal(histogram_quantile(&histogram, 0.11), 2);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 5);
    assert_int_equal(histogram_quantile(&histogram, 0.9), 9);
    assert_int_equal(histogram_quantile(&histogram, 0.91), 10);
    assert_int_equal(histogram_quantile(&histogram, 1), 10);
    assert_true(histogram_mean(&histogram) == 5.5);
}

static void times_count_as_often(void **state)
{
    (void)state;
    histogram_record(&histogram, 10, 999);
    histogram_record(&histogram, 20, 1);
    assert_int_equal(histogram.count, 1000);
    assert_int_equal(histogram.sum, 10 * 999 + 20);
    assert_int_equal(histogram_quantile(&histogram, 0.999), 10);
    assert_int_equal(histogram_quantile(&histogram, 0.9991), 20);
    histogram_record(&histogram, 30, 0);
    assert_int_equal(histogram.count, 1000);
}

/* Beyond the range a value counts as large; the maximum, the sum and so the mean stay exact. */
static void beyond_the_range(void **state)
{
    (void)state;
    histogram_record(&histogram, 100, 9);
    histogram_record(&histogram, VALUE_END * 5, 1);
    assert_int_equal(histogram.max, VALUE_END * 5);
    assert_int_equal(histogram.sum, 900 + VALUE_END * 5);
    assert_int_equal(histogram_quantile(&histogram, 1), VALUE_END * 5);
    assert_true(histogram_quantile(&histogram, 0.9) <= 103);
}

static int compare_values(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

    return (first > second) - (first < second);
}

/* One quantile against the sorted values: the value itself, or at most 3.2 % more. */
static void check_quantile(const uint64_t *sorted, size_t count, double quantile)
{
    uint64_t got = histogram_quantile(&histogram, quantile), exact;
    size_t rank = 0;

    while (rank + 1 < count && (double)(rank + 1) < quantile * (double)count)
        rank++;
    exact = sorted[rank];
    if (got < exact || (double)got > (double)exact * 1.032)
        fail_msg("quantile %f of %zu values: %llu instead of %llu", quantile, count,
                 (unsigned long long)got, (unsigned long long)exact);
}

static void quantiles_against_sorted_values(void **state)
{
    static const double quantiles[] = {0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    static uint64_t values[5000];

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        size_t count = 1 + random_u64() % CV_COUNT_OF(values);
        /* Some rounds are of one magnitude, some of many. */
        unsigned bits_min = (unsigned)(random_u64() % HISTOGRAM_VALUE_BITS);
        unsigned bits_max =
            bits_min + (unsigned)(random_u64() % (HISTOGRAM_VALUE_BITS - bits_min)) + 1;
        uint64_t sum = 0;

        set_up(NULL);
        for (size_t i = 0; i < count; i++) {
            unsigned bits = bits_min + (unsigned)(random_u64() % (bits_max - bits_min));

            values[i] = random_u64() >> (63 - bits);
            histogram_record(&histogram, values[i], 1);
            sum += values[i];
        }
        qsort(values, count, sizeof(values[0]), compare_values);
        for (size_t i = 0; i < CV_COUNT_OF(quantiles); i++)
            check_quantile(values, count, quantiles[i]);
        assert_int_equal(histogram.count, count);
        assert_int_equal(histogram.max, values[count - 1]);
        assert_int_equal(histogram.sum, sum);
        assert_int_equal(histogram_quantile(&histogram, 1), values[count - 1]);
    }
}

/* Two histograms added are the histogram of all values, bucket by bucket. */
static void sums_are_histograms_of_all(void **state)
{
    static struct histogram parts[2], sum;

    (void)state;
    memset(parts, 0, sizeof(parts));
    memset(&sum, 0, sizeof(sum));
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t value = random_u64() >> (random_u64() % 40 + 24);
        uint64_t times = 1 + random_u64() % 3;

        histogram_record(&parts[random_u64() % 2], value, times);
        histogram_record(&histogram, value, times);
    }
    histogram_add(&sum, &parts[0]);
    histogram_add(&sum, &parts[1]);
    assert_memory_equal(&sum, &histogram, sizeof(sum));
}

/* --- a reader beside the writer --- */

enum { WRITES = 2000000 };

static void *write_values(void *context)
{
    for (unsigned i = 0; i < WRITES; i++)
        histogram_record(context, i & 1023, 1);
    return NULL;
}

static uint64_t bucket_sum(const struct histogram *of)
{
    uint64_t sum = 0;

    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        sum += of->buckets[b];
    return sum;
}

/* Counts only grow and are never wild; a copy answers every question within its values. */
static void a_reader_sees_whole_counts(void **state)
{
    static struct histogram copy;
    uint64_t last = 0;
    pthread_t writer;

    (void)state;
    assert_int_equal(pthread_create(&writer, NULL, write_values, &histogram), 0);
    while (last < WRITES) {
        memset(&copy, 0, sizeof(copy));
        histogram_add(&copy, &histogram);
        assert_true(copy.count >= last && copy.count <= WRITES);
        assert_true(bucket_sum(&copy) <= WRITES && copy.max <= 1023);
        assert_true(histogram_quantile(&copy, 0.5) <= 1023);
        assert_true(histogram_quantile(&copy, 1) <= 1023);
        last = copy.count;
    }
    pthread_join(writer, NULL);
    assert_int_equal(bucket_sum(&histogram), WRITES);
}

/* What such a copy may look like at worst: more counted than lie in the buckets yet. */
static void a_copy_ahead_of_its_buckets(void **state)
{
    (void)state;
    histogram_record(&histogram, 7, 10);
    histogram.count += 5;
    assert_int_equal(histogram_quantile(&histogram, 1), 7);
    memset(histogram.buckets, 0, sizeof(histogram.buckets));
    assert_int_equal(histogram_quantile(&histogram, 0), 7);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(buckets_tile_the_range, set_up),
        cmocka_unit_test_setup(empty_is_zero, set_up),
        cmocka_unit_test_setup(one_value_is_every_quantile, set_up),
        cmocka_unit_test_setup(ranks_are_exact, set_up),
        cmocka_unit_test_setup(times_count_as_often, set_up),
        cmocka_unit_test_setup(beyond_the_range, set_up),
        cmocka_unit_test_setup(quantiles_against_sorted_values, set_up),
        cmocka_unit_test_setup(sums_are_histograms_of_all, set_up),
        cmocka_unit_test_setup(a_reader_sees_whole_counts, set_up),
        cmocka_unit_test_setup(a_copy_ahead_of_its_buckets, set_up),
    };

    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}

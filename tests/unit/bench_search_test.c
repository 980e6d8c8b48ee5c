/*
 * Goal: the rate that the search reports is one that held, and the next one did not. Method: a
 * switch made of arithmetic, whose capacity, loss and hiccups are known; every trial is counted.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "search.h"

struct fake_switch {
    double capacity;      /* packets per second */
    double sender_max;    /* rates above are late */
    double ring_max;      /* of rates above, some is left unsent */
    unsigned hiccup_each; /* every n-th trial loses, whatever the rate; 0: none */
    unsigned end_at;      /* this trial ends the search; 0: none */
    bool silent;          /* nothing is sent */
    unsigned trials;
    double highest_tried;
};

static int trial(void *context, double rate, struct bench_result *ret_result, struct error *error)
{
    struct fake_switch *fake = context;
    bool hiccup = fake->hiccup_each > 0 && fake->trials % fake->hiccup_each == 0;

    fake->trials++;
    fake->highest_tried = fmax(fake->highest_tried, rate);
    if (fake->trials == fake->end_at)
        return error_set(error, -EINTR, "ended");
    *ret_result = (struct bench_result){.offered = rate, .sent = fake->silent ? 0 : 1000000};
    if (rate > fake->capacity)
        ret_result->lost = (uint64_t)(1e6 * (1 - fake->capacity / rate)) + 1;
    if (hiccup)
        ret_result->lost += 3;
    if (fake->sender_max > 0 && rate > fake->sender_max)
        ret_result->late = 10001;
    if (fake->ring_max > 0 && rate > fake->ring_max)
        ret_result->unsent = 10102; /* more than 1 % of sent and unsent */
    return 0;
}

static struct bench_result result;

static double search(struct fake_switch *fake, double rate_max, double loss_max)
{
    struct error error = {""};
    double rate = -1;

    memset(&result, 0, sizeof(result));
    assert_int_equal(search_rate(trial, fake, rate_max, loss_max, &rate, &result, &error), 0);
    if (rate > 0)
        assert_true(result.offered == rate);
    return rate;
}

static void assert_found(double rate, double capacity)
{
    if (rate > capacity || rate < capacity * 0.985)
        fail_msg("%g is not the capacity %g", rate, capacity);
}

static void finds_the_capacity(void **state)
{
    static const double capacities[] = {9.99e6, 5e6, 1234567, 300000, 20000};

    (void)state;
    for (unsigned i = 0; i < CV_COUNT_OF(capacities); i++) {
        struct fake_switch fake = {.capacity = capacities[i]};

        assert_found(search(&fake, 1e7, 0), capacities[i]);
        assert_int_equal(result.lost, 0);
        assert_in_range(fake.trials, 3, 40);
    }
}

static void a_rate_that_holds_at_once_needs_one_trial(void **state)
{
    struct fake_switch fake = {.capacity = 1e7};

    (void)state;
    assert_true(search(&fake, 1e7, 0) == 1e7);
    assert_int_equal(fake.trials, 1);
    assert_true(fake.highest_tried == 1e7);
}

/* At 5 % of loss allowed, 1 - capacity / rate = 0.05. */
static void a_share_of_loss_is_allowed(void **state)
{
    struct fake_switch fake = {.capacity = 2e6};

    (void)state;
    assert_found(search(&fake, 1e7, 0.05), 2e6 / 0.95);
    assert_true(result.lost > 0);
}

/* A single hiccup does not spoil the rate, for it is tried again. */
static void a_hiccup_is_forgiven(void **state)
{
    for (unsigned each = 2; each < 6; each++) {
        struct fake_switch fake = {.capacity = 4e6, .hiccup_each = each};

        assert_found(search(&fake, 1e7, 0), 4e6);
    }
    (void)state;
}

static void a_failed_rate_is_tried_twice_and_no_more(void **state)
{
    struct fake_switch fake = {.capacity = 0.5};

    (void)state;
    assert_true(search(&fake, 1024, 0) == 0);
    /* 1024, 512, ... 1, each twice, and then the search gives up */
    assert_int_equal(fake.trials, 22);
}

static void late_senders_do_not_prove_a_rate(void **state)
{
    struct fake_switch fake = {.capacity = 1e7, .sender_max = 3e6};

    (void)state;
    assert_found(search(&fake, 1e7, 0), 3e6);
}

static void what_stays_behind_does_not_prove_a_rate(void **state)
{
    struct fake_switch fake = {.capacity = 1e7, .ring_max = 3e6};

    (void)state;
    assert_found(search(&fake, 1e7, 0), 3e6);
}

static void nothing_sent_proves_nothing(void **state)
{
    struct fake_switch fake = {.capacity = 1e9, .silent = true};

    (void)state;
    assert_true(search(&fake, 1e6, 1) == 0);
    assert_true(search(&fake, 0, 1) == 0);
}

static void an_error_ends_it_with_what_was_found(void **state)
{
    struct error error = {""};
    double rate = -1;

    (void)state;
    for (unsigned end_at = 1; end_at <= 6; end_at++) {
        struct fake_switch fake = {.capacity = 6e6, .end_at = end_at};

        memset(&result, 0, sizeof(result));
        assert_int_equal(search_rate(trial, &fake, 1e7, 0, &rate, &result, &error), -EINTR);
        assert_string_equal(error.text, "ended");
        assert_int_equal(fake.trials, end_at);
        /* 10 (twice), 5, 7.5 (twice), 6.25 (twice) */
        assert_true(rate == (end_at <= 3 ? 0 : 5e6));
        assert_true(rate == 0 || result.offered == rate);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_capacity),
        cmocka_unit_test(a_rate_that_holds_at_once_needs_one_trial),
        cmocka_unit_test(a_share_of_loss_is_allowed),
        cmocka_unit_test(a_hiccup_is_forgiven),
        cmocka_unit_test(a_failed_rate_is_tried_twice_and_no_more),
        cmocka_unit_test(late_senders_do_not_prove_a_rate),
        cmocka_unit_test(what_stays_behind_does_not_prove_a_rate),
        cmocka_unit_test(nothing_sent_proves_nothing),
        cmocka_unit_test(an_error_ends_it_with_what_was_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: the control thread's loop calls back for what is ready and due, in order, and for nothing
 * that was removed meanwhile: not in the same round, and not after its memory is gone. Method: real
 * descriptors and timers; every scenario ends by itself, and a watchdog timer ends one that does
 * not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/reactor.h"

static struct reactor *reactor;

/* A watched eventfd that counts, and may do something to another when it is ready. */
struct probe {
    struct reactor_watch watch;
    unsigned count;
    struct probe *removes; /* removed and freed when this one is ready */
    bool stops;
};

struct alarm {
    struct reactor_timer timer;
    unsigned count;
    struct alarm *clears;
    struct alarm *sets; /* for now */
    uint64_t again_ns;  /* sets itself again after this; 0: no */
    bool stops;
    unsigned order; /* of all that went off */
};

static unsigned gone_off;
static struct probe *called_last;

static void watchdog_expired(struct reactor_timer *timer)
{
    (void)timer;
    fail_msg("the loop did not end by itself");
}

static struct reactor_timer watchdog = {.expired = watchdog_expired};

static int begin(void **state)
{
    (void)state;
    gone_off = 0;
    reactor = reactor_new();
    if (!reactor)
        return -1;
    reactor_timer_set(reactor, &watchdog, clock_now_ns() + UINT64_C(10000000000));
    return 0;
}

static int end(void **state)
{
    (void)state;
    reactor_timer_clear(&watchdog);
    reactor_free(reactor);
    return 0;
}

static void probe_free(struct probe *probe)
{
    reactor_remove(reactor, &probe->watch);
    close(probe->watch.fd);
    free(probe);
}

static void probe_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct probe *probe = CV_CONTAINER_OF(watch, struct probe, watch);
    uint64_t value;

    assert_true(epoll_events & EPOLLIN);
    assert_int_equal(read(watch->fd, &value, sizeof(value)), sizeof(value));
    probe->count++;
    called_last = probe;
    if (probe->removes) {
        probe_free(probe->removes);
        probe->removes = NULL;
    }
    if (probe->stops)
        reactor_stop(reactor);
}

static struct probe *probe_new(bool is_ready)
{
    struct probe *probe = calloc(1, sizeof(*probe));

    assert_non_null(probe);
    probe->watch = (struct reactor_watch){eventfd(is_ready, EFD_NONBLOCK), probe_ready};
    assert_true(probe->watch.fd >= 0);
    assert_int_equal(reactor_add(reactor, &probe->watch, EPOLLIN), 0);
    return probe;
}

static void alarm_expired(struct reactor_timer *timer)
{
    struct alarm *alarm = CV_CONTAINER_OF(timer, struct alarm, timer);

    assert_true(clock_now_ns() >= timer->due_ns);
    assert_false(timer->is_set);
    alarm->count++;
    alarm->order = ++gone_off;
    if (alarm->clears)
        reactor_timer_clear(&alarm->clears->timer);
    if (alarm->sets)
        reactor_timer_set(reactor, &alarm->sets->timer, clock_now_ns());
    if (alarm->again_ns)
        reactor_timer_set(reactor, timer, timer->due_ns + alarm->again_ns);
    if (alarm->stops || (alarm->again_ns && alarm->count == 5))
        reactor_stop(reactor);
}

static void alarm_set(struct alarm *alarm, uint64_t after_ns)
{
    alarm->timer.expired = alarm_expired;
    reactor_timer_set(reactor, &alarm->timer, clock_now_ns() + after_ns);
}

static void run(void)
{
    assert_int_equal(reactor_run(reactor), 0);
}

/* --- descriptors --- */

static void ready_descriptors_are_called(void **state)
{
    struct probe *ready = probe_new(true), *idle = probe_new(false), *last = probe_new(true);
    struct alarm stop = {.stops = true};

    (void)state;
    alarm_set(&stop, 1000000);
    run();
    assert_int_equal(ready->count, 1);
    assert_int_equal(last->count, 1);
    assert_int_equal(idle->count, 0);
    probe_free(ready);
    probe_free(idle);
    probe_free(last);
}

/* All are ready in one round; the first to be called removes and frees the others. */
static void removed_in_a_callback(void **state)
{
    struct probe *a = probe_new(true), *b = probe_new(true);
    struct alarm stop = {.stops = true};

    (void)state;
    a->removes = b;
    b->removes = a;
    alarm_set(&stop, 1000000);
    run();
    assert_int_equal(called_last->count, 1);
    probe_free(called_last);
}

static void modified_watch(void **state)
{
    struct probe *probe = probe_new(true);
    struct alarm stop = {.stops = true};

    (void)state;
    assert_int_equal(reactor_modify(reactor, &probe->watch, 0), 0);
    alarm_set(&stop, 2000000);
    run();
    assert_int_equal(probe->count, 0);
    probe_free(probe);
}

static void wrong_descriptor(void **state)
{
    struct reactor_watch watch = {-1, probe_ready};

    (void)state;
    assert_true(reactor_add(reactor, &watch, EPOLLIN) < 0);
}

static void stopped_by_a_descriptor(void **state)
{
    struct probe *probe = probe_new(true);

    (void)state;
    probe->stops = true;
    run();
    assert_int_equal(probe->count, 1);
    probe_free(probe);
}

/* --- timers --- */

static void timers_go_off_in_order(void **state)
{
    struct alarm alarms[5] = {0};

    (void)state;
    alarms[4].stops = true;
    alarm_set(&alarms[3], 3000000);
    alarm_set(&alarms[0], 0);
    alarm_set(&alarms[4], 4000000);
    alarm_set(&alarms[2], 2000000);
    alarm_set(&alarms[1], 1000000);
    run();
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(alarms[i].order, i + 1);
}

/* Moved later, moved earlier, cleared; clearing again does nothing. */
static void timers_are_moved_and_cleared(void **state)
{
    struct alarm moved = {0}, cleared = {0}, last = {.stops = true};

    (void)state;
    alarm_set(&moved, 0);
    alarm_set(&cleared, 0);
    alarm_set(&last, 3000000);
    alarm_set(&moved, 1000000);
    reactor_timer_clear(&cleared.timer);
    reactor_timer_clear(&cleared.timer);
    run();
    assert_int_equal(moved.count, 1);
    assert_int_equal(cleared.count, 0);
}

/* A callback clears another timer that is due as well, and sets one that is due at once. */
static void timers_change_timers(void **state)
{
    struct alarm first = {0}, victim = {0}, stop = {.stops = true};

    (void)state;
    first.clears = &victim;
    first.sets = &stop;
    stop.timer.expired = alarm_expired;
    alarm_set(&first, 0);
    alarm_set(&victim, 100);
    run();
    assert_int_equal(first.count, 1);
    assert_int_equal(victim.count, 0);
    assert_int_equal(stop.count, 1);
}

static void timer_sets_itself_again(void **state)
{
    struct alarm again = {.again_ns = 500000};
    uint64_t start_ns = clock_now_ns();

    (void)state;
    alarm_set(&again, 0);
    run();
    assert_int_equal(again.count, 5);
    assert_true(clock_now_ns() - start_ns >= 4 * 500000);
    reactor_timer_clear(&again.timer);
}

/* The list of timers survives removal at every place of it. */
static void any_timer_is_cleared(void **state)
{
    (void)state;
    for (unsigned cleared = 0; cleared < 8; cleared++) {
        struct alarm alarms[3] = {0}, stop = {.stops = true};
        unsigned count = 0;

        for (unsigned i = 0; i < 3; i++)
            alarm_set(&alarms[i], 0);
        alarm_set(&stop, 1000);
        for (unsigned i = 0; i < 3; i++)
            if (cleared >> i & 1)
                reactor_timer_clear(&alarms[i].timer);
        run();
        for (unsigned i = 0; i < 3; i++)
            count += alarms[i].count;
        assert_int_equal(count, 3 - (unsigned)__builtin_popcount(cleared));
        end(NULL);
        begin(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ready_descriptors_are_called, begin, end),
        cmocka_unit_test_setup_teardown(removed_in_a_callback, begin, end),
        cmocka_unit_test_setup_teardown(modified_watch, begin, end),
        cmocka_unit_test_setup_teardown(wrong_descriptor, begin, end),
        cmocka_unit_test_setup_teardown(stopped_by_a_descriptor, begin, end),
        cmocka_unit_test_setup_teardown(timers_go_off_in_order, begin, end),
        cmocka_unit_test_setup_teardown(timers_are_moved_and_cleared, begin, end),
        cmocka_unit_test_setup_teardown(timers_change_timers, begin, end),
        cmocka_unit_test_setup_teardown(timer_sets_itself_again, begin, end),
        cmocka_unit_test_setup_teardown(any_timer_is_cleared, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

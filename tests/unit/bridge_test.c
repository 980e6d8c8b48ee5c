/*
 * The bridge. Goal: every rule of bridge.h holds at its edge, and any number of threads may use it.
 * Method: single frames with a clock that the test moves; for the threads, three that learn, look
 * up, move and forget at once, run under ThreadSanitizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "bridge/bridge.h"

#define SECOND UINT64_C(1000000000)
#define START  (1000 * SECOND)
#define GUEST  UINT64_C(0x525400000000) /* and a number: a unicast address */

enum { A = 1, B = 2, C = 3 };

static struct bridge *bridge_make(unsigned entries_per_port_max)
{
    const struct bridge_config config = {
        .age_ns = BRIDGE_AGE_NS_DEFAULT,
        .entries_per_port_max = entries_per_port_max,
        .hash_seed = 0x1234,
    };
    struct bridge *bridge = bridge_new(&config);

    assert_non_null(bridge);
    return bridge;
}

static struct bridge_verdict forward(struct bridge *bridge, mac_addr src, mac_addr dst,
                                     unsigned from, uint64_t now_ns)
{
    return bridge_forward(bridge, dst, src, from, now_ns);
}

static void hear(struct bridge *bridge, mac_addr src, unsigned from, uint64_t now_ns)
{
    assert_int_equal(forward(bridge, src, MAC_BROADCAST, from, now_ns).way, BRIDGE_FLOOD);
}

/* Asks for an address without saying anything new: the source cannot be learnt. */
static struct bridge_verdict ask(struct bridge *bridge, mac_addr dst, uint64_t now_ns)
{
    return forward(bridge, 0, dst, PORTS_MAX - 1, now_ns);
}

static void expect_one(struct bridge_verdict verdict, unsigned port)
{
    assert_int_equal(verdict.way, BRIDGE_ONE);
    assert_int_equal(verdict.port, port);
}

static void expect_drop(struct bridge_verdict verdict, enum drop_reason reason)
{
    assert_int_equal(verdict.way, BRIDGE_DROP);
    assert_int_equal(verdict.reason, reason);
}

static struct bridge_stats stats_of(struct bridge *bridge)
{
    struct bridge_stats stats;

    bridge_read_stats(bridge, &stats);
    return stats;
}

static void test_flood_then_one(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    assert_int_equal(forward(bridge, GUEST + 1, GUEST + 2, A, START).way, BRIDGE_FLOOD);
    expect_one(forward(bridge, GUEST + 2, GUEST + 1, B, START), A);
    expect_one(forward(bridge, GUEST + 1, GUEST + 2, A, START), B);
    assert_int_equal(stats_of(bridge).learnt, 2);
    assert_int_equal(stats_of(bridge).entries, 2);
    bridge_free(bridge);
}

static void test_groups_are_flooded(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    assert_int_equal(ask(bridge, MAC_BROADCAST, START).way, BRIDGE_FLOOD);
    assert_int_equal(ask(bridge, UINT64_C(0x01005e000001), START).way, BRIDGE_FLOOD);
    assert_int_equal(ask(bridge, UINT64_C(0x333300000001), START).way, BRIDGE_FLOOD);
    bridge_free(bridge);
}

static void test_link_local_is_dropped(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    for (unsigned i = 0; i < 16; i++)
        expect_drop(ask(bridge, UINT64_C(0x0180c2000000) + i, START), DROP_LINK_LOCAL);
    assert_int_equal(ask(bridge, UINT64_C(0x0180c2000010), START).way, BRIDGE_FLOOD);
    assert_int_equal(ask(bridge, UINT64_C(0x0180c1ffffff), START).way, BRIDGE_FLOOD);
    assert_int_equal(ask(bridge, UINT64_C(0x0180c2000100), START).way, BRIDGE_FLOOD);
    bridge_free(bridge);
}

static void test_same_port_is_dropped(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    expect_drop(forward(bridge, GUEST + 2, GUEST + 1, A, START), DROP_SAME_PORT);
    expect_drop(forward(bridge, GUEST + 1, GUEST + 1, A, START), DROP_SAME_PORT);
    bridge_free(bridge);
}

static void test_what_is_never_learnt(void **state)
{
    static const mac_addr never[] = {0, MAC_BROADCAST, UINT64_C(0x01005e000001)};
    struct bridge *bridge = bridge_make(8);

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(never); i++) {
        hear(bridge, never[i], A, START);
        assert_int_equal(ask(bridge, never[i], START).way, BRIDGE_FLOOD);
    }
    assert_int_equal(stats_of(bridge).entries, 0);
    bridge_free(bridge);
}

static void test_ageing(void **state)
{
    const uint64_t age = BRIDGE_AGE_NS_DEFAULT;
    struct bridge *bridge = bridge_make(8);

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    expect_one(ask(bridge, GUEST + 1, START + age - 1), A);
    assert_int_equal(ask(bridge, GUEST + 1, START + age).way, BRIDGE_FLOOD);
    /* heard again at the same port after all that time */
    hear(bridge, GUEST + 1, A, START + age);
    expect_one(ask(bridge, GUEST + 1, START + 2 * age - 1), A);
    /* forgotten, so at another port it is new and has not moved */
    hear(bridge, GUEST + 1, B, START + 3 * age);
    expect_one(ask(bridge, GUEST + 1, START + 3 * age), B);
    assert_int_equal(stats_of(bridge).moved, 0);
    assert_int_equal(stats_of(bridge).learnt, 2);
    bridge_free(bridge);
}

/* A known address's time is not written more than once a second; at most that much is lost. */
static void test_refresh_step(void **state)
{
    const uint64_t age = BRIDGE_AGE_NS_DEFAULT;
    struct bridge *bridge = bridge_make(8);

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    hear(bridge, GUEST + 1, A, START + SECOND);
    assert_int_equal(ask(bridge, GUEST + 1, START + age).way, BRIDGE_FLOOD);
    hear(bridge, GUEST + 1, A, START + SECOND + 1);
    expect_one(ask(bridge, GUEST + 1, START + SECOND + age), A);
    bridge_free(bridge);
}

static void test_a_clock_that_is_behind(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    expect_one(ask(bridge, GUEST + 1, START - SECOND), A);
    hear(bridge, GUEST + 1, A, START - SECOND);
    expect_one(ask(bridge, GUEST + 1, START + BRIDGE_AGE_NS_DEFAULT - 1), A);
    bridge_free(bridge);
}

static void test_moving(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    hear(bridge, GUEST + 1, B, START + 1);
    expect_one(ask(bridge, GUEST + 1, START + 1), B);
    assert_int_equal(stats_of(bridge).moved, 1);
    assert_int_equal(stats_of(bridge).entries, 1);
    bridge_forget_port(bridge, A);
    expect_one(ask(bridge, GUEST + 1, START + 1), B);
    bridge_free(bridge);
}

/* One guest invents addresses: those of its neighbours stay. */
static void test_limit_of_a_port(void **state)
{
    struct bridge *bridge = bridge_make(8);
    unsigned known = 0;

    (void)state;
    hear(bridge, GUEST + 1, B, START);
    for (unsigned i = 0; i < 1000; i++)
        hear(bridge, GUEST + 0x10000 + i, A, START + 1 + i);
    for (unsigned i = 0; i < 1000; i++)
        known += ask(bridge, GUEST + 0x10000 + i, START + 1000).way == BRIDGE_ONE;
    assert_int_equal(known, 8);
    expect_one(ask(bridge, GUEST + 0x10000 + 999, START + 1000), A);
    expect_one(ask(bridge, GUEST + 1, START + 1000), B);
    assert_int_equal(stats_of(bridge).evicted, 992);
    assert_int_equal(stats_of(bridge).entries, 9);
    bridge_free(bridge);
}

static void test_limit_evicts_the_silent(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        hear(bridge, GUEST + i, A, START + i);
    for (unsigned i = 0; i < 8; i++) {
        if (i != 5)
            hear(bridge, GUEST + i, A, START + 2 * SECOND);
    }
    hear(bridge, GUEST + 100, A, START + 2 * SECOND);
    assert_int_equal(ask(bridge, GUEST + 5, START + 2 * SECOND).way, BRIDGE_FLOOD);
    for (unsigned i = 0; i < 8; i++) {
        if (i != 5)
            expect_one(ask(bridge, GUEST + i, START + 2 * SECOND), A);
    }
    bridge_free(bridge);
}

/* Also an address that moves to a port counts against that port's limit. */
static void test_limit_holds_for_moves(void **state)
{
    struct bridge *bridge = bridge_make(1);

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    hear(bridge, GUEST + 2, B, START);
    hear(bridge, GUEST + 1, B, START + 1);
    expect_one(ask(bridge, GUEST + 1, START + 1), B);
    assert_int_equal(ask(bridge, GUEST + 2, START + 1).way, BRIDGE_FLOOD);
    assert_int_equal(stats_of(bridge).entries, 1);
    bridge_free(bridge);
}

/*
 * Greedy ports fill the table to the last place; a quiet port's addresses are learnt all the same,
 * and stay while the greedy go on.
 */
static void test_full_table_is_fair(void **state)
{
    struct bridge *bridge = bridge_make(BRIDGE_PORT_ENTRIES_MAX);
    const unsigned greedy = BRIDGE_ENTRIES_MAX / BRIDGE_PORT_ENTRIES_MAX + 4;
    uint64_t entries_before;

    (void)state;
    for (unsigned i = 0; i < greedy * BRIDGE_PORT_ENTRIES_MAX; i++)
        hear(bridge, GUEST + 0x100000 + i, 10 + i % greedy, START + i);
    entries_before = stats_of(bridge).entries;
    assert_true(entries_before * 100 > UINT64_C(98) * BRIDGE_ENTRIES_MAX);
    for (unsigned i = 0; i < 64; i++)
        hear(bridge, GUEST + i, A, START + SECOND);
    for (unsigned i = 0; i < greedy * BRIDGE_PORT_ENTRIES_MAX; i++)
        hear(bridge, GUEST + 0x1000000 + i, 10 + i % greedy, START + SECOND + i);
    for (unsigned i = 0; i < 64; i++)
        expect_one(ask(bridge, GUEST + i, START + 2 * SECOND), A);
    assert_true(stats_of(bridge).entries <= BRIDGE_ENTRIES_MAX);
    bridge_free(bridge);
}

static void test_statics(void **state)
{
    struct bridge *bridge = bridge_make(1);

    (void)state;
    assert_int_equal(bridge_add_static(bridge, GUEST + 1, A), 0);
    assert_int_equal(bridge_add_static(bridge, GUEST + 2, A), 0);
    assert_int_equal(bridge_add_static(bridge, GUEST + 1, A), 0);
    assert_int_equal(bridge_add_static(bridge, GUEST + 1, B), -EEXIST);
    assert_int_equal(bridge_add_static(bridge, 0, A), -EINVAL);
    assert_int_equal(bridge_add_static(bridge, MAC_BROADCAST, A), -EINVAL);
    assert_int_equal(bridge_add_static(bridge, UINT64_C(1) << 48 | GUEST, A), -EINVAL);
    /* neither heard nor moved nor aged, nor counted against the limit */
    hear(bridge, GUEST + 1, B, START);
    hear(bridge, GUEST + 3, A, START);
    expect_one(ask(bridge, GUEST + 1, START + 10 * BRIDGE_AGE_NS_DEFAULT), A);
    expect_one(ask(bridge, GUEST + 2, START), A);
    expect_one(ask(bridge, GUEST + 3, START), A);
    assert_int_equal(stats_of(bridge).entries, 3);
    assert_int_equal(bridge_remove_static(bridge, GUEST + 1), 0);
    assert_int_equal(bridge_remove_static(bridge, GUEST + 1), -ENOENT);
    assert_int_equal(bridge_remove_static(bridge, GUEST + 3), -ENOENT);
    assert_int_equal(ask(bridge, GUEST + 1, START).way, BRIDGE_FLOOD);
    bridge_free(bridge);
}

static void test_static_replaces_learnt(void **state)
{
    struct bridge *bridge = bridge_make(1);

    (void)state;
    hear(bridge, GUEST + 1, B, START);
    assert_int_equal(bridge_add_static(bridge, GUEST + 1, A), 0);
    expect_one(ask(bridge, GUEST + 1, START), A);
    assert_int_equal(stats_of(bridge).entries, 1);
    bridge_forget_port(bridge, B);
    expect_one(ask(bridge, GUEST + 1, START), A);
    bridge_free(bridge);
}

static void test_statics_have_a_limit(void **state)
{
    struct bridge *bridge = bridge_make(1);

    (void)state;
    for (unsigned i = 0; i < BRIDGE_STATIC_ENTRIES_MAX; i++)
        assert_int_equal(bridge_add_static(bridge, GUEST + i, A), 0);
    assert_int_equal(bridge_add_static(bridge, GUEST + 0x10000, A), -ENOSPC);
    assert_int_equal(bridge_remove_static(bridge, GUEST + 7), 0);
    assert_int_equal(bridge_add_static(bridge, GUEST + 0x10000, A), 0);
    bridge_forget_port(bridge, A);
    assert_int_equal(stats_of(bridge).entries, 0);
    assert_int_equal(bridge_add_static(bridge, GUEST + 7, B), 0);
    bridge_free(bridge);
}

static void test_flushing_a_port(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        hear(bridge, GUEST + i, i % 2 == 0 ? A : B, START);
    assert_int_equal(bridge_add_static(bridge, GUEST + 4, A), 0);
    bridge_flush_port(bridge, A);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask(bridge, GUEST + i, START).way, i % 2 == 0 ? BRIDGE_FLOOD : BRIDGE_ONE);
    expect_one(ask(bridge, GUEST + 4, START), A);
    bridge_free(bridge);
}

static void test_forgetting_a_port(void **state)
{
    struct bridge *bridge = bridge_make(8);

    (void)state;
    for (unsigned i = 0; i < 6; i++)
        hear(bridge, GUEST + i, i % 2 == 0 ? A : B, START);
    assert_int_equal(bridge_add_static(bridge, GUEST + 6, A), 0);
    bridge_forget_port(bridge, A);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(ask(bridge, GUEST + i, START).way, i % 2 == 0 ? BRIDGE_FLOOD : BRIDGE_ONE);
    assert_int_equal(stats_of(bridge).entries, 3);
    bridge_free(bridge);
}

struct seen {
    unsigned count, statics;
    uint64_t age_ns_max;
};

static void note_entry(const struct bridge_entry *entry, void *context)
{
    struct seen *seen = context;

    seen->count++;
    seen->statics += entry->is_static;
    seen->age_ns_max = CV_MAX(seen->age_ns_max, entry->age_ns);
    assert_int_equal(entry->port, entry->mac == GUEST + 1 ? A : B);
}

static void test_for_each(void **state)
{
    struct bridge *bridge = bridge_make(8);
    struct seen seen = {0};

    (void)state;
    hear(bridge, GUEST + 1, A, START);
    hear(bridge, GUEST + 2, B, START + 5 * SECOND);
    assert_int_equal(bridge_add_static(bridge, GUEST + 3, B), 0);
    bridge_for_each(bridge, START + 7 * SECOND, note_entry, &seen);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.statics, 1);
    assert_true(seen.age_ns_max == 7 * SECOND);
    seen = (struct seen){0};
    bridge_for_each(bridge, START + BRIDGE_AGE_NS_DEFAULT, note_entry, &seen);
    assert_int_equal(seen.count, 2);
    bridge_free(bridge);
}

/* -- Threads. -- */

enum { THREAD_ROUNDS = 200000, THREAD_MACS = 3000, STEADY_MACS = 64 };

struct shared {
    struct bridge *bridge;
    pthread_barrier_t start;
    _Atomic unsigned running;
    _Atomic unsigned wrong; /* verdicts that no order of events allows */
};

struct talker {
    struct shared *shared;
    unsigned port;
};

/*
 * Three kinds of address: steady ones (numbers below STEADY_MACS) are static at port C; the
 * talkers' own (port << 16) are only ever heard at their port; roaming ones (1 << 24) are heard at
 * both. The limit is far below the number of own addresses, so that slots change hands all the
 * time.
 */
static void check_verdict(struct shared *shared, mac_addr dst, struct bridge_verdict verdict,
                          unsigned from)
{
    unsigned number = (unsigned)(dst - GUEST);
    unsigned owner = number >> 16;
    bool good;

    if (number < STEADY_MACS)
        good = verdict.way == BRIDGE_ONE && verdict.port == C;
    else if (verdict.way == BRIDGE_FLOOD)
        good = true;
    else if (verdict.way == BRIDGE_DROP)
        good = verdict.reason == DROP_SAME_PORT && (owner == from || owner == 1 << 8);
    else
        good = owner == 1 << 8 ? verdict.port == A || verdict.port == B : verdict.port == owner;
    if (!good)
        atomic_fetch_add(&shared->wrong, 1);
}

static void *talk(void *argument)
{
    const struct talker *talker = argument;
    struct shared *shared = talker->shared;
    uint64_t random = talker->port * UINT64_C(0x9e3779b97f4a7c15);

    (void)pthread_barrier_wait(&shared->start);
    for (unsigned i = 0; i < THREAD_ROUNDS; i++) {
        mac_addr src, dst;
        unsigned n;

        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        n = (unsigned)(random >> 33);
        src = GUEST + (n % 8 == 0 ? 1 << 24 : talker->port << 16) + n / 8 % THREAD_MACS;
        dst = GUEST + (n % 3 == 0   ? n % STEADY_MACS
                       : n % 3 == 1 ? (1 << 24) + n / 64 % THREAD_MACS
                                    : ((A + B - talker->port) << 16) + n / 64 % THREAD_MACS);
        check_verdict(shared, dst,
                      forward(shared->bridge, src, dst, talker->port, START + (uint64_t)i * 1000),
                      talker->port);
    }
    atomic_fetch_sub(&shared->running, 1);
    return NULL;
}

static void count_entry(const struct bridge_entry *entry, void *context)
{
    unsigned *counts = context;

    counts[entry->port]++;
}

static void test_threads(void **state)
{
    struct shared shared = {.bridge = bridge_make(256)};
    struct talker talkers[2] = {{&shared, A}, {&shared, B}};
    unsigned counts[PORTS_MAX] = {0};
    pthread_t threads[2];

    (void)state;
    atomic_store(&shared.running, 2);
    assert_int_equal(pthread_barrier_init(&shared.start, NULL, 3), 0);
    for (unsigned i = 0; i < STEADY_MACS; i++)
        assert_int_equal(bridge_add_static(shared.bridge, GUEST + i, C), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, &talkers[i]), 0);
    (void)pthread_barrier_wait(&shared.start);
    for (unsigned i = 0; atomic_load(&shared.running) > 0; i++) {
        bridge_forget_port(shared.bridge, i % 2 == 0 ? A : B);
        memset(counts, 0, sizeof(counts));
        bridge_for_each(shared.bridge, START, count_entry, counts);
        assert_int_equal(counts[C], STEADY_MACS);
        assert_true(stats_of(shared.bridge).entries >= STEADY_MACS);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&shared.wrong), 0);

    /* At rest the books balance. */
    memset(counts, 0, sizeof(counts));
    bridge_for_each(shared.bridge, START, count_entry, counts);
    assert_true(counts[A] <= 256 && counts[B] <= 256);
    assert_int_equal(counts[A] + counts[B] + counts[C], stats_of(shared.bridge).entries);
    assert_true(stats_of(shared.bridge).learnt > 1000);
    (void)pthread_barrier_destroy(&shared.start);
    bridge_free(shared.bridge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_then_one),
        cmocka_unit_test(test_groups_are_flooded),
        cmocka_unit_test(test_link_local_is_dropped),
        cmocka_unit_test(test_same_port_is_dropped),
        cmocka_unit_test(test_what_is_never_learnt),
        cmocka_unit_test(test_ageing),
        cmocka_unit_test(test_refresh_step),
        cmocka_unit_test(test_a_clock_that_is_behind),
        cmocka_unit_test(test_moving),
        cmocka_unit_test(test_limit_of_a_port),
        cmocka_unit_test(test_limit_evicts_the_silent),
        cmocka_unit_test(test_limit_holds_for_moves),
        cmocka_unit_test(test_full_table_is_fair),
        cmocka_unit_test(test_statics),
        cmocka_unit_test(test_static_replaces_learnt),
        cmocka_unit_test(test_statics_have_a_limit),
        cmocka_unit_test(test_flushing_a_port),
        cmocka_unit_test(test_forgetting_a_port),
        cmocka_unit_test(test_for_each),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

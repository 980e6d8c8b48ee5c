/*
 * The bridge against an obvious model: one array of entries in the order of learning, searched from
 * end to end. Goal: after any sequence of frames, bindings, removals and passing time both say the
 * same, about verdicts, counters and the table's contents. Method: seeded random operations on few
 * ports and few addresses, so that limits, ages and moves meet often; a failure prints its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/bridge.h"

enum { PORTS = 5, MACS = 80, ENTRIES = 2 * MACS, SEEDS = 60, STEPS = 8000 };

#define SECOND UINT64_C(1000000000)

struct model_entry {
    mac_addr mac;
    unsigned port;
    bool is_static;
    uint64_t seen_ns;
};

struct model {
    struct bridge_config config;
    struct model_entry entries[ENTRIES]; /* oldest binding first */
    unsigned count;
    struct bridge_stats stats;
};

static uint64_t silence_ns(const struct model_entry *entry, uint64_t now_ns)
{
    return now_ns > entry->seen_ns ? now_ns - entry->seen_ns : 0;
}

static bool is_live(const struct model *model, const struct model_entry *entry, uint64_t now_ns)
{
    return entry->is_static || silence_ns(entry, now_ns) < model->config.age_ns;
}

static struct model_entry *model_find(struct model *model, mac_addr mac)
{
    for (unsigned i = 0; i < model->count; i++) {
        if (model->entries[i].mac == mac)
            return &model->entries[i];
    }
    return NULL;
}

static void model_remove(struct model *model, struct model_entry *entry)
{
    struct model_entry *end = &model->entries[--model->count];

    memmove(entry, entry + 1, (size_t)(end - entry) * sizeof(*entry));
}

static void model_append(struct model *model, mac_addr mac, unsigned port, bool is_static,
                         uint64_t now_ns)
{
    assert_true(model->count < ENTRIES);
    model->entries[model->count++] =
        (struct model_entry){.mac = mac, .port = port, .is_static = is_static, .seen_ns = now_ns};
}

/* A port at its limit forgets, of its eight oldest bindings, the one seen longest ago. */
static void model_keep_limit(struct model *model, unsigned port, uint64_t now_ns)
{
    struct model_entry *victim = NULL;
    unsigned own = 0;

    for (unsigned i = 0; i < model->count; i++) {
        struct model_entry *entry = &model->entries[i];

        if (entry->is_static || entry->port != port)
            continue;
        if (own++ < 8 && (victim == NULL || entry->seen_ns < victim->seen_ns))
            victim = entry;
    }
    if (own < model->config.entries_per_port_max)
        return;
    assert(victim != NULL);
    model->stats.evicted += is_live(model, victim, now_ns);
    model_remove(model, victim);
}

static void model_learn(struct model *model, mac_addr mac, unsigned from, uint64_t now_ns)
{
    uint64_t step_ns = CV_MIN(model->config.age_ns / 8, SECOND);
    struct model_entry *entry = model_find(model, mac);
    bool moved = false;

    if (mac == 0 || (mac & MAC_MULTICAST_BIT) != 0 || (entry != NULL && entry->is_static))
        return;
    if (entry != NULL && entry->port == from) {
        if (silence_ns(entry, now_ns) > step_ns)
            entry->seen_ns = now_ns;
        return;
    }
    if (entry != NULL) {
        moved = is_live(model, entry, now_ns);
        model_remove(model, entry);
    }
    model_keep_limit(model, from, now_ns);
    model_append(model, mac, from, false, now_ns);
    model->stats.moved += moved;
    model->stats.learnt += !moved;
}

static struct bridge_verdict model_forward(struct model *model, mac_addr src, mac_addr dst,
                                           unsigned from, uint64_t now_ns)
{
    const struct model_entry *entry;

    model_learn(model, src, from, now_ns);
    if (dst >= UINT64_C(0x0180c2000000) && dst <= UINT64_C(0x0180c200000f))
        return (struct bridge_verdict){.way = BRIDGE_DROP, .reason = DROP_LINK_LOCAL};
    entry = model_find(model, dst);
    if (entry == NULL || !is_live(model, entry, now_ns))
        return (struct bridge_verdict){.way = BRIDGE_FLOOD};
    if (entry->port == from)
        return (struct bridge_verdict){.way = BRIDGE_DROP, .reason = DROP_SAME_PORT};
    return (struct bridge_verdict){.way = BRIDGE_ONE, .port = entry->port};
}

static int model_add_static(struct model *model, mac_addr mac, unsigned port)
{
    struct model_entry *entry = model_find(model, mac);

    if (mac == 0 || (mac & MAC_MULTICAST_BIT) != 0)
        return -EINVAL;
    if (entry != NULL && entry->is_static)
        return entry->port == port ? 0 : -EEXIST;
    if (entry != NULL)
        model_remove(model, entry);
    model_append(model, mac, port, true, 0);
    return 0;
}

static int model_remove_static(struct model *model, mac_addr mac)
{
    struct model_entry *entry = model_find(model, mac);

    if (entry == NULL || !entry->is_static)
        return -ENOENT;
    model_remove(model, entry);
    return 0;
}

static void model_forget_port(struct model *model, unsigned port)
{
    for (unsigned i = model->count; i > 0; i--) {
        if (model->entries[i - 1].port == port)
            model_remove(model, &model->entries[i - 1]);
    }
}

/* -- Both side by side. -- */

struct trial {
    uint64_t seed;
    uint64_t random;
    unsigned step;
    uint64_t now_ns;
    struct model model;
    struct bridge *bridge;
    unsigned visited;
};

static unsigned draw(struct trial *trial, unsigned below)
{
    trial->random = trial->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)((trial->random >> 33) % below);
}

/* Mostly guests' addresses, sometimes one with a meaning of its own. */
static mac_addr draw_mac(struct trial *trial)
{
    static const mac_addr special[] = {0,
                                       MAC_BROADCAST,
                                       UINT64_C(0x01005e000001),
                                       UINT64_C(0x0180c2000000),
                                       UINT64_C(0x0180c200000f),
                                       UINT64_C(0x0180c2000010),
                                       UINT64_C(0x000000000001),
                                       UINT64_C(0xfeffffffffff)};

    if (draw(trial, 16) == 0)
        return special[draw(trial, CV_COUNT_OF(special))];
    return UINT64_C(0x525400000000) + draw(trial, MACS - 2);
}

#define expect(trial, condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu, step %u: %s", (unsigned long long)(trial)->seed, (trial)->step,   \
                     #condition);                                                                  \
    } while (0)

static void step_forward(struct trial *trial)
{
    const mac_addr src = draw_mac(trial), dst = draw_mac(trial);
    /* as a rule an address stays at one port, so that it is refreshed more often than it moves */
    const unsigned from = draw(trial, 6) == 0 ? draw(trial, PORTS) : (unsigned)(src % PORTS);
    struct bridge_verdict want = model_forward(&trial->model, src, dst, from, trial->now_ns);
    struct bridge_verdict got = bridge_forward(trial->bridge, dst, src, from, trial->now_ns);

    expect(trial, got.way == want.way);
    expect(trial, got.way != BRIDGE_ONE || got.port == want.port);
    expect(trial, got.way != BRIDGE_DROP || got.reason == want.reason);
}

static void step_control(struct trial *trial)
{
    mac_addr mac = draw_mac(trial);
    unsigned port = draw(trial, PORTS);

    switch (draw(trial, 12)) {
    case 0:
        bridge_forget_port(trial->bridge, port);
        model_forget_port(&trial->model, port);
        break;
    case 1:
    case 2:
        expect(trial, bridge_add_static(trial->bridge, mac, port) ==
                          model_add_static(&trial->model, mac, port));
        break;
    default:
        expect(trial,
               bridge_remove_static(trial->bridge, mac) == model_remove_static(&trial->model, mac));
        break;
    }
}

static void visit(const struct bridge_entry *entry, void *context)
{
    struct trial *trial = context;
    const struct model_entry *want = model_find(&trial->model, entry->mac);

    expect(trial, want != NULL);
    expect(trial, is_live(&trial->model, want, trial->now_ns));
    expect(trial, entry->port == want->port && entry->is_static == want->is_static);
    expect(trial, entry->age_ns == (want->is_static ? 0 : silence_ns(want, trial->now_ns)));
    trial->visited++;
}

static void compare_tables(struct trial *trial)
{
    unsigned live = 0;

    for (unsigned i = 0; i < trial->model.count; i++)
        live += is_live(&trial->model, &trial->model.entries[i], trial->now_ns);
    trial->visited = 0;
    bridge_for_each(trial->bridge, trial->now_ns, visit, trial);
    expect(trial, trial->visited == live);
}

static void compare_stats(struct trial *trial)
{
    const struct bridge_stats *want = &trial->model.stats;
    struct bridge_stats got;

    bridge_read_stats(trial->bridge, &got);
    expect(trial, got.learnt == want->learnt);
    expect(trial, got.moved == want->moved);
    expect(trial, got.evicted == want->evicted);
    expect(trial, got.refused == 0);
    expect(trial, got.entries == trial->model.count);
}

/* Time mostly creeps, sometimes leaps, and now and then another worker's clock is a little behind.
 */
static void step_time(struct trial *trial)
{
    unsigned kind = draw(trial, 100);

    if (kind < 2)
        trial->now_ns += trial->model.config.age_ns / (1 + draw(trial, 4));
    else if (kind < 6)
        trial->now_ns -= trial->model.config.age_ns / 800 * draw(trial, 2);
    else
        trial->now_ns += trial->model.config.age_ns / 800 * draw(trial, 4);
}

static void run_trial(struct trial *trial, uint64_t seed)
{
    trial->seed = seed;
    trial->random = seed;
    trial->now_ns = 1000 * SECOND;
    trial->model.count = 0;
    trial->model.stats = (struct bridge_stats){0};
    trial->model.config = (struct bridge_config){
        .age_ns = seed % 2 == 0 ? 2 * SECOND : 100 * SECOND,
        .entries_per_port_max = 1 + (unsigned)seed % 19,
        .hash_seed = seed,
    };
    trial->bridge = bridge_new(&trial->model.config);
    assert_non_null(trial->bridge);
    for (trial->step = 0; trial->step < STEPS; trial->step++) {
        step_time(trial);
        if (draw(trial, 25) == 0)
            step_control(trial);
        else
            step_forward(trial);
        compare_stats(trial);
        if (trial->step % 500 == 0)
            compare_tables(trial);
    }
    bridge_free(trial->bridge);
}

static void test_random_operations(void **state)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    struct bridge_stats sum = {0};

    (void)state;
    assert_non_null(trial);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_trial(trial, seed);
        sum.learnt += trial->model.stats.learnt;
        sum.moved += trial->model.stats.moved;
        sum.evicted += trial->model.stats.evicted;
    }
    /* The operations were such that everything happened. */
    assert_true(sum.learnt > 10000 && sum.moved > 10000 && sum.evicted > 10000);
    free(trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

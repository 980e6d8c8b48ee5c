#include "bridge/bridge.h"

#include <errno.h>
#include <stdlib.h>

#include "bridge/mac_table.h"

#define SEEN_STEP_NS_MAX UINT64_C(1000000000)
enum {
    STATIC_BIT = 1 << 14, /* in a table value, beside the port's number */
    EVICTION_SAMPLE = 8,  /* entries of a port among which one to forget is chosen */
};
static_assert(PORTS_MAX <= (int)STATIC_BIT, "a port's number fits beside the static bit");

#define LINK_LOCAL_FIRST UINT64_C(0x0180c2000000)
#define LINK_LOCAL_MASK  (MAC_BROADCAST & ~UINT64_C(0xf))

struct bridge {
    struct mac_table table;
    uint64_t age_ns;                   /* entries silent for this long count as absent */
    uint64_t seen_step_ns;             /* a known address's time is written when it lags by this */
    unsigned entries_per_port_max;     /* learnt entries of one port */
    atomic_flag lock;                  /* for all below, and for changing entries */
    struct mac_list learnt[PORTS_MAX]; /* each port's learnt entries, in the order of learning */
    struct mac_list statics[PORTS_MAX];
    unsigned static_count;
    /* Written under the lock, read by anyone. */
    _Atomic uint64_t learnt_total, moved_total, evicted_total, refused_total, entry_count;
};

static void count_up(_Atomic uint64_t *counter, int64_t step)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, value + (uint64_t)step, memory_order_relaxed);
}

static bool bridge_try_lock(struct bridge *bridge)
{
    return !atomic_flag_test_and_set_explicit(&bridge->lock, memory_order_acquire);
}

static void bridge_lock(struct bridge *bridge)
{
    while (!bridge_try_lock(bridge))
        continue;
}

static void bridge_unlock(struct bridge *bridge)
{
    atomic_flag_clear_explicit(&bridge->lock, memory_order_release);
}

struct bridge *bridge_new(const struct bridge_config *config)
{
    struct bridge *bridge = calloc(1, sizeof(*bridge));

    assert(config->entries_per_port_max >= 1 &&
           config->entries_per_port_max <= BRIDGE_PORT_ENTRIES_MAX);
    if (bridge == NULL || mac_table_init(&bridge->table, config->hash_seed) != 0) {
        free(bridge);
        return NULL;
    }
    bridge->age_ns = config->age_ns;
    bridge->seen_step_ns = CV_MIN(config->age_ns / 8, SEEN_STEP_NS_MAX);
    bridge->entries_per_port_max = config->entries_per_port_max;
    atomic_flag_clear(&bridge->lock);
    for (unsigned port = 0; port < PORTS_MAX; port++) {
        mac_list_init(&bridge->learnt[port]);
        mac_list_init(&bridge->statics[port]);
    }
    return bridge;
}

void bridge_free(struct bridge *bridge)
{
    if (bridge == NULL)
        return;
    mac_table_uninit(&bridge->table);
    free(bridge);
}

/* -- Facts of an entry. -- */

static bool mac_is_learnable(mac_addr mac)
{
    return mac != 0 && (mac & MAC_MULTICAST_BIT) == 0;
}

static bool word_is_static(uint64_t word)
{
    return (word & STATIC_BIT) != 0;
}

static unsigned word_port(uint64_t word)
{
    return mac_word_value(word) & ~(unsigned)STATIC_BIT;
}

/* Another thread's clock may be ahead of `now_ns`: then the entry was seen just now. */
static uint64_t silence_ns(const struct bridge *bridge, uint32_t slot, uint64_t now_ns)
{
    uint64_t seen_ns = mac_table_seen_ns(&bridge->table, slot);

    return now_ns > seen_ns ? now_ns - seen_ns : 0;
}

static bool entry_is_live(const struct bridge *bridge, uint32_t slot, uint64_t word,
                          uint64_t now_ns)
{
    return word_is_static(word) || silence_ns(bridge, slot, now_ns) < bridge->age_ns;
}

/* -- Changes of entries, all under the lock. -- */

/* The list that an entry is on. */
static struct mac_list *entry_list(struct bridge *bridge, uint64_t word)
{
    return word_is_static(word) ? &bridge->statics[word_port(word)]
                                : &bridge->learnt[word_port(word)];
}

static void entry_remove(struct bridge *bridge, uint32_t slot)
{
    uint64_t word = mac_table_word(&bridge->table, slot);

    mac_list_remove(entry_list(bridge, word), &bridge->table, slot);
    bridge->static_count -= word_is_static(word);
    mac_table_clear(&bridge->table, slot);
    count_up(&bridge->entry_count, -1);
}

/* Removes an entry to make room. One that had aged is no loss. */
static void entry_evict(struct bridge *bridge, uint32_t slot, uint64_t now_ns)
{
    if (silence_ns(bridge, slot, now_ns) < bridge->age_ns)
        count_up(&bridge->evicted_total, 1);
    entry_remove(bridge, slot);
}

/*
 * Fills a slot: an empty one, or that of the same address, whose old entry a reader sees until the
 * new one replaces it. `value`: the port's number, with STATIC_BIT or not.
 */
static void entry_put(struct bridge *bridge, uint32_t slot, mac_addr mac, unsigned value,
                      uint64_t now_ns)
{
    uint64_t old = mac_table_word(&bridge->table, slot);

    if (old != 0) {
        mac_list_remove(entry_list(bridge, old), &bridge->table, slot);
        bridge->static_count -= word_is_static(old);
    }
    mac_table_put(&bridge->table, slot, mac, value, now_ns);
    mac_list_append(entry_list(bridge, value), &bridge->table, slot);
    bridge->static_count += word_is_static(value);
    count_up(&bridge->entry_count, old == 0);
}

/* A port at its limit forgets one entry. */
static void evict_own(struct bridge *bridge, unsigned port, uint64_t now_ns)
{
    uint32_t slot = bridge->learnt[port].head;
    uint32_t oldest = slot;

    for (unsigned i = 0; i < EVICTION_SAMPLE && slot != MAC_SLOT_NONE; i++) {
        if (mac_table_seen_ns(&bridge->table, slot) < mac_table_seen_ns(&bridge->table, oldest))
            oldest = slot;
        slot = bridge->table.slots[slot].next;
    }
    entry_evict(bridge, oldest, now_ns);
}

/*
 * What an occupied slot weighs when one must be emptied for an address of port `from` (PORTS_MAX:
 * for a static one): all that is aged goes first, then entries of the greediest port. The port that
 * asks counts as if it had the new address already, so that it replaces an entry of its own rather
 * than one of a port that is no greedier. A static entry stays.
 */
static uint64_t slot_weight(const struct bridge *bridge, uint32_t slot, unsigned from,
                            uint64_t now_ns)
{
    uint64_t word = mac_table_word(&bridge->table, slot);

    if (word_is_static(word))
        return 0;
    if (silence_ns(bridge, slot, now_ns) >= bridge->age_ns)
        return UINT64_MAX;
    return bridge->learnt[word_port(word)].count + (word_port(word) == from);
}

/*
 * An empty slot where the address may lie, made empty if need be: the entry of the greatest weight
 * goes, if that is more than what `from` has; among equals the one silent longest. MAC_SLOT_NONE:
 * there is none.
 */
static uint32_t make_room(struct bridge *bridge, mac_addr mac, unsigned from, uint64_t now_ns)
{
    uint32_t home = mac_table_home(&bridge->table, mac);
    uint32_t victim = MAC_SLOT_NONE;
    uint64_t victim_weight = from < PORTS_MAX ? bridge->learnt[from].count : 0;

    for (uint32_t i = 0; i < 2 * MAC_LINE_SLOTS; i++) {
        uint32_t slot = (home ^ (i & MAC_LINE_SLOTS)) + i % MAC_LINE_SLOTS;
        uint64_t weight;

        if (mac_table_word(&bridge->table, slot) == 0)
            return slot;
        weight = slot_weight(bridge, slot, from, now_ns);
        if (weight > victim_weight ||
            (victim != MAC_SLOT_NONE && weight == victim_weight &&
             silence_ns(bridge, slot, now_ns) > silence_ns(bridge, victim, now_ns))) {
            victim = slot;
            victim_weight = weight;
        }
    }
    if (victim != MAC_SLOT_NONE)
        entry_evict(bridge, victim, now_ns);
    return victim;
}

/* -- Learning. -- */

static void learn_new(struct bridge *bridge, mac_addr mac, unsigned from, uint64_t now_ns)
{
    uint32_t slot;

    if (bridge->learnt[from].count >= bridge->entries_per_port_max)
        evict_own(bridge, from, now_ns);
    slot = make_room(bridge, mac, from, now_ns);
    if (slot == MAC_SLOT_NONE) {
        count_up(&bridge->refused_total, 1);
        return;
    }
    entry_put(bridge, slot, mac, from, now_ns);
    count_up(&bridge->learnt_total, 1);
}

/* A learnt address is heard at another port than before. */
static void learn_moved(struct bridge *bridge, uint32_t slot, mac_addr mac, unsigned from,
                        uint64_t now_ns)
{
    bool was_live = silence_ns(bridge, slot, now_ns) < bridge->age_ns;

    if (bridge->learnt[from].count >= bridge->entries_per_port_max)
        evict_own(bridge, from, now_ns);
    entry_put(bridge, slot, mac, from, now_ns);
    count_up(was_live ? &bridge->moved_total : &bridge->learnt_total, 1);
}

/* Looks once more, now that nobody else can change the table. */
static void learn_locked(struct bridge *bridge, mac_addr mac, unsigned from, uint64_t now_ns)
{
    uint64_t word = 0;
    uint32_t slot = mac_table_find(&bridge->table, mac, &word);

    if (slot == MAC_SLOT_NONE)
        learn_new(bridge, mac, from, now_ns);
    else if (!word_is_static(word) && word_port(word) != from)
        learn_moved(bridge, slot, mac, from, now_ns);
}

static inline void learn(struct bridge *bridge, mac_addr mac, unsigned from, uint64_t now_ns)
{
    uint64_t word = 0;
    uint32_t slot = mac_table_find(&bridge->table, mac, &word);

    if (CV_LIKELY(slot != MAC_SLOT_NONE && mac_word_value(word) == from)) {
        if (CV_UNLIKELY(silence_ns(bridge, slot, now_ns) > bridge->seen_step_ns))
            mac_table_set_seen_ns(&bridge->table, slot, now_ns);
        return;
    }
    if ((slot != MAC_SLOT_NONE && word_is_static(word)) || !mac_is_learnable(mac))
        return;
    if (bridge_try_lock(bridge)) {
        learn_locked(bridge, mac, from, now_ns);
        bridge_unlock(bridge);
    }
}

/* -- Forwarding. -- */

struct bridge_verdict bridge_forward(struct bridge *bridge, mac_addr dst, mac_addr src,
                                     unsigned from, uint64_t now_ns)
{
    uint64_t word = 0;
    uint32_t slot;

    assert(from < PORTS_MAX);
    learn(bridge, src, from, now_ns);
    if ((dst & MAC_MULTICAST_BIT) != 0) {
        if ((dst & LINK_LOCAL_MASK) == LINK_LOCAL_FIRST)
            return (struct bridge_verdict){.way = BRIDGE_DROP, .reason = DROP_LINK_LOCAL};
        return (struct bridge_verdict){.way = BRIDGE_FLOOD};
    }
    slot = mac_table_find(&bridge->table, dst, &word);
    if (CV_UNLIKELY(slot == MAC_SLOT_NONE || !entry_is_live(bridge, slot, word, now_ns)))
        return (struct bridge_verdict){.way = BRIDGE_FLOOD};
    if (CV_UNLIKELY(word_port(word) == from))
        return (struct bridge_verdict){.way = BRIDGE_DROP, .reason = DROP_SAME_PORT};
    return (struct bridge_verdict){.way = BRIDGE_ONE, .port = word_port(word)};
}

/* -- The control side. -- */

static int add_static_locked(struct bridge *bridge, mac_addr mac, unsigned port)
{
    uint64_t word = 0;
    uint32_t slot = mac_table_find(&bridge->table, mac, &word);

    if (slot != MAC_SLOT_NONE && word_is_static(word))
        return word_port(word) == port ? 0 : -EEXIST;
    if (bridge->static_count >= BRIDGE_STATIC_ENTRIES_MAX)
        return -ENOSPC;
    if (slot == MAC_SLOT_NONE)
        slot = make_room(bridge, mac, PORTS_MAX, 0);
    if (slot == MAC_SLOT_NONE)
        return -ENOSPC;
    entry_put(bridge, slot, mac, port | STATIC_BIT, 0);
    return 0;
}

int bridge_add_static(struct bridge *bridge, mac_addr mac, unsigned port)
{
    int result;

    assert(port < PORTS_MAX);
    if (!mac_is_learnable(mac) || mac > MAC_BROADCAST)
        return -EINVAL;
    bridge_lock(bridge);
    result = add_static_locked(bridge, mac, port);
    bridge_unlock(bridge);
    return result;
}

int bridge_remove_static(struct bridge *bridge, mac_addr mac)
{
    uint64_t word = 0;
    uint32_t slot;
    int result = -ENOENT;

    bridge_lock(bridge);
    slot = mac_table_find(&bridge->table, mac, &word);
    if (slot != MAC_SLOT_NONE && word_is_static(word)) {
        entry_remove(bridge, slot);
        result = 0;
    }
    bridge_unlock(bridge);
    return result;
}

void bridge_flush_port(struct bridge *bridge, unsigned port)
{
    assert(port < PORTS_MAX);
    bridge_lock(bridge);
    while (bridge->learnt[port].count > 0)
        entry_remove(bridge, bridge->learnt[port].head);
    bridge_unlock(bridge);
}

void bridge_forget_port(struct bridge *bridge, unsigned port)
{
    bridge_flush_port(bridge, port);
    bridge_lock(bridge);
    while (bridge->statics[port].count > 0)
        entry_remove(bridge, bridge->statics[port].head);
    bridge_unlock(bridge);
}

void bridge_for_each(struct bridge *bridge, uint64_t now_ns,
                     void (*visit)(const struct bridge_entry *entry, void *context), void *context)
{
    for (uint32_t slot = 0; slot < BRIDGE_ENTRIES_MAX; slot++) {
        uint64_t word = mac_table_word(&bridge->table, slot);
        struct bridge_entry entry;

        if (word == 0 || !entry_is_live(bridge, slot, word, now_ns))
            continue;
        entry.mac = mac_word_mac(word);
        entry.port = word_port(word);
        entry.is_static = word_is_static(word);
        entry.age_ns = entry.is_static ? 0 : silence_ns(bridge, slot, now_ns);
        visit(&entry, context);
    }
}

void bridge_read_stats(struct bridge *bridge, struct bridge_stats *ret_stats)
{
    *ret_stats = (struct bridge_stats){
        .learnt = atomic_load_explicit(&bridge->learnt_total, memory_order_relaxed),
        .moved = atomic_load_explicit(&bridge->moved_total, memory_order_relaxed),
        .evicted = atomic_load_explicit(&bridge->evicted_total, memory_order_relaxed),
        .refused = atomic_load_explicit(&bridge->refused_total, memory_order_relaxed),
        .entries = atomic_load_explicit(&bridge->entry_count, memory_order_relaxed),
    };
}

/*
 * The bridge's address table: MAC address to a 16-bit value, read without a lock.
 *
 * An entry is one 64-bit word, read and written atomically, so a reader sees a whole entry or none.
 * Eight words make a line (one cache line); an address may lie in its home line or in the line's
 * twin, so a lookup reads one line as a rule and never more than two. There is no probing past
 * them and no tombstone: to delete an entry is to clear its word, which no reader can trip over.
 * When all 16 places are taken somebody must give way; who that is decides the owner of the table.
 *
 * The home line comes from a multiplication with a secret number (Dietzfelbinger et al., "A
 * reliable randomized algorithm for the closest-pair problem", 1997: two given addresses meet with
 * a probability of about 1 in the number of lines, whatever the addresses are), so a guest that
 * does not know the secret cannot pick addresses that crowd one line.
 *
 * What the reader does not need for a lookup lies apart, in `slots`: the time an address was last
 * seen (atomic, written at most once a second for each address), and the links of the list that the
 * entry is on (under the owner's lock, like all writing of words).
 */
#ifndef CONVOY_BRIDGE_MAC_TABLE_H
#define CONVOY_BRIDGE_MAC_TABLE_H

#include <stdatomic.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "wire/frame_parse.h"

enum {
    MAC_LINE_SLOTS = 8,
    MAC_LINES_LOG2 = 14,
    MAC_VALUE_MAX = (1 << 15) - 1,
};
static_assert(MAC_LINE_SLOTS << MAC_LINES_LOG2 == BRIDGE_ENTRIES_MAX, "slots in whole lines");
static_assert(MAC_LINE_SLOTS * sizeof(uint64_t) == CV_CACHE_LINE_BYTES, "a line is a cache line");

#define MAC_SLOT_NONE UINT32_MAX

/* A word: address (48 bits), valid (1), value (15). An empty slot is 0. */
#define MAC_WORD_VALID UINT64_C(0x8000)

struct mac_slot {
    _Atomic uint64_t seen_ns; /* when a frame from this address was last seen, or noted as seen */
    uint32_t prev, next;      /* neighbours on the entry's list; owner's lock */
};

struct mac_table {
    _Atomic uint64_t *words; /* BRIDGE_ENTRIES_MAX words, in `words_memory` */
    struct mac_slot *slots;  /* one for each word */
    uint64_t secret_xor;     /* the secret of the hash */
    uint64_t secret_factor;
    void *words_memory; /* owned, as malloc gave it */
};

/* A list of slots, oldest member first. The owner's lock. */
struct mac_list {
    uint32_t head, tail; /* MAC_SLOT_NONE when empty */
    uint32_t count;
};

/* Memory is touched only where entries come to lie. -ENOMEM. `seed` should be random. */
int mac_table_init(struct mac_table *table, uint64_t seed) CV_MUST_CHECK;
void mac_table_uninit(struct mac_table *table);

static inline mac_addr mac_word_mac(uint64_t word)
{
    return word >> 16;
}

static inline unsigned mac_word_value(uint64_t word)
{
    return (unsigned)(word & MAC_VALUE_MAX);
}

/* The first slot of an address's home line; the twin begins at this number ^ MAC_LINE_SLOTS. */
static inline uint32_t mac_table_home(const struct mac_table *table, mac_addr mac)
{
    uint64_t hash = (mac ^ table->secret_xor) * table->secret_factor;

    return (uint32_t)(hash >> (64 - MAC_LINES_LOG2)) * MAC_LINE_SLOTS;
}

/* The word in a slot; 0 when it is empty. */
static inline uint64_t mac_table_word(const struct mac_table *table, uint32_t slot)
{
    return atomic_load_explicit(&table->words[slot], memory_order_acquire);
}

static inline uint32_t mac_table_find_in_line(const struct mac_table *table, uint32_t line,
                                              mac_addr mac, uint64_t *ret_word)
{
    const uint64_t wanted = mac << 1 | 1; /* with the valid bit, so that no address matches 0 */

    for (uint32_t slot = line; slot < line + MAC_LINE_SLOTS; slot++) {
        uint64_t word = mac_table_word(table, slot);

        if (word >> 15 == wanted) {
            *ret_word = word;
            return slot;
        }
    }
    return MAC_SLOT_NONE;
}

/* The slot of an address and its word at one moment, or MAC_SLOT_NONE. Any thread. */
static inline uint32_t mac_table_find(const struct mac_table *table, mac_addr mac,
                                      uint64_t *ret_word)
{
    uint32_t home = mac_table_home(table, mac);
    uint32_t slot = mac_table_find_in_line(table, home, mac, ret_word);

    if (CV_UNLIKELY(slot == MAC_SLOT_NONE))
        slot = mac_table_find_in_line(table, home ^ MAC_LINE_SLOTS, mac, ret_word);
    return slot;
}

static inline uint64_t mac_table_seen_ns(const struct mac_table *table, uint32_t slot)
{
    return atomic_load_explicit(&table->slots[slot].seen_ns, memory_order_relaxed);
}

/* Any thread. If the slot has changed hands meanwhile, the newcomer is as recent anyway. */
static inline void mac_table_set_seen_ns(struct mac_table *table, uint32_t slot, uint64_t now_ns)
{
    atomic_store_explicit(&table->slots[slot].seen_ns, now_ns, memory_order_relaxed);
}

/* Writes an entry, replacing what the slot held: its time first, then its word. Owner's lock. */
void mac_table_put(struct mac_table *table, uint32_t slot, mac_addr mac, unsigned value,
                   uint64_t now_ns);
/* Empties a slot. Owner's lock. */
void mac_table_clear(struct mac_table *table, uint32_t slot);

void mac_list_init(struct mac_list *list);
void mac_list_append(struct mac_list *list, struct mac_table *table, uint32_t slot);
void mac_list_remove(struct mac_list *list, struct mac_table *table, uint32_t slot);

#endif

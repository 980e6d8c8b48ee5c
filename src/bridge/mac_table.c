#include "bridge/mac_table.h"

#include <errno.h>
#include <stdlib.h>

/* SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
static uint64_t seed_next(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/*
 * calloc takes memory of this size fresh from the system, where a page costs nothing before it is
 * touched; aligned_alloc and a memset would make all of it resident.
 */
int mac_table_init(struct mac_table *table, uint64_t seed)
{
    const size_t words_bytes = BRIDGE_ENTRIES_MAX * sizeof(table->words[0]);
    uintptr_t start;

    table->words_memory = calloc(1, words_bytes + CV_CACHE_LINE_BYTES);
    table->slots = calloc(BRIDGE_ENTRIES_MAX, sizeof(table->slots[0]));
    if (table->words_memory == NULL || table->slots == NULL) {
        mac_table_uninit(table);
        return -ENOMEM;
    }
    start = (uintptr_t)table->words_memory + CV_CACHE_LINE_BYTES - 1;
    table->words = (_Atomic uint64_t *)(start & ~(uintptr_t)(CV_CACHE_LINE_BYTES - 1));
    table->secret_xor = seed_next(&seed);
    table->secret_factor = seed_next(&seed) | 1;
    return 0;
}

void mac_table_uninit(struct mac_table *table)
{
    free(table->words_memory);
    free(table->slots);
    table->words_memory = NULL;
    table->slots = NULL;
}

void mac_table_put(struct mac_table *table, uint32_t slot, mac_addr mac, unsigned value,
                   uint64_t now_ns)
{
    assert(mac <= MAC_BROADCAST && value <= MAC_VALUE_MAX);
    mac_table_set_seen_ns(table, slot, now_ns);
    atomic_store_explicit(&table->words[slot], mac << 16 | MAC_WORD_VALID | value,
                          memory_order_release);
}

void mac_table_clear(struct mac_table *table, uint32_t slot)
{
    atomic_store_explicit(&table->words[slot], 0, memory_order_release);
}

void mac_list_init(struct mac_list *list)
{
    *list = (struct mac_list){.head = MAC_SLOT_NONE, .tail = MAC_SLOT_NONE};
}

void mac_list_append(struct mac_list *list, struct mac_table *table, uint32_t slot)
{
    struct mac_slot *entry = &table->slots[slot];

    entry->prev = list->tail;
    entry->next = MAC_SLOT_NONE;
    if (list->tail == MAC_SLOT_NONE)
        list->head = slot;
    else
        table->slots[list->tail].next = slot;
    list->tail = slot;
    list->count++;
}

void mac_list_remove(struct mac_list *list, struct mac_table *table, uint32_t slot)
{
    const struct mac_slot *entry = &table->slots[slot];

    assert(list->count > 0);
    if (entry->prev == MAC_SLOT_NONE)
        list->head = entry->next;
    else
        table->slots[entry->prev].next = entry->next;
    if (entry->next == MAC_SLOT_NONE)
        list->tail = entry->prev;
    else
        table->slots[entry->next].prev = entry->prev;
    list->count--;
}

/*
 * A ring of 64-bit words from one thread to one other. The producer pushes as many as it likes and
 * makes them visible with one publish; the consumer pops and frees all of them with one release.
 */
#ifndef CONVOY_BASE_SPSC_H
#define CONVOY_BASE_SPSC_H

#include <stdlib.h>

#include "base/compiler.h"

struct spsc {
    uint64_t *slots;
    uint32_t mask;
    CV_CACHE_ALIGNED uint32_t published; /* written by the producer */
    uint32_t pushed;                     /* producer's own: published, and what will be */
    uint32_t released_seen;              /* producer's copy of `released` */
    CV_CACHE_ALIGNED uint32_t released;  /* written by the consumer */
    uint32_t popped;                     /* consumer's own */
};

/* `capacity` must be a power of two. False when memory is short. */
static inline bool spsc_init(struct spsc *ring, uint32_t capacity)
{
    *ring = (struct spsc){.slots = calloc(capacity, sizeof(uint64_t)), .mask = capacity - 1};
    return ring->slots;
}

static inline void spsc_uninit(struct spsc *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}

/* Producer: adds a word that nobody sees yet; false when the ring is full. */
static inline bool spsc_push(struct spsc *ring, uint64_t word)
{
    if (ring->pushed - ring->released_seen > ring->mask) {
        ring->released_seen = __atomic_load_n(&ring->released, __ATOMIC_ACQUIRE);
        if (ring->pushed - ring->released_seen > ring->mask)
            return false;
    }
    ring->slots[ring->pushed++ & ring->mask] = word;
    return true;
}

/* Producer: shows what was pushed; true when that was anything. */
static inline bool spsc_publish(struct spsc *ring)
{
    if (ring->published == ring->pushed)
        return false;
    __atomic_store_n(&ring->published, ring->pushed, __ATOMIC_RELEASE);
    return true;
}

/* Consumer: words that can be popped. */
static inline uint32_t spsc_count(const struct spsc *ring)
{
    return __atomic_load_n(&ring->published, __ATOMIC_ACQUIRE) - ring->popped;
}

/* Consumer: the next word; there must be one. */
static inline uint64_t spsc_pop(struct spsc *ring)
{
    return ring->slots[ring->popped++ & ring->mask];
}

/* Consumer: the places of all popped words are free again. */
static inline void spsc_release(struct spsc *ring)
{
    __atomic_store_n(&ring->released, ring->popped, __ATOMIC_RELEASE);
}

#endif

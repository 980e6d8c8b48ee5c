/*
 * A guest's memory and rings without a guest: regions of any size between pages that nobody may
 * touch, and rings whose every word a test writes by itself. For tests of what the switch makes of
 * rings; front_ring.h is the driver that keeps to the rules.
 */
#ifndef CONVOY_TESTS_LIB_RING_BED_H
#define CONVOY_TESTS_LIB_RING_BED_H

#include "port/vhost_queue.h"

enum { BED_REGIONS_MAX = 4, BED_RING_SIZE_MAX = 1024 };

/* A region; its last byte is the last before a page that cannot be touched. */
struct bed_region {
    uint64_t guest_address;
    uint64_t size; /* bytes, any number */
};

struct bed {
    struct guest_memory memory; /* in the order of `regions`, largest first or not */
    uint64_t taken[BED_REGIONS_MAX];
    void *maps[BED_REGIONS_MAX];
    size_t map_bytes[BED_REGIONS_MAX];
};

/* Ends the test program when memory is short. The memory is zero. */
void bed_init(struct bed *bed, const struct bed_region *regions, unsigned count);
void bed_uninit(struct bed *bed);
/* Bytes of region `region` that nobody else was given; they must be there. */
void *bed_alloc(struct bed *bed, unsigned region, size_t size, size_t align);
/* The guest-physical address of a byte of a region. */
uint64_t bed_address(const struct bed *bed, const void *bytes);

/* One ring in the memory, seen from the driver. */
struct bed_ring {
    struct bed *bed;
    unsigned size;
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t next_desc; /* next one that bed_ring_add writes */
    uint16_t used_seen; /* used entries taken by bed_ring_take_used */
};

void bed_ring_init(struct bed_ring *ring, struct bed *bed, unsigned size);
uint16_t *bed_ring_used_event(const struct bed_ring *ring);
uint16_t *bed_ring_avail_event(const struct bed_ring *ring);
/* How the device would start on it with these features, at the index where the driver is. */
struct virtq_setup bed_ring_setup(const struct bed_ring *ring, uint64_t features);
void bed_ring_put(struct bed_ring *ring, uint16_t index, uint64_t guest_address, uint32_t len,
                  uint16_t flags, uint16_t next);
/* Makes one chain available. */
void bed_ring_offer(struct bed_ring *ring, uint16_t head);
/*
 * Writes a chain of `count` descriptors at the next ones of the table and offers it; returns its
 * head. Every piece is `pieces[i]`, which lies in the memory.
 */
uint16_t bed_ring_add(struct bed_ring *ring, const struct iovec *pieces, unsigned count,
                      bool to_guest);
/* Used entries that the driver has not taken; takes the oldest. */
unsigned bed_ring_used_count(const struct bed_ring *ring);
struct virtq_used_elem bed_ring_take_used(struct bed_ring *ring);

/* A whole queue pair of a vhost-user port on such rings, with all that it needs around it. */
struct queue_bed {
    struct bed memory;
    struct bed_ring transmitq, receiveq;
    struct vhost_queue queue;
    struct port port;
    struct port_counters counters;
    struct frame_pool pool;
};

struct queue_bed_options {
    unsigned size;     /* entries of both rings; default 256 */
    uint64_t features; /* of the rings */
    size_t hdr_bytes;  /* default 12 */
    bool mergeable;
    unsigned offloads;    /* what the guest takes */
    uint16_t index;       /* where both rings start */
    uint64_t guest_bytes; /* memory; default 2 MiB */
};

void queue_bed_init(struct queue_bed *bed, const struct queue_bed_options *options);
void queue_bed_uninit(struct queue_bed *bed);

/*
 * Allocates guest memory for the bytes `hdr` (as much of it as the queue's header has) and `frame`,
 * cut into pieces of `each_bytes` (0: one piece), and offers them as one chain on the transmitq.
 * Returns the first piece.
 */
uint8_t *queue_bed_send(struct queue_bed *bed, const struct virtio_net_hdr *hdr, const void *frame,
                        size_t len, size_t each_bytes);
/* Posts a receive buffer of `len` bytes cut into pieces of `each_bytes`; returns its first piece.
 * The pieces lie in a row. */
uint8_t *queue_bed_post(struct queue_bed *bed, size_t len, size_t each_bytes);

#endif

/*
 * The driver's side of one split virtqueue (virtio 1.2, 2.7), for network frames.
 *
 * How it works: every descriptor index owns a slot of guest memory. A chain uses the slot of its
 * head, so a head names both. Free descriptors wait in a first-in first-out list; as long as the
 * device completes in order, chains therefore run through the table in ring order, which is what
 * VIRTIO_F_IN_ORDER asks for. Publication and notification happen once per burst.
 *
 * The ring also judges the device: a used element that names no outstanding chain, a length larger
 * than what was posted, an index that runs ahead: each counts as a fault, with a sentence about the
 * first.
 *
 * For hostile tests the shared memory is open (desc, avail, used), and front_ring_put_desc and its
 * neighbours write whatever is asked. A ring is used by one thread.
 */
#ifndef CONVOY_FRONT_RING_H
#define CONVOY_FRONT_RING_H

#include "guest_ram.h"
#include "wire/virtio_net_hdr.h"

enum {
    FRONT_PIECES_LISTED_MAX = 16,
    FRONT_INDIRECT_MAX = 256,           /* descriptors of an indirect table */
    FRONT_FRAME_BYTES_MAX = 65536 + 64, /* largest frame that is gathered */
};

enum front_desc_flags {
    FRONT_DESC_NEXT = 1,
    FRONT_DESC_WRITE = 2,
    FRONT_DESC_INDIRECT = 4,
};

struct front_desc {
    uint64_t guest_address;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct front_avail {
    uint16_t flags; /* 1: no interrupt, please */
    uint16_t index;
    uint16_t ring[]; /* behind the last: used_event */
};

struct front_used {
    uint16_t flags; /* 1: no kick, please */
    uint16_t index;
    struct front_used_elem {
        uint32_t id;
        uint32_t len;
    } ring[]; /* behind the last: avail_event */
};

/*
 * How a buffer (virtio-net header and frame, one run of bytes) is cut into descriptors: first the
 * listed pieces, then pieces of `each_bytes` (0: one piece) for the rest. Pieces lie in memory in
 * reverse order, so that a device that runs over the end of one finds the wrong bytes.
 */
struct front_cut {
    unsigned piece_count;
    uint32_t piece_bytes[FRONT_PIECES_LISTED_MAX];
    uint32_t each_bytes;
    bool indirect;
};

/* What the driver knows of an outstanding chain; indexed by its head. */
struct front_chain {
    uint32_t bytes;      /* of all its descriptors */
    uint16_t desc_count; /* descriptors of the ring that it holds */
    bool outstanding;
    bool scattered; /* more than one piece: the bytes lie in the scatter half of the slot */
    struct front_cut cut;
};

struct front_ring_stats {
    uint64_t frames;       /* sent and given back, or received */
    uint64_t bytes;        /* of received frames, without the virtio-net header */
    uint64_t buffers;      /* chains that the device has given back */
    uint64_t bursts;       /* looks at the used ring that found something */
    uint64_t kicks;        /* notifications that the device wanted and got */
    uint64_t calls;        /* notifications that it sent (the sum of what its eventfd counted) */
    uint64_t out_of_order; /* chains given back before an older one */
    uint64_t faults;       /* things that a device must never do */
};

struct front_ring_options {
    unsigned size;       /* entries, a power of two up to 32768 */
    unsigned region;     /* memory region to start allocating in; slots go round from there */
    uint32_t slot_bytes; /* room of one buffer, virtio-net header included */
    size_t hdr_bytes;    /* 12 or 10 */
    bool to_guest;       /* a receiveq: buffers are written by the device */
    bool event_idx, in_order, mergeable; /* as negotiated */
    bool indirect;                       /* as negotiated; without it the cut's wish is ignored */
};

struct front_ring {
    struct front_ring_options options;
    uint16_t mask;
    struct guest_ram *ram;
    /* shared with the device */
    struct front_desc *desc;
    struct front_avail *avail;
    struct front_used *used;
    int kick_fd; /* eventfd, owned */
    int call_fd; /* eventfd, owned */
    /* the driver's own */
    uint16_t avail_index;          /* where the next chain is offered */
    uint16_t published_index;      /* what the device has been told */
    uint16_t used_index;           /* next used element to look at */
    uint16_t free_head, free_tail; /* into free_list; equal and free_count 0: none free */
    unsigned free_count;
    uint16_t *free_list; /* `size` entries */
    uint16_t *order;     /* heads in the order in which they were offered, `size` entries */
    uint16_t order_head, order_tail; /* free running */
    uint16_t *chain_next;            /* our copy of the descriptors' links */
    struct front_chain *chains;      /* by head */
    uint8_t **slots;                 /* slot of each head; the scatter half follows it */
    uint64_t *slot_addresses;        /* guest-physical */
    struct front_desc **tables;      /* indirect table of each head */
    struct front_cut cut;            /* for chains from now on */
    uint32_t post_bytes;             /* receiveq: size of buffers from now on; default slot_bytes */
    bool keep_posted; /* receiveq: give buffers back as soon as they are read; default */
    uint8_t *scratch; /* where pieces and merged buffers are gathered */
    struct front_ring_stats stats;
    struct error first_fault;
};

/* Allocates the ring and its slots from `ram`. -ENOMEM, -ENOSPC (memory regions too small). */
int front_ring_init(struct front_ring *ring, struct guest_ram *ram,
                    const struct front_ring_options *options, struct error *error) CV_MUST_CHECK;
void front_ring_uninit(struct front_ring *ring);

/* Guest memory that front_ring_init takes for these options, with room for alignment. */
uint64_t front_ring_bytes(const struct front_ring_options *options);

/*
 * Forgets everything outstanding and starts the ring anew at index 0. The back end must not be
 * using it.
 */
void front_ring_reset(struct front_ring *ring);

/* --- transmitq --- */

/* Room for the next frame, its bytes (slot_bytes - hdr_bytes of them); NULL: the ring is full. */
uint8_t *front_ring_reserve(struct front_ring *ring);

/*
 * Offers the frame of `len` bytes that was written to the reserved room. `hdr` NULL: all zero. Not
 * visible before front_ring_publish. False: too few descriptors are free for the cut; the room
 * stays reserved.
 */
bool front_ring_commit(struct front_ring *ring, const struct virtio_net_hdr *hdr,
                       size_t len) CV_MUST_CHECK;

/* Takes back what the device has used; returns the number of chains. */
unsigned front_ring_reclaim(struct front_ring *ring);

/* --- receiveq --- */

/* Posts buffers until the ring is full or `count` are posted, and publishes; returns how many. */
unsigned front_ring_post(struct front_ring *ring, unsigned count);

/*
 * Takes up to `max` frames, gathers each and shows it to `visit`, which must not keep the pointer;
 * then posts their buffers again (keep_posted) and publishes. Returns the number of frames.
 */
unsigned front_ring_receive(struct front_ring *ring, unsigned max,
                            void (*visit)(void *context, const struct virtio_net_hdr *hdr,
                                          const uint8_t *frame, size_t len),
                            void *context);

/* --- both --- */

/* Makes all offered chains visible, and kicks if the device asks for it. */
void front_ring_publish(struct front_ring *ring);

/* Kicks, wanted or not. */
void front_ring_kick(struct front_ring *ring);

/* Asks for no calls: the driver polls. The state after front_ring_init. */
void front_ring_calls_disable(struct front_ring *ring);

/*
 * Asks for a call at the next used element, or only behind `count` more of them (EVENT_IDX). True:
 * there is one already, do not wait.
 */
bool front_ring_calls_enable(struct front_ring *ring, uint16_t count);

/* Takes what the call eventfd has counted. */
void front_ring_calls_take(struct front_ring *ring);

/* Used elements that have not been looked at. */
uint16_t front_ring_used(const struct front_ring *ring);
bool front_ring_has_used(const struct front_ring *ring);
/* Chains that the device holds. */
unsigned front_ring_outstanding(const struct front_ring *ring);

/* Both sides' indices, event indices and flags, as they are in memory, for a report. */
void front_ring_describe(const struct front_ring *ring, char *text, size_t bytes);

/* --- as wrong as wanted --- */

void front_ring_put_desc(struct front_ring *ring, uint16_t index, uint64_t guest_address,
                         uint32_t len, uint16_t flags, uint16_t next);
/* Writes `head` (any number) as the next available entry; not published. */
void front_ring_put_avail(struct front_ring *ring, uint16_t head);
/* Writes the available index, and kicks. */
void front_ring_put_avail_index(struct front_ring *ring, uint16_t index);

#endif

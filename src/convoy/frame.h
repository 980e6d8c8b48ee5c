/*
 * A frame under way: a view of bytes that still lie with their sender, plus a private snapshot of
 * the first of them. Decisions read the snapshot; the payload is copied once, at departure,
 * straight to where the receiver wants it. Until then the sender's buffer is held by `source`.
 *
 * The frame is `head[0 .. head_len)` followed by `pieces[0 .. piece_count)`. The pieces lie in a
 * guest's memory, may change at any moment, and are only ever copied or summed.
 *
 * A super-packet made by merging (convoy/merge.h) is a row of frames: the first, whose head and
 * virtio-net header speak for all, and behind it the payloads of the frames merged into it
 * (`merged_next`, from each frame's facts.payload_offset on). Only the row's first frame is aboard
 * a convoy.
 */
#ifndef CONVOY_CONVOY_FRAME_H
#define CONVOY_CONVOY_FRAME_H

#include <sys/uio.h>

#include "base/limits.h"
#include "wire/frame_parse.h"
#include "wire/virtio_net_hdr.h"

struct port_queue;

struct frame {
    /* In one cache line what is decided by, and behind it the head: of a short frame no more is
     * looked at. */
    struct frame_facts facts;
    uint32_t len;               /* bytes of the whole frame (row), Ethernet header to end */
    uint16_t head_len;          /* bytes of it in `head` */
    uint16_t piece_count;       /* pieces behind the head */
    uint16_t source_slot;       /* the source's own name for the buffer */
    uint16_t holders;           /* convoys that still hold it */
    struct port_queue *source;  /* who gets the buffer back */
    uint64_t arrived_ns;        /* when the burst was taken that it came with */
    uint16_t merged_count;      /* first of a row: frames merged into it */
    uint8_t drop;               /* enum drop_reason found before it was bridged */
    bool is_shared : 1;         /* flooded: other convoys may see it, so it is never edited */
    bool checksum_is_good : 1;  /* merging has verified its checksums */
    bool has_buffer : 1;        /* one of the buffers below is there */
    struct virtio_net_hdr vnet; /* checked and rewritten by offload_check */
    uint8_t head[FRAME_HEAD_BYTES_MAX];

    struct frame *merged_next; /* the row's next frame, NULL: none */
    struct frame *merged_last; /* first of a row with merged frames: the last of them; else NULL */
    uint8_t *private_bytes;    /* buffer of the frame pool where pieces lie, NULL: none ... */
    uint8_t *small_bytes;      /* ... and a small one; with neither, pieces lie with the sender */
    struct iovec pieces[FRAME_PIECES_MAX + 2]; /* two spare: a segment may split one around a sum */
} CV_CACHE_ALIGNED;

/* `head` follows the virtio-net header directly, so that both can be copied at once. */
static_assert(offsetof(struct frame, head) == offsetof(struct frame, vnet) + VNET_HDR_BYTES,
              "header and head are contiguous");
static_assert(offsetof(struct frame, head) == CV_CACHE_LINE_BYTES, "decisions fill one cache line");
static_assert(FRAME_PATTERN_WORDS * sizeof(uint64_t) <= FRAME_HEAD_BYTES_MAX,
              "a pattern is compared within the head");

/* A burst of frames does not fit the first-level cache: who goes through one asks for the frames
 * ahead. */
enum { FRAME_PREFETCH_AHEAD = 4 };

static inline void frame_prefetch(const struct frame *frame)
{
    __builtin_prefetch(frame);
    __builtin_prefetch(frame->head);
}

#endif

/*
 * Doing in software what a receiver did not negotiate: a super-packet is cut into the packets it
 * stands for (TCP: RFC 9293 sequence numbers, FIN and PSH on the last, CWR on the first; UDP: equal
 * datagrams), and checksums are completed. No payload is moved: every segment is a new head and a
 * sub-view of the super-packet's pieces. A row (convoy/merge.h) is cut likewise, back into what it
 * was made of. Pure: reads the frames, writes the caller's segment.
 */
#ifndef CONVOY_CONVOY_SEGMENT_H
#define CONVOY_CONVOY_SEGMENT_H

#include "convoy/frame.h"
#include "wire/offload.h"

struct segmenter {
    const struct frame *super; /* what is being cut; it and its row stay valid and unchanged */
    unsigned offloads;         /* what the receiver can do: a set of enum offload */
    uint32_t offset;           /* payload bytes already given out */
    uint32_t index;            /* number of the next segment */
    const struct frame *frame; /* frame of the row in which the next segment starts, ... */
    uint32_t part;             /* ... what of it: 0 its head, n its piece n - 1, ... */
    uint32_t part_offset;      /* ... and the byte in that; a head counts from its payload on */
    bool done;                 /* the last segment has been given out */
};

/*
 * A segment: a frame of its own, and the bytes of a checksum that lies outside the head. A piece
 * may point to them: a segment is not copied, and stays in place while its frame is used.
 */
struct segment {
    struct frame frame; /* shares the payload with the super-packet; no row, no source, no holder */
    uint8_t checksum[2]; /* a patched checksum that lies behind the head is a piece of its own */
};

/* True when a receiver with `offloads` takes the (checked) frame as it is. */
static inline bool segment_fits(const struct frame *frame, unsigned offloads)
{
    return (offload_needs(&frame->vnet, &frame->facts) & ~offloads) == 0;
}

/*
 * Starts cutting `super`, whose virtio-net header offload_check has accepted, for a receiver with
 * `offloads`. A frame without GSO gives exactly one segment, with the checksum completed if need
 * be. In a row each frame must hold one segment's payload (gso_size bytes, the last maybe less). A
 * receiver with OFFLOAD_CSUM gets segments with NEEDS_CSUM and the pseudo-header sum instead of a
 * complete checksum.
 */
void segmenter_init(struct segmenter *segmenter, const struct frame *super, unsigned offloads);

/* Packets that are lost when `super`, which is being cut, is given up at the segment that was given
 * out last; a super-packet that is no row is one packet, whatever has been delivered of it. */
static inline unsigned segmenter_lost_packets(const struct segmenter *segmenter,
                                              const struct frame *super)
{
    return super->merged_count == 0 ? 1 : super->merged_count + 2 - segmenter->index;
}

/*
 * The next segment in *ret_segment; false, and nothing written, after the last. Its facts are the
 * super-packet's; without OFFLOAD_CSUM its virtio-net header is all zero.
 */
bool segmenter_next(struct segmenter *segmenter, struct segment *ret_segment);

#endif

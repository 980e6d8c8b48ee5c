/*
 * Receive offload in software: a frame that continues a flow already aboard becomes part of a
 * super-packet, TCP to TSO and equal datagrams of UDP to USO. The inverse is convoy/segment.h:
 * cutting a merged super-packet gives back exactly the packets that it was made of, byte for byte,
 * so whatever cutting could not restore refuses the merge (the rules of Linux's GRO, and stricter
 * where GRO is not exact: IPv4 ids always count up). No payload is moved: the frame is linked into
 * the row of the super-packet's first, whose head and virtio-net header are kept true with every
 * frame that joins. Pure: edits the two frames, reads nothing else.
 *
 * Checksums are verified before merging, or known good: NEEDS_CSUM with the right pseudo-header sum
 * (the bytes have not left memory), or DATA_VALID, which only an uplink's kernel is believed.
 */
#ifndef CONVOY_CONVOY_MERGE_H
#define CONVOY_CONVOY_MERGE_H

#include "convoy/frame.h"
#include "metrics/merge_refusals.h"
#include "wire/ip.h"
#include "wire/offload.h"

/* Frames of one row: what Linux's GRO takes of UDP, and enough for 64 KiB of 1500-byte packets. */
enum { MERGE_FRAMES_MAX = 64 };

/* Payload pieces of a frame that may join; with MERGE_FRAMES_MAX it bounds the row for writev. */
enum { MERGE_PIECES_MAX = 8 };

/* False for a datagram that was sent without a checksum (RFC 768): it never joins another. */
static inline bool merge_may_verify(const struct frame *frame)
{
    const uint8_t *field = frame->head + frame->facts.l4_offset + UDP_CHECKSUM_OFFSET;

    return !(frame->facts.flags & FRAME_UDP) || (field[0] | field[1]) != 0;
}

/* True when a receiver with `offloads` takes super-packets of frames with these facts (enum
 * frame_flags): whole TCP or UDP over IPv4 or IPv6. */
static inline bool merge_concerns_kind(unsigned flags, unsigned offloads)
{
    unsigned needs;

    if (flags & FRAME_TCP)
        needs = flags & FRAME_IPV4 ? OFFLOAD_TSO4 : OFFLOAD_TSO6;
    else if (flags & FRAME_UDP)
        needs = flags & FRAME_IPV4 ? OFFLOAD_USO4 : OFFLOAD_USO6;
    else
        return false;
    needs |= OFFLOAD_CSUM;
    return (offloads & needs) == needs;
}

/* The same of a frame, which must be seen by one convoy alone. All others pass by without a word.
 */
static inline bool merge_concerns(const struct frame *frame, unsigned offloads)
{
    return merge_concerns_kind(frame->facts.flags, offloads) && !frame->is_shared;
}

/* True when both frames carry the same Ethernet header and tags, addresses, protocol and ports. */
bool merge_same_flow(const struct frame *super, const struct frame *frame);

/*
 * Makes `frame` the last of the row of `super`, if it is the next segment of that flow and a
 * receiver with `offloads` can take the result. Both satisfy merge_concerns, came from the same
 * source and are of the same flow (merge_same_flow); `super` may be a row already. MERGE_JOINED, or
 * the reason why neither has changed (their checksum_is_good aside).
 */
enum merge_refusal merge_join(struct frame *super, struct frame *frame, unsigned offloads);

#endif

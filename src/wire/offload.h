/*
 * What a frame asks of its receiver (finish my checksum, I am many packets), and what a receiver
 * can do. A sender's virtio-net header is checked once, against the facts of the frame, and
 * rewritten to what was understood; everything behind believes only the rewritten one.
 */
#ifndef CONVOY_WIRE_OFFLOAD_H
#define CONVOY_WIRE_OFFLOAD_H

#include "wire/frame_parse.h"
#include "wire/virtio_net_hdr.h"

enum offload {
    OFFLOAD_CSUM = 1 << 0, /* takes frames with NEEDS_CSUM */
    OFFLOAD_TSO4 = 1 << 1,
    OFFLOAD_TSO6 = 1 << 2,
    OFFLOAD_ECN = 1 << 3, /* takes super-packets with VNET_HDR_GSO_ECN */
    OFFLOAD_USO4 = 1 << 4,
    OFFLOAD_USO6 = 1 << 5,
};

/*
 * Checks the private copy of a sender's header against the frame: csum_start and csum_offset inside
 * the frame; a GSO type that matches the frame's protocol, with whole headers in the snapshot, a
 * gso_size that is neither zero nor so small that more than OFFLOAD_SEGMENTS_MAX segments result,
 * and NEEDS_CSUM on the transport header (virtio 1.2, 5.1.6.2). On success hdr_len is what we
 * parsed, unknown flags are cleared, num_buffers is 0, and a GSO type on a frame that fits one
 * segment is removed. Returns false when the request does not fit the frame: it must be dropped
 * (bad_offload).
 */
static inline bool offload_check(struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                                 size_t head_len, size_t frame_len) CV_MUST_CHECK;

/* Segments that a checked header stands for; 1 without GSO. */
unsigned offload_segments(const struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                          size_t frame_len);

/* What a receiver of this (checked) frame must be able to do: a set of enum offload, 0 for none. */
static inline unsigned offload_needs(const struct virtio_net_hdr *hdr,
                                     const struct frame_facts *facts);

/* Segments of one super-packet: 64 KiB at TCP's least segment size of Linux, 48 bytes. */
enum { OFFLOAD_SEGMENTS_MAX = 1400 };

/* The same for a header that asks for something. */
bool offload_check_wish(struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                        size_t head_len, size_t frame_len) CV_MUST_CHECK;
unsigned offload_needs_gso(const struct virtio_net_hdr *hdr, const struct frame_facts *facts);

static inline bool offload_check(struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                                 size_t head_len, size_t frame_len)
{
    if (CV_UNLIKELY(hdr->flags || hdr->gso_type != VNET_HDR_GSO_NONE))
        return offload_check_wish(hdr, facts, head_len, frame_len);
    *hdr = (struct virtio_net_hdr){.hdr_len = facts->payload_offset};
    return !(facts->flags & FRAME_MALFORMED);
}

static inline unsigned offload_needs(const struct virtio_net_hdr *hdr,
                                     const struct frame_facts *facts)
{
    if (CV_UNLIKELY(hdr->gso_type != VNET_HDR_GSO_NONE))
        return offload_needs_gso(hdr, facts);
    return hdr->flags & VNET_HDR_F_NEEDS_CSUM ? OFFLOAD_CSUM : 0;
}

#endif

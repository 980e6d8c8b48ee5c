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
bool offload_check(struct virtio_net_hdr *hdr, const struct frame_facts *facts, size_t head_len,
                   size_t frame_len) CV_MUST_CHECK;

/* Segments that a checked header stands for; 1 without GSO. */
unsigned offload_segments(const struct virtio_net_hdr *hdr, const struct frame_facts *facts,
                          size_t frame_len);

/* What a receiver of this (checked) frame must be able to do: a set of enum offload, 0 for none. */
unsigned offload_needs(const struct virtio_net_hdr *hdr, const struct frame_facts *facts);

/* Segments of one super-packet: 64 KiB at TCP's least segment size of Linux, 48 bytes. */
enum { OFFLOAD_SEGMENTS_MAX = 1400 };

#endif

/* The Internet checksums of a frame that lies in a head and pieces: summing and verifying. */
#ifndef CONVOY_CONVOY_FRAME_CHECKSUM_H
#define CONVOY_CONVOY_FRAME_CHECKSUM_H

#include "convoy/frame.h"
#include "wire/checksum.h"
#include "wire/ip.h"

/* Where TCP or UDP has its checksum, counted from its header. */
static inline uint16_t frame_checksum_offset(const struct frame *frame)
{
    return frame->facts.flags & FRAME_TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET;
}

/*
 * Adds the frame's own bytes (not those of frames merged into it) from byte `from` to its end. The
 * pieces may change meanwhile: then the packet arrives with a wrong checksum, which its sender
 * could have given it anyway.
 */
void frame_checksum_add(const struct frame *frame, size_t from, struct checksum *checksum);

/*
 * What NEEDS_CSUM wants in the checksum field of a TCP or UDP packet: the sum of its pseudo-header,
 * with all of `len` behind the IP header; as it is stored with memcpy.
 */
uint16_t frame_checksum_of_pseudo_header(const struct frame *frame);

/*
 * True when the TCP or UDP checksum, and that of an IPv4 header without options before it, are
 * right and written as convoy/segment.h writes them. The transport checksum is believed where the
 * (checked) virtio-net header says DATA_VALID, or NEEDS_CSUM over just that packet and the
 * pseudo-header's sum is right; else the frame is summed. UDP without a checksum has no good one.
 */
bool frame_checksums_are_good(const struct frame *frame);

#endif

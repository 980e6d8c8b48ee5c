/* What fake ports put into their frames, and how they know them again. */
#ifndef CONVOY_TESTS_LIB_FAKE_FRAME_H
#define CONVOY_TESTS_LIB_FAKE_FRAME_H

#include "fake_port.h"
#include "wire/ip.h"

/* Headers of a segment: Ethernet, IPv4, TCP without options. */
enum { FAKE_SEGMENT_HEADER_BYTES = ETHER_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES };

/* Every frame carries who sent it, and as the how manyth of the queue. */
struct fake_mark {
    unsigned queue_id;
    uint64_t number;
};

/* Writes head, lengths, virtio-net header and pieces of a frame that `queue` sends. Returns its
 * flow, as in struct fake_slot. */
unsigned fake_frame_write(struct frame *frame, struct fake_queue *queue,
                          const struct fake_arrival *arrival, uint64_t number);

struct fake_mark fake_frame_mark(const struct frame *frame);

/* The sum of 16-bit words in network order, folded: of IPv4 headers, and of the pseudo-header of a
 * segment with `l4_bytes` behind the IP header. */
uint16_t fake_frame_sum(const uint8_t *bytes, size_t n);
uint16_t fake_frame_pseudo_sum(const uint8_t *ip_header, size_t l4_bytes);

/* The sequence number of a segment. */
uint32_t fake_frame_sequence(const struct frame *frame);

#endif

/*
 * The reference against which merging is judged: cuts a super-packet into the packets that a
 * receiver's stack sees, completing checksums. Written from the definitions (virtio 1.2, 5.1.6;
 * RFC 9293; the rules by which Linux segments) and for being obvious, not fast: one packet at a
 * time is copied whole, its lengths are set, and all its sums are made anew from its bytes. It
 * shares no code with the switch.
 */
#ifndef CONVOY_FRONT_CUTTER_H
#define CONVOY_FRONT_CUTTER_H

#include "base/error.h"
#include "wire/virtio_net_hdr.h"

enum { CUTTER_PACKET_BYTES_MAX = 65536 + 64 };

/* Where the headers of a packet are. */
struct cutter_view {
    size_t l3_offset; /* behind Ethernet header and VLAN tags */
    size_t l4_offset; /* 0: neither TCP nor UDP over IPv4 or IPv6, or a fragment */
    size_t payload_offset;
    size_t end; /* of the IP packet; padding may follow */
    bool ipv6, tcp;
};

/* False: the headers contradict each other or the length. What is not IP has l4_offset 0. */
bool cutter_view(const uint8_t *packet, size_t len, struct cutter_view *ret_view) CV_MUST_CHECK;

/*
 * Shows every packet of a frame to `visit`, in order, and returns how many: one, as it is but for a
 * checksum that was left to be completed, where the frame is no super-packet. 0 and a sentence when
 * frame and header do not fit together.
 */
unsigned cutter_cut(const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len,
                    void (*visit)(void *context, const uint8_t *packet, size_t len), void *context,
                    struct error *error);

#endif

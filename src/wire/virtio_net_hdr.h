/*
 * The header before every frame on a virtio-net ring and on a TAP with IFF_VNET_HDR
 * (virtio 1.2, 5.1.6). On the rings it is little-endian, on a TAP in the host's order: the same
 * here, since only little-endian hosts are supported.
 */
#ifndef CONVOY_WIRE_VIRTIO_NET_HDR_H
#define CONVOY_WIRE_VIRTIO_NET_HDR_H

#include "base/compiler.h"

enum {
    VNET_HDR_F_NEEDS_CSUM = 1, /* complete the checksum from csum_start, store at csum_offset */
    VNET_HDR_F_DATA_VALID = 2, /* checksum has been verified */
};

enum {
    VNET_HDR_GSO_NONE = 0,
    VNET_HDR_GSO_TCPV4 = 1,
    VNET_HDR_GSO_UDP = 3, /* UFO: IP fragmentation; never offered here */
    VNET_HDR_GSO_TCPV6 = 4,
    VNET_HDR_GSO_UDP_L4 = 5, /* USO */
    VNET_HDR_GSO_ECN = 0x80, /* flag: CWR is set on the first segment only */
};

/* num_buffers is present on the ring only with MRG_RXBUF or VERSION_1; in memory always. */
struct virtio_net_hdr {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;     /* bytes of headers to copy into every segment */
    uint16_t gso_size;    /* payload bytes of each segment */
    uint16_t csum_start;  /* offset in the frame where summing starts */
    uint16_t csum_offset; /* offset from csum_start where the sum is stored */
    uint16_t num_buffers; /* receive buffers that hold the frame */
};

#define VNET_HDR_BYTES        ((size_t)12) /* VERSION_1 or MRG_RXBUF */
#define VNET_HDR_LEGACY_BYTES ((size_t)10) /* neither */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are read as they are");
static_assert(sizeof(struct virtio_net_hdr) == 12, "layout of virtio 1.2, 5.1.6");

#endif

/*
 * Frames made by hand for the tests of wire/ and of the segmenter: written layer by layer into one
 * linear buffer, with lengths and the pseudo-header's sum filled in at the end, and seen through
 * any head and any pieces. Knows nothing of the code under test: sums are taken byte by byte.
 */
#ifndef TESTS_UNIT_WIRE_FRAMES_H
#define TESTS_UNIT_WIRE_FRAMES_H

#include <stdlib.h>
#include <string.h>

#include "convoy/frame.h"

/* A frame in the making. Offsets count from the first byte; 0: there is no such layer. */
struct wire_frame {
    uint8_t bytes[70000];
    size_t len;       /* bytes written so far */
    size_t type_at;   /* where the type of the next layer 2 header goes */
    size_t next_at;   /* where the protocol of the next header goes */
    size_t l3;        /* IP header */
    size_t l4;        /* transport header */
    size_t payload;   /* first byte behind the transport header */
    uint8_t version;  /* of IP: 4 or 6 */
    uint8_t protocol; /* of the transport header */
};

static inline void wire_be16(uint8_t *to, size_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static inline size_t wire_get16(const uint8_t *from)
{
    return (size_t)from[0] << 8 | from[1];
}

static inline uint32_t wire_get32(const uint8_t *from)
{
    return (uint32_t)wire_get16(from) << 16 | (uint32_t)wire_get16(from + 2);
}

/* The one's complement sum of RFC 1071, two bytes at a time, folded and not complemented. */
static inline uint32_t wire_sum(uint32_t sum, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* The sum of the pseudo-header for a transport packet of `l4_len` bytes. */
static inline uint32_t wire_pseudo_sum(const uint8_t *ip, unsigned version, uint8_t protocol,
                                       size_t l4_len)
{
    uint8_t tail[6] = {(uint8_t)(l4_len >> 24),
                       (uint8_t)(l4_len >> 16),
                       (uint8_t)(l4_len >> 8),
                       (uint8_t)l4_len,
                       0,
                       protocol};
    uint32_t sum = version == 4 ? wire_sum(0, ip + 12, 8) : wire_sum(0, ip + 8, 32);

    return wire_sum(sum, tail, sizeof(tail));
}

static inline uint8_t *wire_extend(struct wire_frame *wire, size_t n)
{
    uint8_t *added = wire->bytes + wire->len;

    assert(wire->len + n <= sizeof(wire->bytes));
    memset(added, 0, n);
    wire->len += n;
    return added;
}

/* Ethernet header without a type: the next layer sets it. */
static inline void wire_begin(struct wire_frame *wire)
{
    static const uint8_t addresses[12] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2};

    memset(&wire->len, 0, sizeof(*wire) - offsetof(struct wire_frame, len));
    memcpy(wire_extend(wire, 14), addresses, sizeof(addresses));
    wire->type_at = 12;
}

static inline void wire_vlan(struct wire_frame *wire, unsigned tpid, unsigned tci)
{
    wire_be16(wire->bytes + wire->type_at, tpid);
    wire->type_at = wire->len + 2;
    wire_be16(wire_extend(wire, 4), tci);
}

static inline void wire_ipv4(struct wire_frame *wire, uint8_t protocol, size_t option_bytes)
{
    static const uint8_t header[20] = {0x45, 0, 0,  0, 0xff, 0xfe, 0x40, 0, 64, 0,
                                       0,    0, 10, 0, 0,    1,    10,   0, 0,  2};
    uint8_t *ip = wire_extend(wire, 20 + option_bytes);

    assert(option_bytes % 4 == 0 && option_bytes <= 40);
    wire_be16(wire->bytes + wire->type_at, 0x0800);
    memcpy(ip, header, sizeof(header));
    memset(ip + 20, 1, option_bytes); /* RFC 791's No Operation */
    ip[0] = (uint8_t)(0x45 + option_bytes / 4);
    ip[9] = protocol;
    wire->version = 4;
    wire->protocol = protocol;
    wire->l3 = (size_t)(ip - wire->bytes);
    wire->l4 = wire->payload = wire->len;
}

static inline void wire_ipv6(struct wire_frame *wire, uint8_t protocol)
{
    uint8_t *ip = wire_extend(wire, 40);

    wire_be16(wire->bytes + wire->type_at, 0x86dd);
    ip[0] = 0x60;
    ip[6] = protocol;
    ip[7] = 64;
    for (size_t i = 0; i < 32; i++)
        ip[8 + i] = (uint8_t)(0x20 + 7 * i);
    wire->version = 6;
    wire->protocol = protocol;
    wire->l3 = (size_t)(ip - wire->bytes);
    wire->next_at = wire->l3 + 6;
    wire->l4 = wire->payload = wire->len;
}

/* An extension header of `kind` and `bytes` bytes between IPv6 and the transport header. */
static inline void wire_extension(struct wire_frame *wire, uint8_t kind, size_t bytes)
{
    uint8_t *extension = wire_extend(wire, bytes);

    wire->bytes[wire->next_at] = kind;
    wire->next_at = (size_t)(extension - wire->bytes);
    extension[0] = wire->protocol;
    extension[1] = (uint8_t)(kind == 51 ? bytes / 4 - 2 : kind == 44 ? 0 : bytes / 8 - 1);
    wire->l4 = wire->payload = wire->len;
}

static inline void wire_tcp(struct wire_frame *wire, uint8_t flags, size_t option_bytes)
{
    static const uint8_t header[20] = {0x30, 0x39, 0, 80, 0xff, 0xff, 0xf0, 0, 1, 2,
                                       3,    4,    0, 0,  0x20, 0,    0,    0, 0, 0};
    uint8_t *tcp = wire_extend(wire, 20 + option_bytes);

    memcpy(tcp, header, sizeof(header));
    memset(tcp + 20, 1, option_bytes); /* RFC 9293's No-Operation */
    tcp[12] = (uint8_t)((5 + option_bytes / 4) << 4);
    tcp[13] = flags;
    wire->payload = wire->len;
}

static inline void wire_udp(struct wire_frame *wire, unsigned src_port, unsigned dst_port)
{
    uint8_t *udp = wire_extend(wire, 8);

    wire_be16(udp, src_port);
    wire_be16(udp + 2, dst_port);
    wire->payload = wire->len;
}

/* `n` bytes that depend on their place and on `seed`, so that none can stand for another. */
static inline void wire_payload(struct wire_frame *wire, size_t n, uint32_t seed)
{
    uint8_t *payload = wire_extend(wire, n);
    uint32_t state = seed * 2654435761u + 1;

    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        payload[i] = (uint8_t)(state >> 24);
    }
}

/* Where the transport checksum lies, counted from the transport header; 0: neither TCP nor UDP. */
static inline size_t wire_csum_offset(const struct wire_frame *wire)
{
    return wire->protocol == 6 ? 16 : wire->protocol == 17 ? 6 : 0;
}

/* The IP header's lengths and checksum, UDP's length, and the pseudo-header's sum. */
static inline void wire_finish(struct wire_frame *wire)
{
    uint8_t *ip = wire->bytes + wire->l3;
    uint8_t *l4 = wire->bytes + wire->l4;
    size_t l4_len = wire->len - wire->l4;

    if (wire->version == 4) {
        wire_be16(ip + 2, wire->len - wire->l3);
        wire_be16(ip + 10, 0);
        wire_be16(ip + 10, ~wire_sum(0, ip, wire->l4 - wire->l3));
    } else {
        wire_be16(ip + 4, wire->len - wire->l3 - 40);
    }
    if (wire->protocol == 17)
        wire_be16(l4 + 4, l4_len);
    if (wire_csum_offset(wire) != 0)
        wire_be16(l4 + wire_csum_offset(wire),
                  wire_pseudo_sum(ip, wire->version, wire->protocol, l4_len));
}

/* The virtio-net header that a guest would put before this frame. gso_size 0: no GSO. */
static inline struct virtio_net_hdr wire_hdr(const struct wire_frame *wire, uint16_t gso_size)
{
    struct virtio_net_hdr hdr = {
        .flags = VNET_HDR_F_NEEDS_CSUM,
        .csum_start = (uint16_t)wire->l4,
        .csum_offset = (uint16_t)wire_csum_offset(wire),
        .gso_size = gso_size,
    };

    if (gso_size != 0 && wire->protocol == 17)
        hdr.gso_type = VNET_HDR_GSO_UDP_L4;
    else if (gso_size != 0)
        hdr.gso_type = wire->version == 4 ? VNET_HDR_GSO_TCPV4 : VNET_HDR_GSO_TCPV6;
    return hdr;
}

/*
 * Shows `wire` as a frame of `head_len` bytes of head and one piece per entry of `lens`, each in
 * memory of its own so that a sanitizer sees every step outside. The last piece takes what is left
 * over. Facts are not set. Free with wire_unview.
 */
static inline void wire_view(const struct wire_frame *wire, size_t head_len, const size_t *lens,
                             size_t lens_count, struct frame *ret_frame)
{
    size_t at = head_len;

    assert(head_len <= wire->len && head_len <= FRAME_HEAD_BYTES_MAX);
    memset(ret_frame, 0, sizeof(*ret_frame));
    ret_frame->len = (uint32_t)wire->len;
    ret_frame->head_len = (uint16_t)head_len;
    memcpy(ret_frame->head, wire->bytes, head_len);
    for (size_t i = 0; i < lens_count || (lens_count == 0 && i == 0); i++) {
        size_t left = wire->len - at;
        size_t n = i + 1 >= lens_count ? left : CV_MIN(lens[i], left);
        uint8_t *bytes = malloc(n > 0 ? n : 1);

        assert(bytes != NULL && i < FRAME_PIECES_MAX);
        memcpy(bytes, wire->bytes + at, n);
        ret_frame->pieces[i] = (struct iovec){.iov_base = bytes, .iov_len = n};
        ret_frame->piece_count++;
        at += n;
    }
}

static inline void wire_unview(struct frame *frame)
{
    for (size_t i = 0; i < frame->piece_count; i++)
        free(frame->pieces[i].iov_base);
    frame->piece_count = 0;
}

/* A frame's bytes in one row; returns how many. `to` holds at least the frame's length. */
static inline size_t wire_linearise(const struct frame *frame, uint8_t *to)
{
    size_t len = frame->head_len;

    memcpy(to, frame->head, len);
    for (size_t i = 0; i < frame->piece_count; i++) {
        memcpy(to + len, frame->pieces[i].iov_base, frame->pieces[i].iov_len);
        len += frame->pieces[i].iov_len;
    }
    return len;
}

#endif

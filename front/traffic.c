/* Building: see traffic.h. The judge is in traffic_check.c. */
#include "traffic.h"

#include <arpa/inet.h>
#include <string.h>

#include "crc32c.h"
#include "traffic_bytes.h"

enum { ETHER_BYTES = 14, IPV4_BYTES = 20, IPV6_BYTES = 40, TCP_BYTES = 20, UDP_BYTES = 8 };

static bool is_tcp(enum traffic_kind kind)
{
    return kind == TRAFFIC_TCP4 || kind == TRAFFIC_TCP6;
}

static bool is_ipv6(enum traffic_kind kind)
{
    return kind == TRAFFIC_UDP6 || kind == TRAFFIC_TCP6;
}

/* Addresses 10.77.x.y by the last bytes of the MAC addresses, and fd77::x:y alike. */
static void put_ip_header(struct traffic_source *source, const uint8_t dst[6], const uint8_t src[6])
{
    uint8_t *ip = source->headers + ETHER_BYTES;
    uint8_t protocol = is_tcp(source->kind) ? 6 : 17;

    if (is_ipv6(source->kind)) {
        ip[0] = 0x60;
        ip[6] = protocol;
        ip[7] = 64;
        ip[8] = ip[24] = 0xfd;
        ip[9] = ip[25] = 0x77;
        memcpy(ip + 8 + 10, src, 6);
        memcpy(ip + 24 + 10, dst, 6);
        return;
    }
    ip[0] = 0x45;
    ip[6] = 0x40; /* do not fragment */
    ip[8] = 64;
    ip[9] = protocol;
    ip[12] = ip[16] = 10;
    ip[13] = ip[17] = 77;
    memcpy(ip + 14, src + 4, 2);
    memcpy(ip + 18, dst + 4, 2);
}

static void put_l4_header(struct traffic_source *source)
{
    uint8_t *l4 = source->headers + source->l4_offset;

    put_be16(l4, (uint16_t)(10000 + source->flow % 50000));
    put_be16(l4 + 2, TRAFFIC_NUMBERED_PORT);
    if (!is_tcp(source->kind))
        return;
    put_be32(l4 + 8, source->flow); /* acknowledgement number: names the flow of a stream packet */
    l4[12] = TCP_BYTES / 4 << 4;
    l4[13] = 0x10; /* ACK */
    put_be16(l4 + 14, 65535);
}

void traffic_source_init(struct traffic_source *source, enum traffic_kind kind, uint32_t flow,
                         const uint8_t dst[6], const uint8_t src[6])
{
    static const uint16_t ethertypes[] = {[TRAFFIC_ETHER] = TRAFFIC_ETHERTYPE,
                                          [TRAFFIC_UDP4] = 0x0800,
                                          [TRAFFIC_UDP6] = 0x86dd,
                                          [TRAFFIC_TCP4] = 0x0800,
                                          [TRAFFIC_TCP6] = 0x86dd};

    *source = (struct traffic_source){.kind = kind, .flow = flow, .headers_len = ETHER_BYTES};
    memcpy(source->headers, dst, 6);
    memcpy(source->headers + 6, src, 6);
    put_be16(source->headers + 12, ethertypes[kind]);
    if (kind == TRAFFIC_ETHER)
        return;
    put_ip_header(source, dst, src);
    source->l4_offset = ETHER_BYTES + (is_ipv6(kind) ? IPV6_BYTES : IPV4_BYTES);
    put_l4_header(source);
    source->headers_len = source->l4_offset + (is_tcp(kind) ? TCP_BYTES : UDP_BYTES);
}

size_t traffic_frame_len_min(const struct traffic_source *source)
{
    return CV_MAX((size_t)60, (size_t)source->headers_len + TRAFFIC_RECORD_BYTES);
}

/* Copies the headers and fills in lengths, IPv4 id and IPv4 checksum. */
static void put_headers(struct traffic_source *source, uint8_t *frame, size_t len)
{
    uint8_t *ip = frame + ETHER_BYTES, *l4 = frame + source->l4_offset;

    memcpy(frame, source->headers, source->headers_len);
    if (source->kind == TRAFFIC_ETHER)
        return;
    if (is_ipv6(source->kind)) {
        put_be16(ip + 4, (uint16_t)(len - source->l4_offset));
    } else {
        put_be16(ip + 2, (uint16_t)(len - ETHER_BYTES));
        put_be16(ip + 4, source->ip_id);
        put_be16(ip + 10, (uint16_t)~sum_fold(sum_add(0, ip, IPV4_BYTES)));
    }
    if (!is_tcp(source->kind))
        put_be16(l4 + 4, (uint16_t)(len - source->l4_offset));
}

/* The transport checksum: complete, or the pseudo-header's sum and a request to complete it. */
static void put_l4_checksum(const struct traffic_source *source, uint8_t *frame, size_t len,
                            struct virtio_net_hdr *hdr)
{
    uint8_t *l4 = frame + source->l4_offset;
    unsigned offset = is_tcp(source->kind) ? 16 : 6;
    uint64_t sum = sum_pseudo_header(frame + ETHER_BYTES, is_ipv6(source->kind),
                                     is_tcp(source->kind) ? 6 : 17, len - source->l4_offset);
    uint16_t checksum;

    if (source->offload_csum) {
        put_be16(l4 + offset, sum_fold(sum));
        hdr->flags = VNET_HDR_F_NEEDS_CSUM;
        hdr->csum_start = source->l4_offset;
        hdr->csum_offset = (uint16_t)offset;
        return;
    }
    checksum = (uint16_t)~sum_fold(sum_add(sum, l4, len - source->l4_offset));
    put_be16(l4 + offset, checksum ? checksum : 0xffff);
}

void traffic_frame_build(struct traffic_source *source, uint8_t *frame, size_t len,
                         struct virtio_net_hdr *ret_hdr)
{
    size_t at = source->headers_len;
    uint8_t *record = frame + at;

    *ret_hdr = (struct virtio_net_hdr){.flags = 0};
    put_headers(source, frame, len);
    put_le32(record, source->flow);
    put_le64(record + 4, source->next_number);
    put_le16(record + 12, (uint16_t)len);
    put_le32(record + 14, 0);
    numbered_fill(source->flow, source->next_number, record + TRAFFIC_RECORD_BYTES,
                  len - at - TRAFFIC_RECORD_BYTES);
    put_le32(record + 14, crc32c_finish(crc32c_add(CRC32C_START, frame, len)));
    source->next_number++;
    source->ip_id++;
    /* UDP over IPv4 may go without a checksum; the CRC is better and cheaper */
    if (source->l4_offset > 0 && (source->offload_csum || source->kind != TRAFFIC_UDP4))
        put_l4_checksum(source, frame, len, ret_hdr);
}

/* Stream bytes of a UDP payload: each datagram says flow and offset itself. */
static void fill_datagrams(struct traffic_source *source, uint8_t *payload, size_t len, size_t mss)
{
    while (len > 0) {
        size_t datagram = CV_MIN(len, mss), data = datagram - TRAFFIC_STREAM_RECORD_BYTES;

        assert(datagram > TRAFFIC_STREAM_RECORD_BYTES);
        put_le32(payload, source->flow);
        put_le32(payload + 4, 0);
        put_le64(payload + 8, source->next_offset);
        stream_fill(source->flow, source->next_offset, payload + TRAFFIC_STREAM_RECORD_BYTES, data);
        source->next_offset += data;
        payload += datagram;
        len -= datagram;
    }
}

size_t traffic_stream_build(struct traffic_source *source, uint8_t *frame, size_t payload_len,
                            size_t mss, struct virtio_net_hdr *ret_hdr)
{
    size_t len = source->headers_len + payload_len;
    uint8_t *l4 = frame + source->l4_offset, *payload = frame + source->headers_len;
    bool super = payload_len > mss, tcp = is_tcp(source->kind), offload = source->offload_csum;

    assert(source->l4_offset > 0 && len - ETHER_BYTES <= 65535);
    *ret_hdr = (struct virtio_net_hdr){.flags = 0};
    put_headers(source, frame, len);
    put_be16(l4 + 2, TRAFFIC_STREAM_PORT);
    if (tcp) {
        put_be32(l4 + 4, (uint32_t)source->next_offset);
        stream_fill(source->flow, source->next_offset, payload, payload_len);
        source->next_offset += payload_len;
    } else {
        fill_datagrams(source, payload, payload_len, mss);
    }
    source->offload_csum |= super; /* a super-packet has no other choice */
    put_l4_checksum(source, frame, len, ret_hdr);
    source->offload_csum = offload;
    source->ip_id += (uint16_t)((payload_len + mss - 1) / mss);
    if (super) {
        ret_hdr->gso_type = !tcp                    ? VNET_HDR_GSO_UDP_L4
                            : is_ipv6(source->kind) ? VNET_HDR_GSO_TCPV6
                                                    : VNET_HDR_GSO_TCPV4;
        ret_hdr->gso_size = (uint16_t)mss;
        ret_hdr->hdr_len = source->headers_len;
    }
    return len;
}

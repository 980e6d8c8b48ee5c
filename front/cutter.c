#include "cutter.h"

#include <errno.h>
#include <string.h>

#include "traffic_bytes.h"

enum {
    ETHER_BYTES = 14,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_BYTES = 20,
    UDP_BYTES = 8,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
};

/* --- where things are --- */

static size_t skip_ethernet(const uint8_t *packet, size_t len, uint16_t *ret_ethertype)
{
    size_t at = ETHER_BYTES;

    *ret_ethertype = get_be16(packet + 12);
    while ((*ret_ethertype == 0x8100 || *ret_ethertype == 0x88a8) && len >= at + 4) {
        *ret_ethertype = get_be16(packet + at + 2);
        at += 4;
    }
    return at;
}

/* Transport protocol, 0 where it cannot be looked at; false: the IP header is wrong. */
static bool view_ip(const uint8_t *packet, size_t len, struct cutter_view *view,
                    uint8_t *ret_protocol)
{
    const uint8_t *ip = packet + view->l3_offset;
    size_t room = len - view->l3_offset, header, total;

    *ret_protocol = 0;
    if (room < (view->ipv6 ? IPV6_BYTES : IPV4_BYTES))
        return false;
    if (view->ipv6) {
        header = IPV6_BYTES;
        total = IPV6_BYTES + (size_t)get_be16(ip + 4);
        *ret_protocol = ip[6];
    } else {
        header = (size_t)(ip[0] & 15) * 4;
        total = get_be16(ip + 2);
        if (header < IPV4_BYTES || room < header || sum_fold(sum_add(0, ip, header)) != 0xffff)
            return false;
        *ret_protocol = get_be16(ip + 6) & 0x3fff ? 0 : ip[9];
    }
    view->l4_offset = view->l3_offset + header;
    view->end = view->l3_offset + total;
    return total >= header && total <= room;
}

bool cutter_view(const uint8_t *packet, size_t len, struct cutter_view *ret_view)
{
    struct cutter_view view = {.end = len};
    uint16_t ethertype;
    uint8_t protocol;
    size_t header;

    if (len < ETHER_BYTES)
        return false;
    view.l3_offset = skip_ethernet(packet, len, &ethertype);
    view.ipv6 = ethertype == 0x86dd;
    *ret_view = view;
    if (ethertype != 0x0800 && !view.ipv6)
        return true;
    if (!view_ip(packet, len, &view, &protocol))
        return false;
    view.tcp = protocol == PROTOCOL_TCP;
    if (!view.tcp && protocol != PROTOCOL_UDP)
        return true;
    header = view.tcp ? TCP_BYTES : UDP_BYTES;
    if (view.end < view.l4_offset + header)
        return false;
    if (view.tcp)
        header = (size_t)(packet[view.l4_offset + 12] >> 4) * 4;
    view.payload_offset = view.l4_offset + header;
    *ret_view = view;
    return header >= (view.tcp ? TCP_BYTES : UDP_BYTES) && view.payload_offset <= view.end;
}

/* --- sums --- */

static size_t checksum_place(const struct cutter_view *view)
{
    return view->l4_offset + (view->tcp ? 16 : 6);
}

static uint64_t pseudo_sum(const uint8_t *packet, const struct cutter_view *view, size_t end)
{
    return sum_pseudo_header(packet + view->l3_offset, view->ipv6,
                             view->tcp ? PROTOCOL_TCP : PROTOCOL_UDP, end - view->l4_offset);
}

/* The transport checksum, over all bytes up to `end`. UDP says 0xffff where the sum is 0. */
static void complete_checksum(uint8_t *packet, const struct cutter_view *view, size_t end)
{
    uint16_t checksum;

    put_be16(packet + checksum_place(view), 0);
    checksum = (uint16_t)~sum_fold(
        sum_add(pseudo_sum(packet, view, end), packet + view->l4_offset, end - view->l4_offset));
    put_be16(packet + checksum_place(view), !view->tcp && checksum == 0 ? 0xffff : checksum);
}

/* --- cutting --- */

/* Packet `index` of the frame: headers, and payload from `from` on, `bytes` of it. */
static size_t make_packet(const uint8_t *frame, const struct cutter_view *view, unsigned index,
                          size_t from, size_t bytes, uint8_t *packet)
{
    size_t end = view->payload_offset + bytes;
    uint8_t *ip = packet + view->l3_offset, *l4 = packet + view->l4_offset;

    memcpy(packet, frame, view->payload_offset);
    memcpy(packet + view->payload_offset, frame + view->payload_offset + from, bytes);
    if (view->ipv6) {
        put_be16(ip + 4, (uint16_t)(end - view->l3_offset - IPV6_BYTES));
    } else {
        put_be16(ip + 2, (uint16_t)(end - view->l3_offset));
        put_be16(ip + 4, (uint16_t)(get_be16(ip + 4) + index));
        put_be16(ip + 10, 0);
        put_be16(ip + 10, (uint16_t)~sum_fold(sum_add(0, ip, view->l4_offset - view->l3_offset)));
    }
    if (view->tcp) {
        put_be32(l4 + 4, get_be32(l4 + 4) + (uint32_t)from);
        if (index > 0)
            l4[13] &= (uint8_t)~TCP_CWR;
        if (view->payload_offset + from + bytes < view->end)
            l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    } else {
        put_be16(l4 + 4, (uint16_t)(end - view->l4_offset));
    }
    complete_checksum(packet, view, end);
    return end;
}

/* What a header with NEEDS_CSUM must say, and the field with it. */
static bool partial_is_right(const struct virtio_net_hdr *hdr, const uint8_t *frame,
                             const struct cutter_view *view)
{
    return view->l4_offset > 0 && hdr->csum_start == view->l4_offset &&
           hdr->csum_offset == checksum_place(view) - view->l4_offset &&
           get_be16(frame + checksum_place(view)) == sum_fold(pseudo_sum(frame, view, view->end));
}

static bool gso_is_right(const struct virtio_net_hdr *hdr, const uint8_t *frame,
                         const struct cutter_view *view, size_t len)
{
    uint8_t type = hdr->gso_type & (uint8_t)~VNET_HDR_GSO_ECN;
    uint8_t fitting = !view->tcp   ? VNET_HDR_GSO_UDP_L4
                      : view->ipv6 ? VNET_HDR_GSO_TCPV6
                                   : VNET_HDR_GSO_TCPV4;
    bool cwr = view->tcp && frame[view->l4_offset + 13] & TCP_CWR;

    if (view->l4_offset == 0 || view->payload_offset == view->end || type != fitting ||
        hdr->gso_size == 0 || view->end != len || cwr != (bool)(hdr->gso_type & VNET_HDR_GSO_ECN) ||
        hdr->hdr_len != view->payload_offset)
        return false;
    return view->tcp || get_be16(frame + view->l4_offset + 4) == view->end - view->l4_offset;
}

static unsigned cut_super(const struct virtio_net_hdr *hdr, const uint8_t *frame,
                          const struct cutter_view *view,
                          void (*visit)(void *context, const uint8_t *packet, size_t len),
                          void *context)
{
    static _Thread_local uint8_t packet[CUTTER_PACKET_BYTES_MAX];
    size_t payload = view->end - view->payload_offset;
    unsigned count = 0;

    for (size_t from = 0; from < payload; from += hdr->gso_size) {
        size_t bytes = CV_MIN((size_t)hdr->gso_size, payload - from);

        visit(context, packet, make_packet(frame, view, count++, from, bytes, packet));
    }
    return count;
}

unsigned cutter_cut(const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len,
                    void (*visit)(void *context, const uint8_t *packet, size_t len), void *context,
                    struct error *error)
{
    static _Thread_local uint8_t packet[CUTTER_PACKET_BYTES_MAX];
    bool is_super = hdr->gso_type != VNET_HDR_GSO_NONE;
    bool is_partial = hdr->flags & VNET_HDR_F_NEEDS_CSUM;
    struct cutter_view view;

    if (len > sizeof(packet) || !cutter_view(frame, len, &view)) {
        error_set(error, -EBADMSG, "headers of %zu bytes contradict each other", len);
        return 0;
    }
    if ((is_super && !is_partial) || (is_partial && !partial_is_right(hdr, frame, &view))) {
        error_set(error, -EBADMSG, "flags %u, csum_start %u, csum_offset %u do not fit the frame",
                  hdr->flags, hdr->csum_start, hdr->csum_offset);
        return 0;
    }
    if (is_super && !gso_is_right(hdr, frame, &view, len)) {
        error_set(error, -EBADMSG, "gso_type %u, gso_size %u, hdr_len %u do not fit the frame",
                  hdr->gso_type, hdr->gso_size, hdr->hdr_len);
        return 0;
    }
    if (is_super)
        return cut_super(hdr, frame, &view, visit, context);
    memcpy(packet, frame, len);
    if (is_partial)
        complete_checksum(packet, &view, view.end);
    visit(context, packet, len);
    return 1;
}

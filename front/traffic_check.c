/*
 * The judge of traffic (see traffic.h). What is not ours (another EtherType, another port) is only
 * counted as foreign; what is ours must be right in every header field that the switch may touch.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "crc32c.h"
#include "cutter.h"
#include "traffic.h"
#include "traffic_bytes.h"

enum { ETHER_BYTES = 14 };

/* Where things are in one frame of ours. */
struct frame_view {
    const struct virtio_net_hdr *hdr;
    const uint8_t *frame;
    size_t len;        /* without padding behind the IP packet */
    size_t frame_len;  /* with it */
    const uint8_t *ip; /* NULL: plain Ethernet */
    bool ipv6, tcp;
    size_t l4_offset;      /* 0: plain Ethernet */
    size_t payload_offset; /* first byte behind the headers */
    uint16_t port;         /* destination port; TRAFFIC_NUMBERED_PORT for plain Ethernet */
};

int traffic_checker_init(struct traffic_checker *checker, uint32_t flow_first, unsigned flow_count,
                         unsigned takes)
{
    *checker = (struct traffic_checker){.takes = takes,
                                        .frame_bytes_max = 1514,
                                        .flow_first = flow_first,
                                        .flow_count = flow_count};
    checker->flows = calloc(flow_count, sizeof(*checker->flows));
    return checker->flows ? 0 : -ENOMEM;
}

void traffic_checker_uninit(struct traffic_checker *checker)
{
    free(checker->flows);
    checker->flows = NULL;
}

CV_PRINTF(2, 3) static void wrong(struct traffic_checker *checker, const char *format, ...)
{
    va_list arguments;

    if (checker->counts.altered++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(checker->first_wrong, sizeof(checker->first_wrong), format, arguments);
    va_end(arguments);
}

static struct traffic_flow *find_flow(struct traffic_checker *checker, uint32_t flow)
{
    uint32_t index = flow - checker->flow_first;

    return index < checker->flow_count ? &checker->flows[index] : NULL;
}

/* --- finding our frames --- */

static bool view_transport(struct frame_view *view)
{
    const uint8_t *l4 = view->frame + view->l4_offset;
    size_t l4_bytes = view->tcp ? 20 : 8;

    if (view->len < view->l4_offset + l4_bytes)
        return false;
    if (view->tcp)
        l4_bytes = (size_t)(l4[12] >> 4) * 4;
    view->payload_offset = view->l4_offset + l4_bytes;
    view->port = get_be16(l4 + 2);
    return view->len >= view->payload_offset &&
           (view->port == TRAFFIC_NUMBERED_PORT || view->port == TRAFFIC_STREAM_PORT);
}

/* False: not ours. Short frames are padded on some wires; the IP length says where they end. */
static bool view_init(struct frame_view *view, const struct virtio_net_hdr *hdr,
                      const uint8_t *frame, size_t len)
{
    uint16_t ethertype = len >= ETHER_BYTES ? get_be16(frame + 12) : 0;
    const uint8_t *ip = frame + ETHER_BYTES;
    size_t ip_len;

    *view = (struct frame_view){.hdr = hdr, .frame = frame, .len = len, .frame_len = len};
    if (ethertype == TRAFFIC_ETHERTYPE) {
        view->payload_offset = ETHER_BYTES;
        view->port = TRAFFIC_NUMBERED_PORT;
        return len >= ETHER_BYTES + TRAFFIC_RECORD_BYTES;
    }
    view->ipv6 = ethertype == 0x86dd;
    if ((ethertype != 0x0800 && !view->ipv6) || len < ETHER_BYTES + (view->ipv6 ? 40u : 20u))
        return false;
    if (!view->ipv6 && ip[0] != 0x45)
        return false;
    view->ip = ip;
    view->tcp = ip[view->ipv6 ? 6 : 9] == 6;
    view->l4_offset = ETHER_BYTES + (view->ipv6 ? 40 : 20);
    ip_len = view->ipv6 ? 40u + get_be16(ip + 4) : get_be16(ip + 2);
    if (ETHER_BYTES + ip_len < len && len <= 60)
        view->len = ETHER_BYTES + ip_len;
    return (view->tcp || ip[view->ipv6 ? 6 : 9] == 17) && view_transport(view);
}

/* --- headers --- */

static bool ip_is_right(struct traffic_checker *checker, const struct frame_view *view)
{
    size_t len = ETHER_BYTES + (view->ipv6 ? 40u + get_be16(view->ip + 4) : get_be16(view->ip + 2));

    if (len != view->len) {
        wrong(checker, "IP says %zu bytes, the frame has %zu", len, view->len);
        return false;
    }
    if (!view->ipv6 && sum_fold(sum_add(0, view->ip, 20)) != 0xffff) {
        wrong(checker, "IPv4 header checksum is wrong");
        return false;
    }
    len = view->len - view->l4_offset;
    if (!view->tcp && get_be16(view->frame + view->l4_offset + 4) != len) {
        wrong(checker, "UDP length is %u, not %zu", get_be16(view->frame + view->l4_offset + 4),
              len);
        return false;
    }
    return true;
}

static bool checksum_is_right(struct traffic_checker *checker, const struct frame_view *view)
{
    const uint8_t *l4 = view->frame + view->l4_offset;
    unsigned offset = view->tcp ? 16 : 6;
    size_t len = view->len - view->l4_offset;
    uint64_t sum = sum_pseudo_header(view->ip, view->ipv6, view->tcp ? 6 : 17, len);

    if (view->hdr->flags & VNET_HDR_F_NEEDS_CSUM) {
        if (!(checker->takes & TRAFFIC_TAKES_CSUM) || view->hdr->csum_start != view->l4_offset ||
            view->hdr->csum_offset != offset || get_be16(l4 + offset) != sum_fold(sum)) {
            wrong(checker, "NEEDS_CSUM at %u + %u with sum %04x, not %zu + %u with %04x%s",
                  view->hdr->csum_start, view->hdr->csum_offset, get_be16(l4 + offset),
                  view->l4_offset, offset, sum_fold(sum),
                  checker->takes & TRAFFIC_TAKES_CSUM ? "" : ", and not agreed");
            return false;
        }
        return true;
    }
    if (!view->tcp && !view->ipv6 && get_be16(l4 + 6) == 0)
        return true;
    if (sum_fold(sum_add(sum, l4, len)) != 0xffff) {
        wrong(checker, "transport checksum %04x of %zu bytes is wrong", get_be16(l4 + offset), len);
        return false;
    }
    return true;
}

/* The segmentation request, and what may be as long as it is. */
static bool gso_is_right(struct traffic_checker *checker, const struct frame_view *view)
{
    uint8_t type = view->hdr->gso_type & (uint8_t)~VNET_HDR_GSO_ECN;
    uint8_t fitting = !view->tcp   ? VNET_HDR_GSO_UDP_L4
                      : view->ipv6 ? VNET_HDR_GSO_TCPV6
                                   : VNET_HDR_GSO_TCPV4;
    unsigned needed = !view->tcp   ? TRAFFIC_TAKES_USO
                      : view->ipv6 ? TRAFFIC_TAKES_TSO6
                                   : TRAFFIC_TAKES_TSO4;

    if (type == VNET_HDR_GSO_NONE) {
        if (view->len > checker->frame_bytes_max) {
            wrong(checker, "%zu bytes without segmentation offload", view->len);
            return false;
        }
        return true;
    }
    if (type != fitting || !(checker->takes & needed) || view->hdr->gso_size == 0 ||
        view->l4_offset == 0 || !(view->hdr->flags & VNET_HDR_F_NEEDS_CSUM) ||
        view->payload_offset + view->hdr->gso_size > checker->frame_bytes_max) {
        wrong(checker, "gso_type %u, gso_size %u, flags %u do not fit a %s packet or the features",
              type, view->hdr->gso_size, view->hdr->flags, view->tcp ? "TCP" : "UDP");
        return false;
    }
    checker->counts.super++;
    return true;
}

/* --- numbered frames --- */

static bool crc_is_right(const struct frame_view *view)
{
    static const uint8_t zeros[4];
    size_t csum_at = view->l4_offset ? view->l4_offset + (view->tcp ? 16 : 6) : 0;
    size_t crc_at = view->payload_offset + 14, at = 0;
    uint32_t crc = CRC32C_START;

    if (csum_at > 0) {
        crc = crc32c_add(crc, view->frame, csum_at);
        crc = crc32c_add(crc, zeros, 2);
        at = csum_at + 2;
    }
    crc = crc32c_add(crc, view->frame + at, crc_at - at);
    crc = crc32c_add(crc, zeros, 4);
    crc = crc32c_add(crc, view->frame + crc_at + 4, view->len - crc_at - 4);
    return crc32c_finish(crc) == get_le32(view->frame + crc_at);
}

static void window_clear(struct traffic_flow *flow, uint64_t from, uint64_t to)
{
    if (to - from >= TRAFFIC_WINDOW) {
        memset(flow->seen, 0, sizeof(flow->seen));
        return;
    }
    for (uint64_t number = from; number != to; number++)
        flow->seen[number % TRAFFIC_WINDOW / 64] &= ~(UINT64_C(1) << number % 64);
}

static void count_number(struct traffic_checker *checker, struct traffic_flow *flow,
                         uint64_t number)
{
    uint64_t *seen = &flow->seen[number % TRAFFIC_WINDOW / 64], bit = UINT64_C(1) << number % 64;

    if (number >= flow->next_number) {
        window_clear(flow, flow->next_number, number);
        flow->next_number = number + 1;
    } else if (number + TRAFFIC_WINDOW < flow->next_number || (*seen & bit)) {
        checker->counts.doubled++;
        return;
    } else {
        checker->counts.reordered++;
    }
    *seen |= bit;
    flow->distinct++;
}

/* Right, but of a flow that others exchange: a bridge floods what it has not learnt yet. */
static void count_foreign(struct traffic_checker *checker, const struct frame_view *view)
{
    checker->counts.foreign++;
    checker->counts.frames--;
    checker->counts.bytes -= view->frame_len;
}

static void check_numbered(struct traffic_checker *checker, struct frame_view *view)
{
    const uint8_t *record = view->frame + view->payload_offset;
    struct traffic_flow *flow;

    if (view->len < view->payload_offset + TRAFFIC_RECORD_BYTES) {
        wrong(checker, "frame cut to %zu bytes", view->len);
        return;
    }
    if (get_le16(record + 12) < view->len && view->len <= 60)
        view->len = get_le16(record + 12);
    flow = find_flow(checker, get_le32(record));
    if (get_le16(record + 12) != (uint16_t)view->len || !crc_is_right(view)) {
        wrong(checker, "flow %u number %llu: %zu bytes (sent: %u) with another CRC",
              get_le32(record), (unsigned long long)get_le64(record + 4), view->len,
              get_le16(record + 12));
    } else if (flow) {
        count_number(checker, flow, get_le64(record + 4));
    } else {
        count_foreign(checker, view);
    }
}

/* One of the packets of a super-packet that was merged from numbered frames. */
static void check_cut(void *context, const uint8_t *packet, size_t len)
{
    static const struct virtio_net_hdr no_hdr;
    struct traffic_checker *checker = context;
    struct frame_view view;

    checker->counts.frames++;
    checker->counts.merged++;
    checker->counts.bytes += len;
    if (!view_init(&view, &no_hdr, packet, len))
        wrong(checker, "a super-packet holds %zu bytes of something else", len);
    else
        check_numbered(checker, &view);
}

static void check_numbered_super(struct traffic_checker *checker, const struct frame_view *view)
{
    struct error error;

    checker->counts.frames--; /* its packets count, and what cannot be cut counts once */
    checker->counts.bytes -= view->frame_len;
    if (cutter_cut(view->hdr, view->frame, view->frame_len, check_cut, checker, &error) == 0) {
        checker->counts.frames++;
        wrong(checker, "%s", error.text);
    }
}

/* --- streams --- */

static void count_stretch(struct traffic_checker *checker, struct traffic_flow *flow,
                          uint64_t offset, size_t len)
{
    if (offset >= flow->next_offset) {
        flow->gap_bytes += offset - flow->next_offset;
        flow->next_offset = offset + len;
    } else if (flow->gap_bytes >= len) { /* old bytes while some are missing: these came late */
        flow->gap_bytes -= len;
        checker->counts.reordered++;
    } else {
        checker->counts.doubled++;
    }
}

static void check_stretch(struct traffic_checker *checker, struct traffic_flow *flow,
                          uint32_t flow_id, uint64_t offset, const uint8_t *bytes, size_t len)
{
    size_t good = stream_match(flow_id, offset, bytes, len);

    if (good < len)
        wrong(checker, "stream %u: byte %llu is wrong (%zu of a packet's %zu)", flow_id,
              (unsigned long long)offset + good, good, len);
    else
        count_stretch(checker, flow, offset, len);
}

static void check_tcp(struct traffic_checker *checker, const struct frame_view *view)
{
    const uint8_t *l4 = view->frame + view->l4_offset;
    uint32_t flow_id = get_be32(l4 + 8), sequence = get_be32(l4 + 4);
    struct traffic_flow *flow = find_flow(checker, flow_id);
    uint64_t next;

    if (!flow) {
        count_foreign(checker, view);
        return;
    }
    next = flow->next_offset; /* the full offset is the one nearest to it */
    check_stretch(checker, flow, flow_id,
                  next + (uint64_t)(int64_t)(int32_t)(sequence - (uint32_t)next),
                  view->frame + view->payload_offset, view->len - view->payload_offset);
}

static void check_datagrams(struct traffic_checker *checker, const struct frame_view *view)
{
    const uint8_t *at = view->frame + view->payload_offset;
    size_t left = view->len - view->payload_offset;
    size_t each = view->hdr->gso_type ? view->hdr->gso_size : left;

    if (left > TRAFFIC_STREAM_RECORD_BYTES && !find_flow(checker, get_le32(at))) {
        count_foreign(checker, view);
        return;
    }
    while (left > 0) {
        size_t len = CV_MIN(each, left);
        struct traffic_flow *flow = len > 4 ? find_flow(checker, get_le32(at)) : NULL;

        if (len <= TRAFFIC_STREAM_RECORD_BYTES || !flow) {
            wrong(checker, "a datagram of %zu bytes was never sent like this", len);
            return;
        }
        check_stretch(checker, flow, get_le32(at), get_le64(at + 8),
                      at + TRAFFIC_STREAM_RECORD_BYTES, len - TRAFFIC_STREAM_RECORD_BYTES);
        at += len;
        left -= len;
    }
}

void traffic_check(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                   size_t len)
{
    struct traffic_checker *checker = context;
    struct frame_view view;

    if (!view_init(&view, hdr, frame, len)) {
        checker->counts.foreign++;
        return;
    }
    checker->counts.frames++;
    checker->counts.bytes += len;
    if (view.ip && !ip_is_right(checker, &view))
        return;
    if (!gso_is_right(checker, &view) || (view.ip && !checksum_is_right(checker, &view)))
        return;
    if (view.port == TRAFFIC_NUMBERED_PORT && hdr->gso_type != VNET_HDR_GSO_NONE)
        check_numbered_super(checker, &view);
    else if (view.port == TRAFFIC_NUMBERED_PORT)
        check_numbered(checker, &view);
    else if (view.tcp)
        check_tcp(checker, &view);
    else
        check_datagrams(checker, &view);
}

uint64_t traffic_lost(const struct traffic_checker *checker, uint32_t flow, uint64_t sent)
{
    return sent - checker->flows[flow - checker->flow_first].distinct;
}

uint64_t traffic_lost_bytes(const struct traffic_checker *checker, uint32_t flow,
                            uint64_t sent_bytes)
{
    const struct traffic_flow *f = &checker->flows[flow - checker->flow_first];

    return sent_bytes - f->next_offset + f->gap_bytes;
}

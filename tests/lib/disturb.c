#include "disturb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cutter.h"
#include "traffic_bytes.h"

enum {
    ETHER_BYTES = 14,
    VLAN_BYTES = 4,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_BYTES = 20,
    UDP_BYTES = 8,
    TIMESTAMP_BYTES = 12, /* with two NOPs before */
    SACK_BYTES = 12,      /* one block, with two NOPs before */
    IP_OPTION_BYTES = 4,
    MTU = 1500,
    SHORTEST_BYTES = 60, /* Ethernet pads to this */
    PORT_FIRST = 20000,  /* source port of flow 0 */
    PORT_TO = 7709,
    MESSAGE_PACKETS_MAX = 60,
    RUN_PACKETS_MAX = 30,
    DELAY_PACKETS_MAX = 4,
};

enum { FIN = 0x01, PSH = 0x08, ACK = 0x10, URG = 0x20, CWR = 0x80 };

/* What all packets of a flow have in common; dealt out in turn. */
enum variant {
    VARIANT_TIMESTAMPS,
    VARIANT_PLAIN,
    VARIANT_ECN,
    VARIANT_FIXED_ID,    /* IPv4: id 0 */
    VARIANT_VLAN,        /* a tag */
    VARIANT_IP_OPTIONS,  /* IPv4: two NOPs and an end of list */
    VARIANT_NO_CHECKSUM, /* UDP over IPv4 */
    VARIANT_COUNT
};

/* One packet in the making. */
struct recipe {
    struct disturb_flow *flow;
    bool ipv6, tcp;
    bool has_vlan, has_ip_options, has_timestamp, has_sack;
    bool is_fragment, has_wrong_checksum, has_no_checksum;
    uint8_t tcp_flags;
    size_t l3, l4, headers; /* offsets: IP, transport, payload */
    size_t payload;         /* bytes */
};

/* --- chance --- */

static uint64_t draw_word(struct disturber *d)
{
    d->random += UINT64_C(0x9e3779b97f4a7c15);
    return mix64(d->random);
}

/* 0 to n - 1. */
static unsigned draw(struct disturber *d, unsigned n)
{
    return (unsigned)((draw_word(d) >> 32) * n >> 32);
}

static bool happens(struct disturber *d, double share)
{
    return (double)(draw_word(d) >> 11) * 0x1p-53 < share;
}

static bool once_in(struct disturber *d, unsigned n)
{
    return draw(d, n) == 0;
}

/* --- one packet --- */

static bool is_tcp(const struct disturber *d)
{
    return d->options.kind == TRAFFIC_TCP4 || d->options.kind == TRAFFIC_TCP6;
}

static bool is_ipv6(const struct disturber *d)
{
    return d->options.kind == TRAFFIC_TCP6 || d->options.kind == TRAFFIC_UDP6;
}

static void lay_out(struct recipe *r)
{
    r->l3 = ETHER_BYTES + (r->has_vlan ? VLAN_BYTES : 0);
    r->l4 = r->l3 + (r->ipv6 ? IPV6_BYTES : IPV4_BYTES + (r->has_ip_options ? IP_OPTION_BYTES : 0));
    r->headers = r->l4 + (r->tcp ? TCP_BYTES : UDP_BYTES) +
                 (r->has_timestamp ? TIMESTAMP_BYTES : 0) + (r->has_sack ? SACK_BYTES : 0);
}

static size_t payload_room(const struct disturber *d, const struct recipe *r)
{
    size_t room = MTU - (r->headers - r->l3);

    return d->options.payload_max > 0 ? CV_MIN(room, d->options.payload_max) : room;
}

/* A message is a row of segments of one size, all but the last. */
static void begin_message(struct disturber *d, struct disturb_flow *flow, size_t room)
{
    flow->message_left = 1 + draw(d, MESSAGE_PACKETS_MAX);
    flow->segment_bytes = once_in(d, 4) ? 1 + draw(d, (unsigned)room) : room;
    if (once_in(d, 2))
        flow->acknowledgement += draw(d, 3000);
    if (once_in(d, 2))
        flow->timestamp += draw(d, 3);
}

/* What changes for good. Each comes alone as a rule, so that no other hides that it is missed. */
static void change_flow(struct disturber *d, struct disturb_flow *flow)
{
    if (once_in(d, 100))
        flow->timestamp++;
    if (once_in(d, 200))
        flow->ip_id = (uint16_t)draw_word(d);
    if (once_in(d, 200))
        flow->acknowledgement += 1448;
    if (once_in(d, 200))
        flow->sequence += 1 + draw(d, 5000);
    if (once_in(d, 300))
        flow->window = (uint16_t)draw_word(d);
    if (once_in(d, 300))
        flow->ttl = (uint8_t)(1 + draw(d, 255));
    if (once_in(d, 300))
        flow->tos = (uint8_t)(draw(d, 40) << 2);
    if (once_in(d, 300))
        flow->flow_label = draw(d, 1 << 20);
    if (once_in(d, 300))
        flow->vlan = (uint16_t)(1 + draw(d, 8));
}

/* What is odd about one packet. */
static void add_oddities(struct disturber *d, struct recipe *r, bool begins, bool ends)
{
    r->has_sack = r->tcp && once_in(d, 100);
    r->is_fragment = !r->ipv6 && once_in(d, 500);
    r->has_wrong_checksum = !r->has_no_checksum && once_in(d, 300);
    r->tcp_flags = ACK;
    if (ends)
        r->tcp_flags |= once_in(d, 5) ? 0 : PSH;
    if (once_in(d, 200))
        r->tcp_flags |= PSH;
    if (once_in(d, 500))
        r->tcp_flags |= URG;
    if (ends && once_in(d, 50))
        r->tcp_flags |= FIN;
    if (r->flow->variant == VARIANT_ECN && (begins ? once_in(d, 4) : once_in(d, 200)))
        r->tcp_flags |= CWR;
}

static void put_ipv4(struct disturber *d, const struct recipe *r, uint8_t *ip, size_t len)
{
    struct disturb_flow *flow = r->flow;
    bool is_marked = flow->variant == VARIANT_ECN && once_in(d, 50);

    memset(ip, 0, r->l4 - r->l3);
    ip[0] = (uint8_t)(0x40 | (r->l4 - r->l3) / 4);
    ip[1] = (uint8_t)(flow->tos | (flow->variant == VARIANT_ECN ? 2 : 0) | is_marked);
    put_be16(ip + 2, (uint16_t)(len - r->l3));
    put_be16(ip + 4, flow->variant == VARIANT_FIXED_ID ? 0 : flow->ip_id++);
    ip[6] = r->is_fragment ? 0x20 : 0x40; /* more follow; do not fragment */
    ip[8] = flow->ttl;
    ip[9] = r->tcp ? 6 : 17;
    ip[12] = ip[16] = 10;
    ip[13] = ip[17] = 78;
    ip[15] = ip[19] = (uint8_t)(flow - d->flows);
    if (r->has_ip_options)
        ip[20] = ip[21] = 1;
    put_be16(ip + 10, (uint16_t)~sum_fold(sum_add(0, ip, r->l4 - r->l3)));
}

static void put_ipv6(struct disturber *d, const struct recipe *r, uint8_t *ip, size_t len)
{
    struct disturb_flow *flow = r->flow;
    uint32_t tos = flow->tos | (flow->variant == VARIANT_ECN ? 2u + once_in(d, 50) : 0);

    memset(ip, 0, IPV6_BYTES);
    put_be32(ip, UINT32_C(0x60000000) | tos << 20 | flow->flow_label);
    put_be16(ip + 4, (uint16_t)(len - r->l4));
    ip[6] = r->tcp ? 6 : 17;
    ip[7] = flow->ttl;
    ip[8] = ip[24] = 0xfd;
    ip[9] = ip[25] = 0x78;
    ip[23] = ip[39] = (uint8_t)(flow - d->flows);
}

static void put_tcp(const struct recipe *r, uint8_t *l4)
{
    const struct disturb_flow *flow = r->flow;
    uint8_t *option = l4 + TCP_BYTES;

    put_be32(l4 + 4, flow->sequence);
    put_be32(l4 + 8, flow->acknowledgement);
    l4[12] = (uint8_t)((r->headers - r->l4) / 4 << 4);
    l4[13] = r->tcp_flags;
    put_be16(l4 + 14, flow->window);
    put_be16(l4 + 16, 0);
    put_be16(l4 + 18, r->tcp_flags & URG ? 5 : 0);
    if (r->has_timestamp) {
        put_be32(option, 0x0101080a);
        put_be32(option + 4, flow->timestamp);
        put_be32(option + 8, flow->timestamp ^ 0x5555);
        option += TIMESTAMP_BYTES;
    }
    if (r->has_sack) {
        put_be32(option, 0x0101050a);
        put_be32(option + 4, flow->acknowledgement + 1000);
        put_be32(option + 8, flow->acknowledgement + 2000);
    }
}

static void put_checksum(const struct recipe *r, uint8_t *packet, size_t len)
{
    uint8_t *field = packet + r->l4 + (r->tcp ? 16 : 6);
    uint64_t sum = sum_pseudo_header(packet + r->l3, r->ipv6, r->tcp ? 6 : 17, len - r->l4);
    uint16_t checksum = (uint16_t)~sum_fold(sum_add(sum, packet + r->l4, len - r->l4));

    if (r->has_no_checksum)
        return;
    if (!r->tcp && checksum == 0)
        checksum = 0xffff;
    if (r->has_wrong_checksum)
        checksum ^= 0x0102;
    put_be16(field, checksum);
}

static size_t put_packet(struct disturber *d, const struct recipe *r, uint8_t *packet)
{
    size_t len = r->headers + r->payload;
    unsigned number = (unsigned)(r->flow - d->flows);
    uint8_t *l4 = packet + r->l4;

    memcpy(packet, d->dst, 6);
    memcpy(packet + 6, d->src, 6);
    if (r->has_vlan)
        put_be32(packet + 12, UINT32_C(0x81000000) | r->flow->vlan);
    put_be16(packet + r->l3 - 2, r->ipv6 ? 0x86dd : 0x0800);
    if (r->ipv6)
        put_ipv6(d, r, packet + r->l3, len);
    else
        put_ipv4(d, r, packet + r->l3, len);
    put_be16(l4, (uint16_t)(PORT_FIRST + number));
    put_be16(l4 + 2, PORT_TO);
    if (r->tcp) {
        put_tcp(r, l4);
    } else {
        put_be16(l4 + 4, (uint16_t)(len - r->l4));
        put_be16(l4 + 6, 0);
    }
    stream_fill(number, r->flow->sequence, packet + r->headers, r->payload);
    put_checksum(r, packet, len);
    while (len < SHORTEST_BYTES)
        packet[len++] = 0;
    return len;
}

/* The flow's next packet, as a good network would deliver it. */
static size_t make_packet(struct disturber *d, struct disturb_flow *flow, uint8_t *packet)
{
    bool tcp = is_tcp(d), ipv6 = is_ipv6(d), begins = flow->message_left == 0, ends;
    struct recipe r = {
        .flow = flow,
        .ipv6 = ipv6,
        .tcp = tcp,
        .has_vlan = flow->variant == VARIANT_VLAN,
        .has_ip_options = !ipv6 && flow->variant == VARIANT_IP_OPTIONS,
        .has_timestamp = tcp && flow->variant != VARIANT_PLAIN,
        .has_no_checksum = !tcp && !ipv6 && flow->variant == VARIANT_NO_CHECKSUM,
    };
    size_t room;

    lay_out(&r);
    if (begins)
        begin_message(d, flow, payload_room(d, &r));
    ends = --flow->message_left == 0;
    change_flow(d, flow);
    add_oddities(d, &r, begins, ends);
    lay_out(&r); /* a SACK may have come */
    room = CV_MIN(payload_room(d, &r), flow->segment_bytes);
    r.payload = ends ? 1 + draw(d, (unsigned)room) : room;
    if (tcp && once_in(d, 100))
        r.payload = 0;
    room = put_packet(d, &r, packet);
    flow->sequence += (uint32_t)r.payload;
    return room;
}

/* --- the disturbances --- */

static size_t take_delayed(struct disturb_delayed *delayed, uint8_t *packet)
{
    size_t len = delayed->len;

    memcpy(packet, delayed->bytes, len);
    delayed->len = 0;
    return len;
}

static void delay(struct disturber *d, struct disturb_delayed *delayed, const uint8_t *packet,
                  size_t len, unsigned after_min)
{
    delayed->len = (uint16_t)len;
    delayed->after = after_min + draw(d, DELAY_PACKETS_MAX);
    memcpy(delayed->bytes, packet, len);
}

/* The delayed packet whose turn it is, if any; otherwise one more has passed it. */
static bool is_due(struct disturb_delayed *delayed)
{
    return delayed->len > 0 && delayed->after-- == 0;
}

static size_t next_of_flow(struct disturber *d, struct disturb_flow *flow, uint8_t *packet)
{
    if (is_due(&flow->again))
        return take_delayed(&flow->again, packet);
    if (is_due(&flow->held))
        return take_delayed(&flow->held, packet);
    for (;;) {
        size_t len = make_packet(d, flow, packet);

        if (happens(d, d->options.loss)) {
            d->left_out++;
        } else if (flow->held.len == 0 && happens(d, d->options.reorder)) {
            delay(d, &flow->held, packet, len, 1);
            d->swapped++;
        } else {
            if (flow->again.len == 0 && happens(d, d->options.duplicate)) {
                delay(d, &flow->again, packet, len, 0);
                d->doubled++;
            }
            return len;
        }
    }
}

size_t disturber_next(struct disturber *d, uint8_t *packet, unsigned *ret_flow)
{
    if (d->run_left == 0) {
        d->flow = draw(d, d->options.flows);
        d->run_left = 1 + draw(d, RUN_PACKETS_MAX);
    }
    d->run_left--;
    *ret_flow = d->flow;
    return next_of_flow(d, &d->flows[d->flow], packet);
}

int disturber_init(struct disturber *d, const struct disturb_options *options, const uint8_t dst[6],
                   const uint8_t src[6])
{
    assert(options->flows > 0 && options->flows <= DISTURB_FLOWS_MAX);
    *d = (struct disturber){.options = *options, .random = options->seed};
    memcpy(d->dst, dst, sizeof(d->dst));
    memcpy(d->src, src, sizeof(d->src));
    d->flows = calloc(options->flows, sizeof(*d->flows));
    if (!d->flows)
        return -ENOMEM;
    for (unsigned i = 0; i < options->flows; i++) {
        struct disturb_flow *flow = &d->flows[i];

        flow->variant = (uint8_t)(i % VARIANT_COUNT);
        flow->ttl = 64;
        flow->sequence = (uint32_t)draw_word(d); /* so that sequence numbers wrap, too */
        flow->ip_id = (uint16_t)draw_word(d);
        flow->window = 500;
    }
    return 0;
}

void disturber_uninit(struct disturber *d)
{
    free(d->flows);
    d->flows = NULL;
}

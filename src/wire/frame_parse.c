/*
 * One pass from the Ethernet header down. A step reads only what lies before `end`, the nearer of
 * the head's end and the IP packet's end, so a length field that lies can take facts away, never
 * add one. The common frame (no tag, no extension header) runs straight through: loops are entered
 * only for VLAN tags and IPv6 extension headers, and both are bounded.
 */
#include "wire/frame_parse.h"

#include "wire/bytes.h"
#include "wire/ip.h"

enum {
    VLAN_TAGS_MAX = 4,       /* tags walked; what lies behind more is not looked at */
    IPV6_EXTENSIONS_MAX = 8, /* extension headers walked */
};

enum {
    PORT_DHCP_SERVER = 67,    /* and 68, the client (RFC 2131, 4.1) */
    PORT_DHCPV6_CLIENT = 546, /* and 547, the server (RFC 8415, 7.2) */
    DSCP_EF = 46,             /* RFC 3246 */
    DSCP_CS6 = 48,            /* RFC 2474, 4.2.2 */
};

/* The IP packet inside the frame, as far as it may be read. */
struct ip_view {
    const uint8_t *head; /* the frame's first byte */
    size_t end;          /* first byte that is outside the head or outside the packet */
    size_t l4;           /* where the transport header starts; 0: a fragment, or not reached */
    uint64_t addresses;  /* both addresses, mixed */
    uint8_t icmp;        /* ICMP's protocol number in this IP version */
};

/* Multiplies to 128 bits and folds: every input bit reaches every output bit but the lowest few. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product =
        (unsigned __int128)(a ^ UINT64_C(0x9e3779b97f4a7c15)) * (b ^ UINT64_C(0xd6e8feb86659fd93));

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t hash_finish(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 32);
}

static inline uint16_t express_if(bool express)
{
    return express ? FRAME_EXPRESS : 0;
}

static inline uint16_t express_by_traffic_class(uint8_t traffic_class)
{
    unsigned dscp = traffic_class >> 2;

    return express_if(dscp == DSCP_EF || dscp == DSCP_CS6);
}

static inline void parse_tcp(const struct ip_view *ip, struct frame_facts *facts)
{
    const uint8_t *tcp = ip->head + ip->l4;
    size_t room = ip->end - ip->l4;
    size_t header_len;

    if (room < TCP_HEADER_BYTES)
        return;
    header_len = (size_t)(tcp[TCP_DATA_OFFSET] >> 4) * 4;
    if (header_len < TCP_HEADER_BYTES || header_len > room)
        return;
    facts->flags |= FRAME_TCP;
    facts->flags |= express_if(tcp[TCP_FLAGS_OFFSET] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH));
    facts->payload_offset = (uint16_t)(ip->l4 + header_len);
}

static inline void parse_udp(const struct ip_view *ip, struct frame_facts *facts)
{
    uint16_t dst_port;

    if (ip->end - ip->l4 < UDP_HEADER_BYTES)
        return;
    dst_port = bytes_load_be16(ip->head + ip->l4 + 2);
    facts->flags |= FRAME_UDP;
    facts->flags |= express_if((unsigned)dst_port - PORT_DHCP_SERVER <= 1 ||
                               (unsigned)dst_port - PORT_DHCPV6_CLIENT <= 1);
    facts->payload_offset = (uint16_t)(ip->l4 + UDP_HEADER_BYTES);
}

/* What both IP versions share once the transport protocol and its place are known. */
static inline void parse_transport(const struct ip_view *ip, struct frame_facts *facts)
{
    uint64_t ports = 0;

    if (CV_LIKELY(ip->l4 != 0 && ip->l4 < ip->end)) {
        facts->l4_offset = (uint16_t)ip->l4;
        if (facts->ip_protocol == PROTOCOL_UDP)
            parse_udp(ip, facts);
        else if (facts->ip_protocol == PROTOCOL_TCP)
            parse_tcp(ip, facts);
        if (CV_LIKELY(facts->payload_offset != 0))
            ports = bytes_load_be32(ip->head + ip->l4);
    }
    facts->flags |= express_if(facts->ip_protocol == ip->icmp);
    facts->flow_hash = hash_finish(mix(ip->addresses, ports << 8 | facts->ip_protocol));
}

/* False when this is no well-formed IPv4 header, or its packet is longer than the frame (RFC 791).
 */
static inline bool parse_ipv4(const uint8_t *head, size_t head_len, size_t frame_len,
                              struct frame_facts *facts)
{
    size_t l3 = facts->l3_offset;
    const uint8_t *header = head + l3;
    size_t header_len, total_len;
    struct ip_view ip;
    bool fragment;

    if (head_len - l3 < IPV4_HEADER_BYTES)
        return false;
    header_len = (size_t)(header[0] & 0x0f) * 4;
    total_len = bytes_load_be16(header + IPV4_TOTAL_LENGTH_OFFSET);
    if (header[0] >> 4 != 4 || header_len < IPV4_HEADER_BYTES || header_len > head_len - l3 ||
        total_len < header_len || total_len > frame_len - l3)
        return false;

    fragment = bytes_load_be16(header + IPV4_FRAGMENT_OFFSET) & IPV4_FRAGMENT_MASK;
    facts->flags |= FRAME_IPV4 | express_by_traffic_class(header[1]);
    facts->flags |= fragment ? FRAME_FRAGMENT : 0;
    facts->flags |= l3 + total_len < frame_len ? FRAME_TRAILER : 0;
    facts->ip_protocol = header[9];
    ip.head = head;
    ip.end = CV_MIN(head_len, l3 + total_len);
    ip.l4 = fragment ? 0 : l3 + header_len;
    ip.addresses = bytes_load_be64(header + IPV4_ADDRESSES_OFFSET);
    ip.icmp = PROTOCOL_ICMP;
    parse_transport(&ip, facts);
    return true;
}

static inline bool is_extension(uint8_t protocol)
{
    return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING ||
           protocol == PROTOCOL_FRAGMENT || protocol == PROTOCOL_AUTHENTICATION ||
           protocol == PROTOCOL_DESTINATION;
}

/*
 * Walks IPv6 extension headers from `at` (RFC 8200, 4; RFC 4302, 2.2) and leaves the protocol
 * behind them in the facts. Returns where that starts, 0 behind a fragment header or where they run
 * out of the head, the packet, or the bound.
 */
static size_t walk_extensions(const uint8_t *head, size_t end, size_t at, struct frame_facts *facts)
{
    for (unsigned walked = 0; is_extension(facts->ip_protocol); walked++) {
        size_t len;

        if (walked == IPV6_EXTENSIONS_MAX || end - at < 8)
            return 0;
        len = facts->ip_protocol == PROTOCOL_AUTHENTICATION ? ((size_t)head[at + 1] + 2) * 4
                                                            : ((size_t)head[at + 1] + 1) * 8;
        if (facts->ip_protocol == PROTOCOL_FRAGMENT) {
            facts->flags |= FRAME_FRAGMENT;
            facts->ip_protocol = head[at];
            return 0;
        }
        if (len > end - at)
            return 0;
        facts->ip_protocol = head[at];
        at += len;
    }
    return at;
}

/* False when this is no IPv6 header, or its packet is longer than the frame (RFC 8200, 3). */
static inline bool parse_ipv6(const uint8_t *head, size_t head_len, size_t frame_len,
                              struct frame_facts *facts)
{
    size_t l3 = facts->l3_offset;
    const uint8_t *header = head + l3;
    const uint8_t *addresses = header + IPV6_ADDRESSES_OFFSET;
    size_t total_len;
    struct ip_view ip;

    if (head_len - l3 < IPV6_HEADER_BYTES)
        return false;
    total_len = IPV6_HEADER_BYTES + (size_t)bytes_load_be16(header + IPV6_PAYLOAD_LENGTH_OFFSET);
    if (header[0] >> 4 != 6 || total_len > frame_len - l3)
        return false;

    facts->flags |= FRAME_IPV6;
    facts->flags |= express_by_traffic_class((uint8_t)(header[0] << 4 | header[1] >> 4));
    facts->flags |= l3 + total_len < frame_len ? FRAME_TRAILER : 0;
    facts->ip_protocol = header[IPV6_NEXT_HEADER_OFFSET];
    ip.head = head;
    ip.end = CV_MIN(head_len, l3 + total_len);
    ip.l4 = walk_extensions(head, ip.end, l3 + IPV6_HEADER_BYTES, facts);
    ip.addresses = mix(mix(bytes_load_be64(addresses), bytes_load_be64(addresses + 8)) ^
                           bytes_load_be64(addresses + 16),
                       bytes_load_be64(addresses + 24));
    ip.icmp = PROTOCOL_ICMPV6;
    parse_transport(&ip, facts);
    return true;
}

static inline bool is_vlan(uint16_t ethertype)
{
    return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_VLAN_SERVICE;
}

/* False when the frame ends inside a tag that its type announced. */
static bool parse_vlan(const uint8_t *head, size_t head_len, struct frame_facts *facts)
{
    for (unsigned tags = 0; tags < VLAN_TAGS_MAX && is_vlan(facts->ethertype); tags++) {
        const uint8_t *tag = head + facts->l3_offset;

        if (head_len - facts->l3_offset < VLAN_TAG_BYTES)
            return false;
        if (tags == 0)
            facts->vlan_tci = bytes_load_be16(tag);
        facts->flags |= FRAME_VLAN;
        facts->ethertype = bytes_load_be16(tag + 2);
        facts->l3_offset += VLAN_TAG_BYTES;
    }
    return true;
}

/* Everything but the copy to the caller: a local result stays in registers all the way down. */
static inline struct frame_facts parse(const uint8_t *head, size_t head_len, size_t frame_len)
{
    struct frame_facts facts = {.flags = FRAME_MALFORMED};
    uint64_t src_and_type;
    bool is_ip = false;

    if (CV_UNLIKELY(head_len < ETHER_HEADER_BYTES))
        return facts;

    src_and_type = bytes_load_be64(head + 6);
    facts.ethertype = (uint16_t)src_and_type;
    if (CV_UNLIKELY(frame_src(head) & MAC_MULTICAST_BIT))
        return facts;
    facts.l3_offset = ETHER_HEADER_BYTES;
    if (CV_UNLIKELY(is_vlan(facts.ethertype)) && !parse_vlan(head, head_len, &facts))
        return facts;

    facts.flags &= (uint16_t)~FRAME_MALFORMED;
    if (CV_LIKELY(facts.ethertype == ETHERTYPE_IPV4))
        is_ip = parse_ipv4(head, head_len, frame_len, &facts);
    else if (facts.ethertype == ETHERTYPE_IPV6)
        is_ip = parse_ipv6(head, head_len, frame_len, &facts);
    if (CV_LIKELY(is_ip))
        return facts;
    facts.flags |= express_if(facts.ethertype == ETHERTYPE_ARP);
    facts.flow_hash = hash_finish(mix(frame_dst(head), src_and_type));
    return facts;
}

void frame_parse(const uint8_t *head, size_t head_len, size_t frame_len,
                 struct frame_facts *ret_facts)
{
    assert(head_len <= frame_len);
    *ret_facts = parse(head, head_len, frame_len);
}

/* Adds `n` bytes at `at` to those that count. */
static void mask_add(uint8_t *mask, size_t at, size_t n)
{
    memset(mask + at, 0xff, n);
}

/* What facts of a whole TCP or UDP packet depend on; returns how many bytes, from the first, that
 * concerns. */
static size_t mask_fill(uint8_t *mask, const struct frame_facts *facts)
{
    bool is_ipv4 = facts->flags & FRAME_IPV4;
    size_t l3 = facts->l3_offset, l4 = facts->l4_offset, end = l4 + 4;

    mask_add(mask, 0, l3);
    if (is_ipv4) {
        mask_add(mask, l3, 4); /* version, length, traffic class, total length */
        mask_add(mask, l3 + IPV4_FRAGMENT_OFFSET, 2);
        mask_add(mask, l3 + 9, 1); /* protocol */
        mask_add(mask, l3 + IPV4_ADDRESSES_OFFSET, 8);
    } else {
        mask_add(mask, l3, 2);                              /* version, traffic class */
        mask_add(mask, l3 + IPV6_PAYLOAD_LENGTH_OFFSET, 3); /* and next header */
        mask_add(mask, l3 + IPV6_ADDRESSES_OFFSET, 32);
    }
    mask_add(mask, l4, 4); /* ports */
    if (facts->flags & FRAME_TCP) {
        mask_add(mask, l4 + TCP_DATA_OFFSET, 2); /* and flags */
        end = l4 + TCP_FLAGS_OFFSET + 1;
    }
    return end;
}

void frame_pattern_learn(struct frame_pattern *pattern, const uint8_t *head, size_t head_len,
                         size_t frame_len, const struct frame_facts *facts)
{
    size_t l3_bytes = facts->flags & FRAME_IPV4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    size_t end;

    pattern->words = 0;
    if (facts->payload_offset == 0 || facts->l3_offset != ETHER_HEADER_BYTES ||
        facts->l4_offset != ETHER_HEADER_BYTES + l3_bytes)
        return;
    memset(pattern->mask, 0, sizeof(pattern->mask));
    memset(pattern->value, 0, sizeof(pattern->value));
    end = mask_fill((uint8_t *)pattern->mask, facts);
    pattern->words = (unsigned)((end + sizeof(uint64_t) - 1) / sizeof(uint64_t));
    if (pattern->words * sizeof(uint64_t) > head_len) {
        pattern->words = 0;
        return;
    }
    memcpy(pattern->value, head, pattern->words * sizeof(uint64_t));
    for (unsigned i = 0; i < pattern->words; i++)
        pattern->value[i] &= pattern->mask[i];
    pattern->frame_len = frame_len;
    pattern->facts = *facts;
}

/*
 * From the first bytes of a frame to what the switch must know of it. Works on the private snapshot
 * only, so nothing that a guest changes later can contradict what was decided.
 */
#ifndef CONVOY_WIRE_FRAME_PARSE_H
#define CONVOY_WIRE_FRAME_PARSE_H

#include <string.h>

#include "wire/bytes.h"

/* A MAC address as a number, first byte most significant: 52:54:00:12:34:56 is 0x525400123456. */
typedef uint64_t mac_addr;

#define MAC_BROADCAST     UINT64_C(0xffffffffffff)
#define MAC_MULTICAST_BIT UINT64_C(0x010000000000)

enum frame_flags {
    FRAME_MALFORMED = 1 << 0, /* not even an Ethernet header, a VLAN tag cut short, or a source
                                 address that is multicast: the other flags are void */
    FRAME_VLAN = 1 << 1,      /* at least one VLAN tag; vlan_tci is the outer one */
    FRAME_IPV4 = 1 << 2,      /* l3_offset points to a well-formed IPv4 header */
    FRAME_IPV6 = 1 << 3,      /* l3_offset points to an IPv6 header; extensions were walked */
    FRAME_FRAGMENT = 1 << 4,  /* an IP fragment: no transport facts */
    FRAME_TCP = 1 << 5,       /* l4_offset points to a whole TCP header with its options */
    FRAME_UDP = 1 << 6,       /* l4_offset points to a whole UDP header */
    FRAME_EXPRESS = 1 << 7,   /* never waits for company: ARP, ND, DHCP, ICMP, TCP SYN/FIN/RST, TCP
                                 PSH, DSCP EF or CS6 */
    FRAME_TRAILER = 1 << 8,   /* bytes follow the IP packet's end: Ethernet padding */
};

struct frame_facts {
    uint32_t flow_hash;      /* equal for all frames of a flow (addresses, protocol, ports) */
    uint16_t flags;          /* enum frame_flags */
    uint16_t ethertype;      /* behind all VLAN tags (at most four are walked), host byte order */
    uint16_t vlan_tci;       /* outer tag's TCI, 0 without FRAME_VLAN */
    uint16_t l3_offset;      /* what follows the Ethernet header and its tags; 0: malformed */
    uint16_t l4_offset;      /* transport header (of any protocol) in the head, 0: none known */
    uint16_t payload_offset; /* first byte behind the TCP or UDP header, 0: none known */
    uint8_t ip_protocol;     /* the transport protocol, or the IPv6 extension header at which the
                                walk ended; 0 without an IP flag */
};

enum { FRAME_ADDRESSES_BYTES = 12 }; /* destination and source: how a frame begins */

/* A frame's addresses; its head must hold them. */
static inline mac_addr frame_dst(const uint8_t *head)
{
    return bytes_load_be64(head) >> 16;
}

static inline mac_addr frame_src(const uint8_t *head)
{
    return bytes_load_be64(head + 4) & MAC_BROADCAST;
}

/*
 * Reads facts from the first `head_len` bytes of a frame of `frame_len` bytes (head_len <=
 * frame_len). Never fails: what cannot be read is simply not set, and a frame that cannot be
 * bridged gets FRAME_MALFORMED. IP length fields that exceed the frame take the IP flags away.
 */
void frame_parse(const uint8_t *head, size_t head_len, size_t frame_len,
                 struct frame_facts *ret_facts);

/* Ethernet, IPv6, and TCP to its flags, in words of eight bytes; even, for pairs of them. */
enum { FRAME_PATTERN_WORDS = 10 };

/*
 * A frame that has been parsed, reduced to what its facts depend on. Frames come in trains of one
 * flow, that differ in identification, checksums, sequence numbers and payload alone; those have
 * the same facts, and comparing is cheaper than parsing. Kept for whole, untagged TCP and UDP
 * without IP options or extension headers.
 */
struct frame_pattern {
    unsigned words; /* that count; 0: no frame is like it */
    size_t frame_len;
    uint64_t mask[FRAME_PATTERN_WORDS];  /* bits that count */
    uint64_t value[FRAME_PATTERN_WORDS]; /* ... and what they are */
    struct frame_facts facts;
    unsigned misses;  /* frames in a row that were not like it */
    unsigned skipped; /* frames that are parsed without a look at it, since too many were not */
};

/* Makes *pattern that of a parsed frame, or of none. */
void frame_pattern_learn(struct frame_pattern *pattern, const uint8_t *head, size_t head_len,
                         size_t frame_len, const struct frame_facts *facts);

/*
 * True when frame_parse would find the facts of the pattern. Of frames of one length as many bytes
 * must be at hand as were of the one that was learnt. FRAME_PATTERN_WORDS are read of any, however
 * short it is: `head` has room for them.
 */
static inline bool frame_pattern_fits(const struct frame_pattern *pattern, const uint8_t *head,
                                      size_t frame_len)
{
    uint64_t other = 0;

    if (pattern->words == 0 || frame_len != pattern->frame_len)
        return false;
    for (unsigned i = 0; i < FRAME_PATTERN_WORDS; i++) {
        uint64_t word;

        memcpy(&word, head + sizeof(word) * i, sizeof(word));
        other |= (word & pattern->mask[i]) ^ pattern->value[i];
    }
    return other == 0;
}

#endif

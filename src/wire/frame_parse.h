/*
 * From the first bytes of a frame to what the switch must know of it. Works on the private snapshot
 * only, so nothing that a guest changes later can contradict what was decided.
 */
#ifndef CONVOY_WIRE_FRAME_PARSE_H
#define CONVOY_WIRE_FRAME_PARSE_H

#include "base/compiler.h"

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
    mac_addr dst;            /* destination MAC address */
    mac_addr src;            /* source MAC address */
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

/*
 * Reads facts from the first `head_len` bytes of a frame of `frame_len` bytes (head_len <=
 * frame_len). Never fails: what cannot be read is simply not set, and a frame that cannot be
 * bridged gets FRAME_MALFORMED. IP length fields that exceed the frame take the IP flags away.
 */
void frame_parse(const uint8_t *head, size_t head_len, size_t frame_len,
                 struct frame_facts *ret_facts);

#endif

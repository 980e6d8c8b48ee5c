/* Sizes, protocol numbers and flag bits of Ethernet, IP, TCP and UDP headers, as their RFCs name
 * them. */
#ifndef CONVOY_WIRE_IP_H
#define CONVOY_WIRE_IP_H

enum {
    ETHER_HEADER_BYTES = 14, /* IEEE 802.3: two addresses and the type */
    VLAN_TAG_BYTES = 4,      /* IEEE 802.1Q: TCI and the next type */
    IPV4_HEADER_BYTES = 20,  /* RFC 791, without options */
    IPV6_HEADER_BYTES = 40,  /* RFC 8200, without extension headers */
    TCP_HEADER_BYTES = 20,   /* RFC 9293, without options */
    UDP_HEADER_BYTES = 8,    /* RFC 768 */
};

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,         /* IEEE 802.1Q, customer tag */
    ETHERTYPE_VLAN_SERVICE = 0x88a8, /* IEEE 802.1ad, service tag */
    ETHERTYPE_IPV6 = 0x86dd,
};

/* IANA's assigned Internet protocol numbers. */
enum {
    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_AUTHENTICATION = 51,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_DESTINATION = 60,
};

/* Offsets inside the headers, and bits. */
enum {
    IPV4_TOTAL_LENGTH_OFFSET = 2,
    IPV4_ID_OFFSET = 4,
    IPV4_FRAGMENT_OFFSET = 6,
    IPV4_TTL_OFFSET = 8,
    IPV4_CHECKSUM_OFFSET = 10,
    IPV4_ADDRESSES_OFFSET = 12,
    IPV4_FRAGMENT_MASK = 0x3fff, /* More Fragments, and the offset */
    IPV6_PAYLOAD_LENGTH_OFFSET = 4,
    IPV6_NEXT_HEADER_OFFSET = 6,
    IPV6_HOP_LIMIT_OFFSET = 7,
    IPV6_ADDRESSES_OFFSET = 8,
    TCP_SEQUENCE_OFFSET = 4,
    TCP_ACKNOWLEDGEMENT_OFFSET = 8,
    TCP_DATA_OFFSET = 12,
    TCP_FLAGS_OFFSET = 13,
    TCP_WINDOW_OFFSET = 14,
    TCP_CHECKSUM_OFFSET = 16,
    TCP_URGENT_OFFSET = 18,
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
    TCP_CWR = 0x80,
    UDP_LENGTH_OFFSET = 4,
    UDP_CHECKSUM_OFFSET = 6,
};

#endif

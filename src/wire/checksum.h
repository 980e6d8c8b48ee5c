/* The Internet checksum (RFC 1071) over bytes that lie in several pieces of odd or even length. */
#ifndef CONVOY_WIRE_CHECKSUM_H
#define CONVOY_WIRE_CHECKSUM_H

#include "base/compiler.h"

struct checksum {
    uint64_t sum; /* running sum, not folded */
    bool odd;     /* an odd number of bytes has been added */
};

/* Adds `n` bytes; pieces may have any length. */
void checksum_add(struct checksum *checksum, const void *bytes, size_t n);

/* Folded and complemented, in the byte order in which it is stored with memcpy into a header. */
uint16_t checksum_finish(const struct checksum *checksum);

/* Adds the TCP or UDP pseudo-header of an IPv4 or IPv6 packet (RFC 9293, 3.1; RFC 8200, 8.1). */
void checksum_add_pseudo_header_v4(struct checksum *checksum, const uint8_t *ip_header,
                                   uint8_t protocol, uint32_t l4_len);
void checksum_add_pseudo_header_v6(struct checksum *checksum, const uint8_t *ip_header,
                                   uint8_t protocol, uint32_t l4_len);

#endif

/*
 * RFC 1071's sum, eight bytes at a time. The one's complement sum does not care in which byte order
 * its words are read as long as the result is stored in the same order, and 2^16 is 1 modulo 65535,
 * so words of 64 bits with their carries added back fold to the same 16 bits. A piece that starts
 * at an odd byte has all its bytes in the other half of their words: that is a multiplication by
 * 2^8, which for a sum modulo 2^64 - 1 is a rotation by eight bits.
 */
#include "wire/checksum.h"

#include "wire/bytes.h"
#include "wire/ip.h"

enum { BLOCK_BYTES = 64 };

/* One's complement addition: the carry out of the top comes back in at the bottom. */
static inline uint64_t add_with_carry(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

static inline uint64_t load_64(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return word;
}

/* The last 0 to 7 bytes, zeros behind them. */
static inline uint64_t sum_tail(uint64_t sum, const uint8_t *bytes, size_t n)
{
    uint32_t word_32;
    uint16_t word_16;

    if (n & 4) {
        memcpy(&word_32, bytes, sizeof(word_32));
        sum = add_with_carry(sum, word_32);
        bytes += 4;
    }
    if (n & 2) {
        memcpy(&word_16, bytes, sizeof(word_16));
        sum = add_with_carry(sum, word_16);
        bytes += 2;
    }
    if (n & 1) {
        word_16 = htobe16((uint16_t)(*bytes << 8));
        sum = add_with_carry(sum, word_16);
    }
    return sum;
}

static uint64_t sum_bytes(const uint8_t *bytes, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;

    /* Four sums that do not wait for each other's carry. */
    for (; n >= BLOCK_BYTES; n -= BLOCK_BYTES, bytes += BLOCK_BYTES) {
        a = add_with_carry(a, load_64(bytes));
        b = add_with_carry(b, load_64(bytes + 8));
        c = add_with_carry(c, load_64(bytes + 16));
        d = add_with_carry(d, load_64(bytes + 24));
        a = add_with_carry(a, load_64(bytes + 32));
        b = add_with_carry(b, load_64(bytes + 40));
        c = add_with_carry(c, load_64(bytes + 48));
        d = add_with_carry(d, load_64(bytes + 56));
    }
    for (; n >= 8; n -= 8, bytes += 8)
        a = add_with_carry(a, load_64(bytes));
    a = sum_tail(a, bytes, n);
    return add_with_carry(add_with_carry(a, b), add_with_carry(c, d));
}

void checksum_add(struct checksum *checksum, const void *bytes, size_t n)
{
    uint64_t sum = sum_bytes(bytes, n);

    if (checksum->odd)
        sum = sum << 8 | sum >> 56;
    checksum->sum = add_with_carry(checksum->sum, sum);
    checksum->odd ^= n & 1;
}

uint16_t checksum_finish(const struct checksum *checksum)
{
    uint64_t sum = checksum->sum;

    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void add_protocol_and_len(struct checksum *checksum, uint8_t protocol, uint32_t l4_len)
{
    assert(!checksum->odd);
    checksum->sum = add_with_carry(checksum->sum, htobe32(l4_len));
    checksum->sum = add_with_carry(checksum->sum, htobe16(protocol));
}

void checksum_add_pseudo_header_v4(struct checksum *checksum, const uint8_t *ip_header,
                                   uint8_t protocol, uint32_t l4_len)
{
    add_protocol_and_len(checksum, protocol, l4_len);
    checksum_add(checksum, ip_header + IPV4_ADDRESSES_OFFSET, 8);
}

void checksum_add_pseudo_header_v6(struct checksum *checksum, const uint8_t *ip_header,
                                   uint8_t protocol, uint32_t l4_len)
{
    add_protocol_and_len(checksum, protocol, l4_len);
    checksum_add(checksum, ip_header + IPV6_ADDRESSES_OFFSET, 32);
}

/* What builder and judge of traffic share: bytes in wire order, sums, and the pseudo-random
 * payloads. */
#ifndef CONVOY_FRONT_TRAFFIC_BYTES_H
#define CONVOY_FRONT_TRAFFIC_BYTES_H

#include <string.h>

#include "base/compiler.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "test payloads are written as words");

enum { TRAFFIC_STREAM_RECORD_BYTES = 16 }; /* of each datagram: flow, 0, offset */

static inline void put_be16(uint8_t *at, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(at, &value, sizeof(value));
}

static inline void put_be32(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof(value));
}

static inline uint16_t get_be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get_be32(const uint8_t *at)
{
    return (uint32_t)get_be16(at) << 16 | get_be16(at + 2);
}

static inline void put_le16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void put_le32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void put_le64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline uint16_t get_le16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t get_le32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t get_le64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* --- the Internet checksum (RFC 1071), as a number in host order --- */

/* Adds bytes that start at an even place; only the last piece may have an odd length. */
static inline uint64_t sum_add(uint64_t sum, const uint8_t *bytes, size_t len)
{
    uint64_t words = 0;

    for (; len >= 4; bytes += 4, len -= 4)
        words += get_le32(bytes);
    while (words >> 16)
        words = (words & 0xffff) + (words >> 16);
    sum += __builtin_bswap16((uint16_t)words);
    for (; len >= 2; bytes += 2, len -= 2)
        sum += get_be16(bytes);
    return len ? sum + ((uint64_t)bytes[0] << 8) : sum;
}

static inline uint16_t sum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static inline uint64_t sum_pseudo_header(const uint8_t *ip, bool ipv6, uint8_t protocol,
                                         size_t l4_len)
{
    uint64_t sum = protocol + (l4_len >> 16) + (l4_len & 0xffff);

    return ipv6 ? sum_add(sum, ip + 8, 32) : sum_add(sum, ip + 12, 8);
}

/* --- payloads --- */

static inline uint64_t mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The payload of numbered frames: cheap, since the CRC is what proves it. */
static inline void numbered_fill(uint32_t flow, uint64_t number, uint8_t *bytes, size_t len)
{
    uint64_t word = mix64(((uint64_t)flow << 40) ^ number);

    for (; len >= 8; bytes += 8, len -= 8) {
        memcpy(bytes, &word, 8);
        word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
    memcpy(bytes, &word, len);
}

/* Word `k` of a flow's stream; its first byte is stream byte 8 k. */
static inline uint64_t stream_word(uint32_t flow, uint64_t k)
{
    return mix64(((uint64_t)flow + 1) * UINT64_C(0x9e3779b97f4a7c15) + k);
}

static inline void stream_fill(uint32_t flow, uint64_t offset, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        uint64_t word = stream_word(flow, offset / 8);
        size_t from = offset % 8, n = CV_MIN(8 - from, len);

        if (CV_LIKELY(n == 8))
            memcpy(bytes, &word, 8);
        else
            memcpy(bytes, (uint8_t *)&word + from, n);
        bytes += n;
        offset += n;
        len -= n;
    }
}

/* Bytes from the start that are as they should be; `len` when all are. */
static inline size_t stream_match(uint32_t flow, uint64_t offset, const uint8_t *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        uint64_t word = stream_word(flow, offset / 8);
        size_t from = offset % 8, n = CV_MIN(8 - from, len - done);

        if (CV_LIKELY(n == 8) ? get_le64(bytes + done) != word
                              : memcmp(bytes + done, (uint8_t *)&word + from, n) != 0)
            return done;
        offset += n;
        done += n;
    }
    return done;
}

#endif

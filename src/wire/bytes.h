/*
 * Numbers in network byte order at any address. Every read is a memcpy of its size, which the
 * compiler turns into one load; nothing is ever read through a cast pointer.
 */
#ifndef CONVOY_WIRE_BYTES_H
#define CONVOY_WIRE_BYTES_H

#include <endian.h>
#include <string.h>

#include "base/compiler.h"

static inline uint16_t bytes_load_be16(const uint8_t *from)
{
    uint16_t value;

    memcpy(&value, from, sizeof(value));
    return be16toh(value);
}

static inline uint32_t bytes_load_be32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof(value));
    return be32toh(value);
}

static inline uint64_t bytes_load_be64(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof(value));
    return be64toh(value);
}

static inline void bytes_store_be16(uint8_t *to, uint16_t value)
{
    value = htobe16(value);
    memcpy(to, &value, sizeof(value));
}

static inline void bytes_store_be32(uint8_t *to, uint32_t value)
{
    value = htobe32(value);
    memcpy(to, &value, sizeof(value));
}

#endif

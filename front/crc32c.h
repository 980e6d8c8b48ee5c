/*
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where it has one.
 * Start with CRC32C_START; pieces may be added one after the other.
 */
#ifndef CONVOY_FRONT_CRC32C_H
#define CONVOY_FRONT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#define CRC32C_START UINT32_C(0xffffffff)

uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len);
/* The same by a table, whatever the processor can do. */
uint32_t crc32c_add_portable(uint32_t crc, const void *bytes, size_t len);

static inline uint32_t crc32c_finish(uint32_t crc)
{
    return ~crc;
}

#endif

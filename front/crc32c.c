#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

uint32_t crc32c_add_portable(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
    }
    return crc;
}

#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t add_by_instruction(uint32_t crc,
                                                                     const uint8_t *at, size_t len)
{
    uint64_t wide = crc;

    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; at++, len--)
        crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}

uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len)
{
    if (__builtin_cpu_supports("sse4.2"))
        return add_by_instruction(crc, bytes, len);
    return crc32c_add_portable(crc, bytes, len);
}

#else

uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len)
{
    return crc32c_add_portable(crc, bytes, len);
}

#endif

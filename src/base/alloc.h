/* Memory for structs with members on cache lines of their own, which malloc does not promise. */
#ifndef CONVOY_BASE_ALLOC_H
#define CONVOY_BASE_ALLOC_H

#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

/* Zeroed, on a cache line; NULL when memory is short. Freed with free. */
static inline void *alloc_aligned(size_t bytes)
{
    size_t rounded = (bytes + CV_CACHE_LINE_BYTES - 1) / CV_CACHE_LINE_BYTES * CV_CACHE_LINE_BYTES;
    void *memory = aligned_alloc(CV_CACHE_LINE_BYTES, rounded);

    return memory ? memset(memory, 0, rounded) : NULL;
}

#endif

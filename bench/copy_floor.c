/*
 * What copying alone costs a switch: frames of one size from the buffers of one ring into those of
 * another, round and round, as a switch between two busy guests must, and nothing else: no
 * descriptor, no header, no guest that takes cache lines away. The floor under any switch that
 * copies once. Prints ns per frame.
 *
 *   copy_floor SIZE [ENTRIES]     bytes of a frame; entries of each ring (1024)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

enum { BUFFER_BYTES = 2048, ROUNDS_NS = 1000000000 };

static uint8_t *ring_of_buffers(size_t entries)
{
    void *bytes = mmap(NULL, entries * BUFFER_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (bytes == MAP_FAILED) {
        perror("copy-floor: no memory");
        exit(1);
    }
    return bytes;
}

int main(int argc, char **argv)
{
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    size_t entries = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024, frames = 0;
    uint64_t start_ns, now_ns;
    uint8_t *from, *to;

    if (size == 0 || size > BUFFER_BYTES || entries == 0 || entries > 32768) {
        fprintf(stderr, "usage: copy-floor SIZE [ENTRIES]: 1 to %d bytes, 1 to 32768 entries\n",
                BUFFER_BYTES);
        return 2;
    }
    from = ring_of_buffers(entries);
    to = ring_of_buffers(entries);
    start_ns = now_ns = clock_now_ns();
    while (now_ns - start_ns < ROUNDS_NS) {
        for (size_t i = 0; i < entries; i++) {
            memcpy(to + i * BUFFER_BYTES, from + i * BUFFER_BYTES, size);
            __asm__ volatile("" ::: "memory");
        }
        frames += entries;
        now_ns = clock_now_ns();
    }
    printf("%.1f ns per frame of %zu bytes, rings of %zu\n",
           (double)(now_ns - start_ns) / (double)frames, size, entries);
    return 0;
}

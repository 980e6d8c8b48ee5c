/*
 * A test guest's memory: regions backed by one memory file each, at guest-physical addresses of the
 * test's choice, with a bump allocator that hands out pieces of them. Nothing is ever given back
 * before the whole memory is.
 */
#ifndef CONVOY_FRONT_GUEST_RAM_H
#define CONVOY_FRONT_GUEST_RAM_H

#include "base/error.h"

enum { GUEST_RAM_REGIONS_MAX = 8 };

/* Name of the memory files, by which whoever looks at a process's mappings tells them apart. */
#define GUEST_RAM_FILE "synthetic-guest"

/* What a region should be like. */
struct guest_ram_layout {
    uint64_t guest_address;
    uint64_t size;        /* bytes, a multiple of the page size */
    uint64_t mmap_offset; /* where in its file the region starts */
    bool is_populated; /* all pages are there from the begin, side by side as far as there are such:
                          nobody pays for a page when it is first used */
};

struct guest_ram_region {
    struct guest_ram_layout layout;
    int fd;         /* memory file of mmap_offset + size bytes */
    uint8_t *bytes; /* our mapping; its address is the "user address" told to the back end */
    uint64_t used;  /* bytes handed out */
};

struct guest_ram {
    unsigned count;
    struct guest_ram_region regions[GUEST_RAM_REGIONS_MAX];
};

/*
 * Makes `count` regions. `sealed`: the files can neither shrink nor grow (F_SEAL_SHRINK,
 * F_SEAL_GROW). Negative errno, with a sentence, when the system has no memory.
 */
int guest_ram_init(struct guest_ram *ram, const struct guest_ram_layout *layouts, unsigned count,
                   bool sealed, struct error *error) CV_MUST_CHECK;
void guest_ram_uninit(struct guest_ram *ram);

/*
 * `size` bytes aligned to `align` (a power of two) in region `region`, or in the first after it
 * (going round) that has room. NULL when none has. The bytes are zero.
 */
void *guest_ram_alloc(struct guest_ram *ram, unsigned region, size_t size, size_t align);

/* The guest-physical address of a byte that lies in one of the regions. */
uint64_t guest_ram_address(const struct guest_ram *ram, const void *bytes);

#endif

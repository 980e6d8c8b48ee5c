/*
 * A guest's memory as we see it: the regions that its front end has passed, each mapped from the
 * file that backs it. Addresses from the guest are looked up here and nowhere else, so that nothing
 * outside a region can be named.
 *
 * The peer owns the file. It may be of any kind, lie about its size, and be cut short after we have
 * mapped it; the first two are refused here, the last is caught by the guard below.
 *
 * Threads: built and torn down by the control thread while no worker uses it; read by workers.
 */
#ifndef CONVOY_GUEST_GUEST_MEMORY_H
#define CONVOY_GUEST_GUEST_MEMORY_H

#include <sys/types.h>

#include "base/error.h"
#include "base/limits.h"

/*
 * Bytes that one guest may have mapped: beyond what machines of today give one guest, and little
 * enough that it takes dozens of hostile peers with sparse files to fill our address space.
 */
#define GUEST_MEMORY_BYTES_MAX (UINT64_C(4) << 40)

struct guest_region {
    uint64_t guest_address; /* first guest-physical address */
    uint64_t size;          /* bytes */
    uint8_t *bytes;         /* the first byte in our address space */
    uint64_t user_address;  /* the front end's virtual address of the same byte */
    void *map;              /* what munmap takes */
    size_t map_size;
    unsigned guard_slot;  /* place in the guard's table */
    uint64_t mmap_offset; /* of the first byte in its file */
    dev_t file_device;    /* which file it is */
    ino_t file_inode;
};

struct guest_memory {
    unsigned count;
    /* Largest first, so that most look-ups end at the first; no two overlap in guest addresses. */
    struct guest_region regions[GUEST_REGIONS_MAX];
};

/* A region as a front end describes it (vhost-user: "memory region description"). */
struct guest_region_request {
    uint64_t guest_address;
    uint64_t size;
    uint64_t user_address;
    uint64_t mmap_offset;
};

void guest_memory_init(struct guest_memory *memory);

/*
 * Maps one region of `fd` (which stays the caller's) and adds it. -EINVAL: sizes or offsets wrap,
 * the file is not a regular one or is too short, or the region overlaps another; -ENOSPC: too many,
 * or more than GUEST_MEMORY_BYTES_MAX; or mmap's errno. The error's sentence says which, and what
 * would be right; nothing is added on failure.
 *
 * The very same region of the same file again is no overlap: nothing happens. (QEMU 7.2 adds each
 * region once per queue pair.)
 */
int guest_memory_add(struct guest_memory *memory, const struct guest_region_request *request,
                     int fd, struct error *error) CV_MUST_CHECK;

/*
 * Unmaps the region with exactly these guest address, user address and size; the offset does not
 * count. -ENOENT: there is none.
 */
int guest_memory_remove(struct guest_memory *memory,
                        const struct guest_region_request *request) CV_MUST_CHECK;

/* Unmaps everything; the memory is empty then and may be used again. */
void guest_memory_uninit(struct guest_memory *memory);

/*
 * The bytes at a guest-physical address: a pointer, and in *ret_len how many of the `len` wanted
 * bytes (at least 1) lie there in one run. NULL: not mapped, or len is 0.
 */
static inline uint8_t *guest_memory_at(const struct guest_memory *memory, uint64_t guest_address,
                                       uint64_t len, uint64_t *ret_len)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t offset = guest_address - region->guest_address; /* wraps below the region */

        if (CV_LIKELY(offset < region->size)) {
            *ret_len = CV_MIN(len, region->size - offset);
            return len ? region->bytes + offset : NULL;
        }
    }
    return NULL;
}

/* `len` bytes, aligned to `align`, at a front end's virtual address; NULL: not wholly in one
 * region. */
void *guest_memory_at_user(const struct guest_memory *memory, uint64_t user_address, uint64_t len,
                           size_t align);

/*
 * A file may be cut short by its owner after we mapped it; touching what is gone raises SIGBUS. The
 * handler installed here (once, by main) replaces the lost pages by private zero pages and notes
 * it; a SIGBUS anywhere else goes to whoever had it before, by default to the end of the process.
 */
int guest_memory_guard_install(void) CV_MUST_CHECK;

/* True when pages of this memory have been lost: the guest's port must be stopped. Cheap; any
 * thread. */
bool guest_memory_is_lost(const struct guest_memory *memory);

#endif

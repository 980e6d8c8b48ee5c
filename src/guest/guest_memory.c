#include "guest/guest_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guest/foreign_fd.h"
#include "guest/guest_memory_guard.h"

#define SHARE_REMEDY                                                                               \
    "give QEMU -object memory-backend-memfd,share=on (libvirt: <access mode='shared'/>)"

/* Where a region lies in its file, in whole pages of that file. */
struct file_span {
    uint64_t offset; /* of the mapping */
    uint64_t size;   /* of the mapping */
    uint64_t lead;   /* bytes of the mapping before the region */
    uint64_t page_bytes;
};

void guest_memory_init(struct guest_memory *memory)
{
    memory->count = 0;
}

static bool range_wraps(uint64_t start, uint64_t size)
{
    uint64_t end;

    return __builtin_add_overflow(start, size, &end);
}

static bool region_is(const struct guest_region *region, const struct guest_region_request *request,
                      const struct stat *st)
{
    return region->guest_address == request->guest_address && region->size == request->size &&
           region->user_address == request->user_address &&
           region->mmap_offset == request->mmap_offset && region->file_device == st->st_dev &&
           region->file_inode == st->st_ino;
}

static bool memory_has(const struct guest_memory *memory,
                       const struct guest_region_request *request, const struct stat *st)
{
    for (unsigned i = 0; i < memory->count; i++) {
        if (region_is(&memory->regions[i], request, st))
            return true;
    }
    return false;
}

static int request_check(const struct guest_region_request *request, struct error *error)
{
    if (request->size == 0)
        return error_set(error, -EINVAL, "memory region has size 0");
    if (range_wraps(request->guest_address, request->size) ||
        range_wraps(request->user_address, request->size) ||
        range_wraps(request->mmap_offset, request->size))
        return error_set(error, -EINVAL,
                         "memory region's size %#" PRIx64 " wraps: guest address %#" PRIx64
                         ", user address %#" PRIx64 ", offset in its file %#" PRIx64,
                         request->size, request->guest_address, request->user_address,
                         request->mmap_offset);
    return 0;
}

/* Does the region fit beside those that are there? */
static int room_check(const struct guest_memory *memory, const struct guest_region_request *request,
                      struct error *error)
{
    uint64_t total = request->size;

    if (memory->count == GUEST_REGIONS_MAX)
        return error_set(error, -ENOSPC, "more than %d memory regions", GUEST_REGIONS_MAX);
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *other = &memory->regions[i];

        total += other->size; /* cannot wrap: the others are within the limit */
        if (request->guest_address < other->guest_address + other->size &&
            other->guest_address < request->guest_address + request->size)
            return error_set(error, -EINVAL,
                             "memory region at guest address %#" PRIx64 " (%#" PRIx64
                             " bytes) overlaps the one at %#" PRIx64,
                             request->guest_address, request->size, other->guest_address);
    }
    if (request->size > GUEST_MEMORY_BYTES_MAX || total > GUEST_MEMORY_BYTES_MAX)
        return error_set(error, -ENOSPC, "memory regions of more than %" PRIu64 " TiB in all",
                         GUEST_MEMORY_BYTES_MAX >> 40);
    return 0;
}

static int file_system_check(int fd, uint64_t *ret_page_bytes, struct error *error)
{
    struct statfs fs;

    if (fstatfs(fd, &fs))
        return error_set(error, -errno, "memory region's file system cannot be examined: %s",
                         strerror(errno));
    *ret_page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    if (fs.f_type == HUGETLBFS_MAGIC)
        *ret_page_bytes = (uint64_t)fs.f_bsize;
    return 0;
}

static int file_check(int fd, const struct guest_region_request *request, struct stat *ret_st,
                      struct error *error)
{
    char kind[128];
    struct stat st;

    /*
     * A page fault must never wait for a disk or another process, and nor must this look: files of
     * any other file system are refused before they are asked anything.
     */
    if (foreign_fd_kind(fd) != FOREIGN_FD_MEMORY)
        return error_set(error, -EINVAL,
                         "memory region's descriptor is %s where a file in memory (memfd, tmpfs, "
                         "hugetlbfs) is needed: " SHARE_REMEDY,
                         foreign_fd_describe(fd, kind, sizeof(kind)));
    if (fstat(fd, &st))
        return error_set(error, -errno, "memory region's file cannot be examined: %s",
                         strerror(errno));
    if (request->mmap_offset + request->size > (uint64_t)st.st_size)
        return error_set(error, -EINVAL,
                         "memory region ends at byte %" PRIu64
                         " of its file, which has only %" PRIu64,
                         request->mmap_offset + request->size, (uint64_t)st.st_size);
    *ret_st = st;
    return 0;
}

/* mmap wants whole pages of the file, and the kernel rounds a huge page's length for nobody. */
static int span_find(int fd, const struct guest_region_request *request, struct file_span *ret_span,
                     struct error *error)
{
    uint64_t page_bytes = 1, lead, size;
    int r = file_system_check(fd, &page_bytes, error);

    if (r)
        return r;
    lead = request->mmap_offset % page_bytes;
    if (__builtin_add_overflow(request->size, lead, &size) ||
        __builtin_add_overflow(size, page_bytes - 1, &size))
        return error_set(error, -EINVAL, "memory region's size %#" PRIx64 " wraps", request->size);
    *ret_span = (struct file_span){.offset = request->mmap_offset - lead,
                                   .size = size - size % page_bytes,
                                   .lead = lead,
                                   .page_bytes = page_bytes};
    return 0;
}

static int map_failed(int code, const struct guest_region_request *request, struct error *error)
{
    if (code == EACCES || code == EPERM)
        return error_set(error, -code,
                         "memory region at guest address %#" PRIx64
                         " cannot be written (%s): " SHARE_REMEDY,
                         request->guest_address, strerror(code));
    return error_set(error, -code,
                     "memory region at guest address %#" PRIx64 " (%" PRIu64
                     " bytes) cannot be mapped: %s",
                     request->guest_address, request->size, strerror(code));
}

static int region_map(struct guest_region *region, const struct guest_region_request *request,
                      int fd, const struct file_span *span, struct error *error)
{
    void *map = mmap(NULL, span->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                     (off_t)span->offset);
    int r;

    if (map == MAP_FAILED)
        return map_failed(errno, request, error);
    r = guest_memory_guard_add(map, span->size, span->page_bytes, &region->guard_slot);
    if (r) {
        (void)munmap(map, span->size);
        return error_set(error, r, "too many memory regions of all guests together");
    }
    (void)madvise(map, span->size, MADV_DONTDUMP); /* a core file of ours must not hold guests */
    region->guest_address = request->guest_address;
    region->user_address = request->user_address;
    region->size = request->size;
    region->mmap_offset = request->mmap_offset;
    region->bytes = (uint8_t *)map + span->lead;
    region->map = map;
    region->map_size = span->size;
    return 0;
}

static void region_unmap(const struct guest_region *region)
{
    int r;

    guest_memory_guard_remove(region->guard_slot);
    r = munmap(region->map, region->map_size);
    assert(r == 0);
}

static void region_insert(struct guest_memory *memory, const struct guest_region *region)
{
    unsigned i = memory->count++;

    for (; i > 0 && memory->regions[i - 1].size < region->size; i--)
        memory->regions[i] = memory->regions[i - 1];
    memory->regions[i] = *region;
}

int guest_memory_add(struct guest_memory *memory, const struct guest_region_request *request,
                     int fd, struct error *error)
{
    struct guest_region region = {0};
    struct file_span span = {0};
    struct stat st = {0};
    int r;

    r = request_check(request, error);
    if (r)
        return r;
    r = file_check(fd, request, &st, error);
    if (r)
        return r;
    if (memory_has(memory, request, &st))
        return 0;
    r = room_check(memory, request, error);
    if (r)
        return r;
    r = span_find(fd, request, &span, error);
    if (r)
        return r;
    r = region_map(&region, request, fd, &span, error);
    if (r)
        return r;
    region.file_device = st.st_dev;
    region.file_inode = st.st_ino;
    region_insert(memory, &region);
    return 0;
}

int guest_memory_remove(struct guest_memory *memory, const struct guest_region_request *request)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *region = &memory->regions[i];

        if (region->guest_address != request->guest_address ||
            region->user_address != request->user_address || region->size != request->size)
            continue;
        region_unmap(region);
        memory->count--;
        memmove(&memory->regions[i], &memory->regions[i + 1],
                (memory->count - i) * sizeof(memory->regions[0]));
        return 0;
    }
    return -ENOENT;
}

void guest_memory_uninit(struct guest_memory *memory)
{
    for (unsigned i = 0; i < memory->count; i++)
        region_unmap(&memory->regions[i]);
    memory->count = 0;
}

void *guest_memory_at_user(const struct guest_memory *memory, uint64_t user_address, uint64_t len,
                           size_t align)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t offset = user_address - region->user_address;

        if (offset >= region->size || len > region->size - offset)
            continue;
        if ((uintptr_t)(region->bytes + offset) % align)
            return NULL;
        return region->bytes + offset;
    }
    return NULL;
}

bool guest_memory_is_lost(const struct guest_memory *memory)
{
    if (CV_LIKELY(!guest_memory_guard_any_lost()))
        return false;
    for (unsigned i = 0; i < memory->count; i++) {
        if (guest_memory_guard_is_lost(memory->regions[i].guard_slot))
            return true;
    }
    return false;
}

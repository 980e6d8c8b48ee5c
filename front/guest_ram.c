#include "guest_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int region_init(struct guest_ram_region *region, const struct guest_ram_layout *layout,
                       bool sealed)
{
    void *bytes;
    int result, fd = memfd_create(GUEST_RAM_FILE, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)(layout->mmap_offset + layout->size)) < 0 ||
        (sealed && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
        goto failed;
    bytes = mmap(NULL, layout->size, PROT_READ | PROT_WRITE,
                 MAP_SHARED | (layout->is_populated ? MAP_POPULATE : 0), fd,
                 (off_t)layout->mmap_offset);
    if (bytes == MAP_FAILED)
        goto failed;
    *region = (struct guest_ram_region){.layout = *layout, .fd = fd, .bytes = bytes};
    return 0;
failed:
    result = -errno;
    close(fd);
    return result;
}

int guest_ram_init(struct guest_ram *ram, const struct guest_ram_layout *layouts, unsigned count,
                   bool sealed, struct error *error)
{
    assert(count >= 1 && count <= GUEST_RAM_REGIONS_MAX);
    *ram = (struct guest_ram){.count = 0};
    for (unsigned i = 0; i < count; i++) {
        int result = region_init(&ram->regions[i], &layouts[i], sealed);

        if (result < 0) {
            guest_ram_uninit(ram);
            return error_set(error, result, "no memory file of %llu bytes for a test guest: %s",
                             (unsigned long long)layouts[i].size, strerror(-result));
        }
        ram->count++;
    }
    return 0;
}

void guest_ram_uninit(struct guest_ram *ram)
{
    for (unsigned i = 0; i < ram->count; i++) {
        munmap(ram->regions[i].bytes, ram->regions[i].layout.size);
        close(ram->regions[i].fd);
    }
    ram->count = 0;
}

void *guest_ram_alloc(struct guest_ram *ram, unsigned region, size_t size, size_t align)
{
    for (unsigned i = 0; i < ram->count; i++) {
        struct guest_ram_region *r = &ram->regions[(region + i) % ram->count];
        uint64_t start = (r->used + align - 1) & ~(uint64_t)(align - 1);

        if (start + size <= r->layout.size) {
            r->used = start + size;
            return r->bytes + start;
        }
    }
    return NULL;
}

uint64_t guest_ram_address(const struct guest_ram *ram, const void *bytes)
{
    for (unsigned i = 0; i < ram->count; i++) {
        const struct guest_ram_region *r = &ram->regions[i];
        uintptr_t offset = (uintptr_t)bytes - (uintptr_t)r->bytes;

        if (offset < r->layout.size)
            return r->layout.guest_address + offset;
    }
    assert(!"the byte lies in no region");
    return 0;
}

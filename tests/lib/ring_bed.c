#include "ring_bed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/vhost_user.h"

/* --- memory --- */

/* Pages that cannot be touched before and behind; the region ends flush with the latter. */
static uint8_t *region_map(struct bed *bed, unsigned i, uint64_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = (size + page - 1) / page * page;
    uint8_t *map = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int result;

    assert(map != MAP_FAILED);
    result = mprotect(map + page, inner, PROT_READ | PROT_WRITE);
    assert(result == 0);
    bed->maps[i] = map;
    bed->map_bytes[i] = inner + 2 * page;
    return map + page + inner - size;
}

void bed_init(struct bed *bed, const struct bed_region *regions, unsigned count)
{
    assert(count <= BED_REGIONS_MAX);
    memset(bed, 0, sizeof(*bed));
    bed->memory.count = count;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *bytes = region_map(bed, i, regions[i].size);

        bed->memory.regions[i] = (struct guest_region){.guest_address = regions[i].guest_address,
                                                       .size = regions[i].size,
                                                       .bytes = bytes,
                                                       .user_address = (uintptr_t)bytes};
    }
}

void bed_uninit(struct bed *bed)
{
    for (unsigned i = 0; i < bed->memory.count; i++)
        munmap(bed->maps[i], bed->map_bytes[i]);
    bed->memory.count = 0;
}

void *bed_alloc(struct bed *bed, unsigned region, size_t size, size_t align)
{
    uint8_t *bytes = bed->memory.regions[region].bytes;
    uint64_t start = bed->taken[region];

    start += -((uintptr_t)bytes + start) & (align - 1);
    assert(start + size <= bed->memory.regions[region].size);
    bed->taken[region] = start + size;
    return bytes + start;
}

uint64_t bed_address(const struct bed *bed, const void *bytes)
{
    for (unsigned i = 0; i < bed->memory.count; i++) {
        const struct guest_region *region = &bed->memory.regions[i];
        uint64_t offset = (uintptr_t)bytes - (uintptr_t)region->bytes;

        if (offset < region->size)
            return region->guest_address + offset;
    }
    abort();
}

/* --- rings --- */

void bed_ring_init(struct bed_ring *ring, struct bed *bed, unsigned size)
{
    *ring = (struct bed_ring){.bed = bed, .size = size};
    ring->desc = bed_alloc(bed, 0, size * sizeof(struct virtq_desc), 16);
    ring->avail = bed_alloc(bed, 0, sizeof(struct virtq_avail) + size * 2 + 2, 2);
    ring->used =
        bed_alloc(bed, 0, sizeof(struct virtq_used) + size * sizeof(struct virtq_used_elem) + 2, 4);
}

uint16_t *bed_ring_used_event(const struct bed_ring *ring)
{
    return &ring->avail->ring[ring->size];
}

uint16_t *bed_ring_avail_event(const struct bed_ring *ring)
{
    return (uint16_t *)&ring->used->ring[ring->size];
}

struct virtq_setup bed_ring_setup(const struct bed_ring *ring, uint64_t features)
{
    return (struct virtq_setup){
        .memory = &ring->bed->memory,
        .size = ring->size,
        .desc_user_address = (uintptr_t)ring->desc,
        .avail_user_address = (uintptr_t)ring->avail,
        .used_user_address = (uintptr_t)ring->used,
        .base = ring->avail->idx,
        .features = features,
        .call_fd = -1,
    };
}

void bed_ring_put(struct bed_ring *ring, uint16_t index, uint64_t guest_address, uint32_t len,
                  uint16_t flags, uint16_t next)
{
    ring->desc[index] = (struct virtq_desc){guest_address, len, flags, next};
}

void bed_ring_offer(struct bed_ring *ring, uint16_t head)
{
    ring->avail->ring[ring->avail->idx & (ring->size - 1)] = head;
    __atomic_store_n(&ring->avail->idx, (uint16_t)(ring->avail->idx + 1), __ATOMIC_RELEASE);
}

uint16_t bed_ring_add(struct bed_ring *ring, const struct iovec *pieces, unsigned count,
                      bool to_guest)
{
    uint16_t mask = (uint16_t)(ring->size - 1);
    uint16_t head = ring->next_desc & mask;

    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = to_guest ? VIRTQ_DESC_F_WRITE : 0;

        if (i + 1 < count)
            flags |= VIRTQ_DESC_F_NEXT;
        bed_ring_put(ring, ring->next_desc & mask, bed_address(ring->bed, pieces[i].iov_base),
                     (uint32_t)pieces[i].iov_len, flags, (ring->next_desc + 1) & mask);
        ring->next_desc++;
    }
    bed_ring_offer(ring, head);
    return head;
}

unsigned bed_ring_used_count(const struct bed_ring *ring)
{
    return (uint16_t)(__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) - ring->used_seen);
}

struct virtq_used_elem bed_ring_take_used(struct bed_ring *ring)
{
    assert(bed_ring_used_count(ring) > 0);
    return ring->used->ring[ring->used_seen++ & (ring->size - 1)];
}

/* --- a queue pair --- */

static void ring_begin(struct bed_ring *ring, struct queue_bed *bed, unsigned size, uint16_t index,
                       uint64_t features, struct virtq *virtq)
{
    struct virtq_setup setup;
    enum guest_fault fault;

    bed_ring_init(ring, &bed->memory, size);
    ring->avail->idx = ring->used->idx = ring->used_seen = index;
    setup = bed_ring_setup(ring, features);
    fault = virtq_start(virtq, &setup);
    assert(fault == GUEST_FAULT_NONE);
}

void queue_bed_init(struct queue_bed *bed, const struct queue_bed_options *options)
{
    unsigned size = options->size ? options->size : 256;
    struct bed_region region = {UINT64_C(0x100000),
                                options->guest_bytes ? options->guest_bytes : 2u << 20};
    struct vhost_queue *queue = &bed->queue;
    int result;

    memset(bed, 0, sizeof(*bed));
    bed_init(&bed->memory, &region, 1);
    ring_begin(&bed->transmitq, bed, size, options->index, options->features, &queue->from_guest);
    ring_begin(&bed->receiveq, bed, size, options->index, options->features, &queue->to_guest);
    queue->base = (struct port_queue){.port = &bed->port,
                                      .can_receive = true,
                                      .can_deliver = true,
                                      .wake_from_fd = -1,
                                      .wake_to_fd = -1,
                                      .counters = &bed->counters};
    queue->hdr_bytes = options->hdr_bytes ? options->hdr_bytes : VNET_HDR_BYTES;
    queue->mergeable = options->mergeable;
    queue->base.offloads = options->offloads;
    queue->fault_fd = -1;
    queue->outstanding = calloc(size, sizeof(*queue->outstanding));
    assert(queue->outstanding);
    result = frame_pool_init(&bed->pool, 2048);
    assert(result == 0);
}

void queue_bed_uninit(struct queue_bed *bed)
{
    frame_pool_uninit(&bed->pool);
    free(bed->queue.outstanding);
    bed_uninit(&bed->memory);
}

/* Cuts a run of bytes; returns the number of pieces. */
static unsigned cut(uint8_t *bytes, size_t len, size_t each_bytes, struct iovec *ret_pieces)
{
    unsigned count = 0;

    do {
        size_t n = each_bytes == 0 ? len : CV_MIN(each_bytes, len);

        assert(count < BED_RING_SIZE_MAX);
        ret_pieces[count++] = (struct iovec){bytes, n};
        bytes += n;
        len -= n;
    } while (len > 0);
    return count;
}

uint8_t *queue_bed_send(struct queue_bed *bed, const struct virtio_net_hdr *hdr, const void *frame,
                        size_t len, size_t each_bytes)
{
    size_t hdr_bytes = bed->queue.hdr_bytes;
    uint8_t *bytes = bed_alloc(&bed->memory, 0, hdr_bytes + len, 1);
    struct iovec pieces[BED_RING_SIZE_MAX];

    if (hdr)
        memcpy(bytes, hdr, hdr_bytes);
    memcpy(bytes + hdr_bytes, frame, len);
    bed_ring_add(&bed->transmitq, pieces, cut(bytes, hdr_bytes + len, each_bytes, pieces), false);
    return bytes;
}

uint8_t *queue_bed_post(struct queue_bed *bed, size_t len, size_t each_bytes)
{
    uint8_t *bytes = bed_alloc(&bed->memory, 0, len, 1);
    struct iovec pieces[BED_RING_SIZE_MAX];

    bed_ring_add(&bed->receiveq, pieces, cut(bytes, len, each_bytes, pieces), true);
    return bytes;
}

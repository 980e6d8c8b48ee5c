/* The peer lies about the guest's memory, or takes it away again. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/vhost_user.h"
#include "hostile.h"

enum { FILE_BYTES = 1 << 20 };

/* Descriptions of memory in a file of 1 MiB, each wrong in one way. */
static const struct {
    const char *what;
    struct vu_region region;
} wrong_regions[] = {
    {"size 0", {0x100000, 0, 0x7f0000000000, 0}},
    {"size beyond the file", {0x100000, FILE_BYTES + 4096, 0x7f0000000000, 0}},
    {"offset beyond the file", {0x100000, FILE_BYTES, 0x7f0000000000, FILE_BYTES}},
    {"offset and size beyond the file", {0x100000, FILE_BYTES, 0x7f0000000000, 4096}},
    {"offset + size wraps", {0x100000, FILE_BYTES, 0x7f0000000000, UINT64_MAX - 4095}},
    {"offset + size wraps to 0", {0x100000, 4096, 0x7f0000000000, UINT64_MAX - 4095}},
    {"size of all addresses", {0, UINT64_MAX, 0, 0}},
    {"half of all addresses", {0, UINT64_C(1) << 63, 0, 0}},
    {"larger than any address space", {0, UINT64_C(1) << 47, 0, 0}},
    {"guest address + size wraps", {UINT64_MAX - 4095, FILE_BYTES, 0x7f0000000000, 0}},
    {"user address + size wraps", {0x100000, FILE_BYTES, UINT64_MAX - 4095, 0}},
};

/* C3: sizes and offsets that wrap or do not fit, in both messages that describe memory. */
static void regions_that_cannot_be(struct hostile *h)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    hostile_expect(h, ftruncate(fd, FILE_BYTES) == 0, "ftruncate");
    for (unsigned i = 0; i < CV_COUNT_OF(wrong_regions); i++) {
        struct vu_mem_table table = {.count = 1, .regions = {wrong_regions[i].region}};
        struct vu_mem_reg reg = {.region = wrong_regions[i].region};
        struct front_end fe;

        if (!hostile_negotiate(h, &fe, &h->attacker))
            break;
        hostile_expect_refused(h, &fe, VU_SET_MEM_TABLE, &table, 40, &fd, 1, wrong_regions[i].what);
        hostile_close(&fe);
        if (!hostile_negotiate(h, &fe, &h->attacker))
            break;
        hostile_expect_refused(h, &fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1,
                               wrong_regions[i].what);
        hostile_close(&fe);
    }
    close(fd);
}

/* C3: offsets and sizes in the middle of a page are legal or refused, and never mapped wrongly. */
static void regions_off_the_page(struct hostile *h)
{
    static const uint64_t odd[] = {1, 8, 511, 4095};
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    hostile_expect(h, ftruncate(fd, FILE_BYTES) == 0, "ftruncate");
    for (unsigned i = 0; i < 3 * CV_COUNT_OF(odd); i++) {
        struct vu_region region = {0x100000, FILE_BYTES / 2, 0x7f0000000000, 0};
        struct front_end fe;
        struct vu_mem_reg reg;

        region.mmap_offset += i % 3 == 0 ? odd[i / 3] : 0;
        region.guest_address += i % 3 == 1 ? odd[i / 3] : 0;
        region.size += i % 3 == 2 ? odd[i / 3] : 0;
        reg = (struct vu_mem_reg){.region = region};
        if (!hostile_negotiate(h, &fe, &h->attacker))
            break;
        if (front_end_tell(&fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1) == 0)
            (void)!front_end_tell(&fe, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
        hostile_close(&fe);
    }
    close(fd);
}

/* C3: tables with a count that does not fit, regions that overlap, descriptors that are missing. */
static void tables_that_lie(struct hostile *h)
{
    static const uint32_t counts[] = {9, 64, 0x10000, 0x10000001, 0xffffffff};
    struct vu_region region = {0x100000, FILE_BYTES, 0x7f0000000000, 0};
    struct vu_mem_table table = {.count = 2, .regions = {region, region}};
    int fd = memfd_create("hostile", MFD_CLOEXEC), fds[8] = {fd, fd, fd, fd, fd, fd, fd, fd};
    struct front_end fe;

    hostile_expect(h, ftruncate(fd, FILE_BYTES) == 0, "ftruncate");
    for (unsigned i = 0; i < CV_COUNT_OF(counts) && hostile_negotiate(h, &fe, &h->attacker); i++) {
        struct vu_mem_table lying = {.count = counts[i], .regions = {region}};

        hostile_expect_refused(h, &fe, VU_SET_MEM_TABLE, &lying, sizeof(lying), fds, 8,
                               "count of regions");
        hostile_close(&fe);
    }
    for (unsigned i = 0; i < 8 && hostile_negotiate(h, &fe, &h->attacker); i++) {
        table.regions[1].guest_address = 0x100000 + (1 + i % 4) * (FILE_BYTES / 8);
        hostile_expect_refused(h, &fe, VU_SET_MEM_TABLE, &table, 72, fds, i < 4 ? 2 : 1,
                               i < 4 ? "overlapping regions" : "a descriptor is missing");
        hostile_close(&fe);
    }
    close(fd);
}

/* C3: more slots than exist, and the removal of one that was never added. */
static void slots_beyond_the_last(struct hostile *h)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC);
    struct front_end fe;
    uint64_t slots = 0;

    hostile_expect(h, ftruncate(fd, 4096) == 0, "ftruncate");
    if (!hostile_negotiate(h, &fe, &h->attacker))
        return;
    hostile_expect(h, front_end_ask_u64(&fe, VU_GET_MAX_MEM_SLOTS, &slots) == 0,
                   "GET_MAX_MEM_SLOTS");
    for (uint64_t i = 0; i <= slots && slots < 1000; i++) {
        struct vu_mem_reg reg = {.region = {i << 20, 4096, (i + 1) << 30, 0}};

        if (i < slots)
            hostile_expect(h, front_end_tell(&fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1) == 0,
                           "slot %llu of %llu", (unsigned long long)i, (unsigned long long)slots);
        else
            hostile_expect_refused(h, &fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1,
                                   "one slot too many");
    }
    hostile_close(&fe);
    if (hostile_negotiate(h, &fe,
                          &h->attacker)) { /* some VMMs remove each twice: it may be answered */
        struct vu_mem_reg reg = {.region = {0x1234000, 4096, 0x7f0000000000, 0}};

        for (unsigned i = 0; i < 10; i++)
            (void)!front_end_tell(&fe, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
        hostile_close(&fe);
    }
    close(fd);
}

/* Two regions: rings in the first, every other buffer in the second. */
static struct front_end_options two_regions(const struct hostile *h)
{
    struct front_end_options options = h->attacker;

    options.region_count = 2;
    options.regions[0] = (struct guest_ram_layout){UINT64_C(0x40000000), 8 << 20, 0};
    options.regions[1] = (struct guest_ram_layout){UINT64_C(0x80000000), 8 << 20, 0};
    return options;
}

/* C3: the file is cut short after it was mapped, under the rings or under buffers. No SIGBUS. */
static void file_cut_short(struct hostile *h)
{
    for (unsigned i = 0; i < 4; i++) {
        struct front_end_options options = two_regions(h);
        uint64_t before = hostile_counter(h, "faults");
        struct front_end fe;
        uint8_t frame[1000] = {0};

        if (!hostile_open(h, &fe, &options))
            return;
        memset(frame, 0xff, 6);
        memcpy(frame + 6, hostile_attacker_mac, 6);
        hostile_expect(h, front_end_send(&fe, 0, NULL, frame, sizeof(frame)) == 0, "cannot send");
        if (i % 2 ==
            0) { /* the frames to be sent are offered first, and lost before they are seen */
            struct front_ring *ring = front_end_transmitq(&fe, 0);

            for (unsigned n = 0; n < 100 && front_ring_reserve(ring); n++)
                (void)!front_ring_commit(ring, NULL, 1000);
            __atomic_store_n(&ring->avail->index, ring->avail_index, __ATOMIC_RELEASE);
        }
        hostile_expect(h, ftruncate(fe.ram.regions[i / 2].fd, 0) == 0, "ftruncate");
        front_ring_kick(front_end_transmitq(&fe, 0));
        for (unsigned n = 0; n < 4; n++)
            hostile_probe_broadcast(h, 1000);
        hostile_expect_fault(h, before, i / 2 ? "buffers cut off" : "rings cut off");
        hostile_close(&fe);
    }
}

/* C3: the file is punched with holes and grown and cut again while frames run. */
static void file_cut_and_grown(struct hostile *h)
{
    struct front_end_options options = two_regions(h);
    struct front_end fe;

    if (!hostile_open(h, &fe, &options))
        return;
    for (unsigned i = 0; i < 50; i++) {
        int fd = fe.ram.regions[1].fd;

        (void)!ftruncate(fd, 4096 * i);
        hostile_probe_broadcast(h, 1500);
        (void)!ftruncate(fd, 8 << 20);
        (void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 << 20);
        hostile_probe_broadcast(h, 1500);
    }
    hostile_close(&fe);
}

/* C15: the memory table is replaced, slots come and go, while frames run both ways. */
static void memory_changed_under_traffic(struct hostile *h)
{
    struct front_end_options options = two_regions(h);
    uint8_t frame[60] = {0};

    memset(frame, 0xff, 6);
    memcpy(frame + 6, hostile_attacker_mac, 6);
    for (unsigned round = 0; round < 20; round++) {
        struct front_end fe;
        struct vu_mem_reg reg;
        int fd;

        options.protocol_features =
            round % 2 ? front_protocol_features
                      : front_protocol_features & ~VU_PROTOCOL(CONFIGURE_MEM_SLOTS);
        if (!hostile_open(h, &fe, &options))
            return;
        fd = fe.ram.regions[1].fd;
        reg = (struct vu_mem_reg){
            .region = {UINT64_C(0x80000000), 8 << 20, (uintptr_t)fe.ram.regions[1].bytes, 0}};
        for (unsigned i = 0; i < 50; i++) {
            for (unsigned n = 0; n < 8; n++) {
                front_ring_reclaim(front_end_transmitq(&fe, 0));
                if (front_ring_reserve(front_end_transmitq(&fe, 0)))
                    (void)!front_ring_commit(front_end_transmitq(&fe, 0), NULL, 60 + 100 * n);
            }
            front_ring_publish(front_end_transmitq(&fe, 0));
            hostile_probe_broadcast(h, 1000);
            if (round % 2 == 0)
                (void)!front_end_share_memory(&fe);
            else if (front_end_tell(&fe, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0) == 0)
                (void)!front_end_tell(&fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fd, 1);
        }
        hostile_close(&fe);
    }
}

/* C15: the table no longer holds the rings that run. */
static void rings_lose_their_memory(struct hostile *h)
{
    for (unsigned i = 0; i < 4; i++) {
        struct front_end_options options = two_regions(h);
        struct vu_mem_table table = {.count = 1};
        struct front_end fe;

        if (i >= 2)
            options.protocol_features &= ~VU_PROTOCOL(CONFIGURE_MEM_SLOTS);
        if (!hostile_open(h, &fe, &options))
            return;
        table.regions[0] = (struct vu_region){fe.ram.regions[i % 2].layout.guest_address,
                                              fe.ram.regions[i % 2].layout.size,
                                              (uintptr_t)fe.ram.regions[i % 2].bytes, 0};
        if (i >= 2) {
            (void)!front_end_tell(&fe, VU_SET_MEM_TABLE, &table, 40, &fe.ram.regions[i % 2].fd, 1);
        } else {
            struct vu_mem_reg reg = {.region = table.regions[0]};

            (void)!front_end_tell(&fe, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
        }
        front_ring_kick(front_end_transmitq(&fe, 0));
        for (unsigned n = 0; n < 300; n++)
            hostile_probe_broadcast(h, 200);
        hostile_close(&fe);
    }
}

/* C15: the front end goes away in the middle of traffic both ways, again and again. */
static void disconnect_under_traffic(struct hostile *h)
{
    for (unsigned round = 0; round < 100; round++) {
        struct front_end fe;
        struct front_ring *ring;

        if (!hostile_open(h, &fe, &h->attacker))
            return;
        ring = front_end_transmitq(&fe, 0);
        for (unsigned n = 0; n < 200; n++) {
            uint8_t *frame = front_ring_reserve(ring);

            if (!frame)
                break;
            memset(frame, 0xff, 6);
            memcpy(frame + 6, hostile_attacker_mac, 6);
            (void)!front_ring_commit(ring, NULL, 60 + n);
        }
        front_ring_publish(ring);
        for (unsigned n = 0; n < 20; n++)
            hostile_probe_broadcast(h, 500);
        hostile_close(&fe);
    }
}

const struct hostile_test memory_tests[] = {
    {"C3", "memory regions that cannot be", regions_that_cannot_be, MARK_WARNING},
    {"C3", "memory regions off the page", regions_off_the_page, 0},
    {"C3", "memory tables that lie", tables_that_lie, MARK_WARNING},
    {"C3", "memory slots beyond the last", slots_beyond_the_last, MARK_WARNING},
    {"C3", "memory file cut short", file_cut_short, MARK_WARNING},
    {"C3", "memory file cut and grown under traffic", file_cut_and_grown, 0},
    {"C15", "memory changed under traffic", memory_changed_under_traffic, 0},
    {"C15", "rings lose their memory", rings_lose_their_memory, MARK_WARNING},
    {"C15", "disconnect under traffic", disconnect_under_traffic, 0},
};
const unsigned memory_test_count = CV_COUNT_OF(memory_tests);

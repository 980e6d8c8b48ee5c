/*
 * Goal: rule 1 of the design, to the letter: the walkers of a ring read every word that a guest
 * wrote at most once, and once a frame has been received nothing is decided from the guest's memory
 * any more. double_fetch_test.c tries to win the race; this one counts. Method: guest memory that
 * cannot be read; each access faults, is noted by its address, and is let through for a single
 * instruction.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/vhost_user.h"
#include "ring_bed.h"
#include "unit/wire_frames.h"

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

enum { GUEST_BYTES = 1 << 16, WORDS = GUEST_BYTES / 8, TRAP_FLAG = 0x100 };

static struct queue_bed bed;
static struct wire_frame wire;
static uint8_t *memory;
static uint8_t reads[WORDS]; /* by 8-byte word of the memory */
static unsigned read_count;
static struct sigaction old_segv, old_trap;

static void allow(bool allowed)
{
    if (mprotect(memory, GUEST_BYTES, allowed ? PROT_READ | PROT_WRITE : PROT_NONE) < 0)
        _exit(3);
}

/* Notes the access and lets one instruction pass. */
static void touched(int signal, siginfo_t *info, void *context)
{
    ucontext_t *thread = context;
    uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)memory;

    (void)signal;
    if (offset >= GUEST_BYTES)
        _exit(4); /* a true fault */
    reads[offset / 8]++;
    read_count++;
    allow(true);
    thread->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void passed(int signal, siginfo_t *info, void *context)
{
    ucontext_t *thread = context;

    (void)signal;
    (void)info;
    thread->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    allow(false);
}

/* The test framework has handlers of its own, which are there again behind count_end. */
static void count_begin(void)
{
    struct sigaction segv = {.sa_sigaction = touched, .sa_flags = SA_SIGINFO};
    struct sigaction trap = {.sa_sigaction = passed, .sa_flags = SA_SIGINFO};

    assert_int_equal(sigaction(SIGSEGV, &segv, &old_segv), 0);
    assert_int_equal(sigaction(SIGTRAP, &trap, &old_trap), 0);
    memset(reads, 0, sizeof(reads));
    read_count = 0;
    allow(false);
}

static void count_end(void)
{
    allow(true);
    (void)sigaction(SIGSEGV, &old_segv, NULL);
    (void)sigaction(SIGTRAP, &old_trap, NULL);
}

static int begin(void **state)
{
    (void)state;
    queue_bed_init(
        &bed, &(struct queue_bed_options){.size = 64,
                                          .features = VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                                                      VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
                                          .guest_bytes = GUEST_BYTES});
    memory = bed.memory.memory.regions[0].bytes;
    return 0;
}

static int end(void **state)
{
    (void)state;
    queue_bed_uninit(&bed);
    return 0;
}

/* No word of this part of the memory was read more than once; returns how many were read. */
static unsigned words_read_once(const void *part, size_t bytes)
{
    size_t first = (size_t)((const uint8_t *)part - memory) / 8;
    unsigned count = 0;

    for (size_t i = first; i < first + bytes / 8; i++) {
        assert_true(reads[i] <= 1);
        count += reads[i];
    }
    return count;
}

static void walkers_read_descriptors_once(void **state)
{
    static struct virtq_chain chain;
    struct virtq_desc *table = bed_alloc(&bed.memory, 0, 3 * sizeof(*table), 16);
    struct bed_ring *ring = &bed.transmitq;
    const struct virtq *virtq = &bed.queue.from_guest;
    uint64_t address = bed_address(&bed.memory, bed_alloc(&bed.memory, 0, 100, 1));
    enum guest_fault fault;
    struct iovec piece;
    bool is_single;

    (void)state;
    table[0] = (struct virtq_desc){address, 10, VIRTQ_DESC_F_NEXT, 2};
    table[2] = (struct virtq_desc){address, 20, 0, 0};
    bed_ring_put(ring, 5, address, 30, VIRTQ_DESC_F_NEXT, 6);
    bed_ring_put(ring, 6, address, 0, VIRTQ_DESC_F_NEXT, 9);
    bed_ring_put(ring, 9, bed_address(&bed.memory, table), 48, VIRTQ_DESC_F_INDIRECT, 0);
    bed_ring_put(ring, 10, address, 40, 0, 0);
    virtq_chain_clear(&chain);
    count_begin();
    fault = virtq_walk(virtq, 5, false, &chain);
    count_end();
    assert_int_equal(fault, GUEST_FAULT_NONE);
    assert_int_equal(chain.len, 60);
    assert_int_equal(words_read_once(ring->desc, 64 * sizeof(*ring->desc)), 6);
    assert_int_equal(words_read_once(table, 3 * sizeof(*table)), 4);
    assert_int_equal(read_count, 10); /* and nothing else was looked at */

    count_begin();
    is_single = virtq_walk_single(virtq, 10, false, &piece);
    count_end();
    assert_true(is_single);
    assert_int_equal(words_read_once(ring->desc, 64 * sizeof(*ring->desc)), 2);
    assert_int_equal(read_count, 2);
}

static void event_index_is_read_once(void **state)
{
    bool wanted;

    (void)state;
    virtq_use(&bed.queue.from_guest, 1, 0);
    virtq_use(&bed.queue.from_guest, 2, 0);
    *bed_ring_used_event(&bed.transmitq) = 1;
    count_begin();
    wanted = virtq_publish(&bed.queue.from_guest);
    count_end();
    assert_true(wanted);
    assert_int_equal(read_count, 2); /* one store of our index, one load of the guest's */
}

/* A burst reads the index once, each head once, and of each chain what its walkers read. */
static void receive_reads_the_ring_once(void **state)
{
    struct frame *frames[BURST_FRAMES_MAX];
    struct bed_ring *ring = &bed.transmitq;
    unsigned count;

    (void)state;
    wire_begin(&wire);
    wire_ipv4(&wire, 17, 0);
    wire_udp(&wire, 1, 2);
    wire_payload(&wire, 100, 1);
    wire_finish(&wire);
    for (unsigned i = 0; i < 8; i++)
        queue_bed_send(&bed, NULL, wire.bytes, wire.len, 0);
    count_begin();
    count = vhost_receive(&bed.queue.base, &bed.pool, frames, 64);
    count_end();
    assert_int_equal(count, 8);
    assert_int_equal(words_read_once(ring->desc, 64 * sizeof(*ring->desc)), 16);
    /* flags and index share a word with the first two heads, and four heads share a word */
    assert_true(reads[((uint8_t *)ring->avail - memory) / 8] <= 3);
    for (unsigned i = 0; i < count; i++)
        frame_pool_put(&bed.pool, frames[i]);
}

/* A group reads each buffer's descriptor once; the first one, which decides whether there is a
 * group, is walked again, as a whole. */
static void deliver_reads_descriptors_once(void **state)
{
    struct frame frame = {0}, *frames[8];
    struct bed_ring *ring = &bed.receiveq;
    unsigned done;

    (void)state;
    wire_begin(&wire);
    wire_payload(&wire, 46, 1);
    wire_view(&wire, 60, NULL, 0, &frame);
    for (unsigned i = 0; i < 8; i++) {
        queue_bed_post(&bed, 100, 0);
        frames[i] = &frame;
    }
    count_begin();
    done = vhost_deliver(&bed.queue.base, frames, 8);
    count_end();
    wire_unview(&frame);
    assert_int_equal(done, 8);
    assert_int_equal(words_read_once(ring->desc + 1, 63 * sizeof(*ring->desc)), 14);
    assert_int_equal(reads[((uint8_t *)ring->desc - memory) / 8], 2);
}

/* Whatever is decided about a received frame is decided from the private copy. */
static void decisions_read_no_guest_memory(void **state)
{
    struct virtio_net_hdr hdr;
    struct frame *frames[BURST_FRAMES_MAX];
    struct frame_facts facts;
    unsigned count;
    bool is_right;

    (void)state;
    wire_begin(&wire);
    wire_vlan(&wire, 0x8100, 7);
    wire_ipv6(&wire, 6);
    wire_tcp(&wire, 0x10, 12);
    wire_payload(&wire, 9000, 1);
    wire_finish(&wire);
    hdr = wire_hdr(&wire, 1400);
    queue_bed_send(&bed, &hdr, wire.bytes, wire.len, 0);
    queue_bed_send(&bed, &hdr, wire.bytes, wire.len, 1000);
    count = vhost_receive(&bed.queue.base, &bed.pool, frames, 64);
    assert_int_equal(count, 2);
    for (unsigned i = 0; i < count; i++) {
        count_begin();
        frame_parse(frames[i]->head, frames[i]->head_len, frames[i]->len, &facts);
        is_right = offload_check(&frames[i]->vnet, &facts, frames[i]->head_len, frames[i]->len);
        count_end();
        assert_true(is_right);
        assert_int_equal(read_count, 0);
        frame_pool_put(&bed.pool, frames[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(walkers_read_descriptors_once, begin, end),
        cmocka_unit_test_setup_teardown(event_index_is_read_once, begin, end),
        cmocka_unit_test_setup_teardown(receive_reads_the_ring_once, begin, end),
        cmocka_unit_test_setup_teardown(deliver_reads_descriptors_once, begin, end),
        cmocka_unit_test_setup_teardown(decisions_read_no_guest_memory, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* Exit status 77: Meson counts it as skipped. */
int main(void)
{
    print_message("skipped: single steps are only known for x86-64, and not under "
                  "ThreadSanitizer\n");
    return 77;
}

#endif

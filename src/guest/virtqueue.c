#include "guest/virtqueue.h"

#include <errno.h>
#include <unistd.h>

#include "guest/vhost_user.h"

static const char *const guest_fault_texts[] = {"none",
#define GUEST_FAULT_TEXT(symbol, text) text,
                                                GUEST_FAULTS(GUEST_FAULT_TEXT)
#undef GUEST_FAULT_TEXT
};

static_assert(CV_COUNT_OF(guest_fault_texts) == GUEST_FAULT_COUNT, "a sentence for every fault");

const char *guest_fault_text(enum guest_fault fault)
{
    assert(fault < GUEST_FAULT_COUNT);
    return guest_fault_texts[fault];
}

/* The two event fields lie behind the rings; they are there only with VIRTIO_RING_F_EVENT_IDX. */
static uint16_t *virtq_used_event(const struct virtq *virtq)
{
    return &virtq->avail->ring[virtq->size];
}

static uint16_t *virtq_avail_event(const struct virtq *virtq)
{
    return (uint16_t *)&virtq->used->ring[virtq->size];
}

enum guest_fault virtq_start(struct virtq *virtq, const struct virtq_setup *setup)
{
    bool event_idx = setup->features & VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    uint64_t size = setup->size;
    size_t event_bytes = event_idx ? sizeof(uint16_t) : 0;
    /* Alignment as in virtio 1.2, 2.7: descriptors 16, available 2, used 4. */
    void *desc = guest_memory_at_user(setup->memory, setup->desc_user_address,
                                      size * sizeof(struct virtq_desc), 16);
    void *avail = guest_memory_at_user(setup->memory, setup->avail_user_address,
                                       sizeof(struct virtq_avail) + size * 2 + event_bytes, 2);
    void *used = guest_memory_at_user(
        setup->memory, setup->used_user_address,
        sizeof(struct virtq_used) + size * sizeof(struct virtq_used_elem) + event_bytes, 4);

    if (!desc || !avail || !used)
        return GUEST_FAULT_RING_UNMAPPED;
    assert(size && (size & (size - 1)) == 0 && size <= VIRTQ_SIZE_MAX);
    *virtq = (struct virtq){
        .desc = desc,
        .avail = avail,
        .used = used,
        .memory = setup->memory,
        .size = setup->size,
        .next_avail = setup->base,
        .avail_seen = setup->base,
        .event_idx = event_idx,
        .indirect = setup->features & VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
        .call_fd = setup->call_fd,
    };
    /* Everything is given back in order, so the used index tells where the last owner stopped. */
    virtq->next_used = __atomic_load_n(&virtq->used->idx, __ATOMIC_RELAXED);
    virtq->published_used = virtq->asked_used = virtq->next_used;
    return GUEST_FAULT_NONE;
}

/* Appends the places of one descriptor; it may span regions that adjoin. */
static enum guest_fault chain_add(struct virtq_chain *chain, const struct guest_memory *memory,
                                  uint64_t address, uint64_t len)
{
    while (len > 0) {
        uint64_t run_len;
        uint8_t *bytes = guest_memory_at(memory, address, len, &run_len);

        if (!bytes)
            return GUEST_FAULT_UNMAPPED;
        if (chain->count == CV_COUNT_OF(chain->pieces))
            return GUEST_FAULT_CHAIN_LENGTH;
        chain->pieces[chain->count++] = (struct iovec){bytes, run_len};
        chain->len += run_len;
        address += run_len;
        len -= run_len;
    }
    return GUEST_FAULT_NONE;
}

/* A table of descriptors: the ring's own, or an indirect one. */
struct desc_table {
    const struct virtq_desc *desc;
    uint32_t count;
};

/* Finds an indirect table (virtio 1.2, 2.7.5.3). It must lie in one piece. */
static enum guest_fault indirect_table(const struct virtq *virtq, const struct virtq_desc *desc,
                                       struct desc_table *ret_table)
{
    uint64_t run_len;

    if (!virtq->indirect)
        return GUEST_FAULT_INDIRECT_UNOFFERED;
    if (desc->flags & VIRTQ_DESC_F_NEXT)
        return GUEST_FAULT_INDIRECT_NESTED;
    if (desc->len == 0 || desc->len % sizeof(struct virtq_desc) ||
        desc->len / sizeof(struct virtq_desc) > VIRTQ_SIZE_MAX || desc->address % 8)
        return GUEST_FAULT_INDIRECT_TABLE;
    ret_table->desc =
        (const void *)guest_memory_at(virtq->memory, desc->address, desc->len, &run_len);
    if (!ret_table->desc || run_len != desc->len)
        return GUEST_FAULT_UNMAPPED;
    /* The front end chooses where in a page its memory starts, so both addresses are looked at. */
    if ((uintptr_t)ret_table->desc % 8)
        return GUEST_FAULT_INDIRECT_TABLE;
    ret_table->count = desc->len / (uint32_t)sizeof(struct virtq_desc);
    return GUEST_FAULT_NONE;
}

enum guest_fault virtq_walk(const struct virtq *virtq, uint16_t guest_head, bool to_guest,
                            struct virtq_chain *chain)
{
    struct desc_table table = {virtq->desc, virtq->size};
    uint16_t direction = to_guest ? VIRTQ_DESC_F_WRITE : 0;
    uint32_t index = guest_head;
    bool is_indirect = false;

    if (guest_head >= virtq->size)
        return GUEST_FAULT_HEAD_RANGE;
    /* Zero-length descriptors add no piece, so the walk itself is bounded, not only its result. */
    while (chain->steps++ < VIRTQ_CHAIN_PIECES_MAX) {
        struct virtq_desc desc = virtq_desc_copy(&table.desc[index]);
        enum guest_fault fault;

        if (desc.flags & VIRTQ_DESC_F_INDIRECT) {
            fault =
                is_indirect ? GUEST_FAULT_INDIRECT_NESTED : indirect_table(virtq, &desc, &table);
            if (fault)
                return fault;
            is_indirect = true;
            index = 0;
            continue;
        }
        if ((desc.flags & VIRTQ_DESC_F_WRITE) != direction)
            return GUEST_FAULT_DIRECTION;
        fault = chain_add(chain, virtq->memory, desc.address, desc.len);
        if (fault)
            return fault;
        if (!(desc.flags & VIRTQ_DESC_F_NEXT))
            return GUEST_FAULT_NONE;
        if (desc.next >= table.count)
            return GUEST_FAULT_NEXT_RANGE;
        index = desc.next;
    }
    return GUEST_FAULT_CHAIN_LENGTH;
}

bool virtq_show(struct virtq *virtq)
{
    if (virtq->published_used == virtq->next_used)
        return false;
    __atomic_store_n(&virtq->used->idx, virtq->next_used, __ATOMIC_RELEASE);
    virtq->published_used = virtq->next_used;
    return true;
}

bool virtq_wants_call(struct virtq *virtq)
{
    uint16_t old = virtq->asked_used, new = virtq->published_used;

    if (old == new)
        return false;
    virtq->asked_used = new;
    /* The driver's wish must be read after our index is visible (virtio 1.2, 2.7.7.2). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (virtq->event_idx) {
        uint16_t event = __atomic_load_n(virtq_used_event(virtq), __ATOMIC_RELAXED);

        return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    return !(__atomic_load_n(&virtq->avail->flags, __ATOMIC_RELAXED) & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

bool virtq_has_answered(const struct virtq *virtq)
{
    uint16_t event;

    if (!virtq->event_idx)
        return false;
    event = __atomic_load_n(virtq_used_event(virtq), __ATOMIC_RELAXED);
    return (int16_t)(event - virtq->asked_used) >= 0;
}

bool virtq_call(const struct virtq *virtq)
{
    static const uint64_t one = 1;

    /* A full eventfd counter (the guest does not read it) means that it is signalled already. */
    return virtq->call_fd < 0 || write(virtq->call_fd, &one, sizeof(one)) >= 0 || errno != EINTR;
}

bool virtq_kicks_enable(struct virtq *virtq, unsigned chains)
{
    uint16_t event = (uint16_t)(virtq->avail_seen + chains - 1);

    if (virtq->event_idx)
        __atomic_store_n(virtq_avail_event(virtq), event, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&virtq->used->flags, chains > 1 ? VIRTQ_USED_F_NO_NOTIFY : 0,
                         __ATOMIC_RELAXED);
    virtq->kicks_disabled = false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (uint16_t)(__atomic_load_n(&virtq->avail->idx, __ATOMIC_ACQUIRE) - virtq->avail_seen) >=
           chains;
}

void virtq_kicks_disable(struct virtq *virtq)
{
    if (virtq->kicks_disabled)
        return;
    virtq->kicks_disabled = true;
    if (!virtq->event_idx)
        __atomic_store_n(&virtq->used->flags, VIRTQ_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

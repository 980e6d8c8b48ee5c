#include "front_ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

static uint16_t *used_event(const struct front_ring *ring)
{
    return &ring->avail->ring[ring->options.size];
}

static uint16_t *avail_event(const struct front_ring *ring)
{
    return (uint16_t *)&ring->used->ring[ring->options.size];
}

static size_t table_entries(const struct front_ring_options *options)
{
    return CV_MIN(options->size, (unsigned)FRONT_INDIRECT_MAX);
}

static size_t slot_room(const struct front_ring_options *options)
{
    return ((size_t)options->slot_bytes + 63) & ~(size_t)63;
}

uint64_t front_ring_bytes(const struct front_ring_options *options)
{
    uint64_t per_entry = 2 * slot_room(options) + sizeof(struct front_desc) * 2 + 16;

    if (options->indirect)
        per_entry += table_entries(options) * sizeof(struct front_desc);
    return per_entry * options->size + (size_t)4 * 4096;
}

static int alloc_shared(struct front_ring *ring)
{
    const struct front_ring_options *o = &ring->options;
    struct guest_ram *ram = ring->ram;

    ring->desc = guest_ram_alloc(ram, o->region, o->size * sizeof(*ring->desc), 4096);
    ring->avail = guest_ram_alloc(ram, o->region, 6 + 2 * o->size, 64);
    ring->used = guest_ram_alloc(ram, o->region, 6 + 8 * o->size, 64);
    if (!ring->desc || !ring->avail || !ring->used)
        return -ENOSPC;
    for (unsigned i = 0; i < o->size; i++) {
        ring->slots[i] = guest_ram_alloc(ram, o->region + i, 2 * slot_room(o), 64);
        if (!ring->slots[i])
            return -ENOSPC;
        ring->slot_addresses[i] = guest_ram_address(ram, ring->slots[i]);
        if (!o->indirect)
            continue;
        ring->tables[i] =
            guest_ram_alloc(ram, o->region + i, table_entries(o) * sizeof(struct front_desc), 16);
        if (!ring->tables[i])
            return -ENOSPC;
    }
    return 0;
}

static int alloc_own(struct front_ring *ring)
{
    unsigned size = ring->options.size;

    ring->free_list = calloc(size, sizeof(*ring->free_list));
    ring->order = calloc(size, sizeof(*ring->order));
    ring->chain_next = calloc(size, sizeof(*ring->chain_next));
    ring->chains = calloc(size, sizeof(*ring->chains));
    ring->slots = calloc(size, sizeof(*ring->slots));
    ring->slot_addresses = calloc(size, sizeof(*ring->slot_addresses));
    ring->tables = calloc(size, sizeof(*ring->tables));
    ring->scratch = malloc(FRONT_FRAME_BYTES_MAX + 64);
    ring->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ring->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!ring->free_list || !ring->order || !ring->chain_next || !ring->chains || !ring->slots ||
        !ring->slot_addresses || !ring->tables || !ring->scratch)
        return -ENOMEM;
    return ring->kick_fd < 0 || ring->call_fd < 0 ? -EMFILE : 0;
}

int front_ring_init(struct front_ring *ring, struct guest_ram *ram,
                    const struct front_ring_options *options, struct error *error)
{
    int result;

    assert((options->size & (options->size - 1)) == 0 && options->size <= 32768);
    *ring = (struct front_ring){.options = *options, .ram = ram, .kick_fd = -1, .call_fd = -1};
    ring->mask = (uint16_t)(options->size - 1);
    ring->post_bytes = options->slot_bytes;
    ring->keep_posted = true;
    result = alloc_own(ring);
    if (result == 0)
        result = alloc_shared(ring);
    if (result < 0) {
        front_ring_uninit(ring);
        return error_set(error, result, "no room for a ring of %u entries: %s", options->size,
                         strerror(-result));
    }
    front_ring_reset(ring);
    return 0;
}

void front_ring_uninit(struct front_ring *ring)
{
    free(ring->free_list);
    free(ring->order);
    free(ring->chain_next);
    free(ring->chains);
    free(ring->slots);
    free(ring->slot_addresses);
    free(ring->tables);
    free(ring->scratch);
    if (ring->kick_fd >= 0)
        close(ring->kick_fd);
    if (ring->call_fd >= 0)
        close(ring->call_fd);
    *ring = (struct front_ring){.kick_fd = -1, .call_fd = -1};
}

void front_ring_reset(struct front_ring *ring)
{
    unsigned size = ring->options.size;

    memset(ring->desc, 0, size * sizeof(*ring->desc));
    memset(ring->avail, 0, 6 + 2 * size);
    memset(ring->used, 0, 6 + 8 * size);
    memset(ring->chains, 0, size * sizeof(*ring->chains));
    for (unsigned i = 0; i < size; i++)
        ring->free_list[i] = (uint16_t)i;
    ring->free_head = ring->free_tail = 0;
    ring->free_count = size;
    ring->order_head = ring->order_tail = 0;
    ring->avail_index = ring->published_index = ring->used_index = 0;
    front_ring_calls_disable(ring);
}

static void fault(struct front_ring *ring, const char *what, unsigned value)
{
    if (ring->stats.faults++ == 0)
        error_set(&ring->first_fault, -EPROTO, "%s (%u, used index %u, available index %u)", what,
                  value, ring->used_index, ring->published_index);
}

/* --- chains --- */

static uint32_t piece_len(const struct front_cut *cut, unsigned piece, uint32_t left)
{
    uint32_t len = left;

    if (piece < cut->piece_count)
        len = cut->piece_bytes[piece];
    else if (cut->each_bytes)
        len = cut->each_bytes;
    return CV_MIN(len, left);
}

static unsigned piece_count(const struct front_cut *cut, uint32_t bytes)
{
    unsigned count = 0;

    for (uint32_t done = 0; done < bytes; count++)
        done += piece_len(cut, count, bytes - done);
    return count;
}

static uint16_t free_take(struct front_ring *ring)
{
    uint16_t index = ring->free_list[ring->free_head & ring->mask];

    ring->free_head++;
    ring->free_count--;
    return index;
}

static void offer(struct front_ring *ring, uint16_t head)
{
    ring->avail->ring[ring->avail_index++ & ring->mask] = head;
    ring->order[ring->order_tail++ & ring->mask] = head;
}

/* One descriptor for the whole buffer: the common, fast case. */
static void offer_whole(struct front_ring *ring, uint32_t bytes)
{
    uint16_t head = free_take(ring);

    ring->desc[head] = (struct front_desc){ring->slot_addresses[head], bytes,
                                           ring->options.to_guest ? FRONT_DESC_WRITE : 0, 0};
    ring->chains[head].bytes = bytes;
    ring->chains[head].desc_count = 1;
    ring->chains[head].outstanding = true;
    ring->chains[head].scattered = false;
    offer(ring, head);
}

/* Fills `table` (the ring's own, linked by free descriptors, or an indirect one) with the pieces.
 */
static void fill_pieces(struct front_ring *ring, uint16_t head, uint32_t bytes, unsigned count,
                        bool indirect)
{
    size_t room = slot_room(&ring->options);
    uint16_t flags = ring->options.to_guest ? FRONT_DESC_WRITE : 0, at = indirect ? 0 : head;
    uint8_t *slot = ring->slots[head];
    uint32_t done = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t len = piece_len(&ring->cut, i, bytes - done);
        size_t place = room + bytes - done - len; /* first piece last */
        struct front_desc *desc = indirect ? &ring->tables[head][at] : &ring->desc[at];
        bool last = i + 1 == count;
        uint16_t next = last ? 0 : indirect ? (uint16_t)(at + 1) : free_take(ring);

        if (!ring->options.to_guest)
            memcpy(slot + place, slot + done, len);
        *desc = (struct front_desc){ring->slot_addresses[head] + place, len,
                                    (uint16_t)(flags | (last ? 0 : FRONT_DESC_NEXT)), next};
        if (!indirect)
            ring->chain_next[at] = next;
        at = next;
        done += len;
    }
}

static bool offer_pieces(struct front_ring *ring, uint32_t bytes)
{
    unsigned count = piece_count(&ring->cut, bytes);
    bool indirect =
        ring->cut.indirect && ring->options.indirect && count <= table_entries(&ring->options);
    uint16_t head;

    if (ring->free_count < (indirect ? 1 : count))
        return false;
    head = free_take(ring);
    fill_pieces(ring, head, bytes, count, indirect);
    if (indirect)
        ring->desc[head] = (struct front_desc){guest_ram_address(ring->ram, ring->tables[head]),
                                               count * (uint32_t)sizeof(struct front_desc),
                                               FRONT_DESC_INDIRECT, 0};
    ring->chains[head] = (struct front_chain){.bytes = bytes,
                                              .desc_count = indirect ? 1 : (uint16_t)count,
                                              .outstanding = true,
                                              .scattered = true,
                                              .cut = ring->cut};
    offer(ring, head);
    return true;
}

static bool offer_chain(struct front_ring *ring, uint32_t bytes)
{
    if (ring->cut.piece_count > 0 || ring->cut.each_bytes > 0 || ring->cut.indirect)
        return offer_pieces(ring, bytes);
    if (ring->free_count == 0)
        return false;
    offer_whole(ring, bytes);
    return true;
}

static void free_chain(struct front_ring *ring, uint16_t head)
{
    unsigned count = ring->chains[head].desc_count;
    uint16_t at = head;

    ring->chains[head].outstanding = false;
    for (unsigned i = 0; i < count; i++) {
        ring->free_list[ring->free_tail++ & ring->mask] = at;
        at = ring->chain_next[at];
    }
    ring->free_count += count;
}

/* --- the used ring --- */

static uint16_t used_index_load(const struct front_ring *ring)
{
    return __atomic_load_n(&ring->used->index, __ATOMIC_ACQUIRE);
}

uint16_t front_ring_used(const struct front_ring *ring)
{
    return (uint16_t)(used_index_load(ring) - ring->used_index);
}

bool front_ring_has_used(const struct front_ring *ring)
{
    return front_ring_used(ring) != 0;
}

unsigned front_ring_outstanding(const struct front_ring *ring)
{
    return (uint16_t)(ring->order_tail - ring->order_head);
}

/* Used elements to look at; an index that claims more than was offered is a fault. */
static unsigned used_count(struct front_ring *ring)
{
    uint16_t count = (uint16_t)(used_index_load(ring) - ring->used_index);

    if (count > front_ring_outstanding(ring)) {
        fault(ring, "used index ahead of what was offered", count);
        return 0;
    }
    return count;
}

/* Removes `head` from the list of what was offered; counts whether an older one was passed over. */
static void order_remove(struct front_ring *ring, uint16_t head)
{
    uint16_t at = ring->order_head;

    if (CV_LIKELY(ring->order[at & ring->mask] == head)) {
        ring->order_head++;
        return;
    }
    ring->stats.out_of_order++;
    if (ring->options.in_order)
        fault(ring, "buffers given back out of order despite IN_ORDER", head);
    while (ring->order[at & ring->mask] != head)
        at++;
    for (; at != ring->order_head; at--)
        ring->order[at & ring->mask] = ring->order[(at - 1) & ring->mask];
    ring->order_head++;
}

/* The head that a used element names, or -1 and a fault. */
static int used_head(struct front_ring *ring, const struct front_used_elem *elem)
{
    if (elem->id >= ring->options.size || !ring->chains[elem->id].outstanding) {
        fault(ring, "used element names no outstanding chain", elem->id);
        return -1;
    }
    return (int)elem->id;
}

/* IN_ORDER: one used element may stand for all chains up to it (virtio 1.2, 2.7.13). */
static unsigned reclaim_batch(struct front_ring *ring, uint16_t last, unsigned count)
{
    unsigned done = 0;

    while (done < count) {
        uint16_t head = ring->order[ring->order_head++ & ring->mask];

        free_chain(ring, head);
        done++;
        if (head == last)
            return done;
    }
    fault(ring, "batch of used chains ends with a chain outside it", last);
    return done;
}

unsigned front_ring_reclaim(struct front_ring *ring)
{
    unsigned count = used_count(ring), done = 0;

    while (done < count) {
        struct front_used_elem elem = ring->used->ring[ring->used_index & ring->mask];
        int head = used_head(ring, &elem);
        unsigned chains = 1;

        if (head < 0) {
            chains = count - done;
        } else if (ring->options.in_order) {
            chains = reclaim_batch(ring, (uint16_t)head, count - done);
        } else {
            order_remove(ring, (uint16_t)head);
            free_chain(ring, (uint16_t)head);
        }
        ring->used_index = (uint16_t)(ring->used_index + chains);
        done += chains;
    }
    ring->stats.bursts += done > 0;
    ring->stats.buffers += done;
    ring->stats.frames += done;
    return done;
}

/* --- transmitq --- */

uint8_t *front_ring_reserve(struct front_ring *ring)
{
    if (ring->free_count == 0)
        return NULL;
    return ring->slots[ring->free_list[ring->free_head & ring->mask]] + ring->options.hdr_bytes;
}

bool front_ring_commit(struct front_ring *ring, const struct virtio_net_hdr *hdr, size_t len)
{
    static const struct virtio_net_hdr no_hdr;
    uint8_t *slot = ring->slots[ring->free_list[ring->free_head & ring->mask]];

    assert(len + ring->options.hdr_bytes <= ring->options.slot_bytes);
    memcpy(slot, hdr ? hdr : &no_hdr, ring->options.hdr_bytes);
    return offer_chain(ring, (uint32_t)(len + ring->options.hdr_bytes));
}

/* --- receiveq --- */

unsigned front_ring_post(struct front_ring *ring, unsigned count)
{
    unsigned posted = 0;

    while (posted < count && offer_chain(ring, ring->post_bytes))
        posted++;
    front_ring_publish(ring);
    return posted;
}

/* Bytes [from, len) of a buffer into `into`, whatever pieces it was posted in. */
static void gather(const struct front_ring *ring, uint16_t head, size_t from, size_t len,
                   uint8_t *into)
{
    const struct front_chain *chain = &ring->chains[head];
    const uint8_t *scatter = ring->slots[head] + slot_room(&ring->options);
    size_t done = 0;

    if (!chain->scattered) {
        memcpy(into, ring->slots[head] + from, len - from);
        return;
    }
    for (unsigned i = 0; done < len; i++) {
        size_t piece = piece_len(&chain->cut, i, chain->bytes - (uint32_t)done);
        size_t start = CV_MAX(from, done), end = CV_MIN(len, done + piece);

        if (start < end)
            memcpy(into + (start - from), scatter + chain->bytes - done - piece + (start - done),
                   end - start);
        done += piece;
    }
}

/* Takes one used element of a receiveq; its length is checked. -1: a fault. */
static int take_used(struct front_ring *ring, uint32_t *ret_len)
{
    struct front_used_elem elem = ring->used->ring[ring->used_index & ring->mask];
    int head = used_head(ring, &elem);

    ring->used_index++;
    ring->stats.buffers++;
    if (head < 0)
        return -1;
    order_remove(ring, (uint16_t)head);
    if (elem.len > ring->chains[head].bytes) {
        fault(ring, "used length larger than the buffer", elem.len);
        elem.len = ring->chains[head].bytes;
    }
    *ret_len = elem.len;
    return head;
}

/* Gathers the buffers behind the first of a merged frame into the scratch memory. */
static size_t gather_merged(struct front_ring *ring, unsigned buffers, size_t len)
{
    for (unsigned i = 1; i < buffers; i++) {
        uint32_t used_len;
        int head = take_used(ring, &used_len);

        if (head < 0)
            continue;
        if (len + used_len > FRONT_FRAME_BYTES_MAX) {
            fault(ring, "merged frame larger than any frame", (unsigned)(len + used_len));
            used_len = 0;
        }
        gather(ring, (uint16_t)head, 0, used_len, ring->scratch + len);
        len += used_len;
        free_chain(ring, (uint16_t)head);
    }
    return len;
}

/* Buffers of the frame that starts with this header; 0: the rest of them is not visible yet. */
static unsigned merged_buffers(struct front_ring *ring, const struct virtio_net_hdr *hdr,
                               unsigned count)
{
    if (ring->options.hdr_bytes < VNET_HDR_BYTES)
        return 1;
    if (hdr->num_buffers == 0 || (hdr->num_buffers > 1 && !ring->options.mergeable)) {
        fault(ring, "num_buffers is wrong", hdr->num_buffers);
        return 1;
    }
    if (hdr->num_buffers > count) {
        fault(ring, "a merged frame was made visible in parts", hdr->num_buffers);
        return 0;
    }
    return hdr->num_buffers;
}

/* Takes one frame; returns how many used elements it took, 0 when it is not complete yet. */
static unsigned receive_one(struct front_ring *ring, unsigned count,
                            void (*visit)(void *context, const struct virtio_net_hdr *hdr,
                                          const uint8_t *frame, size_t len),
                            void *context)
{
    size_t hdr_bytes = ring->options.hdr_bytes, len;
    struct front_used_elem elem = ring->used->ring[ring->used_index & ring->mask];
    struct virtio_net_hdr hdr = {.num_buffers = 1};
    const uint8_t *frame;
    uint32_t used_len = 0;
    unsigned buffers = 1;
    int head = used_head(ring, &elem);

    if (head >= 0 && elem.len < hdr_bytes)
        fault(ring, "used length smaller than the header", elem.len);
    if (head < 0 || elem.len < hdr_bytes) {
        head = take_used(ring, &used_len);
        if (head >= 0)
            free_chain(ring, (uint16_t)head);
        return 1;
    }
    gather(ring, (uint16_t)head, 0, hdr_bytes, (uint8_t *)&hdr);
    buffers = merged_buffers(ring, &hdr, count);
    if (buffers == 0)
        return 0;
    head = take_used(ring, &used_len);
    len = used_len - hdr_bytes;
    frame = ring->slots[head] + hdr_bytes;
    if (ring->chains[head].scattered || buffers > 1) {
        gather(ring, (uint16_t)head, hdr_bytes, used_len, ring->scratch);
        frame = ring->scratch;
    }
    free_chain(ring, (uint16_t)head); /* posted again only when the burst is over */
    len = gather_merged(ring, buffers, len);
    visit(context, &hdr, frame, len);
    ring->stats.bytes += len;
    ring->stats.frames++;
    return buffers;
}

unsigned front_ring_receive(struct front_ring *ring, unsigned max,
                            void (*visit)(void *context, const struct virtio_net_hdr *hdr,
                                          const uint8_t *frame, size_t len),
                            void *context)
{
    unsigned count = used_count(ring), frames = 0, buffers = 0;

    while (buffers < count && frames < max) {
        unsigned taken = receive_one(ring, count - buffers, visit, context);

        if (taken == 0)
            break;
        buffers += taken;
        frames++;
    }
    ring->stats.bursts += buffers > 0;
    if (buffers > 0 && ring->keep_posted)
        front_ring_post(ring, buffers);
    return frames;
}

/* --- notifications --- */

void front_ring_kick(struct front_ring *ring)
{
    uint64_t one = 1;

    if (write(ring->kick_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
        ring->stats.kicks++;
}

void front_ring_publish(struct front_ring *ring)
{
    uint16_t old = ring->published_index, new = ring->avail_index;
    bool wanted;

    if (old == new)
        return;
    __atomic_store_n(&ring->avail->index, new, __ATOMIC_RELEASE);
    ring->published_index = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index is out before we look at the wish */
    if (ring->options.event_idx) {
        uint16_t event = __atomic_load_n(avail_event(ring), __ATOMIC_RELAXED);

        wanted = (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    } else {
        wanted = !(__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY);
    }
    if (wanted)
        front_ring_kick(ring);
}

void front_ring_calls_disable(struct front_ring *ring)
{
    if (ring->options.event_idx)
        __atomic_store_n(used_event(ring), (uint16_t)(ring->used_index - 1), __ATOMIC_RELAXED);
    else
        __atomic_store_n(&ring->avail->flags, AVAIL_NO_INTERRUPT, __ATOMIC_RELAXED);
}

bool front_ring_calls_enable(struct front_ring *ring, uint16_t count)
{
    if (ring->options.event_idx)
        __atomic_store_n(used_event(ring), (uint16_t)(ring->used_index + count), __ATOMIC_RELAXED);
    else
        __atomic_store_n(&ring->avail->flags, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish is out before we look at the index */
    return (uint16_t)(used_index_load(ring) - ring->used_index) > count;
}

void front_ring_calls_take(struct front_ring *ring)
{
    uint64_t count;

    if (read(ring->call_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        ring->stats.calls += count;
}

void front_ring_describe(const struct front_ring *ring, char *text, size_t bytes)
{
    unsigned avail_index = __atomic_load_n(&ring->avail->index, __ATOMIC_RELAXED);
    unsigned avail_flags = __atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED);
    unsigned used_flags = __atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED);
    unsigned used_event_now = 0, avail_event_now = 0;

    if (ring->options.event_idx) {
        used_event_now = __atomic_load_n(used_event(ring), __ATOMIC_RELAXED);
        avail_event_now = __atomic_load_n(avail_event(ring), __ATOMIC_RELAXED);
    }
    snprintf(text, bytes,
             "available %u (kick wanted at %u, flags %u), used %u (call wanted at %u, flags %u), "
             "looked at up to %u, %llu kicks, %llu calls",
             avail_index, avail_event_now, used_flags, used_index_load(ring), used_event_now,
             avail_flags, ring->used_index, (unsigned long long)ring->stats.kicks,
             (unsigned long long)ring->stats.calls);
}

/* --- as wrong as wanted --- */

void front_ring_put_desc(struct front_ring *ring, uint16_t index, uint64_t guest_address,
                         uint32_t len, uint16_t flags, uint16_t next)
{
    ring->desc[index & ring->mask] = (struct front_desc){guest_address, len, flags, next};
}

void front_ring_put_avail(struct front_ring *ring, uint16_t head)
{
    ring->avail->ring[ring->avail_index++ & ring->mask] = head;
}

void front_ring_put_avail_index(struct front_ring *ring, uint16_t index)
{
    __atomic_store_n(&ring->avail->index, index, __ATOMIC_RELEASE);
    ring->avail_index = ring->published_index = index;
    front_ring_kick(ring);
}

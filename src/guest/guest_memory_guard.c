#include "guest/guest_memory_guard.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/limits.h"
#include "guest/guest_memory.h"

/* Twice what all guests may have: while a memory table is replaced, old and new are both mapped. */
enum { GUARD_SLOTS_MAX = 2 * PORTS_MAX * GUEST_REGIONS_MAX };

struct guard_slot {
    _Atomic unsigned generation; /* odd: in use */
    _Atomic bool lost;
    _Atomic uintptr_t start, end; /* of the mapping */
    _Atomic size_t page_bytes;
};

static struct guard_slot guard_slots[GUARD_SLOTS_MAX];
static _Atomic unsigned guard_slots_used; /* slots at and beyond this were never in use */
static _Atomic unsigned guard_lost_count; /* slots in use with `lost` set */
static struct sigaction guard_previous_action;

/* Takes a slot if it is free (`start` is 0); its generation turns odd when all its fields are set.
 */
static bool slot_claim(struct guard_slot *slot, uintptr_t start, size_t size, size_t page_bytes)
{
    uintptr_t none = 0;

    if (!atomic_compare_exchange_strong(&slot->start, &none, start))
        return false;
    atomic_store_explicit(&slot->end, start + size, memory_order_relaxed);
    atomic_store_explicit(&slot->page_bytes, page_bytes, memory_order_relaxed);
    atomic_store_explicit(&slot->lost, false, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->generation, 1, memory_order_release);
    return true;
}

static void slots_used_raise(unsigned used)
{
    unsigned seen = atomic_load(&guard_slots_used);

    while (seen < used && !atomic_compare_exchange_weak(&guard_slots_used, &seen, used))
        ;
}

int guest_memory_guard_add(const void *map, size_t map_size, size_t page_bytes, unsigned *ret_slot)
{
    for (unsigned i = 0; i < GUARD_SLOTS_MAX; i++) {
        if (slot_claim(&guard_slots[i], (uintptr_t)map, map_size, page_bytes)) {
            slots_used_raise(i + 1);
            *ret_slot = i;
            return 0;
        }
    }
    return -ENOSPC;
}

void guest_memory_guard_remove(unsigned slot)
{
    struct guard_slot *guard = &guard_slots[slot];

    assert(slot < GUARD_SLOTS_MAX);
    assert(atomic_load(&guard->generation) & 1);
    atomic_fetch_add(&guard->generation, 1);
    if (atomic_exchange(&guard->lost, false))
        atomic_fetch_sub(&guard_lost_count, 1);
    atomic_store(&guard->start, 0); /* last: from here on it can be claimed */
}

bool guest_memory_guard_is_lost(unsigned slot)
{
    assert(slot < GUARD_SLOTS_MAX);
    return atomic_load_explicit(&guard_slots[slot].lost, memory_order_relaxed);
}

bool guest_memory_guard_any_lost(void)
{
    return atomic_load_explicit(&guard_lost_count, memory_order_relaxed) != 0;
}

static bool map_zeroes(uintptr_t address, size_t bytes)
{
    return mmap((void *)address, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/*
 * Replaces what is left of the slot's mapping from `address` on; false when it does not lie there.
 * Where the kernel commits memory strictly, the rest may be too much at once: then a page will do,
 * and the next fault gets the next one.
 */
static bool slot_mend(struct guard_slot *slot, uintptr_t address)
{
    unsigned generation = atomic_load_explicit(&slot->generation, memory_order_acquire);
    uintptr_t start = atomic_load_explicit(&slot->start, memory_order_relaxed);
    uintptr_t end = atomic_load_explicit(&slot->end, memory_order_relaxed);
    size_t page_bytes = atomic_load_explicit(&slot->page_bytes, memory_order_relaxed);

    atomic_thread_fence(memory_order_acquire);
    if (!(generation & 1) || generation != atomic_load(&slot->generation))
        return false;
    if (address < start || address >= end)
        return false;
    address -= (address - start) % page_bytes;
    if (!map_zeroes(address, end - address) && !map_zeroes(address, page_bytes))
        return false;
    if (!atomic_exchange(&slot->lost, true))
        atomic_fetch_add(&guard_lost_count, 1);
    return true;
}

static bool guard_mend(uintptr_t address)
{
    unsigned used = atomic_load(&guard_slots_used);

    for (unsigned i = 0; i < used; i++) {
        if (slot_mend(&guard_slots[i], address))
            return true;
    }
    return false;
}

static void guard_handle_sigbus(int signal_number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    bool is_fault = info->si_code > 0; /* else somebody has sent it */

    (void)context;
    if (!is_fault || !guard_mend((uintptr_t)info->si_addr)) {
        /* A fault comes again on return and then meets the action that was there before. */
        (void)sigaction(SIGBUS, &guard_previous_action, NULL);
        if (!is_fault)
            (void)raise(signal_number);
    }
    errno = saved_errno;
}

int guest_memory_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = guard_handle_sigbus, .sa_flags = SA_SIGINFO};

    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &guard_previous_action))
        return -errno;
    return 0;
}

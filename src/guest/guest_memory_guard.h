/*
 * Keeps the process alive when the file behind a mapping is cut short by its owner.
 *
 * How it works: every mapped region is entered in a table that the SIGBUS handler can search. The
 * handler maps private zero pages over the region from the page that faulted to its end and notes
 * the loss; the access then goes on as if the guest had written zeroes. The table takes no lock:
 * each slot carries a generation, odd while the slot is in use, and a search that sees it change
 * looks away. The slot of the region that faulted cannot change, because nobody unmaps a region in
 * use.
 *
 * Threads: any may add, remove and ask; the handler runs on whichever thread faults.
 */
#ifndef CONVOY_GUEST_GUEST_MEMORY_GUARD_H
#define CONVOY_GUEST_GUEST_MEMORY_GUARD_H

#include "base/compiler.h"

/* Guards a mapping with pages of `page_bytes`. -ENOSPC: the table is full. */
int guest_memory_guard_add(const void *map, size_t map_size, size_t page_bytes,
                           unsigned *ret_slot) CV_MUST_CHECK;

/* Before the mapping goes. */
void guest_memory_guard_remove(unsigned slot);

/* True when pages of the slot's mapping have been replaced. */
bool guest_memory_guard_is_lost(unsigned slot);

/* False as long as no slot in use has lost pages: the answer for nearly everybody, in one load. */
bool guest_memory_guard_any_lost(void);

#endif

/*
 * What a guest can do wrong on its rings. A fault stops the guest's port, is counted and logged,
 * and touches nobody else. Data-path functions return it as a positive number; 0 is
 * GUEST_FAULT_NONE.
 */
#ifndef CONVOY_GUEST_GUEST_FAULT_H
#define CONVOY_GUEST_GUEST_FAULT_H

/* X(SYMBOL, "sentence") */
#define GUEST_FAULTS(X)                                                                            \
    X(AVAIL_INDEX, "available index runs ahead by more than the ring holds")                       \
    X(HEAD_RANGE, "available ring names a descriptor beyond the table")                            \
    X(NEXT_RANGE, "descriptor's next field is beyond the table")                                   \
    X(CHAIN_LENGTH, "descriptor chain is circular or longer than allowed")                         \
    X(INDIRECT_NESTED, "indirect descriptor inside an indirect table, or chained")                 \
    X(INDIRECT_TABLE, "indirect table is empty, too large, not aligned or not a multiple of 16")   \
    X(INDIRECT_UNOFFERED, "indirect descriptor although the feature was not agreed")               \
    X(DIRECTION, "descriptor is writable where it must be readable, or the reverse")               \
    X(UNMAPPED, "descriptor points outside the guest's memory")                                    \
    X(HEADER_SHORT, "chain is shorter than the virtio-net header")                                 \
    X(BUFFER_SHORT, "receive buffer is smaller than the virtio-net header")                        \
    X(CALL_BLOCKED,                                                                                \
      "call descriptor blocks the switch: its O_NONBLOCK was cleared, and it is full")             \
    X(MEMORY_LOST, "file behind the guest's memory was cut short")                                 \
    X(RING_UNMAPPED, "ring addresses lie outside the guest's memory or are not aligned")

enum guest_fault {
    GUEST_FAULT_NONE,
#define GUEST_FAULT_ENUM(symbol, text) GUEST_FAULT_##symbol,
    GUEST_FAULTS(GUEST_FAULT_ENUM)
#undef GUEST_FAULT_ENUM
        GUEST_FAULT_COUNT
};

/* The sentence that explains it. */
const char *guest_fault_text(enum guest_fault fault);

#endif

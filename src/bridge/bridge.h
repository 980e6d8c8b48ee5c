/*
 * The learning bridge (IEEE 802.1Q, clause 8, without spanning tree): which ports a frame goes to.
 *
 * A frame's source address is learnt at the port it came from; a frame for a learnt address goes to
 * that port alone, everything else to all ports but its own. Entries age without a timer: an entry
 * that is too old when looked at counts as absent, and its place is taken by the next that needs
 * it. That a known address spoke again is noted at most once a second (or once in an eighth of the
 * age, if that is less), so an entry may be forgotten that much early.
 *
 * Each port may own a limited number of learnt entries, so that one guest inventing addresses
 * evicts its own entries only: of the eight that it has had longest, the one silent longest. Static
 * entries neither age nor move nor count against the limit.
 *
 * The table (bridge/mac_table.h) has BRIDGE_ENTRIES_MAX places: enough for 128 ports at the default
 * limit, not for PORTS_MAX of them. An address may lie in 16 of those places. When all are taken,
 * an aged entry gives way, else one of the port that owns most entries, if that is more than the
 * newcomer's port owns; else the newcomer is not learnt and frames for it are flooded. So ports
 * with few addresses always find a place, however many others are greedy.
 *
 * Threads: any number of workers look up and learn at once. An address and its port share one
 * 64-bit word that is read and written atomically, so a lookup takes no lock; refreshing what is
 * known does not either. Learning something new (rare) takes a spin lock for well under a
 * microsecond, and only if it is free: a worker that finds it taken goes on, and the address is
 * learnt from its next frame. The control side waits for the lock.
 *
 * VLAN tags travel untouched and one table serves all VLANs (shared VLAN learning).
 */
#ifndef CONVOY_BRIDGE_BRIDGE_H
#define CONVOY_BRIDGE_BRIDGE_H

#include "base/compiler.h"
#include "base/limits.h"
#include "metrics/drops.h"
#include "wire/frame_parse.h"

struct bridge;

struct bridge_config {
    uint64_t age_ns; /* a learnt entry is forgotten when it was silent for this long */
    unsigned entries_per_port_max; /* learnt addresses of one port, 1 to BRIDGE_PORT_ENTRIES_MAX */
    uint64_t hash_seed;            /* random, so that no guest can choose addresses that collide */
};

#define BRIDGE_AGE_NS_DEFAULT           UINT64_C(300000000000)
#define BRIDGE_ENTRIES_PER_PORT_DEFAULT 1024u

/* NULL when memory is short. Up to 3 MiB, resident as far as it is used; freed by bridge_free. */
struct bridge *bridge_new(const struct bridge_config *config);
void bridge_free(struct bridge *bridge);

/* Where a frame goes. */
enum bridge_way {
    BRIDGE_ONE,   /* to `port` */
    BRIDGE_FLOOD, /* to every port but its own */
    BRIDGE_DROP,  /* nowhere, because of `reason` */
};

struct bridge_verdict {
    enum bridge_way way;
    unsigned port;
    enum drop_reason reason;
};

/*
 * Learns the source of a well-formed frame that port `from` sent, and says where it goes. A source
 * that is zero or multicast is never learnt. Drops: LINK_LOCAL (01:80:c2:00:00:00 to 0f, IEEE
 * 802.1Q, table 8-1), SAME_PORT. The packet's way; `now_ns` is monotonic.
 */
struct bridge_verdict bridge_forward(struct bridge *bridge, mac_addr dst, mac_addr src,
                                     unsigned from, uint64_t now_ns);

/*
 * Binds an address to a port for good; again to the same port changes nothing. -EEXIST: already
 * bound to another port; -EINVAL: not a unicast address; -ENOSPC: BRIDGE_STATIC_ENTRIES_MAX are
 * bound, or all places where the address may lie hold static entries.
 */
int bridge_add_static(struct bridge *bridge, mac_addr mac, unsigned port) CV_MUST_CHECK;
/* -ENOENT: there is no such static entry. */
int bridge_remove_static(struct bridge *bridge, mac_addr mac) CV_MUST_CHECK;

/* Forgets what was learnt at a port: it is down, and its addresses may turn up elsewhere. */
void bridge_flush_port(struct bridge *bridge, unsigned port);

/*
 * Forgets everything about a port, static entries too: it is being removed. Frames from it that are
 * forwarded later would be learnt again, so its workers must have let go of it.
 */
void bridge_forget_port(struct bridge *bridge, unsigned port);

struct bridge_entry {
    mac_addr mac;
    unsigned port;
    bool is_static;
    uint64_t age_ns; /* time since the address was last seen; 0 for static entries */
};

/* Calls `visit` for every live entry, in no particular order. Any thread. */
void bridge_for_each(struct bridge *bridge, uint64_t now_ns,
                     void (*visit)(const struct bridge_entry *entry, void *context), void *context);

struct bridge_stats {
    uint64_t learnt;  /* addresses learnt, ever */
    uint64_t moved;   /* addresses that changed their port */
    uint64_t evicted; /* live entries that gave way: their port's limit was reached, or no place */
    uint64_t refused; /* frames whose source found no place */
    uint64_t entries; /* live and stale entries in the table now */
};

void bridge_read_stats(struct bridge *bridge, struct bridge_stats *ret_stats);

#endif

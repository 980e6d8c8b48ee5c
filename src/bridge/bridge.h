/*
 * The learning bridge (IEEE 802.1Q, clause 8, without spanning tree): which ports a frame goes to.
 *
 * A frame's source address is learnt at the port it came from; a frame for a learnt address goes to
 * that port alone, everything else to all ports but its own. Entries age without a timer: an entry
 * that is too old when looked at counts as absent, and its place is taken by the next that needs it.
 * Each port may own a limited number of learnt entries, so that one guest inventing addresses evicts
 * its own entries only. Static entries neither age nor move nor count against the limit.
 *
 * Threads: any number of workers look up and learn at once. An address and its port share one
 * 64-bit word that is read and written atomically, so a lookup takes no lock; learning something
 * new (rare) takes a short spin lock, refreshing what is known does not.
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
    uint64_t age_ns;            /* a learnt entry is forgotten when it was silent for this long */
    unsigned entries_per_port_max; /* learnt addresses of one port */
};

#define BRIDGE_AGE_NS_DEFAULT            UINT64_C(300000000000)
#define BRIDGE_ENTRIES_PER_PORT_DEFAULT  1024u

/* NULL when memory is short. The table is sized for PORTS_MAX ports lazily; freed by bridge_free. */
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
 * Learns the source of a well-formed frame that port `from` sent, and says where it goes. Drops:
 * LINK_LOCAL (01:80:c2:00:00:00 to 0f), SAME_PORT. The packet's way; `now_ns` is monotonic.
 */
struct bridge_verdict bridge_forward(struct bridge *bridge, const struct frame_facts *facts,
                                     unsigned from, uint64_t now_ns);

/*
 * Binds an address to a port for good. -EEXIST: already bound to another port; -EINVAL: not a
 * unicast address; -ENOSPC: the table of static entries is full.
 */
int bridge_add_static(struct bridge *bridge, mac_addr mac, unsigned port) CV_MUST_CHECK;
/* -ENOENT: there is no such static entry. */
int bridge_remove_static(struct bridge *bridge, mac_addr mac) CV_MUST_CHECK;

/* Forgets everything about a port, static entries too: it is being removed. */
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
    uint64_t evicted; /* entries that gave way because their port had reached its limit */
    uint64_t entries; /* live and stale entries in the table now */
};

void bridge_read_stats(struct bridge *bridge, struct bridge_stats *ret_stats);

#endif

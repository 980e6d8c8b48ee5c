/*
 * A switch without packets: it keeps the ports that it is given, answers what a test tells it to,
 * and stands in for switch/vswitch.h and bridge/bridge.h at link time.
 */
#ifndef CONVOY_TESTS_LIB_FAKE_VSWITCH_H
#define CONVOY_TESTS_LIB_FAKE_VSWITCH_H

#include "switch/vswitch.h"

enum { FAKE_MACS_MAX = 8 };

struct fake_vswitch {
    unsigned port_count;
    struct port_status ports[PORTS_MAX];
    unsigned entry_count;
    struct bridge_entry entries[FAKE_MACS_MAX];
    struct port_tuning tuning; /* of every port, but for its configuration */
    unsigned set_hold_count;   /* calls of vswitch_port_set_hold that changed something */
    unsigned tuning_count;     /* calls of vswitch_port_tuning */
    int next_result;         /* negative: the next call that changes something fails with it ... */
    const char *next_reason; /* ... and this sentence */
};

/* The one switch that there is; vswitch_new returns it, emptied. */
extern struct fake_vswitch fake_vswitch;

void fake_vswitch_reset(void);
struct vswitch *fake_vswitch_get(void);

#endif

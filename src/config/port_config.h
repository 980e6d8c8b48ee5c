/*
 * What an operator can say about a port, whether in the configuration file, to the control socket
 * or on the command line: one table of keys serves all three.
 */
#ifndef CONVOY_CONFIG_PORT_CONFIG_H
#define CONVOY_CONFIG_PORT_CONFIG_H

#include "base/compiler.h"
#include "base/error.h"
#include "base/limits.h"
#include "config/scalar.h"

enum port_type { PORT_TYPE_VHOST_USER, PORT_TYPE_TAP };

/* Who listens on the vhost-user socket. */
enum socket_mode {
    SOCKET_MODE_SERVER, /* convoyd listens, the VMM connects */
    SOCKET_MODE_CLIENT, /* the VMM listens, convoyd connects and reconnects */
};

/* When a convoy departs: see convoy/hold.h. */
enum hold_mode { HOLD_OFF, HOLD_NATURAL, HOLD_FIXED, HOLD_ADAPTIVE };

/* What happens to frames for a port that already holds as many as it may. */
enum full_policy {
    FULL_DROP,      /* the newcomer is dropped */
    FULL_PUSH_BACK, /* its sender's queue is not read until there is room again */
};

/* The most packets that may be asked to wait for each other: the limit of K. */
enum { HOLD_PACKETS_MAX = 256 };

struct hold_config {
    enum hold_mode mode;
    unsigned packets_max;     /* HOLD_FIXED: K, a convoy departs with this many ... */
    uint64_t time_max_ns;     /* ... or T after its first */
    uint64_t delay_budget_ns; /* HOLD_ADAPTIVE: D, the mean added delay at most */
    double delay_weight; /* HOLD_ADAPTIVE: what a second that a packet waits is worth, in seconds of
                            processor time; the dearer, the less waits */
};

struct port_config {
    char name[PORT_NAME_BYTES_MAX];
    enum port_type type;
    struct hold_config hold;
    bool merge; /* merge what continues a flow, where the receiver takes super-packets */
    enum full_policy full;
    mac_addr mac; /* vhost-user: address told to the guest; 0: derived from the name */
    unsigned mtu; /* 68 to 65535, default 1500 */

    /* vhost-user */
    char socket[108]; /* path; default RUNDIR/NAME.sock */
    enum socket_mode socket_mode;
    char group[32];       /* server: host group that may connect; "": that of the process */
    unsigned queue_pairs; /* 1 to PORT_QUEUE_PAIRS_MAX */
    bool offloads;        /* false: offer no checksum and segmentation offloads */
    bool mergeable;       /* false: do not offer VIRTIO_NET_F_MRG_RXBUF */

    /* tap */
    char interface[16]; /* its name on the host; default: the port's name */
    char bridge[16];    /* an existing Linux bridge that it joins; "" for none */

    uint32_t keys_set; /* which keys port_config_set has set: bit N is port_config_key(N) */
    bool name_is_cut;  /* port_config_init was given a name too long for `name` */
};

/* Defaults for a port of this name; the name itself is checked by port_config_finish. */
void port_config_init(struct port_config *config, const char *name);

/*
 * Sets one key from its text, e.g. "queues" "2", "hold" "natural", "hold" "fixed:32,50us". Keys:
 * name, type, socket, mode, group, queues, mac, mtu, hold, delay-budget, delay-weight, merge,
 * when-full, offloads, mergeable, interface, bridge. -EINVAL: the error's sentence starts with
 * "KEY: ", names the value and what was expected; the config is unchanged. A key may be set again;
 * the last value counts.
 */
int port_config_set(struct port_config *config, const char *key, const char *value,
                    struct error *error) CV_MUST_CHECK;

/* False for a key that cannot be changed while the port exists; true for one that can, and for a
 * word that is no key (which port_config_set refuses better). */
bool port_config_key_is_live(const char *key);

/* The keys' names in the order of the manual page; NULL behind the last. */
const char *port_config_key(unsigned index);

/*
 * Checks what keys cannot check alone (name, keys that do not belong to the type) and fills what
 * depends on others (socket path, interface name, MAC address). -EINVAL with a sentence.
 */
int port_config_finish(struct port_config *config, const char *run_dir,
                       struct error *error) CV_MUST_CHECK;

/*
 * Whether two finished ports can exist side by side: names, socket paths, interfaces and MAC
 * addresses must differ. -EEXIST: the sentence starts with "KEY: " and blames `config`.
 */
int port_config_check_pair(const struct port_config *config, const struct port_config *other,
                           struct error *error) CV_MUST_CHECK;

/*
 * The MAC address that a guest is told when the operator gives none: 52:54:00 (locally
 * administered, the prefix that QEMU uses) and the lowest 24 bits of the name's 64-bit FNV-1a hash
 * after the 64-bit finaliser of MurmurHash3. The same name always gets the same address.
 */
mac_addr port_config_derive_mac(const char *name);

/* Words of the enums, as they are written in configurations. */
const char *port_type_name(enum port_type type);
const char *socket_mode_name(enum socket_mode mode);
const char *full_policy_name(enum full_policy policy);
const char *hold_mode_name(enum hold_mode mode);
/* "off", "natural", "fixed:32,50us" or "adaptive" in the caller's buffer; returns the buffer. */
const char *hold_config_format(const struct hold_config *hold, char *buffer, size_t buffer_bytes);

#endif

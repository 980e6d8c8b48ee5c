/*
 * The configuration file (YAML, convoy.yaml(5)) as a checked struct. Every error names the file,
 * the line, the column and the key, and says what was expected; a file with an error changes
 * nothing.
 */
#ifndef CONVOY_CONFIG_CONFIG_H
#define CONVOY_CONFIG_CONFIG_H

#include "config/port_config.h"

struct static_mac_config {
    mac_addr mac;
    char port[PORT_NAME_BYTES_MAX];
};

struct config {
    unsigned workers;             /* worker threads, 1 to WORKERS_MAX; default 1 */
    int worker_cpus[WORKERS_MAX]; /* processor each is bound to; -1: any */
    uint64_t poll_ns; /* how long a worker looks on after the last packet before it sleeps */
    char run_dir[96]; /* where sockets are made; default /run/convoy */
    char control_socket[108]; /* default RUN_DIR/control.sock */
    uint64_t bridge_age_ns;   /* learnt addresses are forgotten after this long; default 300 s */
    unsigned bridge_entries_per_port_max; /* default 1024 */
    unsigned port_count;
    struct port_config *ports; /* owned */
    unsigned static_mac_count;
    struct static_mac_config *static_macs; /* owned */
};

#define CONFIG_POLL_NS_DEFAULT                 UINT64_C(200000)
#define CONFIG_BRIDGE_AGE_NS_DEFAULT           UINT64_C(300000000000)
#define CONFIG_BRIDGE_ENTRIES_PER_PORT_DEFAULT 1024u

/* The configuration of an empty file. */
void config_init(struct config *config);
void config_uninit(struct config *config);

/*
 * Reads and checks a file of at most 1 MiB. On failure a negative errno with a sentence, and
 * *ret_config untouched; on success the caller owns it (config_uninit).
 */
int config_load(const char *path, struct config *ret_config, struct error *error) CV_MUST_CHECK;

/* The same from memory; `name` stands for the path in errors. */
int config_parse(const char *text, size_t text_len, const char *name, struct config *ret_config,
                 struct error *error) CV_MUST_CHECK;

#endif

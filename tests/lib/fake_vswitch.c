#include "fake_vswitch.h"

#include <errno.h>
#include <string.h>

struct fake_vswitch fake_vswitch;

void fake_vswitch_reset(void)
{
    memset(&fake_vswitch, 0, sizeof(fake_vswitch));
}

struct vswitch *fake_vswitch_get(void)
{
    return (struct vswitch *)&fake_vswitch;
}

/* The failure that the test has ordered, once. */
static int ordered_result(struct error *error)
{
    int rc = fake_vswitch.next_result;

    fake_vswitch.next_result = 0;
    return rc < 0 ? error_set(error, rc, "%s", fake_vswitch.next_reason) : 0;
}

static struct port_status *find(const char *name)
{
    for (unsigned i = 0; i < fake_vswitch.port_count; i++)
        if (strcmp(fake_vswitch.ports[i].config.name, name) == 0)
            return &fake_vswitch.ports[i];
    return NULL;
}

struct vswitch *vswitch_new(const struct config *config, struct reactor *reactor,
                            struct error *error)
{
    (void)config;
    (void)reactor;
    (void)error;
    fake_vswitch_reset();
    return fake_vswitch_get();
}

void vswitch_free(struct vswitch *vswitch)
{
    (void)vswitch;
}

int vswitch_port_add(struct vswitch *vswitch, const struct port_config *config, struct error *error)
{
    int rc = ordered_result(error);

    (void)vswitch;
    if (rc < 0)
        return rc;
    if (find(config->name))
        return error_set(error, -EEXIST, "name: there is a port %s already", config->name);
    if (fake_vswitch.port_count == PORTS_MAX)
        return error_set(error, -ENOSPC, "there are %d ports already", PORTS_MAX);
    fake_vswitch.ports[fake_vswitch.port_count] =
        (struct port_status){.id = fake_vswitch.port_count, .config = *config};
    fake_vswitch.port_count++;
    return 0;
}

int vswitch_port_remove(struct vswitch *vswitch, const char *name, struct error *error)
{
    struct port_status *port = find(name);
    int rc = ordered_result(error);

    (void)vswitch;
    if (rc < 0)
        return rc;
    assert(port);
    *port = fake_vswitch.ports[--fake_vswitch.port_count];
    return 0;
}

int vswitch_port_set_hold(struct vswitch *vswitch, const char *name, const struct hold_config *hold,
                          bool merge, struct error *error)
{
    struct port_status *port = find(name);
    int rc = ordered_result(error);

    (void)vswitch;
    if (rc < 0)
        return rc;
    assert(port);
    port->config.hold = *hold;
    port->config.merge = merge;
    fake_vswitch.set_hold_count++;
    return 0;
}

int vswitch_static_mac_add(struct vswitch *vswitch, mac_addr mac, const char *port,
                           struct error *error)
{
    int rc = ordered_result(error);

    (void)vswitch;
    if (rc < 0)
        return rc;
    if (fake_vswitch.entry_count == FAKE_MACS_MAX)
        return error_set(error, -ENOSPC, "the table of static addresses is full");
    fake_vswitch.entries[fake_vswitch.entry_count++] =
        (struct bridge_entry){.mac = mac, .port = find(port)->id, .is_static = true};
    return 0;
}

int vswitch_static_mac_remove(struct vswitch *vswitch, mac_addr mac, struct error *error)
{
    (void)vswitch;
    for (unsigned i = 0; i < fake_vswitch.entry_count; i++)
        if (fake_vswitch.entries[i].mac == mac && fake_vswitch.entries[i].is_static) {
            fake_vswitch.entries[i] = fake_vswitch.entries[--fake_vswitch.entry_count];
            return 0;
        }
    return error_set(error, -ENOENT, "that address is not bound to a port");
}

const char *port_state_name(enum port_state state)
{
    static const char *const names[] = {"waiting", "connected", "running"};

    return names[state];
}

int vswitch_port_status(struct vswitch *vswitch, const char *name, struct port_status *ret_status)
{
    const struct port_status *port = find(name);

    (void)vswitch;
    if (!port)
        return -ENOENT;
    *ret_status = *port;
    return 0;
}

int vswitch_port_tuning(struct vswitch *vswitch, const char *name, struct port_tuning *ret_tuning)
{
    const struct port_status *port = find(name);

    (void)vswitch;
    fake_vswitch.tuning_count++;
    if (!port)
        return -ENOENT;
    *ret_tuning = fake_vswitch.tuning;
    ret_tuning->config = port->config;
    return 0;
}

void vswitch_for_each_port(struct vswitch *vswitch,
                           void (*visit)(const struct port_status *status, void *context),
                           void *context)
{
    (void)vswitch;
    for (unsigned i = 0; i < fake_vswitch.port_count; i++)
        visit(&fake_vswitch.ports[i], context);
}

unsigned vswitch_worker_count(const struct vswitch *vswitch)
{
    (void)vswitch;
    return 2;
}

void vswitch_worker_status(struct vswitch *vswitch, unsigned index,
                           struct worker_status *ret_status)
{
    (void)vswitch;
    *ret_status = (struct worker_status){
        .cpu = index == 0 ? -1 : 3, .cpu_time_ns = 1000000 * index, .rounds = 7, .sleeps = 5};
}

struct bridge *vswitch_bridge(struct vswitch *vswitch)
{
    (void)vswitch;
    return NULL;
}

void bridge_for_each(struct bridge *bridge, uint64_t now_ns,
                     void (*visit)(const struct bridge_entry *entry, void *context), void *context)
{
    (void)bridge;
    (void)now_ns;
    for (unsigned i = 0; i < fake_vswitch.entry_count; i++)
        visit(&fake_vswitch.entries[i], context);
}

void bridge_read_stats(struct bridge *bridge, struct bridge_stats *ret_stats)
{
    (void)bridge;
    *ret_stats = (struct bridge_stats){
        .entries = fake_vswitch.entry_count, .learnt = 11, .moved = 2, .evicted = 1};
}

/*
 * The table of ports and the workers, from the control thread's side. A port is stopped in three
 * steps, each on every worker before the next begins: nobody sends to it or reads from it any more;
 * whatever was still under way between workers has arrived, and frames of the port are taken out of
 * all convoys; the workers that own its queues have all its frames back.
 */
#include "switch/vswitch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "switch/worker.h"

struct vswitch {
    struct port_host host; /* what ports ask of us */
    struct reactor *reactor;
    struct bridge *bridge;
    struct watchdog watchdog;
    unsigned next_worker; /* gets the next port's first queue */
    struct port *ports[PORTS_MAX];
    unsigned worker_count;
    struct worker workers[]; /* worker_count of them */
};

const char *port_state_name(enum port_state state)
{
    static const char *const names[] = {"waiting", "connected", "running"};

    static_assert(CV_COUNT_OF(names) == PORT_STATE_RUNNING + 1, "a name for every state");
    return names[state];
}

/* --- what ports ask of the switch --- */

static void call_all(struct vswitch *vswitch, bool (*step)(struct worker *, void *), void *context)
{
    for (unsigned i = 0; i < vswitch->worker_count; i++)
        worker_call(&vswitch->workers[i], step, context);
}

static void host_detach(struct port_host *host, struct port *port)
{
    struct vswitch *vswitch = CV_CONTAINER_OF(host, struct vswitch, host);

    call_all(vswitch, worker_step_pause, port);
    /* The first time workers hand over the last frames, the second time they are taken out there.
     */
    call_all(vswitch, worker_step_purge, port);
    call_all(vswitch, worker_step_purge, port);
    call_all(vswitch, worker_step_settled, port);
    port->is_attached = false;
}

static void host_attach(struct port_host *host, struct port *port)
{
    struct vswitch *vswitch = CV_CONTAINER_OF(host, struct vswitch, host);

    /* A port that is being made or removed is not ours. */
    if (vswitch->ports[port->id] != port)
        return;
    for (unsigned i = 0; i < port->queue_count; i++)
        port->is_attached |= port->queues[i]->can_receive || port->queues[i]->can_deliver;
    call_all(vswitch, worker_step_attach, port);
    if (!port->is_attached)
        bridge_flush_port(vswitch->bridge, port->id);
}

/* --- the switch --- */

static int workers_start(struct vswitch *vswitch, const struct config *config, struct error *error)
{
    vswitch->worker_count = config->workers;
    for (unsigned i = 0; i < config->workers; i++) {
        struct worker *worker = &vswitch->workers[i];

        worker->id = i;
        worker->bridge = vswitch->bridge;
        worker->watchdog = &vswitch->watchdog;
        worker->peers = vswitch->workers;
        worker->peer_count = config->workers;
        worker->poll_ns = config->poll_ns;
        worker->cpu = config->worker_cpus[i];
        worker->epoll_fd = worker->wake_fd = -1;
    }
    /* What they share must exist before the first of them looks at its peers. */
    if (watchdog_init(&vswitch->watchdog, vswitch->reactor, vswitch->workers, config->workers,
                      error) < 0)
        return -EIO;
    for (unsigned i = 0; i < config->workers; i++) {
        int result = worker_init(&vswitch->workers[i]);

        if (result < 0)
            return error_set(error, result, "cannot prepare worker %u: %s", i, strerror(-result));
    }
    for (unsigned i = 0; i < config->workers; i++) {
        int result = worker_start(&vswitch->workers[i]);

        if (result < 0)
            return error_set(error, result, "cannot start worker %u: %s", i, strerror(-result));
    }
    return 0;
}

struct vswitch *vswitch_new(const struct config *config, struct reactor *reactor,
                            struct error *error)
{
    struct bridge_config bridge_config = {
        .age_ns = config->bridge_age_ns,
        .entries_per_port_max = config->bridge_entries_per_port_max,
    };
    struct vswitch *vswitch =
        alloc_aligned(sizeof(*vswitch) + config->workers * sizeof(vswitch->workers[0]));

    /* Guests must not be able to tell which addresses collide in the table. */
    if (getrandom(&bridge_config.hash_seed, sizeof(bridge_config.hash_seed), 0) < 0)
        bridge_config.hash_seed = clock_now_ns();
    if (vswitch)
        vswitch->bridge = bridge_new(&bridge_config);
    if (!vswitch || !vswitch->bridge) {
        error_set(error, -ENOMEM, "no memory for the switch");
        free(vswitch);
        return NULL;
    }
    vswitch->host = (struct port_host){host_detach, host_attach};
    vswitch->reactor = reactor;
    if (workers_start(vswitch, config, error) < 0) {
        vswitch_free(vswitch);
        return NULL;
    }
    return vswitch;
}

static void lanes_free(struct vswitch *vswitch, unsigned port_id)
{
    for (unsigned w = 0; w < vswitch->worker_count; w++) {
        struct outlet *outlet = &vswitch->workers[w].outlets[port_id];

        for (unsigned q = 0; q < PORT_QUEUE_PAIRS_MAX; q++) {
            free(outlet->lanes[q]);
            outlet->lanes[q] = NULL;
        }
    }
}

static int lanes_alloc(struct vswitch *vswitch, struct port *port)
{
    for (unsigned w = 0; w < vswitch->worker_count; w++) {
        struct outlet *outlet = &vswitch->workers[w].outlets[port->id];

        for (unsigned q = 0; q < port->queue_count; q++) {
            struct lane *lane = calloc(1, sizeof(*lane));

            if (!lane) {
                lanes_free(vswitch, port->id);
                return -ENOMEM;
            }
            lane->outlet = outlet;
            lane->queue = port->queues[q];
            controller_init(&lane->controller, &port->config.hold);
            outlet->lanes[q] = lane;
        }
    }
    return 0;
}

static void port_remove(struct vswitch *vswitch, struct port *port)
{
    unsigned id = port->id;

    if (port->is_attached)
        host_detach(&vswitch->host, port);
    /* First of all nothing is sent to it any more, so that its counters end at nought. */
    bridge_forget_port(vswitch->bridge, id);
    call_all(vswitch, worker_step_remove, port);
    vswitch->ports[id] = NULL;
    lanes_free(vswitch, id);
    port->ops->free(port);
}

void vswitch_free(struct vswitch *vswitch)
{
    if (!vswitch)
        return;
    for (unsigned id = 0; id < PORTS_MAX; id++)
        if (vswitch->ports[id])
            port_remove(vswitch, vswitch->ports[id]);
    for (unsigned i = 0; i < vswitch->worker_count; i++)
        worker_stop(&vswitch->workers[i]);
    for (unsigned i = 0; i < vswitch->worker_count; i++)
        worker_uninit(&vswitch->workers[i]);
    watchdog_uninit(&vswitch->watchdog);
    bridge_free(vswitch->bridge);
    free(vswitch);
}

/* --- ports --- */

static struct port *port_find(struct vswitch *vswitch, const char *name)
{
    for (unsigned id = 0; id < PORTS_MAX; id++)
        if (vswitch->ports[id] && !strcmp(vswitch->ports[id]->config.name, name))
            return vswitch->ports[id];
    return NULL;
}

static int port_missing(const char *name, struct error *error)
{
    return error_set(error, -ENOENT, "there is no port named %s", name);
}

/* The first free id, or why the port cannot be added. */
static int port_place(struct vswitch *vswitch, const struct port_config *config,
                      struct error *error)
{
    int id = PORTS_MAX;

    for (int i = PORTS_MAX - 1; i >= 0; i--) {
        const struct port *port = vswitch->ports[i];
        int result = port ? port_config_check_pair(config, &port->config, error) : 0;

        if (result < 0)
            return result;
        if (!port)
            id = i;
    }
    if (id == PORTS_MAX)
        return error_set(error, -ENOSPC, "the switch has %d ports already, no more fit", PORTS_MAX);
    return id;
}

/* Frames are not cut to fit: what a port of larger MTU sends may never reach one of smaller. */
static void warn_of_mtu(struct vswitch *vswitch, const struct port *port)
{
    for (unsigned id = 0; id < PORTS_MAX; id++) {
        const struct port *other = vswitch->ports[id];

        if (!other || other->config.mtu == port->config.mtu)
            continue;
        log_warning("%s has MTU %u, but %s has %u: frames too large for the smaller are lost; give "
                    "them the same mtu",
                    port->config.name, port->config.mtu, other->config.name, other->config.mtu);
        return;
    }
}

int vswitch_port_add(struct vswitch *vswitch, const struct port_config *config, struct error *error)
{
    struct port *port;
    int id = port_place(vswitch, config, error);
    int result;

    if (id < 0)
        return id;
    result =
        config->type == PORT_TYPE_TAP
            ? port_tap_new(config, (unsigned)id, &vswitch->host, &port, error)
            : port_vhost_new(config, (unsigned)id, &vswitch->host, vswitch->reactor, &port, error);
    if (result < 0)
        return result;
    for (unsigned q = 0; q < port->queue_count; q++)
        port->queues[q]->worker = (vswitch->next_worker + q) % vswitch->worker_count;
    vswitch->next_worker = (vswitch->next_worker + 1) % vswitch->worker_count;
    if (lanes_alloc(vswitch, port) < 0) {
        port->ops->free(port);
        return error_set(error, -ENOMEM, "no memory for port %s", config->name);
    }
    vswitch->ports[id] = port;
    host_attach(&vswitch->host, port);
    warn_of_mtu(vswitch, port);
    return 0;
}

int vswitch_port_remove(struct vswitch *vswitch, const char *name, struct error *error)
{
    struct port *port = port_find(vswitch, name);

    if (!port)
        return port_missing(name, error);
    port_remove(vswitch, port);
    return 0;
}

int vswitch_port_set_hold(struct vswitch *vswitch, const char *name, const struct hold_config *hold,
                          bool merge, struct error *error)
{
    struct port *port = port_find(vswitch, name);

    if (!port)
        return port_missing(name, error);
    port->config.hold = *hold;
    port->config.merge = merge;
    call_all(vswitch, worker_step_set_hold, port);
    return 0;
}

int vswitch_static_mac_add(struct vswitch *vswitch, mac_addr mac, const char *port_name,
                           struct error *error)
{
    const struct port *port = port_find(vswitch, port_name);
    char text[MAC_TEXT_BYTES];
    int result;

    if (!port)
        return port_missing(port_name, error);
    result = bridge_add_static(vswitch->bridge, mac, port->id);
    mac_format(mac, text);
    if (result == -EEXIST)
        return error_set(error, result, "%s is bound to another port already", text);
    if (result == -EINVAL)
        return error_set(error, result, "%s is not the address of one machine", text);
    if (result < 0)
        return error_set(error, result, "no room for another static address: %s",
                         strerror(-result));
    return 0;
}

int vswitch_static_mac_remove(struct vswitch *vswitch, mac_addr mac, struct error *error)
{
    char text[MAC_TEXT_BYTES];
    int result = bridge_remove_static(vswitch->bridge, mac);

    return result < 0
               ? error_set(error, result, "%s is not a static address", mac_format(mac, text))
               : 0;
}

/* --- status --- */

static void port_read_status(struct vswitch *vswitch, const struct port *port,
                             struct port_status *ret_status)
{
    struct port_facts facts;

    port->ops->read_facts(port, &facts);
    *ret_status = (struct port_status){
        .id = port->id,
        .config = port->config,
        .features = facts.features,
        .guest_memory_bytes = facts.guest_memory_bytes,
        .state = !facts.is_connected  ? PORT_STATE_WAITING
                 : !port->is_attached ? PORT_STATE_CONNECTED
                                      : PORT_STATE_RUNNING,
    };
    strncpy(ret_status->last_fault, facts.last_fault, sizeof(ret_status->last_fault) - 1);
    for (unsigned q = 0; q < port->queue_count; q++)
        ret_status->queue_pairs_running += port->queues[q]->can_deliver;
    for (unsigned w = 0; w < vswitch->worker_count; w++) {
        const struct outlet *outlet = &vswitch->workers[w].outlets[port->id];

        port_counters_add(&ret_status->counters, &outlet->counters);
    }
    call_all(vswitch, worker_step_count_waiting, ret_status);
}

int vswitch_port_status(struct vswitch *vswitch, const char *name, struct port_status *ret_status)
{
    const struct port *port = port_find(vswitch, name);

    if (!port)
        return -ENOENT;
    port_read_status(vswitch, port, ret_status);
    return 0;
}

int vswitch_port_tuning(struct vswitch *vswitch, const char *name, struct port_tuning *ret_tuning)
{
    const struct port *port = port_find(vswitch, name);
    struct worker_tuning_request request = {port, ret_tuning};

    if (!port)
        return -ENOENT;
    *ret_tuning = (struct port_tuning){.config = port->config, .queue_count = port->queue_count};
    call_all(vswitch, worker_step_read_tuning, &request);
    for (unsigned i = 0; i < port->queue_count; i++) {
        struct queue_tuning *queue = &ret_tuning->queues[i];
        const struct worker *worker = &vswitch->workers[port->queues[i]->worker];
        const struct lane *lane = worker->outlets[port->id].lanes[i];
        double rate = queue->to.arrivals.rate;

        controller_look_ahead(&queue->to, &port->config.hold, rate, &queue->now);
        controller_look_ahead(&queue->to, &port->config.hold, 2 * rate, &queue->twice);
        /* Large, and readable while the worker writes: it need not stop for that. */
        convoy_histograms_add(&ret_tuning->histograms, &lane->histograms);
    }
    return 0;
}

void vswitch_for_each_port(struct vswitch *vswitch,
                           void (*visit)(const struct port_status *status, void *context),
                           void *context)
{
    struct port_status status;

    for (unsigned id = 0; id < PORTS_MAX; id++) {
        if (!vswitch->ports[id])
            continue;
        port_read_status(vswitch, vswitch->ports[id], &status);
        visit(&status, context);
    }
}

unsigned vswitch_worker_count(const struct vswitch *vswitch)
{
    return vswitch->worker_count;
}

void vswitch_worker_status(struct vswitch *vswitch, unsigned index,
                           struct worker_status *ret_status)
{
    struct worker *worker = &vswitch->workers[index];
    struct timespec time = {0};
    clockid_t clock;

    if (pthread_getcpuclockid(worker->thread, &clock) == 0)
        (void)clock_gettime(clock, &time);
    *ret_status = (struct worker_status){
        .cpu = worker->cpu,
        .cpu_time_ns = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec,
        .rounds = __atomic_load_n(&worker->rounds, __ATOMIC_RELAXED),
        .sleeps = __atomic_load_n(&worker->sleeps, __ATOMIC_RELAXED),
    };
}

struct bridge *vswitch_bridge(struct vswitch *vswitch)
{
    return vswitch->bridge;
}

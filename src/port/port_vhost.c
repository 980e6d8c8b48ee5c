/*
 * The control side of a vhost-user port: it waits for a front end (as server or as client), keeps
 * the session, starts its queues when the guest's driver is ready, and stops them when the front
 * end changes something, goes away, or its guest breaks the rules.
 *
 * A guest that breaks the rules of its rings loses its queues until its front end has stopped them
 * all (a driver reset) or has gone; the connection itself stays, so that a VMM which cannot
 * reconnect is not cut off by one bad driver.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "guest/vhost_user.h"
#include "port/vhost_queue.h"
#include "port/vhost_socket.h"

#define RETRY_NS_MIN UINT64_C(20000000)
#define RETRY_NS_MAX UINT64_C(1000000000)
/* How long a port stays closed after its peer has held up a worker. */
#define BAN_NS UINT64_C(10000000000)
/* How long we do not accept when there are no file descriptors left. */
#define REST_NS UINT64_C(1000000000)
/* Changes to a running device in one second: each of them makes the workers pause. */
enum { CHANGES_PER_SECOND_MAX = 1000 };

struct port_vhost {
    struct port base;
    struct reactor *reactor;
    struct vhost_user_offer offer;
    struct vhost_user_session *session; /* the connected front end, NULL: none */
    struct reactor_watch listen_watch;  /* server mode; fd -1: not listening */
    ino_t listen_inode;                 /* of its file */
    struct reactor_watch session_watch;
    struct reactor_watch fault_watch; /* eventfd that workers write when a guest breaks the rules */
    struct reactor_timer retry_timer; /* connects in client mode, listens on in server mode */
    uint64_t retry_ns;                /* how long the next attempt waits */
    bool retry_is_told;               /* the log says already that nobody listens */
    bool must_close;           /* its peer has held up a worker: nobody is served for a while */
    bool is_failed;            /* stopped by a fault, until all rings were stopped */
    uint64_t changes_since_ns; /* start of the second in which changes are counted */
    unsigned change_count;
    struct reactor_timer change_timer; /* set while the front end is not read: too many changes */
    struct log_limit log[2];           /* lines about what is normal, and about what is not */
    char last_fault[256];
    struct vhost_queue queues[]; /* base.queue_count of them */
};

static struct port_vhost *port_vhost_of(const struct port *port)
{
    return CV_CONTAINER_OF(port, struct port_vhost, base);
}

/* One line of the log about the port, unless it has said too much lately. */
static void say(struct port_vhost *port, enum log_level level, const char *format, ...)
    CV_PRINTF(3, 4);

static void say(struct port_vhost *port, enum log_level level, const char *format, ...)
{
    unsigned suppressed;
    char text[512];
    va_list args;

    if (!log_limit_pass(&port->log[level <= LOG_LEVEL_WARNING], clock_now_ns(), &suppressed))
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (suppressed > 0)
        log_write(level, "%s: %u lines were not written", port->base.config.name, suppressed);
    log_write(level, "%s: %s", port->base.config.name, text);
}

/* --- features --- */

static uint64_t offered_features(const struct port_config *config)
{
    uint64_t features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_ANY_LAYOUT) |
                        VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                        VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
                        VIRTIO_FEATURE(VIRTIO_F_IN_ORDER) | VIRTIO_FEATURE(VIRTIO_NET_F_MAC) |
                        VIRTIO_FEATURE(VIRTIO_NET_F_STATUS) | VIRTIO_FEATURE(VIRTIO_NET_F_MTU) |
                        VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);

    if (config->mergeable)
        features |= VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    if (config->offloads)
        features |=
            VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6) |
            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_ECN) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_USO) |
            VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
            VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
            VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO6);
    /* One pair needs no control queue, and some drivers expect the back end to serve what it
     * offers. */
    if (config->queue_pairs > 1)
        features |= VIRTIO_FEATURE(VIRTIO_NET_F_MQ) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ);
    return features;
}

/* What the guest takes, from the features it agreed to (virtio 1.2, 5.1.3.1: all need GUEST_CSUM).
 */
static unsigned guest_offloads(uint64_t features)
{
    static const struct {
        unsigned bit, offload;
    } table[] = {
        {VIRTIO_NET_F_GUEST_TSO4, OFFLOAD_TSO4}, {VIRTIO_NET_F_GUEST_TSO6, OFFLOAD_TSO6},
        {VIRTIO_NET_F_GUEST_ECN, OFFLOAD_ECN},   {VIRTIO_NET_F_GUEST_USO4, OFFLOAD_USO4},
        {VIRTIO_NET_F_GUEST_USO6, OFFLOAD_USO6},
    };
    unsigned offloads = OFFLOAD_CSUM;

    if (!(features & VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
        return 0;
    for (size_t i = 0; i < CV_COUNT_OF(table); i++)
        if (features & VIRTIO_FEATURE(table[i].bit))
            offloads |= table[i].offload;
    return offloads;
}

/* --- queues: from the session's state to running, and back --- */

static enum guest_fault ring_start(struct virtq *virtq, struct port_vhost *port,
                                   const struct vhost_user_vring *vring)
{
    struct virtq_setup setup = {
        .memory = vhost_user_session_memory(port->session),
        .size = vring->size,
        .desc_user_address = vring->desc_user_address,
        .avail_user_address = vring->avail_user_address,
        .used_user_address = vring->used_user_address,
        .base = vring->base,
        .features = vhost_user_session_features(port->session),
        .call_fd = vring->call_fd,
    };

    return virtq_start(virtq, &setup);
}

static enum guest_fault receiveq_prepare(struct port_vhost *port, struct vhost_queue *queue,
                                         const struct vhost_user_vring *vring)
{
    enum guest_fault fault;

    if (!vhost_user_vring_is_ready(vring) || !vring->enabled)
        return GUEST_FAULT_NONE;
    queue->base.wake_to_fd = vring->kick_fd;
    queue->base.can_deliver = true;
    queue->is_short = false;
    fault = ring_start(&queue->to_guest, port, vring);
    if (!fault)
        virtq_kicks_disable(&queue->to_guest);
    return fault;
}

/*
 * A transmitq that runs but is disabled must be emptied without effect (vhost-user, "Ring states"),
 * but only when kicked: a guest that reboots under User Mode Linux or Cloud Hypervisor leaves its
 * rings so, and its memory may hold something else by now.
 */
static enum guest_fault transmitq_prepare(struct port_vhost *port, struct vhost_queue *queue,
                                          const struct vhost_user_vring *vring)
{
    struct vhost_outstanding *outstanding;
    enum guest_fault fault;

    if (!vhost_user_vring_is_ready(vring))
        return GUEST_FAULT_NONE;
    outstanding = realloc(queue->outstanding, vring->size * sizeof(*outstanding));
    if (!outstanding) {
        log_error("%s: no memory for a queue of %u entries", port->base.config.name, vring->size);
        return GUEST_FAULT_NONE;
    }
    queue->outstanding = outstanding;
    queue->oldest = queue->newest = queue->done_count = 0;
    queue->base.wake_from_fd = vring->kick_fd;
    queue->base.can_receive = true;
    queue->base.owed_max = CV_MAX(vring->size / 4, 1u);
    queue->discard = queue->base.waits_for_kick = !vring->enabled;
    fault = ring_start(&queue->from_guest, port, vring);
    /* Without the event index a guest cannot be asked for a kick for several. */
    queue->base.kicks_max = queue->from_guest.event_idx ? vring->size / 2 : 0;
    return fault;
}

static enum guest_fault queue_prepare(struct port_vhost *port, struct vhost_queue *queue)
{
    uint64_t features = vhost_user_session_features(port->session);
    unsigned first = 2 * queue->base.index;
    enum guest_fault fault;

    queue->mergeable = features & VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    queue->hdr_bytes =
        features & (VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1))
            ? VNET_HDR_BYTES
            : VNET_HDR_LEGACY_BYTES;
    /* A super-packet that is half cut was cut for what the guest took then. */
    if (queue->base.offloads != guest_offloads(features))
        vhost_forget_front(&queue->base);
    /* Workers that load frames for the paused port look at it. */
    __atomic_store_n(&queue->base.offloads, guest_offloads(features), __ATOMIC_RELAXED);
    queue->base.groups_kicks = true;
    queue->too_big_len = 0; /* the buffers may be others, though as many */
    queue->fault = GUEST_FAULT_NONE;
    queue->owes_calls = true;
    queue->base.can_receive = queue->base.can_deliver = false;
    fault = receiveq_prepare(port, queue, vhost_user_session_vring(port->session, first));
    if (!fault)
        fault = transmitq_prepare(port, queue, vhost_user_session_vring(port->session, first + 1));
    return fault;
}

/* The queues are ours again: tell the session how far each ring has come. */
static void rings_save(struct port_vhost *port)
{
    for (unsigned i = 0; i < port->base.queue_count; i++) {
        struct vhost_queue *queue = &port->queues[i];

        if (queue->base.can_deliver)
            vhost_user_session_vring(port->session, 2 * i)->base = queue->to_guest.next_avail;
        if (queue->base.can_receive)
            vhost_user_session_vring(port->session, 2 * i + 1)->base = queue->from_guest.next_avail;
    }
}

static void queues_clear(struct port_vhost *port)
{
    for (unsigned i = 0; i < port->base.queue_count; i++)
        port->queues[i].base.can_receive = port->queues[i].base.can_deliver = false;
}

static void queues_stop(struct port_vhost *port)
{
    if (!port->base.is_attached)
        return;
    port->base.host->detach(port->base.host, &port->base);
    rings_save(port);
    queues_clear(port);
}

static bool any_ring_started(struct port_vhost *port)
{
    for (unsigned i = 0; i < vhost_user_session_vring_count(port->session); i++)
        if (vhost_user_session_vring(port->session, i)->started)
            return true;
    return false;
}

/* What a worker has found wrong; read before the queues are prepared anew. */
static enum guest_fault queues_fault(const struct port_vhost *port)
{
    for (unsigned i = 0; i < port->base.queue_count; i++) {
        enum guest_fault fault = __atomic_load_n(&port->queues[i].fault, __ATOMIC_ACQUIRE);

        if (fault)
            return fault;
    }
    return GUEST_FAULT_NONE;
}

static void queues_forget_faults(struct port_vhost *port)
{
    for (unsigned i = 0; i < port->base.queue_count; i++)
        port->queues[i].fault = GUEST_FAULT_NONE;
}

/* The guest broke the rules: its rings stay stopped. */
static void guest_fault(struct port_vhost *port, enum guest_fault fault)
{
    queues_stop(port);
    queues_clear(port);
    port->is_failed = true;
    port->must_close |= fault == GUEST_FAULT_CALL_BLOCKED;
    queues_forget_faults(port);
    snprintf(port->last_fault, sizeof(port->last_fault), "%s", guest_fault_text(fault));
    say(port, LOG_LEVEL_WARNING,
        "guest broke the virtio rules, its queues are stopped until its driver is reset: %s",
        port->last_fault);
}

static void session_pause(void *owner)
{
    struct port_vhost *port = owner;
    enum guest_fault fault;

    port->change_count++;
    queues_stop(port);
    fault = queues_fault(port);
    if (fault)
        guest_fault(port, fault);
}

static void session_resume(void *owner)
{
    struct port_vhost *port = owner;

    if (port->is_failed && !any_ring_started(port))
        port->is_failed = false;
    for (unsigned i = 0; i < port->base.queue_count && !port->is_failed; i++) {
        enum guest_fault fault = queue_prepare(port, &port->queues[i]);

        if (fault)
            guest_fault(port, fault);
    }
    port->base.host->attach(port->base.host, &port->base);
}

/* --- the front end comes and goes --- */

/* Tries again to connect, or listens again, after some time. */
static void retry_after(struct port_vhost *port, uint64_t wait_ns)
{
    reactor_timer_set(port->reactor, &port->retry_timer, clock_now_ns() + wait_ns);
}

static void retry_later(struct port_vhost *port)
{
    if (port->base.config.socket_mode != SOCKET_MODE_CLIENT)
        return;
    retry_after(port, port->retry_ns);
    port->retry_ns = CV_MIN(port->retry_ns * 2, RETRY_NS_MAX);
}

static void session_end(struct port_vhost *port)
{
    struct vhost_user_session *session = port->session;

    if (!session)
        return;
    queues_stop(port);
    queues_clear(port);
    /* It may have gone before we read of its offence. */
    port->must_close |= queues_fault(port) == GUEST_FAULT_CALL_BLOCKED;
    queues_forget_faults(port);
    port->session = NULL;
    port->is_failed = false;
    /* The port is down before the guest's memory is unmapped, which takes long. */
    port->base.host->attach(port->base.host, &port->base);
    reactor_timer_clear(&port->change_timer);
    reactor_remove(port->reactor, &port->session_watch);
    vhost_user_session_free(session);
}

/* Nobody is served for a while. */
static void port_close_for(struct port_vhost *port, uint64_t wait_ns)
{
    if (port->listen_watch.fd >= 0)
        reactor_remove(port->reactor, &port->listen_watch);
    retry_after(port, wait_ns);
}

/* A peer that makes its descriptors block does it again as soon as it may. */
static void port_ban(struct port_vhost *port)
{
    session_end(port);
    port->must_close = false;
    port_close_for(port, BAN_NS);
    say(port, LOG_LEVEL_WARNING, "its peer held up a worker: the port is closed for %u s",
        (unsigned)(BAN_NS / 1000000000));
}

static void fault_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct port_vhost *port = CV_CONTAINER_OF(watch, struct port_vhost, fault_watch);
    enum guest_fault fault;
    uint64_t count;

    (void)epoll_events;
    (void)!read(watch->fd, &count, sizeof(count));
    fault = queues_fault(port);
    if (!fault)
        return;
    guest_fault(port, fault);
    port->base.host->attach(port->base.host, &port->base);
    if (port->must_close)
        port_ban(port);
}

static void change_timer_expired(struct reactor_timer *timer)
{
    struct port_vhost *port = CV_CONTAINER_OF(timer, struct port_vhost, change_timer);

    (void)!reactor_modify(port->reactor, &port->session_watch, EPOLLIN);
}

/* Every change to a running device makes the workers pause, which costs all guests. */
static void limit_changes(struct port_vhost *port)
{
    uint64_t now_ns = clock_now_ns();

    if (now_ns - port->changes_since_ns >= 1000000000) {
        port->changes_since_ns = now_ns;
        port->change_count = 0;
    }
    if (port->change_count < CHANGES_PER_SECOND_MAX || port->change_timer.is_set)
        return;
    say(port, LOG_LEVEL_WARNING, "its front end changes the device too often, and has to wait");
    (void)!reactor_modify(port->reactor, &port->session_watch, 0);
    reactor_timer_set(port->reactor, &port->change_timer, port->changes_since_ns + 1000000000);
}

/* Reads what the front end has sent; the session may be gone afterwards. */
static void session_serve(struct port_vhost *port)
{
    struct error error;
    int result = vhost_user_session_read(port->session, &error);

    if (result == 0 && !port->must_close) {
        port->retry_ns = RETRY_NS_MIN;
        limit_changes(port);
        return;
    }
    if (result == -ECONNRESET) {
        say(port, LOG_LEVEL_INFO, "the front end has disconnected");
    } else if (result < 0) {
        snprintf(port->last_fault, sizeof(port->last_fault), "%.255s", error.text);
        say(port, LOG_LEVEL_WARNING, "the front end is disconnected: %s", error.text);
    }
    session_end(port);
    if (port->must_close)
        port_ban(port);
    else
        retry_later(port);
}

static void session_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    (void)epoll_events;
    session_serve(CV_CONTAINER_OF(watch, struct port_vhost, session_watch));
}

/* Takes over a connected socket. */
static void session_begin(struct port_vhost *port, int socket)
{
    static const struct vhost_user_owner_ops ops = {session_pause, session_resume};
    int result;

    port->session =
        vhost_user_session_new(socket, port->base.config.name, &port->offer, &ops, port);
    if (!port->session) {
        log_error("%s: no memory for a front end", port->base.config.name);
        retry_later(port);
        return;
    }
    port->session_watch = (struct reactor_watch){socket, session_ready};
    result = reactor_add(port->reactor, &port->session_watch, EPOLLIN);
    if (result < 0) {
        log_error("%s: cannot watch the front end: %s", port->base.config.name, strerror(-result));
        vhost_user_session_free(port->session);
        port->session = NULL;
        retry_later(port);
        return;
    }
    port->retry_is_told = false;
    say(port, LOG_LEVEL_INFO, "a front end has connected");
}

static void listen_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct port_vhost *port = CV_CONTAINER_OF(watch, struct port_vhost, listen_watch);
    int socket = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)epoll_events;
    if (socket < 0) {
        if (errno == EMFILE || errno == ENFILE) {
            say(port, LOG_LEVEL_ERROR, "a front end has to wait: no file descriptors left");
            port_close_for(port, REST_NS);
        }
        return;
    }
    /* The last front end may have gone without our having read it yet. */
    if (port->session)
        session_serve(port);
    if (!port->session) {
        session_begin(port, socket);
        return;
    }
    say(port, LOG_LEVEL_WARNING,
        "a second front end was turned away: this port serves one VMM at a time");
    close(socket);
}

static void retry_expired(struct reactor_timer *timer)
{
    struct port_vhost *port = CV_CONTAINER_OF(timer, struct port_vhost, retry_timer);
    int fd;

    if (port->listen_watch.fd >= 0) {
        (void)!reactor_add(port->reactor, &port->listen_watch, EPOLLIN);
        return;
    }
    fd = vhost_socket_connect(port->base.config.socket);
    if (fd >= 0) {
        session_begin(port, fd);
        return;
    }
    if (!port->retry_is_told)
        log_info(
            "%s: no VMM listens on %s yet (%s); trying on. If the VMM is to connect to convoyd, "
            "this port wants mode: server",
            port->base.config.name, port->base.config.socket, strerror(-fd));
    port->retry_is_told = true;
    retry_later(port);
}

static int port_listen(struct port_vhost *port, struct error *error)
{
    const char *path = port->base.config.socket;
    int fd = vhost_socket_listen(path, port->base.config.group, error);
    int result;

    if (fd < 0)
        return fd;
    port->listen_watch = (struct reactor_watch){fd, listen_ready};
    port->listen_inode = vhost_socket_inode(path);
    result = reactor_add(port->reactor, &port->listen_watch, EPOLLIN);
    return result < 0 ? error_set(error, result, "cannot watch %s: %s", path, strerror(-result))
                      : 0;
}

/* --- the port --- */

static void port_vhost_read_facts(const struct port *base, struct port_facts *ret_facts)
{
    const struct port_vhost *port = port_vhost_of(base);

    *ret_facts = (struct port_facts){.last_fault = port->last_fault};
    if (!port->session)
        return;
    ret_facts->is_connected = true;
    ret_facts->features = vhost_user_session_features(port->session);
    const struct guest_memory *memory = vhost_user_session_memory(port->session);
    for (unsigned i = 0; i < memory->count; i++)
        ret_facts->guest_memory_bytes += memory->regions[i].size;
}

static void port_vhost_free(struct port *base)
{
    struct port_vhost *port = port_vhost_of(base);

    session_end(port);
    reactor_timer_clear(&port->retry_timer);
    if (port->listen_watch.fd >= 0) {
        reactor_remove(port->reactor, &port->listen_watch);
        vhost_socket_close(port->listen_watch.fd, base->config.socket, port->listen_inode);
    }
    if (port->fault_watch.fd >= 0) {
        reactor_remove(port->reactor, &port->fault_watch);
        close(port->fault_watch.fd);
    }
    for (unsigned i = 0; i < base->queue_count; i++)
        free(port->queues[i].outstanding);
    free(port);
}

static const struct port_ops port_vhost_ops = {
    .receive = vhost_receive,
    .deliver = vhost_deliver,
    .announce = vhost_announce,
    .has_answered = vhost_has_answered,
    .forget_front = vhost_forget_front,
    .give_back = vhost_give_back,
    .settle = vhost_settle,
    .announce_back = vhost_announce_back,
    .arm_from = vhost_arm_from,
    .arm_to = vhost_arm_to,
    .disarm_from = vhost_disarm_from,
    .read_facts = port_vhost_read_facts,
    .free = port_vhost_free,
};

static int fault_watch_start(struct port_vhost *port, struct error *error)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int result;

    if (fd < 0)
        return error_set(error, -errno, "cannot create an eventfd: %s", strerror(errno));
    port->fault_watch = (struct reactor_watch){fd, fault_ready};
    for (unsigned i = 0; i < port->base.queue_count; i++)
        port->queues[i].fault_fd = fd;
    result = reactor_add(port->reactor, &port->fault_watch, EPOLLIN);
    return result < 0 ? error_set(error, result, "cannot watch an eventfd: %s", strerror(-result))
                      : 0;
}

static int port_vhost_start(struct port_vhost *port, struct error *error)
{
    int result = fault_watch_start(port, error);

    if (result < 0)
        return result;
    if (port->base.config.socket_mode == SOCKET_MODE_SERVER)
        return port_listen(port, error);
    retry_expired(&port->retry_timer);
    return 0;
}

int port_vhost_new(const struct port_config *config, unsigned id, struct port_host *host,
                   struct reactor *reactor, struct port **ret_port, struct error *error)
{
    struct port_vhost *port =
        alloc_aligned(sizeof(*port) + config->queue_pairs * sizeof(port->queues[0]));

    int result;

    if (!port)
        return error_set(error, -ENOMEM, "no memory for port %s", config->name);
    port->base = (struct port){.ops = &port_vhost_ops,
                               .host = host,
                               .id = id,
                               .config = *config,
                               .queue_count = config->queue_pairs};
    port->reactor = reactor;
    port->offer = (struct vhost_user_offer){.features = offered_features(config),
                                            .queue_pairs = config->queue_pairs,
                                            .mac = config->mac,
                                            .mtu = (uint16_t)config->mtu};
    port->listen_watch.fd = port->fault_watch.fd = -1;
    port->retry_timer.expired = retry_expired;
    port->change_timer.expired = change_timer_expired;
    port->retry_ns = RETRY_NS_MIN;
    for (unsigned i = 0; i < config->queue_pairs; i++) {
        port->queues[i].base = (struct port_queue){
            .port = &port->base,
            .index = i,
            .can_wait = true,
            .wake_from_fd = -1,
            .wake_to_fd = -1,
        };
        port->base.queues[i] = &port->queues[i].base;
    }
    result = port_vhost_start(port, error);
    if (result < 0) {
        port_vhost_free(&port->base);
        return result;
    }
    *ret_port = &port->base;
    return 0;
}

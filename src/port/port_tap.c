/*
 * The uplink to the host's network: a TAP device with virtio-net headers, so that checksums and
 * segmentation stay undone between guests and the host (Linux,
 * Documentation/networking/tuntap.rst). Frames from it lie in private memory; frames to it are
 * written straight from where they lie.
 *
 * The device is created, or taken over by name if it exists; it joins a Linux bridge when asked to.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "convoy/merge.h"
#include "convoy/segment.h"
#include "port/port.h"

#ifndef TUN_F_USO4 /* since Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct port_tap {
    struct port base;
    struct port_queue queue;
    int fd;
    bool is_drained; /* the last read found nothing more */
    bool is_gone;    /* atomic: the interface was removed from the host */
};

static struct port_tap *port_tap_of(const struct port *port)
{
    return CV_CONTAINER_OF(port, struct port_tap, base);
}

/* --- data path --- */

/* The host has removed the interface: nothing will ever come from it or go to it again. */
static void tap_gone(struct port_tap *tap)
{
    if (__atomic_exchange_n(&tap->is_gone, true, __ATOMIC_RELAXED))
        return;
    log_warning("%s: interface %s was removed from the host; remove this port and add it again",
                tap->base.config.name, tap->base.config.interface);
}

/* The payload behind the head, where tap_read has put it: a small packet needs no large buffer. */
static void set_pieces(struct frame *frame, size_t len)
{
    size_t small = CV_MIN(len, (size_t)FRAME_SMALL_BUFFER_BYTES);

    frame->piece_count = (uint16_t)((len > 0) + (len > small));
    frame->pieces[0] = (struct iovec){frame->small_bytes, small};
    frame->pieces[1] = (struct iovec){frame->private_bytes, len - small};
}

/* Reads one frame. False: there is none. */
static bool tap_read(struct port_tap *tap, struct frame *frame)
{
    struct iovec parts[] = {
        {&frame->vnet, VNET_HDR_BYTES + FRAME_HEAD_BYTES_MAX},
        {frame->small_bytes, FRAME_SMALL_BUFFER_BYTES},
        {frame->private_bytes, FRAME_BUFFER_BYTES},
    };
    ssize_t n = readv(tap->fd, parts, CV_COUNT_OF(parts));
    size_t len;

    if (n < 0 && errno == EBADFD)
        tap_gone(tap);
    if (n < (ssize_t)VNET_HDR_BYTES)
        return false;
    len = (size_t)n - VNET_HDR_BYTES;
    frame->len = (uint32_t)len;
    frame->head_len = (uint16_t)CV_MIN(len, (size_t)FRAME_HEAD_BYTES_MAX);
    set_pieces(frame, len - frame->head_len);
    frame->drop = len < 14 || len > FRAME_BYTES_MAX ? DROP_MALFORMED : DROP_NONE;
    frame->source = &tap->queue;
    frame->source_slot = 0;
    return true;
}

static unsigned tap_receive(struct port_queue *queue, struct frame_pool *pool,
                            struct frame **ret_frames, unsigned max)
{
    struct port_tap *tap = port_tap_of(queue->port);
    unsigned count = 0;
    uint64_t bytes = 0;

    tap->is_drained = false;
    while (count < max && bytes < BURST_BYTES_MAX) {
        struct frame *frame = frame_pool_get(pool);
        bool has_room;

        if (!frame)
            break;
        has_room = frame_pool_add_small(pool, frame) && frame_pool_add_buffer(pool, frame);
        if (!has_room || !tap_read(tap, frame)) {
            tap->is_drained = has_room;
            frame_pool_put(pool, frame);
            break;
        }
        if (frame->piece_count < 2)
            frame_pool_drop_buffer(pool, frame);
        if (frame->piece_count == 0)
            frame_pool_drop_small(pool, frame);
        bytes += frame->len;
        ret_frames[count++] = frame;
    }
    return count;
}

/* All that a row of merged frames may need (merge.h), and its virtio-net header. */
enum {
    TAP_PARTS_MAX = 1 + (1 + FRAME_PIECES_MAX + 2) + (1 + MERGE_PIECES_MAX) * (MERGE_FRAMES_MAX - 1)
};
static_assert(TAP_PARTS_MAX <= 1024, "Linux takes that many pieces at a time (UIO_MAXIOV)");

/* The places of a frame's bytes, and of the payload of those merged into it; returns their count.
 */
static unsigned gather(const struct frame *frame, struct iovec *ret_parts)
{
    unsigned count = 0;
    size_t skip = 0;

    for (; frame; frame = frame->merged_next) {
        if (frame->head_len > skip)
            ret_parts[count++] =
                (struct iovec){(void *)(uintptr_t)(frame->head + skip), frame->head_len - skip};
        memcpy(&ret_parts[count], frame->pieces, frame->piece_count * sizeof(ret_parts[0]));
        count += frame->piece_count;
        skip = frame->merged_next ? frame->merged_next->facts.payload_offset : 0;
    }
    return count;
}

/* A TAP device queues without limit of its own, so what it does not take it refuses for good.
 * Returns how many packets it refused: all of the frame, or none. */
static unsigned tap_write(struct port_tap *tap, const struct frame *frame)
{
    struct virtio_net_hdr hdr = frame->vnet;
    struct iovec parts[TAP_PARTS_MAX];
    unsigned count = 1 + gather(frame, &parts[1]);

    hdr.num_buffers = 0;
    parts[0] = (struct iovec){&hdr, VNET_HDR_BYTES};
    if (writev(tap->fd, parts, (int)count) < 0)
        return 1u + frame->merged_count;
    counter_add(&tap->queue.counters->to_packets, 1);
    counter_add(&tap->queue.counters->to_merged, frame->merged_count);
    counter_add(&tap->queue.counters->to_bytes, frame->len);
    return 0;
}

/* Writes a frame as packets that the host takes, up to the first that it refuses; returns likewise.
 */
static unsigned tap_write_cut(struct port_tap *tap, const struct frame *frame)
{
    struct segmenter segmenter;
    struct segment segment;

    segmenter_init(&segmenter, frame, tap->queue.offloads);
    counter_add(frame->vnet.gso_type == VNET_HDR_GSO_NONE ? &tap->queue.counters->checksummed
                                                          : &tap->queue.counters->segmented,
                1);
    while (segmenter_next(&segmenter, &segment))
        if (tap_write(tap, &segment.frame) > 0)
            return segmenter_lost_packets(&segmenter, frame);
    return 0;
}

/* Every write is its own notification. */
static unsigned tap_deliver(struct port_queue *queue, struct frame *const *frames, unsigned count)
{
    struct port_tap *tap = port_tap_of(queue->port);

    for (unsigned i = 0; i < count; i++) {
        unsigned refused = segment_fits(frames[i], queue->offloads) ? tap_write(tap, frames[i])
                                                                    : tap_write_cut(tap, frames[i]);

        if (CV_UNLIKELY(refused > 0))
            counter_add(&queue->counters->drops[DROP_UPLINK_REFUSED], refused);
    }
    counter_add(&queue->counters->to_convoys, 1);
    counter_add(&queue->counters->to_calls, count);
    return count;
}

static bool tap_announce(struct port_queue *queue, bool always)
{
    (void)queue;
    (void)always;
    return false;
}

static void tap_give_back(struct port_queue *queue, struct frame *const *frames, unsigned count)
{
    /* The frames' bytes are private and go back to the pool with them. */
    (void)queue;
    (void)frames;
    (void)count;
}

/* The descriptor is watched for edges: having read to its end, the next frame wakes us by itself.
 */
static bool tap_arm_from(struct port_queue *queue, unsigned packets)
{
    (void)packets;
    return !port_tap_of(queue->port)->is_drained;
}

static bool tap_arm_to(struct port_queue *queue)
{
    (void)queue;
    return false;
}

static void tap_disarm_from(struct port_queue *queue)
{
    port_tap_of(queue->port)->is_drained = false;
}

/* --- control --- */

static void port_tap_read_facts(const struct port *base, struct port_facts *ret_facts)
{
    const struct port_tap *tap = port_tap_of(base);
    bool is_gone = __atomic_load_n(&tap->is_gone, __ATOMIC_RELAXED);

    *ret_facts = (struct port_facts){
        .is_connected = !is_gone,
        .last_fault = is_gone ? "its interface was removed from the host" : "",
    };
}

static void port_tap_free(struct port *base)
{
    struct port_tap *tap = port_tap_of(base);

    if (base->is_attached)
        base->host->detach(base->host, base);
    if (tap->fd >= 0)
        close(tap->fd);
    free(tap);
}

static const struct port_ops port_tap_ops = {
    .receive = tap_receive,
    .deliver = tap_deliver,
    .announce = tap_announce,
    .give_back = tap_give_back,
    .arm_from = tap_arm_from,
    .arm_to = tap_arm_to,
    .disarm_from = tap_disarm_from,
    .read_facts = port_tap_read_facts,
    .free = port_tap_free,
};

static int tap_open(struct port_tap *tap, struct error *error)
{
    const char *name = tap->base.config.interface;
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int hdr_bytes = VNET_HDR_BYTES;

    tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap->fd < 0)
        return error_set(
            error, -errno,
            "cannot open /dev/net/tun: %s (is the tun module loaded, and may this user "
            "open it?)",
            strerror(errno));
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(tap->fd, TUNSETIFF, &request) < 0)
        return error_set(error, -errno, "cannot use TAP device %s: %s%s", name, strerror(errno),
                         errno == EBUSY    ? " (another process has it)"
                         : errno == EINVAL ? " (an interface of this name exists and is no TAP, or "
                                             "was made with other flags; remove it)"
                         : errno == EPERM  ? " (needs CAP_NET_ADMIN, or a TAP owned by this user)"
                                           : "");
    if (ioctl(tap->fd, TUNSETVNETHDRSZ, &hdr_bytes) < 0)
        return error_set(error, -errno, "TAP device %s takes no 12-byte header: %s", name,
                         strerror(errno));
    return 0;
}

/* Tells the kernel that we take everything undone; older kernels know no UDP segmentation. */
static int tap_set_offloads(struct port_tap *tap, struct error *error)
{
    unsigned long all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

    tap->queue.offloads = OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN;
    if (ioctl(tap->fd, TUNSETOFFLOAD, all | TUN_F_USO4 | TUN_F_USO6) == 0) {
        tap->queue.offloads |= OFFLOAD_USO4 | OFFLOAD_USO6;
        return 0;
    }
    return ioctl(tap->fd, TUNSETOFFLOAD, all) < 0
               ? error_set(error, -errno, "TAP device %s: cannot set offloads: %s",
                           tap->base.config.interface, strerror(errno))
               : 0;
}

/* The classic interface ioctls; `s` is any socket. */
static int tap_set_mtu(const struct port_config *config, int s, struct error *error)
{
    struct ifreq request = {0};

    strcpy(request.ifr_name, config->interface);
    /* What is right already needs no right to change it. */
    if (ioctl(s, SIOCGIFMTU, &request) == 0 && request.ifr_mtu == (int)config->mtu)
        return 0;
    request.ifr_mtu = (int)config->mtu;
    return ioctl(s, SIOCSIFMTU, &request) < 0
               ? error_set(error, -errno, "cannot set MTU %u on %s: %s", config->mtu,
                           config->interface, strerror(errno))
               : 0;
}

/* True when the interface belongs to the bridge already, as one that is handed over may. */
static bool tap_is_in_bridge(const struct port_config *config)
{
    char path[80];

    snprintf(path, sizeof(path), "/sys/class/net/%s/brif/%s", config->bridge, config->interface);
    return access(path, F_OK) == 0;
}

static int tap_join_bridge(const struct port_config *config, int s, struct error *error)
{
    struct ifreq request = {.ifr_ifindex = (int)if_nametoindex(config->interface)};

    if (!config->bridge[0] || tap_is_in_bridge(config))
        return 0;
    strcpy(request.ifr_name, config->bridge);
    return ioctl(s, SIOCBRADDIF, &request) < 0
               ? error_set(error, -errno, "%s cannot join bridge %s: %s%s", config->interface,
                           config->bridge, strerror(errno),
                           errno == ENODEV || errno == EOPNOTSUPP
                               ? " (no Linux bridge of this name; make it with ip link add NAME "
                                 "type bridge)"
                           : errno == EBUSY ? " (it belongs to another bridge)"
                                            : "")
               : 0;
}

static int tap_set_up(const struct port_config *config, int s, struct error *error)
{
    struct ifreq request = {0};

    strcpy(request.ifr_name, config->interface);
    if (ioctl(s, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
        request.ifr_flags |= IFF_UP;
        if (ioctl(s, SIOCSIFFLAGS, &request) < 0)
            return error_set(error, -errno, "cannot bring %s up: %s", config->interface,
                             strerror(errno));
    }
    return 0;
}

/* In this order, so that it never joins a bridge with a wrong MTU. */
static int tap_configure(struct port_tap *tap, struct error *error)
{
    const struct port_config *config = &tap->base.config;
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result;

    if (s < 0)
        return error_set(error, -errno, "cannot open a socket: %s", strerror(errno));
    result = tap_set_mtu(config, s, error);
    if (result == 0)
        result = tap_join_bridge(config, s, error);
    if (result == 0)
        result = tap_set_up(config, s, error);
    close(s);
    return result;
}

static int tap_start(struct port_tap *tap, struct error *error)
{
    int result = tap_open(tap, error);

    if (result == 0)
        result = tap_set_offloads(tap, error);
    if (result == 0)
        result = tap_configure(tap, error);
    return result;
}

int port_tap_new(const struct port_config *config, unsigned id, struct port_host *host,
                 struct port **ret_port, struct error *error)
{
    struct port_tap *tap = calloc(1, sizeof(*tap));

    int result;

    if (!tap)
        return error_set(error, -ENOMEM, "no memory for port %s", config->name);
    tap->base = (struct port){
        .ops = &port_tap_ops, .host = host, .id = id, .config = *config, .queue_count = 1};
    tap->base.queues[0] = &tap->queue;
    tap->fd = -1;
    tap->queue = (struct port_queue){
        .port = &tap->base, .can_receive = true, .can_deliver = true, .wake_to_fd = -1};
    result = tap_start(tap, error);
    if (result < 0) {
        port_tap_free(&tap->base);
        return result;
    }
    tap->queue.wake_from_fd = tap->fd;
    *ret_port = &tap->base;
    return 0;
}

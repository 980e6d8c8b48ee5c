#include "guest/vhost_user_device.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "guest/foreign_fd.h"

#define PROTOCOL_FEATURES_OFFERED                                                                  \
    (VHOST_USER_PROTOCOL_FEATURE(MQ) | VHOST_USER_PROTOCOL_FEATURE(REPLY_ACK) |                    \
     VHOST_USER_PROTOCOL_FEATURE(NET_MTU) | VHOST_USER_PROTOCOL_FEATURE(BACKEND_REQ) |             \
     VHOST_USER_PROTOCOL_FEATURE(CONFIG) | VHOST_USER_PROTOCOL_FEATURE(RESET_DEVICE) |             \
     VHOST_USER_PROTOCOL_FEATURE(CONFIGURE_MEM_SLOTS) | VHOST_USER_PROTOCOL_FEATURE(STATUS))

/* struct virtio_net_config (virtio 1.2, 5.1.4), little-endian. */
struct net_config {
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_virtqueue_pairs;
    uint16_t mtu;
    uint32_t speed; /* 1 Mbit/s; all ones: unknown */
    uint8_t duplex; /* all ones: unknown */
} __attribute__((packed));

enum { NET_CONFIG_LINK_UP = 1, MTU_MIN = 68 };

static void config_fill(struct vhost_user_device *device)
{
    const struct vhost_user_offer *offer = &device->offer;
    struct net_config config = {.status = htole16(NET_CONFIG_LINK_UP),
                                .max_virtqueue_pairs = htole16((uint16_t)offer->queue_pairs),
                                .mtu = htole16(offer->mtu),
                                .speed = UINT32_MAX,
                                .duplex = UINT8_MAX};

    for (unsigned i = 0; i < sizeof(config.mac); i++)
        config.mac[i] = (uint8_t)(offer->mac >> (8 * (5 - i)));
    memset(device->config, 0, sizeof(device->config));
    memcpy(device->config, &config, sizeof(config));
}

void vhost_user_device_init(struct vhost_user_device *device, const char *name,
                            const struct vhost_user_offer *offer,
                            const struct vhost_user_owner_ops *ops, void *owner)
{
    assert(offer->queue_pairs >= 1 && offer->queue_pairs <= PORT_QUEUE_PAIRS_MAX);
    *device = (struct vhost_user_device){.name = name,
                                         .offer = *offer,
                                         .ops = ops,
                                         .owner = owner,
                                         .backend_req_fd = -1,
                                         .vring_count = 2 * offer->queue_pairs};
    guest_memory_init(&device->memory);
    for (unsigned i = 0; i < VHOST_USER_VRINGS_MAX; i++)
        vhost_user_vring_init(&device->vrings[i]);
    vhost_user_device_update_enabled(device);
    config_fill(device);
}

static bool device_is_running(const struct vhost_user_device *device)
{
    for (unsigned i = 0; i < device->vring_count; i++) {
        if (vhost_user_vring_is_ready(&device->vrings[i]))
            return true;
    }
    return false;
}

void vhost_user_device_change_begin(struct vhost_user_device *device)
{
    if (device->changing)
        return;
    device->changing = true;
    device->paused = device_is_running(device);
    if (device->paused) {
        device->has_paused = true;
        device->ops->pause(device->owner);
    }
}

void vhost_user_device_change_end(struct vhost_user_device *device)
{
    if (!device->changing)
        return;
    device->changing = false;
    for (unsigned i = 0; i < device->vring_count; i++)
        vhost_user_vring_update_mapped(&device->vrings[i], &device->memory);
    if (device->paused || device_is_running(device))
        device->ops->resume(device->owner);
    device->paused = false;
}

void vhost_user_device_uninit(struct vhost_user_device *device)
{
    vhost_user_device_change_begin(device);
    for (unsigned i = 0; i < VHOST_USER_VRINGS_MAX; i++)
        vhost_user_vring_reset(&device->vrings[i]);
    vhost_user_fd_replace(&device->backend_req_fd, -1);
    guest_memory_uninit(&device->memory);
}

bool vhost_user_device_has_reply_ack(const struct vhost_user_device *device)
{
    return device->protocol_features & VHOST_USER_PROTOCOL_FEATURE(REPLY_ACK);
}

/* Without protocol features there is no SET_VRING_ENABLE: every ring is enabled ("Ring states"). */
void vhost_user_device_update_enabled(struct vhost_user_device *device)
{
    bool always = !(device->features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES));

    for (unsigned i = 0; i < device->vring_count; i++)
        device->vrings[i].enabled = always || (device->enable_mask >> i & 1);
}

static int reply_u64(struct vhost_user_reply *reply, uint64_t value)
{
    reply->size = sizeof(reply->payload.u64);
    reply->payload.u64 = value;
    return 0;
}

int vhost_user_get_features(struct vhost_user_device *device, struct vhost_user_request *request,
                            struct vhost_user_reply *reply, struct error *error)
{
    (void)request, (void)error;
    return reply_u64(reply, device->offer.features);
}

/*
 * QEMU says it once per queue pair, so also when the rings of the first pairs run already; a change
 * under running rings is legal too (migration switches logging so).
 */
int vhost_user_set_features(struct vhost_user_device *device, struct vhost_user_request *request,
                            struct vhost_user_reply *reply, struct error *error)
{
    uint64_t features = request->payload.u64;
    uint64_t unoffered = features & ~device->offer.features;
    char names[256];

    (void)reply;
    if (unoffered)
        return error_set(error, -EPROTO,
                         "SET_FEATURES acknowledges %s (%#" PRIx64 "), which was never offered",
                         vhost_user_features_format(unoffered, names, sizeof(names)), unoffered);
    if (features == device->features)
        return 0;
    vhost_user_device_change_begin(device);
    device->features = features;
    vhost_user_device_update_enabled(device);
    return 0;
}

int vhost_user_get_protocol_features(struct vhost_user_device *device,
                                     struct vhost_user_request *request,
                                     struct vhost_user_reply *reply, struct error *error)
{
    (void)device, (void)request, (void)error;
    return reply_u64(reply, PROTOCOL_FEATURES_OFFERED);
}

int vhost_user_set_protocol_features(struct vhost_user_device *device,
                                     struct vhost_user_request *request,
                                     struct vhost_user_reply *reply, struct error *error)
{
    uint64_t unoffered = request->payload.u64 & ~PROTOCOL_FEATURES_OFFERED;

    (void)reply;
    if (unoffered)
        return error_set(error, -EPROTO,
                         "SET_PROTOCOL_FEATURES acknowledges bits %#" PRIx64
                         ", which were never offered (%#" PRIx64 " were)",
                         unoffered, PROTOCOL_FEATURES_OFFERED);
    device->protocol_features = request->payload.u64;
    return 0;
}

int vhost_user_set_owner(struct vhost_user_device *device, struct vhost_user_request *request,
                         struct vhost_user_reply *reply, struct error *error)
{
    (void)device, (void)request, (void)reply, (void)error;
    return 0;
}

/* Deprecated; back ends should "either ignore this message, or use it to disable all rings". */
int vhost_user_reset_owner(struct vhost_user_device *device, struct vhost_user_request *request,
                           struct vhost_user_reply *reply, struct error *error)
{
    (void)request, (void)reply, (void)error;
    vhost_user_device_change_begin(device);
    device->enable_mask = 0;
    vhost_user_device_update_enabled(device);
    return 0;
}

/*
 * The initial state but for what belongs to the connection: the front end does not agree on
 * protocol features again, and with memory slots it tells only what changes in the memory.
 */
int vhost_user_reset_device(struct vhost_user_device *device, struct vhost_user_request *request,
                            struct vhost_user_reply *reply, struct error *error)
{
    (void)request, (void)reply, (void)error;
    vhost_user_device_change_begin(device);
    device->features = 0;
    device->status = 0;
    device->enable_mask = 0;
    for (unsigned i = 0; i < device->vring_count; i++)
        vhost_user_vring_reset(&device->vrings[i]);
    vhost_user_device_update_enabled(device);
    config_fill(device);
    return 0;
}

/*
 * The number of rings. The specification's word is "queues"; Cloud Hypervisor compares it with its
 * rings, QEMU with its queue pairs, and asking for too many is refused ring by ring in any case.
 */
int vhost_user_get_queue_num(struct vhost_user_device *device, struct vhost_user_request *request,
                             struct vhost_user_reply *reply, struct error *error)
{
    (void)request, (void)error;
    return reply_u64(reply, device->vring_count);
}

int vhost_user_net_set_mtu(struct vhost_user_device *device, struct vhost_user_request *request,
                           struct vhost_user_reply *reply, struct error *error)
{
    uint64_t mtu = request->payload.u64;

    (void)reply;
    if (mtu < MTU_MIN)
        return error_set(error, VHOST_USER_REFUSED,
                         "NET_SET_MTU %" PRIu64 ": at least %d is needed", mtu, MTU_MIN);
    if (mtu > device->offer.mtu)
        return error_set(error, VHOST_USER_REFUSED,
                         "NET_SET_MTU %" PRIu64
                         ": this port's mtu is %u; lower host_mtu in the VMM, "
                         "or raise mtu of the port",
                         mtu, device->offer.mtu);
    return 0;
}

/* Not offered: bridges learn where a migrated guest is from its own announcement. */
int vhost_user_send_rarp(struct vhost_user_device *device, struct vhost_user_request *request,
                         struct vhost_user_reply *reply, struct error *error)
{
    (void)device, (void)request, (void)reply, (void)error;
    return 0;
}

/* The request carries as many bytes as it asks for, and the space has that many. */
static bool config_access_is_valid(const struct vhost_user_request *request)
{
    const struct vhost_user_config *config = &request->payload.config;
    uint32_t carried = request->header.size - (uint32_t)offsetof(struct vhost_user_config, bytes);

    return config->size == carried && config->offset <= VHOST_USER_CONFIG_BYTES_MAX &&
           config->size <= VHOST_USER_CONFIG_BYTES_MAX - config->offset;
}

/* An access out of range is answered by a reply without payload. */
int vhost_user_get_config(struct vhost_user_device *device, struct vhost_user_request *request,
                          struct vhost_user_reply *reply, struct error *error)
{
    const struct vhost_user_config *config = &request->payload.config;

    if (!config_access_is_valid(request))
        return error_set(error, VHOST_USER_REFUSED,
                         "GET_CONFIG of %u bytes at %u: the configuration space has %d bytes",
                         config->size, config->offset, VHOST_USER_CONFIG_BYTES_MAX);
    reply->size = request->header.size;
    reply->payload.config.offset = config->offset;
    reply->payload.config.size = config->size;
    reply->payload.config.flags = config->flags;
    memcpy(reply->payload.config.bytes, device->config + config->offset, config->size);
    return 0;
}

/* A driver from before virtio 1.0 sets its MAC address so; all else is read-only
 * (virtio 1.2, 5.1.4). */
int vhost_user_set_config(struct vhost_user_device *device, struct vhost_user_request *request,
                          struct vhost_user_reply *reply, struct error *error)
{
    const struct vhost_user_config *config = &request->payload.config;
    bool is_legacy = !(device->features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1));

    (void)reply;
    if (!config_access_is_valid(request) || !is_legacy ||
        config->offset + config->size > sizeof(((struct net_config *)NULL)->mac))
        return error_set(error, VHOST_USER_REFUSED,
                         "SET_CONFIG of %u bytes at %u: only the MAC address can be written, by a "
                         "legacy driver",
                         config->size, config->offset);
    memcpy(device->config + config->offset, config->bytes, config->size);
    return 0;
}

/* Status 0 is the driver's reset (virtio 1.2, 2.1): rings must not be touched any more. */
int vhost_user_set_status(struct vhost_user_device *device, struct vhost_user_request *request,
                          struct vhost_user_reply *reply, struct error *error)
{
    (void)reply;
    if (request->payload.u64 > UINT8_MAX)
        return error_set(error, VHOST_USER_REFUSED, "SET_STATUS %#" PRIx64 ": more than 8 bits",
                         request->payload.u64);
    device->status = (uint8_t)request->payload.u64;
    if (device->status != 0)
        return 0;
    vhost_user_device_change_begin(device);
    for (unsigned i = 0; i < device->vring_count; i++)
        vhost_user_vring_stop(&device->vrings[i]);
    return 0;
}

/*
 * Kept and never used. It is offered because User Mode Linux 6.1 has no interrupt for its rings
 * without it, and takes the device away when the other end is closed.
 */
int vhost_user_set_backend_req_fd(struct vhost_user_device *device,
                                  struct vhost_user_request *request,
                                  struct vhost_user_reply *reply, struct error *error)
{
    (void)reply;
    if (request->fd_count != 1 || foreign_fd_kind(request->fds[0]) != FOREIGN_FD_UNIX_SOCKET)
        return error_set(error, -EPROTO, "SET_BACKEND_REQ_FD comes without a socket");
    vhost_user_fd_replace(&device->backend_req_fd, request->fds[0]);
    request->fds[0] = -1;
    return 0;
}

int vhost_user_get_status(struct vhost_user_device *device, struct vhost_user_request *request,
                          struct vhost_user_reply *reply, struct error *error)
{
    (void)request, (void)error;
    return reply_u64(reply, device->status);
}

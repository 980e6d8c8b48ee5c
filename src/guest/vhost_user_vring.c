/*
 * The messages that set up, start and stop single rings.
 *
 * A ring that is started but disabled is in use still: Cloud Hypervisor pauses a guest so, and
 * rings of queue pairs that the guest does not use stay so. But a front end may also leave rings so
 * for good and set them up anew (User Mode Linux, and a guest's reboot, never say GET_VRING_BASE):
 * a new size or base for a disabled ring therefore stops it, until the next SET_VRING_KICK.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "guest/foreign_fd.h"
#include "guest/vhost_user_device.h"

/* Parts of a split ring (virtio 1.2, 2.7): bytes as a function of the number of entries. */
enum {
    DESC_ALIGN = 16,
    AVAIL_ALIGN = 2,
    USED_ALIGN = 4,
};

static uint64_t desc_bytes(uint32_t size)
{
    return 16 * (uint64_t)size;
}

/* Flags, index, entries, and the event field behind them. */
static uint64_t avail_bytes(uint32_t size)
{
    return 6 + 2 * (uint64_t)size;
}

static uint64_t used_bytes(uint32_t size)
{
    return 6 + 8 * (uint64_t)size;
}

void vhost_user_fd_replace(int *fd, int new_fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = new_fd;
}

void vhost_user_vring_init(struct vhost_user_vring *vring)
{
    *vring = (struct vhost_user_vring){.kick_fd = -1, .call_fd = -1};
}

void vhost_user_vring_reset(struct vhost_user_vring *vring)
{
    vhost_user_fd_replace(&vring->kick_fd, -1);
    vhost_user_fd_replace(&vring->call_fd, -1);
    vhost_user_vring_init(vring);
}

void vhost_user_vring_stop(struct vhost_user_vring *vring)
{
    vring->started = false;
    vhost_user_fd_replace(&vring->kick_fd, -1);
}

bool vhost_user_vring_is_ready(const struct vhost_user_vring *vring)
{
    return vring->started && vring->mapped;
}

void vhost_user_vring_update_mapped(struct vhost_user_vring *vring,
                                    const struct guest_memory *memory)
{
    uint32_t size = vring->size;

    vring->mapped =
        size > 0 && vring->has_addresses &&
        guest_memory_at_user(memory, vring->desc_user_address, desc_bytes(size), DESC_ALIGN) &&
        guest_memory_at_user(memory, vring->avail_user_address, avail_bytes(size), AVAIL_ALIGN) &&
        guest_memory_at_user(memory, vring->used_user_address, used_bytes(size), USED_ALIGN);
}

/* No worker looks at a ring that is not started, and nothing but a kick descriptor can start it. */
static void vring_change_begin(struct vhost_user_device *device,
                               const struct vhost_user_vring *vring)
{
    if (vring->started)
        vhost_user_device_change_begin(device);
}

/* NULL, with a sentence, when the port has no such ring. */
static struct vhost_user_vring *vring_find(struct vhost_user_device *device,
                                           const struct vhost_user_request *request, uint64_t index,
                                           struct error *error)
{
    if (index < device->vring_count)
        return &device->vrings[index];
    (void)error_set(error, -EPROTO,
                    "%s for ring %" PRIu64 ": this port has %u queue pairs, rings 0 to %u; ask the "
                    "VMM for fewer queues, or give the port more",
                    request->type->name, index, device->offer.queue_pairs, device->vring_count - 1);
    return NULL;
}

/* A ring that a worker may be using cannot get a new size or base; see the head of the file. */
static int vring_release(struct vhost_user_device *device, struct vhost_user_vring *vring,
                         const struct vhost_user_request *request, struct error *error)
{
    if (vhost_user_vring_is_ready(vring) && vring->enabled)
        return error_set(
            error, -EPROTO,
            "%s for ring %u, which is running: it must be stopped by GET_VRING_BASE first",
            request->type->name, request->payload.state.index);
    vring_change_begin(device, vring);
    vhost_user_vring_stop(vring);
    return 0;
}

int vhost_user_set_vring_num(struct vhost_user_device *device, struct vhost_user_request *request,
                             struct vhost_user_reply *reply, struct error *error)
{
    const struct vhost_user_vring_state *state = &request->payload.state;
    struct vhost_user_vring *vring = vring_find(device, request, state->index, error);
    int r;

    (void)reply;
    if (!vring)
        return -EPROTO;
    if (state->num == 0 || state->num > VIRTQ_SIZE_MAX || (state->num & (state->num - 1)))
        return error_set(error, -EPROTO,
                         "SET_VRING_NUM %u for ring %u: a size is a power of two up to %d",
                         state->num, state->index, VIRTQ_SIZE_MAX);
    r = vring_release(device, vring, request, error);
    if (r)
        return r;
    vring->size = state->num;
    return 0;
}

int vhost_user_set_vring_base(struct vhost_user_device *device, struct vhost_user_request *request,
                              struct vhost_user_reply *reply, struct error *error)
{
    const struct vhost_user_vring_state *state = &request->payload.state;
    struct vhost_user_vring *vring = vring_find(device, request, state->index, error);
    int r;

    (void)reply;
    if (!vring)
        return -EPROTO;
    if (state->num > UINT16_MAX)
        return error_set(error, -EPROTO, "SET_VRING_BASE %u for ring %u: an index has 16 bits",
                         state->num, state->index);
    r = vring_release(device, vring, request, error);
    if (r)
        return r;
    vring->base = (uint16_t)state->num;
    return 0;
}

/* What is wrong with a part of a ring at this address, if anything. */
static int part_check(const struct guest_memory *memory, uint64_t user_address, uint64_t bytes,
                      size_t align, const char *part, uint32_t index, struct error *error)
{
    if (user_address % align)
        return error_set(error, -EPROTO,
                         "SET_VRING_ADDR for ring %u: %s at %#" PRIx64
                         " is not aligned to %zu bytes",
                         index, part, user_address, align);
    if (memory->count > 0 && bytes > 0 && !guest_memory_at_user(memory, user_address, bytes, align))
        return error_set(error, -EPROTO,
                         "SET_VRING_ADDR for ring %u: %s at %#" PRIx64 " (%" PRIu64
                         " bytes) lies outside the memory that the front end has shared",
                         index, part, user_address, bytes);
    return 0;
}

static int addr_check(const struct vhost_user_device *device, const struct vhost_user_vring *vring,
                      const struct vhost_user_vring_addr *addr, struct error *error)
{
    const struct guest_memory *memory = &device->memory;
    uint32_t size = vring->size;
    int r;

    if (addr->flags)
        return error_set(error, -EPROTO,
                         "SET_VRING_ADDR for ring %u has flags %#x: dirty logging was not offered",
                         addr->index, addr->flags);
    r = part_check(memory, addr->desc_user_address, size ? desc_bytes(size) : 0, DESC_ALIGN,
                   "descriptor table", addr->index, error);
    if (r)
        return r;
    r = part_check(memory, addr->avail_user_address, size ? avail_bytes(size) : 0, AVAIL_ALIGN,
                   "available ring", addr->index, error);
    if (r)
        return r;
    return part_check(memory, addr->used_user_address, size ? used_bytes(size) : 0, USED_ALIGN,
                      "used ring", addr->index, error);
}

/* Legal also while the ring runs: the owner finds the new addresses when it resumes. */
int vhost_user_set_vring_addr(struct vhost_user_device *device, struct vhost_user_request *request,
                              struct vhost_user_reply *reply, struct error *error)
{
    const struct vhost_user_vring_addr *addr = &request->payload.addr;
    struct vhost_user_vring *vring = vring_find(device, request, addr->index, error);
    int r;

    (void)reply;
    if (!vring)
        return -EPROTO;
    r = addr_check(device, vring, addr, error);
    if (r)
        return r;
    vring_change_begin(device, vring);
    vring->desc_user_address = addr->desc_user_address;
    vring->avail_user_address = addr->avail_user_address;
    vring->used_user_address = addr->used_user_address;
    vring->has_addresses = true;
    return 0;
}

int vhost_user_get_vring_base(struct vhost_user_device *device, struct vhost_user_request *request,
                              struct vhost_user_reply *reply, struct error *error)
{
    uint32_t index = request->payload.state.index;
    struct vhost_user_vring *vring = vring_find(device, request, index, error);

    if (!vring)
        return -EPROTO;
    vring_change_begin(device, vring);
    vhost_user_vring_stop(vring);
    reply->size = sizeof(reply->payload.state);
    reply->payload.state.index = index;
    reply->payload.state.num = vring->base;
    return 0;
}

int vhost_user_set_vring_enable(struct vhost_user_device *device,
                                struct vhost_user_request *request, struct vhost_user_reply *reply,
                                struct error *error)
{
    const struct vhost_user_vring_state *state = &request->payload.state;
    struct vhost_user_vring *vring;
    uint64_t bit;

    (void)reply;
    if (state->num > 1)
        return error_set(error, -EPROTO, "SET_VRING_ENABLE %u for ring %u: it is 0 or 1",
                         state->num, state->index);
    /* A VMM may switch off all the queues it knows of, also those that were never set up here. */
    if (state->num == 0 && state->index >= device->vring_count &&
        state->index <= VHOST_USER_VRING_INDEX_MASK)
        return 0;
    vring = vring_find(device, request, state->index, error);
    if (!vring)
        return -EPROTO;
    bit = UINT64_C(1) << state->index;
    if (!!(device->enable_mask & bit) == state->num)
        return 0;
    vring_change_begin(device, vring);
    device->enable_mask ^= bit;
    vhost_user_device_update_enabled(device);
    return 0;
}

/*
 * An eventfd; and where only we write, what takes 8 bytes will do: User Mode Linux gives one end of
 * a socket pair, and the specification allows pipes.
 */
static bool event_fd_is_good(int fd, bool allow_stream)
{
    enum foreign_fd_kind kind = foreign_fd_kind(fd);

    return kind == FOREIGN_FD_EVENTFD ||
           (allow_stream && (kind == FOREIGN_FD_PIPE || kind == FOREIGN_FD_UNIX_SOCKET));
}

static int event_fd_check(const struct vhost_user_request *request, bool allow_stream,
                          struct error *error)
{
    int fd = request->fds[0];
    int flags;

    if (!event_fd_is_good(fd, allow_stream))
        return error_set(error, -EPROTO, "%s: the descriptor is not an eventfd%s",
                         request->type->name, allow_stream ? ", a pipe or a socket" : "");
    flags = fcntl(fd, F_GETFL);
    /* A worker must not sleep on a counter that the peer has filled or emptied. */
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
        return error_set(error, -errno, "%s: the descriptor cannot be made non-blocking",
                         request->type->name);
    if (allow_stream && (flags & O_ACCMODE) == O_RDONLY)
        return error_set(error, -EPROTO, "%s: the descriptor cannot be written",
                         request->type->name);
    return 0;
}

/*
 * Reads the common form of SET_VRING_KICK, CALL and ERR. *ret_fd: the descriptor, now the caller's,
 * or -1 where there is none. NULL, with a sentence, when it is wrong.
 */
static struct vhost_user_vring *event_parse(struct vhost_user_device *device,
                                            struct vhost_user_request *request, bool allow_stream,
                                            int *ret_fd, struct error *error)
{
    uint64_t value = request->payload.u64;
    bool has_fd = !(value & VHOST_USER_VRING_NO_FD);
    struct vhost_user_vring *vring =
        vring_find(device, request, value & ~(uint64_t)VHOST_USER_VRING_NO_FD, error);

    if (!vring)
        return NULL;
    if (has_fd != (request->fd_count == 1)) {
        (void)error_set(error, -EPROTO,
                        "%s with %u descriptors, but its value %#" PRIx64 " says %d",
                        request->type->name, request->fd_count, value, has_fd);
        return NULL;
    }
    *ret_fd = -1;
    if (!has_fd)
        return vring;
    if (event_fd_check(request, allow_stream, error))
        return NULL;
    *ret_fd = request->fds[0];
    request->fds[0] = -1;
    return vring;
}

int vhost_user_set_vring_kick(struct vhost_user_device *device, struct vhost_user_request *request,
                              struct vhost_user_reply *reply, struct error *error)
{
    struct vhost_user_vring *vring;
    int fd;

    (void)reply;
    vring = event_parse(device, request, false, &fd, error);
    if (!vring)
        return -EPROTO;
    if (fd < 0)
        return error_set(error, -EPROTO,
                         "SET_VRING_KICK for ring %" PRIu64
                         " comes without a descriptor, which asks us "
                         "to poll: the VMM must give an eventfd (ioeventfd=on)",
                         request->payload.u64 & VHOST_USER_VRING_INDEX_MASK);
    vhost_user_device_change_begin(device);
    vhost_user_fd_replace(&vring->kick_fd, fd);
    vring->started = true;
    return 0;
}

int vhost_user_set_vring_call(struct vhost_user_device *device, struct vhost_user_request *request,
                              struct vhost_user_reply *reply, struct error *error)
{
    struct vhost_user_vring *vring;
    int fd;

    (void)reply;
    vring = event_parse(device, request, true, &fd, error);
    if (!vring)
        return -EPROTO;
    vring_change_begin(device, vring);
    vhost_user_fd_replace(&vring->call_fd, fd);
    return 0;
}

/*
 * Checked and closed: what goes wrong is told in the log. A descriptor that the peer shares with us
 * can be made to block, and this thread must not.
 */
int vhost_user_set_vring_err(struct vhost_user_device *device, struct vhost_user_request *request,
                             struct vhost_user_reply *reply, struct error *error)
{
    struct vhost_user_vring *vring;
    int fd;

    (void)reply;
    vring = event_parse(device, request, true, &fd, error);
    if (!vring)
        return -EPROTO;
    vhost_user_fd_replace(&fd, -1);
    return 0;
}

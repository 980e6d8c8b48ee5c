/* The messages that say where the guest's memory is. */
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "guest/vhost_user_device.h"

static int table_check(const struct vhost_user_request *request, struct error *error)
{
    uint32_t count = request->payload.mem_table.count;

    if (count == 0 || request->fd_count == 0)
        return error_set(error, -EPROTO,
                         "SET_MEM_TABLE has %u regions and %u descriptors: guest memory is not "
                         "shared; give QEMU -object memory-backend-memfd,share=on "
                         "(libvirt: <access mode='shared'/>)",
                         count, request->fd_count);
    if (count > VHOST_USER_TABLE_REGIONS_MAX)
        return error_set(error, -EPROTO, "SET_MEM_TABLE has %u regions, at most %d are allowed",
                         count, VHOST_USER_TABLE_REGIONS_MAX);
    if (request->header.size < offsetof(struct vhost_user_mem_table, regions) +
                                   count * sizeof(struct guest_region_request))
        return error_set(error, -EPROTO, "SET_MEM_TABLE of %u regions has only %u bytes", count,
                         request->header.size);
    if (request->fd_count != count)
        return error_set(error, -EPROTO, "SET_MEM_TABLE has %u regions, but %u descriptors", count,
                         request->fd_count);
    return 0;
}

static int table_map(struct guest_memory *memory, const struct vhost_user_request *request,
                     struct error *error)
{
    const struct vhost_user_mem_table *table = &request->payload.mem_table;
    struct error cause;

    for (unsigned i = 0; i < table->count; i++) {
        int r = guest_memory_add(memory, &table->regions[i], request->fds[i], &cause);

        if (r) {
            guest_memory_uninit(memory);
            return error_set(error, r, "SET_MEM_TABLE, region %u: %s", i, cause.text);
        }
    }
    return 0;
}

/* The new table is mapped before the old one goes, so that a bad one changes nothing. */
int vhost_user_set_mem_table(struct vhost_user_device *device, struct vhost_user_request *request,
                             struct vhost_user_reply *reply, struct error *error)
{
    struct guest_memory memory;
    int r;

    (void)reply;
    r = table_check(request, error);
    if (r)
        return r;
    guest_memory_init(&memory);
    r = table_map(&memory, request, error);
    if (r)
        return r;
    vhost_user_device_change_begin(device);
    guest_memory_uninit(&device->memory);
    device->memory = memory;
    return 0;
}

int vhost_user_get_max_mem_slots(struct vhost_user_device *device,
                                 struct vhost_user_request *request, struct vhost_user_reply *reply,
                                 struct error *error)
{
    (void)device, (void)request, (void)error;
    reply->size = sizeof(reply->payload.u64);
    reply->payload.u64 = GUEST_REGIONS_MAX;
    return 0;
}

int vhost_user_add_mem_reg(struct vhost_user_device *device, struct vhost_user_request *request,
                           struct vhost_user_reply *reply, struct error *error)
{
    struct error cause;
    int r;

    (void)reply;
    if (request->fd_count != 1)
        return error_set(error, -EPROTO,
                         "ADD_MEM_REG comes without a descriptor: guest memory is not shared; give "
                         "QEMU -object memory-backend-memfd,share=on (libvirt: <access "
                         "mode='shared'/>)");
    vhost_user_device_change_begin(device);
    r = guest_memory_add(&device->memory, &request->payload.mem_reg.region, request->fds[0],
                         &cause);
    if (r)
        return error_set(error, r, "ADD_MEM_REG: %s", cause.text);
    return 0;
}

/*
 * A region that is not there is no error: QEMU 7.2 removes each once per queue pair. Some front
 * ends send a descriptor along; it means nothing and is closed with the request.
 */
int vhost_user_rem_mem_reg(struct vhost_user_device *device, struct vhost_user_request *request,
                           struct vhost_user_reply *reply, struct error *error)
{
    (void)reply, (void)error;
    vhost_user_device_change_begin(device);
    if (guest_memory_remove(&device->memory, &request->payload.mem_reg.region))
        log_debug("%s: REM_MEM_REG: no region at guest address %#" PRIx64, device->name,
                  request->payload.mem_reg.region.guest_address);
    return 0;
}

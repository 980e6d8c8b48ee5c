#include "front_end.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/vhost_user.h"

const uint64_t front_features_plain =
    VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);

const uint64_t front_features_linux =
    VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) |
    VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
    VIRTIO_FEATURE(VIRTIO_NET_F_MTU) | VIRTIO_FEATURE(VIRTIO_NET_F_MAC) |
    VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
    VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
    VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_ECN) |
    VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_FEATURE(VIRTIO_NET_F_STATUS) |
    VIRTIO_FEATURE(VIRTIO_NET_F_MQ) | VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
    VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) |
    VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO6) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_USO);

const uint64_t front_protocol_features =
    VU_PROTOCOL(MQ) | VU_PROTOCOL(REPLY_ACK) | VU_PROTOCOL(NET_MTU) | VU_PROTOCOL(CONFIG) |
    VU_PROTOCOL(RESET_DEVICE) | VU_PROTOCOL(STATUS) | VU_PROTOCOL(CONFIGURE_MEM_SLOTS);

/* Device status (virtio 1.2, 2.1). */
enum {
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
};

static bool has_feature(const struct front_end *fe, enum virtio_feature bit)
{
    return (fe->features & VIRTIO_FEATURE(bit)) != 0;
}

static int step_failed(struct front_end *fe, const char *step, int result)
{
    return error_set(&fe->error, result, "%s: %s on %s", step, strerror(-result),
                     fe->options.socket);
}

/* --- messages --- */

static int send_request(struct front_end *fe, enum vu_request request, uint32_t flags,
                        const void *payload, size_t len, const int *fds, unsigned fd_count)
{
    struct vu_header header = {request, VU_VERSION | flags, (uint32_t)len};
    int result = vu_send(fe->socket, &header, payload, len, fds, fd_count, fe->options.timeout_ms);

    return result < 0 ? step_failed(fe, vu_request_name(request), result) : 0;
}

static int receive_reply(struct front_end *fe, enum vu_request request,
                         struct vu_message *ret_reply)
{
    int result = vu_receive(fe->socket, ret_reply, fe->options.timeout_ms);

    if (result == 0 && (ret_reply->header.request != (uint32_t)request ||
                        (ret_reply->header.flags & (VU_FLAG_REPLY | 3)) != (VU_FLAG_REPLY | 1)))
        result = -EPROTO;
    return result < 0 ? step_failed(fe, vu_request_name(request), result) : 0;
}

int front_end_tell(struct front_end *fe, enum vu_request request, const void *payload, size_t len,
                   const int *fds, unsigned fd_count)
{
    bool ack = (fe->protocol_features & VU_PROTOCOL(REPLY_ACK)) != 0;
    struct vu_message reply;
    int result =
        send_request(fe, request, ack ? VU_FLAG_NEED_REPLY : 0, payload, len, fds, fd_count);

    if (result < 0 || !ack)
        return result;
    result = receive_reply(fe, request, &reply);
    if (result < 0)
        return result;
    return reply.u64 == 0 ? 0 : step_failed(fe, vu_request_name(request), -EREMOTEIO);
}

int front_end_tell_u64(struct front_end *fe, enum vu_request request, uint64_t value)
{
    return front_end_tell(fe, request, &value, sizeof(value), NULL, 0);
}

int front_end_tell_state(struct front_end *fe, enum vu_request request, uint32_t index,
                         uint32_t num)
{
    struct vu_vring_state state = {index, num};

    return front_end_tell(fe, request, &state, sizeof(state), NULL, 0);
}

int front_end_ask(struct front_end *fe, enum vu_request request, const void *payload, size_t len,
                  struct vu_message *ret_reply)
{
    int result = send_request(fe, request, 0, payload, len, NULL, 0);

    return result < 0 ? result : receive_reply(fe, request, ret_reply);
}

int front_end_ask_u64(struct front_end *fe, enum vu_request request, uint64_t *ret_value)
{
    struct vu_message reply;
    int result = front_end_ask(fe, request, NULL, 0, &reply);

    if (result == 0)
        *ret_value = reply.u64;
    return result;
}

int front_end_sync(struct front_end *fe)
{
    uint64_t features;

    return front_end_ask_u64(fe, VU_GET_FEATURES, &features);
}

int front_end_ask_mac(struct front_end *fe, uint8_t ret_mac[6])
{
    struct vu_config config = {.size = 6};
    struct vu_message reply;
    int result = front_end_ask(fe, VU_GET_CONFIG, &config, 12 + config.size, &reply);

    if (result == 0 && reply.header.size < 12 + 6)
        result = step_failed(fe, "GET_CONFIG is not offered", -ENOTSUP);
    if (result == 0)
        memcpy(ret_mac, reply.config.bytes, 6);
    return result;
}

/* --- steps --- */

void front_end_init(struct front_end *fe, const struct front_end_options *options)
{
    *fe = (struct front_end){.options = *options, .listener = -1, .socket = -1};
    if (fe->options.timeout_ms == 0)
        fe->options.timeout_ms = 5000;
    if (fe->options.pairs == 0)
        fe->options.pairs = 1;
    if (fe->options.size == 0)
        fe->options.size = 256;
    if (fe->options.transmit_bytes == 0)
        fe->options.transmit_bytes = 2048;
}

static int socket_address(struct front_end *fe, struct sockaddr_un *ret_address)
{
    if (strlen(fe->options.socket) >= sizeof(ret_address->sun_path))
        return step_failed(fe, "socket path", -ENAMETOOLONG);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(ret_address->sun_path, fe->options.socket);
    return 0;
}

int front_end_listen(struct front_end *fe)
{
    struct sockaddr_un address;
    int result = socket_address(fe, &address);

    if (result < 0)
        return result;
    unlink(fe->options.socket);
    fe->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fe->listener < 0 || bind(fe->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fe->listener, 1) < 0)
        return step_failed(fe, "listen", -errno);
    return 0;
}

static int accept_back_end(struct front_end *fe)
{
    struct pollfd poll_fd = {.fd = fe->listener, .events = POLLIN};
    int n = poll(&poll_fd, 1, fe->options.timeout_ms);

    if (n <= 0)
        return step_failed(fe, "accept", n == 0 ? -ETIMEDOUT : -errno);
    fe->socket = accept4(fe->listener, NULL, NULL, SOCK_CLOEXEC);
    return fe->socket < 0 ? step_failed(fe, "accept", -errno) : 0;
}

int front_end_connect(struct front_end *fe)
{
    uint64_t deadline_ns = clock_now_ns() + (uint64_t)fe->options.timeout_ms * 1000000;
    struct sockaddr_un address;
    int result;

    if (fe->options.listen)
        return accept_back_end(fe);
    result = socket_address(fe, &address);
    if (result < 0)
        return result;
    for (;;) {
        fe->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fe->socket < 0)
            return step_failed(fe, "socket", -errno);
        if (connect(fe->socket, (struct sockaddr *)&address, sizeof(address)) == 0)
            return 0;
        result = -errno;
        close(fe->socket);
        fe->socket = -1;
        if ((result != -ENOENT && result != -ECONNREFUSED && result != -EAGAIN) ||
            clock_now_ns() > deadline_ns)
            return step_failed(fe, "connect", result);
        poll(NULL, 0, 1);
    }
}

static int negotiate_protocol(struct front_end *fe)
{
    int result = front_end_ask_u64(fe, VU_GET_PROTOCOL_FEATURES, &fe->protocol_offered);
    uint64_t wanted;

    if (result < 0)
        return result;
    wanted = fe->options.protocol_features & fe->protocol_offered;
    result = front_end_tell_u64(fe, VU_SET_PROTOCOL_FEATURES, wanted);
    if (result < 0)
        return result;
    fe->protocol_features = wanted;
    if (!(wanted & VU_PROTOCOL(MQ)))
        return 0;
    return front_end_ask_u64(fe, VU_GET_QUEUE_NUM, &fe->queue_pairs_max);
}

int front_end_set_status(struct front_end *fe, unsigned bits)
{
    const uint64_t before_driver_ok = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;

    if (!(fe->protocol_features & VU_PROTOCOL(STATUS)))
        return 0;
    return front_end_tell_u64(fe, VU_SET_STATUS, bits | before_driver_ok);
}

int front_end_negotiate(struct front_end *fe)
{
    int result = front_end_ask_u64(fe, VU_GET_FEATURES, &fe->offered);

    if (result < 0)
        return result;
    fe->features = (fe->options.features & fe->offered) | fe->options.features_forced;
    fe->protocol_features = 0;
    fe->queue_pairs_max = 1;
    if (has_feature(fe, VHOST_USER_F_PROTOCOL_FEATURES)) {
        result = negotiate_protocol(fe);
        if (result < 0)
            return result;
    }
    fe->hdr_bytes = has_feature(fe, VIRTIO_F_VERSION_1) || has_feature(fe, VIRTIO_NET_F_MRG_RXBUF)
                        ? VNET_HDR_BYTES
                        : VNET_HDR_LEGACY_BYTES;
    result = front_end_tell(fe, VU_SET_OWNER, NULL, 0, NULL, 0);
    if (result == 0)
        result = front_end_tell_u64(fe, VU_SET_FEATURES, fe->features);
    return result < 0 ? result : front_end_set_status(fe, 0);
}

static uint32_t receive_bytes(const struct front_end *fe)
{
    const uint64_t super_packets =
        VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
        VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_USO6);

    if (fe->options.receive_bytes)
        return fe->options.receive_bytes;
    if (has_feature(fe, VIRTIO_NET_F_MRG_RXBUF) || !(fe->features & super_packets))
        return 2048;
    return 65562; /* virtio 1.2, 5.1.6.3.1, with room for a VLAN tag */
}

static struct front_ring_options ring_options(const struct front_end *fe, unsigned index)
{
    bool to_guest = index % 2 == 0;

    return (struct front_ring_options){
        .size = fe->options.size,
        .region = index,
        .slot_bytes = to_guest ? receive_bytes(fe) : fe->options.transmit_bytes,
        .hdr_bytes = fe->hdr_bytes,
        .to_guest = to_guest,
        .event_idx = has_feature(fe, VIRTIO_RING_F_EVENT_IDX),
        .in_order = has_feature(fe, VIRTIO_F_IN_ORDER),
        .mergeable = has_feature(fe, VIRTIO_NET_F_MRG_RXBUF),
        .indirect = has_feature(fe, VIRTIO_RING_F_INDIRECT_DESC),
    };
}

static int allocate_ram(struct front_end *fe)
{
    struct guest_ram_layout one = {.guest_address = UINT64_C(0x40000000), .is_populated = true};

    if (fe->options.region_count > 0)
        return guest_ram_init(&fe->ram, fe->options.regions, fe->options.region_count,
                              fe->options.sealed, &fe->error);
    for (unsigned i = 0; i < 2 * fe->options.pairs; i++) {
        struct front_ring_options ring = ring_options(fe, i);

        one.size += front_ring_bytes(&ring);
    }
    one.size = (one.size + 4095) & ~UINT64_C(4095);
    return guest_ram_init(&fe->ram, &one, 1, fe->options.sealed, &fe->error);
}

int front_end_allocate(struct front_end *fe)
{
    int result = allocate_ram(fe);

    for (unsigned i = 0; result == 0 && i < 2 * fe->options.pairs; i++) {
        struct front_ring_options options = ring_options(fe, i);

        result = front_ring_init(&fe->rings[i], &fe->ram, &options, &fe->error);
        if (result == 0)
            fe->ring_count++;
    }
    return result;
}

static struct vu_region describe_region(const struct guest_ram_region *region)
{
    return (struct vu_region){.guest_address = region->layout.guest_address,
                              .size = region->layout.size,
                              .user_address = (uintptr_t)region->bytes,
                              .mmap_offset = region->layout.mmap_offset};
}

static int share_slots(struct front_end *fe)
{
    int result = 0;

    for (unsigned i = 0; result == 0 && i < fe->ram.count; i++) {
        struct vu_mem_reg reg = {.region = describe_region(&fe->ram.regions[i])};

        result = front_end_tell(fe, VU_ADD_MEM_REG, &reg, sizeof(reg), &fe->ram.regions[i].fd, 1);
    }
    return result;
}

int front_end_share_memory(struct front_end *fe)
{
    struct vu_mem_table table = {.count = fe->ram.count};
    int fds[GUEST_RAM_REGIONS_MAX];

    if (fe->protocol_features & VU_PROTOCOL(CONFIGURE_MEM_SLOTS))
        return share_slots(fe);
    for (unsigned i = 0; i < fe->ram.count; i++) {
        table.regions[i] = describe_region(&fe->ram.regions[i]);
        fds[i] = fe->ram.regions[i].fd;
    }
    return front_end_tell(fe, VU_SET_MEM_TABLE, &table,
                          offsetof(struct vu_mem_table, regions) +
                              table.count * sizeof(table.regions[0]),
                          fds, table.count);
}

int front_end_enable_ring(struct front_end *fe, unsigned index, bool enable)
{
    return front_end_tell_state(fe, VU_SET_VRING_ENABLE, index, enable);
}

int front_end_start_ring(struct front_end *fe, unsigned index)
{
    struct front_ring *ring = &fe->rings[index];
    struct vu_vring_addr addr = {.index = index,
                                 .desc_user_address = (uintptr_t)ring->desc,
                                 .used_user_address = (uintptr_t)ring->used,
                                 .avail_user_address = (uintptr_t)ring->avail};
    uint64_t number = index;
    int result = front_end_tell_state(fe, VU_SET_VRING_NUM, index, ring->options.size);

    if (result == 0)
        result = front_end_tell_state(fe, VU_SET_VRING_BASE, index, ring->used_index);
    if (result == 0)
        result = front_end_tell(fe, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
    if (result == 0)
        result = front_end_tell(fe, VU_SET_VRING_CALL, &number, sizeof(number), &ring->call_fd, 1);
    if (result == 0)
        result = front_end_tell(fe, VU_SET_VRING_KICK, &number, sizeof(number), &ring->kick_fd, 1);
    if (result == 0 && has_feature(fe, VHOST_USER_F_PROTOCOL_FEATURES))
        result = front_end_enable_ring(fe, index, true);
    return result;
}

int front_end_stop_ring(struct front_end *fe, unsigned index, uint32_t *ret_base)
{
    struct vu_vring_state state = {.index = index};
    struct vu_message reply;
    int result = front_end_ask(fe, VU_GET_VRING_BASE, &state, sizeof(state), &reply);

    if (result == 0)
        *ret_base = reply.state.num;
    return result;
}

/* --- an honest life --- */

static int start_all(struct front_end *fe)
{
    int result = front_end_share_memory(fe);

    for (unsigned i = 0; result == 0 && i < fe->ring_count; i++)
        result = front_end_start_ring(fe, i);
    if (result == 0)
        result = front_end_set_status(fe, STATUS_DRIVER_OK);
    return result == 0 ? front_end_sync(fe) : result;
}

int front_end_open(struct front_end *fe, const struct front_end_options *options)
{
    int result;

    front_end_init(fe, options);
    result = options->listen ? front_end_listen(fe) : 0;
    if (result == 0)
        result = front_end_connect(fe);
    if (result == 0)
        result = front_end_negotiate(fe);
    if (result == 0)
        result = front_end_allocate(fe);
    if (result == 0)
        result = start_all(fe);
    if (result < 0) {
        front_end_disconnect(fe);
        front_end_close(fe);
        return result;
    }
    for (unsigned i = 0; i < fe->ring_count; i += 2)
        front_ring_post(&fe->rings[i], fe->options.size);
    return 0;
}

void front_end_disconnect(struct front_end *fe)
{
    if (fe->socket >= 0)
        close(fe->socket);
    fe->socket = -1;
}

int front_end_reconnect(struct front_end *fe)
{
    uint64_t features = fe->features;
    int result = front_end_connect(fe);

    if (result == 0)
        result = front_end_negotiate(fe);
    if (result == 0 && fe->features != features)
        result = step_failed(fe, "features changed", -EPROTO);
    if (result == 0)
        result = start_all(fe);
    for (unsigned i = 0; result == 0 && i < fe->ring_count; i++)
        front_ring_kick(&fe->rings[i]);
    if (result < 0)
        front_end_disconnect(fe);
    return result;
}

void front_end_close(struct front_end *fe)
{
    uint32_t base;

    if (fe->options.timeout_ms > 1000)
        fe->options.timeout_ms = 1000;
    for (unsigned i = 0; fe->socket >= 0 && i < fe->ring_count; i++) {
        if (front_end_stop_ring(fe, i, &base) < 0)
            front_end_disconnect(fe);
    }
    front_end_disconnect(fe);
    for (unsigned i = 0; i < fe->ring_count; i++)
        front_ring_uninit(&fe->rings[i]);
    fe->ring_count = 0;
    guest_ram_uninit(&fe->ram);
    if (fe->listener >= 0) {
        close(fe->listener);
        unlink(fe->options.socket);
    }
    fe->listener = -1;
}

bool front_end_wait_call(struct front_ring *ring, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = ring->call_fd, .events = POLLIN};
    uint64_t deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * 1000000;

    while (!front_ring_calls_enable(ring, 0)) {
        uint64_t now_ns = clock_now_ns();

        if (now_ns >= deadline_ns)
            break;
        poll(&poll_fd, 1, (int)((deadline_ns - now_ns) / 1000000 + 1));
        front_ring_calls_take(ring);
    }
    front_ring_calls_disable(ring);
    return front_ring_has_used(ring);
}

int front_end_send(struct front_end *fe, unsigned pair, const struct virtio_net_hdr *hdr,
                   const void *frame, size_t len)
{
    struct front_ring *ring = front_end_transmitq(fe, pair);

    for (;;) {
        uint8_t *room;

        front_ring_reclaim(ring);
        room = front_ring_reserve(ring);
        if (room) {
            memcpy(room, frame, len);
            if (front_ring_commit(ring, hdr, len))
                break;
        }
        if (!front_end_wait_call(ring, fe->options.timeout_ms))
            return -ETIMEDOUT;
    }
    front_ring_publish(ring);
    return 0;
}

int front_end_flush(struct front_end *fe, unsigned pair)
{
    struct front_ring *ring = front_end_transmitq(fe, pair);

    front_ring_publish(ring);
    for (;;) {
        front_ring_reclaim(ring);
        if (front_ring_outstanding(ring) == 0)
            return 0;
        if (!front_end_wait_call(ring, fe->options.timeout_ms))
            return -ETIMEDOUT;
    }
}

struct frame_copy {
    struct virtio_net_hdr *hdr;
    void *bytes;
    size_t room;
    size_t len;
};

static void copy_frame(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                       size_t len)
{
    struct frame_copy *copy = context;

    if (copy->hdr)
        *copy->hdr = *hdr;
    memcpy(copy->bytes, frame, CV_MIN(len, copy->room));
    copy->len = len;
}

int front_end_wait_frame(struct front_end *fe, unsigned pair, struct virtio_net_hdr *ret_hdr,
                         void *bytes, size_t room, size_t *ret_len)
{
    struct frame_copy copy = {ret_hdr, bytes, room, 0};
    struct front_ring *ring = front_end_receiveq(fe, pair);

    while (front_ring_receive(ring, 1, copy_frame, &copy) == 0) {
        if (!front_end_wait_call(ring, fe->options.timeout_ms))
            return -ETIMEDOUT;
    }
    *ret_len = copy.len;
    return 0;
}

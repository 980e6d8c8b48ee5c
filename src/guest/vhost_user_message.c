#include "guest/vhost_user_message.h"

#include <stdio.h>

#include "guest/vhost_user_device.h"

enum {
    U64_BYTES = sizeof(uint64_t),
    STATE_BYTES = sizeof(struct vhost_user_vring_state),
    CONFIG_HEAD_BYTES = offsetof(struct vhost_user_config, bytes),
};

/* X(SYMBOL, payload bytes min, max, descriptors max, replies, handler) */
#define SUPPORTED(X)                                                                               \
    X(GET_FEATURES, 0, 0, 0, true, get_features)                                                   \
    X(SET_FEATURES, U64_BYTES, U64_BYTES, 0, false, set_features)                                  \
    X(SET_OWNER, 0, 0, 0, false, set_owner)                                                        \
    X(RESET_OWNER, 0, 0, 0, false, reset_owner)                                                    \
    X(SET_MEM_TABLE, 8, sizeof(struct vhost_user_mem_table), 8, false, set_mem_table)              \
    X(SET_VRING_NUM, STATE_BYTES, STATE_BYTES, 0, false, set_vring_num)                            \
    X(SET_VRING_ADDR, sizeof(struct vhost_user_vring_addr), sizeof(struct vhost_user_vring_addr),  \
      0, false, set_vring_addr)                                                                    \
    X(SET_VRING_BASE, STATE_BYTES, STATE_BYTES, 0, false, set_vring_base)                          \
    X(GET_VRING_BASE, STATE_BYTES, STATE_BYTES, 0, true, get_vring_base)                           \
    X(SET_VRING_KICK, U64_BYTES, U64_BYTES, 1, false, set_vring_kick)                              \
    X(SET_VRING_CALL, U64_BYTES, U64_BYTES, 1, false, set_vring_call)                              \
    X(SET_VRING_ERR, U64_BYTES, U64_BYTES, 1, false, set_vring_err)                                \
    X(GET_PROTOCOL_FEATURES, 0, 0, 0, true, get_protocol_features)                                 \
    X(SET_PROTOCOL_FEATURES, U64_BYTES, U64_BYTES, 0, false, set_protocol_features)                \
    X(GET_QUEUE_NUM, 0, 0, 0, true, get_queue_num)                                                 \
    X(SET_VRING_ENABLE, STATE_BYTES, STATE_BYTES, 0, false, set_vring_enable)                      \
    X(SEND_RARP, U64_BYTES, U64_BYTES, 0, false, send_rarp)                                        \
    X(NET_SET_MTU, U64_BYTES, U64_BYTES, 0, false, net_set_mtu)                                    \
    X(SET_BACKEND_REQ_FD, 0, U64_BYTES, 1, false, set_backend_req_fd)                              \
    X(GET_CONFIG, CONFIG_HEAD_BYTES, sizeof(struct vhost_user_config), 0, true, get_config)        \
    X(SET_CONFIG, CONFIG_HEAD_BYTES, sizeof(struct vhost_user_config), 0, false, set_config)       \
    X(RESET_DEVICE, 0, 0, 0, false, reset_device)                                                  \
    X(GET_MAX_MEM_SLOTS, 0, 0, 0, true, get_max_mem_slots)                                         \
    X(ADD_MEM_REG, sizeof(struct vhost_user_mem_reg), sizeof(struct vhost_user_mem_reg), 1, false, \
      add_mem_reg)                                                                                 \
    X(REM_MEM_REG, sizeof(struct vhost_user_mem_reg), sizeof(struct vhost_user_mem_reg), 1, false, \
      rem_mem_reg)                                                                                 \
    X(SET_STATUS, U64_BYTES, U64_BYTES, 0, false, set_status)                                      \
    X(GET_STATUS, 0, 0, 0, true, get_status)

/* X(SYMBOL, the feature that brings it) */
#define UNSUPPORTED(X)                                                                             \
    X(SET_LOG_BASE, "VHOST_USER_PROTOCOL_F_LOG_SHMFD")                                             \
    X(SET_LOG_FD, "VHOST_USER_PROTOCOL_F_LOG_SHMFD")                                               \
    X(IOTLB_MSG, "VIRTIO_F_ACCESS_PLATFORM")                                                       \
    X(SET_VRING_ENDIAN, "VHOST_USER_PROTOCOL_F_CROSS_ENDIAN")                                      \
    X(CREATE_CRYPTO_SESSION, "VHOST_USER_PROTOCOL_F_CRYPTO_SESSION")                               \
    X(CLOSE_CRYPTO_SESSION, "VHOST_USER_PROTOCOL_F_CRYPTO_SESSION")                                \
    X(POSTCOPY_ADVISE, "VHOST_USER_PROTOCOL_F_PAGEFAULT")                                          \
    X(POSTCOPY_LISTEN, "VHOST_USER_PROTOCOL_F_PAGEFAULT")                                          \
    X(POSTCOPY_END, "VHOST_USER_PROTOCOL_F_PAGEFAULT")                                             \
    X(GET_INFLIGHT_FD, "VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD")                                     \
    X(SET_INFLIGHT_FD, "VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD")                                     \
    X(GPU_SET_SOCKET, "a GPU device")                                                              \
    X(VRING_KICK, "VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS")                                    \
    X(GET_SHARED_OBJECT, "VHOST_USER_PROTOCOL_F_SHARED_OBJECT")                                    \
    X(SET_DEVICE_STATE_FD, "VHOST_USER_PROTOCOL_F_DEVICE_STATE")                                   \
    X(CHECK_DEVICE_STATE, "VHOST_USER_PROTOCOL_F_DEVICE_STATE")

static const struct vhost_user_message_type message_types[VHOST_USER_REQUEST_END] = {
#define SUPPORTED_ROW(symbol, min, max, fds, answers, handler)                                     \
    [VHOST_USER_##symbol] = {.name = #symbol,                                                      \
                             .size_min = (min),                                                    \
                             .size_max = (max),                                                    \
                             .fds_max = (fds),                                                     \
                             .replies = (answers),                                                 \
                             .handle = vhost_user_##handler},
    SUPPORTED(SUPPORTED_ROW)
#define UNSUPPORTED_ROW(symbol, feature)                                                           \
    [VHOST_USER_##symbol] = {.name = #symbol, .needs = (feature)},
        UNSUPPORTED(UNSUPPORTED_ROW)};

const struct vhost_user_message_type *vhost_user_message_type(uint32_t request)
{
    return &message_types[request < VHOST_USER_REQUEST_END ? request : 0];
}

const char *vhost_user_message_name(uint32_t request, char *buffer, size_t buffer_bytes)
{
    const struct vhost_user_message_type *type = vhost_user_message_type(request);

    if (type->name)
        (void)snprintf(buffer, buffer_bytes, "%s", type->name);
    else
        (void)snprintf(buffer, buffer_bytes, "request %u", request);
    return buffer;
}

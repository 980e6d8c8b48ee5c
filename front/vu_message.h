/*
 * vhost-user messages as a front end sends them, written from the specification and sharing nothing
 * with the switch's own reader: numbers, payload layouts, and a sender that can be as wrong as
 * wanted.
 *
 * Source: "Vhost-user Protocol", QEMU documentation, docs/interop/vhost-user.
 */
#ifndef CONVOY_FRONT_VU_MESSAGE_H
#define CONVOY_FRONT_VU_MESSAGE_H

#include "base/compiler.h"

enum vu_request {
    VU_GET_FEATURES = 1,
    VU_SET_FEATURES = 2,
    VU_SET_OWNER = 3,
    VU_RESET_OWNER = 4,
    VU_SET_MEM_TABLE = 5,
    VU_SET_LOG_BASE = 6,
    VU_SET_LOG_FD = 7,
    VU_SET_VRING_NUM = 8,
    VU_SET_VRING_ADDR = 9,
    VU_SET_VRING_BASE = 10,
    VU_GET_VRING_BASE = 11,
    VU_SET_VRING_KICK = 12,
    VU_SET_VRING_CALL = 13,
    VU_SET_VRING_ERR = 14,
    VU_GET_PROTOCOL_FEATURES = 15,
    VU_SET_PROTOCOL_FEATURES = 16,
    VU_GET_QUEUE_NUM = 17,
    VU_SET_VRING_ENABLE = 18,
    VU_SEND_RARP = 19,
    VU_NET_SET_MTU = 20,
    VU_SET_BACKEND_REQ_FD = 21,
    VU_IOTLB_MSG = 22,
    VU_SET_VRING_ENDIAN = 23,
    VU_GET_CONFIG = 24,
    VU_SET_CONFIG = 25,
    VU_CREATE_CRYPTO_SESSION = 26,
    VU_CLOSE_CRYPTO_SESSION = 27,
    VU_POSTCOPY_ADVISE = 28,
    VU_POSTCOPY_LISTEN = 29,
    VU_POSTCOPY_END = 30,
    VU_GET_INFLIGHT_FD = 31,
    VU_SET_INFLIGHT_FD = 32,
    VU_GPU_SET_SOCKET = 33,
    VU_RESET_DEVICE = 34,
    VU_VRING_KICK = 35,
    VU_GET_MAX_MEM_SLOTS = 36,
    VU_ADD_MEM_REG = 37,
    VU_REM_MEM_REG = 38,
    VU_SET_STATUS = 39,
    VU_GET_STATUS = 40,
    VU_GET_SHARED_OBJECT = 41,
    VU_SET_DEVICE_STATE_FD = 42,
    VU_CHECK_DEVICE_STATE = 43,
    VU_REQUEST_END, /* one past the last number known */
};

enum vu_protocol_feature {
    VU_PROTOCOL_F_MQ = 0,
    VU_PROTOCOL_F_LOG_SHMFD = 1,
    VU_PROTOCOL_F_RARP = 2,
    VU_PROTOCOL_F_REPLY_ACK = 3,
    VU_PROTOCOL_F_NET_MTU = 4,
    VU_PROTOCOL_F_CONFIG = 9,
    VU_PROTOCOL_F_INFLIGHT_SHMFD = 12,
    VU_PROTOCOL_F_RESET_DEVICE = 13,
    VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
    VU_PROTOCOL_F_STATUS = 16,
};
#define VU_PROTOCOL(bit) (UINT64_C(1) << VU_PROTOCOL_F_##bit)

enum {
    VU_VERSION = 1,
    VU_FLAG_REPLY = 1 << 2,
    VU_FLAG_NEED_REPLY = 1 << 3,
    VU_NO_FD = 1 << 8, /* in the u64 of SET_VRING_KICK, CALL, ERR: no descriptor, poll */
    VU_FDS_MAX = 32,   /* descriptors of one message; a back end expects at most 8 */
    VU_PAYLOAD_BYTES_MAX = 4096,
    VU_REGIONS_MAX = 8, /* regions of one SET_MEM_TABLE */
};

struct vu_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* bytes of payload that follow */
};

struct vu_vring_state {
    uint32_t index;
    uint32_t num;
};

struct vu_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc_user_address;
    uint64_t used_user_address;
    uint64_t avail_user_address;
    uint64_t log_guest_address;
};

struct vu_region {
    uint64_t guest_address;
    uint64_t size;
    uint64_t user_address;
    uint64_t mmap_offset;
};

struct vu_mem_table {
    uint32_t count;
    uint32_t padding;
    struct vu_region regions[VU_REGIONS_MAX];
};

struct vu_mem_reg {
    uint64_t padding;
    struct vu_region region;
};

struct vu_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t bytes[256];
};

/* One message that was received. */
struct vu_message {
    struct vu_header header;
    union {
        uint64_t u64;
        struct vu_vring_state state;
        struct vu_config config;
        uint8_t bytes[VU_PAYLOAD_BYTES_MAX];
    };
    unsigned fd_count; /* descriptors that came with it; the caller closes them */
    int fds[VU_FDS_MAX];
};

/*
 * Sends `header` as it is, then `payload_len` bytes, with `fd_count` descriptors, whether they fit
 * each other or not. -EPIPE or -ECONNRESET: the back end has closed; -ETIMEDOUT: it does not read.
 */
int vu_send(int socket, const struct vu_header *header, const void *payload, size_t payload_len,
            const int *fds, unsigned fd_count, int timeout_ms) CV_MUST_CHECK;

/* Receives one whole message. -ECONNRESET: the back end has closed; -ETIMEDOUT: nothing came. */
int vu_receive(int socket, struct vu_message *ret_message, int timeout_ms) CV_MUST_CHECK;

/*
 * Waits until the back end has closed the connection; messages that come before are thrown away.
 * -ETIMEDOUT: it is still open.
 */
int vu_wait_closed(int socket, int timeout_ms) CV_MUST_CHECK;

/* Name of a request, e.g. "SET_MEM_TABLE"; "request N is unknown" is "?". */
const char *vu_request_name(unsigned request);

#endif

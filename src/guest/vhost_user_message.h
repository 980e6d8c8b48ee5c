/*
 * The messages of vhost-user: numbers, layouts, and one table with a row for each that says what a
 * well-formed one looks like and who handles it. To support another message, give its row a
 * handler.
 *
 * All numbers are in the machine's byte order. Layouts have no padding of the compiler's.
 *
 * Source: "Vhost-user Protocol", QEMU documentation, docs/interop/vhost-user.
 */
#ifndef CONVOY_GUEST_VHOST_USER_MESSAGE_H
#define CONVOY_GUEST_VHOST_USER_MESSAGE_H

#include "base/error.h"
#include "guest/guest_memory.h"

enum vhost_user_request_number {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_CREATE_CRYPTO_SESSION = 26,
    VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_GPU_SET_SOCKET = 33,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_GET_SHARED_OBJECT = 41,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_REQUEST_END, /* one past the last that has a row */
};

/* Bits of GET_PROTOCOL_FEATURES. Only those that appear in the code. */
enum vhost_user_protocol_feature {
    VHOST_USER_PROTOCOL_F_MQ = 0,
    VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
    VHOST_USER_PROTOCOL_F_NET_MTU = 4,
    VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
    VHOST_USER_PROTOCOL_F_CONFIG = 9,
    VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
    VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
    VHOST_USER_PROTOCOL_F_STATUS = 16,
};
#define VHOST_USER_PROTOCOL_FEATURE(name) (UINT64_C(1) << VHOST_USER_PROTOCOL_F_##name)

/* Bits of a header's `flags`. */
enum {
    VHOST_USER_VERSION = 1,
    VHOST_USER_VERSION_MASK = 3,
    VHOST_USER_FLAG_REPLY = 1 << 2,
    VHOST_USER_FLAG_NEED_REPLY = 1 << 3,
};

/* The u64 of SET_VRING_KICK, CALL and ERR. */
enum {
    VHOST_USER_VRING_INDEX_MASK = 0xff,
    VHOST_USER_VRING_NO_FD = 1 << 8,
};

enum {
    VHOST_USER_FDS_MAX = 8,            /* descriptors of one message */
    VHOST_USER_TABLE_REGIONS_MAX = 8,  /* regions of one SET_MEM_TABLE */
    VHOST_USER_CONFIG_BYTES_MAX = 256, /* of a device's configuration space */
};

struct vhost_user_header {
    uint32_t request; /* enum vhost_user_request_number */
    uint32_t flags;
    uint32_t size; /* bytes of payload that follow */
};

struct vhost_user_vring_state {
    uint32_t index;
    uint32_t num;
};

struct vhost_user_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc_user_address;
    uint64_t used_user_address;
    uint64_t avail_user_address;
    uint64_t log_guest_address;
};

struct vhost_user_mem_table {
    uint32_t count;
    uint32_t padding;
    struct guest_region_request regions[VHOST_USER_TABLE_REGIONS_MAX];
};

struct vhost_user_mem_reg {
    uint64_t padding;
    struct guest_region_request region;
};

struct vhost_user_config {
    uint32_t offset;
    uint32_t size; /* bytes that are wanted, or that follow */
    uint32_t flags;
    uint8_t bytes[VHOST_USER_CONFIG_BYTES_MAX];
};

union vhost_user_payload {
    uint64_t u64;
    struct vhost_user_vring_state state;
    struct vhost_user_vring_addr addr;
    struct vhost_user_mem_table mem_table;
    struct vhost_user_mem_reg mem_reg;
    struct vhost_user_config config;
    uint8_t bytes[sizeof(struct vhost_user_config)];
};

static_assert(sizeof(struct vhost_user_header) == 12, "layout of the specification");
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "layout of the specification");
static_assert(sizeof(struct guest_region_request) == 32, "layout of the specification");
static_assert(sizeof(struct vhost_user_mem_table) == 8 + 8 * 32, "layout of the specification");
static_assert(sizeof(struct vhost_user_mem_reg) == 40, "layout of the specification");
static_assert(offsetof(struct vhost_user_config, bytes) == 12, "layout of the specification");

struct vhost_user_message_type;

/* A request that has been read whole; its sizes and numbers of descriptors fit its row. */
struct vhost_user_request {
    const struct vhost_user_message_type *type;
    struct vhost_user_header header;
    union vhost_user_payload payload; /* zero behind header.size bytes */
    unsigned fd_count;
    int fds[VHOST_USER_FDS_MAX]; /* a handler that keeps one puts -1 in its place; others are closed
                                  */
};

/* What a handler answers; zero when it is called. Sent only when the row says `replies`. */
struct vhost_user_reply {
    uint32_t size;
    union vhost_user_payload payload;
};

struct vhost_user_device;

/* A handler's answer to a request that it does not carry out although the session can go on. */
enum { VHOST_USER_REFUSED = 1 };

/*
 * 0: done. VHOST_USER_REFUSED: nothing was changed, *error says why. Negative errno: the front end
 * cannot be served any more, *error says why.
 */
typedef int vhost_user_handler(struct vhost_user_device *device, struct vhost_user_request *request,
                               struct vhost_user_reply *reply, struct error *error);

struct vhost_user_message_type {
    const char *name;
    uint16_t size_min, size_max; /* payload, bytes */
    uint8_t fds_max;             /* file descriptors */
    bool replies;                /* answers with a payload of its own, asked or not */
    const char *needs;           /* no handler: the feature that would have to be offered for it */
    vhost_user_handler *handle;  /* NULL: not supported */
};

/* The row of a request; one without a name stands for every number that has none. Never NULL. */
const struct vhost_user_message_type *vhost_user_message_type(uint32_t request);

/* "SET_FEATURES", or "request 77": in the caller's buffer. */
const char *vhost_user_message_name(uint32_t request, char *buffer, size_t buffer_bytes);

#endif

/*
 * A guest for tests: the front end's side of vhost-user with its memory and rings, all in this
 * process. It can be an honest and fast guest, or do any of its steps wrongly: every step of
 * front_end_open is a function of its own, and vu_send and front_ring.h send and write anything.
 *
 * Every wait has a time limit (options.timeout_ms). One thread uses a front end, except that
 * different rings of it may be used by different threads once it is open.
 *
 * Source: "Vhost-user Protocol", QEMU documentation; virtio 1.2, 5.1.
 */
#ifndef CONVOY_FRONT_END_H
#define CONVOY_FRONT_END_H

#include "front_ring.h"
#include "vu_message.h"

enum { FRONT_PAIRS_MAX = 8, FRONT_RINGS_MAX = 2 * FRONT_PAIRS_MAX };

struct front_end_options {
    const char *socket;         /* path */
    bool listen;                /* wait for the back end to connect */
    int timeout_ms;             /* of each wait; default 5000 */
    uint64_t features;          /* virtio features wanted; what is also offered is acknowledged */
    uint64_t features_forced;   /* acknowledged whether offered or not */
    uint64_t protocol_features; /* vhost-user protocol features wanted */
    unsigned pairs;             /* queue pairs; default 1 */
    unsigned size;              /* entries of each ring; default 256 */
    uint32_t
        receive_bytes; /* receive buffers; default by features: 2048, or 65 KiB for super-packets */
    uint32_t transmit_bytes; /* room for frames to send; default 2048 */
    unsigned region_count;   /* memory regions; 0: one, as large as needed */
    struct guest_ram_layout regions[GUEST_RAM_REGIONS_MAX];
    bool sealed; /* memory files cannot shrink */
};

struct front_end {
    struct front_end_options options;
    int listener;                                 /* listening socket, -1: none */
    int socket;                                   /* connected, -1: not */
    uint64_t offered, features;                   /* virtio */
    uint64_t protocol_offered, protocol_features; /* vhost-user */
    uint64_t queue_pairs_max;                     /* GET_QUEUE_NUM; 1 without MQ */
    size_t hdr_bytes;                             /* of the virtio-net header */
    struct guest_ram ram;
    unsigned ring_count;
    struct front_ring rings[FRONT_RINGS_MAX]; /* even: receiveq, odd: transmitq */
    struct error error;                       /* of the step that failed last */
};

/* Features of the kinds of guest that tests usually want. */
extern const uint64_t front_features_plain; /* VERSION_1 and nothing else */
extern const uint64_t front_features_linux; /* what Linux's driver takes of what can be offered */
extern const uint64_t front_protocol_features; /* all that this front end understands */

/* --- an honest life --- */

/*
 * Connects, negotiates, passes the memory, starts and enables every ring and posts all receive
 * buffers. On failure everything is closed again; fe->error tells. Negative errno.
 */
int front_end_open(struct front_end *fe, const struct front_end_options *options) CV_MUST_CHECK;

/* Stops the rings (GET_VRING_BASE) when the back end still answers, and gives all back. */
void front_end_close(struct front_end *fe);

/* As if the VMM had been killed: the socket closes, nothing is said. Rings and memory stay. */
void front_end_disconnect(struct front_end *fe);

/*
 * Connects again with the memory and rings as they are, each ring's base being its used index, as a
 * VMM does after the back end or the connection was lost.
 */
int front_end_reconnect(struct front_end *fe) CV_MUST_CHECK;

static inline struct front_ring *front_end_receiveq(struct front_end *fe, unsigned pair)
{
    return &fe->rings[2 * pair];
}

static inline struct front_ring *front_end_transmitq(struct front_end *fe, unsigned pair)
{
    return &fe->rings[2 * pair + 1];
}

/* Sends one frame, waiting for room. -ETIMEDOUT. */
int front_end_send(struct front_end *fe, unsigned pair, const struct virtio_net_hdr *hdr,
                   const void *frame, size_t len) CV_MUST_CHECK;

/* Waits until the device has given back every frame that was sent. -ETIMEDOUT. */
int front_end_flush(struct front_end *fe, unsigned pair) CV_MUST_CHECK;

/* Waits for one frame and copies up to `room` bytes of it; its length is *ret_len. -ETIMEDOUT. */
int front_end_wait_frame(struct front_end *fe, unsigned pair, struct virtio_net_hdr *ret_hdr,
                         void *bytes, size_t room, size_t *ret_len) CV_MUST_CHECK;

/*
 * Sleeps until the ring has something used: asks for a call, waits for the eventfd. False: nothing
 * came within `timeout_ms`.
 */
bool front_end_wait_call(struct front_ring *ring, int timeout_ms);

/* --- the steps, each usable alone --- */

/* An empty front end with these options: nothing is open. */
void front_end_init(struct front_end *fe, const struct front_end_options *options);
/* options.listen: makes the listening socket (an old file is removed), so that the switch can
 * connect. */
int front_end_listen(struct front_end *fe) CV_MUST_CHECK;
/* Connects, trying again until the time limit while nobody listens; or accepts. */
int front_end_connect(struct front_end *fe) CV_MUST_CHECK;
/* GET_FEATURES, protocol features, SET_OWNER, SET_FEATURES, status FEATURES_OK. */
int front_end_negotiate(struct front_end *fe) CV_MUST_CHECK;
/* SET_STATUS where it was agreed: FEATURES_OK and what precedes it, plus `bits`. */
int front_end_set_status(struct front_end *fe, unsigned bits) CV_MUST_CHECK;
/* Allocates memory and rings to suit what was negotiated. */
int front_end_allocate(struct front_end *fe) CV_MUST_CHECK;
/* SET_MEM_TABLE, or ADD_MEM_REG for each region where CONFIGURE_MEM_SLOTS was agreed. */
int front_end_share_memory(struct front_end *fe) CV_MUST_CHECK;
/* SET_VRING_NUM, ADDR, BASE, CALL, KICK; then SET_VRING_ENABLE where protocol features exist. */
int front_end_start_ring(struct front_end *fe, unsigned index) CV_MUST_CHECK;
/* GET_VRING_BASE; *ret_base is the available index that the back end would take next. */
int front_end_stop_ring(struct front_end *fe, unsigned index, uint32_t *ret_base) CV_MUST_CHECK;
int front_end_enable_ring(struct front_end *fe, unsigned index, bool enable) CV_MUST_CHECK;

/* --- messages --- */

/*
 * Sends a request and, where REPLY_ACK was agreed, waits for its acknowledgement. -EREMOTEIO: the
 * back end answered with failure.
 */
int front_end_tell(struct front_end *fe, enum vu_request request, const void *payload, size_t len,
                   const int *fds, unsigned fd_count) CV_MUST_CHECK;
int front_end_tell_u64(struct front_end *fe, enum vu_request request, uint64_t value) CV_MUST_CHECK;
int front_end_tell_state(struct front_end *fe, enum vu_request request, uint32_t index,
                         uint32_t num) CV_MUST_CHECK;
/* Sends a request that has a reply of its own, and waits for it. */
int front_end_ask(struct front_end *fe, enum vu_request request, const void *payload, size_t len,
                  struct vu_message *ret_reply) CV_MUST_CHECK;
int front_end_ask_u64(struct front_end *fe, enum vu_request request,
                      uint64_t *ret_value) CV_MUST_CHECK;
/* Returns when the back end has handled all messages before. */
int front_end_sync(struct front_end *fe) CV_MUST_CHECK;
/* The MAC address in the device's configuration space (GET_CONFIG). */
int front_end_ask_mac(struct front_end *fe, uint8_t ret_mac[6]) CV_MUST_CHECK;

#endif

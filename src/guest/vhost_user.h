/*
 * The control side of the vhost-user channel: one session is one connected front end (a VMM). It
 * reads messages from the socket, checks every one of them, keeps what the front end has set up,
 * and tells its owner (the port) when queues must be let go and when they may run.
 *
 * How it works: the owner feeds it whenever the socket is readable. Before anything that a worker
 * might be using is changed (memory, ring addresses, a file descriptor, enablement), the session
 * calls `pause`, which returns when no worker touches the device any more; then it changes its
 * state, calls `resume`, and only then answers. Whatever a front end sends that the specification
 * does not allow ends the session with a sentence in the log; it never ends the daemon.
 *
 * Source: "Vhost-user Protocol", QEMU documentation, docs/interop/vhost-user. Thread: control.
 */
#ifndef CONVOY_GUEST_VHOST_USER_H
#define CONVOY_GUEST_VHOST_USER_H

#include "base/error.h"
#include "base/limits.h"
#include "guest/guest_memory.h"
#include "wire/frame_parse.h"

/* Queues (rings) of a device: a pair has a receiveq (even index, to the guest) and a transmitq
 * (odd). */
enum { VHOST_USER_VRINGS_MAX = 2 * PORT_QUEUE_PAIRS_MAX };

/* One ring as the front end has set it up. */
struct vhost_user_vring {
    uint32_t size; /* entries, a power of two up to VIRTQ_SIZE_MAX; 0: not set */
    uint64_t desc_user_address, avail_user_address, used_user_address; /* front end's virtual */
    bool has_addresses;
    bool mapped;   /* all three parts lie, aligned, in the memory as it is now */
    uint16_t base; /* next available index to take; kept up to date by the owner's pause */
    int kick_fd;   /* eventfd, non-blocking; -1: none */
    int call_fd;   /* eventfd, pipe or socket, non-blocking; -1: none, the guest polls */
    bool started;  /* between SET_VRING_KICK and GET_VRING_BASE */
    bool enabled;  /* SET_VRING_ENABLE; always true without protocol features */
};

/* What the port offers. */
struct vhost_user_offer {
    uint64_t features; /* virtio feature bits, VHOST_USER_F_PROTOCOL_FEATURES included */
    unsigned queue_pairs;
    mac_addr mac; /* told through GET_CONFIG */
    uint16_t mtu;
};

struct vhost_user_session;

struct vhost_user_owner_ops {
    /*
     * On return no worker uses memory, rings or descriptors of the session, and `base` of each ring
     * is current. Called at most once per message, and only when a ring is ready; the last one
     * before the end of a session is not followed by a resume.
     */
    void (*pause)(void *owner);
    /*
     * The session's state is consistent again: run whatever rings are ready, from `base` on. Also
     * called without a pause before, when a message has made the first ring ready.
     *
     * A ring that is ready but disabled has its transmitq emptied and thrown away when the guest
     * kicks, and nothing else: some front ends leave rings disabled for good and reuse their
     * memory.
     */
    void (*resume)(void *owner);
};

/*
 * Takes over a connected, non-blocking stream socket. `name` (of the port) is for log lines and
 * must outlive the session. NULL when memory is short (the socket is then closed).
 */
struct vhost_user_session *vhost_user_session_new(int socket, const char *name,
                                                  const struct vhost_user_offer *offer,
                                                  const struct vhost_user_owner_ops *ops,
                                                  void *owner);

/* Calls `pause` if rings may be running, closes every descriptor, unmaps the memory. */
void vhost_user_session_free(struct vhost_user_session *session);

/*
 * Handles what can be read now, a bounded number of messages. 0: go on; -ECONNRESET: the front end
 * has gone, which is normal; any other negative errno: it broke the protocol, *error says how.
 */
int vhost_user_session_read(struct vhost_user_session *session, struct error *error) CV_MUST_CHECK;

/* The features both sides have agreed on (SET_FEATURES masked by the offer). */
uint64_t vhost_user_session_features(const struct vhost_user_session *session);
const struct guest_memory *vhost_user_session_memory(const struct vhost_user_session *session);
unsigned vhost_user_session_vring_count(const struct vhost_user_session *session);
/* The owner may write `base` in its pause; everything else is the session's. */
struct vhost_user_vring *vhost_user_session_vring(struct vhost_user_session *session,
                                                  unsigned index);
/*
 * True when a ring has all it needs to run: started, sized, and addressed within the memory. (May
 * still be disabled.) Memory that goes takes readiness away, memory that comes gives it back.
 */
bool vhost_user_vring_is_ready(const struct vhost_user_vring *vring);

/* Names of agreed virtio features, comma separated, in the caller's buffer. For people. */
const char *vhost_user_features_format(uint64_t features, char *buffer, size_t buffer_bytes);

/* Feature bits (virtio 1.2, 5.1.3 and 6; vhost-user protocol). */
enum virtio_feature {
    VIRTIO_NET_F_CSUM = 0,
    VIRTIO_NET_F_GUEST_CSUM = 1,
    VIRTIO_NET_F_MTU = 3,
    VIRTIO_NET_F_MAC = 5,
    VIRTIO_NET_F_GUEST_TSO4 = 7,
    VIRTIO_NET_F_GUEST_TSO6 = 8,
    VIRTIO_NET_F_GUEST_ECN = 9,
    VIRTIO_NET_F_HOST_TSO4 = 11,
    VIRTIO_NET_F_HOST_TSO6 = 12,
    VIRTIO_NET_F_HOST_ECN = 13,
    VIRTIO_NET_F_MRG_RXBUF = 15,
    VIRTIO_NET_F_STATUS = 16,
    VIRTIO_NET_F_CTRL_VQ = 17,
    VIRTIO_NET_F_MQ = 22,
    VIRTIO_F_ANY_LAYOUT = 27,
    VIRTIO_RING_F_INDIRECT_DESC = 28,
    VIRTIO_RING_F_EVENT_IDX = 29,
    VHOST_USER_F_PROTOCOL_FEATURES = 30,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_IN_ORDER = 35,
    VIRTIO_NET_F_GUEST_USO4 = 54,
    VIRTIO_NET_F_GUEST_USO6 = 55,
    VIRTIO_NET_F_HOST_USO = 56,
};
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))

#endif

/*
 * A queue pair of a vhost-user port: the guest's transmitq that we read (vhost_from_guest.c) and
 * its receiveq that we fill (vhost_to_guest.c). The control side is in port_vhost.c.
 *
 * Thread: while attached, the worker's; between detach and attach, the control thread's.
 */
#ifndef CONVOY_PORT_VHOST_QUEUE_H
#define CONVOY_PORT_VHOST_QUEUE_H

#include "convoy/segment.h"
#include "guest/virtqueue.h"
#include "port/port.h"

/* A chain that was taken from the transmitq and not given back yet. */
struct vhost_outstanding {
    uint16_t head;
    bool is_done; /* its frame has been given back, it only waits for those before it */
};

struct vhost_queue {
    struct port_queue base;
    size_t hdr_bytes; /* virtio-net header on the rings: 12, or 10 for legacy guests */
    bool mergeable;   /* VIRTIO_NET_F_MRG_RXBUF agreed */
    bool discard;     /* the transmitq runs but is disabled: take frames and drop them */

    struct virtq from_guest;               /* transmitq */
    struct vhost_outstanding *outstanding; /* ring of from_guest.size entries */
    uint32_t oldest, newest;               /* free running: outstanding[oldest .. newest) */
    uint32_t done_count;                   /* those of them that are done */

    struct virtq to_guest;       /* receiveq */
    bool is_short;               /* the frame at the front did not fit ... */
    uint32_t too_big_len;        /* a frame of so many bytes was too big, 0: none was ... */
    uint16_t too_big_avail_seen; /* ... with the available index being this */
    uint16_t short_avail_seen;   /* ... with the available index being this */
    struct segmenter segmenter;  /* a super-packet that is being cut ... */
    struct segment segment;      /* ... and the segment that did not fit yet */
    bool is_cutting;
    bool owes_calls; /* the guest may have missed a call before we had the descriptors: call once */

    enum guest_fault fault; /* why the worker stopped serving it; read by the control thread */
    int fault_fd;           /* eventfd of the port; tells the control thread */
};

/* The guest broke the protocol: nothing moves until the control thread has stopped the port. */
void vhost_queue_fail(struct vhost_queue *queue, enum guest_fault fault);

unsigned vhost_receive(struct port_queue *base, struct frame_pool *pool, struct frame **ret_frames,
                       unsigned max);
void vhost_give_back(struct port_queue *base, struct frame *const *frames, unsigned count);
bool vhost_settle(struct port_queue *base);
void vhost_announce_back(struct port_queue *base);
bool vhost_arm_from(struct port_queue *base, unsigned packets);
void vhost_disarm_from(struct port_queue *base);

unsigned vhost_deliver(struct port_queue *base, struct frame *const *frames, unsigned count);
bool vhost_announce(struct port_queue *base, bool always);
bool vhost_has_answered(struct port_queue *base);
bool vhost_arm_to(struct port_queue *base);
void vhost_forget_front(struct port_queue *base);

static inline struct vhost_queue *vhost_queue_of(struct port_queue *queue)
{
    return CV_CONTAINER_OF(queue, struct vhost_queue, base);
}

static inline bool vhost_queue_has_failed(const struct vhost_queue *queue)
{
    return queue->fault != GUEST_FAULT_NONE;
}

/* Calls the guest for a ring of the queue and counts it. */
static inline void vhost_queue_call(struct vhost_queue *queue, const struct virtq *virtq,
                                    uint64_t *counter)
{
    if (virtq->call_fd < 0)
        return;
    counter_add(counter, 1);
    if (CV_UNLIKELY(!virtq_call(virtq)))
        vhost_queue_fail(queue, GUEST_FAULT_CALL_BLOCKED);
}

/* True, and the queue failed, when the file behind the guest's memory has been cut short. */
bool vhost_queue_lost_memory(struct vhost_queue *queue);

#endif

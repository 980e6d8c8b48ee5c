/*
 * What a front end has set up, and the handlers that change it: the part of a session that knows
 * nothing of sockets. Internal to vhost_user_*.c; owners use vhost_user.h.
 *
 * Every handler checks its whole message first, then says device_change_begin, changes, and leaves
 * the rest to the session, which says device_change_end once per message. So a refused message
 * changes nothing and costs the workers nothing.
 */
#ifndef CONVOY_GUEST_VHOST_USER_DEVICE_H
#define CONVOY_GUEST_VHOST_USER_DEVICE_H

#include "guest/vhost_user.h"
#include "guest/vhost_user_message.h"

struct vhost_user_device {
    const char *name; /* the port's, for log lines; the owner's */
    struct vhost_user_offer offer;
    const struct vhost_user_owner_ops *ops;
    void *owner;
    uint64_t features;          /* agreed */
    uint64_t protocol_features; /* agreed */
    uint64_t enable_mask;       /* rings for which SET_VRING_ENABLE 1 was the last word */
    int backend_req_fd;         /* for requests of ours, none of which exists yet; -1: none */
    uint8_t status;             /* virtio device status, as the front end last set it */
    bool changing;              /* between change_begin and change_end */
    bool paused;                /* the owner's pause has been called in this change */
    bool has_paused; /* a message has made the owner pause since the session looked last */
    uint8_t config[VHOST_USER_CONFIG_BYTES_MAX]; /* device configuration space */
    struct guest_memory memory;
    unsigned vring_count;
    struct vhost_user_vring vrings[VHOST_USER_VRINGS_MAX];
};

void vhost_user_device_init(struct vhost_user_device *device, const char *name,
                            const struct vhost_user_offer *offer,
                            const struct vhost_user_owner_ops *ops, void *owner);

/* Pauses the owner if rings may be running, closes every descriptor, unmaps the memory. */
void vhost_user_device_uninit(struct vhost_user_device *device);

/* Ends the change that the handlers of one message may have begun: the owner is told to go on. */
void vhost_user_device_change_end(struct vhost_user_device *device);

bool vhost_user_device_has_reply_ack(const struct vhost_user_device *device);

vhost_user_handler vhost_user_get_features, vhost_user_set_features, vhost_user_set_owner,
    vhost_user_reset_owner, vhost_user_get_protocol_features, vhost_user_set_protocol_features,
    vhost_user_get_queue_num, vhost_user_net_set_mtu, vhost_user_send_rarp, vhost_user_get_config,
    vhost_user_set_config, vhost_user_reset_device, vhost_user_set_status, vhost_user_get_status,
    vhost_user_set_backend_req_fd;

/* vhost_user_memory.c */
vhost_user_handler vhost_user_set_mem_table, vhost_user_get_max_mem_slots, vhost_user_add_mem_reg,
    vhost_user_rem_mem_reg;

/* vhost_user_vring.c */
vhost_user_handler vhost_user_set_vring_num, vhost_user_set_vring_addr, vhost_user_set_vring_base,
    vhost_user_get_vring_base, vhost_user_set_vring_kick, vhost_user_set_vring_call,
    vhost_user_set_vring_err, vhost_user_set_vring_enable;

/* For the handlers: from here on memory, rings and descriptors may be changed. */
void vhost_user_device_change_begin(struct vhost_user_device *device);

/* Sets each ring's `enabled` from the features and what SET_VRING_ENABLE has said. */
void vhost_user_device_update_enabled(struct vhost_user_device *device);

/* Closes what *fd holds, if anything, and puts `new_fd` there. */
void vhost_user_fd_replace(int *fd, int new_fd);

void vhost_user_vring_init(struct vhost_user_vring *vring);

/* Closes the ring's descriptors and forgets all that was set up. */
void vhost_user_vring_reset(struct vhost_user_vring *vring);

/* The ring takes no part any more until the next SET_VRING_KICK. */
void vhost_user_vring_stop(struct vhost_user_vring *vring);

/* Notes whether the ring lies in the memory as it is now. */
void vhost_user_vring_update_mapped(struct vhost_user_vring *vring,
                                    const struct guest_memory *memory);

#endif

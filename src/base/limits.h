/*
 * Every table's limit, in one place. Exceeding one is answered, never undefined: an operator gets a
 * sentence, a guest loses its port, a packet is dropped with a reason.
 */
#ifndef CONVOY_BASE_LIMITS_H
#define CONVOY_BASE_LIMITS_H

enum {
    PORTS_MAX = 256,           /* ports of one switch, uplinks included */
    PORT_NAME_BYTES_MAX = 32,  /* a port's name with its terminating NUL */
    PORT_QUEUE_PAIRS_MAX = 8,  /* queue pairs of one port */
    WORKERS_MAX = 8,           /* worker threads */
    BURST_FRAMES_MAX = 64,     /* frames taken from one queue at a time */
    CONVOY_FRAMES_MAX = 512,   /* frames that may wait for one destination queue, per worker */
    FRAME_BYTES_MAX = 65535 + 18, /* largest frame: a 64 KiB super-packet with Ethernet and one VLAN tag */
    FRAME_HEAD_BYTES_MAX = 192,   /* private snapshot: Ethernet, two VLAN tags, IPv6, TCP with options */
    FRAME_PIECES_MAX = 20,        /* places a frame's payload may lie in before it is linearised */
    WORKER_FRAMES_MAX = 4096,     /* frames that one worker has in hand */
    VIRTQ_SIZE_MAX = 32768,       /* virtio 1.2, 2.7: largest split ring */
    VIRTQ_CHAIN_PIECES_MAX = 1024, /* pieces of one descriptor chain */
    GUEST_REGIONS_MAX = 64,        /* memory regions of one guest */
};

#endif

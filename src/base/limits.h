/*
 * Every table's limit, in one place. Exceeding one is answered, never undefined: an operator gets a
 * sentence, a guest loses its port, a packet is dropped with a reason.
 */
#ifndef CONVOY_BASE_LIMITS_H
#define CONVOY_BASE_LIMITS_H

enum {
    PORTS_MAX = 256,              /* ports of one switch, uplinks included */
    PORT_NAME_BYTES_MAX = 32,     /* a port's name with its terminating NUL */
    PORT_QUEUE_PAIRS_MAX = 8,     /* queue pairs of one port */
    WORKERS_MAX = 8,              /* worker threads */
    BURST_BYTES_MAX = 256 * 1024, /* ... and their bytes: what delivering a burst may cost others */
    BURST_FRAMES_MAX = 192,       /* frames taken from one queue at a time */
    CONVOY_FRAMES_MAX = 256,      /* frames that may wait for one destination queue, per worker */
    CONVOY_FLOODED_MAX = 64,      /* of those, that wait for other ports too */
    FRAME_BYTES_MAX =
        65535 + 18, /* largest frame: a 64 KiB super-packet with Ethernet and one VLAN tag */
    FRAME_HEAD_BYTES_MAX =
        192,               /* private snapshot: Ethernet, two VLAN tags, IPv6, TCP with options */
    FRAME_PIECES_MAX = 20, /* places a frame's payload may lie in before it is linearised */
    WORKER_FRAMES_MAX = 16384, /* frames that one worker has in hand */
    FRAME_BUFFERS_MAX = 128,   /* private buffers of one worker, for payload that cannot stay put */
    FRAME_SMALL_BUFFERS_MAX = 1024,   /* ... and small ones, which a packet of 1500 bytes fits */
    FRAME_SMALL_BUFFER_BYTES = 2048,  /* one of those */
    FRAME_BUFFER_BYTES = 65792,       /* one of them: FRAME_BYTES_MAX, in whole cache lines */
    VIRTQ_SIZE_MAX = 32768,           /* virtio 1.2, 2.7: largest split ring */
    VIRTQ_CHAIN_PIECES_MAX = 1024,    /* pieces of one descriptor chain */
    BRIDGE_ENTRIES_MAX = 131072,      /* slots of the address table; with times and links 3 MiB */
    BRIDGE_PORT_ENTRIES_MAX = 8192,   /* largest limit of learnt addresses for one port */
    BRIDGE_STATIC_ENTRIES_MAX = 4096, /* addresses bound by the operator */
    GUEST_REGIONS_MAX = 64,           /* memory regions of one guest */
};

#endif

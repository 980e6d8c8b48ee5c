/*
 * A port without a channel: a test says what arrives, how much room there is and when the machine
 * behind it looks, and everything that the switch does with the port is judged at once:
 *
 *   - every frame is given back exactly once, is not delivered afterwards, reaches the ports that
 *     it was for, and arrives in order (fake_judge.c);
 *   - merged frames are rows of consecutive segments, and only what may be merged is;
 *   - the port is told of what it was given, and of buffers that it can have back, before it is
 *     detached; how late is for the test to judge (struct fake_news).
 *
 * All fake ports of a test are driven by one thread, however many workers they belong to.
 */
#ifndef CONVOY_TESTS_LIB_FAKE_PORT_H
#define CONVOY_TESTS_LIB_FAKE_PORT_H

#include "port/port.h"

enum {
    FAKE_RING_FRAMES = 256, /* frames of one queue that the switch may have in hand */
    FAKE_QUEUES_MAX = 64,   /* queue pairs of all fake ports of a test */
    FAKE_FLOWS_MAX = 24,    /* flows from one queue: one for each destination address */
    FAKE_FRAME_BYTES_MIN = 60,
    FAKE_SEGMENT_BYTES_MIN = 70, /* of TCP: its headers and the mark */
};

/* A frame that will arrive. */
struct fake_arrival {
    mac_addr dst;
    uint32_t len;        /* at least FAKE_FRAME_BYTES_MIN, or FAKE_SEGMENT_BYTES_MIN */
    bool is_express;     /* ARP; of TCP: PSH is set; of UDP: to a DHCP server */
    bool is_private;     /* its payload lies in a buffer of the frame pool, if one is left */
    bool is_wrong;       /* shorter than an Ethernet header */
    bool is_segment;     /* TCP, the next of the flow from this queue to `dst` ... */
    bool is_misplaced;   /* ... or one with a sequence number from elsewhere */
    bool is_datagram;    /* UDP without a checksum, of the flow from this port to `dst` ... */
    bool is_refused;     /* ... that asks for an offload which does not fit it */
    uint64_t arrived_ns; /* set by fake_queue_arrive */
};

/* A frame that the switch has taken. */
struct fake_slot {
    bool is_taken, is_done;
    uint64_t number; /* counts up per queue */
    uint64_t taken_ns;
    uint32_t len;
    unsigned flow; /* 0: of none; else 1 + its place among the queue's flows */
    mac_addr dst;
    uint64_t delivered_to[PORTS_MAX / 64]; /* set of ports */
};

/* TCP from one queue to one address. */
struct fake_flow {
    mac_addr dst;
    uint32_t sequence; /* of its next segment */
    uint16_t ip_id;
};

/* What the port was given, or can have back, and was not told of. */
struct fake_news {
    unsigned packets; /* 0: it knows all */
    uint64_t bytes;
    uint64_t since_ns; /* when the first of them became visible */
    uint64_t last_ns;  /* and the last */
    bool is_urgent;    /* one of them never waits, or the port has run short of room */
};

struct fake_queue {
    struct port_queue base;
    unsigned id;     /* among all queues of the test */
    bool is_running; /* between attach and detach: only then may it be used */
    bool is_paused;  /* to be detached: nothing may be taken or delivered any more */

    struct fake_arrival arrivals[FAKE_RING_FRAMES];
    unsigned arrival_first, arrival_count; /* not taken yet */
    struct fake_slot slots[FAKE_RING_FRAMES];
    struct fake_flow flows[FAKE_FLOWS_MAX];
    unsigned flow_count;
    uint32_t oldest, newest; /* free running: taken and not settled */
    unsigned done_count;     /* of those, given back */
    uint64_t taken;          /* frames, ever */
    uint64_t copies;         /* that they should become: see fake_port's copies_of */
    uint64_t settles;
    struct fake_news back; /* buffers that it can have back */
    uint64_t back_tells;   /* times it was told of some */
    unsigned last_back;    /* frames that the last of them told of */

    /* Its kicks, by event index. */
    unsigned asked_for;  /* it was asked for a kick for so many frames; 0: for none */
    uint64_t kick_event; /* it kicks when it announces the frame with this number */
    uint64_t kicks;
    uint64_t longest_wait_ns; /* of a frame, from its announcement until it was taken */

    unsigned room;             /* frames that it can be given now */
    bool wants_room;           /* it was asked for a kick when there is some */
    const struct frame *front; /* did not fit the last time; NULL: none or forgotten */
    unsigned front_merged;     /* frames that were merged into it then */
    bool takes_parts; /* of a frame that does not fit a part is delivered, as of super-packets */
    bool has_part;    /* ... of which it was not told */
    uint64_t next_number[FAKE_QUEUES_MAX]; /* by source queue: lowest number that is in order ... */
    uint64_t next_of_flow[FAKE_QUEUES_MAX][FAKE_FLOWS_MAX + 1]; /* ... and by flow */
    uint64_t no_rows_since_ns; /* frames taken later must not be merged; UINT64_MAX: any may */
    uint64_t delivered;        /* frames, ever, as they arrived ... */
    uint64_t merged;           /* ... those of them that were part of another ... */
    uint64_t across_bursts;    /* ... which had come with an earlier burst */
    uint64_t deliveries;       /* groups of them */
    unsigned last_group;       /* frames of the last group, rows as one */
    struct fake_news news;     /* of frames delivered */
    uint64_t tells;            /* times it was told of some */
    unsigned last_told;        /* frames that the last of them told of */

    /* Its calls, by event index. */
    uint64_t shown, asked; /* frames visible to it; of these, when it was last told */
    uint64_t call_event;   /* it wants to be called when more than so many are visible */
    uint64_t calls;
};

struct fake_port {
    struct port base;
    /* How many convoys a frame for this address should be in now, drops included; NULL: one. */
    uint64_t (*copies_of)(void *context, const struct fake_queue *from, mac_addr dst);
    /* Whether frames for this address reach the port; NULL: its own, and those to groups. */
    bool (*takes)(void *context, const struct fake_port *port, mac_addr dst);
    void *context;
    struct fake_queue queues[PORT_QUEUE_PAIRS_MAX];
};

/* What a broken rule calls, with a sentence. It does not return. */
extern void (*fake_port_fail)(const char *sentence);

/* The moment, which the test moves, and what deliveries and calls have taken since. */
extern uint64_t fake_port_now_ns, fake_port_spent_ns;

/* What they take; nothing by default. */
struct fake_costs {
    uint64_t delivery_ns, packet_ns, call_ns;
};
extern struct fake_costs fake_port_costs;

/* Prepares a port; `first_queue_id` and those behind it name its queues. */
void fake_port_init(struct fake_port *port, const struct port_config *config, unsigned id,
                    unsigned first_queue_id);
void fake_port_uninit(struct fake_port *port);

/* The address of the machine behind a port. */
static inline mac_addr fake_port_mac(unsigned port_id)
{
    return UINT64_C(0x520000000000) + port_id;
}

static inline struct fake_queue *fake_queue_of(struct port_queue *queue)
{
    return CV_CONTAINER_OF(queue, struct fake_queue, base);
}

/* --- what the machine does --- */

/* Frames that may still be announced before the switch gives some back. */
unsigned fake_queue_free(const struct fake_queue *queue);
/* Announces a frame; there must be one free. Kicks if it was asked to. */
void fake_queue_arrive(struct fake_queue *queue, const struct fake_arrival *arrival);
/* Announces `count` datagrams in frames of 60 bytes for the machine behind a port. */
void fake_queue_arrive_for(struct fake_queue *queue, unsigned port_id, unsigned count);
/* Announces `count` segments of `len` bytes of the flow to the machine behind a port. */
void fake_queue_segments_for(struct fake_queue *queue, unsigned port_id, unsigned count,
                             uint32_t len);
/* Posts room for `count` frames more. Kicks if it was asked to. */
void fake_queue_add_room(struct fake_queue *queue, unsigned count);
/* Takes all that is visible; then it wants to be called for more, or it goes on polling. */
void fake_queue_look(struct fake_queue *queue, bool goes_on);

/* --- what the control side does --- */

/* The queue was attached, or is detached: then all its frames must be back, and all is told. */
void fake_port_set_running(struct fake_port *port, bool is_running);
/* All workers have paused the port. */
void fake_port_set_paused(struct fake_port *port);
/* The receiver's offloads or the owner's wish to merge may have changed. */
void fake_port_note_merging(struct fake_port *port);
/* Another port has taken the place of one whose queue had this id: its numbers start anew. */
void fake_port_forget_source(struct fake_port *port, unsigned queue_id);

#endif

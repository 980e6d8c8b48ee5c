/*
 * A port without a channel: a test says what arrives and how much room there is, and everything
 * that the switch does with it is judged at once: every frame is given back exactly once, is not
 * delivered afterwards, reaches the ports that it was for, and arrives in order.
 *
 * All fake ports of a test are driven by one thread, however many workers they belong to.
 */
#ifndef CONVOY_TESTS_LIB_FAKE_PORT_H
#define CONVOY_TESTS_LIB_FAKE_PORT_H

#include "port/port.h"

enum {
    FAKE_RING_FRAMES = 256, /* frames of one queue that the switch may have in hand */
    FAKE_QUEUES_MAX = 64,   /* queue pairs of all fake ports of a test */
};

/* A frame that will arrive. */
struct fake_arrival {
    mac_addr dst;
    uint32_t len;    /* at least 60 */
    bool is_express; /* ARP */
    bool is_private; /* its payload lies in a buffer of the frame pool, if there is one */
    bool is_wrong;   /* shorter than an Ethernet header */
};

/* A frame that the switch has taken. */
struct fake_slot {
    bool is_taken, is_done;
    uint64_t number; /* counts up per queue */
    mac_addr dst;
    uint64_t delivered_to[PORTS_MAX / 64]; /* set of ports */
};

struct fake_queue {
    struct port_queue base;
    unsigned id;     /* among all queues of the test */
    bool is_running; /* between attach and detach: only then may it be used */

    struct fake_arrival arrivals[FAKE_RING_FRAMES];
    unsigned arrival_first, arrival_count; /* not taken yet */
    struct fake_slot slots[FAKE_RING_FRAMES];
    uint32_t oldest, newest; /* free running: taken and not settled */
    unsigned done_count;     /* of those, given back */
    uint64_t taken;          /* frames, ever */
    uint64_t copies;         /* that they should become: see fake_port's copies_of */

    unsigned room;                         /* frames that it can be given now */
    const struct frame *front;             /* did not fit the last time; NULL: none or forgotten */
    uint64_t next_number[FAKE_QUEUES_MAX]; /* by source queue: lowest number that is in order */
    uint64_t delivered;                    /* frames, ever */
    uint64_t deliveries;                   /* groups of them */
    unsigned last_group;                   /* frames of the last group */
    uint64_t notifications;
    unsigned untold;             /* frames delivered since the last of them */
    unsigned last_told;          /* frames that the last of them told of */
    uint64_t back_notifications; /* that frames were given back */
    uint64_t settles;
};

struct fake_port {
    struct port base;
    /* How many convoys a frame for this address should be in now, drops included; NULL: one. */
    uint64_t (*copies_of)(void *context, const struct fake_queue *from, mac_addr dst);
    void *context;
    struct fake_queue queues[PORT_QUEUE_PAIRS_MAX];
};

/* What a broken rule calls, with a sentence. It does not return. */
extern void (*fake_port_fail)(const char *sentence);

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

/* Frames that may still be announced before the switch gives some back. */
unsigned fake_queue_free(const struct fake_queue *queue);
/* Announces a frame; there must be one free. */
void fake_queue_arrive(struct fake_queue *queue, const struct fake_arrival *arrival);
/* Announces `count` frames of 60 bytes for the machine behind a port. */
void fake_queue_arrive_for(struct fake_queue *queue, unsigned port_id, unsigned count);
/* The queue was attached, or is detached: then all its frames must be back. */
void fake_port_set_running(struct fake_port *port, bool is_running);

#endif

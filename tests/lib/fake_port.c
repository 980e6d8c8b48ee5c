#include "fake_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/bytes.h"

enum {
    ETHERTYPE_TEST = 0x88b5, /* IEEE 802: local experiments */
    ETHERTYPE_EXPRESS = 0x0806,
    FRAME_BYTES = 60,
    MARK_OFFSET = 16, /* of the frame's mark: queue, number */
};

/* Queues by their ids, so that a receiver can look at the sender's side. */
static struct fake_queue *fake_queues[FAKE_QUEUES_MAX];

static void fail_by_default(const char *sentence)
{
    fprintf(stderr, "fake port: %s\n", sentence);
    abort();
}

void (*fake_port_fail)(const char *sentence) = fail_by_default;

#define RULE(condition, sentence)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fake_port_fail(sentence);                                                              \
    } while (0)

/* --- from the port --- */

static void head_write(struct frame *frame, const struct fake_queue *queue,
                       const struct fake_arrival *arrival, uint64_t number)
{
    uint8_t *head = frame->head;
    mac_addr src = fake_port_mac(queue->base.port->id);

    memset(head, 0, FRAME_BYTES);
    for (unsigned i = 0; i < 6; i++) {
        head[i] = (uint8_t)(arrival->dst >> (40 - 8 * i));
        head[6 + i] = (uint8_t)(src >> (40 - 8 * i));
    }
    bytes_store_be16(head + 12, arrival->is_express ? ETHERTYPE_EXPRESS : ETHERTYPE_TEST);
    memcpy(head + MARK_OFFSET, &queue->id, sizeof(queue->id));
    memcpy(head + MARK_OFFSET + 8, &number, sizeof(number));
}

/* Fills a frame as a port does: head, pieces, and a slot that names its buffer. */
static void frame_fill(struct frame *frame, struct fake_queue *queue, struct frame_pool *pool,
                       const struct fake_arrival *arrival)
{
    static uint8_t payload[65536];
    uint32_t slot = queue->newest++ % FAKE_RING_FRAMES;

    RULE(!queue->slots[slot].is_taken, "the switch has more frames in hand than there are slots");
    queue->slots[slot] =
        (struct fake_slot){.is_taken = true, .number = queue->taken++, .dst = arrival->dst};
    head_write(frame, queue, arrival, queue->slots[slot].number);
    frame->len = arrival->is_wrong ? 0 : arrival->len;
    frame->head_len = arrival->is_wrong ? 0 : FRAME_BYTES;
    frame->piece_count = 0;
    frame->vnet = (struct virtio_net_hdr){0};
    frame->drop = arrival->is_wrong ? DROP_MALFORMED : DROP_NONE;
    frame->source = &queue->base;
    frame->source_slot = slot;
    RULE(!frame->private_bytes, "a frame of the pool has a private buffer already");
    if (arrival->len > FRAME_BYTES && !arrival->is_wrong) {
        frame->pieces[0] = (struct iovec){payload, arrival->len - FRAME_BYTES};
        frame->piece_count = 1;
    }
    if (arrival->is_private && frame_pool_add_buffer(pool, frame))
        frame->pieces[0].iov_base = frame->private_bytes;
}

static uint64_t copies_of(const struct fake_queue *queue, const struct fake_arrival *arrival)
{
    const struct fake_port *port = CV_CONTAINER_OF(queue->base.port, struct fake_port, base);

    if (arrival->is_wrong || !port->copies_of)
        return 1;
    return port->copies_of(port->context, queue, arrival->dst);
}

static unsigned fake_receive(struct port_queue *base, struct frame_pool *pool,
                             struct frame **ret_frames, unsigned max)
{
    struct fake_queue *queue = fake_queue_of(base);
    unsigned count = 0;
    uint64_t bytes = 0;

    RULE(queue->is_running && base->can_receive, "received from a queue that is not attached");
    while (count < max && bytes < BURST_BYTES_MAX && queue->arrival_count > 0 &&
           (ret_frames[count] = frame_pool_get(pool))) {
        const struct fake_arrival *arrival = &queue->arrivals[queue->arrival_first];

        frame_fill(ret_frames[count++], queue, pool, arrival);
        bytes += arrival->len;
        queue->copies += copies_of(queue, arrival);
        queue->arrival_first = (queue->arrival_first + 1) % FAKE_RING_FRAMES;
        queue->arrival_count--;
    }
    return count;
}

static void fake_give_back(struct port_queue *base, struct frame *frame)
{
    struct fake_queue *queue = fake_queue_of(base);
    struct fake_slot *slot = &queue->slots[frame->source_slot];

    RULE(queue->is_running, "gave a frame back to a queue that is not attached");
    RULE(slot->is_taken && !slot->is_done, "gave a frame back twice, or one that it never took");
    slot->is_done = true;
    queue->done_count++;
}

static bool fake_settle(struct port_queue *base)
{
    struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running, "settled a queue that is not attached");
    queue->settles++;
    while (queue->oldest != queue->newest &&
           queue->slots[queue->oldest % FAKE_RING_FRAMES].is_done) {
        queue->slots[queue->oldest++ % FAKE_RING_FRAMES].is_taken = false;
        queue->done_count--;
    }
    return queue->done_count <= FAKE_RING_FRAMES / 4;
}

static bool fake_arm_from(struct port_queue *base, unsigned packets)
{
    (void)packets;
    RULE(fake_queue_of(base)->is_running, "armed a queue that is not attached");
    return fake_queue_of(base)->arrival_count > 0;
}

static void fake_disarm_from(struct port_queue *base)
{
    RULE(fake_queue_of(base)->is_running, "disarmed a queue that is not attached");
}

/* --- to the port --- */

/* A frame arrives at the port; everything that can be wrong about that is a broken rule. */
static void judge(struct fake_queue *queue, const struct frame *frame)
{
    unsigned port_id = queue->base.port->id;
    uint64_t bit = UINT64_C(1) << port_id % 64;
    struct fake_queue *source;
    struct fake_slot *slot;
    unsigned source_id;
    uint64_t number;

    RULE(frame->head_len == FRAME_BYTES, "delivered a frame with a damaged head");
    memcpy(&source_id, frame->head + MARK_OFFSET, sizeof(source_id));
    memcpy(&number, frame->head + MARK_OFFSET + 8, sizeof(number));
    RULE(source_id < FAKE_QUEUES_MAX && fake_queues[source_id], "delivered a frame of nobody");
    source = fake_queues[source_id];
    slot = &source->slots[frame->source_slot];
    RULE(frame->source == &source->base && slot->is_taken && slot->number == number,
         "delivered a frame whose buffer was given back");
    RULE(!slot->is_done, "delivered a frame after it was given back");
    RULE(source->base.port->id != port_id, "delivered a frame to its own sender");
    RULE((slot->dst & MAC_MULTICAST_BIT) || slot->dst == fake_port_mac(port_id),
         "delivered a frame to the wrong port");
    RULE(!(slot->delivered_to[port_id / 64] & bit), "delivered a frame twice");
    slot->delivered_to[port_id / 64] |= bit;
    RULE(number >= queue->next_number[source_id], "delivered a frame out of order");
    queue->next_number[source_id] = number + 1;
}

static unsigned fake_deliver(struct port_queue *base, struct frame *const *frames, unsigned count)
{
    struct fake_queue *queue = fake_queue_of(base);
    unsigned done = CV_MIN(count, queue->room);
    uint64_t bytes = 0;

    RULE(count > 0, "delivered nothing");
    RULE(queue->is_running && base->can_deliver, "delivered to a queue that is not attached");
    RULE(!queue->front || queue->front == frames[0],
         "forgot the frame that did not fit without saying so");
    for (unsigned i = 0; i < done; i++) {
        judge(queue, frames[i]);
        bytes += frames[i]->len;
    }
    queue->room -= done;
    queue->front = done < count ? frames[done] : NULL;
    if (done == 0)
        return 0;
    queue->delivered += done;
    queue->deliveries++;
    queue->last_group = done;
    queue->untold += done;
    counter_add(&base->counters->to_packets, done);
    counter_add(&base->counters->to_bytes, bytes);
    return done;
}

static bool fake_announce(struct port_queue *base, bool always)
{
    struct fake_queue *queue = fake_queue_of(base);

    (void)always;
    RULE(queue->is_running && base->can_deliver, "told a queue that is not attached");
    if (queue->untold == 0)
        return false;
    queue->notifications++;
    queue->last_told = queue->untold;
    queue->untold = 0;
    return true;
}

static void fake_announce_back(struct port_queue *base)
{
    RULE(fake_queue_of(base)->is_running, "told the sender of a queue that is not attached");
    fake_queue_of(base)->back_notifications++;
}

static void fake_forget_front(struct port_queue *base)
{
    fake_queue_of(base)->front = NULL;
}

static bool fake_arm_to(struct port_queue *base)
{
    RULE(fake_queue_of(base)->is_running, "armed a queue that is not attached");
    return fake_queue_of(base)->room > 0;
}

/* --- the port --- */

static void fake_read_facts(const struct port *port, struct port_facts *ret_facts)
{
    (void)port;
    *ret_facts = (struct port_facts){.is_connected = true, .last_fault = ""};
}

static void fake_free(struct port *port)
{
    fake_port_uninit(CV_CONTAINER_OF(port, struct fake_port, base));
}

static const struct port_ops fake_port_ops = {
    .receive = fake_receive,
    .deliver = fake_deliver,
    .announce = fake_announce,
    .forget_front = fake_forget_front,
    .give_back = fake_give_back,
    .settle = fake_settle,
    .announce_back = fake_announce_back,
    .arm_from = fake_arm_from,
    .arm_to = fake_arm_to,
    .disarm_from = fake_disarm_from,
    .read_facts = fake_read_facts,
    .free = fake_free,
};

void fake_port_init(struct fake_port *port, const struct port_config *config, unsigned id,
                    unsigned first_queue_id)
{
    memset(port, 0, sizeof(*port));
    port->base = (struct port){
        .ops = &fake_port_ops, .id = id, .config = *config, .queue_count = config->queue_pairs};
    for (unsigned i = 0; i < config->queue_pairs; i++) {
        struct fake_queue *queue = &port->queues[i];

        queue->base = (struct port_queue){.port = &port->base,
                                          .index = i,
                                          .can_wait = true,
                                          .wake_from_fd = -1,
                                          .wake_to_fd = -1};
        queue->id = first_queue_id + i;
        assert(queue->id < FAKE_QUEUES_MAX);
        fake_queues[queue->id] = queue;
        port->base.queues[i] = &queue->base;
    }
}

void fake_port_uninit(struct fake_port *port)
{
    for (unsigned i = 0; i < port->base.queue_count; i++)
        fake_queues[port->queues[i].id] = NULL;
}

unsigned fake_queue_free(const struct fake_queue *queue)
{
    return FAKE_RING_FRAMES - (queue->newest - queue->oldest) - queue->arrival_count;
}

void fake_queue_arrive(struct fake_queue *queue, const struct fake_arrival *arrival)
{
    unsigned place = (queue->arrival_first + queue->arrival_count) % FAKE_RING_FRAMES;

    assert(fake_queue_free(queue) > 0 && arrival->len >= FRAME_BYTES);
    queue->arrivals[place] = *arrival;
    queue->arrival_count++;
}

void fake_queue_arrive_for(struct fake_queue *queue, unsigned port_id, unsigned count)
{
    struct fake_arrival arrival = {.dst = fake_port_mac(port_id), .len = FRAME_BYTES};

    for (unsigned i = 0; i < count; i++)
        fake_queue_arrive(queue, &arrival);
}

void fake_port_set_running(struct fake_port *port, bool is_running)
{
    for (unsigned i = 0; i < port->base.queue_count; i++) {
        struct fake_queue *queue = &port->queues[i];

        RULE(is_running || queue->oldest == queue->newest,
             "detached a port while the switch had frames of it");
        queue->is_running = is_running;
    }
}

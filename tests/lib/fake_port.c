#include "fake_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_frame.h"
#include "fake_judge.h"
#include "wire/offload.h"

uint64_t fake_port_now_ns, fake_port_spent_ns;
struct fake_costs fake_port_costs;

static void fail_by_default(const char *sentence)
{
    fprintf(stderr, "fake port: %s\n", sentence);
    abort();
}

void (*fake_port_fail)(const char *sentence) = fail_by_default;

static void news_add(struct fake_news *news, unsigned packets, uint64_t bytes)
{
    if (news->packets == 0)
        news->since_ns = fake_port_now_ns;
    news->last_ns = fake_port_now_ns;
    news->packets += packets;
    news->bytes += bytes;
}

/* --- from the port --- */

/* Moves the payload to a buffer of the pool, if there is one of the kind that it fits. */
static void make_private(struct frame *frame, struct frame_pool *pool)
{
    if (frame->pieces[0].iov_len <= FRAME_SMALL_BUFFER_BYTES) {
        if (frame_pool_add_small(pool, frame))
            frame->pieces[0].iov_base = frame->small_bytes;
    } else if (frame_pool_add_buffer(pool, frame)) {
        frame->pieces[0].iov_base = frame->private_bytes;
    }
}

/* Fills a frame as a port does: head, pieces, and a slot that names its buffer. */
static void frame_fill(struct frame *frame, struct fake_queue *queue, struct frame_pool *pool,
                       const struct fake_arrival *arrival)
{
    uint32_t index = queue->newest++ % FAKE_RING_FRAMES;
    struct fake_slot *slot = &queue->slots[index];

    RULE(!slot->is_taken, "the switch has more frames in hand than there are slots");
    *slot = (struct fake_slot){.is_taken = true,
                               .number = queue->taken++,
                               .taken_ns = fake_port_now_ns,
                               .len = arrival->is_wrong ? 0 : arrival->len,
                               .dst = arrival->dst};
    RULE(!frame->private_bytes && !frame->small_bytes,
         "a frame of the pool has a private buffer already");
    frame->source = &queue->base;
    frame->source_slot = index;
    if (arrival->is_wrong) {
        frame->len = frame->head_len = frame->piece_count = 0;
        frame->vnet = (struct virtio_net_hdr){0};
        frame->drop = DROP_MALFORMED;
        return;
    }
    frame->drop = DROP_NONE;
    slot->flow = fake_frame_write(frame, queue, arrival, slot->number);
    if (arrival->is_private && frame->piece_count > 0)
        make_private(frame, pool);
}

static uint64_t copies_of(const struct fake_queue *queue, const struct fake_arrival *arrival)
{
    const struct fake_port *port = CV_CONTAINER_OF(queue->base.port, struct fake_port, base);

    if (arrival->is_wrong || arrival->is_refused || !port->copies_of)
        return 1;
    return port->copies_of(port->context, queue, arrival->dst);
}

static unsigned fake_receive(struct port_queue *base, struct frame_pool *pool,
                             struct frame **ret_frames, unsigned max)
{
    struct fake_queue *queue = fake_queue_of(base);
    unsigned count = 0;
    uint64_t bytes = 0;

    RULE(queue->is_running && !queue->is_paused && base->can_receive,
         "received from a queue that is not attached");
    while (count < max && bytes < BURST_BYTES_MAX && queue->arrival_count > 0 &&
           (ret_frames[count] = frame_pool_get(pool))) {
        const struct fake_arrival *arrival = &queue->arrivals[queue->arrival_first];

        frame_fill(ret_frames[count++], queue, pool, arrival);
        bytes += arrival->len;
        queue->longest_wait_ns =
            CV_MAX(queue->longest_wait_ns, fake_port_now_ns - arrival->arrived_ns);
        queue->copies += copies_of(queue, arrival);
        queue->arrival_first = (queue->arrival_first + 1) % FAKE_RING_FRAMES;
        queue->arrival_count--;
    }
    return count;
}

static void fake_give_back(struct port_queue *base, struct frame *const *frames, unsigned count)
{
    struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running, "gave a frame back to a queue that is not attached");
    RULE(count > 0, "gave back no frame");
    for (unsigned i = 0; i < count; i++) {
        struct fake_slot *slot = &queue->slots[frames[i]->source_slot];

        RULE(frames[i]->source == base, "gave a frame back to another queue");
        RULE(slot->is_taken && !slot->is_done,
             "gave a frame back twice, or one that it never took");
        slot->is_done = true;
    }
    queue->done_count += count;
}

static bool fake_settle(struct port_queue *base)
{
    struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running, "settled a queue that is not attached");
    queue->settles++;
    while (queue->oldest != queue->newest) {
        struct fake_slot *slot = &queue->slots[queue->oldest % FAKE_RING_FRAMES];

        if (!slot->is_done)
            break;
        slot->is_taken = false;
        queue->oldest++;
        queue->done_count--;
        news_add(&queue->back, 1, slot->len);
    }
    base->unpublished = queue->done_count;
    return queue->done_count <= FAKE_RING_FRAMES / 4;
}

static void fake_announce_back(struct port_queue *base)
{
    struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running, "told the sender of a queue that is not attached");
    if (queue->back.packets == 0)
        return;
    queue->back_tells++;
    queue->last_back = queue->back.packets;
    queue->back = (struct fake_news){0};
}

/* As with a ring's event index: who is asked for none still kicks at the event of before. */
static bool fake_arm_from(struct port_queue *base, unsigned packets)
{
    struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running && !queue->is_paused && base->can_receive,
         "armed a queue that is not attached");
    RULE(packets > 0, "asked for a kick for no frames");
    queue->asked_for = packets;
    queue->kick_event = queue->taken + packets - 1;
    return queue->arrival_count >= packets;
}

static void fake_disarm_from(struct port_queue *base)
{
    RULE(fake_queue_of(base)->is_running, "disarmed a queue that is not attached");
    fake_queue_of(base)->asked_for = 0;
}

static void kick(struct fake_queue *queue, int fd)
{
    static const uint64_t one = 1;

    queue->kicks++;
    if (fd >= 0)
        RULE(write(fd, &one, sizeof(one)) == sizeof(one), "the kick descriptor takes no more");
}

unsigned fake_queue_free(const struct fake_queue *queue)
{
    return FAKE_RING_FRAMES - (queue->newest - queue->oldest) - queue->arrival_count;
}

void fake_queue_arrive(struct fake_queue *queue, const struct fake_arrival *arrival)
{
    unsigned place = (queue->arrival_first + queue->arrival_count) % FAKE_RING_FRAMES;

    assert(fake_queue_free(queue) > 0);
    assert(arrival->len >=
           (uint32_t)(arrival->is_segment ? FAKE_SEGMENT_BYTES_MIN : FAKE_FRAME_BYTES_MIN));
    queue->arrivals[place] = *arrival;
    queue->arrivals[place].arrived_ns = fake_port_now_ns;
    queue->arrival_count++;
    if (queue->taken + queue->arrival_count - 1 == queue->kick_event)
        kick(queue, queue->base.wake_from_fd);
}

static void arrive_alike(struct fake_queue *queue, const struct fake_arrival *arrival,
                         unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        fake_queue_arrive(queue, arrival);
}

void fake_queue_arrive_for(struct fake_queue *queue, unsigned port_id, unsigned count)
{
    struct fake_arrival arrival = {
        .dst = fake_port_mac(port_id), .len = FAKE_FRAME_BYTES_MIN, .is_datagram = true};

    arrive_alike(queue, &arrival, count);
}

void fake_queue_segments_for(struct fake_queue *queue, unsigned port_id, unsigned count,
                             uint32_t len)
{
    struct fake_arrival arrival = {.dst = fake_port_mac(port_id), .len = len, .is_segment = true};

    arrive_alike(queue, &arrival, count);
}

/* --- to the port --- */

/* It never waits for company: nor does what is flooded. */
static bool is_express(const struct frame *frame)
{
    return (frame->facts.flags & FRAME_EXPRESS) || frame->is_shared;
}

static void judge_front(struct fake_queue *queue, const struct frame *first)
{
    if (!queue->front)
        return;
    RULE(queue->front == first, "forgot the frame that did not fit without saying so");
    RULE(queue->front_merged == first->merged_count,
         "merged into a frame of which a part may have been delivered");
}

static void note_front(struct fake_queue *queue, const struct frame *front)
{
    if (queue->takes_parts && front && front != queue->front) {
        queue->shown++;
        queue->has_part = true;
    }
    queue->front = front;
    queue->front_merged = front ? front->merged_count : 0;
    queue->news.is_urgent |= front && queue->news.packets > 0;
}

static unsigned fake_deliver(struct port_queue *base, struct frame *const *frames, unsigned count)
{
    struct fake_queue *queue = fake_queue_of(base);
    unsigned done = CV_MIN(count, queue->room), packets = 0;
    uint64_t bytes = 0;

    RULE(count > 0, "delivered nothing");
    RULE(queue->is_running && !queue->is_paused && base->can_deliver,
         "delivered to a queue that is not attached");
    judge_front(queue, frames[0]);
    for (unsigned i = 0; i < done; i++) {
        packets += fake_judge(queue, frames[i]);
        bytes += frames[i]->len;
        queue->news.is_urgent |= is_express(frames[i]);
    }
    if (done > 0) {
        queue->room -= done;
        queue->shown += done;
        queue->delivered += packets;
        queue->merged += packets - done;
        queue->deliveries++;
        queue->last_group = done;
        news_add(&queue->news, packets, bytes);
        counter_add(&base->counters->to_packets, done);
        counter_add(&base->counters->to_merged, packets - done);
        counter_add(&base->counters->to_bytes, bytes);
        fake_port_spent_ns += fake_port_costs.delivery_ns + packets * fake_port_costs.packet_ns;
    }
    note_front(queue, done < count ? frames[done] : NULL);
    return done;
}

static bool fake_announce(struct port_queue *base, bool always)
{
    struct fake_queue *queue = fake_queue_of(base);
    bool has_news = queue->asked != queue->shown;
    bool is_wanted = queue->call_event >= queue->asked && queue->call_event < queue->shown;

    RULE(queue->is_running && !queue->is_paused && base->can_deliver,
         "told a queue that is not attached");
    queue->asked = queue->shown;
    queue->has_part = false;
    if (has_news) {
        queue->tells++;
        queue->last_told = queue->news.packets;
    }
    queue->news = (struct fake_news){0};
    if (!has_news || !(is_wanted || always))
        return false;
    queue->calls++;
    fake_port_spent_ns += fake_port_costs.call_ns;
    return true;
}

static bool fake_has_answered(struct port_queue *base)
{
    const struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running && !queue->is_paused,
         "asked for the answer of a queue that is not attached");
    return queue->call_event >= queue->asked;
}

static void fake_forget_front(struct port_queue *base)
{
    fake_queue_of(base)->front = NULL;
}

static bool fake_arm_to(struct port_queue *base)
{
    struct fake_queue *queue = fake_queue_of(base);

    RULE(queue->is_running && !queue->is_paused, "armed a queue that is not attached");
    queue->wants_room = true;
    return queue->room > 0;
}

void fake_queue_add_room(struct fake_queue *queue, unsigned count)
{
    queue->room += count;
    if (!queue->wants_room || count == 0)
        return;
    queue->wants_room = false;
    kick(queue, queue->base.wake_to_fd);
}

void fake_queue_look(struct fake_queue *queue, bool goes_on)
{
    if (!goes_on)
        queue->call_event = queue->shown;
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
    .has_answered = fake_has_answered,
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
                                          .owed_max = FAKE_RING_FRAMES / 4,
                                          .wake_from_fd = -1,
                                          .wake_to_fd = -1};
        queue->id = first_queue_id + i;
        queue->kick_event = UINT64_MAX;
        queue->no_rows_since_ns = fake_port_now_ns;
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

void fake_port_set_running(struct fake_port *port, bool is_running)
{
    for (unsigned i = 0; i < port->base.queue_count; i++) {
        struct fake_queue *queue = &port->queues[i];

        RULE(is_running || queue->oldest == queue->newest,
             "detached a port while the switch had frames of it");
        RULE(is_running || (queue->news.packets == 0 && !queue->has_part),
             "detached a port that was not told of what it had been given");
        RULE(is_running || queue->back.packets == 0,
             "detached a port that was not told of what it can have back");
        queue->is_running = is_running;
        queue->is_paused = false;
    }
}

void fake_port_set_paused(struct fake_port *port)
{
    for (unsigned i = 0; i < port->base.queue_count; i++)
        port->queues[i].is_paused = true;
}

void fake_port_note_merging(struct fake_port *port)
{
    static const unsigned needs = OFFLOAD_TSO4 | OFFLOAD_CSUM;

    for (unsigned i = 0; i < port->base.queue_count; i++) {
        struct fake_queue *queue = &port->queues[i];

        if (port->base.config.merge && (queue->base.offloads & needs) == needs)
            queue->no_rows_since_ns = UINT64_MAX;
        else
            queue->no_rows_since_ns = CV_MIN(queue->no_rows_since_ns, fake_port_now_ns);
    }
}

void fake_port_forget_source(struct fake_port *port, unsigned queue_id)
{
    for (unsigned i = 0; i < PORT_QUEUE_PAIRS_MAX; i++) {
        struct fake_queue *queue = &port->queues[i];

        queue->next_number[queue_id] = 0;
        memset(queue->next_of_flow[queue_id], 0, sizeof(queue->next_of_flow[queue_id]));
    }
}

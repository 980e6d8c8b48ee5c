#include "open_loop.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "traffic_bytes.h"

#define MISSED_NS  UINT64_C(200000000) /* a call that does not come within this never will */
#define SILENCE_NS UINT64_C(300000000) /* after the last packet: what has not come is lost */

enum { TAKE_MAX = 16 }; /* frames per turn of the receiver, so that packets are not late */

struct open_loop {
    struct exchange *exchange;
    const struct open_loop_options *options;
    struct open_loop_result *result;
    struct front_ring *from, *to; /* the sender's transmitq, the receiver's receiveq */
    struct arrivals *arrivals;    /* current */
    uint64_t arrivals_from_ns;    /* when they began */
    uint64_t due_ns;              /* of the next packet */
    uint64_t measured_from_ns, step_ns, end_ns;
    uint64_t first_number; /* of the run's frames */
    bool is_measuring;
    bool is_awake;                    /* the receiver takes frames without being called */
    uint64_t called_ns;               /* when it was last called */
    uint16_t seen;                    /* used index as last seen */
    uint64_t moved_ns;                /* when it last moved */
    uint64_t calls_before;            /* of the measured time */
    uint64_t *visible_ns;             /* by used index, as many as the ring has entries */
    uint64_t sent_ns[TRAFFIC_WINDOW]; /* by frame number */
};

/* --- sending --- */

static void next_arrival(struct open_loop *loop)
{
    loop->due_ns = loop->arrivals_from_ns + arrivals_next_ns(loop->arrivals);
    if (loop->step_ns && loop->due_ns >= loop->step_ns) {
        loop->arrivals = loop->options->then;
        loop->arrivals_from_ns = loop->result->step_ns = loop->step_ns;
        loop->step_ns = 0;
        loop->due_ns = loop->arrivals_from_ns + arrivals_next_ns(loop->arrivals);
    }
}

static void note_sent(struct open_loop *loop, uint64_t now_ns)
{
    struct open_loop_result *result = loop->result;
    uint64_t late_ns = now_ns - loop->due_ns;

    if (!loop->is_measuring)
        return;
    result->sent++;
    result->measured_ns = loop->due_ns - loop->measured_from_ns;
    result->late += late_ns >= OPEN_LOOP_LATE_NS;
    result->late_max_ns = CV_MAX(result->late_max_ns, late_ns);
}

/* Sends the packet that is due; a ring without room leaves it due. */
static void send_due(struct open_loop *loop)
{
    struct exchange_end *end = &loop->exchange->ends[0];
    struct traffic_source *source = &end->sources[0];
    uint64_t number = source->next_number, now_ns;

    front_ring_reclaim(loop->from);
    if (!exchange_offer_one(loop->exchange, 0, loop->options->frame_bytes))
        return;
    now_ns = loop->sent_ns[number % TRAFFIC_WINDOW] = clock_now_ns();
    front_ring_publish(loop->from);
    note_sent(loop, now_ns);
    next_arrival(loop);
}

/* --- receiving --- */

/* Notes when used elements became visible; cheap while none have. */
static void look(struct open_loop *loop)
{
    uint16_t visible = (uint16_t)(loop->to->used_index + front_ring_used(loop->to));

    if (visible == loop->seen)
        return;
    loop->moved_ns = clock_now_ns();
    while (loop->seen != visible)
        loop->visible_ns[loop->seen++ & loop->to->mask] = loop->moved_ns;
    loop->result->groups += loop->is_measuring;
}

static void wake_up(struct open_loop *loop)
{
    loop->called_ns = clock_now_ns();
    loop->is_awake = true;
    front_ring_calls_disable(loop->to);
}

/* Has the call come that was asked for? */
static bool was_called(struct open_loop *loop)
{
    uint64_t calls = loop->to->stats.calls;

    front_ring_calls_take(loop->to);
    if (loop->to->stats.calls != calls)
        return true;
    if (clock_now_ns() - loop->moved_ns < MISSED_NS)
        return false;
    loop->result->missed_calls++;
    return true;
}

/* A frame with this number has arrived and is as it was sent. */
static void note_arrived(struct open_loop *loop, uint64_t number, uint64_t visible_ns)
{
    uint64_t sent_ns = loop->sent_ns[number % TRAFFIC_WINDOW];

    if (number < loop->first_number || sent_ns < loop->measured_from_ns)
        return;
    loop->result->received++;
    histogram_record(&loop->result->visible_ns, visible_ns - sent_ns, 1);
    histogram_record(&loop->result->told_ns, CV_MAX(visible_ns, loop->called_ns) - sent_ns, 1);
}

static void see(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
    struct open_loop *loop = context;
    struct exchange_end *end = &loop->exchange->ends[1];
    const struct traffic_counts *counts = &end->checker.counts;
    uint64_t frames = counts->frames, altered = counts->altered;
    size_t at = loop->exchange->ends[0].sources[0].headers_len;
    size_t each = hdr->gso_type != VNET_HDR_GSO_NONE ? hdr->gso_size : len;

    exchange_judge(end, hdr, frame, len);
    if (counts->frames == frames || counts->altered != altered)
        return;
    /* Some come between a look and this. The last buffer counts: they are published together. */
    if ((int16_t)(loop->to->used_index - loop->seen) > 0)
        look(loop);
    for (; at + TRAFFIC_RECORD_BYTES <= len; at += each)
        note_arrived(loop, get_le64(frame + at + 4),
                     loop->visible_ns[(uint16_t)(loop->to->used_index - 1) & loop->to->mask]);
}

/* One turn of the receiver; see the head of open_loop.h. */
static void receive(struct open_loop *loop)
{
    if (!loop->is_awake && front_ring_has_used(loop->to) && was_called(loop))
        wake_up(loop);
    if (!loop->is_awake)
        return;
    look(loop);
    if (front_ring_receive(loop->to, TAKE_MAX, see, loop) == 0 && !loop->options->busy)
        loop->is_awake = front_ring_calls_enable(loop->to, 0);
}

/* --- the run --- */

static void start_measuring(struct open_loop *loop)
{
    /* A call that has come and was not taken is left: it is what a sleeping receiver waits for. */
    loop->calls_before = loop->to->stats.calls;
    loop->is_measuring = true;
}

/* All is sent, and has arrived or will not. */
static bool is_over(const struct open_loop *loop, uint64_t now_ns)
{
    uint64_t quiet_from_ns = CV_MAX(loop->moved_ns, loop->end_ns);

    if (loop->due_ns < loop->end_ns || now_ns < loop->end_ns)
        return false;
    return loop->exchange->ends[1].checker.counts.frames >= loop->exchange->ends[0].sent ||
           (now_ns > quiet_from_ns && now_ns - quiet_from_ns > SILENCE_NS);
}

/* Sends and receives until the end, or the deadline (false). */
static bool spin(struct open_loop *loop, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now_ns = clock_now_ns();

        if (now_ns >= loop->due_ns && loop->due_ns < loop->end_ns)
            send_due(loop);
        if (!loop->is_measuring && now_ns >= loop->measured_from_ns)
            start_measuring(loop);
        look(loop);
        receive(loop);
        if (is_over(loop, now_ns))
            return true;
        if (now_ns > deadline_ns)
            return false;
    }
}

static void start(struct open_loop *loop)
{
    uint64_t now_ns = clock_now_ns();

    loop->arrivals = loop->options->arrivals;
    loop->arrivals_from_ns = now_ns;
    loop->measured_from_ns = now_ns + loop->options->warm_up_ns;
    loop->step_ns = loop->options->then ? now_ns + loop->options->duration_ns / 2 : 0;
    loop->end_ns = now_ns + loop->options->duration_ns;
    loop->moved_ns = now_ns;
    loop->seen = loop->to->used_index;
    loop->first_number = loop->exchange->ends[0].sources[0].next_number;
    if (loop->options->busy) {
        loop->is_awake = true;
        front_ring_calls_disable(loop->to);
    } else {
        loop->is_awake = front_ring_calls_enable(loop->to, 0);
    }
    next_arrival(loop);
}

bool open_loop_run(struct exchange *exchange, const struct open_loop_options *options,
                   uint64_t deadline_ns, struct open_loop_result *ret_result)
{
    static struct open_loop loop;
    bool finished;

    memset(ret_result, 0, sizeof(*ret_result));
    memset(&loop, 0, sizeof(loop));
    loop.exchange = exchange;
    loop.options = options;
    loop.result = ret_result;
    loop.from = front_end_transmitq(&exchange->ends[0].fe, 0);
    loop.to = front_end_receiveq(&exchange->ends[1].fe, 0);
    loop.visible_ns = calloc(loop.to->options.size, sizeof(*loop.visible_ns));
    assert(loop.visible_ns);
    start(&loop);
    finished = spin(&loop, deadline_ns);
    front_ring_calls_take(loop.to);
    ret_result->calls = loop.to->stats.calls - loop.calls_before;
    exchange->finished_ns = clock_now_ns();
    exchange->missed_calls += ret_result->missed_calls;
    free(loop.visible_ns);
    return finished;
}

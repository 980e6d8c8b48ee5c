/*
 * What a fake port is given is judged frame by frame, those of a row one by one: whose it is, where
 * it was to go, whether its buffer is still there, and the order. Frames leave in the order in
 * which they came, except that those merged into another leave with that one; a flow keeps its
 * order in any case.
 */
#include "fake_judge.h"

#include "fake_frame.h"
#include "wire/bytes.h"
#include "wire/offload.h"

struct fake_queue *fake_queues[FAKE_QUEUES_MAX];

static bool may_take(const struct fake_port *port, mac_addr dst)
{
    if (port->takes)
        return port->takes(port->context, port, dst);
    return (dst & MAC_MULTICAST_BIT) || dst == fake_port_mac(port->base.id);
}

/* One frame as it arrived, alone or in a row. Returns what its sender knows of it. */
static const struct fake_slot *judge_one(struct fake_queue *queue, const struct frame *frame)
{
    const struct fake_port *port = CV_CONTAINER_OF(queue->base.port, struct fake_port, base);
    unsigned port_id = port->base.id;
    uint64_t bit = UINT64_C(1) << port_id % 64;
    struct fake_mark mark = fake_frame_mark(frame);
    struct fake_queue *source;
    struct fake_slot *slot;

    RULE(frame->head_len >= FAKE_FRAME_BYTES_MIN, "delivered a frame with a damaged head");
    RULE(mark.queue_id < FAKE_QUEUES_MAX && fake_queues[mark.queue_id],
         "delivered a frame of nobody");
    source = fake_queues[mark.queue_id];
    slot = &source->slots[frame->source_slot];
    RULE(frame->source == &source->base && slot->is_taken && slot->number == mark.number,
         "delivered a frame whose buffer was given back");
    RULE(!slot->is_done, "delivered a frame after it was given back");
    RULE(source->base.port->id != port_id, "delivered a frame to its own sender");
    RULE(may_take(port, slot->dst), "delivered a frame to the wrong port");
    RULE(!(slot->delivered_to[port_id / 64] & bit), "delivered a frame twice");
    slot->delivered_to[port_id / 64] |= bit;
    RULE(slot->number >= queue->next_of_flow[source->id][slot->flow],
         "delivered a flow out of order");
    queue->next_of_flow[source->id][slot->flow] = slot->number + 1;
    return slot;
}

/* The head of a row speaks for all of it. */
static void judge_row_head(const struct frame *row, uint32_t segment_bytes)
{
    const uint8_t *ip = row->head + ETHER_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;
    size_t ip_bytes = row->len - ETHER_HEADER_BYTES;

    RULE(row->vnet.flags == VNET_HDR_F_NEEDS_CSUM && row->vnet.gso_type == VNET_HDR_GSO_TCPV4 &&
             row->vnet.gso_size == segment_bytes &&
             row->vnet.hdr_len == FAKE_SEGMENT_HEADER_BYTES &&
             row->vnet.csum_start == ETHER_HEADER_BYTES + IPV4_HEADER_BYTES &&
             row->vnet.csum_offset == TCP_CHECKSUM_OFFSET,
         "delivered a row whose virtio-net header is not of its segments");
    RULE(bytes_load_be16(ip + IPV4_TOTAL_LENGTH_OFFSET) == ip_bytes,
         "delivered a row with the IP length of another");
    RULE(fake_frame_sum(ip, IPV4_HEADER_BYTES) == 0xffff, "delivered a row with a wrong IP sum");
    RULE(bytes_load_be16(tcp + TCP_CHECKSUM_OFFSET) ==
             fake_frame_pseudo_sum(ip, ip_bytes - IPV4_HEADER_BYTES),
         "delivered a row with a wrong sum of its pseudo-header");
}

/* That frames may be merged for this receiver at all is known from when the last was taken. */
static void judge_row_allowed(const struct fake_queue *queue, const struct frame *row,
                              uint64_t last_taken_ns)
{
    RULE(last_taken_ns <= queue->no_rows_since_ns, "merged for a receiver that takes no rows");
    for (const struct frame *frame = row; frame; frame = frame->merged_next)
        RULE(!frame->is_shared, "merged a frame that others may see");
}

/* Frames merged into the row's first, of which `slot` is known. Returns how many there are. */
static unsigned judge_row(struct fake_queue *queue, const struct frame *row,
                          const struct fake_slot *slot)
{
    uint32_t payload = slot->len - FAKE_SEGMENT_HEADER_BYTES, segment_bytes = payload;
    uint64_t burst_ns = slot->taken_ns, newest_ns = burst_ns;
    unsigned flow = slot->flow, count = 1;
    const struct frame *last = row;

    RULE(flow > 0, "merged what is no segment");
    for (const struct frame *frame = row->merged_next; frame; frame = frame->merged_next) {
        RULE(frame->source == row->source, "merged frames of two senders");
        slot = judge_one(queue, frame);
        RULE(slot->flow == flow, "merged frames of two flows");
        RULE(fake_frame_sequence(frame) == fake_frame_sequence(row) + payload,
             "merged what is not the next segment");
        RULE(payload == count * segment_bytes, "merged behind a short segment");
        RULE(frame->len == slot->len && slot->len - FAKE_SEGMENT_HEADER_BYTES <= segment_bytes,
             "merged a segment larger than the first");
        payload += slot->len - FAKE_SEGMENT_HEADER_BYTES;
        queue->across_bursts += slot->taken_ns != burst_ns;
        newest_ns = slot->taken_ns;
        last = frame;
        count++;
    }
    RULE(row->merged_count + 1u == count && row->merged_last == last,
         "delivered a row with a wrong count or end");
    RULE(row->len == FAKE_SEGMENT_HEADER_BYTES + payload, "delivered a row with a wrong length");
    judge_row_head(row, segment_bytes);
    judge_row_allowed(queue, row, newest_ns);
    return count;
}

unsigned fake_judge(struct fake_queue *queue, const struct frame *frame)
{
    const struct fake_slot *slot = judge_one(queue, frame);
    unsigned source_id = fake_queue_of(frame->source)->id;

    RULE(slot->number >= queue->next_number[source_id], "delivered a frame out of order");
    queue->next_number[source_id] = slot->number + 1;
    if (frame->merged_count > 0)
        return judge_row(queue, frame, slot);
    RULE(!frame->merged_next, "delivered a frame that drags another behind it");
    RULE(frame->len == slot->len, "delivered a frame with a wrong length");
    return 1;
}

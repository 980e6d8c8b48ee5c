/* The exchange of disturbed streams: see disturb.h. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cutter.h"
#include "disturb.h"
#include "traffic_bytes.h"

#define SILENCE_NS UINT64_C(1000000000) /* what has not come by then is lost */

enum { RECEIVE_MAX = 256 };

/* One direction. */
struct direction {
    struct exchange_end *from, *to;
    unsigned from_index;
    struct disturber disturber;
    struct ledger ledger;
    uint64_t packets; /* to send */
    uint64_t super, merged, foreign, altered;
    char first_wrong[400];
    /* the packet that the ring had no room for yet */
    size_t len;
    unsigned flow;
    uint8_t packet[LEDGER_PACKET_BYTES_MAX];
};

/* --- sending --- */

/* Leaves the checksum to the switch, if it is right as it is; true where that was done. */
static bool make_partial(uint8_t *packet, size_t len, struct virtio_net_hdr *hdr)
{
    struct cutter_view view;
    unsigned offset;
    uint64_t pseudo;

    if (!cutter_view(packet, len, &view) || view.l4_offset == 0 || view.end != len)
        return false;
    offset = view.tcp ? 16 : 6;
    pseudo = sum_pseudo_header(packet + view.l3_offset, view.ipv6, view.tcp ? 6 : 17,
                               len - view.l4_offset);
    if (get_be16(packet + view.l4_offset + offset) == 0 ||
        sum_fold(sum_add(pseudo, packet + view.l4_offset, len - view.l4_offset)) != 0xffff)
        return false;
    put_be16(packet + view.l4_offset + offset, sum_fold(pseudo));
    hdr->flags = VNET_HDR_F_NEEDS_CSUM;
    hdr->csum_start = (uint16_t)view.l4_offset;
    hdr->csum_offset = (uint16_t)offset;
    return true;
}

static bool send_one(struct direction *d, struct front_ring *ring)
{
    struct virtio_net_hdr hdr = {.flags = 0};
    uint8_t *room = front_ring_reserve(ring);

    if (!room)
        return false;
    if (d->len == 0)
        d->len = disturber_next(&d->disturber, d->packet, &d->flow);
    memcpy(room, d->packet, d->len);
    if (d->disturber.options.offload_csum && d->from->may_offload_csum && d->from->sent % 2)
        (void)make_partial(room, d->len, &hdr);
    if (!front_ring_commit(ring, &hdr, d->len))
        return false;
    ledger_enter(&d->ledger, d->flow, d->packet, d->len);
    d->len = 0;
    d->from->sent++;
    return true;
}

static bool send_burst(struct direction *d, const struct exchange_options *options)
{
    struct front_ring *ring = front_end_transmitq(&d->from->fe, 0);
    bool reclaimed = front_ring_reclaim(ring) > 0;
    unsigned window = CV_MIN(options->window, (unsigned)LEDGER_UNDER_WAY_MAX), n = 0;

    d->from->no_room = false;
    while (n < options->burst && d->from->sent < d->packets &&
           ledger_under_way(&d->ledger) < window) {
        if (!send_one(d, ring)) {
            d->from->no_room = true;
            break;
        }
        n++;
    }
    front_ring_publish(ring);
    return reclaimed || n > 0;
}

/* --- receiving --- */

static void judge_packet(void *context, const uint8_t *packet, size_t len)
{
    struct direction *d = context;
    struct cutter_view view;
    unsigned flow = DISTURB_FLOWS_MAX;

    if (cutter_view(packet, len, &view) && view.l3_offset + 24 <= len)
        flow = packet[view.l3_offset + (view.ipv6 ? 23 : 15)];
    if (flow < d->ledger.flow_count)
        ledger_judge(&d->ledger, flow, packet, len);
    else
        d->foreign++;
}

static void see_frame(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                      size_t len)
{
    struct direction *d = context;
    struct error error;
    unsigned count;

    if (len < 14 || memcmp(frame, d->to->mac, 6) != 0 || memcmp(frame + 6, d->from->mac, 6) != 0) {
        d->foreign++;
        return;
    }
    count = cutter_cut(hdr, frame, len, judge_packet, d, &error);
    if (count == 0 && d->altered++ == 0)
        snprintf(d->first_wrong, sizeof(d->first_wrong), "%.*s", (int)sizeof(d->first_wrong) - 1,
                 error.text);
    if (hdr->gso_type != VNET_HDR_GSO_NONE) {
        d->super++;
        d->merged += count;
    }
}

/* --- the run --- */

static bool direction_init(struct direction *d, struct exchange *exchange, unsigned from,
                           const struct disturb_options *options, uint64_t packets)
{
    struct disturb_options own = *options;

    *d = (struct direction){.from = &exchange->ends[from],
                            .to = &exchange->ends[from ^ 1],
                            .from_index = from,
                            .packets = exchange->ends[from].sends ? packets : 0};
    own.seed = options->seed * 2 + from;
    if (disturber_init(&d->disturber, &own, d->to->mac, d->from->mac) < 0)
        return false;
    return ledger_init(&d->ledger, options->flows) == 0;
}

static bool is_done(const struct direction *d)
{
    return d->from->sent >= d->packets && ledger_under_way(&d->ledger) == 0;
}

static bool step(struct direction *d, const struct exchange_options *options)
{
    bool moved = send_burst(d, options);
    struct front_ring *ring = front_end_receiveq(&d->to->fe, 0);

    return front_ring_receive(ring, RECEIVE_MAX, see_frame, d) > 0 || moved;
}

static bool run(struct exchange *exchange, struct direction *directions, uint64_t deadline_ns)
{
    uint64_t moved_ns = clock_now_ns();

    while (!is_done(&directions[0]) || !is_done(&directions[1])) {
        bool moved = step(&directions[0], &exchange->options);

        moved |= step(&directions[1], &exchange->options);
        if (moved) {
            moved_ns = clock_now_ns();
        } else {
            exchange_wait(exchange, 100);
            if (clock_now_ns() - moved_ns > SILENCE_NS) {
                ledger_give_up(&directions[0].ledger);
                ledger_give_up(&directions[1].ledger);
            }
        }
        if (moved_ns > deadline_ns)
            return false;
    }
    exchange->finished_ns = moved_ns;
    return true;
}

static void add(struct disturb_result *sum, const struct direction *d)
{
    const struct ledger_counts *counts = &d->ledger.counts;

    sum->counts.sent += counts->sent;
    sum->counts.arrived += counts->arrived;
    sum->counts.lost += counts->lost;
    sum->counts.reordered += counts->reordered;
    sum->counts.doubled += counts->doubled;
    sum->counts.altered += counts->altered + d->altered;
    sum->super += d->super;
    sum->merged += d->merged;
    sum->foreign += d->foreign;
    sum->left_out += d->disturber.left_out;
    sum->swapped += d->disturber.swapped;
    sum->doubled += d->disturber.doubled;
    if (!sum->first_wrong[0])
        strcpy(sum->first_wrong, d->first_wrong[0] ? d->first_wrong : d->ledger.first_wrong);
}

bool disturb_run(struct exchange *exchange, const struct disturb_options *options, uint64_t packets,
                 uint64_t deadline_ns, struct disturb_result *ret_result)
{
    static struct direction directions[2];
    bool ready = direction_init(&directions[0], exchange, 0, options, packets), finished = false;

    ready = direction_init(&directions[1], exchange, 1, options, packets) && ready;
    *ret_result = (struct disturb_result){.super = 0};
    if (ready)
        finished = run(exchange, directions, deadline_ns);
    else
        strcpy(ret_result->first_wrong, "no memory for the ledgers");
    for (unsigned i = 0; i < 2; i++) {
        add(ret_result, &directions[i]);
        ledger_uninit(&directions[i].ledger);
        disturber_uninit(&directions[i].disturber);
    }
    return finished;
}

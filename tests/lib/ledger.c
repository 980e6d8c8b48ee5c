#include "ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ledger_init(struct ledger *ledger, unsigned flow_count)
{
    *ledger = (struct ledger){.flow_count = flow_count};
    ledger->flows = calloc(flow_count, sizeof(*ledger->flows));
    for (unsigned i = 0; ledger->flows && i < flow_count; i++) {
        ledger->flows[i].packets = calloc(LEDGER_PACKETS, sizeof(*ledger->flows[i].packets));
        if (!ledger->flows[i].packets) {
            ledger_uninit(ledger);
            return -ENOMEM;
        }
    }
    return ledger->flows ? 0 : -ENOMEM;
}

void ledger_uninit(struct ledger *ledger)
{
    for (unsigned i = 0; ledger->flows && i < ledger->flow_count; i++)
        free(ledger->flows[i].packets);
    free(ledger->flows);
    ledger->flows = NULL;
}

static struct ledger_packet *packet_at(const struct ledger_flow *flow, uint64_t number)
{
    return &flow->packets[number % LEDGER_PACKETS];
}

void ledger_enter(struct ledger *ledger, unsigned flow_number, const uint8_t *bytes, size_t len)
{
    struct ledger_flow *flow = &ledger->flows[flow_number];
    struct ledger_packet *packet = packet_at(flow, flow->sent);

    assert(len <= LEDGER_PACKET_BYTES_MAX && flow->sent - flow->first < LEDGER_UNDER_WAY_MAX);
    packet->len = (uint16_t)len;
    packet->state = LEDGER_WAITING;
    memcpy(packet->bytes, bytes, len);
    flow->sent++;
    ledger->counts.sent++;
}

static bool equals(const struct ledger_packet *packet, const uint8_t *bytes, size_t len)
{
    return packet->len == len && memcmp(packet->bytes, bytes, len) == 0;
}

/* --- what is wrong --- */

static void print_bytes(char *text, size_t room, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len && 2 * i + 2 < room; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void describe(struct ledger *ledger, unsigned flow_number, const uint8_t *bytes, size_t len,
                     const char *what)
{
    const struct ledger_flow *flow = &ledger->flows[flow_number];
    const struct ledger_packet *next = packet_at(flow, flow->first);
    char got[161] = "", expected[161] = "";
    size_t differ = 0;

    if (ledger->first_wrong[0])
        return;
    while (differ < len && differ < next->len && next->bytes[differ] == bytes[differ])
        differ++;
    print_bytes(got, sizeof(got), bytes + 12, CV_MIN(len, (size_t)92) - 12);
    print_bytes(expected, sizeof(expected), next->bytes + 12, CV_MIN(next->len, 92) - 12);
    snprintf(
        ledger->first_wrong, sizeof(ledger->first_wrong),
        "flow %u: %s: %zu bytes %s; next was number %llu of %u bytes %s; they differ from byte "
        "%zu on",
        flow_number, what, len, got, (unsigned long long)flow->first, next->len, expected, differ);
}

/* Behind the oldest that waits, latest first. True: it was sent, and seen or passed over before. */
static bool judge_old(struct ledger *ledger, unsigned flow_number, const uint8_t *bytes, size_t len)
{
    struct ledger_flow *flow = &ledger->flows[flow_number];
    uint64_t behind = CV_MIN(flow->first, (uint64_t)(LEDGER_PACKETS - LEDGER_UNDER_WAY_MAX));

    for (uint64_t i = 1; i <= behind; i++) {
        struct ledger_packet *packet = packet_at(flow, flow->first - i);

        if (!equals(packet, bytes, len))
            continue;
        if (packet->state == LEDGER_PASSED_OVER) {
            describe(ledger, flow_number, bytes, len, "reordered");
            packet->state = LEDGER_ARRIVED;
            ledger->counts.lost--;
            ledger->counts.arrived++;
            ledger->counts.reordered++;
        } else {
            describe(ledger, flow_number, bytes, len, "doubled");
            ledger->counts.doubled++;
        }
        return true;
    }
    return false;
}

void ledger_judge(struct ledger *ledger, unsigned flow_number, const uint8_t *bytes, size_t len)
{
    struct ledger_flow *flow = &ledger->flows[flow_number];
    uint64_t number = flow->first;

    while (number < flow->sent && !equals(packet_at(flow, number), bytes, len))
        number++;
    if (number == flow->sent) {
        if (!judge_old(ledger, flow_number, bytes, len)) {
            describe(ledger, flow_number, bytes, len, "altered");
            ledger->counts.altered++;
        }
        return;
    }
    if (number > flow->first)
        describe(ledger, flow_number, bytes, len, "others passed over");
    for (; flow->first < number; flow->first++) {
        packet_at(flow, flow->first)->state = LEDGER_PASSED_OVER;
        ledger->counts.lost++;
    }
    packet_at(flow, flow->first++)->state = LEDGER_ARRIVED;
    ledger->counts.arrived++;
}

void ledger_give_up(struct ledger *ledger)
{
    for (unsigned i = 0; i < ledger->flow_count; i++) {
        struct ledger_flow *flow = &ledger->flows[i];

        for (; flow->first < flow->sent; flow->first++) {
            packet_at(flow, flow->first)->state = LEDGER_PASSED_OVER;
            ledger->counts.lost++;
        }
    }
}

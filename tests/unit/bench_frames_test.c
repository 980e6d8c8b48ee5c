/*
 * Goal: what convoy-bench sends is what it says: frames that a switch and a guest would take, of
 * the sizes, flows and destinations asked for, and TCP that may be merged. Method: lists of every
 * kind, size and offload are taken apart by the cutter, which shares nothing with their builder,
 * and all sums are made anew here; captures are written by the test.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "cutter.h"
#include "frames.h"
#include "traffic_bytes.h"

static const enum traffic_kind kinds[] = {TRAFFIC_UDP4, TRAFFIC_UDP6, TRAFFIC_TCP4, TRAFFIC_TCP6};
static const uint8_t source_mac[6] = {0x52, 0x54, 0, 0xbe, 0, 9};
static const uint8_t target_macs[3][6] = {
    {0x52, 0x54, 0, 0xbe, 0, 1}, {0x52, 0x54, 0, 0xbe, 0, 2}, {0x52, 0x54, 0, 0xbe, 0, 3}};

static struct bench_frames build(const struct bench_options *options, unsigned dst_count,
                                 unsigned count_min)
{
    struct bench_frames frames;
    struct error error = {""};

    if (bench_frames_init(&frames, options, 7, source_mac, target_macs, dst_count, count_min,
                          &error) != 0)
        fail_msg("%s", error.text);
    return frames;
}

static bool is_tcp(enum traffic_kind kind)
{
    return kind == TRAFFIC_TCP4 || kind == TRAFFIC_TCP6;
}

static bool is_ipv6(enum traffic_kind kind)
{
    return kind == TRAFFIC_UDP6 || kind == TRAFFIC_TCP6;
}

/* --- every packet as a receiver would see it --- */

struct judge {
    enum traffic_kind kind;
    unsigned packets;
    uint32_t next_sequence; /* of the packet to come, behind the first */
    bool has_sequence;
};

static void judge_packet(void *context, const uint8_t *packet, size_t len)
{
    struct judge *judge = context;
    struct cutter_view view;
    const uint8_t *ip = packet + 14, *l4;
    bool ipv6 = is_ipv6(judge->kind), tcp = is_tcp(judge->kind);
    uint64_t pseudo;

    assert_true(cutter_view(packet, len, &view));
    assert_int_equal(view.ipv6, ipv6);
    assert_int_equal(view.tcp, tcp);
    assert_int_equal(view.l3_offset, 14);
    assert_int_equal(view.end, len);
    assert_in_range(len, view.payload_offset + 1, 1518);
    l4 = packet + view.l4_offset;
    if (!ipv6)
        assert_int_equal(sum_fold(sum_add(0, ip, 20)), 0xffff);
    pseudo = sum_pseudo_header(ip, ipv6, tcp ? 6 : 17, len - view.l4_offset);
    if (judge->kind != TRAFFIC_UDP4 || get_be16(l4 + 6) != 0)
        assert_int_equal(sum_fold(sum_add(pseudo, l4, len - view.l4_offset)), 0xffff);
    if (tcp) {
        static const uint8_t options_start[4] = {1, 1, 8, 10};

        assert_int_equal(l4[13], 0x10); /* ACK alone */
        assert_int_equal(view.payload_offset - view.l4_offset, 32);
        assert_memory_equal(l4 + 20, options_start, 4);
        if (judge->has_sequence)
            assert_int_equal(get_be32(l4 + 4), judge->next_sequence);
        judge->next_sequence = get_be32(l4 + 4) + (uint32_t)(len - view.payload_offset);
        judge->has_sequence = true;
    } else {
        assert_int_equal(get_be16(l4 + 4), len - view.l4_offset);
    }
    judge->packets++;
}

/* Cuts a frame and judges its packets; the sequence goes on through `judge`. */
static void judge_frame(const struct bench_frame *frame, struct judge *judge)
{
    struct error error = {""};
    unsigned cut;

    judge->packets = 0;
    cut = cutter_cut(&frame->hdr, frame->bytes, frame->len, judge_packet, judge, &error);
    if (cut == 0)
        fail_msg("%s", error.text);
    assert_int_equal(cut, frame->packets);
    assert_int_equal(judge->packets, frame->packets);
}

static void judge_list(const struct bench_options *options)
{
    static const uint8_t zeros[BENCH_STAMP_BYTES];
    struct bench_frames frames = build(options, 1, 16);
    struct judge judge = {.kind = options->kind};

    assert_int_equal(frames.count, 16);
    for (unsigned i = 0; i < frames.count; i++) {
        const struct bench_frame *frame = &frames.frames[i];

        if (options->sizes == BENCH_FIXED)
            assert_int_equal(frame->len, options->size_bytes);
        assert_in_range(frame->len, bench_frame_bytes_min(options->kind), frames.bytes_max);
        assert_memory_equal(frame->bytes, target_macs[0], 6);
        assert_memory_equal(frame->bytes + 6, source_mac, 6);
        assert_true(frame->is_stamped);
        assert_memory_equal(frame->bytes + frame->len - BENCH_STAMP_BYTES, zeros,
                            BENCH_STAMP_BYTES);
        assert_int_equal((frame->hdr.flags & VNET_HDR_F_NEEDS_CSUM) != 0, options->offloads);
        assert_int_equal(frame->hdr.gso_type != VNET_HDR_GSO_NONE, frame->len > BENCH_MTU_FRAME);
        judge_frame(frame, &judge);
    }
    bench_frames_uninit(&frames);
}

static void frames_are_what_a_guest_would_take(void **state)
{
    static const unsigned sizes[] = {0, 128, 590, 591, 1513, 1514, 1518};

    (void)state;
    for (unsigned k = 0; k < CV_COUNT_OF(kinds); k++)
        for (unsigned s = 0; s < CV_COUNT_OF(sizes); s++)
            for (unsigned offloads = 0; offloads < 2; offloads++) {
                struct bench_options options = {.kind = kinds[k], .flows = 1};

                options.offloads = offloads != 0;
                options.size_bytes = sizes[s] ? sizes[s] : bench_frame_bytes_min(kinds[k]);
                judge_list(&options);
                options.sizes = BENCH_IMIX;
                judge_list(&options);
            }
}

/* The sum of UDP over IPv4 is left out, so that a stamp cannot break it. */
static void udp4_has_no_sum_of_its_own(void **state)
{
    struct bench_options options = {.kind = TRAFFIC_UDP4, .flows = 1, .size_bytes = 64};
    struct bench_frames frames = build(&options, 1, 1);

    (void)state;
    assert_int_equal(get_be16(frames.frames[0].bytes + 14 + 20 + 6), 0);
    bench_frames_uninit(&frames);
}

/* A stamp written later does not break a sum that the switch completes. */
static void stamps_keep_offloaded_sums_right(void **state)
{
    (void)state;
    for (unsigned k = 0; k < CV_COUNT_OF(kinds); k++) {
        struct bench_options options = {
            .kind = kinds[k], .flows = 1, .size_bytes = 200, .offloads = true};
        struct bench_frames frames = build(&options, 1, 1);
        struct bench_stamp stamp = {7, 3, 0x12345678, UINT64_C(0xfedcba9876543210)};
        struct judge judge = {.kind = kinds[k]};

        memcpy(frames.frames[0].bytes + 200 - BENCH_STAMP_BYTES, &stamp, sizeof(stamp));
        judge_frame(&frames.frames[0], &judge);
        bench_frames_uninit(&frames);
    }
}

static void super_packets_can_be_cut(void **state)
{
    static const unsigned sizes[] = {1519, 2000, 2962, 9014, 65535, BENCH_SIZE_MAX};

    (void)state;
    for (unsigned k = 0; k < CV_COUNT_OF(kinds); k++)
        for (unsigned s = 0; s < CV_COUNT_OF(sizes); s++) {
            struct bench_options options = {
                .kind = kinds[k], .flows = 1, .size_bytes = sizes[s], .offloads = true};
            unsigned headers = (is_ipv6(kinds[k]) ? 54 : 34) + (is_tcp(kinds[k]) ? 32 : 8);
            struct bench_frames frames = build(&options, 1, 1);

            assert_int_equal(frames.frames[0].hdr.gso_size, 1514 - headers);
            assert_int_equal(frames.frames[0].hdr.hdr_len, headers);
            bench_frames_uninit(&frames);
            judge_list(&options);
        }
}

/*
 * What a merging switch compares: of a flow's successive frames, all headers are alike but lengths,
 * sums, sequence number and IPv4's id, and those go on.
 */
static void tcp_frames_of_a_flow_go_on(void **state)
{
    struct bench_options options = {.kind = TRAFFIC_TCP4, .flows = 5, .sizes = BENCH_IMIX};
    struct bench_frames frames = build(&options, 1, 64);

    (void)state;
    for (unsigned i = 0; i + 5 < frames.count; i++) {
        const uint8_t *a = frames.frames[i].bytes, *b = frames.frames[i + 5].bytes;

        assert_int_equal(frames.frames[i].flow, i % 5);
        assert_int_equal(get_be32(b + 38) - get_be32(a + 38), frames.frames[i].len - 66);
        assert_int_equal(get_be16(b + 18), get_be16(a + 18) + 1);
        assert_memory_equal(a, b, 16);           /* addresses, type, version, TOS */
        assert_memory_equal(a + 20, b + 20, 4);  /* fragment, TTL, protocol */
        assert_memory_equal(a + 26, b + 26, 12); /* addresses, ports */
        assert_memory_equal(a + 42, b + 42, 8);  /* acknowledgement, flags, window */
        assert_memory_equal(a + 54, b + 54, 12); /* options */
    }
    bench_frames_uninit(&frames);
}

/* --- flows, sizes, counts --- */

static void flows_have_ports_and_one_destination_each(void **state)
{
    struct bench_options options = {.kind = TRAFFIC_UDP6, .flows = 100, .size_bytes = 100};
    struct bench_frames frames = build(&options, 3, 16);
    unsigned seen[100] = {0};

    (void)state;
    assert_int_equal(frames.count, 128);
    for (unsigned i = 0; i < frames.count; i++) {
        const struct bench_frame *frame = &frames.frames[i];

        assert_in_range(frame->flow, 0, 99);
        assert_memory_equal(frame->bytes, target_macs[frame->flow % 3], 6);
        assert_int_equal(get_be16(frame->bytes + 54), 10000 + frame->flow);
        seen[frame->flow]++;
    }
    for (unsigned flow = 0; flow < 100; flow++)
        assert_in_range(seen[flow], 1, 2);
    bench_frames_uninit(&frames);
    options.flows = 1; /* fewer than destinations: each has one all the same */
    frames = build(&options, 3, 4);
    for (unsigned i = 0; i < 3; i++)
        assert_memory_equal(frames.frames[i].bytes, target_macs[i], 6);
    bench_frames_uninit(&frames);
}

static void imix_is_even(void **state)
{
    static const unsigned sizes[3] = {60, 590, 1514}, wanted[3] = {7, 4, 1};
    struct bench_options options = {.kind = TRAFFIC_UDP4, .flows = 12, .sizes = BENCH_IMIX};
    struct bench_frames frames = build(&options, 1, 1024);
    unsigned of_flow[12][3] = {{0}};

    (void)state;
    for (unsigned dozen = 0; dozen + 12 <= frames.count; dozen += 12) {
        unsigned counts[3] = {0};

        for (unsigned i = 0; i < 12; i++)
            for (unsigned s = 0; s < 3; s++) {
                counts[s] += frames.frames[dozen + i].len == sizes[s];
                of_flow[i][s] += frames.frames[dozen + i].len == sizes[s];
            }
        assert_memory_equal(counts, wanted, sizeof(wanted));
    }
    /* 85 frames of each flow: about 50, 28 and 7. In a fixed order it would be one size only. */
    for (unsigned flow = 0; flow < 12; flow++) {
        assert_in_range(of_flow[flow][0], 30, 70);
        assert_in_range(of_flow[flow][1], 12, 48);
        assert_in_range(of_flow[flow][2], 1, 20);
    }
    bench_frames_uninit(&frames);
}

static void sizes_have_limits(void **state)
{
    static const unsigned smallest[] = {60, 80, 84, 104};
    struct bench_frames frames;
    struct error error;

    (void)state;
    for (unsigned k = 0; k < CV_COUNT_OF(kinds); k++) {
        struct bench_options options = {.kind = kinds[k], .flows = 1, .offloads = true};

        assert_int_equal(bench_frame_bytes_min(kinds[k]), smallest[k]);
        options.size_bytes = smallest[k] - 1;
        assert_int_equal(
            bench_frames_init(&frames, &options, 0, source_mac, target_macs, 1, 1, &error),
            -EINVAL);
        options.size_bytes = BENCH_SIZE_MAX + 1;
        assert_int_equal(
            bench_frames_init(&frames, &options, 0, source_mac, target_macs, 1, 1, &error),
            -EINVAL);
        assert_non_null(strstr(error.text, "65550"));
        assert_non_null(strstr(error.text, "65549"));
    }
}

static void guests_have_addresses_of_their_own(void **state)
{
    static const uint8_t last[6] = {0x52, 0x54, 0, 0xbe, 1, 0};
    uint8_t mac[6];

    (void)state;
    bench_guest_mac(9, mac);
    assert_memory_equal(mac, source_mac, 6);
    bench_guest_mac(256, mac);
    assert_memory_equal(mac, last, 6);
}

/* --- captures --- */

struct capture {
    char path[40];
    struct bench_options options;
};

/* Frame i has lens[i] bytes, of which `snap` were captured, each being i + 1. */
static struct capture capture_new(int link_type, const unsigned *lens, unsigned count,
                                  unsigned snap)
{
    struct capture capture = {.path = "/tmp/frames-test.XXXXXX"};
    int fd = mkstemp(capture.path);
    pcap_t *dead = pcap_open_dead(link_type, 65535);
    pcap_dumper_t *dump = pcap_dump_open(dead, capture.path);
    u_char bytes[4096];

    assert_true(fd >= 0);
    close(fd);
    assert_non_null(dump);
    for (unsigned i = 0; i < count; i++) {
        struct pcap_pkthdr packet = {.caplen = CV_MIN(lens[i], snap), .len = lens[i]};

        memset(bytes, (int)i + 1, sizeof(bytes));
        pcap_dump((u_char *)dump, &packet, bytes);
    }
    pcap_dump_close(dump);
    pcap_close(dead);
    return capture;
}

static const struct bench_options *capture_options(struct capture *capture)
{
    capture->options = (struct bench_options){
        .sizes = BENCH_CAPTURE, .kind = TRAFFIC_UDP4, .flows = 1, .capture_path = capture->path};
    return &capture->options;
}

static void captured_frames_keep_their_bytes(void **state)
{
    static const unsigned lens[] = {42, 60, 1518, 200, 64};
    struct capture capture = capture_new(DLT_EN10MB, lens, 5, 100);
    struct bench_frames frames = build(capture_options(&capture), 2, 1024);

    (void)state;
    assert_int_equal(frames.count, 5);
    assert_int_equal(frames.bytes_max, 1518);
    for (unsigned i = 0; i < 5; i++) {
        const struct bench_frame *frame = &frames.frames[i];

        assert_int_equal(frame->len, lens[i]);
        assert_int_equal(frame->packets, 1);
        assert_false(frame->is_stamped);
        assert_int_equal(frame->hdr.flags, 0);
        assert_int_equal(frame->hdr.gso_type, 0);
        assert_memory_equal(frame->bytes, target_macs[i % 2], 6);
        assert_memory_equal(frame->bytes + 6, source_mac, 6);
        for (unsigned at = 12; at < lens[i]; at++) /* what was cut off is zero */
            assert_int_equal(frame->bytes[at], at < 100 ? i + 1 : 0);
    }
    bench_frames_uninit(&frames);
    unlink(capture.path);
}

static void assert_refused(struct capture *capture, const char *why)
{
    struct bench_frames frames;
    struct error error = {""};

    assert_int_equal(bench_frames_init(&frames, capture_options(capture), 0, source_mac,
                                       target_macs, 1, 1, &error),
                     -EINVAL);
    if (!strstr(error.text, why) || !strstr(error.text, capture->path))
        fail_msg("\"%s\" does not say \"%s\"", error.text, why);
    assert_null(frames.frames);
    assert_null(frames.memory);
    unlink(capture->path);
}

static void captures_of_no_use_are_refused(void **state)
{
    static const unsigned good[] = {60, 60, 60}, large[] = {60, 1519}, small[] = {60, 60, 13};
    struct capture empty = capture_new(DLT_EN10MB, good, 0, 100);
    struct capture raw = capture_new(DLT_RAW, good, 3, 100);
    struct capture too_large = capture_new(DLT_EN10MB, large, 2, 2000);
    struct capture too_small = capture_new(DLT_EN10MB, small, 3, 100);
    struct capture cut = capture_new(DLT_EN10MB, good, 3, 100);
    struct capture text = capture_new(DLT_EN10MB, good, 1, 100);
    struct capture none = {.path = "/nonexistent/capture"};
    FILE *file = fopen(text.path, "w");

    (void)state;
    assert_non_null(file);
    fputs("this is not a capture, however long it may be\n", file);
    fclose(file);
    assert_int_equal(truncate(cut.path, 24 + 76 + 40), 0); /* in the middle of the second frame */
    assert_refused(&empty, "no frames");
    assert_refused(&raw, "not of Ethernet");
    assert_refused(&too_large, "frame 2 has 1519 bytes");
    assert_refused(&too_small, "frame 3 has 13 bytes");
    assert_refused(&cut, "to its end");
    assert_refused(&text, "cannot be read as a capture");
    assert_refused(&none, "cannot be read as a capture");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_what_a_guest_would_take),
        cmocka_unit_test(udp4_has_no_sum_of_its_own),
        cmocka_unit_test(stamps_keep_offloaded_sums_right),
        cmocka_unit_test(super_packets_can_be_cut),
        cmocka_unit_test(tcp_frames_of_a_flow_go_on),
        cmocka_unit_test(flows_have_ports_and_one_destination_each),
        cmocka_unit_test(imix_is_even),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(guests_have_addresses_of_their_own),
        cmocka_unit_test(captured_frames_keep_their_bytes),
        cmocka_unit_test(captures_of_no_use_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: a convoy keeps the order of its frames through every mixture of loading, leaving and
 * removal, and merging never breaks it; the pool loses and doubles nothing. Method: seeded random
 * operations against an array that is moved by hand, and all small cases.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convoy/convoy.h"
#include "convoy/frame_pool.h"
#include "unit/wire_frames.h"
#include "port/port.h"

/* --- convoy --- */

static struct convoy convoy;
static struct frame frames[4 * CONVOY_FRAMES_MAX];
static struct port_queue sources[3];

/* The frames that should be aboard, oldest first. */
static struct frame *model[CONVOY_FRAMES_MAX];
static unsigned model_count;

static void assert_as_model(void)
{
    assert_int_equal(convoy.count, model_count);
    assert_memory_equal(convoy_frames(&convoy), model, model_count * sizeof(model[0]));
    assert_int_equal(convoy_is_full(&convoy), model_count == CONVOY_FRAMES_MAX);
}

static void unload(unsigned count)
{
    convoy_unload(&convoy, count, count);
    model_count -= count;
    memmove(model, model + count, model_count * sizeof(model[0]));
}

static void load(struct frame *frame)
{
    convoy_load(&convoy, frame);
    model[model_count++] = frame;
}

static void remove_source(const struct port_queue *source)
{
    struct frame *removed[CONVOY_FRAMES_MAX], *expected[CONVOY_FRAMES_MAX];
    unsigned kept = 0, gone = 0;

    for (unsigned i = 0; i < model_count; i++) {
        if (model[i]->source == source)
            expected[gone++] = model[i];
        else
            model[kept++] = model[i];
    }
    model_count = kept;
    assert_int_equal(convoy_remove_source(&convoy, source, removed), gone);
    assert_memory_equal(removed, expected, gone * sizeof(removed[0]));
}

static void order_is_kept(void **state)
{
    unsigned next = 0;

    (void)state;
    srand(1);
    convoy = (struct convoy){0};
    model_count = 0;
    for (unsigned i = 0; i < CV_COUNT_OF(frames); i++)
        frames[i].source = &sources[i * 7 % CV_COUNT_OF(sources)];
    for (unsigned step = 0; step < 200000; step++) {
        unsigned what = (unsigned)rand() % 100;

        if (what < 50 && !convoy_is_full(&convoy))
            load(&frames[next++ % CV_COUNT_OF(frames)]);
        else if (what < 60)
            while (!convoy_is_full(&convoy))
                load(&frames[next++ % CV_COUNT_OF(frames)]);
        else if (what < 99)
            unload((unsigned)rand() % (model_count + 1));
        else
            remove_source(&sources[(unsigned)rand() % CV_COUNT_OF(sources)]);
        assert_as_model();
    }
}

/* --- merging aboard: what may be merged at all is merge_test's affair --- */

enum { SENT_MAX = 16, PAYLOAD_BYTES = 100 };
static struct frame sent[SENT_MAX];
static unsigned sent_count;
static struct wire_frame wire;

/* Segment `number` of a TCP flow, as it comes from the bridge. */
static struct frame *segment_of(uint8_t flow, unsigned number)
{
    struct frame *frame = &sent[sent_count++];

    assert_true(sent_count <= SENT_MAX);
    wire_begin(&wire);
    wire_ipv4(&wire, 6, 0);
    wire_tcp(&wire, 0x10, 0);
    wire_payload(&wire, PAYLOAD_BYTES, number);
    wire.bytes[wire.l4 + 1] = flow;
    wire_be16(wire.bytes + wire.l3 + 4, 100 + number);
    wire_be16(wire.bytes + wire.l4 + 6, number * PAYLOAD_BYTES);
    wire_finish(&wire);
    wire_view(&wire, wire.len, NULL, 0, frame);
    wire_unview(frame);
    frame->source = &sources[0];
    frame->vnet = wire_hdr(&wire, 0);
    frame_parse(frame->head, frame->head_len, frame->len, &frame->facts);
    return frame;
}

static void start_merging(void)
{
    convoy = (struct convoy){0};
    sent_count = 0;
}

static bool merge(struct frame *frame)
{
    enum merge_refusal refusal;

    return convoy_merge(&convoy, frame, OFFLOAD_CSUM | OFFLOAD_TSO4, &refusal);
}

/* Interleaved flows become a row each; what arrived is counted, not what is left of it. */
static void flows_are_merged_apart(void **state)
{
    (void)state;
    start_merging();
    for (unsigned i = 0; i < 4; i++)
        for (uint8_t flow = 1; flow <= 2; flow++)
            assert_int_equal(merge(segment_of(flow, i)), i > 0);
    assert_int_equal(convoy.count, 2);
    assert_int_equal(convoy.packets, 8);
    assert_int_equal(convoy_frames(&convoy)[0]->merged_count, 3);
    assert_int_equal(convoy_frames(&convoy)[1]->len, sent[1].len);
    convoy_unload(&convoy, 1, 4);
    assert_int_equal(convoy.packets, 4);
}

/* A segment never overtakes what came before it, nor joins what has left or is leaving. */
static void order_survives_merging(void **state)
{
    struct frame *removed[CONVOY_FRAMES_MAX];
    struct frame *other;

    (void)state;
    start_merging();
    assert_false(merge(segment_of(1, 0)));
    convoy_unload(&convoy, 1, 1);
    assert_false(merge(segment_of(1, 1))); /* the first has left */
    convoy_seal_first(&convoy);
    assert_false(merge(segment_of(1, 2))); /* the second is half delivered */
    assert_true(merge(segment_of(1, 3)));
    other = segment_of(2, 0);
    other->facts.flags = FRAME_IPV4 | FRAME_FRAGMENT;
    other->facts.l4_offset = 0;
    convoy_load(&convoy, other);
    assert_false(merge(segment_of(1, 4))); /* a fragment may belong to the flow */
    other = segment_of(1, 5);
    other->is_shared = true;
    convoy_load(&convoy, other);
    assert_false(merge(segment_of(1, 6))); /* that was flooded */
    assert_int_equal(convoy.count, 6);
    assert_int_equal(convoy.packets, 7);
    assert_int_equal(convoy_remove_source(&convoy, &sources[0], removed), 6);
    assert_int_equal(convoy.packets, 0);
    assert_false(merge(segment_of(1, 7))); /* what it continues was dropped */
}

/* Frames of two senders never share a row: each gets its buffers back from its own worker. */
static void sources_are_not_mixed(void **state)
{
    struct frame *second;

    (void)state;
    start_merging();
    assert_false(merge(segment_of(1, 0)));
    second = segment_of(1, 1);
    second->source = &sources[1];
    assert_false(merge(second));
    assert_int_equal(convoy.count, 2);
}

/* Bound by what arrived, so that rows hold back no more buffers than frames would. */
static void merged_packets_fill_it(void **state)
{
    (void)state;
    start_merging();
    assert_false(merge(segment_of(1, 0)));
    convoy.packets = CONVOY_FRAMES_MAX - 1;
    assert_false(convoy_is_full(&convoy));
    assert_true(merge(segment_of(1, 1)));
    assert_true(convoy_is_full(&convoy));
}

/* --- pool --- */

static void pool_gives_each_frame_once(void **state)
{
    enum { CAPACITY = 100 };
    static struct frame *taken[CAPACITY];
    struct frame_pool pool;

    (void)state;
    assert_int_equal(frame_pool_init(&pool, CAPACITY), 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CAPACITY; i++) {
            assert_int_equal(frame_pool_left(&pool), CAPACITY - i);
            taken[i] = frame_pool_get(&pool);
            assert_non_null(taken[i]);
            assert_int_equal(taken[i]->holders, 0); /* marked below: nobody has it */
            taken[i]->holders = 1;
        }
        assert_null(frame_pool_get(&pool));
        for (unsigned i = 0; i < CAPACITY; i++) {
            taken[(i * 37) % CAPACITY]->holders = 0;
            frame_pool_put(&pool, taken[(i * 37) % CAPACITY]);
        }
    }
    assert_int_equal(frame_pool_left(&pool), CAPACITY);
    frame_pool_uninit(&pool);
}

/* Private buffers are as many as they are, do not overlap, and come back with their frame. */
static void private_buffers(void **state)
{
    static struct frame *taken[FRAME_BUFFERS_MAX];
    struct frame_pool pool;
    struct frame *one_more;

    (void)state;
    assert_int_equal(frame_pool_init(&pool, FRAME_BUFFERS_MAX + 1), 0);
    one_more = frame_pool_get(&pool);
    for (unsigned i = 0; i < FRAME_BUFFERS_MAX; i++) {
        taken[i] = frame_pool_get(&pool);
        assert_true(frame_pool_add_buffer(&pool, taken[i]));
        assert_true(frame_pool_add_small(&pool, taken[i]));
        memset(taken[i]->small_bytes, (int)i, FRAME_SMALL_BUFFER_BYTES);
        assert_int_equal(frame_pool_is_short(&pool, taken[i]), i >= FRAME_BUFFERS_MAX / 2);
        memset(taken[i]->private_bytes, (int)i, FRAME_BUFFER_BYTES);
    }
    assert_false(frame_pool_add_buffer(&pool, one_more));
    assert_null(one_more->private_bytes);
    for (unsigned i = 0; i < FRAME_BUFFERS_MAX; i++) {
        assert_int_equal(taken[i]->private_bytes[0], i);
        assert_int_equal(taken[i]->private_bytes[FRAME_BUFFER_BYTES - 1], i);
        assert_int_equal(taken[i]->small_bytes[0], i);
        assert_int_equal(taken[i]->small_bytes[FRAME_SMALL_BUFFER_BYTES - 1], i);
        frame_pool_put(&pool, taken[i]);
        assert_null(taken[i]->private_bytes);
        assert_null(taken[i]->small_bytes);
    }
    assert_false(frame_pool_is_short(&pool, NULL));
    assert_true(frame_pool_add_buffer(&pool, one_more));
    for (unsigned i = 0; i < FRAME_SMALL_BUFFERS_MAX; i++, one_more->small_bytes = NULL)
        assert_true(frame_pool_add_small(&pool, one_more));
    assert_false(frame_pool_add_small(&pool, one_more));
    assert_true(frame_pool_is_short(&pool, NULL));
    frame_pool_uninit(&pool);
}

static void linearise_gathers(void **state)
{
    char a[] = "abc", b[] = "defgh";
    const struct iovec pieces[] = {{a, 3}, {b, 5}, {a, 0}, {a, 1}};
    struct frame_pool pool;
    struct frame *frame;

    (void)state;
    assert_int_equal(frame_pool_init(&pool, 4), 0);
    frame = frame_pool_get(&pool);
    assert_true(frame_pool_linearise(&pool, frame, pieces, CV_COUNT_OF(pieces)));
    assert_int_equal(frame->piece_count, 1);
    assert_int_equal(frame->pieces[0].iov_len, 9);
    assert_ptr_equal(frame->pieces[0].iov_base, frame->private_bytes);
    assert_memory_equal(frame->private_bytes, "abcdefgha", 9);
    frame_pool_uninit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_kept),          cmocka_unit_test(flows_are_merged_apart),
        cmocka_unit_test(order_survives_merging), cmocka_unit_test(sources_are_not_mixed),
        cmocka_unit_test(merged_packets_fill_it), cmocka_unit_test(pool_gives_each_frame_once),
        cmocka_unit_test(private_buffers),        cmocka_unit_test(linearise_gathers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Goal: a convoy keeps the order of its frames through every mixture of loading, leaving and
 * removal; the rule of holding says the right moment; the pool loses and doubles nothing. Method:
 * seeded random operations against an array that is moved by hand, and all small cases.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convoy/convoy.h"
#include "convoy/frame_pool.h"
#include "convoy/hold.h"
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
    convoy_unload(&convoy, count, 7);
    model_count -= count;
    memmove(model, model + count, model_count * sizeof(model[0]));
}

static void load(struct frame *frame)
{
    convoy_load(&convoy, frame, 5);
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

static void opened_by_the_first_frame(void **state)
{
    (void)state;
    convoy = (struct convoy){.opened_ns = 99, .has_express = true};
    frames[0].facts.flags = 0;
    frames[1].facts.flags = FRAME_EXPRESS;
    convoy_load(&convoy, &frames[0], 100);
    assert_int_equal(convoy.opened_ns, 100);
    assert_false(convoy.has_express);
    convoy_load(&convoy, &frames[1], 200);
    assert_int_equal(convoy.opened_ns, 100);
    assert_true(convoy.has_express);
    convoy_unload(&convoy, 1, 300); /* the rest is a new convoy */
    assert_int_equal(convoy.opened_ns, 300);
    frames[1].facts.flags = 0;
}

/* --- hold --- */

static void due_by_mode(void **state)
{
    struct hold_config hold = {.packets_max = 3, .time_max_ns = 1000};

    (void)state;
    for (unsigned i = 0; i < 2 * 5 * 3; i++) {
        bool has_express = i % 2;
        unsigned count = 1 + i / 2 % 5;
        bool waits;

        hold.mode = (enum hold_mode)(i / 10);
        waits = hold.mode == HOLD_FIXED && !has_express && count < 3;
        assert_int_equal(hold_due_ns(&hold, count, has_express, 5000), waits ? 6000 : HOLD_NOW);
    }
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
        memset(taken[i]->private_bytes, (int)i, FRAME_BUFFER_BYTES);
    }
    assert_false(frame_pool_add_buffer(&pool, one_more));
    assert_null(one_more->private_bytes);
    for (unsigned i = 0; i < FRAME_BUFFERS_MAX; i++) {
        assert_int_equal(taken[i]->private_bytes[0], i);
        assert_int_equal(taken[i]->private_bytes[FRAME_BUFFER_BYTES - 1], i);
        frame_pool_put(&pool, taken[i]);
        assert_null(taken[i]->private_bytes);
    }
    assert_true(frame_pool_add_buffer(&pool, one_more));
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
        cmocka_unit_test(order_is_kept),   cmocka_unit_test(opened_by_the_first_frame),
        cmocka_unit_test(due_by_mode),     cmocka_unit_test(pool_gives_each_frame_once),
        cmocka_unit_test(private_buffers), cmocka_unit_test(linearise_gathers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

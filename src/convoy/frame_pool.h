/*
 * A worker's stock of frames, last in first out, so that a busy switch works in a warm cache and an
 * idle one never touches most of the memory. No allocation after the worker has started.
 */
#ifndef CONVOY_CONVOY_FRAME_POOL_H
#define CONVOY_CONVOY_FRAME_POOL_H

#include "convoy/frame.h"

struct frame_pool {
    struct frame *frames; /* all of them, mapped, untouched until first used */
    struct frame **stack; /* free ones that have been used before */
    unsigned fresh;       /* frames[fresh ..] have never been used */
    unsigned capacity;    /* all frames */
    unsigned free_count;  /* on the stack */
    uint8_t *buffers;     /* private buffers of FRAME_BYTES_MAX each, untouched until first used */
    uint8_t *buffer_stack[FRAME_BUFFERS_MAX]; /* free ones */
    unsigned buffer_count;                    /* on that stack */
    uint8_t *small_buffers;                   /* likewise, of FRAME_SMALL_BUFFER_BYTES each */
    uint8_t *small_stack[FRAME_SMALL_BUFFERS_MAX];
    unsigned small_count;
};

/* -ENOMEM. */
int frame_pool_init(struct frame_pool *pool, unsigned capacity) CV_MUST_CHECK;
void frame_pool_uninit(struct frame_pool *pool);

static inline struct frame *frame_pool_get(struct frame_pool *pool)
{
    if (CV_LIKELY(pool->free_count > 0))
        return pool->stack[--pool->free_count];
    if (pool->fresh < pool->capacity)
        return &pool->frames[pool->fresh++];
    return NULL;
}

/* Gives the frame a private buffer of FRAME_BYTES_MAX bytes; false when there is none. */
static inline bool frame_pool_add_buffer(struct frame_pool *pool, struct frame *frame)
{
    if (pool->buffer_count == 0)
        return false;
    frame->private_bytes = pool->buffer_stack[--pool->buffer_count];
    frame->has_buffer = true;
    return true;
}

/* The same with a small one. */
static inline bool frame_pool_add_small(struct frame_pool *pool, struct frame *frame)
{
    if (pool->small_count == 0)
        return false;
    frame->small_bytes = pool->small_stack[--pool->small_count];
    frame->has_buffer = true;
    return true;
}

/* Takes the private buffer back, if the frame has one. */
static inline void frame_pool_drop_buffer(struct frame_pool *pool, struct frame *frame)
{
    if (frame->private_bytes)
        pool->buffer_stack[pool->buffer_count++] = frame->private_bytes;
    frame->private_bytes = NULL;
}

static inline void frame_pool_drop_small(struct frame_pool *pool, struct frame *frame)
{
    if (frame->small_bytes)
        pool->small_stack[pool->small_count++] = frame->small_bytes;
    frame->small_bytes = NULL;
}

/* True when fewer than half of the private buffers of a kind that the frame occupies are left, or,
 * without a frame, of any kind. */
static inline bool frame_pool_is_short(const struct frame_pool *pool, const struct frame *frame)
{
    return ((!frame || frame->private_bytes) && pool->buffer_count < FRAME_BUFFERS_MAX / 2) ||
           ((!frame || frame->small_bytes) && pool->small_count < FRAME_SMALL_BUFFERS_MAX / 2);
}

static inline void frame_pool_put(struct frame_pool *pool, struct frame *frame)
{
    if (CV_UNLIKELY(frame->has_buffer)) {
        frame_pool_drop_buffer(pool, frame);
        frame_pool_drop_small(pool, frame);
        frame->has_buffer = false;
    }
    pool->stack[pool->free_count++] = frame;
}

/* Copies all payload pieces into a private buffer as one piece; false when there is none. */
bool frame_pool_linearise(struct frame_pool *pool, struct frame *frame, const struct iovec *pieces,
                          unsigned piece_count) CV_MUST_CHECK;

/* Frames that can still be taken. */
static inline unsigned frame_pool_left(const struct frame_pool *pool)
{
    return pool->free_count + pool->capacity - pool->fresh;
}

#endif

#include "convoy/frame_pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Anonymous memory costs nothing until it is touched. */
static void *lazy_alloc(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

int frame_pool_init(struct frame_pool *pool, unsigned capacity)
{
    *pool = (struct frame_pool){.capacity = capacity};
    pool->frames = lazy_alloc(capacity * sizeof(struct frame));
    pool->stack = lazy_alloc(capacity * sizeof(struct frame *));
    pool->buffers = lazy_alloc((size_t)FRAME_BUFFERS_MAX * FRAME_BUFFER_BYTES);
    pool->small_buffers = lazy_alloc((size_t)FRAME_SMALL_BUFFERS_MAX * FRAME_SMALL_BUFFER_BYTES);
    if (pool->frames && pool->stack && pool->buffers && pool->small_buffers) {
        for (unsigned i = FRAME_BUFFERS_MAX; i > 0; i--)
            pool->buffer_stack[pool->buffer_count++] =
                pool->buffers + (size_t)(i - 1) * FRAME_BUFFER_BYTES;
        for (unsigned i = FRAME_SMALL_BUFFERS_MAX; i > 0; i--)
            pool->small_stack[pool->small_count++] =
                pool->small_buffers + (size_t)(i - 1) * FRAME_SMALL_BUFFER_BYTES;
        return 0;
    }
    frame_pool_uninit(pool);
    return -ENOMEM;
}

void frame_pool_uninit(struct frame_pool *pool)
{
    if (pool->frames)
        munmap(pool->frames, pool->capacity * sizeof(struct frame));
    if (pool->stack)
        munmap(pool->stack, pool->capacity * sizeof(struct frame *));
    if (pool->buffers)
        munmap(pool->buffers, (size_t)FRAME_BUFFERS_MAX * FRAME_BUFFER_BYTES);
    if (pool->small_buffers)
        munmap(pool->small_buffers, (size_t)FRAME_SMALL_BUFFERS_MAX * FRAME_SMALL_BUFFER_BYTES);
    *pool = (struct frame_pool){0};
}

bool frame_pool_linearise(struct frame_pool *pool, struct frame *frame, const struct iovec *pieces,
                          unsigned piece_count)
{
    size_t n = 0;

    if (!frame_pool_add_buffer(pool, frame))
        return false;
    for (unsigned i = 0; i < piece_count; i++) {
        assert(n + pieces[i].iov_len <= FRAME_BUFFER_BYTES);
        memcpy(frame->private_bytes + n, pieces[i].iov_base, pieces[i].iov_len);
        n += pieces[i].iov_len;
    }
    frame->pieces[0] = (struct iovec){frame->private_bytes, n};
    frame->piece_count = 1;
    return true;
}

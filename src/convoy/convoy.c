#include "convoy/convoy.h"

#include <string.h>

void convoy_load(struct convoy *convoy, struct frame *frame, uint64_t now_ns)
{
    assert(!convoy_is_full(convoy));
    if (convoy->count == 0) {
        convoy->first = 0;
        convoy->has_express = false;
        convoy->opened_ns = now_ns;
    } else if (convoy->first + convoy->count == CV_COUNT_OF(convoy->frames)) {
        memcpy(convoy->frames, convoy_frames(convoy), convoy->count * sizeof(convoy->frames[0]));
        convoy->first = 0;
    }
    convoy->frames[convoy->first + convoy->count++] = frame;
    if (frame->facts.flags & FRAME_EXPRESS)
        convoy->has_express = true;
}

void convoy_unload(struct convoy *convoy, unsigned count, uint64_t now_ns)
{
    assert(count <= convoy->count);
    convoy->first += count;
    convoy->count -= count;
    convoy->opened_ns = now_ns;
}

bool convoy_has_source(const struct convoy *convoy, const struct port_queue *source)
{
    for (unsigned i = 0; i < convoy->count; i++)
        if (convoy->frames[convoy->first + i]->source == source)
            return true;
    return false;
}

unsigned convoy_remove_source(struct convoy *convoy, const struct port_queue *source,
                              struct frame **ret_frames)
{
    struct frame **frames = convoy_frames(convoy);
    unsigned kept = 0, removed = 0;

    for (unsigned i = 0; i < convoy->count; i++) {
        if (!source || frames[i]->source == source)
            ret_frames[removed++] = frames[i];
        else
            frames[kept++] = frames[i];
    }
    convoy->count = kept;
    return removed;
}

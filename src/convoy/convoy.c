#include "convoy/convoy.h"

#include <string.h>

void convoy_move_to_begin(struct convoy *convoy)
{
    memcpy(convoy->frames, convoy_frames(convoy), convoy->count * sizeof(convoy->frames[0]));
    convoy->first = 0;
}

bool convoy_merge(struct convoy *convoy, struct frame *frame, unsigned offloads,
                  enum merge_refusal *ret_refusal)
{
    unsigned slot = frame->facts.flow_hash % CONVOY_FLOWS_MAX;
    struct frame *super = convoy->flows[slot].frame;
    bool is_aboard = convoy->flows[slot].number > convoy->sealed;

    *ret_refusal = MERGE_JOINED;
    if (is_aboard && super->source == frame->source && merge_same_flow(super, frame)) {
        *ret_refusal = merge_join(super, frame, offloads);
        if (*ret_refusal == MERGE_JOINED) {
            convoy->packets++;
            return true;
        }
    }
    convoy_load(convoy, frame);
    convoy->flows[slot].frame = frame;
    convoy->flows[slot].number = convoy->loaded;
    return false;
}

void convoy_seal(struct convoy *convoy)
{
    convoy_seal_until(convoy, convoy->loaded);
}

void convoy_seal_first(struct convoy *convoy)
{
    convoy_seal_until(convoy, convoy->loaded - convoy->count + 1);
}

void convoy_unload(struct convoy *convoy, unsigned count, unsigned packets)
{
    assert(count <= convoy->count && packets <= convoy->packets);
    if (CV_UNLIKELY(convoy->shared > 0)) {
        for (unsigned i = 0; i < count && count < convoy->count; i++)
            convoy->shared -= convoy_frames(convoy)[i]->is_shared;
        if (count == convoy->count)
            convoy->shared = 0;
    }
    convoy->first += count;
    convoy->count -= count;
    convoy->packets -= packets;
    convoy_seal_until(convoy, convoy->loaded - convoy->count);
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
        if (!source || frames[i]->source == source) {
            convoy->packets -= 1u + frames[i]->merged_count;
            convoy->shared -= frames[i]->is_shared;
            ret_frames[removed++] = frames[i];
        } else {
            frames[kept++] = frames[i];
        }
    }
    convoy->count = kept;
    /* The numbers of those left have changed. */
    convoy_seal_until(convoy, convoy->loaded);
    return removed;
}

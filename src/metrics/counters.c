#include "metrics/counters.h"

struct reason_words {
    const char *name;
    const char *visit_name;
    const char *text;
};

static const struct reason_words reason_words[] = {{"none", "drop_none", "not dropped"},
#define DROP_REASON_WORDS(symbol, name, text) {name, "drop_" name, text},
                                                   DROP_REASONS(DROP_REASON_WORDS)
#undef DROP_REASON_WORDS
};

static_assert(CV_COUNT_OF(reason_words) == DROP_REASON_COUNT, "words for every reason");

/* Names for port_counters_visit; words for people are in metrics/merge_refusals.h. */
static const char *const merge_visit_names[] = {"merges",
#define MERGE_VISIT_NAME(symbol, name, text) "unmerged_" name,
                                                MERGE_REFUSALS(MERGE_VISIT_NAME)
#undef MERGE_VISIT_NAME
};

static_assert(CV_COUNT_OF(merge_visit_names) == MERGE_REFUSAL_COUNT, "a name for every refusal");

const char *drop_reason_name(enum drop_reason reason)
{
    assert(reason < DROP_REASON_COUNT);
    return reason_words[reason].name;
}

const char *drop_reason_text(enum drop_reason reason)
{
    assert(reason < DROP_REASON_COUNT);
    return reason_words[reason].text;
}

void port_counters_add(struct port_counters *sum, const struct port_counters *from)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *add = (const uint64_t *)from;

    static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "counters are a row of 64-bit words");
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        to[i] += __atomic_load_n(&add[i], __ATOMIC_RELAXED);
}

void port_counters_visit(const struct port_counters *counters,
                         void (*visit)(const char *name, uint64_t value, const char *text,
                                       void *context),
                         void *context)
{
#define PORT_COUNTER_VISIT(member, text) visit(#member, counters->member, text, context);
    PORT_COUNTERS(PORT_COUNTER_VISIT)
#undef PORT_COUNTER_VISIT
    for (int r = DROP_NONE + 1; r < DROP_REASON_COUNT; r++)
        visit(reason_words[r].visit_name, counters->drops[r], reason_words[r].text, context);
    visit(merge_visit_names[MERGE_JOINED], counters->merges[MERGE_JOINED], MERGES_TEXT, context);
    for (int r = MERGE_JOINED + 1; r < MERGE_REFUSAL_COUNT; r++)
        visit(merge_visit_names[r], counters->merges[r], merge_refusal_text((enum merge_refusal)r),
              context);
}

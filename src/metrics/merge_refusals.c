#include "metrics/merge_refusals.h"

#include "base/compiler.h"

struct refusal_words {
    const char *name;
    const char *text;
};

static const struct refusal_words refusal_words[] = {{"joined", "it was merged"},
#define MERGE_REFUSAL_WORDS(symbol, name, text) {name, text},
                                                     MERGE_REFUSALS(MERGE_REFUSAL_WORDS)
#undef MERGE_REFUSAL_WORDS
};

static_assert(CV_COUNT_OF(refusal_words) == MERGE_REFUSAL_COUNT, "words for every refusal");

const char *merge_refusal_name(enum merge_refusal refusal)
{
    assert(refusal < MERGE_REFUSAL_COUNT);
    return refusal_words[refusal].name;
}

const char *merge_refusal_text(enum merge_refusal refusal)
{
    assert(refusal < MERGE_REFUSAL_COUNT);
    return refusal_words[refusal].text;
}

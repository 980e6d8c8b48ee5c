/*
 * "Did you mean ...": the word of a list that lies nearest to what was typed. Pure. The distance is
 * the number of letters inserted, left out, replaced or swapped with their neighbour (Damerau, "A
 * technique for computer detection and correction of spelling errors", 1964, one edit per place).
 */
#ifndef CONVOY_BASE_NEAREST_H
#define CONVOY_BASE_NEAREST_H

#include "base/compiler.h"

enum { NEAREST_WORD_BYTES_MAX = 48 }; /* longer words are not compared */

struct nearest {
    const char *wanted;                    /* what was typed; the caller's */
    char word[NEAREST_WORD_BYTES_MAX + 1]; /* best candidate so far, "" for none */
    unsigned distance;                     /* of `word` */
};

/* Starts a search; `wanted` must outlive it. */
void nearest_init(struct nearest *nearest, const char *wanted);

/* Considers a candidate. It is taken if it is near enough to be meant, and nearer than the last. */
void nearest_offer(struct nearest *nearest, const char *candidate);

/* "; did you mean \"WORD\"?" in the caller's buffer, or "" when no candidate was near enough. */
const char *nearest_format(const struct nearest *nearest, char *buffer, size_t buffer_bytes);

#endif

/*
 * The sentence that reaches the operator. Functions that an operator's input can make fail take a
 * struct error and fill it at the place that knows the story; callers only pass it on.
 */
#ifndef CONVOY_BASE_ERROR_H
#define CONVOY_BASE_ERROR_H

#include "base/compiler.h"

struct error {
    char text[512]; /* one sentence: what is wrong, where, and what would be right */
};

/* Writes the sentence (cut at the array's end, always terminated) and returns `code`, a negative
 * errno. */
int error_set(struct error *error, int code, const char *format, ...) CV_PRINTF(3, 4);

#endif

/*
 * Reading results of the control protocol: what is missing or null counts as 0, "-" or not known,
 * so that the client's version and the daemon's may differ.
 */
#ifndef CONVOY_CLI_MEMBERS_H
#define CONVOY_CLI_MEMBERS_H

#include <jansson.h>
#include <string.h>

#include "base/compiler.h"

static inline const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "-";
}

static inline bool member_is(const json_t *object, const char *name, const char *text)
{
    return strcmp(member_text(object, name), text) == 0;
}

static inline uint64_t member_count(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static inline bool member_is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

/* False when it is not known; then *ret_number is 0. */
static inline bool member_number(const json_t *object, const char *name, double *ret_number)
{
    const json_t *value = json_object_get(object, name);

    *ret_number = json_number_value(value);
    return json_is_number(value);
}

/* The same where 0 does for what is not known. */
static inline double member_number_or_0(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

#endif

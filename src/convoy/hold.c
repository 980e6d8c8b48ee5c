#include "convoy/hold.h"

static const char *const hold_place_names[] = {
    [HOLD_PLACE_CALL] = "call",
    [HOLD_PLACE_DATA] = "data",
};
static_assert(CV_COUNT_OF(hold_place_names) == HOLD_PLACE_DATA + 1, "a word for every place");

const char *hold_place_name(enum hold_place place)
{
    return hold_place_names[place];
}

#include "search.h"

#include <errno.h>
#include <stdlib.h>

static bool has_held(const struct bench_result *result, double loss_max)
{
    double sent = (double)result->sent, unsent = (double)result->unsent;

    return result->sent > 0 && (double)result->lost <= loss_max * sent &&
           (double)result->late + unsent <= SEARCH_LATE_SHARE * (sent + unsent);
}

/* Tries a rate, and once more where it failed. */
static int try_twice(search_trial *trial, void *context, double rate, double loss_max,
                     bool *ret_held, struct bench_result *ret_result, struct error *error)
{
    bool held = false;

    for (unsigned i = 0; i < 2 && !held; i++) {
        int rc = trial(context, rate, ret_result, error);

        if (rc < 0)
            return rc;
        held = has_held(ret_result, loss_max);
    }
    *ret_held = held;
    return 0;
}

int search_rate(search_trial *trial, void *context, double rate_max, double loss_max,
                double *ret_rate, struct bench_result *ret_result, struct error *error)
{
    struct bench_result *tried = calloc(1, sizeof(*tried)); /* too large for small stacks */
    double good = 0, bad = rate_max, rate = rate_max;
    int rc = 0;

    if (!tried)
        return error_set(error, -ENOMEM, "no memory for the result of a trial");
    while (rate > 0) {
        bool held;

        rc = try_twice(trial, context, rate, loss_max, &held, tried, error);
        if (rc < 0)
            break;
        if (held || good == 0)
            *ret_result = *tried;
        if (held)
            good = rate;
        else
            bad = rate;
        rate = (good + bad) / 2;
        if (good == rate_max || bad - good <= SEARCH_STEP_SHARE * bad ||
            bad <= SEARCH_FLOOR * rate_max)
            break;
    }
    *ret_rate = good;
    free(tried);
    return rc;
}

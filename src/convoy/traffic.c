#include "convoy/traffic.h"

#include <assert.h>
#include <math.h>

/* What is left of a count when it no longer matters; it must not decay into denormal numbers, which
 * are slow. */
#define SHARE_MIN 1e-6f

/* Fewer gaps than this say nothing of how they are spread. */
#define BURSTINESS_GAPS_MIN 4

static unsigned gap_bucket(uint64_t gap_ns)
{
    unsigned shift;

    if (gap_ns < 1u << TRAFFIC_GAP_SUB_BITS)
        return (unsigned)gap_ns;
    if (gap_ns >= UINT64_C(1) << TRAFFIC_GAP_VALUE_BITS)
        return TRAFFIC_GAP_BUCKETS - 1;
    shift = 63u - (unsigned)__builtin_clzll(gap_ns) - TRAFFIC_GAP_SUB_BITS;
    return ((shift + 1) << TRAFFIC_GAP_SUB_BITS) + (unsigned)(gap_ns >> shift) -
           (1u << TRAFFIC_GAP_SUB_BITS);
}

/* The smallest gap of a bucket, in nanoseconds. */
static uint64_t bucket_start(unsigned bucket)
{
    unsigned octave = bucket >> TRAFFIC_GAP_SUB_BITS, sub = 1u << TRAFFIC_GAP_SUB_BITS;

    return octave == 0 ? bucket : (uint64_t)(sub + (bucket & (sub - 1))) << (octave - 1);
}

/* How many buckets, from the first, lie within the window as a whole. */
static unsigned buckets_within(double window_s)
{
    double window_ns = window_s * 1e9 * (1 + 1e-12);
    unsigned bucket;

    if (window_ns >= (double)(UINT64_C(1) << TRAFFIC_GAP_VALUE_BITS))
        return TRAFFIC_GAP_BUCKETS - 1;
    bucket = gap_bucket((uint64_t)window_ns);
    return CV_MAX(bucket, 1u);
}

void traffic_arrived(struct traffic *traffic, unsigned packets, uint64_t now_ns)
{
    assert(packets > 0);
    if (CV_LIKELY(traffic->last_ns != 0))
        traffic->gap_fresh[gap_bucket(CV_MAX(now_ns, traffic->last_ns) - traffic->last_ns)]++;
    else
        traffic->updated_ns = now_ns;
    traffic->gap_fresh[0] += CV_MIN(packets, TRAFFIC_BATCH_MAX) - 1;
    traffic->fresh_packets += packets;
    traffic->last_ns = now_ns;
}

void traffic_arrived_unseen(struct traffic *traffic, unsigned packets, uint64_t now_ns)
{
    uint64_t span_ns = CV_MAX(now_ns, traffic->last_ns) - traffic->last_ns;

    if (CV_UNLIKELY(traffic->last_ns == 0)) {
        traffic_arrived(traffic, packets, now_ns);
        return;
    }
    assert(packets > 0);
    traffic->gap_fresh[gap_bucket(CV_MAX(span_ns / packets, UINT64_C(1)))] += packets;
    traffic->fresh_packets += packets;
    traffic->last_ns = now_ns;
}

/* Lets the histogram fade, and adds the fresh gaps. */
static void update_gaps(struct traffic *traffic, float kept)
{
    uint64_t fresh = 0;
    float weight = 1, sum = 0;

    for (unsigned i = 1; i < TRAFFIC_GAP_BUCKETS; i++)
        fresh += traffic->gap_fresh[i];
    if (fresh > TRAFFIC_GAPS_PER_UPDATE)
        weight = (float)TRAFFIC_GAPS_PER_UPDATE / (float)fresh;
    for (unsigned i = 0; i < TRAFFIC_GAP_BUCKETS; i++) {
        float share = traffic->gap_share[i] * kept + (float)traffic->gap_fresh[i] * weight;

        traffic->gap_share[i] = share < SHARE_MIN ? 0 : share;
        traffic->gap_fresh[i] = 0;
        sum += traffic->gap_share[i];
    }
    traffic->gap_weight = sum;
}

void traffic_update(struct traffic *traffic, uint64_t now_ns)
{
    uint64_t elapsed_ns = now_ns - traffic->updated_ns;
    double kept, fresh_rate;

    if (traffic->last_ns == 0 || now_ns <= traffic->updated_ns)
        return;
    kept = exp(-(double)elapsed_ns / (double)TRAFFIC_MEMORY_NS);
    fresh_rate = (double)traffic->fresh_packets * 1e9 / (double)elapsed_ns;
    traffic->rate = traffic->rate * kept + fresh_rate * (1 - kept);
    update_gaps(traffic, (float)kept);
    traffic->fresh_packets = 0;
    traffic->updated_ns = now_ns;
}

double traffic_window(double window_s)
{
    return window_s * 1e9 < 1 ? 0 : (double)bucket_start(buckets_within(window_s)) / 1e9;
}

double traffic_company(const struct traffic *traffic, double window_s)
{
    unsigned count = buckets_within(window_s);
    double within = 0;

    if (traffic->gap_weight <= 0)
        return 0;
    for (unsigned i = 0; i < count; i++)
        within += (double)traffic->gap_share[i];
    return CV_MIN(within / traffic->gap_weight, 1.0);
}

double traffic_together(const struct traffic *traffic)
{
    return traffic_company(traffic, 0);
}

/* Sums over the gaps above 0 in the first `count` buckets: their number, lengths, and squares. */
struct gap_sums {
    double number, seconds, squares;
};

static struct gap_sums sum_gaps(const struct traffic *traffic, unsigned count)
{
    struct gap_sums sums = {0};

    for (unsigned i = 1; i < count; i++) {
        double number = (double)traffic->gap_share[i];
        double start = (double)bucket_start(i);
        double width = i + 1 < TRAFFIC_GAP_BUCKETS ? (double)bucket_start(i + 1) - start : 0;
        double middle = (start + (width - 1) / 2) / 1e9;

        if (number <= 0)
            continue;
        sums.number += number;
        sums.seconds += number * middle;
        sums.squares += number * middle * middle;
    }
    return sums;
}

double traffic_close_gap(const struct traffic *traffic, double window_s)
{
    struct gap_sums sums = sum_gaps(traffic, buckets_within(window_s));

    return sums.number > 0 ? sums.seconds / sums.number : 0;
}

double traffic_burstiness(const struct traffic *traffic)
{
    struct gap_sums sums = sum_gaps(traffic, TRAFFIC_GAP_BUCKETS);
    double mean, mean_square;

    if (sums.number < BURSTINESS_GAPS_MIN)
        return 1;
    mean = sums.seconds / sums.number;
    mean_square = sums.squares / sums.number;
    return CV_MAX(mean_square / (mean * mean) - 1, 0.0);
}

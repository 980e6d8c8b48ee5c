#include "arrivals.h"

#include <errno.h>
#include <math.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#include "config/scalar.h"

#define SPEED_MIN    0.001
#define SPEED_MAX    1000.0
#define PHASE_NS_MIN UINT64_C(1000) /* of ON and OFF */
#define PHASE_NS_MAX UINT64_C(60000000000)

enum { TRACE_PACKETS_MAX = 10000000, SPEC_BYTES_MAX = 4200 };

/* --- chance --- */

/* SplitMix64 (G. Steele et al., "Fast splittable pseudorandom number generators", 2014). */
static uint64_t random_next(struct arrivals *arrivals)
{
    uint64_t x = arrivals->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* An exponential variate: the logarithm of a number in (0, 1]. */
static double draw_exponential(struct arrivals *arrivals, double mean)
{
    double uniform = (double)(random_next(arrivals) >> 11) * 0x1p-53;

    return -log1p(-uniform) * mean;
}

/* --- what comes next --- */

/*
 * An exponential gap has no memory: what of it reaches beyond the end of the phase is cut off, and
 * a new one is drawn when the next phase begins.
 */
static double next_onoff(struct arrivals *arrivals)
{
    double at_ns = arrivals->at_ns + draw_exponential(arrivals, arrivals->gap_ns);

    while (at_ns > arrivals->on_until_ns) {
        double on_from_ns =
            arrivals->on_until_ns + draw_exponential(arrivals, arrivals->off_mean_ns);

        arrivals->on_until_ns = on_from_ns + draw_exponential(arrivals, arrivals->on_mean_ns);
        at_ns = on_from_ns + draw_exponential(arrivals, arrivals->gap_ns);
    }
    return at_ns;
}

static double next_trace(struct arrivals *arrivals)
{
    double gap_ns = arrivals->trace_gaps_ns[arrivals->trace_next];

    arrivals->trace_next = (arrivals->trace_next + 1) % arrivals->trace_count;
    return arrivals->at_ns + gap_ns;
}

uint64_t arrivals_next_ns(struct arrivals *arrivals)
{
    switch (arrivals->kind) {
    case ARRIVALS_POISSON:
        arrivals->at_ns += draw_exponential(arrivals, arrivals->gap_ns);
        break;
    case ARRIVALS_CONSTANT:
        arrivals->at_ns += arrivals->gap_ns;
        break;
    case ARRIVALS_ONOFF:
        arrivals->at_ns = next_onoff(arrivals);
        break;
    case ARRIVALS_TRACE:
        arrivals->at_ns = next_trace(arrivals);
        break;
    }
    return (uint64_t)arrivals->at_ns;
}

/* --- numbers --- */

static bool number_between(const char *text, double min, double max, double *ret_number)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= min && value <= max))
        return false;
    *ret_number = value;
    return true;
}

static int set_rate(struct arrivals *arrivals, const char *text, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];

    if (!number_between(text, ARRIVALS_RATE_MIN, ARRIVALS_RATE_MAX, &arrivals->rate))
        return error_set(error, -EINVAL,
                         "arrivals: rate %s is not a number of packets per second from %g to %g",
                         text_quote(text, quoted), ARRIVALS_RATE_MIN, ARRIVALS_RATE_MAX);
    arrivals->gap_ns = 1e9 / arrivals->rate;
    return 0;
}

static int set_phase(double *mean_ns, const char *text, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];
    uint64_t ns;

    if (!text || !duration_parse(text, &ns) || ns < PHASE_NS_MIN || ns > PHASE_NS_MAX)
        return error_set(
            error, -EINVAL,
            "arrivals: on-off needs RATE,ON,OFF with times from 1us to 60s; %s is none",
            text ? text_quote(text, quoted) : "nothing");
    *mean_ns = (double)ns;
    return 0;
}

static int init_onoff(struct arrivals *arrivals, char *text, struct error *error)
{
    char *rest = text, *rate = strsep(&rest, ","), *on = strsep(&rest, ",");
    int result = set_rate(arrivals, rate, error);

    if (result == 0)
        result = set_phase(&arrivals->on_mean_ns, on, error);
    if (result == 0)
        result = set_phase(&arrivals->off_mean_ns, rest, error);
    if (result < 0)
        return result;
    arrivals->rate *= arrivals->on_mean_ns / (arrivals->on_mean_ns + arrivals->off_mean_ns);
    arrivals->on_until_ns = draw_exponential(arrivals, arrivals->on_mean_ns);
    return 0;
}

/* --- a capture --- */

/* Times of the packets in ns since the first, in a heap array that the caller frees. */
static int read_times(const char *path, double **ret_times, size_t *ret_count, struct error *error)
{
    char why[PCAP_ERRBUF_SIZE] = "";
    pcap_t *capture =
        pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);
    struct pcap_pkthdr *packet;
    const u_char *bytes;
    double *times = NULL;
    double first_s = 0;
    size_t count = 0, room = 0;
    int result = -EINVAL, read = 0;

    if (!capture)
        return error_set(error, -EINVAL, "arrivals: %s cannot be read as a capture: %s", path, why);
    while (count < TRACE_PACKETS_MAX && (read = pcap_next_ex(capture, &packet, &bytes)) == 1) {
        if (count == room) {
            double *more = reallocarray(times, room = room * 2 + 1024, sizeof(*times));

            if (!more)
                break;
            times = more;
        }
        first_s = count == 0 ? (double)packet->ts.tv_sec : first_s;
        times[count++] = ((double)packet->ts.tv_sec - first_s) * 1e9 + (double)packet->ts.tv_usec;
    }
    if (read == PCAP_ERROR)
        error_set(error, -EINVAL, "arrivals: %s cannot be read to its end: %s", path,
                  pcap_geterr(capture));
    else if (read == 1 && count < TRACE_PACKETS_MAX)
        error_set(error, result = -ENOMEM, "arrivals: no memory for the capture %s", path);
    else if (count < 2)
        error_set(error, -EINVAL, "arrivals: %s has %zu packets; a trace needs at least 2", path,
                  count);
    else
        result = 0;
    pcap_close(capture);
    if (result < 0) {
        free(times);
        return result;
    }
    *ret_times = times;
    *ret_count = count;
    return 0;
}

/*
 * Times become gaps in place. Clocks step back at times: that counts as no gap. What leads from the
 * end to the start again is as long as the others are on average.
 */
static double times_to_gaps(double *times, size_t count, double speed)
{
    double span_ns = 0;

    for (size_t i = 0; i + 1 < count; i++) {
        times[i] = fmax(times[i + 1] - times[i], 0) / speed;
        span_ns += times[i];
    }
    times[count - 1] = span_ns / (double)(count - 1);
    return times[count - 1];
}

static int init_trace(struct arrivals *arrivals, char *text, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES];
    char *comma = strrchr(text, ',');
    double speed = 1;
    int result;

    if (comma && !number_between(comma + 1, SPEED_MIN, SPEED_MAX, &speed))
        return error_set(error, -EINVAL, "arrivals: speed %s is not a number from %g to %g",
                         text_quote(comma + 1, quoted), SPEED_MIN, SPEED_MAX);
    if (comma)
        *comma = '\0';
    result = read_times(text, &arrivals->trace_gaps_ns, &arrivals->trace_count, error);
    if (result < 0)
        return result;
    arrivals->gap_ns = times_to_gaps(arrivals->trace_gaps_ns, arrivals->trace_count, speed);
    arrivals->rate = 1e9 / arrivals->gap_ns;
    if (arrivals->rate >= ARRIVALS_RATE_MIN && arrivals->rate <= ARRIVALS_RATE_MAX)
        return 0;
    arrivals_uninit(arrivals);
    return error_set(error, -EINVAL,
                     "arrivals: %s has %g packets per second at speed %g; allowed are %g to %g",
                     text, arrivals->rate, speed, ARRIVALS_RATE_MIN, ARRIVALS_RATE_MAX);
}

/* --- the word --- */

int arrivals_init(struct arrivals *arrivals, const char *spec, uint64_t seed, struct error *error)
{
    char quoted[QUOTED_TEXT_BYTES], text[SPEC_BYTES_MAX];
    char *rest = text, *word;

    *arrivals = (struct arrivals){.random = seed};
    if (strlen(spec) >= sizeof(text))
        return error_set(error, -EINVAL, "arrivals: more than %zu characters", sizeof(text) - 1);
    strcpy(text, spec);
    word = strsep(&rest, ":");
    if (rest && strcmp(word, "poisson") == 0) {
        arrivals->kind = ARRIVALS_POISSON;
        return set_rate(arrivals, rest, error);
    }
    if (rest && strcmp(word, "constant") == 0) {
        arrivals->kind = ARRIVALS_CONSTANT;
        return set_rate(arrivals, rest, error);
    }
    if (rest && strcmp(word, "onoff") == 0) {
        arrivals->kind = ARRIVALS_ONOFF;
        return init_onoff(arrivals, rest, error);
    }
    if (rest && strcmp(word, "trace") == 0) {
        arrivals->kind = ARRIVALS_TRACE;
        return init_trace(arrivals, rest, error);
    }
    return error_set(error, -EINVAL,
                     "arrivals: %s is none of poisson:RATE, constant:RATE, onoff:RATE,ON,OFF, "
                     "trace:FILE[,SPEED]",
                     text_quote(spec, quoted));
}

void arrivals_uninit(struct arrivals *arrivals)
{
    free(arrivals->trace_gaps_ns);
    arrivals->trace_gaps_ns = NULL;
}

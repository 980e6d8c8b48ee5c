/*
 * JSON is made first; CSV is taken from it by the names of its members, so that both always say the
 * same.
 */
#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "bench_options.h"
#include "control/version.h"
#include "guest/vhost_user.h"

enum { REAL_DIGITS = 9 };

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0;
}

/* --- JSON --- */

static json_t *count_of(uint64_t number)
{
    return json_integer((json_int_t)number);
}

static json_t *rate_of(double number)
{
    return json_real(number);
}

/* A figure that stands on packets; null without any. */
static json_t *known(bool is_known, json_t *value)
{
    if (is_known)
        return value;
    json_decref(value);
    return json_null();
}

static json_t *delay_object(const struct histogram *delay)
{
    bool any = delay->count > 0;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "count", count_of(delay->count), "mean",
                     known(any, rate_of(histogram_mean(delay))), "p50",
                     known(any, count_of(histogram_quantile(delay, 0.5))), "p99",
                     known(any, count_of(histogram_quantile(delay, 0.99))), "p99_9",
                     known(any, count_of(histogram_quantile(delay, 0.999))), "max",
                     known(any, count_of(delay->max)));
}

/* Both times are of windows that begin and end a little apart. */
static double cpu_ns_per_packet(const struct bench_result *r)
{
    return per(per((double)r->switch_cpu_ns, r->switch_seconds),
               per((double)r->received, r->seconds));
}

static json_t *switch_object(const struct report *report)
{
    const struct bench_result *r = report->result;
    double cpu_ns = (double)r->switch_cpu_ns;

    if (report->options->switch_pid == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "cpu_ns", count_of(r->switch_cpu_ns),
                     "cpu_ns_per_packet", known(r->received > 0, rate_of(cpu_ns_per_packet(r))),
                     "cpu_share", rate_of(per(cpu_ns, r->switch_seconds * 1e9)), "rss_bytes",
                     count_of(r->switch_rss_bytes), "rss_peak_bytes",
                     count_of(r->switch_rss_peak_bytes));
}

static json_t *features_array(uint64_t features)
{
    json_t *names = json_array();
    char name[32];

    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t feature = features & UINT64_C(1) << bit;

        if (feature)
            json_array_append_new(
                names, json_string(vhost_user_features_format(feature, name, sizeof(name))));
    }
    return names;
}

static json_t *search_object(const struct report *report)
{
    if (!report->options->search)
        return json_null();
    return json_pack("{s:o, s:o}", "rate_pps", rate_of(report->searched_pps), "loss_max",
                     rate_of(report->options->loss_max));
}

static json_t *size_value(const struct bench_options *options)
{
    char text[BENCH_SIZE_TEXT_BYTES];

    if (options->sizes == BENCH_FIXED)
        return count_of(options->size_bytes);
    return json_string(bench_size_format(options, text));
}

static json_t *cpus_array(const struct bench_options *options)
{
    json_t *cpus = json_array();

    for (unsigned i = 0; i < options->cpu_count; i++)
        json_array_append_new(cpus, count_of(options->cpus[i]));
    return cpus;
}

static json_t *options_object(const struct bench_options *o)
{
    return json_pack(
        "{s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:b, s:b, s:b, s:s, s:s?, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o}",
        "guests", count_of(o->guest_count), "pairs", count_of(o->pairs), "ring",
        count_of(o->ring_size), "pattern", bench_pattern_word(o->pattern), "receive",
        bench_receive_word(o->receive), "kind", bench_kind_word(o->kind), "size", size_value(o),
        "flows", count_of(o->flows), "offloads", o->offloads, "mergeable", o->mergeable, "verify",
        o->verify, "arrivals", o->arrivals ? o->arrivals : "max", "then", o->then, "cpus",
        cpus_array(o), "seconds", rate_of((double)o->duration_ns / 1e9), "warm_up",
        rate_of((double)o->warm_up_ns / 1e9), "sample", count_of(o->sample), "burst",
        count_of(o->burst), "switch_pid",
        o->switch_pid ? count_of((uint64_t)o->switch_pid) : json_null(), "timeout",
        rate_of(o->timeout_ms / 1e3));
}

static json_t *guests_array(const struct report *report)
{
    json_t *guests = json_array();

    for (unsigned i = 0; i < report->result->guest_count; i++) {
        const struct bench_guest_result *g = &report->result->guests[i];

        json_array_append_new(
            guests, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "sent", count_of(g->sent),
                              "received", count_of(g->received), "received_bytes",
                              count_of(g->received_bytes), "received_pps", rate_of(g->received_pps),
                              "kicks", count_of(g->kicks), "calls", count_of(g->calls)));
    }
    return guests;
}

/* What was counted, and rates of it. */
static json_t *figures_object(const struct report *report)
{
    const struct bench_result *r = report->result;
    double sent = (double)r->sent, received = (double)r->received;

    return json_pack(
        "{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o}",
        "label", report->options->label, "version", CONVOY_VERSION, "interrupted",
        report->interrupted, "seconds", rate_of(r->seconds), "offered_pps", rate_of(r->offered),
        "sent", count_of(r->sent), "received", count_of(r->received), "lost", count_of(r->lost),
        "loss", known(r->sent > 0, rate_of(per((double)r->lost, sent))), "late", count_of(r->late),
        "unsent", count_of(r->unsent), "sent_pps", rate_of(per(sent, r->seconds)), "received_pps",
        rate_of(per(received, r->seconds)), "sent_bps",
        rate_of(per((double)r->sent_bytes * 8, r->seconds)), "received_bps",
        rate_of(per((double)r->received_bytes * 8, r->seconds)), "kicks", count_of(r->kicks),
        "calls", count_of(r->calls), "kicks_per_packet",
        known(r->sent > 0, rate_of(per((double)r->kicks, sent))), "calls_per_packet",
        known(r->received > 0, rate_of(per((double)r->calls, received))), "fairness",
        rate_of(r->fairness));
}

/* The whole object; NULL: no memory. */
static json_t *report_object(const struct report *report)
{
    const struct bench_options *o = report->options;
    const struct bench_result *r = report->result;
    json_t *root = figures_object(report);
    json_t *rest = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "missed_calls",
        count_of(r->missed_calls), "out_of_order", count_of(r->out_of_order), "delay_ns",
        delay_object(&r->delay_ns), "jitter_ns",
        known(r->delay_ns.count > 0, rate_of(r->jitter_ns)), "altered",
        known(o->verify, count_of(r->altered)), "reordered",
        known(o->verify, count_of(r->reordered)), "doubled", known(o->verify, count_of(r->doubled)),
        "first_wrong", r->first_wrong[0] ? json_string(r->first_wrong) : json_null(), "switch",
        switch_object(report), "features", features_array(r->features), "step_ns",
        r->step_ns ? count_of(r->step_ns) : json_null(), "search", search_object(report), "options",
        options_object(o), "guests", guests_array(report));

    if (root && rest && json_object_update(root, rest) == 0) {
        json_decref(rest);
        return root;
    }
    json_decref(root);
    json_decref(rest);
    return NULL;
}

static int stream_result(FILE *out)
{
    if (fflush(out) != 0 || ferror(out))
        return errno ? -errno : -EIO;
    return 0;
}

int report_json(FILE *out, const struct report *report)
{
    json_t *root = report_object(report);
    int rc;

    if (!root)
        return -ENOMEM;
    errno = 0;
    rc = json_dumpf(root, out, JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS));
    json_decref(root);
    if (rc < 0)
        return errno ? -errno : -EIO;
    fputc('\n', out);
    return stream_result(out);
}

/* --- CSV --- */

/* Members of the object, those of objects in it as "object.member". Single guests are left out. */
static const char *const columns[] = {
    "label",
    "seconds",
    "offered_pps",
    "sent",
    "received",
    "lost",
    "loss",
    "late",
    "unsent",
    "sent_pps",
    "received_pps",
    "sent_bps",
    "received_bps",
    "kicks",
    "calls",
    "kicks_per_packet",
    "calls_per_packet",
    "fairness",
    "missed_calls",
    "out_of_order",
    "delay_ns.count",
    "delay_ns.mean",
    "delay_ns.p50",
    "delay_ns.p99",
    "delay_ns.p99_9",
    "delay_ns.max",
    "jitter_ns",
    "altered",
    "reordered",
    "doubled",
    "switch.cpu_ns",
    "switch.cpu_ns_per_packet",
    "switch.cpu_share",
    "switch.rss_bytes",
    "switch.rss_peak_bytes",
    "search.rate_pps",
    "search.loss_max",
    "interrupted",
    "options.guests",
    "options.pairs",
    "options.ring",
    "options.pattern",
    "options.receive",
    "options.kind",
    "options.size",
    "options.flows",
    "options.offloads",
    "options.mergeable",
    "options.verify",
    "options.arrivals",
    "options.then",
    "options.seconds",
    "options.warm_up",
    "options.sample",
    "options.burst",
};

/* "object.member" of the root; NULL where there is none. */
static const json_t *member_at(const json_t *root, const char *path)
{
    char object[32];
    const char *dot = strchr(path, '.');

    if (!dot)
        return json_object_get(root, path);
    (void)snprintf(object, sizeof(object), "%.*s", (int)(dot - path), path);
    return json_object_get(json_object_get(root, object), dot + 1);
}

static void put_text(FILE *out, const char *text)
{
    if (!text[strcspn(text, ",\"\r\n")]) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void put_value(FILE *out, const json_t *value)
{
    if (json_is_string(value))
        put_text(out, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(out, "%.*g", REAL_DIGITS, json_real_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "1" : "0", out);
}

int report_csv(FILE *out, const struct report *report, bool with_head)
{
    json_t *root = report_object(report);

    if (!root)
        return -ENOMEM;
    for (unsigned i = 0; with_head && i < CV_COUNT_OF(columns); i++)
        fprintf(out, "%s%s", i ? "," : "", columns[i]);
    if (with_head)
        fputc('\n', out);
    for (unsigned i = 0; i < CV_COUNT_OF(columns); i++) {
        fputs(i ? "," : "", out);
        put_value(out, member_at(root, columns[i]));
    }
    fputc('\n', out);
    json_decref(root);
    errno = 0;
    return stream_result(out);
}

/* --- for people --- */

/* "12.3 M", with a prefix so that up to 4 digits are enough; in the caller's buffer. */
static const char *scale(double number, char text[static 24])
{
    static const char *const prefixes[] = {" ", " k", " M", " G", " T"};
    unsigned i = 0;

    while (number >= 1000 && i + 1 < CV_COUNT_OF(prefixes)) {
        number /= 1000;
        i++;
    }
    (void)snprintf(text, 24, "%.4g%s", number, prefixes[i]);
    return text;
}

static void print_head(FILE *out, const struct report *report)
{
    const struct bench_options *o = report->options;
    char size[BENCH_SIZE_TEXT_BYTES];

    fprintf(out, "%s%s%u guests, %s, %s, %s%s, arrivals %s%s%s; measured for %.3g s%s\n", o->label,
            *o->label ? ": " : "", o->guest_count, bench_pattern_word(o->pattern),
            o->sizes == BENCH_CAPTURE ? "frames" : bench_kind_word(o->kind),
            bench_size_format(o, size), o->sizes == BENCH_FIXED ? " bytes" : "",
            o->arrivals ? o->arrivals : "max", o->then ? ", then " : "", o->then ? o->then : "",
            report->result->seconds, report->interrupted ? " (interrupted)" : "");
}

static void print_rates(FILE *out, const struct report *report)
{
    const struct bench_result *r = report->result;
    double s = r->seconds;
    char packets[24], bits[24];

    if (r->offered > 0)
        fprintf(out, "offered    %spackets/s\n", scale(r->offered, packets));
    fprintf(out, "sent       %spackets/s, %sbit/s\n", scale(per((double)r->sent, s), packets),
            scale(per((double)r->sent_bytes * 8, s), bits));
    fprintf(out, "received   %spackets/s, %sbit/s\n", scale(per((double)r->received, s), packets),
            scale(per((double)r->received_bytes * 8, s), bits));
    fprintf(out, "lost       %llu of %llu packets (%.3g %%)\n", (unsigned long long)r->lost,
            (unsigned long long)r->sent, 100 * per((double)r->lost, (double)r->sent));
    if (r->unsent > 0)
        fprintf(out, "unsent     %llu packets that were due had not been sent at the end\n",
                (unsigned long long)r->unsent);
    if (r->offered > 0)
        fprintf(out, "late       %llu packets sent 5 us or more behind their time (%.3g %%)\n",
                (unsigned long long)r->late, 100 * per((double)r->late, (double)r->sent));
}

/* "71.68 us", "104.5 ms"; in the caller's buffer. */
static const char *time_text(double ns, char text[static 24])
{
    const char *unit = ns < 1e6 ? "us" : ns < 1e9 ? "ms" : "s";

    (void)snprintf(text, 24, "%.4g %s", ns / (ns < 1e6 ? 1e3 : ns < 1e9 ? 1e6 : 1e9), unit);
    return text;
}

static void print_delay(FILE *out, const struct bench_result *r)
{
    static const struct {
        const char *text;
        double quantile;
    } quantiles[] = {{"median ", 0.5}, {"99 % within ", 0.99}, {"99.9 % within ", 0.999}};
    const struct histogram *delay = &r->delay_ns;
    char text[24];

    if (delay->count == 0) {
        fputs("delay      of no packet measured\n", out);
        return;
    }
    fprintf(out, "delay      mean %s", time_text(histogram_mean(delay), text));
    for (unsigned i = 0; i < CV_COUNT_OF(quantiles); i++)
        fprintf(out, ", %s%s", quantiles[i].text,
                time_text((double)histogram_quantile(delay, quantiles[i].quantile), text));
    fprintf(out, ", all within %s (%llu packets)\n", time_text((double)delay->max, text),
            (unsigned long long)delay->count);
    fprintf(out, "jitter     %s\n", time_text(r->jitter_ns, text));
}

static void print_switch(FILE *out, const struct report *report)
{
    const struct bench_result *r = report->result;
    double cpu_ns = (double)r->switch_cpu_ns;
    char now[24], peak[24];

    if (r->switch_cpu_ns == 0)
        return;
    fprintf(out, "switch     %.4g processors, %.4g ns of one per packet; memory %sB, at most %sB\n",
            per(cpu_ns, r->switch_seconds * 1e9), cpu_ns_per_packet(r),
            scale((double)r->switch_rss_bytes, now), scale((double)r->switch_rss_peak_bytes, peak));
}

static void print_verdict(FILE *out, const struct report *report)
{
    const struct bench_result *r = report->result;
    char rate[24];

    if (report->options->verify)
        fprintf(out, "verified   %llu altered, %llu reordered, %llu doubled\n",
                (unsigned long long)r->altered, (unsigned long long)r->reordered,
                (unsigned long long)r->doubled);
    if (r->first_wrong[0])
        fprintf(out, "first      %s\n", r->first_wrong);
    if (!report->options->search)
        return;
    if (report->searched_pps > 0)
        fprintf(out,
                "highest rate with at most %g %% lost: %spackets/s (the figures above are of "
                "that rate)\n",
                100 * report->options->loss_max, scale(report->searched_pps, rate));
    else
        fprintf(
            out,
            "no rate held: at each, more than %g %% were lost, or more than 1 %% sent late (the "
            "figures above are of the last one)\n",
            100 * report->options->loss_max);
}

void report_human(FILE *out, const struct report *report)
{
    const struct bench_result *r = report->result;
    char features[512];

    print_head(out, report);
    print_rates(out, report);
    print_delay(out, r);
    fprintf(out, "kicks      %.4g per packet sent; calls %.4g per packet received\n",
            per((double)r->kicks, (double)r->sent), per((double)r->calls, (double)r->received));
    fprintf(out, "fairness   %.4f (Jain's index; 1: all guests received alike)\n", r->fairness);
    if (r->missed_calls > 0)
        fprintf(out, "missed     %llu calls that were asked for and had not come after 200 ms\n",
                (unsigned long long)r->missed_calls);
    print_switch(out, report);
    fprintf(out, "features   %s\n",
            vhost_user_features_format(r->features, features, sizeof(features)));
    print_verdict(out, report);
}

/*
 * Goal: what was measured is reported as it was, in the members, units and words that programs
 * stand on, and what was not measured is never a number. Method: a result whose every figure is
 * known, read back from JSON by its parser and from CSV by its rules.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "report.h"

static struct bench_result result;
static struct bench_options options;
static struct report report;

/* Two guests, the first sent to the second for two seconds. */
static void fill(void)
{
    memset(&result, 0, sizeof(result));
    options = (struct bench_options){.sockets = {"a", "b"},
                                     .guest_count = 2,
                                     .pairs = 1,
                                     .ring_size = 1024,
                                     .pattern = BENCH_FAN_IN,
                                     .receive = BENCH_CALL,
                                     .kind = TRAFFIC_TCP6,
                                     .size_bytes = 128,
                                     .flows = 3,
                                     .mergeable = true,
                                     .verify = true,
                                     .arrivals = "poisson:5e5",
                                     .then = "constant:1e5",
                                     .duration_ns = 2000000000,
                                     .warm_up_ns = 500000000,
                                     .sample = 16,
                                     .burst = 32,
                                     .cpus = {0, 3},
                                     .cpu_count = 2,
                                     .switch_pid = 77,
                                     .search = true,
                                     .loss_max = 0.001,
                                     .label = "mine",
                                     .timeout_ms = 10000};
    result.seconds = 2;
    result.offered = 500000;
    result.sent = 1000000;
    result.received = 900000;
    result.lost = 100000;
    result.late = 12;
    result.unsent = 34;
    result.switch_seconds = 2;
    result.sent_bytes = 128000000;
    result.received_bytes = 115200000;
    result.kicks = 500;
    result.calls = 9000;
    result.fairness = 0.75;
    result.missed_calls = 4;
    result.out_of_order = 6;
    for (unsigned i = 1; i <= 1000; i++)
        histogram_record(&result.delay_ns, i * 1000, 1);
    result.jitter_ns = 321.5;
    result.altered = 3;
    result.reordered = 2;
    result.doubled = 1;
    strcpy(result.first_wrong, "frame 7 of flow 0 has \"wrong\" bytes");
    result.switch_cpu_ns = 1500000000;
    result.switch_rss_bytes = 10 << 20;
    result.switch_rss_peak_bytes = 30 << 20;
    result.guest_count = 2;
    result.guests[0] = (struct bench_guest_result){.sent = 1000000, .kicks = 500};
    result.guests[1] = (struct bench_guest_result){
        .received = 900000, .received_bytes = 115200000, .calls = 9000, .received_pps = 450000};
    result.features = UINT64_C(1) << 32 | 1 << 15;
    result.step_ns = 987654321;
    report = (struct report){.options = &options, .result = &result, .searched_pps = 400000};
}

/* What a function of report.h writes, in a string that the caller frees. */
static char *text_of(int (*write_report)(FILE *out))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    assert_non_null(out);
    assert_int_equal(write_report(out), 0);
    fclose(out);
    return text;
}

static int write_json(FILE *out)
{
    return report_json(out, &report);
}

static int write_csv(FILE *out)
{
    return report_csv(out, &report, true);
}

static int write_human(FILE *out)
{
    report_human(out, &report);
    return 0;
}

static json_t *json_of_report(void)
{
    char *text = text_of(write_json);
    json_error_t why;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);

    if (!root)
        fail_msg("%s: %s", why.text, text);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    free(text);
    return root;
}

/* "object.member" */
static json_t *at(json_t *root, const char *path)
{
    char text[64], *rest = text, *name;
    json_t *value = root;

    snprintf(text, sizeof(text), "%s", path);
    while ((name = strsep(&rest, ".")) != NULL)
        value = json_object_get(value, name);
    if (!value)
        fail_msg("there is no %s", path);
    return value;
}

static void assert_number(json_t *root, const char *path, double expected)
{
    double value = json_number_value(at(root, path));

    assert_true(json_is_number(at(root, path)));
    if (fabs(value - expected) > 1e-6 * fabs(expected))
        fail_msg("%s is %g, not %g", path, value, expected);
}

static void assert_text(json_t *root, const char *path, const char *expected)
{
    assert_true(json_is_string(at(root, path)));
    assert_string_equal(json_string_value(at(root, path)), expected);
}

/* --- JSON --- */

static void json_has_every_figure(void **state)
{
    static const struct {
        const char *path;
        double value;
    } numbers[] = {
        {"seconds", 2},
        {"offered_pps", 500000},
        {"sent", 1000000},
        {"received", 900000},
        {"lost", 100000},
        {"loss", 0.1},
        {"late", 12},
        {"unsent", 34},
        {"sent_pps", 500000},
        {"received_pps", 450000},
        {"sent_bps", 512000000},
        {"received_bps", 460800000},
        {"kicks", 500},
        {"calls", 9000},
        {"kicks_per_packet", 0.0005},
        {"calls_per_packet", 0.01},
        {"fairness", 0.75},
        {"missed_calls", 4},
        {"out_of_order", 6},
        {"delay_ns.count", 1000},
        {"delay_ns.mean", 500500},
        {"delay_ns.max", 1000000},
        {"jitter_ns", 321.5},
        {"altered", 3},
        {"reordered", 2},
        {"doubled", 1},
        {"switch.cpu_ns", 1.5e9},
        {"switch.cpu_ns_per_packet", 1.5e9 / 900000},
        {"switch.cpu_share", 0.75},
        {"switch.rss_bytes", 10485760},
        {"switch.rss_peak_bytes", 31457280},
        {"step_ns", 987654321},
        {"search.rate_pps", 400000},
        {"search.loss_max", 0.001},
        {"options.guests", 2},
        {"options.pairs", 1},
        {"options.ring", 1024},
        {"options.size", 128},
        {"options.flows", 3},
        {"options.seconds", 2},
        {"options.warm_up", 0.5},
        {"options.sample", 16},
        {"options.burst", 32},
        {"options.switch_pid", 77},
    };
    json_t *root;

    (void)state;
    fill();
    root = json_of_report();
    for (unsigned i = 0; i < CV_COUNT_OF(numbers); i++)
        assert_number(root, numbers[i].path, numbers[i].value);
    /* A histogram knows values to 3 %. */
    assert_in_range(json_integer_value(at(root, "delay_ns.p50")), 500000, 520000);
    assert_in_range(json_integer_value(at(root, "delay_ns.p99")), 990000, 1000000);
    assert_in_range(json_integer_value(at(root, "delay_ns.p99_9")), 999000, 1000000);
    json_decref(root);
}

static void json_has_every_word(void **state)
{
    json_t *root, *features;

    (void)state;
    fill();
    root = json_of_report();
    assert_text(root, "label", "mine");
    assert_text(root, "first_wrong", "frame 7 of flow 0 has \"wrong\" bytes");
    assert_text(root, "options.pattern", "fan-in");
    assert_text(root, "options.receive", "call");
    assert_text(root, "options.kind", "tcp6");
    assert_text(root, "options.arrivals", "poisson:5e5");
    assert_text(root, "options.then", "constant:1e5");
    assert_true(json_is_true(at(root, "options.verify")));
    assert_true(json_is_true(at(root, "options.mergeable")));
    assert_true(json_is_false(at(root, "options.offloads")));
    assert_true(json_is_false(at(root, "interrupted")));
    assert_int_equal(json_array_size(at(root, "options.cpus")), 2);
    assert_int_equal(json_integer_value(json_array_get(at(root, "options.cpus"), 1)), 3);
    features = at(root, "features");
    assert_int_equal(json_array_size(features), 2);
    assert_string_equal(json_string_value(json_array_get(features, 0)), "MRG_RXBUF");
    assert_string_equal(json_string_value(json_array_get(features, 1)), "VERSION_1");
    json_decref(root);
}

static void json_has_every_guest(void **state)
{
    json_t *root, *second;

    (void)state;
    fill();
    root = json_of_report();
    assert_int_equal(json_array_size(at(root, "guests")), 2);
    assert_number(json_array_get(at(root, "guests"), 0), "sent", 1000000);
    assert_number(json_array_get(at(root, "guests"), 0), "kicks", 500);
    second = json_array_get(at(root, "guests"), 1);
    assert_number(second, "received", 900000);
    assert_number(second, "received_bytes", 115200000);
    assert_number(second, "received_pps", 450000);
    assert_number(second, "calls", 9000);
    json_decref(root);
}

/* The same run without what is not always measured. */
static void what_was_not_measured_is_null(void **state)
{
    static const char *const absent[] = {
        "switch",
        "search",
        "step_ns",
        "first_wrong",
        "options.then",
        "altered",
        "reordered",
        "doubled",
        "jitter_ns",
        "delay_ns.mean",
        "delay_ns.p50",
        "delay_ns.p99",
        "delay_ns.max",
        "loss",
        "kicks_per_packet",
        "calls_per_packet",
        "options.switch_pid",
    };
    json_t *root;

    (void)state;
    fill();
    options.switch_pid = 0;
    result.switch_cpu_ns = 0;
    options.search = options.verify = false;
    options.arrivals = options.then = NULL;
    options.sizes = BENCH_IMIX;
    result.sent = result.received = result.lost = result.step_ns = 0;
    result.first_wrong[0] = '\0';
    memset(&result.delay_ns, 0, sizeof(result.delay_ns));
    root = json_of_report();
    for (unsigned i = 0; i < CV_COUNT_OF(absent); i++)
        if (!json_is_null(at(root, absent[i])))
            fail_msg("%s is not null", absent[i]);
    assert_number(root, "delay_ns.count", 0);
    assert_text(root, "options.arrivals", "max");
    assert_text(root, "options.size", "imix");
    json_decref(root);
}

/* --- CSV --- */

/* Cuts a line of CSV into its fields, in place, by RFC 4180; returns where the next line starts. */
static char *split_line(char *text, char **fields, unsigned *ret_count)
{
    unsigned count = 0;
    char *out;

    for (;;) {
        bool quoted = *text == '"';

        fields[count++] = out = text + quoted;
        for (text += quoted; *text; text++) {
            if (quoted && *text == '"' && text[1] == '"')
                text++;
            else if (quoted ? *text == '"' : (*text == ',' || *text == '\n'))
                break;
            *out++ = *text;
        }
        text += quoted;
        if (*text != ',') {
            assert_int_equal(*text, '\n');
            *out = '\0';
            *ret_count = count;
            return text + 1;
        }
        *out = '\0';
        text++;
    }
}

/* Every column is a member of the JSON of the same name, and says the same. */
static void csv_says_what_json_says(void **state)
{
    char *text, *names[100], *values[100], *end;
    unsigned name_count, value_count;
    json_t *root;

    (void)state;
    fill();
    options.label = "a \"label\", with\nall of it";
    text = text_of(write_csv);
    root = json_of_report();
    end = split_line(split_line(text, names, &name_count), values, &value_count);
    assert_int_equal(*end, '\0');
    assert_int_equal(name_count, value_count);
    assert_in_range(name_count, 45, 100);
    assert_string_equal(names[0], "label");
    for (unsigned i = 0; i < name_count; i++) {
        json_t *value = at(root, names[i]);

        if (json_is_string(value))
            assert_string_equal(values[i], json_string_value(value));
        else if (json_is_boolean(value))
            assert_string_equal(values[i], json_is_true(value) ? "1" : "0");
        else
            assert_number(root, names[i], strtod(values[i], NULL));
    }
    free(text);
    json_decref(root);
}

static void csv_leaves_out_what_was_not_measured(void **state)
{
    char *text, *names[100], *values[100];
    unsigned count, empty = 0;

    (void)state;
    fill();
    options.switch_pid = 0;
    result.switch_cpu_ns = 0;
    options.search = false;
    options.then = NULL;
    text = text_of(write_csv);
    (void)split_line(split_line(text, names, &count), values, &count);
    for (unsigned i = 0; i < count; i++)
        if (strncmp(names[i], "switch.", 7) == 0 || strncmp(names[i], "search.", 7) == 0 ||
            strcmp(names[i], "options.then") == 0) {
            assert_string_equal(values[i], "");
            empty++;
        }
    assert_int_equal(empty, 5 + 2 + 1);
    free(text);
}

/* --- for people --- */

static void people_are_told_it_with_units(void **state)
{
    static const char *const parts[] = {
        ("mine: 2 guests, fan-in, tcp6, 128 bytes, arrivals poisson:5e5, then constant:1e5; "
         "measured for 2 s"),
        "offered    500 kpackets/s",
        "sent       500 kpackets/s, 512 Mbit/s",
        "received   450 kpackets/s, 460.8 Mbit/s",
        "lost       100000 of 1000000 packets (10 %)",
        "late       12 packets",
        "unsent     34 packets",
        "mean 500.5 us",
        "all within 1 ms (1000 packets)",
        "jitter     0.3215 us",
        "kicks      0.0005 per packet sent; calls 0.01 per packet received",
        "fairness   0.7500",
        "missed     4 calls",
        "switch     0.75 processors, 1667 ns of one per packet",
        "features   MRG_RXBUF, VERSION_1",
        "verified   3 altered, 2 reordered, 1 doubled",
        "first      frame 7 of flow 0",
        "highest rate with at most 0.1 % lost: 400 kpackets/s",
    };
    char *text;

    (void)state;
    fill();
    text = text_of(write_human);
    for (unsigned i = 0; i < CV_COUNT_OF(parts); i++)
        if (!strstr(text, parts[i]))
            fail_msg("\"%s\" is not in:\n%s", parts[i], text);
    free(text);
    report.searched_pps = 0;
    text = text_of(write_human);
    assert_null(strstr(text, "highest"));
    assert_non_null(strstr(text, "no rate held: at each, more than 0.1 % were lost, or"));
    free(text);
    options.switch_pid = 0;
    result.switch_cpu_ns = 0;
    options.search = options.verify = false;
    memset(&result.delay_ns, 0, sizeof(result.delay_ns));
    report.interrupted = true;
    text = text_of(write_human);
    assert_null(strstr(text, "switch "));
    assert_null(strstr(text, "verified"));
    assert_null(strstr(text, "highest"));
    assert_non_null(strstr(text, "delay      of no packet measured"));
    assert_non_null(strstr(text, "(interrupted)"));
    free(text);
}

static void a_full_disk_is_noticed(void **state)
{
    FILE *full = fopen("/dev/full", "w");

    (void)state;
    fill();
    assert_non_null(full);
    assert_int_equal(report_json(full, &report), -ENOSPC);
    clearerr(full);
    assert_int_equal(report_csv(full, &report, true), -ENOSPC);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_figure),
        cmocka_unit_test(json_has_every_word),
        cmocka_unit_test(json_has_every_guest),
        cmocka_unit_test(what_was_not_measured_is_null),
        cmocka_unit_test(csv_says_what_json_says),
        cmocka_unit_test(csv_leaves_out_what_was_not_measured),
        cmocka_unit_test(people_are_told_it_with_units),
        cmocka_unit_test(a_full_disk_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

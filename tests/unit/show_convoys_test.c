/*
 * Goal: the section on convoys of `convoy port show` is aligned, fits 100 columns, and shows what
 * is known, "-" for what is not. Method: documents as port.show gives them; what is printed is
 * caught in a file and compared, once in full, elsewhere in parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../cli/show_convoys.h"
#include "base/compiler.h"

enum { COLUMNS_MAX = 100 };

#define HISTOGRAM "{'count':123456,'mean':7.86,'p50':6,'p99':21,'p99_9':21,'max':24}"

static const char queue[] =
    "{'index':0,'to':{"
    "  'rate_per_second':212345.6,'silent_ns':3000,'mean_batch':1.5,'burstiness':1.07,'company':1,"
    "  'rule':{'packets_max':21,'time_max_ns':34000,'silence_max_ns':9000,'place':'data'},"
    "  'bounds':null,"
    "  'predicted':{'mean_size':7.5,'mean_wait_s':1.1e-5},"
    "  'measured':{'mean_size':7.86,'mean_wait_s':9.87e-6},"
    "  'costs':{'transfer_s':3.1e-7,'packet_s':5.2e-8,'call_s':6e-7,'calls_wanted':0.75,"
    "           'answer_call_s':4e-6,'answer_packet_s':2e-7},"
    "  'merges':true,'merge_share':0.5,'cost_ratio_s':2e-4,"
    "  'now':{'utilisation':0.0234},'twice':{'utilisation':0.0412}},"
    " 'from':{'rate_per_second':81000,'rule':{'packets_max':9,'time_max_ns':20000}}}";

static const char port[] =
    "{'counters':{'merges':98765},'unmerged':{'ip_id':12,'sequence':0,'empty':43210},"
    " 'tuning':{'queues':[],'histograms':{'size':" HISTOGRAM ",'added_delay_ns':" HISTOGRAM
    ",'residence_ns':{'count':0,'mean':null,'p50':null,'p99':null,'p99_9':null,'max':null}}}}";

static char printed[16384];

static json_t *parse(const char *quoted)
{
    char *document = strdup(quoted);
    json_t *value;

    for (char *c = document; *c; c++)
        if (*c == '\'')
            *c = '"';
    value = json_loads(document, 0, NULL);
    assert_non_null(value);
    free(document);
    return value;
}

/* The port with so many queues of the kind above. */
static json_t *make_port(unsigned queue_count)
{
    json_t *made = parse(port);
    json_t *queues = json_object_get(json_object_get(made, "tuning"), "queues");

    for (unsigned i = 0; i < queue_count; i++)
        json_array_append_new(queues, parse(queue));
    return made;
}

static json_t *to_of(const json_t *made, unsigned index)
{
    const json_t *queues = json_object_get(json_object_get(made, "tuning"), "queues");

    return json_object_get(json_array_get(queues, index), "to");
}

/* Shows the port, takes it, and keeps what is printed. */
static void show(json_t *made)
{
    FILE *file = tmpfile();
    int out = dup(STDOUT_FILENO);
    size_t len;

    assert_true(file && out >= 0);
    fflush(stdout);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    show_convoys(made);
    fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    close(out);
    rewind(file);
    len = fread(printed, 1, sizeof(printed) - 1, file);
    printed[len] = '\0';
    fclose(file);
    json_decref(made);
}

static void check_width(void)
{
    for (const char *line = printed; *line;) {
        size_t len = strcspn(line, "\n");

        if (len > COLUMNS_MAX)
            fail_msg("%zu columns: %.*s", len, (int)len, line);
        assert_true(len == 0 || line[len - 1] != ' ');
        line += len + (line[len] == '\n');
    }
}

static void expect(const char *words)
{
    check_width();
    if (!strstr(printed, words))
        fail_msg("lacks \"%s\":\n%s", words, printed);
}

static void expect_not(const char *words)
{
    if (strstr(printed, words))
        fail_msg("has \"%s\":\n%s", words, printed);
}

/* In full, once, so that headings and columns are seen. */
static void test_all_of_it(void **state)
{
    (void)state;
    show(make_port(1));
    check_width();
    assert_string_equal(
        printed,
        "\n"
        "  convoys to the port:\n"
        "    rule            data waits until 21 packets, 34.0 us, or 9.00 us of silence\n"
        "    worker          310 ns a group + 52.0 ns a packet; a call 600 ns, wanted by 75 % of "
        "groups\n"
        "    guest           4.00 us a call + 200 ns a packet, until it has looked\n"
        "\n"
        "    QUEUE  PACKETS/S  BATCH  BURSTS  GROUP  MODEL    ADDED    MODEL  WORKER  AT TWICE\n"
        "        0      212 k   1.50    1.07   7.86   7.50  9.87 us  11.0 us   2.3 %     4.1 %\n"
        "\n"
        "    SINCE IT WAS ADDED  COUNT     MEAN      P50      P99    P99.9      MAX\n"
        "    packets in a group  123 k     7.86        6       21       21       24\n"
        "    added delay         123 k  7.86 ns  6.00 ns  21.0 ns  21.0 ns  24.0 ns\n"
        "    time in the switch      0        -        -        -        -        -\n"
        "\n"
        "    98.8 k frames were merged into one of their flow; these were not, though one was "
        "aboard:\n"
        "          12  ip_id  its IPv4 id does not follow that of the segment before\n"
        "      43.2 k  empty  it, or the frame before, carries no payload, as pure "
        "acknowledgements do\n"
        "\n"
        "  kicks of the port, and calls that give its buffers back:\n"
        "    queue 0: up to 9 packets or 20.0 us in a group, at 81.0 k packets/s\n");
}

static void set_rule(json_t *made, const char *quoted)
{
    json_object_set_new(to_of(made, 0), "rule", parse(quoted));
}

static void test_rules(void **state)
{
    json_t *made = make_port(1);

    (void)state;
    set_rule(made, "{'packets_max':256,'time_max_ns':0,'silence_max_ns':null,'place':'call'}");
    show(made);
    expect("rule            nothing waits for company\n");
    made = make_port(1);
    set_rule(made, "{'packets_max':5,'time_max_ns':1500,'silence_max_ns':null,'place':'call'}");
    show(made);
    expect("rule            the call waits until 5 packets or 1.50 us\n");
    made = make_port(1);
    set_rule(made, "{'packets_max':256,'time_max_ns':99999999,'silence_max_ns':12345678,"
                   "'place':'call'}");
    show(made);
    expect("the call waits until 256 packets, 100 ms, or 12.3 ms of silence\n");
}

/* What is not known is "-" or left out, never a 0 that would be believed. */
static void test_unknown(void **state)
{
    json_t *made = make_port(1), *to = to_of(made, 0);

    (void)state;
    json_object_set_new(to, "rate_per_second", json_integer(0));
    json_object_set_new(to, "mean_batch", json_null());
    json_object_set_new(to, "burstiness", json_null());
    json_object_set_new(to, "measured", parse("{'mean_size':null,'mean_wait_s':null}"));
    json_object_del(to, "predicted");
    json_object_set_new(to, "now", json_null());
    json_object_set_new(to, "twice", json_null());
    json_object_set_new(to, "costs",
                        parse("{'transfer_s':null,'packet_s':null,'call_s':0,"
                              "'calls_wanted':1,'answer_call_s':null}"));
    show(made);
    expect("        0          0      -       -      -      -      -      -       -         -\n");
    expect_not("a group +");
    expect_not("until it has looked");
}

/* Several queues: each has its row; rules are told of those with traffic. */
static void test_many_queues(void **state)
{
    json_t *made = make_port(8);

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        if (i != 3)
            json_object_set_new(to_of(made, i), "rate_per_second", json_integer(0));
    show(made);
    expect("    rule, queue 3   data waits");
    expect_not("rule, queue 0");
    expect("        7          0   1.50");
    expect("    queue 7: up to 9 packets");
    made = make_port(2);
    json_object_set_new(to_of(made, 0), "rate_per_second", json_integer(0));
    json_object_set_new(to_of(made, 1), "rate_per_second", json_integer(0));
    show(made);
    expect("    rule, queue 0   data waits");
    expect_not("rule, queue 1");
}

static void test_one_way_only(void **state)
{
    json_t *made = make_port(1);
    json_t *queues = json_object_get(json_object_get(made, "tuning"), "queues");

    (void)state;
    json_object_set_new(json_array_get(queues, 0), "to", json_null());
    json_object_set_new(json_array_get(queues, 0), "from", json_null());
    show(made);
    expect_not("rule");
    expect_not("kicks");
    expect("time in the switch");
}

static void test_merges(void **state)
{
    json_t *made = make_port(1);

    (void)state;
    json_object_set_new(made, "unmerged", parse("{'ip_id':0}"));
    show(made);
    expect("    98.8 k frames were merged into one of their flow\n");
    made = make_port(1);
    json_object_set_new(made, "unmerged", parse("{'ip_id':0}"));
    json_object_set_new(made, "counters", parse("{'merges':0}"));
    show(made);
    expect_not("merged");
    made = make_port(1);
    json_object_set_new(made, "unmerged", parse("{'a_reason_of_tomorrow':3}"));
    show(made);
    expect("      3  a_reason_of_tomorrow  (a reason that this version does not know)\n");
}

/* The largest numbers there can be keep within the lines. */
static void test_large_numbers(void **state)
{
    json_t *made = make_port(8);

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        json_t *to = to_of(made, i);

        json_object_set_new(to, "rate_per_second", json_real(123456789));
        json_object_set_new(to, "mean_batch", json_real(255.5));
        json_object_set_new(to, "burstiness", json_real(12345.6));
        json_object_set_new(to, "measured", parse("{'mean_size':255.5,'mean_wait_s':0.999}"));
        json_object_set_new(to, "predicted", parse("{'mean_size':255.5,'mean_wait_s':0.999}"));
        json_object_set_new(to, "now", parse("{'utilisation':12.345}"));
        json_object_set_new(to, "twice", parse("{'utilisation':0.0001}"));
        json_object_set_new(to, "costs",
                            parse("{'transfer_s':0.000999,'packet_s':0.000999,'call_s':0.000999,"
                                  "'calls_wanted':0.0001,'answer_call_s':0.00999,"
                                  "'answer_packet_s':0.00999}"));
    }
    show(made);
    expect("1234 %");
    expect("under 0.1 %");
}

/* An answer of another version: nothing, and no crash. */
static void test_nothing_told(void **state)
{
    (void)state;
    show(parse("{'counters':{}}"));
    assert_string_equal(printed, "");
    show(parse("{'tuning':{}}"));
    expect("convoys to the port");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it),     cmocka_unit_test(test_rules),
        cmocka_unit_test(test_unknown),       cmocka_unit_test(test_many_queues),
        cmocka_unit_test(test_one_way_only),  cmocka_unit_test(test_merges),
        cmocka_unit_test(test_large_numbers), cmocka_unit_test(test_nothing_told),
    };

    return cmocka_run_group_tests_name("show_convoys", tests, NULL, NULL);
}

/*
 * Goal: `convoy explain` says of every state and rule what is so, names the right reason, and gives
 * no number without its unit. Method: documents as port.show gives them, one change from a healthy
 * port for each branch; sentences that must be there and such that must not; and every text is
 * searched for bare numbers.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../cli/explain.h"
#include "base/compiler.h"

/* A guest that is called for groups of 8, under the cost rule. */
static const char healthy[] =
    "{'name':'vm1','state':'running','last_fault':null,'frames_waiting':0,"
    "'config':{'type':'vhost-user','mode':'server','hold':'adaptive','delay-budget':'50us',"
    "          'delay-weight':0.1,'merge':true,'queues':1},"
    "'counters':{'merges':0},'drops':{'queue_full':0,'stalled':0},'unmerged':{'ip_id':0},"
    "'tuning':{'queues':[{'index':0,'to':{"
    "  'rate_per_second':200000,'silent_ns':3000,'mean_batch':1.0,'burstiness':1.1,'company':1,"
    "  'rule':{'packets_max':21,'time_max_ns':34000,'silence_max_ns':null,'place':'call'},"
    "  'bounds':{'least_cost_time_s':3.4e-5,'budget_time_s':9.4e-5,'budget_packets':21},"
    "  'predicted':{'mean_size':7.5,'mean_wait_s':1.1e-5},"
    "  'measured':{'mean_size':8,'mean_wait_s':1e-5},"
    "  'costs':{'transfer_s':3e-7,'packet_s':5e-8,'call_s':6e-7,'calls_wanted':0.9,"
    "           'answer_call_s':4e-6,'answer_packet_s':2e-7},"
    "  'merges':true,'merge_share':0.1,'cost_ratio_s':4.6e-5,"
    "  'now':{'rate_per_second':200000,'packets_max':21,'time_max_ns':34000,'mean_size':7.5,"
    "         'mean_wait_s':1.1e-5,'utilisation':0.03,'capacity_per_second':6e6},"
    "  'twice':{'rate_per_second':400000,'packets_max':41,'time_max_ns':33000,'mean_size':14,"
    "           'mean_wait_s':1.5e-5,'utilisation':0.05,'capacity_per_second':8e6}},"
    " 'from':null}]}}";

static json_t *port; /* what the test at hand explains */
static char *text;   /* what was said of it */

static json_t *parse(const char *quoted)
{
    char *document = strdup(quoted);
    json_error_t error;
    json_t *value;

    for (char *c = document; *c; c++)
        if (*c == '\'')
            *c = '"';
    value = json_loads(document, JSON_DECODE_ANY, &error);
    if (!value)
        fail_msg("%s in %s", error.text, document);
    free(document);
    return value;
}

static int set_up(void **state)
{
    (void)state;
    port = parse(healthy);
    text = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(port);
    free(text);
    return 0;
}

/* Sets a member by its path ("tuning.queues.0.to.company"), which must exist but for its end. */
static void set(const char *path, const char *quoted_value)
{
    char *words = strdup(path), *next = words, *word = strsep(&next, ".");
    json_t *at = port;

    for (; next; word = strsep(&next, "."))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(word)) : json_object_get(at, word);
    assert_non_null(at);
    assert_int_equal(json_object_set_new(at, word, parse(quoted_value)), 0);
    free(words);
}

static void set_to(const char *member, const char *quoted_value)
{
    char path[128];

    snprintf(path, sizeof(path), "tuning.queues.0.to.%s", member);
    set(path, quoted_value);
}

static void hold_nothing(void)
{
    set_to("rule.time_max_ns", "0");
    set_to("rule.packets_max", "256");
    set_to("measured.mean_wait_s", "0");
    set_to("predicted.mean_wait_s", "0");
}

/* --- numbers and their units --- */

static bool is_unit(const char *word)
{
    static const char *const units[] = {"ns",     "us",     "ms",      "s",      "%",
                                        "packet", "frames", "packets", "queues", "of its"};

    for (size_t i = 0; i < CV_COUNT_OF(units); i++) {
        size_t len = strlen(units[i]);

        if (strncmp(word, units[i], len) == 0 && !isalnum((unsigned char)word[len]))
            return true;
    }
    return false;
}

/* The number at `at` stands with a unit, behind a letter for thousands or not; or it is a name. */
static bool has_unit(const char *at)
{
    size_t len = strspn(at, "0123456789.");

    if (at[len] != ' ' || strncmp(at - 6, "queue ", 6) == 0)
        return isalpha((unsigned char)at[len]) || strncmp(at - 6, "queue ", 6) == 0;
    at += len + 1;
    if (strchr("kMGTPE", *at) && at[1] == ' ')
        at += 2;
    return is_unit(at);
}

static void check_numbers(void)
{
    for (const char *at = text; *at; at++)
        if (isdigit((unsigned char)*at) && at > text && strchr(" (", at[-1]) && !has_unit(at))
            fail_msg("no unit: \"%.40s\" in: %s", at, text);
}

/* --- what is said --- */

static void explain(void)
{
    size_t len;
    FILE *out;

    free(text);
    out = open_memstream(&text, &len);
    assert_non_null(out);
    explain_port(port, out);
    fclose(out);
    assert_true(len > 0);
    assert_int_equal(text[len - 1], '.');
    assert_null(strchr(text, '\n'));
    assert_null(strstr(text, "  "));
    assert_null(strstr(text, ".."));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, " inf"));
    assert_null(strstr(text, " - "));
    check_numbers();
}

static void expect(const char *words)
{
    if (!strstr(text, words))
        fail_msg("lacks \"%s\": %s", words, text);
}

static void expect_not(const char *words)
{
    if (strstr(text, words))
        fail_msg("says \"%s\": %s", words, text);
}

/* --- a port that holds --- */

/* The whole paragraph, once, so that its order and punctuation are seen. */
static void test_healthy(void **state)
{
    (void)state;
    explain();
    assert_string_equal(
        text,
        "vm1 gets 200 k packets per second, one at a time, at random moments. With hold=adaptive a "
        "group now departs with 21 packets, or 34.0 us after its first. Only the call waits: the "
        "packets are visible to the receiver at once. It pays: sparing one call is worth 46.0 us "
        "of "
        "one packet's waiting, and the next arrival is 5.00 us away on average. Cost is what "
        "limits "
        "that: to wait longer would cost more than it saves, though the delay budget of 50us on "
        "average would allow 94.0 us. At this load the time runs out first. In the last second a "
        "group had 8.00 packets on average, and waiting for company added 10.0 us to a packet's "
        "delay; the model had said 7.50 packets and 11.0 us. Nothing limits it: to deliver this "
        "takes 3.0 % of the worker's time, most of it for calls, and it could deliver 6.00 M "
        "packets "
        "per second in groups of this size. At twice the load, 400 k packets per second, the model "
        "expects groups of 14.0 packets, an added delay of 15.0 us, 5.0 % of the worker's time, "
        "and "
        "room for 8.00 M packets per second.");
}

static void test_the_budget_binds(void **state)
{
    (void)state;
    set_to("bounds.least_cost_time_s", "2e-4");
    explain();
    expect("The delay budget of 50us on average is what limits that: if only cost counted, a group "
           "would wait 200 us.");
    expect_not("Cost is what limits");
}

static void test_the_count_ends_it(void **state)
{
    (void)state;
    set_to("rule.packets_max", "5");
    explain();
    expect("the 5 packets are together first, after about 20.0 us");
    expect_not("time runs out first");
}

static void test_bursts(void **state)
{
    (void)state;
    set_to("burstiness", "7.5");
    set_to("rule.silence_max_ns", "9000");
    explain();
    expect(", in bursts.");
    expect("As packets come in bursts, a group departs also when nothing has come for 9.00 us.");
    expect_not("runs out first");
}

static void test_spacing(void **state)
{
    (void)state;
    set_to("burstiness", "0.05");
    explain();
    expect("one at a time, evenly spaced.");
    set_to("burstiness", "null");
    explain();
    expect("one at a time. ");
}

static void test_batches(void **state)
{
    (void)state;
    set_to("mean_batch", "4");
    explain();
    expect("gets 200 k packets per second, in batches of 4.00 packets, at random moments.");
    expect("the next arrival is 20.0 us away");
}

static void test_little_company(void **state)
{
    (void)state;
    set_to("company", "0.4");
    explain();
    expect("Fewer packets are followed by another in time than if they came at random (40 % of "
           "that)");
}

static void test_data_is_held(void **state)
{
    (void)state;
    set_to("rule.place", "'data'");
    set("counters.merges", "750");
    set("unmerged.ip_id", "250");
    explain();
    expect("What waits is the packets themselves, since most are of a kind that can be merged");
    expect("sparing one transfer is worth");
    expect("So far 75 % of the frames that found their flow aboard were merged with it; the "
           "commonest reason against it: its IPv4 id does not follow that of the segment before.");
    expect_not("Only the call waits");
    set("unmerged.a_reason_of_tomorrow", "251");
    explain();
    expect("were merged with it. ");
    set("unmerged", "{}");
    explain();
    expect("So far 100 % of the frames that found their flow aboard were merged with it. ");
}

/* --- a port where nothing waits --- */

static void test_too_rare_to_wait_for(void **state)
{
    (void)state;
    hold_nothing();
    set_to("rate_per_second", "2000");
    explain();
    expect("With hold=adaptive nothing waits at the moment: sparing one call is worth 46.0 us of "
           "one packet's waiting, but the next arrival is 500 us away on average, so waiting would "
           "cost more than it saves.");
    expect_not("runs out first");
}

static void test_alone(void **state)
{
    (void)state;
    hold_nothing();
    set_to("company", "0");
    explain();
    expect("nothing waits at the moment: too few packets are followed by another soon enough to "
           "wait for it, as when each packet is sent only after the answer to the last.");
}

static void test_a_guest_that_polls(void **state)
{
    (void)state;
    hold_nothing();
    set_to("costs.calls_wanted", "0.001");
    set_to("cost_ratio_s", "1e-8");
    explain();
    expect("nothing waits at the moment: the guest's driver polls its ring and wants no calls, so "
           "there is none to spare.");
}

static void test_costs_unknown(void **state)
{
    (void)state;
    hold_nothing();
    set_to("cost_ratio_s", "0");
    set_to("costs.transfer_s", "null");
    set_to("now.capacity_per_second", "0");
    set_to("twice.capacity_per_second", "0");
    explain();
    expect("what a transfer costs has still to be learnt.");
    expect_not("Nothing limits it");
    expect_not("At twice");
}

static void test_after_a_silence(void **state)
{
    (void)state;
    hold_nothing();
    explain();
    expect("packets have come again only just now, after a silence");
}

/* --- other modes --- */

static void test_off(void **state)
{
    (void)state;
    hold_nothing();
    set("config.hold", "'off'");
    explain();
    expect("With hold=off each frame departs on its own, announced by a call of its own");
    expect("At twice the load");
    expect_not("adaptive");
}

static void test_natural(void **state)
{
    (void)state;
    hold_nothing();
    set("config.hold", "'natural'");
    explain();
    expect("With hold=natural packets that were taken from their senders together depart together, "
           "and nothing waits");
    expect_not("adaptive");
}

static void test_fixed(void **state)
{
    (void)state;
    set("config.hold", "'fixed:21,34us'");
    set_to("bounds", "null");
    explain();
    expect("With hold=fixed:21,34us a group departs with 21 packets, or 34.0 us after its first.");
    expect("Only the call waits");
    expect("the time runs out first");
    expect_not("adaptive");
    expect_not("budget");
}

/* --- ports without traffic --- */

static void test_no_vmm(void **state)
{
    (void)state;
    set("state", "'waiting'");
    explain();
    expect("No guest is plugged into vm1: no VMM is connected to its socket.");
    expect("counted as port_down");
    expect("\"convoy port show vm1 --print qemu\"");
    expect_not("stopped");
    expect_not("packets per second");
    set("config.mode", "'client'");
    explain();
    expect("no VMM listens on its socket");
}

static void test_no_driver(void **state)
{
    (void)state;
    set("state", "'connected'");
    set("last_fault", "'a descriptor lies beyond the ring'");
    explain();
    expect("A VMM is connected to vm1, but its guest has not started the queues");
    expect("It was last stopped for this reason: a descriptor lies beyond the ring.");
    expect_not("packets per second");
}

static void test_no_receive_queue(void **state)
{
    (void)state;
    set("tuning.queues.0.to", "null");
    explain();
    expect("has no queue on which its guest receives");
    json_object_del(port, "tuning");
    explain();
    expect("has no queue on which its guest receives");
}

static void set_idle(void)
{
    set_to("rate_per_second", "0");
    set_to("silent_ns", "2300000000");
    set_to("mean_batch", "null");
    set_to("burstiness", "null");
    set_to("now", "null");
    set_to("twice", "null");
}

static void test_idle(void **state)
{
    (void)state;
    set_idle();
    explain();
    expect("vm1 is idle: the last packet for it came 2.30 s ago. One that comes now does not wait: "
           "with hold=adaptive");
    expect_not("per second");
    expect_not("limits");
    set_to("silent_ns", "null");
    explain();
    expect("vm1 is idle: no packet has come for it yet.");
}

static void test_idle_in_other_modes(void **state)
{
    (void)state;
    set_idle();
    set("config.hold", "'fixed:8,30us'");
    set_to("rule.time_max_ns", "30000");
    explain();
    expect("One that comes now waits for others, for 30.0 us at most, since hold=fixed:8,30us says "
           "so.");
    set("config.hold", "'natural'");
    set_to("rule.time_max_ns", "0");
    explain();
    expect("One that comes now does not wait: with hold=natural none does.");
}

/* --- limits --- */

static void test_a_guest_without_buffers(void **state)
{
    (void)state;
    set("frames_waiting", "57");
    set("drops.queue_full", "1000");
    set("drops.stalled", "200");
    explain();
    expect("The receiver limits it: 57 frames wait because it has posted no buffers for them.");
    expect("1200 frames for it were dropped because it took them too slowly.");
    expect("The worker is not what limits it:");
    expect_not("Nothing limits it");
}

/* What the rule holds back is not waiting for buffers. */
static void test_held_frames_are_not_blocked(void **state)
{
    (void)state;
    set("frames_waiting", "21");
    set_to("rule.place", "'data'");
    explain();
    expect_not("receiver limits it");
    set("frames_waiting", "22");
    explain();
    expect("The receiver limits it: 22 frames wait");
}

static void test_a_busy_worker(void **state)
{
    (void)state;
    set_to("now.utilisation", "0.97");
    set_to("twice.utilisation", "1.6");
    explain();
    expect(
        "What limits it is the worker, which this load keeps busy: in groups of this size it can "
        "deliver 6.00 M packets per second at most. Most of its time goes to calls.");
    expect("At twice the load, 400 k packets per second, the worker would not keep up: the model "
           "expects groups of 14.0 packets, an added delay of 15.0 us, and no more than 8.00 M "
           "packets per second.");
    set_to("now.utilisation", "null");
    set_to("twice.utilisation", "null");
    explain();
    expect("What limits it is the worker");
    expect("would not keep up");
    set("frames_waiting", "57");
    explain();
    expect("The receiver limits it");
    expect("So does the worker");
}

static void test_what_is_dearest(void **state)
{
    (void)state;
    set_to("costs.packet_s", "1e-6");
    explain();
    expect("most of it for the packets themselves");
    set_to("costs.packet_s", "1e-8");
    set_to("costs.transfer_s", "2e-6");
    explain();
    expect("most of it for what each group costs whatever its size");
}

/* --- other receivers --- */

static void test_tap(void **state)
{
    (void)state;
    hold_nothing();
    set("config.type", "'tap'");
    set_to("costs.calls_wanted", "0");
    set_to("cost_ratio_s", "0");
    explain();
    expect("each frame is written to the host's kernel by a system call of its own, so there is no "
           "call to spare.");
    expect_not("guest");
    /* Merging spares transfers there too. */
    set_to("rule.time_max_ns", "20000");
    set_to("rule.place", "'data'");
    set_to("cost_ratio_s", "3e-5");
    explain();
    expect("What waits is the packets themselves");
    expect_not("guest");
}

static void test_merging_is_not_possible(void **state)
{
    (void)state;
    set_to("merges", "false");
    explain();
    expect("Nothing is merged, since the receiver takes no super-packets.");
    set("config.merge", "false");
    explain();
    expect("Nothing is merged, since merge=off.");
}

static void test_many_queues(void **state)
{
    json_t *queues = json_object_get(json_object_get(port, "tuning"), "queues");
    json_t *copy = json_deep_copy(json_array_get(queues, 0)), *idle = json_deep_copy(copy);
    json_t *to = json_object_get(copy, "to");

    (void)state;
    json_object_set_new(to, "rate_per_second", json_real(300000));
    json_object_set_new(json_object_get(to, "rule"), "packets_max", json_integer(33));
    json_object_set_new(json_object_get(idle, "to"), "rate_per_second", json_integer(0));
    json_array_append_new(queues, copy);
    json_array_append_new(queues, idle);
    explain();
    expect("vm1 gets 500 k packets per second through 2 of its 3 queues. What follows is about "
           "queue 1, the busiest: 300 k packets per second, one at a time");
    expect("departs with 33 packets");

    /* With none busy, the one that was last. */
    set_idle();
    json_object_set_new(to, "rate_per_second", json_integer(0));
    json_object_set_new(to, "silent_ns", json_integer(400000000));
    json_object_set_new(json_object_get(idle, "to"), "silent_ns", json_null());
    explain();
    expect("the last packet for it came 400 ms ago");
}

/* An answer of another version, or none: never a crash, always a sentence. */
static void test_what_is_missing(void **state)
{
    static const char *const members[] = {"config", "counters", "drops", "unmerged", "state"};
    static const char *const of_to[] = {"rule",  "bounds",       "predicted", "measured",
                                        "costs", "cost_ratio_s", "now",       "twice"};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(of_to); i++) {
        json_t *to = json_object_get(
            json_array_get(json_object_get(json_object_get(port, "tuning"), "queues"), 0), "to");

        json_object_del(to, of_to[i]);
        explain();
    }
    for (size_t i = 0; i < CV_COUNT_OF(members); i++) {
        json_object_del(port, members[i]);
        explain();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_healthy),
        TEST(test_the_budget_binds),
        TEST(test_the_count_ends_it),
        TEST(test_bursts),
        TEST(test_spacing),
        TEST(test_batches),
        TEST(test_little_company),
        TEST(test_data_is_held),
        TEST(test_too_rare_to_wait_for),
        TEST(test_alone),
        TEST(test_a_guest_that_polls),
        TEST(test_costs_unknown),
        TEST(test_after_a_silence),
        TEST(test_off),
        TEST(test_natural),
        TEST(test_fixed),
        TEST(test_no_vmm),
        TEST(test_no_driver),
        TEST(test_no_receive_queue),
        TEST(test_idle),
        TEST(test_idle_in_other_modes),
        TEST(test_a_guest_without_buffers),
        TEST(test_held_frames_are_not_blocked),
        TEST(test_a_busy_worker),
        TEST(test_what_is_dearest),
        TEST(test_tap),
        TEST(test_merging_is_not_possible),
        TEST(test_many_queues),
        TEST(test_what_is_missing),
    };

    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}

/*
 * Goal: every line that can arrive at the control socket gets the answer that convoyd(8) promises.
 * Method: requests go through control_rpc_answer to a switch that is a fake (lib/fake_vswitch.c);
 * answers are parsed and compared. The sockets around it are tested in control_server_test.c.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/control_limits.h"
#include "control/control_rpc.h"
#include "fake_vswitch.h"

static struct control_facts facts;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    fake_vswitch_reset();
    facts = (struct control_facts){
        .vswitch = fake_vswitch_get(),
        .run_dir = "/run/test",
        .control_socket = "/run/test/control.sock",
        .config_path = "/etc/test.yaml",
        .start_ns = clock_now_ns(),
    };
    return 0;
}

/* Sends one line; the parsed answer is the caller's, NULL when there was none. */
static json_t *ask_bytes(const char *line, size_t line_len)
{
    json_error_t error;
    json_t *answer;
    char *reply;

    assert_int_equal(control_rpc_answer(&facts, line, line_len, &reply), 0);
    if (!reply)
        return NULL;
    assert_true(strlen(reply) >= 1);
    assert_ptr_equal(strchr(reply, '\n'), reply + strlen(reply) - 1);
    answer = json_loads(reply, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(answer);
    assert_string_equal(json_string_value(json_object_get(answer, "jsonrpc")), "2.0");
    assert_non_null(json_object_get(answer, "id"));
    free(reply);
    return answer;
}

static json_t *ask(const char *line)
{
    return ask_bytes(line, strlen(line));
}

/* Asks with id 7 and expects success; the result is the caller's. */
static json_t *call(const char *method, const char *params)
{
    char line[1024];
    json_t *answer, *result;

    snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"%s\",\"params\":%s}",
             method, params);
    answer = ask(line);
    assert_non_null(answer);
    if (json_object_get(answer, "error"))
        fail_msg("%s %s: %s", method, params,
                 json_string_value(json_object_get(json_object_get(answer, "error"), "message")));
    assert_int_equal(json_integer_value(json_object_get(answer, "id")), 7);
    result = json_incref(json_object_get(answer, "result"));
    assert_non_null(result);
    json_decref(answer);
    return result;
}

static void call_and_forget(const char *method, const char *params)
{
    json_decref(call(method, params));
}

/* Expects an answer that is the error `code` with `words` in its sentence. */
static void expect_error(const char *line, enum control_code code, const char *words)
{
    json_t *answer = ask(line), *error;
    const char *message;

    assert_non_null(answer);
    error = json_object_get(answer, "error");
    if (!error)
        fail_msg("no error: %s", line);
    message = json_string_value(json_object_get(error, "message"));
    assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
    if (!strstr(message, words))
        fail_msg("\"%s\" lacks \"%s\"", message, words);
    assert_null(json_object_get(answer, "result"));
    json_decref(answer);
}

static void expect_call_error(const char *method, const char *params, enum control_code code,
                              const char *words)
{
    char line[1024];

    snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}",
             method, params);
    expect_error(line, code, words);
}

static json_int_t number_at(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value))
        fail_msg("no number %s", name);
    return json_integer_value(value);
}

static const char *text_at(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_string(value))
        fail_msg("no text %s", name);
    return json_string_value(value);
}

/* --- the envelope --- */

static void test_not_json(void **state)
{
    (void)state;
    expect_error("nonsense", CONTROL_CODE_PARSE, "not JSON");
    expect_error("{\"jsonrpc\":\"2.0\"", CONTROL_CODE_PARSE, "not JSON");
    expect_error("{} trailing", CONTROL_CODE_PARSE, "byte");
    expect_error("{\"id\":123456789012345678901234567890}", CONTROL_CODE_PARSE, "integer");
    expect_error("{\"a\":\"\\u0000\"}", CONTROL_CODE_PARSE, "\\u0000");
    expect_error("{\"a\":\"\xff\xfe\"}", CONTROL_CODE_PARSE, "byte 0xff");
}

static void test_not_a_request(void **state)
{
    (void)state;
    expect_error("7", CONTROL_CODE_REQUEST, "one JSON object per line");
    expect_error("[]", CONTROL_CODE_REQUEST, "one JSON object per line");
    expect_error("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}]", CONTROL_CODE_REQUEST,
                 "one JSON object per line");
    expect_error("{}", CONTROL_CODE_REQUEST, "\"jsonrpc\" must be");
    expect_error("{\"jsonrpc\":\"1.0\",\"method\":\"status\"}", CONTROL_CODE_REQUEST, "jsonrpc");
    expect_error("{\"jsonrpc\":2.0,\"method\":\"status\"}", CONTROL_CODE_REQUEST, "jsonrpc");
    expect_error("{\"jsonrpc\":\"2.0\",\"id\":1}", CONTROL_CODE_REQUEST, "method");
    expect_error("{\"jsonrpc\":\"2.0\",\"method\":5}", CONTROL_CODE_REQUEST, "method");
    expect_error("{\"jsonrpc\":\"2.0\",\"method\":\"status\",\"id\":{}}", CONTROL_CODE_REQUEST,
                 "\"id\"");
    expect_error("{\"jsonrpc\":\"2.0\",\"method\":\"status\",\"parms\":{}}", CONTROL_CODE_REQUEST,
                 "did you mean \"params\"?");
    expect_error("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"status\"}",
                 CONTROL_CODE_REQUEST, "duplicate");
}

static void test_unknown_method(void **state)
{
    (void)state;
    expect_call_error("port.lst", "{}", CONTROL_CODE_METHOD, "did you mean \"port.list\"?");
    expect_call_error("shutdown", "{}", CONTROL_CODE_METHOD, "there is no method \"shutdown\"");
    expect_call_error("", "{}", CONTROL_CODE_METHOD, "there is no method");
}

static void test_ids_come_back(void **state)
{
    static const char *const ids[] = {"1", "\"abc\"", "-5", "null", "1.5", "\"\\ud83d\\ude00\""};
    char line[128];

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(ids); i++) {
        json_t *answer, *id = json_loads(ids[i], JSON_DECODE_ANY, NULL);

        snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"method\":\"status\",\"id\":%s}",
                 ids[i]);
        answer = ask(line);
        assert_true(json_equal(json_object_get(answer, "id"), id));
        assert_non_null(json_object_get(answer, "result"));
        json_decref(answer);
        json_decref(id);
    }
}

static void test_notifications_are_not_answered(void **state)
{
    (void)state;
    assert_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"status\"}"));
    assert_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}"));
    assert_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"port.add\",\"params\":{\"name\":\"vm1\"}}"));
    assert_int_equal(fake_vswitch.port_count, 1);
}

static void test_blank_lines_are_not_answered(void **state)
{
    (void)state;
    assert_null(ask(""));
    assert_null(ask(" \t\r"));
    json_decref(ask_bytes("\0", 1)); /* this is none */
}

static void test_hostile_lines(void **state)
{
    enum { DEEP = CONTROL_LINE_BYTES_MAX };
    char *deep = malloc(DEEP);

    (void)state;
    memset(deep, '[', DEEP);
    json_decref(ask_bytes(deep, DEEP));
    for (size_t i = 0; i + 5 <= DEEP; i += 5)
        memcpy(deep + i, "{\"a\":", 5);
    json_decref(ask_bytes(deep, DEEP));
    memset(deep, '"', DEEP);
    json_decref(ask_bytes(deep, DEEP));
    for (int byte = 0; byte < 256; byte++) {
        char line[2] = {(char)byte, (char)byte};

        json_decref(ask_bytes(line, 1));
        json_decref(ask_bytes(line, 2));
    }
    free(deep);
}

/* An error that quotes what was sent must stay valid UTF-8, wherever its quotation is cut. */
static void test_quotations_stay_valid(void **state)
{
    char method[256] = "", line[512];

    (void)state;
    for (unsigned shift = 0; shift < 4; shift++) {
        memset(method, 'x', shift);
        method[shift] = '\0';
        for (unsigned i = 0; i < 40; i++)
            strcat(method, "\xf0\x9f\x98\x80");
        snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", method);
        expect_error(line, CONTROL_CODE_METHOD, "there is no method");
    }
}

/* --- parameters --- */

static void test_params_are_strict(void **state)
{
    (void)state;
    expect_call_error("status", "[]", CONTROL_CODE_PARAMS, "by name");
    expect_call_error("status", "{\"verbose\":true}", CONTROL_CODE_PARAMS,
                      "status has no parameter \"verbose\"");
    expect_call_error("port.show", "{\"nmae\":\"vm1\"}", CONTROL_CODE_PARAMS,
                      "did you mean \"name\"?");
    expect_call_error("port.show", "{}", CONTROL_CODE_PARAMS, "needs the parameter \"name\"");
    expect_call_error("port.show", "{\"name\":7}", CONTROL_CODE_PARAMS,
                      "\"name\" must be a string, not a number");
    expect_call_error("port.set", "{\"hold\":\"off\"}", CONTROL_CODE_PARAMS,
                      "needs the parameter \"name\"");
    expect_call_error("mac.list", "{\"limit\":\"7\"}", CONTROL_CODE_PARAMS, "must be a number");
    expect_call_error("mac.list", "{\"limit\":0}", CONTROL_CODE_PARAMS, "must be 1 to 20000");
    expect_call_error("mac.list", "{\"limit\":1.5}", CONTROL_CODE_PARAMS, "not a fraction");
}

/* --- ports --- */

static void test_port_add(void **state)
{
    json_t *port =
        call("port.add", "{\"name\":\"vm1\",\"queues\":2,\"mtu\":\"9000\",\"offloads\":false,"
                         "\"hold\":\"fixed:32,50us\",\"mac\":\"52:54:00:12:34:56\"}");
    json_t *config = json_object_get(port, "config");

    (void)state;
    assert_string_equal(text_at(port, "name"), "vm1");
    assert_string_equal(text_at(port, "state"), "waiting");
    assert_true(json_is_null(json_object_get(port, "last_fault")));
    assert_string_equal(text_at(config, "type"), "vhost-user");
    assert_string_equal(text_at(config, "socket"), "/run/test/vm1.sock");
    assert_string_equal(text_at(config, "mode"), "server");
    assert_string_equal(text_at(config, "hold"), "fixed:32,50us");
    assert_string_equal(text_at(config, "mac"), "52:54:00:12:34:56");
    assert_int_equal(number_at(config, "queues"), 2);
    assert_int_equal(number_at(config, "mtu"), 9000);
    assert_true(json_is_false(json_object_get(config, "offloads")));
    assert_true(json_is_true(json_object_get(config, "mergeable")));
    assert_string_equal(text_at(config, "delay-budget"), "50us");
    assert_true(json_real_value(json_object_get(config, "delay-weight")) == 0.1);
    assert_true(json_is_true(json_object_get(config, "merge")));
    json_decref(port);
    assert_int_equal(fake_vswitch.port_count, 1);
    assert_int_equal(fake_vswitch.ports[0].config.queue_pairs, 2);
}

/* What a port's `config` says can be given to port.add again. */
static void test_port_config_makes_the_round_trip(void **state)
{
    static const char *const ports[] = {
        "{\"name\":\"a\",\"mode\":\"client\",\"mergeable\":\"off\",\"when-full\":\"push-back\"}",
        "{\"name\":\"a\",\"type\":\"tap\",\"interface\":\"tap7\",\"bridge\":\"br0\"}",
        "{\"name\":\"a\",\"type\":\"tap\"}",
        "{\"name\":\"a\",\"hold\":\"fixed:9,70us\",\"delay-budget\":\"100ms\",\"merge\":false}",
        "{\"name\":\"a\",\"hold\":\"adaptive\",\"delay-weight\":0.001}",
        "{\"name\":\"a\",\"hold\":\"off\",\"delay-weight\":1000}",
        "{\"name\":\"a\",\"type\":\"tap\",\"delay-weight\":\"123.456789\"}",
    };

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(ports); i++) {
        json_t *first = call("port.add", ports[i]), *config, *second;
        char *params;

        call_and_forget("port.remove", "{\"name\":\"a\"}");
        config = json_deep_copy(json_object_get(first, "config"));
        json_object_set_new(config, "name", json_string("a"));
        params = json_dumps(config, 0);
        second = call("port.add", params);
        assert_true(
            json_equal(json_object_get(first, "config"), json_object_get(second, "config")));
        call_and_forget("port.remove", "{\"name\":\"a\"}");
        free(params);
        json_decref(config);
        json_decref(first);
        json_decref(second);
    }
}

static void test_port_add_refusals(void **state)
{
    (void)state;
    call_and_forget("port.add", "{\"name\":\"vm1\"}");
    expect_call_error("port.add", "{\"name\":\"vm1\"}", CONTROL_CODE_EXISTS, "already");
    expect_call_error("port.add", "{\"name\":\"vm2\",\"ques\":2}", CONTROL_CODE_PARAMS, "queues");
    expect_call_error("port.add", "{\"name\":\"vm2\",\"queues\":99}", CONTROL_CODE_PARAMS,
                      "queues");
    expect_call_error("port.add", "{\"name\":\"vm2\",\"queues\":[2]}", CONTROL_CODE_PARAMS,
                      "\"queues\" must be");
    expect_call_error("port.add", "{\"name\":\"vm2\",\"queues\":2.5}", CONTROL_CODE_PARAMS,
                      "queues: \"2.5\" is not a number from 1 to 8");
    expect_call_error("port.add", "{\"name\":\"vm2\",\"queues\":null}", CONTROL_CODE_PARAMS,
                      "\"queues\" must be");
    expect_call_error("port.add", "{\"name\":\"vm2\",\"interface\":\"tap1\"}", CONTROL_CODE_PARAMS,
                      "interface");
    expect_call_error("port.add", "{\"name\":\"a/b\"}", CONTROL_CODE_PARAMS, "name");
    expect_call_error("port.add", "{\"name\":\"a-name-that-is-longer-than-any-port-may-have\"}",
                      CONTROL_CODE_PARAMS, "name");
    assert_int_equal(fake_vswitch.port_count, 1);
}

/* Each kind of failure has its code, and data.errno the finer word. */
static void test_errno_to_code(void **state)
{
    static const struct {
        int rc;
        enum control_code code;
        const char *name;
    } cases[] = {
        {-EEXIST, CONTROL_CODE_EXISTS, "EEXIST"},         {-ENOSPC, CONTROL_CODE_FULL, "ENOSPC"},
        {-ENOENT, CONTROL_CODE_NOT_FOUND, "ENOENT"},      {-EACCES, CONTROL_CODE_SYSTEM, "EACCES"},
        {-ENOMEM, CONTROL_CODE_INTERNAL, "ENOMEM"},       {-EINVAL, CONTROL_CODE_PARAMS, "EINVAL"},
        {-EADDRINUSE, CONTROL_CODE_EXISTS, "EADDRINUSE"},
    };

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(cases); i++) {
        json_t *answer, *error;

        fake_vswitch.next_result = cases[i].rc;
        fake_vswitch.next_reason = "the story";
        answer = ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"port.add\","
                     "\"params\":{\"name\":\"vm1\"}}");
        error = json_object_get(answer, "error");
        assert_int_equal(number_at(error, "code"), cases[i].code);
        assert_string_equal(text_at(error, "message"), "the story");
        assert_string_equal(text_at(json_object_get(error, "data"), "errno"), cases[i].name);
        json_decref(answer);
    }
    assert_int_equal(fake_vswitch.port_count, 0);
}

/* Every counter is there under its name, with its value, and drops by reason. */
static void test_port_show_counters(void **state)
{
    json_t *port, *counters, *drops, *unmerged, *derived;
    struct port_counters *values;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"vm1\"}");
    fake_vswitch.ports[0].state = PORT_STATE_RUNNING;
    fake_vswitch.ports[0].frames_waiting = 12;
    fake_vswitch.ports[0].guest_memory_bytes = UINT64_C(1) << 40;
    strcpy(fake_vswitch.ports[0].last_fault, "ring \xff is bent");
    values = &fake_vswitch.ports[0].counters;
    for (size_t i = 0; i < sizeof(*values) / sizeof(uint64_t); i++)
        ((uint64_t *)values)[i] = 1000 + i;
    values->drops[DROP_NONE] = 0;
    values->to_packets = 400;
    values->to_calls = 100;
    values->from_bursts = 0;
    port = call("port.show", "{\"name\":\"vm1\"}");
    counters = json_object_get(port, "counters");
    drops = json_object_get(port, "drops");
    unmerged = json_object_get(port, "unmerged");
    derived = json_object_get(port, "derived");
#define CHECK_COUNTER(member, text) assert_int_equal(number_at(counters, #member), values->member);
    PORT_COUNTERS(CHECK_COUNTER)
#undef CHECK_COUNTER
#define CHECK_DROP(symbol, name, text)                                                             \
    assert_int_equal(number_at(drops, name), values->drops[DROP_##symbol]);
    DROP_REASONS(CHECK_DROP)
#undef CHECK_DROP
#define CHECK_REFUSAL(symbol, name, text)                                                          \
    assert_int_equal(number_at(unmerged, name), values->merges[MERGE_REFUSED_##symbol]);
    MERGE_REFUSALS(CHECK_REFUSAL)
#undef CHECK_REFUSAL
    assert_int_equal(json_object_size(unmerged), MERGE_REFUSAL_COUNT - 1);
    assert_int_equal(number_at(counters, "merges"), values->merges[MERGE_JOINED]);
    assert_int_equal(json_object_size(drops), DROP_REASON_COUNT - 1);
    assert_true(number_at(port, "dropped") > 1000 * (DROP_REASON_COUNT - 1));
    assert_float_equal(json_real_value(json_object_get(derived, "to_calls_per_packet")), 0.25,
                       1e-9);
    assert_true(json_is_null(json_object_get(derived, "from_packets_per_burst")));
    assert_string_equal(text_at(port, "state"), "running");
    assert_string_equal(text_at(port, "last_fault"), "ring ? is bent");
    assert_int_equal(number_at(port, "frames_waiting"), 12);
    assert_int_equal(number_at(port, "guest_memory_bytes"), (json_int_t)1 << 40);
    json_decref(port);
}

static void test_port_show_features(void **state)
{
    json_t *port, *features;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"vm1\"}");
    port = call("port.show", "{\"name\":\"vm1\"}");
    assert_int_equal(json_array_size(json_object_get(port, "features")), 0);
    assert_true(json_is_array(json_object_get(port, "features")));
    json_decref(port);
    fake_vswitch.ports[0].features = UINT64_C(1) << 0 | UINT64_C(1) << 15;
    port = call("port.show", "{\"name\":\"vm1\"}");
    features = json_object_get(port, "features");
    assert_int_equal(json_array_size(features), 2);
    for (size_t i = 0; i < 2; i++)
        assert_null(strpbrk(json_string_value(json_array_get(features, i)), ", "));
    json_decref(port);
}

static void test_ports_that_are_not_there(void **state)
{
    (void)state;
    call_and_forget("port.add", "{\"name\":\"alpha\"}");
    expect_call_error("port.show", "{\"name\":\"alhpa\"}", CONTROL_CODE_NOT_FOUND,
                      "did you mean \"alpha\"?");
    expect_call_error("port.remove", "{\"name\":\"vm9\"}", CONTROL_CODE_NOT_FOUND,
                      "there is no port \"vm9\"");
    expect_call_error("port.set", "{\"name\":\"vm9\",\"hold\":\"off\"}", CONTROL_CODE_NOT_FOUND,
                      "there is no port");
    expect_call_error("mac.add", "{\"mac\":\"52:54:00:00:00:01\",\"port\":\"vm9\"}",
                      CONTROL_CODE_NOT_FOUND, "there is no port");
    expect_call_error("mac.list", "{\"port\":\"vm9\"}", CONTROL_CODE_NOT_FOUND, "there is no port");
}

static void test_port_list_remove(void **state)
{
    json_t *result, *port;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    call_and_forget("port.add", "{\"name\":\"b\"}");
    result = call("port.list", "{}");
    assert_int_equal(json_array_size(json_object_get(result, "ports")), 2);
    port = json_array_get(json_object_get(result, "ports"), 1);
    assert_string_equal(text_at(port, "name"), "b");
    assert_non_null(json_object_get(port, "counters"));
    assert_null(json_object_get(port, "tuning"));
    json_decref(result);
    result = call("port.remove", "{\"name\":\"a\"}");
    assert_string_equal(text_at(result, "name"), "a");
    json_decref(result);
    assert_int_equal(fake_vswitch.port_count, 1);
    fake_vswitch.next_result = -EBUSY;
    fake_vswitch.next_reason = "in use";
    expect_call_error("port.remove", "{\"name\":\"b\"}", CONTROL_CODE_SYSTEM, "in use");
}

static void expect_set(const char *params, const char *hold, const char *budget, double weight,
                       bool merge)
{
    json_t *port = call("port.set", params), *config = json_object_get(port, "config");

    assert_string_equal(text_at(config, "hold"), hold);
    assert_string_equal(text_at(config, "delay-budget"), budget);
    assert_true(json_number_value(json_object_get(config, "delay-weight")) == weight);
    assert_int_equal(json_is_true(json_object_get(config, "merge")), merge);
    assert_null(json_object_get(port, "tuning"));
    json_decref(port);
}

/* Any of its keys, alone or together; what is not named stays, whatever the mode is. */
static void test_port_set(void **state)
{
    const struct port_config *config = &fake_vswitch.ports[0].config;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    expect_set("{\"name\":\"a\",\"hold\":\"off\"}", "off", "50us", 0.1, true);
    expect_set("{\"name\":\"a\",\"delay-budget\":\"20us\"}", "off", "20us", 0.1, true);
    expect_set("{\"name\":\"a\",\"delay-weight\":0.25}", "off", "20us", 0.25, true);
    expect_set("{\"name\":\"a\",\"delay-weight\":3}", "off", "20us", 3, true);
    expect_set("{\"name\":\"a\",\"merge\":false}", "off", "20us", 3, false);
    expect_set("{\"name\":\"a\",\"hold\":\"fixed:8,30us\",\"merge\":\"on\"}", "fixed:8,30us",
               "20us", 3, true);
    assert_int_equal(config->hold.packets_max, 8);
    expect_set(
        "{\"name\":\"a\",\"hold\":\"adaptive\",\"delay-budget\":\"100us\",\"delay-weight\":\"0.5\","
        "\"merge\":\"off\"}",
        "adaptive", "100us", 0.5, false);
    assert_int_equal(config->hold.mode, HOLD_ADAPTIVE);
    assert_int_equal(config->hold.delay_budget_ns, 100000);
    assert_true(config->hold.delay_weight == 0.5);
    assert_false(config->merge);
    assert_int_equal(fake_vswitch.set_hold_count, 7);
}

static void test_port_set_refusals(void **state)
{
    static const struct {
        const char *params, *words;
    } cases[] = {
        {"{\"name\":\"a\"}",
         "port.set needs at least one of the keys hold, delay-budget, delay-weight and merge"},
        {"{\"name\":\"a\",\"hold\":\"maybe\"}", "hold: \"maybe\" is not adaptive, natural, off, or "
                                                "fixed:PACKETS,TIME with 1 to 256 packets "
                                                "and 1us to 1s"},
        {"{\"name\":\"a\",\"delay-budget\":\"1s\"}",
         "delay-budget: \"1s\" is not a time from 1us to 100ms"},
        {"{\"name\":\"a\",\"delay-budget\":50}", "delay-budget: \"50\" is not a time from 1us"},
        {"{\"name\":\"a\",\"delay-weight\":0}",
         "delay-weight: \"0\" is not a number from 0.001 to 1000"},
        {"{\"name\":\"a\",\"delay-weight\":1e300}",
         "delay-weight: \"1e+300\" is not a number from 0.001 to 1000"},
        {"{\"name\":\"a\",\"merge\":1}", "merge: \"1\" is not on or off"},
        {"{\"name\":\"a\",\"merge\":null}", "port.set: \"merge\" must be"},
        {"{\"name\":\"a\",\"hold\":{}}", "port.set: \"hold\" must be"},
        {"{\"name\":\"a\",\"hodl\":\"off\"}", "did you mean \"hold\"?"},
        {"{\"name\":\"a\",\"delay\":\"50us\"}", "\"delay\" is not a key of a port"},
        {"{\"name\":\"a\",\"mtu\":9000}",
         "mtu: cannot be changed while the port exists: remove the port and add it again"},
        {"{\"name\":\"a\",\"queues\":2,\"hold\":\"off\"}", "queues: cannot be changed"},
        {"{\"name\":\"a\",\"interface\":\"tap0\"}", "interface: cannot be changed"},
    };
    struct port_config before;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    before = fake_vswitch.ports[0].config;
    for (size_t i = 0; i < CV_COUNT_OF(cases); i++)
        expect_call_error("port.set", cases[i].params, CONTROL_CODE_PARAMS, cases[i].words);
    assert_memory_equal(&before, &fake_vswitch.ports[0].config, sizeof(before));
    assert_int_equal(fake_vswitch.set_hold_count, 0);
}

/* One wrong value among good ones, at any place: nothing is changed. */
static void test_port_set_all_or_nothing(void **state)
{
    static const char *const good[] = {"\"hold\":\"off\"", "\"delay-budget\":\"9us\"",
                                       "\"delay-weight\":9", "\"merge\":\"off\""};
    static const char *const bad[] = {"\"hold\":\"of\"", "\"delay-budget\":\"9s\"",
                                      "\"delay-weight\":-9", "\"merge\":\"of\""};

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    for (unsigned wrong = 0; wrong < 4; wrong++) {
        char params[256] = "{\"name\":\"a\"";

        for (unsigned i = 0; i < 4; i++) {
            strcat(params, ",");
            strcat(params, i == wrong ? bad[i] : good[i]);
        }
        strcat(params, "}");
        expect_call_error("port.set", params, CONTROL_CODE_PARAMS, "is not");
    }
    assert_int_equal(fake_vswitch.set_hold_count, 0);
    fake_vswitch.next_result = -EBUSY;
    fake_vswitch.next_reason = "the worker is gone";
    expect_call_error("port.set", "{\"name\":\"a\",\"merge\":\"off\"}", CONTROL_CODE_SYSTEM,
                      "the worker is gone");
    assert_true(fake_vswitch.ports[0].config.merge);
}

/* --- how convoys are formed --- */

/* A queue in the middle of traffic, every member with a value of its own. */
static void make_tuning(struct queue_tuning *queue)
{
    uint64_t now_ns = clock_now_ns();

    memset(queue, 0, sizeof(*queue));
    queue->to_port = queue->from_port = queue->merges = true;
    queue->to.arrivals = (struct traffic){.last_ns = now_ns, .rate = 200000, .gap_weight = 4};
    queue->to.arrivals.gap_share[0] = 3; /* together with the one before */
    queue->to.arrivals.gap_share[40] = 1;
    queue->to.transfer = (struct costs){.weight = 9, .line = {3e-7, 5e-8}};
    queue->to.answer = (struct costs){.weight = 9, .line = {4e-6, 2e-7}};
    queue->to.call_s = 6e-7;
    queue->to.calls_wanted = 0.75;
    queue->to.merge_share = 0.5;
    queue->to.rule = (struct hold_rule){
        .packets_max = 21, .place = HOLD_PLACE_DATA, .time_max_ns = 34000, .silence_max_ns = 9000};
    queue->to.cost_ratio_s = 2e-4;
    queue->to.company = 0.8;
    queue->to.record = (struct controller_record){.groups = 100,
                                                  .packets = 800,
                                                  .wait_s = 0.008,
                                                  .predicted_size = 750,
                                                  .predicted_wait_s = 0.0088};
    queue->now = (struct controller_outlook){.rate = 200000,
                                             .rule = queue->to.rule,
                                             .mean_size = 7,
                                             .mean_wait_s = 1.1e-5,
                                             .utilisation = 0.02,
                                             .capacity = 9e6};
    queue->twice = (struct controller_outlook){.rate = 400000,
                                               .rule = {.packets_max = 41, .time_max_ns = 33000},
                                               .mean_size = 14,
                                               .mean_wait_s = 1.5e-5,
                                               .utilisation = 0.035,
                                               .capacity = 12e6};
    queue->from = (struct traffic){.last_ns = now_ns, .rate = 70};
    queue->from_rule = (struct hold_rule){.packets_max = 5, .time_max_ns = 17000};
}

/* What port.show says of the one queue; the reference to the port is the caller's. */
static const json_t *show_queue(json_t **ret_port)
{
    fake_vswitch.tuning.queue_count = 1;
    *ret_port = call("port.show", "{\"name\":\"a\"}");
    return json_array_get(json_object_get(json_object_get(*ret_port, "tuning"), "queues"), 0);
}

static void expect_number(const json_t *object, const char *name, double expected)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_number(value))
        fail_msg("no number %s", name);
    if (json_number_value(value) < expected * (1 - 1e-9) ||
        json_number_value(value) > expected * (1 + 1e-9))
        fail_msg("%s is %g, not %g", name, json_number_value(value), expected);
}

static void expect_null(const json_t *object, const char *name)
{
    if (!json_is_null(json_object_get(object, name)))
        fail_msg("%s is not null", name);
}

static void expect_outlook(const json_t *object, const struct controller_outlook *outlook)
{
    expect_number(object, "rate_per_second", outlook->rate);
    expect_number(object, "packets_max", outlook->rule.packets_max);
    expect_number(object, "time_max_ns", (double)outlook->rule.time_max_ns);
    expect_number(object, "mean_size", outlook->mean_size);
    expect_number(object, "mean_wait_s", outlook->mean_wait_s);
    expect_number(object, "utilisation", outlook->utilisation);
    expect_number(object, "capacity_per_second", outlook->capacity);
}

static void test_tuning(void **state)
{
    const struct queue_tuning *queue = &fake_vswitch.tuning.queues[0];
    const json_t *to, *part;
    json_t *port;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    make_tuning(&fake_vswitch.tuning.queues[0]);
    to = json_object_get(show_queue(&port), "to");
    expect_number(to, "rate_per_second", 200000);
    assert_true(number_at(to, "silent_ns") >= 0 && number_at(to, "silent_ns") < 100000000);
    assert_true(json_is_number(json_object_get(to, "burstiness")));
    expect_number(to, "mean_batch", 4);
    expect_number(to, "company", 0.8);
    expect_number(to, "merge_share", 0.5);
    expect_number(to, "cost_ratio_s", 2e-4);
    assert_true(json_is_true(json_object_get(to, "merges")));
    part = json_object_get(to, "rule");
    expect_number(part, "packets_max", 21);
    expect_number(part, "time_max_ns", 34000);
    expect_number(part, "silence_max_ns", 9000);
    assert_string_equal(text_at(part, "place"), hold_place_name(HOLD_PLACE_DATA));
    part = json_object_get(to, "predicted");
    expect_number(part, "mean_size", 7.5);
    expect_number(part, "mean_wait_s", 1.1e-5);
    part = json_object_get(to, "measured");
    expect_number(part, "mean_size", 8);
    expect_number(part, "mean_wait_s", 1e-5);
    part = json_object_get(to, "costs");
    expect_number(part, "transfer_s", 3e-7);
    expect_number(part, "packet_s", 5e-8);
    expect_number(part, "call_s", 6e-7);
    expect_number(part, "calls_wanted", 0.75);
    expect_number(part, "answer_call_s", 4e-6);
    expect_number(part, "answer_packet_s", 2e-7);
    /* 40000 batches per second count, at 50 us of a batch's waiting: (sqrt(2*2-1)-1)/40000. */
    part = json_object_get(to, "bounds");
    expect_number(part, "least_cost_time_s", 1.8301270189222e-05);
    expect_number(part, "budget_time_s", 8.0901699437495e-05);
    expect_number(part, "budget_packets", 20);
    expect_outlook(json_object_get(to, "now"), &queue->now);
    expect_outlook(json_object_get(to, "twice"), &queue->twice);
    json_decref(port);
}

/* What has ended is not shown as if it went on. */
static void test_tuning_of_silence(void **state)
{
    struct queue_tuning *queue = &fake_vswitch.tuning.queues[0];
    const json_t *to, *from;
    json_t *port;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    make_tuning(queue);
    queue->to.arrivals.last_ns -= 150000000;
    to = json_object_get(show_queue(&port), "to");
    expect_number(to, "rate_per_second", 0);
    assert_true(number_at(to, "silent_ns") >= 150000000);
    expect_null(to, "burstiness");
    expect_null(to, "company");
    expect_null(to, "bounds");
    expect_null(to, "now");
    expect_null(to, "twice");
    expect_number(json_object_get(to, "rule"), "packets_max", 21);
    expect_number(json_object_get(to, "measured"), "mean_size", 8);
    expect_number(json_object_get(to, "costs"), "call_s", 6e-7);
    json_decref(port);

    queue->to.arrivals.last_ns -= 1000000000;
    queue->from.last_ns -= 150000000;
    to = json_object_get(show_queue(&port), "to");
    expect_null(json_object_get(to, "measured"), "mean_size");
    expect_null(json_object_get(to, "measured"), "mean_wait_s");
    expect_null(json_object_get(to, "predicted"), "mean_size");
    json_decref(port);
    from = json_object_get(show_queue(&port), "from");
    expect_number(from, "rate_per_second", 0);
    expect_number(json_object_get(from, "rule"), "packets_max", 5);
    json_decref(port);

    memset(&queue->to, 0, sizeof(queue->to));
    to = json_object_get(show_queue(&port), "to");
    expect_null(to, "silent_ns");
    expect_number(to, "rate_per_second", 0);
    expect_null(json_object_get(to, "costs"), "transfer_s");
    expect_null(json_object_get(to, "costs"), "answer_call_s");
    expect_null(json_object_get(to, "rule"), "silence_max_ns");
    json_decref(port);
}

/* JSON has no infinity, and what is no number must not break the answer. */
static void test_tuning_without_infinity(void **state)
{
    struct queue_tuning *queue = &fake_vswitch.tuning.queues[0];
    const json_t *to;
    json_t *port;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    make_tuning(queue);
    queue->twice.mean_wait_s = queue->twice.capacity = INFINITY;
    queue->now.utilisation = NAN;
    queue->to.cost_ratio_s = INFINITY;
    queue->to.arrivals.rate = INFINITY;
    queue->to.record.groups = 0;
    queue->to.record.wait_s = NAN;
    to = json_object_get(show_queue(&port), "to");
    expect_null(json_object_get(to, "twice"), "mean_wait_s");
    expect_null(json_object_get(to, "twice"), "capacity_per_second");
    expect_null(json_object_get(to, "now"), "utilisation");
    expect_null(to, "cost_ratio_s");
    expect_null(to, "rate_per_second");
    expect_null(to, "bounds");
    expect_null(json_object_get(to, "measured"), "mean_size");
    expect_null(json_object_get(to, "measured"), "mean_wait_s");
    json_decref(port);
}

/* Queues that go one way only, and rules that no model has made. */
static void test_tuning_of_directions(void **state)
{
    struct queue_tuning *queue = &fake_vswitch.tuning.queues[0];
    json_t *port, *queues;
    const json_t *shown;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\",\"hold\":\"natural\"}");
    make_tuning(queue);
    shown = show_queue(&port);
    expect_null(json_object_get(shown, "to"), "bounds");
    expect_number(json_object_get(shown, "from"), "rate_per_second", 70);
    expect_number(json_object_get(json_object_get(shown, "from"), "rule"), "time_max_ns", 17000);
    json_decref(port);
    queue->from_port = false;
    shown = show_queue(&port);
    expect_null(shown, "from");
    json_decref(port);
    queue->to_port = false;
    shown = show_queue(&port);
    expect_null(shown, "to");
    assert_int_equal(number_at(shown, "index"), 0);
    json_decref(port);
    fake_vswitch.tuning.queue_count = PORT_QUEUE_PAIRS_MAX;
    port = call("port.show", "{\"name\":\"a\"}");
    queues = json_object_get(json_object_get(port, "tuning"), "queues");
    assert_int_equal(json_array_size(queues), PORT_QUEUE_PAIRS_MAX);
    assert_int_equal(number_at(json_array_get(queues, 7), "index"), 7);
    json_decref(port);
}

static void test_histograms(void **state)
{
    struct convoy_histograms *histograms = &fake_vswitch.tuning.histograms;
    json_t *port, *shown;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    for (unsigned i = 1; i <= 1000; i++)
        histogram_record(&histograms->size, i <= 500 ? 3 : i <= 990 ? 20 : 30, 1);
    histogram_record(&histograms->residence, UINT64_C(1) << 40, 1);
    port = call("port.show", "{\"name\":\"a\"}");
    shown = json_object_get(json_object_get(port, "tuning"), "histograms");
    assert_int_equal(json_object_size(shown), 3);
    expect_number(json_object_get(shown, "size"), "count", 1000);
    expect_number(json_object_get(shown, "size"), "mean", 11.6);
    expect_number(json_object_get(shown, "size"), "p50", 3);
    expect_number(json_object_get(shown, "size"), "p99", 20);
    expect_number(json_object_get(shown, "size"), "p99_9", 30);
    expect_number(json_object_get(shown, "size"), "max", 30);
    expect_number(json_object_get(shown, "residence_ns"), "max", (double)(UINT64_C(1) << 40));
    expect_number(json_object_get(shown, "added_delay_ns"), "count", 0);
    expect_null(json_object_get(shown, "added_delay_ns"), "mean");
    expect_null(json_object_get(shown, "added_delay_ns"), "p50");
    expect_null(json_object_get(shown, "added_delay_ns"), "max");
    json_decref(port);
}

/* It costs a stop of the workers for each port, so only who asks for one port pays for it. */
static void test_lists_do_not_ask_for_tuning(void **state)
{
    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    call_and_forget("port.list", "{}");
    call_and_forget("status", "{}");
    call_and_forget("port.set", "{\"name\":\"a\",\"hold\":\"off\"}");
    assert_int_equal(fake_vswitch.tuning_count, 0);
    call_and_forget("port.show", "{\"name\":\"a\"}");
    assert_int_equal(fake_vswitch.tuning_count, 1);
}

/* The largest list there can be stays within what a reply may hold. */
static void test_full_tables_fit_a_reply(void **state)
{
    char params[64], *reply;
    const char *line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"port.list\"}";

    (void)state;
    for (unsigned i = 0; i < PORTS_MAX; i++) {
        snprintf(params, sizeof(params), "{\"name\":\"port-with-a-long-name-%u\"}", i);
        call_and_forget("port.add", params);
        memset(&fake_vswitch.ports[i].counters, 0x7f, sizeof(struct port_counters));
        memset(fake_vswitch.ports[i].last_fault, 'x', sizeof(fake_vswitch.ports[i].last_fault) - 1);
        fake_vswitch.ports[i].features = UINT64_MAX;
    }
    expect_call_error("port.add", "{\"name\":\"one-more\"}", CONTROL_CODE_FULL, "256 ports");
    assert_int_equal(control_rpc_answer(&facts, line, strlen(line), &reply), 0);
    assert_true(strlen(reply) < CONTROL_REPLY_BYTES_MAX);
    free(reply);
}

/* --- addresses --- */

static void test_macs(void **state)
{
    json_t *result, *entry;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    call_and_forget("port.add", "{\"name\":\"b\"}");
    fake_vswitch.entries[0] =
        (struct bridge_entry){.mac = 0x525400000001, .port = 1, .age_ns = 1500000000};
    fake_vswitch.entry_count = 1;
    call_and_forget("mac.add", "{\"mac\":\"52:54:00:00:00:02\",\"port\":\"a\"}");
    result = call("mac.list", "{}");
    assert_int_equal(number_at(result, "total"), 2);
    entry = json_array_get(json_object_get(result, "entries"), 0);
    assert_string_equal(text_at(entry, "mac"), "52:54:00:00:00:01");
    assert_string_equal(text_at(entry, "port"), "b");
    assert_true(json_is_false(json_object_get(entry, "static")));
    assert_float_equal(json_real_value(json_object_get(entry, "age_s")), 1.5, 1e-9);
    entry = json_array_get(json_object_get(result, "entries"), 1);
    assert_string_equal(text_at(entry, "port"), "a");
    assert_true(json_is_true(json_object_get(entry, "static")));
    assert_true(json_is_null(json_object_get(entry, "age_s")));
    json_decref(result);
    result = call("mac.list", "{\"port\":\"b\"}");
    assert_int_equal(number_at(result, "total"), 1);
    json_decref(result);
    result = call("mac.list", "{\"limit\":1}");
    assert_int_equal(number_at(result, "total"), 2);
    assert_int_equal(json_array_size(json_object_get(result, "entries")), 1);
    json_decref(result);
    call_and_forget("mac.remove", "{\"mac\":\"52:54:00:00:00:02\"}");
    assert_int_equal(fake_vswitch.entry_count, 1);
    expect_call_error("mac.remove", "{\"mac\":\"52:54:00:00:00:02\"}", CONTROL_CODE_NOT_FOUND,
                      "not bound");
    expect_call_error("mac.add", "{\"mac\":\"52:54:00\",\"port\":\"a\"}", CONTROL_CODE_PARAMS,
                      "not a MAC address");
}

/* --- the daemon --- */

static void test_status(void **state)
{
    json_t *status, *ports, *worker;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\"}");
    call_and_forget("port.add", "{\"name\":\"b\"}");
    fake_vswitch.ports[0].counters.to_packets = 30;
    fake_vswitch.ports[1].counters.to_packets = 12;
    fake_vswitch.ports[1].counters.drops[DROP_STALLED] = 5;
    fake_vswitch.ports[1].state = PORT_STATE_RUNNING;
    status = call("status", "{}");
    ports = json_object_get(status, "ports");
    assert_int_equal(number_at(ports, "count"), 2);
    assert_int_equal(number_at(ports, "waiting"), 1);
    assert_int_equal(number_at(ports, "connected"), 0);
    assert_int_equal(number_at(ports, "running"), 1);
    assert_string_equal(text_at(status, "run_dir"), "/run/test");
    assert_string_equal(text_at(status, "config"), "/etc/test.yaml");
    assert_int_equal(number_at(json_object_get(status, "bridge"), "learnt"), 11);
    assert_int_equal(
        number_at(json_object_get(json_object_get(status, "totals"), "counters"), "to_packets"),
        42);
    assert_int_equal(number_at(json_object_get(status, "totals"), "dropped"), 5);
    assert_int_equal(json_array_size(json_object_get(status, "workers")), 2);
    worker = json_array_get(json_object_get(status, "workers"), 0);
    assert_true(json_is_null(json_object_get(worker, "cpu")));
    worker = json_array_get(json_object_get(status, "workers"), 1);
    assert_int_equal(number_at(worker, "cpu"), 3);
    json_decref(status);
    facts.config_path = NULL;
    status = call("status", "{}");
    assert_true(json_is_null(json_object_get(status, "config")));
    json_decref(status);
}

/* --- the manual page --- */

static char *read_page(void)
{
    const char *path = getenv("CONVOYD_PAGE");
    enum { PAGE_BYTES_MAX = 1 << 20 };
    char *page = calloc(1, PAGE_BYTES_MAX);
    FILE *file;

    assert_non_null(path);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(page, 1, PAGE_BYTES_MAX - 1, file) > 0);
    fclose(file);
    return page;
}

static void expect_in_page(const char *page, const char *before, const char *name,
                           const char *after)
{
    char text[256];

    snprintf(text, sizeof(text), "\n%s%s\n%s", before, name, after);
    if (!strstr(page, text))
        fail_msg("convoyd(8) lacks \"%s%s\" \"%s\"", before, name, after);
}

/* What the protocol has, convoyd(8) explains. */
static void test_page_is_complete(void **state)
{
    char *page = read_page();

    (void)state;
    for (size_t i = 0; i < control_method_count; i++)
        expect_in_page(page, ".It Cm ", control_methods[i].name, "");
#define CHECK_COUNTER(member, text) expect_in_page(page, ".It ", #member, text);
    PORT_COUNTERS(CHECK_COUNTER)
#undef CHECK_COUNTER
#define CHECK_DROP(symbol, name, text) expect_in_page(page, ".It ", name, text);
    DROP_REASONS(CHECK_DROP)
#undef CHECK_DROP
    expect_in_page(page, ".It ", "merges", MERGES_TEXT);
#define CHECK_REFUSAL(symbol, name, text) expect_in_page(page, ".It ", name, text);
    MERGE_REFUSALS(CHECK_REFUSAL)
#undef CHECK_REFUSAL
#define CHECK_HISTOGRAM(member, unit, text) expect_in_page(page, ".It ", #member, text);
    CONVOY_HISTOGRAMS(CHECK_HISTOGRAM)
#undef CHECK_HISTOGRAM
    free(page);
}

static bool is_word_in_page(const char *page, const char *word)
{
    static const char of_words[] = "abcdefghijklmnopqrstuvwxyz_0123456789-";
    size_t len = strlen(word);

    for (const char *at = page; (at = strstr(at, word)); at++)
        if (at > page && !strchr(of_words, at[-1]) && !strchr(of_words, at[len]))
            return true;
    return false;
}

static void expect_keys_in_page(const char *page, const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;

    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (!is_word_in_page(page, key))
            fail_msg("convoyd(8) lacks the member %s", key);
        expect_keys_in_page(page, member);
    }
    json_array_foreach(value, i, member)
    {
        expect_keys_in_page(page, member);
    }
}

/* Every member of the largest answer is named in convoyd(8). */
static void test_page_explains_port_show(void **state)
{
    char *page = read_page();
    json_t *port;

    (void)state;
    call_and_forget("port.add", "{\"name\":\"a\",\"group\":\"kvm\"}");
    make_tuning(&fake_vswitch.tuning.queues[0]);
    assert_non_null(json_object_get(show_queue(&port), "to"));
    expect_keys_in_page(page, port);
    json_decref(port);
    free(page);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_not_json, set_up),
        cmocka_unit_test_setup(test_not_a_request, set_up),
        cmocka_unit_test_setup(test_unknown_method, set_up),
        cmocka_unit_test_setup(test_ids_come_back, set_up),
        cmocka_unit_test_setup(test_notifications_are_not_answered, set_up),
        cmocka_unit_test_setup(test_blank_lines_are_not_answered, set_up),
        cmocka_unit_test_setup(test_hostile_lines, set_up),
        cmocka_unit_test_setup(test_quotations_stay_valid, set_up),
        cmocka_unit_test_setup(test_params_are_strict, set_up),
        cmocka_unit_test_setup(test_port_add, set_up),
        cmocka_unit_test_setup(test_port_config_makes_the_round_trip, set_up),
        cmocka_unit_test_setup(test_port_add_refusals, set_up),
        cmocka_unit_test_setup(test_errno_to_code, set_up),
        cmocka_unit_test_setup(test_port_show_counters, set_up),
        cmocka_unit_test_setup(test_port_show_features, set_up),
        cmocka_unit_test_setup(test_ports_that_are_not_there, set_up),
        cmocka_unit_test_setup(test_port_list_remove, set_up),
        cmocka_unit_test_setup(test_port_set, set_up),
        cmocka_unit_test_setup(test_port_set_refusals, set_up),
        cmocka_unit_test_setup(test_port_set_all_or_nothing, set_up),
        cmocka_unit_test_setup(test_tuning, set_up),
        cmocka_unit_test_setup(test_tuning_of_silence, set_up),
        cmocka_unit_test_setup(test_tuning_without_infinity, set_up),
        cmocka_unit_test_setup(test_tuning_of_directions, set_up),
        cmocka_unit_test_setup(test_histograms, set_up),
        cmocka_unit_test_setup(test_lists_do_not_ask_for_tuning, set_up),
        cmocka_unit_test_setup(test_page_explains_port_show, set_up),
        cmocka_unit_test_setup(test_full_tables_fit_a_reply, set_up),
        cmocka_unit_test_setup(test_macs, set_up),
        cmocka_unit_test_setup(test_status, set_up),
        cmocka_unit_test(test_page_is_complete),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}

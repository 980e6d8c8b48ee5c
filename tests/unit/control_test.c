/*
 * Goal: every line that can arrive at the control socket gets the answer that convoyd(8) promises.
 * Method: requests go through control_rpc_answer to a switch that is a fake (lib/fake_vswitch.c);
 * answers are parsed and compared. The sockets around it are tested in control_server_test.c.
 */
#include <errno.h>
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
    expect_call_error("port.set", "{\"name\":\"vm1\"}", CONTROL_CODE_PARAMS,
                      "needs the parameter \"hold\"");
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
                      "\"queues\" must be");
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
    json_t *port, *counters, *drops, *derived;
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
    derived = json_object_get(port, "derived");
#define CHECK_COUNTER(member, text) assert_int_equal(number_at(counters, #member), values->member);
    PORT_COUNTERS(CHECK_COUNTER)
#undef CHECK_COUNTER
#define CHECK_DROP(symbol, name, text)                                                             \
    assert_int_equal(number_at(drops, name), values->drops[DROP_##symbol]);
    DROP_REASONS(CHECK_DROP)
#undef CHECK_DROP
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

static void test_port_list_set_remove(void **state)
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
    json_decref(result);
    result = call("port.set", "{\"name\":\"a\",\"hold\":\"off\"}");
    assert_string_equal(text_at(json_object_get(result, "config"), "hold"), "off");
    assert_int_equal(fake_vswitch.ports[0].config.hold.mode, HOLD_OFF);
    json_decref(result);
    expect_call_error("port.set", "{\"name\":\"a\",\"hold\":\"maybe\"}", CONTROL_CODE_PARAMS,
                      "hold");
    result = call("port.remove", "{\"name\":\"a\"}");
    assert_string_equal(text_at(result, "name"), "a");
    json_decref(result);
    assert_int_equal(fake_vswitch.port_count, 1);
    fake_vswitch.next_result = -EBUSY;
    fake_vswitch.next_reason = "in use";
    expect_call_error("port.remove", "{\"name\":\"b\"}", CONTROL_CODE_SYSTEM, "in use");
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
        cmocka_unit_test_setup(test_port_list_set_remove, set_up),
        cmocka_unit_test_setup(test_full_tables_fit_a_reply, set_up),
        cmocka_unit_test_setup(test_macs, set_up),
        cmocka_unit_test_setup(test_status, set_up),
        cmocka_unit_test(test_page_is_complete),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}

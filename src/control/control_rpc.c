#include "control/control_rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "control/control_view.h"

enum { SUGGESTION_BYTES_MAX = 80 };

/* Digits of numbers with a fraction: enough for times to a microsecond over months, and so few
 * that 0.1 stays 0.1. */
#define REPLY_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(12))

/* A request taken apart. References are borrowed from the parsed line. */
struct request {
    const char *method;
    json_t *params; /* NULL: none given */
    json_t *id;     /* NULL: a notification */
};

static const char *type_name(json_type type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };

    return names[type];
}

/* The number for what a method returned; data.errno keeps the finer word. */
static enum control_code code_of_errno(int rc)
{
    switch (-rc) {
    case EINVAL:
        return CONTROL_CODE_PARAMS;
    case ENOMEM:
        return CONTROL_CODE_INTERNAL;
    case ENOENT:
        return CONTROL_CODE_NOT_FOUND;
    case EEXIST:
    case EADDRINUSE:
        return CONTROL_CODE_EXISTS;
    case ENOSPC:
        return CONTROL_CODE_FULL;
    default:
        return CONTROL_CODE_SYSTEM;
    }
}

/* An error's reply; takes no reference. `rc` is the errno behind the code, 0 for none. */
static json_t *make_error(json_t *id, enum control_code code, const char *sentence, int rc)
{
    const char *errno_name = rc < 0 ? strerrorname_np(-rc) : NULL;
    json_t *error =
        json_pack("{s:i, s:o}", "code", (int)code, "message", control_view_text(sentence));

    if (error && errno_name)
        (void)json_object_set_new(error, "data", json_pack("{s:s}", "errno", errno_name));
    return json_pack("{s:s, s:o, s:O?}", "jsonrpc", "2.0", "error", error, "id",
                     id ? id : json_null());
}

static int print_reply(json_t *reply, char **ret_reply)
{
    size_t len;
    char *text;

    if (!reply)
        return -ENOMEM;
    len = json_dumpb(reply, NULL, 0, REPLY_FLAGS);
    text = len > 0 ? malloc(len + 2) : NULL;
    if (!text)
        return -ENOMEM;
    (void)json_dumpb(reply, text, len, REPLY_FLAGS);
    memcpy(text + len, "\n", 2);
    *ret_reply = text;
    return 0;
}

char *control_rpc_complain(enum control_code code, const char *sentence)
{
    json_t *reply = make_error(NULL, code, sentence, 0);
    char *text = NULL;
    int rc = print_reply(reply, &text);

    json_decref(reply);
    return rc == 0 ? text : NULL;
}

static int refuse(struct error *error, enum control_code code, const char *sentence)
{
    (void)error_set(error, 0, "%s", sentence);
    return (int)code;
}

static const char *const members[] = {"jsonrpc", "method", "params", "id"};

static bool is_member(const char *key)
{
    for (size_t i = 0; i < CV_COUNT_OF(members); i++)
        if (strcmp(key, members[i]) == 0)
            return true;
    return false;
}

static int refuse_member(const char *key, struct error *error)
{
    char suggestion[SUGGESTION_BYTES_MAX];
    struct nearest nearest;

    nearest_init(&nearest, key);
    for (size_t i = 0; i < CV_COUNT_OF(members); i++)
        nearest_offer(&nearest, members[i]);
    return error_set(error, CONTROL_CODE_REQUEST, "a request has no member \"%.64s\"%s", key,
                     nearest_format(&nearest, suggestion, sizeof(suggestion)));
}

/* Takes a request apart: 0, or the code of the error. The id is kept even if the rest is wrong. */
static int read_request(json_t *line, struct request *request, struct error *error)
{
    json_t *version, *method, *id, *value;
    const char *key;

    if (!json_is_object(line))
        return refuse(error, CONTROL_CODE_REQUEST, "a request is one JSON object per line");
    id = json_object_get(line, "id");
    if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
        return refuse(error, CONTROL_CODE_REQUEST, "\"id\" must be a string, a number or null");
    request->id = id;
    json_object_foreach(line, key, value)
    {
        if (!is_member(key))
            return refuse_member(key, error);
    }
    version = json_object_get(line, "jsonrpc");
    if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
        return refuse(error, CONTROL_CODE_REQUEST, "\"jsonrpc\" must be \"2.0\"");
    method = json_object_get(line, "method");
    if (!json_is_string(method))
        return refuse(error, CONTROL_CODE_REQUEST, "\"method\" must be a string");
    request->method = json_string_value(method);
    request->params = json_object_get(line, "params");
    if (request->params && !json_is_object(request->params))
        return refuse(error, CONTROL_CODE_PARAMS,
                      "\"params\" must be an object: parameters go by name");
    return 0;
}

static const struct control_method *find_method(const char *name, struct error *error)
{
    char suggestion[SUGGESTION_BYTES_MAX];
    struct nearest nearest;

    nearest_init(&nearest, name);
    for (size_t i = 0; i < control_method_count; i++) {
        if (strcmp(control_methods[i].name, name) == 0)
            return &control_methods[i];
        nearest_offer(&nearest, control_methods[i].name);
    }
    (void)error_set(error, 0, "there is no method \"%.64s\"%s", name,
                    nearest_format(&nearest, suggestion, sizeof(suggestion)));
    return NULL;
}

static const struct control_param *find_param(const struct control_method *method, const char *name)
{
    for (const struct control_param *param = method->params; param->name; param++)
        if (strcmp(param->name, name) == 0)
            return param;
    return NULL;
}

static int refuse_param(const struct control_method *method, const char *key, struct error *error)
{
    char suggestion[SUGGESTION_BYTES_MAX];
    struct nearest nearest;

    nearest_init(&nearest, key);
    for (const struct control_param *param = method->params; param->name; param++)
        nearest_offer(&nearest, param->name);
    return error_set(error, -EINVAL, "%s has no parameter \"%.64s\"%s", method->name, key,
                     nearest_format(&nearest, suggestion, sizeof(suggestion)));
}

static int check_params(const struct control_method *method, json_t *params, struct error *error)
{
    const struct control_param *param;
    const char *key;
    json_t *value;

    json_object_foreach(params, key, value)
    {
        param = find_param(method, key);
        if (!param && method->takes_port_keys)
            continue;
        if (!param)
            return refuse_param(method, key, error);
        if (json_typeof(value) != param->type)
            return error_set(error, -EINVAL, "%s: \"%s\" must be %s, not %s", method->name, key,
                             type_name(param->type), type_name(json_typeof(value)));
    }
    for (param = method->params; param->name; param++)
        if (param->required && !json_object_get(params, param->name))
            return error_set(error, -EINVAL, "%s needs the parameter \"%s\"", method->name,
                             param->name);
    return 0;
}

/* Runs the method; the reply's reference is the caller's, NULL when memory is short. */
static json_t *run_method(const struct control_facts *facts, const struct control_method *method,
                          const struct request *request)
{
    struct control_call call = {.facts = facts};
    json_t *reply;
    int rc;

    call.params = request->params ? json_incref(request->params) : json_object();
    rc = check_params(method, call.params, &call.error);
    if (rc == 0)
        rc = method->run(&call);
    assert(rc < 0 || call.result);
    json_decref(call.params);
    if (rc < 0)
        return make_error(request->id, code_of_errno(rc), call.error.text, rc);
    reply = json_pack("{s:s, s:O, s:O?}", "jsonrpc", "2.0", "result", call.result, "id",
                      request->id ? request->id : json_null());
    json_decref(call.result);
    return reply;
}

static json_t *answer_object(const struct control_facts *facts, json_t *line, bool *ret_is_due)
{
    const struct control_method *method;
    struct request request = {0};
    struct error error;
    int code = read_request(line, &request, &error);

    *ret_is_due = code != 0 || request.id;
    if (code != 0)
        return make_error(request.id, (enum control_code)code, error.text, 0);
    method = find_method(request.method, &error);
    if (!method)
        return make_error(request.id, CONTROL_CODE_METHOD, error.text, 0);
    return run_method(facts, method, &request);
}

static json_t *answer_parse_error(const json_error_t *parse_error)
{
    bool is_json = json_error_code(parse_error) == json_error_duplicate_key;
    struct error error;

    (void)error_set(&error, 0, "%s: %s at byte %d of the line",
                    is_json ? "ambiguous request" : "not JSON", parse_error->text,
                    parse_error->position);
    return make_error(NULL, is_json ? CONTROL_CODE_REQUEST : CONTROL_CODE_PARSE, error.text, 0);
}

static bool is_blank(const char *line, size_t line_len)
{
    for (size_t i = 0; i < line_len; i++)
        if (!strchr(" \t\r\n", line[i]) || line[i] == '\0')
            return false;
    return true;
}

int control_rpc_answer(const struct control_facts *facts, const char *line, size_t line_len,
                       char **ret_reply)
{
    json_error_t parse_error;
    json_t *parsed, *reply;
    bool is_due = true;
    int rc = 0;

    *ret_reply = NULL;
    if (is_blank(line, line_len))
        return 0;
    parsed = json_loadb(line, line_len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &parse_error);
    reply = parsed ? answer_object(facts, parsed, &is_due) : answer_parse_error(&parse_error);
    if (is_due)
        rc = print_reply(reply, ret_reply);
    json_decref(reply);
    json_decref(parsed);
    return rc;
}

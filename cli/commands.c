/* The commands: one function each, and at the end the table of them. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "client.h"
#include "explain.h"
#include "human.h"
#include "members.h"
#include "show.h"
#include "vmm.h"

/* Calls and shows the result, as JSON if that is wanted. */
static enum cli_exit call_and_show(const struct cli_options *options, const char *method,
                                   json_t *params, void (*show)(const json_t *result))
{
    json_t *result;
    enum cli_exit code = client_call(options, method, params, &result);

    if (code != CLI_EXIT_OK)
        return code;
    if (options->json) {
        (void)json_dumpf(result, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
        putchar('\n');
    } else {
        show(result);
    }
    json_decref(result);
    return code;
}

/* Adds KEY=VALUE to the parameters. */
static enum cli_exit add_key(json_t *params, const char *word)
{
    const char *equals = strchr(word, '=');
    char key[64];

    if (!equals || equals == word || (size_t)(equals - word) >= sizeof(key))
        return cli_fail(CLI_EXIT_USAGE, "expected KEY=VALUE, such as queues=2, not \"%s\"", word);
    (void)snprintf(key, sizeof(key), "%.*s", (int)(equals - word), word);
    if (json_object_get(params, key))
        return cli_fail(CLI_EXIT_USAGE, "%s is given twice", key);
    if (json_object_set_new(params, key, json_string(equals + 1)) < 0)
        return cli_fail(CLI_EXIT_USAGE, "\"%s\" is not valid UTF-8", word);
    return CLI_EXIT_OK;
}

/* NAME and KEY=VALUE words as parameters; NULL after a sentence. */
static json_t *port_params(char **args, unsigned arg_count, enum cli_exit *ret_code)
{
    json_t *params = json_pack("{s:s}", "name", args[0]);
    enum cli_exit code = CLI_EXIT_OK;

    if (!params)
        code = cli_fail(CLI_EXIT_USAGE, "the name is not valid UTF-8");
    for (unsigned i = 1; i < arg_count && code == CLI_EXIT_OK; i++)
        code = add_key(params, args[i]);
    *ret_code = code;
    if (code == CLI_EXIT_OK)
        return params;
    json_decref(params);
    return NULL;
}

static enum cli_exit run_status(const struct cli_options *options, char **args, unsigned arg_count)
{
    (void)args;
    (void)arg_count;
    return call_and_show(options, "status", json_object(), show_status);
}

static enum cli_exit run_port_list(const struct cli_options *options, char **args,
                                   unsigned arg_count)
{
    (void)args;
    (void)arg_count;
    return call_and_show(options, "port.list", json_object(), show_port_list);
}

/* Calls a method whose result is a port, and prints what the port's VMM needs. */
static enum cli_exit call_and_print(const struct cli_options *options, const char *method,
                                    json_t *params)
{
    json_t *port;
    enum cli_exit code = client_call(options, method, params, &port);

    if (code != CLI_EXIT_OK)
        return code;
    code = vmm_print(options->vmm, port, options->memory);
    json_decref(port);
    return code;
}

static enum cli_exit run_port_show(const struct cli_options *options, char **args,
                                   unsigned arg_count)
{
    enum cli_exit code;
    json_t *params = port_params(args, arg_count, &code);

    if (!params)
        return code;
    if (options->vmm)
        return call_and_print(options, "port.show", params);
    return call_and_show(options, "port.show", params, show_port);
}

static void show_added(const json_t *port)
{
    const json_t *config = json_object_get(port, "config");
    const char *name = member_text(port, "name");

    if (member_is(config, "type", "tap")) {
        printf("port %s added: interface %s\n", name, member_text(config, "interface"));
        return;
    }
    printf("port %s added: %s %s\n", name,
           member_is(config, "mode", "client") ? "connects to" : "listens on",
           member_text(config, "socket"));
    printf("What its VMM needs: convoy port show %s --print %s\n", name,
           "qemu|libvirt|uml|cloud-hypervisor");
}

static enum cli_exit run_port_add(const struct cli_options *options, char **args,
                                  unsigned arg_count)
{
    enum cli_exit code;
    json_t *params = port_params(args, arg_count, &code);
    const char *type;

    if (!params)
        return code;
    type = json_string_value(json_object_get(params, "type"));
    if (options->vmm && type && strcmp(type, "tap") == 0) {
        json_decref(params);
        return cli_fail(CLI_EXIT_USAGE,
                        "--print is for vhost-user ports: no VMM is plugged into a tap port");
    }
    if (options->vmm)
        return call_and_print(options, "port.add", params);
    return call_and_show(options, "port.add", params, show_added);
}

static void show_removed(const json_t *result)
{
    printf("port %s removed\n", member_text(result, "name"));
}

static enum cli_exit run_port_remove(const struct cli_options *options, char **args,
                                     unsigned arg_count)
{
    enum cli_exit code;
    json_t *params = port_params(args, arg_count, &code);

    return params ? call_and_show(options, "port.remove", params, show_removed) : code;
}

/* What is in force now, and what is kept for later. */
static void show_set(const json_t *port)
{
    const json_t *config = json_object_get(port, "config");
    char weight[HUMAN_BYTES_MAX];
    bool is_adaptive = member_is(config, "hold", "adaptive");

    printf("port %s: hold %s, merge %s\n", member_text(port, "name"), member_text(config, "hold"),
           member_is_true(config, "merge") ? "on" : "off");
    printf("delay-budget %s, delay-weight %s%s\n", member_text(config, "delay-budget"),
           human_plain(member_number_or_0(config, "delay-weight"), weight),
           is_adaptive ? "" : " (kept: they count with hold=adaptive only)");
}

static enum cli_exit run_port_set(const struct cli_options *options, char **args,
                                  unsigned arg_count)
{
    enum cli_exit code;
    json_t *params = port_params(args, arg_count, &code);

    return params ? call_and_show(options, "port.set", params, show_set) : code;
}

static enum cli_exit run_explain(const struct cli_options *options, char **args, unsigned arg_count)
{
    enum cli_exit code;
    json_t *params = port_params(args, arg_count, &code);

    return params ? call_and_show(options, "port.show", params, show_explanation) : code;
}

static enum cli_exit run_mac_list(const struct cli_options *options, char **args,
                                  unsigned arg_count)
{
    json_t *params = arg_count > 0 ? json_pack("{s:s}", "port", args[0]) : json_object();

    return call_and_show(options, "mac.list", params, show_mac_list);
}

static void show_mac_added(const json_t *result)
{
    printf("%s is bound to port %s\n", member_text(result, "mac"), member_text(result, "port"));
}

static enum cli_exit run_mac_add(const struct cli_options *options, char **args, unsigned arg_count)
{
    (void)arg_count;
    return call_and_show(options, "mac.add",
                         json_pack("{s:s, s:s}", "mac", args[0], "port", args[1]), show_mac_added);
}

static void show_mac_removed(const json_t *result)
{
    printf("%s is not bound any more\n", member_text(result, "mac"));
}

static enum cli_exit run_mac_remove(const struct cli_options *options, char **args,
                                    unsigned arg_count)
{
    (void)arg_count;
    return call_and_show(options, "mac.remove", json_pack("{s:s}", "mac", args[0]),
                         show_mac_removed);
}

enum { KEYS_MAX = 32 };

const struct cli_command cli_commands[] = {
    {"status", NULL, "", 0, 0, false, "the daemon, its workers and totals", run_status},
    {"port", "list", "", 0, 0, false, "all ports", run_port_list},
    {"port", "show", "NAME", 1, 1, true, "everything about a port", run_port_show},
    {"port", "add", "NAME [KEY=VALUE]...", 1, KEYS_MAX, true, "add a port", run_port_add},
    {"port", "remove", "NAME", 1, 1, false, "remove a port", run_port_remove},
    {"port", "set", "NAME KEY=VALUE...", 2, KEYS_MAX, false,
     "change hold, delay-budget, delay-weight, merge", run_port_set},
    {"explain", NULL, "NAME", 1, 1, false, "why a port behaves as it does now", run_explain},
    {"mac", "list", "[PORT]", 0, 1, false, "the bridge's table of addresses", run_mac_list},
    {"mac", "add", "MAC PORT", 2, 2, false, "bind an address to a port", run_mac_add},
    {"mac", "remove", "MAC", 1, 1, false, "undo that", run_mac_remove},
};

const size_t cli_command_count = CV_COUNT_OF(cli_commands);

/*
 * The configuration file. Goal: what convoy.yaml(5) says is read as it says, and every mistake is
 * answered by the sentence that the manual promises, with line and column. Method: one case for
 * each key, default and mistake; sentences are compared in full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

static void parse_good(const char *text, struct config *config)
{
    struct error error = {.text = ""};
    int result = config_parse(text, strlen(text), "convoy.yaml", config, &error);

    if (result != 0)
        fail_msg("refused with: %s", error.text);
}

/* `sentence` without the file's name, which every sentence starts with. */
static void parse_bad_bytes(const char *text, size_t text_len, int code, const char *sentence)
{
    struct config config;
    struct config untouched;
    struct error error = {.text = ""};
    char expected[sizeof(error.text)];

    memset(&config, 0x5a, sizeof(config));
    memset(&untouched, 0x5a, sizeof(untouched));
    (void)snprintf(expected, sizeof(expected), "convoy.yaml:%s", sentence);
    assert_int_equal(config_parse(text, text_len, "convoy.yaml", &config, &error), code);
    assert_string_equal(error.text, expected);
    assert_memory_equal(&config, &untouched, sizeof(config));
}

struct mistake {
    const char *text;
    const char *sentence;
};

static void check_mistakes(const struct mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        parse_bad_bytes(mistakes[i].text, strlen(mistakes[i].text), -EINVAL, mistakes[i].sentence);
}

static char *text_repeat(const char *head, const char *body, unsigned count, const char *tail)
{
    size_t body_len = strlen(body);
    char *text = malloc(strlen(head) + body_len * count + strlen(tail) + 1);
    char *at;

    assert_non_null(text);
    at = stpcpy(text, head);
    for (unsigned i = 0; i < count; i++)
        at = stpcpy(at, body);
    strcpy(at, tail);
    return text;
}

static void parse_repeated(const char *head, const char *body, unsigned count, const char *tail,
                           const char *sentence)
{
    char *text = text_repeat(head, body, count, tail);

    parse_bad_bytes(text, strlen(text), -EINVAL, sentence);
    free(text);
}

static void test_empty_file_is_defaults(void **state)
{
    static const char *const texts[] = {"",   "\n# nothing\n",  "---\n", "~\n",
                                        "{}", "ports:\nbridge:"};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(texts); i++) {
        struct config config;

        parse_good(texts[i], &config);
        assert_int_equal(config.workers, 1);
        assert_int_equal(config.worker_cpus[0], -1);
        assert_int_equal(config.poll_ns, 200000);
        assert_string_equal(config.run_dir, "/run/convoy");
        assert_string_equal(config.control_socket, "/run/convoy/control.sock");
        assert_true(config.bridge_age_ns == UINT64_C(300000000000));
        assert_int_equal(config.bridge_entries_per_port_max, 1024);
        assert_int_equal(config.port_count, 0);
        assert_int_equal(config.static_mac_count, 0);
        config_uninit(&config);
    }
}

static void test_init_is_what_an_empty_file_gives(void **state)
{
    struct config by_init, by_file;

    (void)state;
    config_init(&by_init);
    parse_good("", &by_file);
    assert_int_equal(by_init.workers, by_file.workers);
    assert_int_equal(by_init.poll_ns, by_file.poll_ns);
    assert_string_equal(by_init.control_socket, by_file.control_socket);
    assert_string_equal(by_init.run_dir, by_file.run_dir);
    assert_null(by_init.ports);
    assert_null(by_file.ports);
    assert_null(by_file.static_macs);
    config_uninit(&by_file);
}

static const char full_file[] = "workers: {count: 2, cpus: [3, 1]}\n"
                                "poll: 50us\n"
                                "run-dir: /run/other/\n"
                                "bridge:\n"
                                "  age: 5min\n"
                                "  addresses-per-port: 32\n"
                                "  static:\n"
                                "    - {mac: 52:54:00:00:00:09, port: uplink}\n"
                                "    - mac: 0A:00:00:00:00:01\n"
                                "      port: vm1\n"
                                "ports:\n"
                                "  - name: vm1\n"
                                "    type: vhost-user\n"
                                "    socket: /tmp/a socket\n"
                                "    mode: client\n"
                                "    queues: '2'\n"
                                "    mac: 52:54:00:aa:bb:cc\n"
                                "    mtu: 9000\n"
                                "    hold: fixed:32,50us\n"
                                "    delay-budget: 200us\n"
                                "    delay-weight: 0.25\n"
                                "    merge: off\n"
                                "    when-full: push-back\n"
                                "    offloads: off\n"
                                "    mergeable: no\n"
                                "  - {name: vm2}\n"
                                "  - {name: uplink, type: tap, interface: convoy0, bridge: br0,\n"
                                "     hold: \"off\", mtu: 1400}\n"
                                "  - {name: tap1, type: tap}\n";

static void test_full_file(void **state)
{
    struct config config;
    const struct port_config *port;

    (void)state;
    parse_good(full_file, &config);
    assert_int_equal(config.workers, 2);
    assert_int_equal(config.worker_cpus[0], 3);
    assert_int_equal(config.worker_cpus[1], 1);
    assert_int_equal(config.worker_cpus[2], -1);
    assert_int_equal(config.poll_ns, 50000);
    assert_string_equal(config.run_dir, "/run/other");
    assert_string_equal(config.control_socket, "/run/other/control.sock");
    assert_true(config.bridge_age_ns == UINT64_C(300000000000));
    assert_int_equal(config.bridge_entries_per_port_max, 32);
    assert_int_equal(config.static_mac_count, 2);
    assert_true(config.static_macs[0].mac == UINT64_C(0x525400000009));
    assert_string_equal(config.static_macs[0].port, "uplink");
    assert_true(config.static_macs[1].mac == UINT64_C(0x0a0000000001));
    assert_string_equal(config.static_macs[1].port, "vm1");
    assert_int_equal(config.port_count, 4);

    port = &config.ports[0];
    assert_string_equal(port->name, "vm1");
    assert_int_equal(port->type, PORT_TYPE_VHOST_USER);
    assert_string_equal(port->socket, "/tmp/a socket");
    assert_int_equal(port->socket_mode, SOCKET_MODE_CLIENT);
    assert_int_equal(port->queue_pairs, 2);
    assert_true(port->mac == UINT64_C(0x525400aabbcc));
    assert_int_equal(port->mtu, 9000);
    assert_int_equal(port->hold.mode, HOLD_FIXED);
    assert_int_equal(port->hold.packets_max, 32);
    assert_int_equal(port->hold.time_max_ns, 50000);
    assert_int_equal(port->hold.delay_budget_ns, 200000);
    assert_true(port->hold.delay_weight == 0.25);
    assert_false(port->merge);
    assert_int_equal(port->full, FULL_PUSH_BACK);
    assert_false(port->offloads);
    assert_false(port->mergeable);

    port = &config.ports[1];
    assert_string_equal(port->socket, "/run/other/vm2.sock");
    assert_true(port->mac == port_config_derive_mac("vm2"));
    assert_int_equal(port->hold.mode, HOLD_ADAPTIVE);
    assert_int_equal(port->hold.delay_budget_ns, 50000);
    assert_true(port->hold.delay_weight == 0.1);
    assert_true(port->merge);
    assert_true(port->offloads);

    port = &config.ports[2];
    assert_int_equal(port->type, PORT_TYPE_TAP);
    assert_string_equal(port->interface, "convoy0");
    assert_string_equal(port->bridge, "br0");
    assert_int_equal(port->hold.mode, HOLD_OFF);
    assert_int_equal(port->mtu, 1400);
    assert_string_equal(config.ports[3].interface, "tap1");
    assert_string_equal(config.ports[3].bridge, "");
    config_uninit(&config);
}

static void test_workers_words(void **state)
{
    struct config config;

    (void)state;
    parse_good("workers: 8", &config);
    assert_int_equal(config.workers, 8);
    parse_good("workers: {cpus: [0, 2, 4]}", &config);
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.worker_cpus[2], 4);
    parse_good("workers: {count: 3}", &config);
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.worker_cpus[0], -1);
    parse_good("workers: {}", &config);
    assert_int_equal(config.workers, 1);
}

static void test_an_alias_is_what_it_names(void **state)
{
    struct config config;

    (void)state;
    parse_good("ports:\n"
               "  - {name: a, hold: &h \"fixed:8,10us\"}\n"
               "  - {name: b, hold: *h}\n",
               &config);
    assert_int_equal(config.ports[1].hold.packets_max, 8);
    config_uninit(&config);
}

static void test_control_socket_of_its_own(void **state)
{
    struct config config;

    (void)state;
    parse_good("{control: /tmp/c.sock, run-dir: /}", &config);
    assert_string_equal(config.control_socket, "/tmp/c.sock");
    assert_string_equal(config.run_dir, "/");
}

static void test_not_yaml(void **state)
{
    static const struct mistake mistakes[] = {
        {"ports: [a, b\nworkers: 1\n",
         "2:8: not YAML: did not find expected ',' or ']' (while parsing a flow sequence)"},
        {"bridge:\n  age: 1s\n age: 2s\n",
         "3:2: not YAML: did not find expected key (while parsing a block mapping)"},
        {"bridge:\n\tage: 1s\n", "2:1: not YAML: the line is indented with a tab; use spaces"},
        {"poll: 'x\n", "2:1: not YAML: found unexpected end of stream (while scanning a quoted "
                       "scalar)"},
        {"poll: *x\n", "1:7: not YAML: found undefined alias"},
        {"poll: \xff\n", "1:7: not a text in UTF-8"},
        {"workers: 1\npoll: \x01\n", "2:7: not a text in UTF-8"},
        {"workers: 1\n---\nworkers: 2\n", "2:1: a second document begins; a configuration is one"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

static void test_shapes(void **state)
{
    static const struct mistake mistakes[] = {
        {"- a\n- b\n", "1:1: expected a mapping of keys, not a list"},
        {"hello\n", "1:1: expected a mapping of keys, not a single value"},
        {"poll: [1us]\n", "1:7: poll: expected a single value, not a list"},
        {"poll: {a: b}\n", "1:7: poll: expected a single value, not a mapping of keys"},
        {"ports: {a: b}\n", "1:8: ports: expected a list, not a mapping of keys"},
        {"ports: vm1\n", "1:8: ports: expected a list, not a single value"},
        {"bridge: 300s\n", "1:9: bridge: expected a mapping of keys, not a single value"},
        {"ports:\n  - vm1\n", "2:5: ports[0]: expected a mapping of keys, not a single value"},
        {"[a]: b\n", "1:1: expected a single value, not a list"},
        {"ports: [{name: a, hold: [off]}]\n",
         "1:25: ports[0].hold: expected a single value, not a list"},
        {"poll: \"20us\\0x\"\n", "1:7: poll: holds a NUL character"},
        {"\"po\\0ll\": 1\n", "1:1: holds a NUL character"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

static void test_keys(void **state)
{
    static const struct mistake mistakes[] = {
        {"prots: []\n", "1:1: \"prots\" is not a key here; did you mean \"ports\"?"},
        {"something-else: 1\n", "1:1: \"something-else\" is not a key here"},
        {"bridge:\n  agee: 1s\n", "2:3: bridge: \"agee\" is not a key here; did you mean \"age\"?"},
        {"bridge: {static: [{mac: 52:54:00:00:00:01, prt: a}]}\n",
         "1:44: bridge.static[0]: \"prt\" is not a key here; did you mean \"port\"?"},
        {"workers: {counts: 1}\n",
         "1:11: workers: \"counts\" is not a key here; did you mean \"count\"?"},
        {"ports:\n  - name: a\n    queue: 2\n",
         "3:5: ports[0]: \"queue\" is not a key here; did you mean \"queues\"?"},
        {"ports:\n  - name: a\n    delay_budget: 9us\n",
         "3:5: ports[0]: \"delay_budget\" is not a key here; did you mean \"delay-budget\"?"},
        {"\"a\\nb\": 1\n", "1:1: \"a?b\" is not a key here"},
        {"poll: 1us\nworkers: 1\npoll: 2us\n", "3:1: poll: is given twice"},
        {"ports:\n  - name: a\n    mtu: 1500\n    mtu: 1500\n",
         "4:5: ports[0].mtu: is given twice"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

static void test_workers_mistakes(void **state)
{
    static const struct mistake mistakes[] = {
        {"workers: 0\n", "1:10: workers: \"0\" is not a number from 1 to 8"},
        {"workers: 9\n", "1:10: workers: \"9\" is not a number from 1 to 8"},
        {"workers:\n", "1:9: workers: \"\" is not a number from 1 to 8"},
        {"workers: {count: many}\n", "1:18: workers.count: \"many\" is not a number from 1 to 8"},
        {"workers: {cpus: [0, x]}\n",
         "1:21: workers.cpus[1]: \"x\" is not a number from 0 to 1023"},
        {"workers: {cpus: [1, 1]}\n", "1:21: workers.cpus[1]: processor 1 is given twice"},
        {"workers: {cpus: [0,1,2,3,4,5,6,7,8]}\n",
         "1:17: workers.cpus: has 9 entries; at most 8 are possible"},
        {"workers: {count: 1, cpus: [1, 2]}\n",
         "1:10: workers: 2 processors are given for 1 workers"},
        {"workers: [1]\n", "1:10: workers: expected a mapping of keys, not a list"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

static void test_value_mistakes(void **state)
{
    static const struct mistake mistakes[] = {
        {"poll: fast\n",
         "1:7: poll: \"fast\" is not a duration from 0 to 1s, such as 50us or 300s"},
        {"poll: 20\n", "1:7: poll: \"20\" is not a duration from 0 to 1s, such as 50us or 300s"},
        {"poll: 2s\n", "1:7: poll: \"2s\" is not a duration from 0 to 1s, such as 50us or 300s"},
        {"poll: -1us\n",
         "1:7: poll: \"-1us\" is not a duration from 0 to 1s, such as 50us or 300s"},
        {"bridge: {age: 1ms}\n", "1:15: bridge.age: \"1ms\" is not a duration from 1s to 1000000s, "
                                 "such as 50us or 300s"},
        {"bridge: {addresses-per-port: 0}\n",
         "1:30: bridge.addresses-per-port: \"0\" is not a number from 1 to 8192"},
        {"run-dir: run\n", "1:10: run-dir: \"run\" is not an absolute path of at most 94 bytes"},
        {"control: c.sock\n",
         "1:10: control: \"c.sock\" is not an absolute path of at most 107 bytes"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

/* The control socket's default path must fit a socket's address. */
static void test_longest_run_dir(void **state)
{
    char *text = text_repeat("run-dir: /", "x", 93, "");
    struct config config;

    (void)state;
    parse_good(text, &config);
    assert_int_equal(strlen(config.run_dir), 94);
    assert_int_equal(strlen(config.control_socket), 107);
    free(text);
    parse_repeated("run-dir: /", "x", 94, "",
                   "1:10: run-dir: \"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\" is not an absolute "
                   "path of at most 94 bytes");
}

static void test_static_mistakes(void **state)
{
    static const struct mistake mistakes[] = {
        {"bridge: {static: [{mac: 01:00:5e:00:00:01, port: a}]}\n",
         "1:25: bridge.static[0].mac: \"01:00:5e:00:00:01\" is not a unicast MAC address such as "
         "52:54:00:12:34:56"},
        {"bridge: {static: [{mac: x, port: a}]}\n",
         "1:25: bridge.static[0].mac: \"x\" is not a unicast MAC address such as "
         "52:54:00:12:34:56"},
        {"bridge: {static: [{port: a}]}\n", "1:19: bridge.static[0]: needs the key \"mac\""},
        {"bridge: {static: [{mac: 52:54:00:00:00:01}]}\n",
         "1:19: bridge.static[0]: needs the key \"port\""},
        {"bridge:\n  static:\n    - {mac: 52:54:00:00:00:01, port: a}\nports: [{name: b}]\n",
         "3:7: bridge.static[0]: there is no port \"a\" in this file"},
        {"bridge: {static: [{mac: 52:54:00:00:00:01, port: \"\"}]}\n",
         "1:50: bridge.static[0].port: there is no port \"\" in this file"},
        {"bridge: {static: [{mac: 52:54:00:00:00:01, port: a123456789012345678901234567890x}]}\n",
         "1:50: bridge.static[0].port: there is no port \"a123456789012345678901234567890x\" in "
         "this file"},
        {"ports: [{name: a}, {name: b}]\nbridge:\n  static:\n"
         "    - {mac: 52:54:00:00:00:01, port: a}\n    - {mac: 52:54:00:00:00:01, port: b}\n",
         "5:7: bridge.static[1]: 52:54:00:00:00:01 has a port already, in static[0]"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

static void test_port_mistakes(void **state)
{
    static const struct mistake mistakes[] = {
        {"ports:\n  - {type: tap}\n", "2:5: ports[0]: needs the key \"name\""},
        {"ports:\n  -\n", "2:4: ports[0]: needs the key \"name\""},
        {"ports:\n  - {name: a}\n  - name: b\n    queues: many\n",
         "4:13: ports[1].queues: \"many\" is not a number from 1 to 8"},
        {"ports: [{name: a}, {name: b}, {name: a}]\n",
         "1:38: ports[2].name: there is a port a already"},
        {"ports: [{name: a, interface: x}]\n", "1:30: ports[0].interface: belongs to ports of type "
                                               "tap, and this port is of type vhost-user"},
        {"ports:\n  - {name: a, mode: server, type: tap}\n",
         "2:21: ports[0].mode: belongs to ports of type vhost-user, and this port is of type tap"},
        {"ports: [{name: a, socket: /s}, {name: b, socket: /s}]\n",
         "1:50: ports[1].socket: /s is the socket of port a already"},
        {"ports: [{name: a, socket: /run/convoy/b.sock}, {name: b}]\n",
         "1:48: ports[1].socket: /run/convoy/b.sock is the socket of port a already"},
        {"ports:\n  - {name: a, type: tap, interface: t0}\n  - {name: t0, type: tap}\n",
         "3:5: ports[1].interface: t0 is the interface of port a already"},
        {"ports: [{name: a, mac: 52:54:00:00:00:01}, {name: b, mac: 52:54:00:00:00:01}]\n",
         "1:59: ports[1].mac: 52:54:00:00:00:01 is the address of port a already; give one of them "
         "another mac"},
        {"ports: [{name: control}]\n",
         "1:9: ports[0].socket: /run/convoy/control.sock is the control socket"},
        {"ports: [{name: a-long-name-for-a-tap, type: tap}]\n",
         "1:9: ports[0].interface: the port's name \"a-long-name-for-a-tap\" is longer than 15 "
         "characters, so the interface needs a name of its own"},
        {"ports: [{name: a, type: tap, interface: br0, bridge: br0}]\n",
         "1:54: ports[0].bridge: \"br0\" is the port's own interface"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

/* Two ports get one derived address when their names' hashes meet: found here by trying names. */
static void test_derived_addresses_that_meet(void **state)
{
    enum { NAMES = 20000 };
    mac_addr *macs = calloc(NAMES, sizeof(*macs));
    unsigned first = 0, second = 0;
    char text[128], expected[256], mac_text[MAC_TEXT_BYTES];

    (void)state;
    for (unsigned i = 0; i < NAMES && second == 0; i++) {
        (void)snprintf(text, sizeof(text), "vm%u", i);
        macs[i] = port_config_derive_mac(text);
        for (unsigned j = 0; j < i && second == 0; j++) {
            if (macs[j] == macs[i]) {
                first = j;
                second = i;
            }
        }
    }
    assert_int_not_equal(second, 0);
    (void)snprintf(text, sizeof(text), "ports: [{name: vm%u}, {name: vm%u}]\n", first, second);
    (void)snprintf(expected, sizeof(expected),
                   "1:%d: ports[1].mac: %s is the address of port vm%u already; give one of them "
                   "another mac",
                   (int)(strrchr(text, '{') - text) + 1, mac_format(macs[first], mac_text), first);
    parse_bad_bytes(text, strlen(text), -EINVAL, expected);
    free(macs);
}

static void test_bounds(void **state)
{
    char *large = text_repeat("#", "0123456789abcdef", 65536, "\n");

    (void)state;
    parse_bad_bytes(large, strlen(large), -EFBIG,
                    " larger than 1 MiB; no configuration needs that");
    free(large);
    parse_repeated("ports: ", "[", 900, "",
                   "1:23: nested more than 16 deep; no configuration needs that");
    parse_repeated("ports: [&a {name: x}", ", *a", 1000, "]",
                   "1:4019: more than 1000 anchors and aliases");
    parse_repeated("ports: [", "{},", 257, "]",
                   "1:8: ports: has 257 entries; at most 256 are possible");
    parse_repeated("bridge: {static: [", "{},", 4097, "]}",
                   "1:18: bridge.static: has 4097 entries; at most 4096 are possible");
    parse_bad_bytes("workers: 1\npoll\0: 1us\n", 21, -EINVAL,
                    "2:5: a NUL byte; not a text in UTF-8");
}

/* Nine aliases of nine aliases of ...: refused by the schema, at once and not after 9^9 steps. */
static void test_alias_bomb(void **state)
{
    static const struct mistake mistakes[] = {
        {"bridge: &a [x, x]\n", "1:9: bridge: expected a mapping of keys, not a list"},
        {"ports:\n- &a [x,x,x,x]\n- &b [*a,*a,*a,*a]\n- &c [*b,*b,*b,*b]\n- &d [*c,*c,*c,*c]\n",
         "2:3: ports[0]: expected a mapping of keys, not a list"},
        {"ports: &p\n  - name: a\n    hold: *p\n",
         "1:8: ports[0].hold: expected a single value, not a list"},
        {"ports: &p [*p]\n", "1:8: ports[0]: expected a mapping of keys, not a list"},
    };

    (void)state;
    check_mistakes(mistakes, CV_COUNT_OF(mistakes));
}

static void test_most_ports_and_names(void **state)
{
    char *text = malloc((size_t)PORTS_MAX * 64);
    struct config config;
    size_t len = (size_t)sprintf(text, "ports:\n");

    (void)state;
    for (unsigned i = 0; i < PORTS_MAX; i++)
        len += (size_t)sprintf(text + len, "- {name: p%u, mac: 52:54:00:00:%02x:01}\n", i, i);
    parse_good(text, &config);
    assert_int_equal(config.port_count, PORTS_MAX);
    assert_string_equal(config.ports[PORTS_MAX - 1].socket, "/run/convoy/p255.sock");
    config_uninit(&config);
    free(text);
}

static void test_load(void **state)
{
    char path[] = "/tmp/convoy-config-XXXXXX";
    struct config config;
    struct error error;
    char expected[256];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, full_file, strlen(full_file)), (ssize_t)strlen(full_file));
    assert_int_equal(config_load(path, &config, &error), 0);
    assert_int_equal(config.port_count, 4);
    config_uninit(&config);

    assert_int_equal(ftruncate(fd, (2 << 20)), 0);
    assert_int_equal(config_load(path, &config, &error), -EFBIG);
    (void)snprintf(expected, sizeof(expected), "%s: larger than 1 MiB; no configuration needs that",
                   path);
    assert_string_equal(error.text, expected);
    (void)close(fd);
    (void)unlink(path);

    assert_int_equal(config_load(path, &config, &error), -ENOENT);
    (void)snprintf(expected, sizeof(expected), "%s: cannot be read: No such file or directory",
                   path);
    assert_string_equal(error.text, expected);
    assert_int_equal(config_load("/tmp", &config, &error), -EISDIR);
    assert_string_equal(error.text, "/tmp: cannot be read: Is a directory");
}

/* A file of the source tree, which meson names; skipped when the program is run by hand. */
static char *source_file(const char *name)
{
    const char *root = getenv("CONVOY_SOURCE_ROOT");
    char *path = NULL;

    if (root == NULL) {
        print_message("CONVOY_SOURCE_ROOT is not set: cannot find %s\n", name);
        skip();
    }
    assert_true(asprintf(&path, "%s/%s", root, name) > 0);
    return path;
}

static void test_example_is_good(void **state)
{
    char *path = source_file("docs/convoy.yaml");
    struct config config;
    struct error error = {.text = ""};

    (void)state;
    if (config_load(path, &config, &error) != 0)
        fail_msg("refused with: %s", error.text);
    assert_int_equal(config.port_count, 3);
    config_uninit(&config);
    free(path);
}

/* The manual and the table of keys name the same keys of a port. */
static void test_manual_has_all_keys(void **state)
{
    char *path = source_file("man/convoy.yaml.5");
    FILE *file = fopen(path, "r");
    static char manual[65536];
    unsigned described = 0;
    const char *at;

    (void)state;
    assert_non_null(file);
    assert_true(fread(manual, 1, sizeof(manual) - 1, file) > 0);
    (void)fclose(file);
    free(path);
    at = strstr(manual, ".Ss Keys of a port\n");
    assert_non_null(at);
    *strstr(at, ".Ss Derived addresses\n") = '\0';
    for (unsigned i = 0; port_config_key(i) != NULL; i++) {
        char item[64];

        (void)snprintf(item, sizeof(item), ".It Ic %s :", port_config_key(i));
        if (strstr(at, item) == NULL)
            fail_msg("the manual does not describe %s", port_config_key(i));
    }
    for (unsigned i = 0; port_config_key(i) != NULL; i++)
        described++;
    for (; (at = strstr(at, ".It Ic ")) != NULL; at++)
        described--;
    assert_int_equal(described, 0);
}

/* Every file that is cut off somewhere is either read or refused with a sentence, never worse. */
static void test_every_prefix(void **state)
{
    (void)state;
    for (size_t len = 0; len < strlen(full_file); len++) {
        char *copy = malloc(len + 1); /* of exact size, for the address sanitizer */
        struct config config;
        struct error error = {.text = ""};

        memcpy(copy, full_file, len);
        if (config_parse(copy, len, "convoy.yaml", &config, &error) == 0)
            config_uninit(&config);
        else
            assert_memory_equal(error.text, "convoy.yaml:", 12);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_file_is_defaults),
        cmocka_unit_test(test_init_is_what_an_empty_file_gives),
        cmocka_unit_test(test_full_file),
        cmocka_unit_test(test_workers_words),
        cmocka_unit_test(test_an_alias_is_what_it_names),
        cmocka_unit_test(test_control_socket_of_its_own),
        cmocka_unit_test(test_not_yaml),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_workers_mistakes),
        cmocka_unit_test(test_value_mistakes),
        cmocka_unit_test(test_longest_run_dir),
        cmocka_unit_test(test_static_mistakes),
        cmocka_unit_test(test_port_mistakes),
        cmocka_unit_test(test_derived_addresses_that_meet),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_alias_bomb),
        cmocka_unit_test(test_most_ports_and_names),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_example_is_good),
        cmocka_unit_test(test_manual_has_all_keys),
        cmocka_unit_test(test_every_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

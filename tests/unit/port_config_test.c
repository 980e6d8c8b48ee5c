/*
 * What can be said about a port, and the values it is said with. Goal: every key takes what the
 * manual allows, refuses everything else with the promised sentence, and a refusal changes nothing.
 * Method: tables of values at and beyond every limit; sentences are compared in full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/port_config.h"

static void set_good(struct port_config *config, const char *key, const char *value)
{
    struct error error = {.text = ""};

    if (port_config_set(config, key, value, &error) != 0)
        fail_msg("%s: %s refused with: %s", key, value, error.text);
}

static void set_bad(const char *key, const char *value, const char *sentence)
{
    struct port_config config, before;
    struct error error = {.text = ""};

    memset(&config, 0, sizeof(config));
    port_config_init(&config, "vm1");
    memcpy(&before, &config, sizeof(config));
    assert_int_equal(port_config_set(&config, key, value, &error), -EINVAL);
    assert_string_equal(error.text, sentence);
    assert_memory_equal(&config, &before, sizeof(config));
}

static void test_words(void **state)
{
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    set_good(&config, "type", "tap");
    assert_int_equal(config.type, PORT_TYPE_TAP);
    set_good(&config, "type", "vhost-user");
    assert_int_equal(config.type, PORT_TYPE_VHOST_USER);
    set_good(&config, "mode", "client");
    assert_int_equal(config.socket_mode, SOCKET_MODE_CLIENT);
    set_good(&config, "mode", "server");
    assert_int_equal(config.socket_mode, SOCKET_MODE_SERVER);
    set_good(&config, "when-full", "push-back");
    assert_int_equal(config.full, FULL_PUSH_BACK);
    set_good(&config, "when-full", "drop");
    assert_int_equal(config.full, FULL_DROP);
    assert_string_equal(port_type_name(PORT_TYPE_TAP), "tap");
    assert_string_equal(socket_mode_name(SOCKET_MODE_CLIENT), "client");
    assert_string_equal(full_policy_name(FULL_PUSH_BACK), "push-back");
    assert_string_equal(hold_mode_name(HOLD_FIXED), "fixed");
    assert_string_equal(hold_mode_name(HOLD_ADAPTIVE), "adaptive");
    set_bad("type", "TAP", "type: \"TAP\" is not vhost-user or tap");
    set_bad("mode", "", "mode: \"\" is not server or client");
    set_bad("when-full", "block", "when-full: \"block\" is not drop or push-back");
}

static void test_switches(void **state)
{
    static const char *const words[2][4] = {{"off", "no", "false", "Off"},
                                            {"on", "yes", "true", "ON"}};
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    assert_true(config.offloads && config.mergeable && config.merge);
    for (unsigned i = 0; i < 8; i++) {
        set_good(&config, "offloads", words[i % 2][i / 2]);
        assert_int_equal(config.offloads, i % 2);
        set_good(&config, "group", "libvirt-qemu");
        assert_string_equal(config.group, "libvirt-qemu");
        set_good(&config, "mergeable", words[i % 2][i / 2]);
        assert_int_equal(config.mergeable, i % 2);
        set_good(&config, "merge", words[i % 2][i / 2]);
        assert_int_equal(config.merge, i % 2);
    }
    set_bad("offloads", "1", "offloads: \"1\" is not on or off");
    set_bad("group", "a b", "group: \"a b\" is not the name or number of a group of the host");
    set_bad("mergeable", "maybe", "mergeable: \"maybe\" is not on or off");
    set_bad("merge", "", "merge: \"\" is not on or off");
}

static void test_numbers(void **state)
{
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    set_good(&config, "queues", "1");
    assert_int_equal(config.queue_pairs, 1);
    set_good(&config, "queues", "8");
    assert_int_equal(config.queue_pairs, 8);
    set_good(&config, "mtu", "68");
    assert_int_equal(config.mtu, 68);
    set_good(&config, "mtu", "65535");
    assert_int_equal(config.mtu, 65535);
    set_bad("queues", "0", "queues: \"0\" is not a number from 1 to 8");
    set_bad("queues", "9", "queues: \"9\" is not a number from 1 to 8");
    set_bad("queues", "+1", "queues: \"+1\" is not a number from 1 to 8");
    set_bad("queues", " 1", "queues: \" 1\" is not a number from 1 to 8");
    set_bad("queues", "1 ", "queues: \"1 \" is not a number from 1 to 8");
    set_bad("queues", "0x2", "queues: \"0x2\" is not a number from 1 to 8");
    set_bad("queues", "4294967297", "queues: \"4294967297\" is not a number from 1 to 8");
    set_bad("queues", "18446744073709551617",
            "queues: \"18446744073709551617\" is not a number from 1 to 8");
    set_bad("mtu", "67", "mtu: \"67\" is not a number from 68 to 65535");
    set_bad("mtu", "65536", "mtu: \"65536\" is not a number from 68 to 65535");
    set_bad("mtu", "-1500", "mtu: \"-1500\" is not a number from 68 to 65535");
}

static void test_hold(void **state)
{
    static const char *const good[][2] = {
        {"off", "off"},
        {"natural", "natural"},
        {"fixed:32,50us", "fixed:32,50us"},
        {"fixed:1,1us", "fixed:1,1us"},
        {"fixed:256,1000ms", "fixed:256,1s"},
        {"fixed:32, 1500 ns", "fixed:32,1500ns"},
        {"adaptive", "adaptive"},
    };
    static const char *const bad[] = {"",
                                      "fixed",
                                      "fixed:",
                                      "fixed:32",
                                      "fixed:,50us",
                                      "fixed:0,50us",
                                      "fixed:257,50us",
                                      "fixed:32,",
                                      "fixed:32,50",
                                      "fixed:32,0",
                                      "fixed:32,999ns",
                                      "fixed:32,1001ms",
                                      "fixed:00000032,50us",
                                      "Natural",
                                      "adaptive:50us"};
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    assert_int_equal(config.hold.mode, HOLD_ADAPTIVE);
    for (size_t i = 0; i < CV_COUNT_OF(good); i++) {
        char text[40];

        set_good(&config, "hold", good[i][0]);
        assert_string_equal(hold_config_format(&config.hold, text, sizeof(text)), good[i][1]);
    }
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        char sentence[256];

        (void)snprintf(
            sentence, sizeof(sentence),
            "hold: \"%s\" is not adaptive, natural, off, or fixed:PACKETS,TIME with 1 to "
            "256 packets and 1us to 1s",
            bad[i]);
        set_bad("hold", bad[i], sentence);
    }
}

static void test_delay_budget(void **state)
{
    static const char *const bad[] = {
        "",      "0",     "999ns",  "100001us", "101ms", "1s",   "50",
        "-50us", "5e1us", "50us,1", "none",     "0.5ms", "1us ", "18446744073709551616ns"};
    struct port_config config;
    char sentence[256];

    (void)state;
    port_config_init(&config, "vm1");
    assert_int_equal(config.hold.delay_budget_ns, 50000);
    set_good(&config, "delay-budget", "1us");
    assert_int_equal(config.hold.delay_budget_ns, 1000);
    set_good(&config, "delay-budget", "100ms");
    assert_int_equal(config.hold.delay_budget_ns, 100000000);
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        (void)snprintf(sentence, sizeof(sentence),
                       "delay-budget: \"%s\" is not a time from 1us to 100ms, such as 50us",
                       bad[i]);
        set_bad("delay-budget", bad[i], sentence);
    }
}

static void test_delay_weight(void **state)
{
    static const char *const bad[] = {"",
                                      "0",
                                      "0.000999",
                                      "1000.000001",
                                      "1001",
                                      "-1",
                                      "+1",
                                      "1e2",
                                      "0x1",
                                      "inf",
                                      "nan",
                                      "1.",
                                      ".5",
                                      "1,5",
                                      "0.1 ",
                                      " 0.1",
                                      "1.0.0",
                                      "0.0010000",
                                      "99999999999999999999"};
    struct port_config config;
    char sentence[256];

    (void)state;
    port_config_init(&config, "vm1");
    assert_true(config.hold.delay_weight == 0.1);
    set_good(&config, "delay-weight", "0.001");
    assert_true(config.hold.delay_weight == 0.001);
    set_good(&config, "delay-weight", "1000");
    assert_true(config.hold.delay_weight == 1000);
    set_good(&config, "delay-weight", "1000.000000");
    set_good(&config, "delay-weight", "002.5");
    assert_true(config.hold.delay_weight == 2.5);
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        (void)snprintf(sentence, sizeof(sentence),
                       "delay-weight: \"%s\" is not a number from 0.001 to 1000, such as 0.1: the "
                       "seconds of processor time that may be spent to spare one packet one second "
                       "of waiting",
                       bad[i]);
        set_bad("delay-weight", bad[i], sentence);
    }
}

/* Whatever the mode, budget and weight stay; whatever they are, mode, K and T stay. */
static void test_hold_keys_are_independent(void **state)
{
    static const char *const modes[] = {"off",      "natural",     "fixed:32,50us",
                                        "adaptive", "fixed:8,1ms", "off"};
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    set_good(&config, "delay-budget", "20us");
    set_good(&config, "delay-weight", "0.25");
    for (size_t i = 0; i < CV_COUNT_OF(modes); i++) {
        char text[40];

        set_good(&config, "hold", modes[i]);
        assert_int_equal(config.hold.delay_budget_ns, 20000);
        assert_true(config.hold.delay_weight == 0.25);
        set_good(&config, "delay-budget", "20us");
        set_good(&config, "delay-weight", "0.25");
        assert_string_equal(hold_config_format(&config.hold, text, sizeof(text)), modes[i]);
        if (config.hold.mode != HOLD_FIXED)
            assert_true(config.hold.packets_max == 0 && config.hold.time_max_ns == 0);
    }
}

/* What may change while a guest runs is what vswitch_port_set_hold takes, and nothing else. */
static void test_live_keys(void **state)
{
    static const char live[] = " hold delay-budget delay-weight merge ";

    (void)state;
    for (unsigned i = 0; port_config_key(i) != NULL; i++) {
        char word[40];

        (void)snprintf(word, sizeof(word), " %s ", port_config_key(i));
        assert_int_equal(port_config_key_is_live(port_config_key(i)), strstr(live, word) != NULL);
    }
    assert_true(port_config_key_is_live("hodl"));
}

static void test_mac(void **state)
{
    static const char *const bad[] = {"",
                                      "00:00:00:00:00:00",
                                      "ff:ff:ff:ff:ff:ff",
                                      "01:00:5e:00:00:01",
                                      "52:54:00:12:34",
                                      "52:54:00:12:34:56:78",
                                      "52:54:00:12:34:5g",
                                      "52:54:00:12:34:5",
                                      "52-54-00-12-34-56",
                                      "525400123456",
                                      " 52:54:00:12:34:56"};
    struct port_config config;
    char text[MAC_TEXT_BYTES];

    (void)state;
    port_config_init(&config, "vm1");
    set_good(&config, "mac", "52:54:00:Ab:cD:eF");
    assert_true(config.mac == UINT64_C(0x525400abcdef));
    assert_string_equal(mac_format(config.mac, text), "52:54:00:ab:cd:ef");
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        char sentence[128];

        (void)snprintf(sentence, sizeof(sentence),
                       "mac: \"%s\" is not a unicast MAC address such as 52:54:00:12:34:56",
                       bad[i]);
        set_bad("mac", bad[i], sentence);
    }
}

static void test_socket(void **state)
{
    struct port_config config;
    char path[109];

    (void)state;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[107] = '\0';
    port_config_init(&config, "vm1");
    set_good(&config, "socket", path);
    assert_string_equal(config.socket, path);
    path[107] = 'x';
    path[108] = '\0';
    set_bad("socket", path,
            "socket: \"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\" is not an absolute path of at "
            "most 107 bytes");
    set_bad("socket", "vm1.sock",
            "socket: \"vm1.sock\" is not an absolute path of at most 107 bytes");
    set_bad("socket", "", "socket: \"\" is not an absolute path of at most 107 bytes");
}

static void test_interface_names(void **state)
{
    static const char *const bad[] = {"",    ".",   "..",  "a/b",  "a b",
                                      "a:b", "a%d", "a\t", "a\nb", "sixteen-letters-"};
    static const char *const keys[] = {"interface", "bridge"};
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    set_good(&config, "interface", "fifteen-letters");
    assert_string_equal(config.interface, "fifteen-letters");
    set_good(&config, "bridge", "br-lan.10");
    assert_string_equal(config.bridge, "br-lan.10");
    for (size_t i = 0; i < 2 * CV_COUNT_OF(bad); i++) {
        char quoted[QUOTED_TEXT_BYTES];
        char sentence[160];

        (void)snprintf(sentence, sizeof(sentence),
                       "%s: %s is not an interface name of 1 to 15 characters without space, '/', "
                       "':' and '%%'",
                       keys[i % 2], text_quote(bad[i / 2], quoted));
        set_bad(keys[i % 2], bad[i / 2], sentence);
    }
}

static void test_names(void **state)
{
    static const char *const good[] = {"a", "0", "_a", "vm-1_b.c",
                                       "a23456789012345678901234567890b"};
    static const char *const bad[] = {
        "", "-a", ".a", "a/b", "a b", "a\nb", "\xc3\xa4", "a234567890123456789012345678901b"};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(good); i++) {
        struct port_config config;
        struct error error;

        port_config_init(&config, good[i]);
        assert_int_equal(port_config_finish(&config, "/run/convoy", &error), 0);
        port_config_init(&config, "");
        set_good(&config, "name", good[i]);
        assert_string_equal(config.name, good[i]);
    }
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        struct port_config config;
        struct error error;
        char quoted[QUOTED_TEXT_BYTES];
        char sentence[256];

        (void)snprintf(sentence, sizeof(sentence),
                       "name: %s is not a name of 1 to 31 letters, digits, '-', '_' and '.' that "
                       "does not start with '-' or '.'",
                       text_quote(bad[i], quoted));
        set_bad("name", bad[i], sentence);
        port_config_init(&config, bad[i]);
        assert_int_equal(port_config_finish(&config, "/run/convoy", &error), -EINVAL);
    }
}

static void test_unknown_keys(void **state)
{
    (void)state;
    set_bad("queue", "1", "\"queue\" is not a key of a port; did you mean \"queues\"?");
    set_bad("sokcet", "1", "\"sokcet\" is not a key of a port; did you mean \"socket\"?");
    set_bad("quantum", "1", "\"quantum\" is not a key of a port");
    set_bad("", "1", "\"\" is not a key of a port");
}

/* keys_set tells an operator's value from a default, also when they are equal. */
static void test_keys_set(void **state)
{
    struct port_config config;

    (void)state;
    port_config_init(&config, "vm1");
    assert_int_equal(config.keys_set, 0);
    set_good(&config, "mtu", "1500");
    set_good(&config, "mtu", "1501");
    for (unsigned i = 0; port_config_key(i) != NULL; i++)
        assert_int_equal(config.keys_set >> i & 1, strcmp(port_config_key(i), "mtu") == 0);
}

static void finish_bad(const struct port_config *config, const char *run_dir, const char *sentence)
{
    struct port_config changed;
    struct error error = {.text = ""};

    memcpy(&changed, config, sizeof(changed));
    assert_int_equal(port_config_finish(&changed, run_dir, &error), -EINVAL);
    assert_string_equal(error.text, sentence);
    assert_memory_equal(&changed, config, sizeof(changed));
}

static void test_finish_fills(void **state)
{
    struct port_config config;
    struct error error;

    (void)state;
    port_config_init(&config, "vm1");
    assert_int_equal(port_config_finish(&config, "/run/convoy", &error), 0);
    assert_string_equal(config.socket, "/run/convoy/vm1.sock");
    assert_true(config.mac == port_config_derive_mac("vm1"));
    assert_true(mac_is_unicast(config.mac));
    assert_true(config.mac >> 24 == 0x525400);

    port_config_init(&config, "vm1");
    set_good(&config, "socket", "/s");
    set_good(&config, "mac", "02:00:00:00:00:01");
    assert_int_equal(port_config_finish(&config, "/run/convoy", &error), 0);
    assert_string_equal(config.socket, "/s");
    assert_true(config.mac == UINT64_C(0x020000000001));

    port_config_init(&config, "tap1");
    set_good(&config, "type", "tap");
    assert_int_equal(port_config_finish(&config, "/run/convoy", &error), 0);
    assert_string_equal(config.interface, "tap1");
    assert_string_equal(config.socket, "");
    set_good(&config, "hold", "adaptive");
    set_good(&config, "delay-budget", "10us");
    set_good(&config, "delay-weight", "1");
    set_good(&config, "merge", "off");
    assert_int_equal(port_config_finish(&config, "/run/convoy", &error), 0);
    assert_true(config.mac == 0);
}

/* The manual tells how addresses are derived, so they may never change. */
static void test_derived_mac_is_stable(void **state)
{
    (void)state;
    assert_true(port_config_derive_mac("vm1") != port_config_derive_mac("vm2"));
    assert_true(port_config_derive_mac("vm1") == UINT64_C(0x525400fd91eb));
    assert_true(port_config_derive_mac("a.long-name_with.31.characters-") ==
                UINT64_C(0x525400204d4a));
}

static void test_finish_refuses(void **state)
{
    static const char *const vhost_only[][2] = {
        {"socket", "/s"},   {"mode", "server"},  {"queues", "1"}, {"mac", "02:00:00:00:00:01"},
        {"offloads", "on"}, {"mergeable", "on"}, {"group", "kvm"}};
    static const char *const tap_only[][2] = {{"interface", "t0"}, {"bridge", "br0"}};
    struct port_config config;
    char sentence[128];

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(vhost_only); i++) {
        port_config_init(&config, "vm1");
        set_good(&config, vhost_only[i][0], vhost_only[i][1]);
        set_good(&config, "type", "tap");
        (void)snprintf(sentence, sizeof(sentence),
                       "%s: belongs to ports of type vhost-user, and this port is of type tap",
                       vhost_only[i][0]);
        finish_bad(&config, "/run/convoy", sentence);
    }
    for (size_t i = 0; i < CV_COUNT_OF(tap_only); i++) {
        port_config_init(&config, "vm1");
        set_good(&config, tap_only[i][0], tap_only[i][1]);
        (void)snprintf(sentence, sizeof(sentence),
                       "%s: belongs to ports of type tap, and this port is of type vhost-user",
                       tap_only[i][0]);
        finish_bad(&config, "/run/convoy", sentence);
    }
}

/* 107 bytes fit a socket's address with its NUL; one more does not. */
static void test_finish_long_run_dir(void **state)
{
    char run_dir[101];
    char sentence[256];
    struct port_config config;
    struct error error;

    (void)state;
    memset(run_dir, 'x', sizeof(run_dir));
    run_dir[0] = '/';
    run_dir[100] = '\0';
    port_config_init(&config, "a");
    assert_int_equal(port_config_finish(&config, run_dir, &error), 0);
    assert_int_equal(strlen(config.socket), 107);
    port_config_init(&config, "ab");
    (void)snprintf(
        sentence, sizeof(sentence),
        "socket: %s/ab.sock is longer than 107 bytes; give a shorter run-dir or a socket "
        "of its own",
        run_dir);
    finish_bad(&config, run_dir, sentence);
}

static void port_make(struct port_config *config, const char *name, const char *type,
                      const char *key, const char *value)
{
    struct error error;

    port_config_init(config, name);
    set_good(config, "type", type);
    if (key != NULL)
        set_good(config, key, value);
    assert_int_equal(port_config_finish(config, "/run/convoy", &error), 0);
}

static void test_pairs(void **state)
{
    struct port_config a, b;
    struct error error;

    (void)state;
    port_make(&a, "a", "vhost-user", NULL, NULL);
    port_make(&b, "b", "vhost-user", NULL, NULL);
    assert_int_equal(port_config_check_pair(&a, &b, &error), 0);
    port_make(&b, "a", "tap", NULL, NULL);
    assert_int_equal(port_config_check_pair(&b, &a, &error), -EEXIST);
    assert_string_equal(error.text, "name: there is a port a already");
    port_make(&b, "b", "vhost-user", "socket", "/run/convoy/a.sock");
    assert_int_equal(port_config_check_pair(&b, &a, &error), -EEXIST);
    assert_string_equal(error.text, "socket: /run/convoy/a.sock is the socket of port a already");
    port_make(&a, "a", "tap", "interface", "t0");
    port_make(&b, "b", "tap", "interface", "t0");
    assert_int_equal(port_config_check_pair(&b, &a, &error), -EEXIST);
    assert_string_equal(error.text, "interface: t0 is the interface of port a already");
    port_make(&b, "b", "tap", "bridge", "br0");
    assert_int_equal(port_config_check_pair(&b, &a, &error), 0);
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"0", 0},
                {"0s", 0},
                {"1ns", 1},
                {"50us", 50000},
                {"20 ms", 20000000},
                {"300s", UINT64_C(300000000000)},
                {"5min", UINT64_C(300000000000)},
                {"18446744073709551615ns", UINT64_MAX},
                {"18446744073s", UINT64_C(18446744073000000000)}};
    static const char *const bad[] = {"",
                                      "5",
                                      "-5us",
                                      "+5us",
                                      "us",
                                      "5 ",
                                      " 5us",
                                      "5  us",
                                      "5usec",
                                      "0.5ms",
                                      "1e3s",
                                      "5US",
                                      "5us ",
                                      "5 u",
                                      "18446744073709551616ns",
                                      "18446744074s",
                                      "307445735min"};
    uint64_t ns;

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(good); i++) {
        assert_true(duration_parse(good[i].text, &ns));
        assert_true(ns == good[i].ns);
    }
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        ns = 77;
        if (duration_parse(bad[i], &ns))
            fail_msg("\"%s\" was taken for a duration", bad[i]);
        assert_int_equal(ns, 77);
    }
}

static void test_duration_format(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {{0, "0"},
                 {999, "999ns"},
                 {1500, "1500ns"},
                 {50000, "50us"},
                 {UINT64_C(300000000000), "5min"},
                 {UINT64_C(301000000000), "301s"},
                 {UINT64_MAX, "18446744073709551615ns"}};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(cases); i++) {
        char text[DURATION_TEXT_BYTES];
        uint64_t ns;

        assert_string_equal(duration_format(cases[i].ns, text), cases[i].text);
        assert_true(duration_parse(text, &ns));
        assert_true(ns == cases[i].ns);
    }
}

static void test_decimals(void **state)
{
    static const struct {
        const char *text;
        double number;
        const char *again;
    } good[] = {{"0", 0, "0"},
                {"0.0", 0, "0"},
                {"10", 10, "10"},
                {"0.1", 0.1, "0.1"},
                {"0.000001", 0.000001, "0.000001"},
                {"100.100", 100.1, "100.1"},
                {"999999.999999", 999999.999999, "999999.999999"},
                {"1000000000", 1e9, "1000000000"}};
    static const char *const bad[] = {"",          ".",         "1.",         ".1",
                                      "1e3",       "-1",        "1000000001", "0.0000001",
                                      "0.0000000", "1.000001e", "1.2.3",      "0.1x"};

    (void)state;
    for (size_t i = 0; i < CV_COUNT_OF(good); i++) {
        char text[DECIMAL_TEXT_BYTES];
        double number = -1;

        assert_true(decimal_parse(good[i].text, 0, 1e9, &number));
        assert_true(number == good[i].number);
        assert_string_equal(decimal_format(number, text), good[i].again);
    }
    for (size_t i = 0; i < CV_COUNT_OF(bad); i++) {
        double number = 77;

        if (decimal_parse(bad[i], 0, 1e9, &number))
            fail_msg("\"%s\" was taken for a number", bad[i]);
        assert_true(number == 77);
    }
}

/* Every weight that can be written down comes back as it was. */
static void test_decimal_round_trip(void **state)
{
    (void)state;
    for (unsigned millionths = 1; millionths < 1000000000; millionths += millionths / 64 + 1) {
        char text[DECIMAL_TEXT_BYTES];
        double number = 0, again = 0;

        (void)snprintf(text, sizeof(text), "%u.%06u", millionths / 1000000, millionths % 1000000);
        assert_true(decimal_parse(text, 0, 1e9, &number));
        assert_true(decimal_parse(decimal_format(number, text), 0, 1e9, &again));
        assert_true(number == again && number == (double)millionths / 1e6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_delay_budget),
        cmocka_unit_test(test_delay_weight),
        cmocka_unit_test(test_hold_keys_are_independent),
        cmocka_unit_test(test_live_keys),
        cmocka_unit_test(test_mac),
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_interface_names),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_keys_set),
        cmocka_unit_test(test_finish_fills),
        cmocka_unit_test(test_derived_mac_is_stable),
        cmocka_unit_test(test_finish_refuses),
        cmocka_unit_test(test_finish_long_run_dir),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_duration_format),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_decimal_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

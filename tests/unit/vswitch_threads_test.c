/*
 * Goal: a switch with two workers is changed and asked in full traffic, and no frame is doubled,
 * reordered, altered or, on ports that stay, lost. Method: the real switch with its threads, real
 * vhost-user ports, verified traffic between four of them driven by two threads; meanwhile ports
 * with guests are added and removed, modes of holding changed, addresses bound, statuses read. The
 * same program built with -Db_sanitize=thread looks for races.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "exchange.h"
#include "switch/vswitch.h"

#define RUN_NS UINT64_C(2000000000)

enum { PAIRS = 2 }; /* of ports with traffic, each pair driven by a thread */

/* --- the control thread --- */

struct control {
    struct reactor *reactor;
    struct vswitch *vswitch;
    struct reactor_watch watch; /* eventfd: there is something to do */
    pthread_t thread;
    /* What is to be done, by one caller at a time. */
    int (*task)(struct vswitch *vswitch, void *context, struct error *error);
    void *context;
    int result;
    struct error error;
    bool stops;
    sem_t done;
};

static struct control control;
static char folder[] = "/tmp/convoy-threads-XXXXXX";

static void task_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    uint64_t count;

    (void)epoll_events;
    (void)!read(watch->fd, &count, sizeof(count));
    if (control.stops)
        reactor_stop(control.reactor);
    else
        control.result = control.task(control.vswitch, control.context, &control.error);
    sem_post(&control.done);
}

static void *control_run(void *context)
{
    (void)context;
    return reactor_run(control.reactor) < 0 ? NULL : control.reactor;
}

/* Has the control thread do something, and waits for it. */
static void control_call(int (*task)(struct vswitch *, void *, struct error *), void *context)
{
    uint64_t one = 1;

    control.task = task;
    control.context = context;
    control.error.text[0] = '\0';
    assert_int_equal(write(control.watch.fd, &one, sizeof(one)), sizeof(one));
    while (sem_wait(&control.done) < 0)
        ;
    if (control.result < 0)
        fail_msg("%s", control.error.text);
}

static void control_begin(unsigned workers)
{
    struct config config;
    struct error error;

    config_init(&config);
    config.workers = workers;
    sem_init(&control.done, 0, 0);
    control.stops = false;
    control.reactor = reactor_new();
    assert_non_null(control.reactor);
    control.vswitch = vswitch_new(&config, control.reactor, &error);
    assert_non_null(control.vswitch);
    config_uninit(&config);
    control.watch = (struct reactor_watch){eventfd(0, EFD_NONBLOCK), task_ready};
    assert_int_equal(reactor_add(control.reactor, &control.watch, EPOLLIN), 0);
    assert_int_equal(pthread_create(&control.thread, NULL, control_run, NULL), 0);
}

static int task_nothing(struct vswitch *vswitch, void *context, struct error *error)
{
    (void)vswitch;
    (void)context;
    (void)error;
    return 0;
}

static void control_end(void)
{
    control.stops = true;
    control_call(task_nothing, NULL);
    pthread_join(control.thread, NULL);
    reactor_remove(control.reactor, &control.watch);
    close(control.watch.fd);
    vswitch_free(control.vswitch);
    reactor_free(control.reactor);
    sem_destroy(&control.done);
}

/* --- what the control thread is asked for --- */

static void socket_path(char *path, size_t size, const char *name)
{
    assert_true((size_t)snprintf(path, size, "%s/%s.sock", folder, name) < size);
}

static int task_add(struct vswitch *vswitch, void *name, struct error *error)
{
    struct port_config config;
    int result;

    port_config_init(&config, name);
    result = port_config_set(&config, "type", "vhost-user", error);
    if (result == 0)
        result = port_config_finish(&config, folder, error);
    return result < 0 ? result : vswitch_port_add(vswitch, &config, error);
}

static int task_remove(struct vswitch *vswitch, void *name, struct error *error)
{
    return vswitch_port_remove(vswitch, name, error);
}

static void add_up(const struct port_status *status, void *context)
{
    *(uint64_t *)context += status->counters.to_packets + status->frames_waiting;
}

static int task_look(struct vswitch *vswitch, void *sum, struct error *error)
{
    static struct port_tuning tuning;
    struct worker_status status;

    (void)error;
    vswitch_for_each_port(vswitch, add_up, sum);
    for (unsigned i = 0; i < vswitch_worker_count(vswitch); i++)
        vswitch_worker_status(vswitch, i, &status);
    return vswitch_port_tuning(vswitch, "a0", &tuning);
}

/* When nothing is under way any more: every packet that a port was given is in its histogram. */
static int task_add_up_packets(struct vswitch *vswitch, void *name, struct error *error)
{
    static struct port_tuning tuning;
    struct port_status status;
    const struct port_counters *counters = &status.counters;

    (void)error;
    assert_int_equal(vswitch_port_status(vswitch, name, &status), 0);
    assert_int_equal(vswitch_port_tuning(vswitch, name, &tuning), 0);
    assert_true(tuning.histograms.residence.count > 100);
    assert_int_equal(tuning.histograms.residence.count, counters->to_packets + counters->to_merged);
    return 0;
}

static int task_hold(struct vswitch *vswitch, void *context, struct error *error)
{
    static const struct hold_config holds[] = {
        {.mode = HOLD_OFF},
        {.mode = HOLD_NATURAL},
        {.mode = HOLD_FIXED, .packets_max = 16, .time_max_ns = 50000},
        {.mode = HOLD_ADAPTIVE, .delay_budget_ns = 50000, .delay_weight = 0.01},
    };
    unsigned round = *(unsigned *)context;

    return vswitch_port_set_hold(vswitch, round % 2 ? "a0" : "b1",
                                 &holds[round / 2 % CV_COUNT_OF(holds)], round % 3 > 0, error);
}

static int task_bind(struct vswitch *vswitch, void *name, struct error *error)
{
    const mac_addr mac = UINT64_C(0x020000000077);
    int result = vswitch_static_mac_add(vswitch, mac, name, error);

    return result < 0 ? result : vswitch_static_mac_remove(vswitch, mac, error);
}

/* --- traffic --- */

struct crossing {
    struct exchange exchange;
    pthread_t thread;
    bool must_stop; /* atomic */
};

static void *traffic_run(void *context)
{
    struct crossing *traffic = context;

    while (!__atomic_load_n(&traffic->must_stop, __ATOMIC_RELAXED))
        if (!exchange_step(&traffic->exchange))
            exchange_wait(&traffic->exchange, 10);
    return NULL;
}

static void traffic_begin(struct crossing *traffic, unsigned index)
{
    struct front_end_options front = {.features = front_features_linux,
                                      .protocol_features = front_protocol_features};
    struct exchange_options options = {.kind = index ? TRAFFIC_TCP6 : TRAFFIC_UDP4,
                                       .verify = true,
                                       .offload_csum = index,
                                       .len_min = 90,
                                       .len_max = 1514,
                                       .window = 64,
                                       .seed = index,
                                       .first_number = 2 * index};
    char paths[2][128];
    const char *sockets[2] = {paths[0], paths[1]};
    struct error error;

    for (unsigned end = 0; end < 2; end++) {
        char name[] = {(char)('a' + end), (char)('0' + index), '\0'};

        control_call(task_add, name);
        socket_path(paths[end], sizeof(paths[end]), name);
    }
    if (exchange_open(&traffic->exchange, sockets, 2, &front, &options, &error) < 0)
        fail_msg("%s", error.text);
    traffic->must_stop = false;
    assert_int_equal(pthread_create(&traffic->thread, NULL, traffic_run, traffic), 0);
}

/* Guests answer for a while yet, so that what is under way arrives. */
static void traffic_end(struct crossing *traffic)
{
    struct exchange_result result;
    uint64_t sent = 0;

    __atomic_store_n(&traffic->must_stop, true, __ATOMIC_RELAXED);
    pthread_join(traffic->thread, NULL);
    for (unsigned i = 0; i < traffic->exchange.end_count; i++)
        sent = CV_MAX(sent, traffic->exchange.ends[i].sent);
    traffic->exchange.options.frames = sent; /* both ends send as many, then it ends */
    assert_true(exchange_run(&traffic->exchange, clock_now_ns() + UINT64_C(20000000000)));
    exchange_get_result(&traffic->exchange, &result);
    print_message("sent %llu, lost %llu, doubled %llu, reordered %llu, altered %llu\n",
                  (unsigned long long)result.sent, (unsigned long long)result.lost,
                  (unsigned long long)result.doubled, (unsigned long long)result.reordered,
                  (unsigned long long)result.altered);
    assert_true(result.sent > 100);
    assert_true(exchange_result_is_good(&result, false));
    exchange_close(&traffic->exchange);
}

/* --- a guest that comes and goes --- */

/* Broadcasts, so that its frames wait at every port when it goes. */
static void guest_shouts(struct front_end *fe, unsigned frames)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x66};
    struct traffic_source source;
    uint8_t frame[200];

    traffic_source_init(&source, TRAFFIC_ETHER, 4242, everybody, mac);
    for (unsigned i = 0; i < frames; i++) {
        struct virtio_net_hdr hdr;

        traffic_frame_build(&source, frame, 100, &hdr);
        assert_int_equal(front_end_send(fe, 0, &hdr, frame, 100), 0);
    }
}

/* In every third round the guest goes first, in others the port; its last frames are under way. */
static void guest_comes_and_goes(unsigned round)
{
    char name[] = "guest", path[128];
    struct front_end_options options = {.features = front_features_linux,
                                        .protocol_features = front_protocol_features,
                                        .socket = path};
    struct front_end fe;

    control_call(task_add, name);
    socket_path(path, sizeof(path), name);
    assert_int_equal(front_end_open(&fe, &options), 0);
    control_call(task_bind, name);
    guest_shouts(&fe, 50 + round % 100);
    if (round % 3 == 0)
        front_end_disconnect(&fe);
    control_call(task_remove, name);
    front_end_close(&fe);
}

static void change_and_ask(void)
{
    uint64_t end_ns = clock_now_ns() + RUN_NS, sum = 0;
    unsigned rounds = 0;

    while (clock_now_ns() < end_ns) {
        guest_comes_and_goes(rounds);
        control_call(task_hold, &rounds);
        control_call(task_look, &sum);
        rounds++;
    }
    print_message("%u rounds\n", rounds);
    assert_true(rounds >= 3 && sum > 0);
}

static void run(unsigned workers)
{
    static struct crossing traffic[PAIRS];

    control_begin(workers);
    for (unsigned i = 0; i < PAIRS; i++)
        traffic_begin(&traffic[i], i);
    change_and_ask();
    for (unsigned i = 0; i < PAIRS; i++)
        traffic_end(&traffic[i]);
    control_call(task_add_up_packets, (char[]){"a0"});
    control_end();
}

static void two_workers(void **state)
{
    (void)state;
    run(2);
}

static void one_worker(void **state)
{
    (void)state;
    run(1);
}

static int make_folder(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_WARNING);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* no socket is left in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_workers),
        cmocka_unit_test(one_worker),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "guest/vhost_user.h"

enum {
    REST_MS = 500,              /* silence after which what has not arrived is lost */
    AWAIT_MS = 3000,            /* for what must happen soon */
    FRAMES_AFTER_ATTACK = 2000, /* that the honest guests exchange to show that they still do */
    MEMORY_GROWTH_KIB_MAX = 1024,
    IDLE_CPU_PERCENT_MAX = 20,
    ATTEMPTS_MAX = 8, /* of an attack whose warning fell under the limit of log lines */
};

const uint8_t hostile_probe_mac[6] = {0x52, 0x54, 0x00, 0x7e, 0x57, 0xf0};
const uint8_t hostile_attacker_mac[6] = {0x52, 0x54, 0x00, 0x7e, 0x57, 0xf1};

bool hostile_expect(struct hostile *h, bool condition, const char *format, ...)
{
    va_list arguments;

    if (condition || h->failed)
        return condition;
    h->failed = true;
    va_start(arguments, format);
    vsnprintf(h->failure, sizeof(h->failure), format, arguments);
    va_end(arguments);
    return false;
}

static uint64_t deadline_in(unsigned ms)
{
    return clock_now_ns() + ms * UINT64_C(1000000);
}

/* --- the honest guests --- */

static void publish_progress(struct hostile *h)
{
    uint64_t received = h->honest.ends[0].received + h->honest.ends[1].received;

    __atomic_store_n(&h->exchanged, received, __ATOMIC_RELEASE);
}

/* Frames that left and right have sent and not received. */
static uint64_t not_arrived(const struct exchange *x)
{
    return x->ends[0].sent + x->ends[1].sent - x->ends[0].received - x->ends[1].received;
}

/* Lets what is under way arrive; the frames to come are held back by a limit on what is sent. */
static void come_to_rest(struct hostile *h)
{
    struct exchange *x = &h->honest;

    x->options.frames = 1; /* nobody sends: all have sent more */
    while (not_arrived(x) > h->losses_known &&
           clock_now_ns() - x->moved_ns < REST_MS * UINT64_C(1000000)) {
        if (!exchange_step(x))
            exchange_wait(x, 50);
    }
    __atomic_store_n(&h->paused, true, __ATOMIC_RELEASE);
    while (__atomic_load_n(&h->pause, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE)) {
        if (!exchange_step(x)) /* what the attacker floods them with is read meanwhile */
            exchange_wait(x, 20);
    }
    x->options.frames = 0;
    __atomic_store_n(&h->paused, false, __ATOMIC_RELEASE);
}

static void *honest_thread(void *context)
{
    struct hostile *h = context;

    while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&h->pause, __ATOMIC_ACQUIRE))
            come_to_rest(h);
        else
            exchange_run(&h->honest, deadline_in(5));
        publish_progress(h);
    }
    return NULL;
}

bool hostile_pause_honest(struct hostile *h)
{
    uint64_t deadline_ns = deadline_in(AWAIT_MS);

    __atomic_store_n(&h->pause, true, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&h->paused, __ATOMIC_ACQUIRE)) {
        if (clock_now_ns() > deadline_ns)
            return hostile_expect(h, false, "the honest guests do not come to rest");
        poll(NULL, 0, 1);
    }
    return true;
}

void hostile_resume_honest(struct hostile *h)
{
    __atomic_store_n(&h->pause, false, __ATOMIC_RELEASE);
    while (__atomic_load_n(&h->paused, __ATOMIC_ACQUIRE))
        poll(NULL, 0, 1);
}

static bool await_exchanged(struct hostile *h, uint64_t more, unsigned ms)
{
    uint64_t goal = __atomic_load_n(&h->exchanged, __ATOMIC_ACQUIRE) + more;
    uint64_t deadline_ns = deadline_in(ms);

    while (__atomic_load_n(&h->exchanged, __ATOMIC_ACQUIRE) < goal) {
        if (clock_now_ns() > deadline_ns)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}

/* --- the stage --- */

static int start_honest(struct hostile *h, struct error *error)
{
    const char *sockets[2] = {daemon_socket(&h->daemon, "left"),
                              daemon_socket(&h->daemon, "right")};
    struct front_end_options front = h->attacker;
    struct exchange_options options = {.kind = TRAFFIC_UDP4,
                                       .verify = true,
                                       .len_min = 60,
                                       .len_max = 1514,
                                       .window = 64,
                                       .give_up_ms = 20, /* floods take frames out of the window */
                                       .burst = 16};
    uint64_t start_ns;
    int result;

    result = exchange_open(&h->honest, sockets, 2, &front, &options, error);
    if (result < 0)
        return result;
    result = -pthread_create(&h->thread, NULL, honest_thread, h);
    if (result < 0)
        return error_set(error, result, "no thread for the honest guests");
    start_ns = clock_now_ns();
    if (!await_exchanged(h, 20000, 20000))
        return error_set(error, -ETIMEDOUT, "the honest guests exchange nothing");
    h->honest_rate = 20000 * UINT64_C(1000000000) / (clock_now_ns() - start_ns);
    return 0;
}

static int start_probe(struct hostile *h, struct error *error)
{
    struct front_end_options options = h->attacker;
    int result;

    options.socket = strdup(daemon_socket(&h->daemon, "probe"));
    /* Sends super-packets, but takes none: all offloads are done for it. */
    options.features = front_features_plain | VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) |
                       VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
                       VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6);
    options.transmit_bytes = 66000;
    result = front_end_open(&h->probe, &options);
    if (result < 0)
        *error = h->probe.error;
    return result;
}

/*
 * What the daemon sets up only when a guest first misbehaves is set up now, so that the number of
 * its open files can be compared from here on.
 */
static int warm_up(struct hostile *h, struct error *error)
{
    unsigned files = 0;
    struct front_end fe;

    for (unsigned i = 0; i < 2; i++) {
        int odd = open("/dev/null", O_RDWR | O_CLOEXEC);
        uint64_t number = 0;

        if (!hostile_open(h, &fe, &h->attacker))
            return error_set(error, -EIO, "%s", h->failure);
        (void)!front_end_tell(&fe, VU_SET_VRING_CALL, &number, sizeof(number), &odd, 1);
        hostile_close(&fe);
        close(odd);
    }
    h->open_files = UINT32_MAX;
    for (uint64_t deadline_ns = deadline_in(300); clock_now_ns() < deadline_ns; poll(NULL, 0, 5)) {
        files = daemon_open_files(&h->daemon);
        h->open_files = CV_MIN(h->open_files, files);
    }
    return 0;
}

int hostile_start(struct hostile *h, const char *convoyd, struct error *error)
{
    static const char ports[] = "  - name: attacker\n"
                                "    queues: 2\n"
                                "  - name: left\n"
                                "  - name: right\n"
                                "  - name: probe\n"
                                "  - name: taker\n";
    const char *rounds = getenv("HOSTILE_ROUNDS");
    int result;

    *h = (struct hostile){.rounds = rounds ? strtoull(rounds, NULL, 0) : 2000};
    result = daemon_start(&h->daemon, convoyd, ports, error);
    if (result < 0)
        return result;
    h->attacker = (struct front_end_options){
        .socket = strdup(daemon_socket(&h->daemon, "attacker")),
        .features = front_features_linux,
        .protocol_features = front_protocol_features,
        .timeout_ms = AWAIT_MS,
    };
    result = start_probe(h, error);
    if (result == 0)
        result = start_honest(h, error);
    if (result == 0)
        result = warm_up(h, error);
    if (result < 0)
        daemon_stop(&h->daemon);
    return result;
}

/* Ends the honest guests, whether the daemon still serves them or not. */
static void end_guests(struct hostile *h)
{
    __atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
    pthread_join(h->thread, NULL);
    exchange_close(&h->honest);
    front_end_close(&h->probe);
    free((void *)h->attacker.socket);
    free((void *)h->probe.options.socket);
}

int hostile_restart(struct hostile *h, const char *convoyd, struct error *error)
{
    kill(h->daemon.pid, SIGKILL);
    end_guests(h);
    daemon_stop(&h->daemon);
    return hostile_start(h, convoyd, error);
}

bool hostile_stop(struct hostile *h)
{
    struct exchange_result result;
    int status;

    h->failed = false;
    hostile_pause_honest(h);
    exchange_get_result(&h->honest, &result);
    hostile_expect(h, exchange_result_is_good(&result, true), "honest traffic: %s",
                   result.first_wrong);
    hostile_expect(h, h->honest.missed_calls == 0, "%llu calls to honest guests were missed",
                   (unsigned long long)h->honest.missed_calls);
    end_guests(h);
    status = daemon_stop(&h->daemon);
    hostile_expect(h, status == 0, "convoyd ended with status %#x", (unsigned)status);
    if (h->failed)
        fprintf(stderr, "  at the end: %s\n", h->failure);
    return !h->failed;
}

/* --- what must be true after every attack --- */

static void check_honest(struct hostile *h)
{
    struct exchange_result result;
    uint64_t drops;

    if (!hostile_expect(h, await_exchanged(h, FRAMES_AFTER_ATTACK, AWAIT_MS),
                        "the honest guests exchange nothing any more") ||
        !hostile_pause_honest(h))
        return;
    exchange_get_result(&h->honest, &result);
    hostile_expect(h, exchange_result_is_good(&result, true),
                   "honest traffic: %llu doubled, %llu reordered, %llu altered, %llu faults: %s",
                   (unsigned long long)result.doubled, (unsigned long long)result.reordered,
                   (unsigned long long)result.altered, (unsigned long long)result.faults,
                   result.first_wrong);
    drops = daemon_counter(&h->daemon, "left", "dropped") +
            daemon_counter(&h->daemon, "right", "dropped");
    hostile_expect(h, result.lost <= drops, "honest traffic: %llu frames lost, %llu drops counted",
                   (unsigned long long)result.lost, (unsigned long long)drops);
    h->losses_known = result.lost;
    hostile_resume_honest(h);
}

/* Waits for the daemon to notice that the attacker's connection has gone. */
static void check_files(struct hostile *h)
{
    uint64_t deadline_ns = deadline_in(AWAIT_MS);
    unsigned files = 0;

    do {
        files = daemon_open_files(&h->daemon);
        if (files == h->open_files)
            return;
        poll(NULL, 0, 2);
    } while (clock_now_ns() < deadline_ns);
    daemon_open_files_show(&h->daemon);
    hostile_expect(h, false, "convoyd has %u files open, %u before the attack", files,
                   h->open_files);
}

static void check_memory(struct hostile *h, const struct hostile_test *test)
{
    uint64_t now_kib = daemon_anonymous_kib(&h->daemon);
    uint64_t growth_kib_max = CV_MAX(test->growth_kib_max, (unsigned)MEMORY_GROWTH_KIB_MAX);

    hostile_expect(h,
                   daemon_is_sanitized(&h->daemon) || now_kib <= h->anonymous_kib + growth_kib_max,
                   "convoyd's own memory grew from %llu to %llu KiB",
                   (unsigned long long)h->anonymous_kib, (unsigned long long)now_kib);
}

struct sighting {
    const uint8_t *source;
    struct traffic_checker checker;
};

static void see_numbered(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                         size_t len)
{
    struct sighting *sighting = context;

    if (len >= 14 && memcmp(frame + 6, sighting->source, 6) == 0)
        traffic_check(&sighting->checker, hdr, frame, len);
}

static void ignore_frame(void *context, const struct virtio_net_hdr *hdr, const uint8_t *frame,
                         size_t len)
{
    (void)context;
    (void)hdr;
    (void)frame;
    (void)len;
}

void hostile_drain(struct hostile *h, struct front_end *fe, const char *port)
{
    uint64_t deadline_ns = deadline_in(AWAIT_MS);
    unsigned got;

    do {
        got = 0;
        for (unsigned i = 0; i < fe->ring_count; i += 2)
            got += front_ring_receive(&fe->rings[i], UINT32_MAX, ignore_frame, NULL);
    } while ((got > 0 || daemon_counter(&h->daemon, port, "frames_waiting") > 0) &&
             clock_now_ns() < deadline_ns);
}

/* Sends numbered frames from one front end to another and waits until all of them are there. */
static void check_path(struct hostile *h, struct front_end *from, const uint8_t from_mac[6],
                       struct front_end *to, const uint8_t to_mac[6], const char *way)
{
    struct sighting sighting = {.source = from_mac};
    struct front_ring *ring = front_end_receiveq(to, 0);
    uint64_t deadline_ns = deadline_in(AWAIT_MS);
    struct traffic_source source;
    uint8_t frame[600];
    struct virtio_net_hdr hdr;

    if (traffic_checker_init(&sighting.checker, 99, 1, TRAFFIC_TAKES_CSUM) < 0)
        return;
    traffic_source_init(&source, TRAFFIC_UDP4, 99, to_mac, from_mac);
    for (unsigned i = 0; i < 32; i++) {
        traffic_frame_build(&source, frame, 60 + 16 * i, &hdr);
        hostile_expect(h, front_end_send(from, 0, &hdr, frame, 60 + 16 * i) == 0, "%s: cannot send",
                       way);
    }
    while (sighting.checker.counts.frames < 32 && clock_now_ns() < deadline_ns) {
        for (unsigned i = 0; i < to->ring_count; i += 2) {
            front_ring_receive(&to->rings[i], 256, see_numbered, &sighting);
            /* Linux's driver, with two pairs, may be served on either */
        }
        front_end_wait_call(ring, 20);
    }
    hostile_expect(
        h, traffic_lost(&sighting.checker, 99, 32) == 0 && sighting.checker.counts.altered == 0,
        "%s: %llu of 32 frames arrived, %llu altered %s", way,
        (unsigned long long)sighting.checker.counts.frames,
        (unsigned long long)sighting.checker.counts.altered, sighting.checker.first_wrong);
    traffic_checker_uninit(&sighting.checker);
}

static void check_port_usable(struct hostile *h, const struct hostile_test *test)
{
    struct front_end_options options = h->attacker;
    struct front_end fe;

    options.timeout_ms += (int)test->penalty_ms;
    if (!hostile_open(h, &fe, &options))
        return;
    hostile_drain(h, &h->probe, "probe");
    check_path(h, &fe, hostile_attacker_mac, &h->probe, hostile_probe_mac,
               "from the attacked port's next guest");
    hostile_drain(h, &fe, "attacker");
    check_path(h, &h->probe, hostile_probe_mac, &fe, hostile_attacker_mac,
               "to the attacked port's next guest");
    if (h->failed)
        daemon_port_show(&h->daemon, "attacker");
    front_end_close(&fe);
}

static bool has_warning(const struct hostile *h)
{
    return daemon_log_has(&h->daemon, h->log_start, "warning:", "attacker:");
}

/*
 * A port's warnings are limited per second; where the attack's fell under that limit, the attack is
 * made again.
 */
static void attack_until_warned(struct hostile *h, const struct hostile_test *test)
{
    for (unsigned i = 0; i < ATTEMPTS_MAX && !h->failed; i++) {
        uint64_t deadline_ns = deadline_in(400);

        test->attack(h);
        if (!(test->marks & MARK_WARNING))
            return;
        while (!has_warning(h) && clock_now_ns() < deadline_ns)
            poll(NULL, 0, 2);
        if (has_warning(h))
            return;
    }
    hostile_expect(h, false, "no warning that names the port");
}

bool hostile_run(struct hostile *h, const struct hostile_test *test)
{
    uint64_t start_ns = clock_now_ns(), drops = hostile_counter(h, "dropped");

    h->failed = false;
    h->log_start = daemon_log_bytes(&h->daemon);
    h->anonymous_kib = daemon_anonymous_kib(&h->daemon);
    attack_until_warned(h, test);
    if (hostile_expect(h, daemon_is_alive(&h->daemon), "convoyd has died")) {
        check_files(h);
        check_honest(h);
        check_port_usable(h, test);
        check_files(h);
        check_memory(h, test);
        if (test->marks & MARK_DROPS)
            hostile_expect(h, hostile_counter(h, "dropped") > drops, "no drop was counted");
    }
    printf("%-7s %-4s %-44s %5llu ms%s%s\n", h->failed ? "FAILED" : "passed", test->class,
           test->name, (unsigned long long)((clock_now_ns() - start_ns) / 1000000),
           h->failed ? ": " : "", h->failed ? h->failure : "");
    fflush(stdout);
    if (h->failed) {
        daemon_log_show(&h->daemon, h->log_start);
        daemon_port_show(&h->daemon, "attacker");
    }
    return !h->failed;
}

/* --- words for attacks --- */

bool hostile_negotiate(struct hostile *h, struct front_end *fe,
                       const struct front_end_options *options)
{
    int result;

    front_end_init(fe, options);
    result = front_end_connect(fe);
    if (result == 0)
        result = front_end_negotiate(fe);
    if (result == 0)
        result = front_end_allocate(fe);
    if (result == 0)
        return true;
    hostile_expect(h, false, "the attacked port is out of use: %s", fe->error.text);
    hostile_close(fe);
    return false;
}

bool hostile_open_unposted(struct hostile *h, struct front_end *fe,
                           const struct front_end_options *options)
{
    int result;

    if (!hostile_negotiate(h, fe, options))
        return false;
    result = front_end_share_memory(fe);
    for (unsigned i = 0; result == 0 && i < fe->ring_count; i++)
        result = front_end_start_ring(fe, i);
    if (result == 0)
        result = front_end_set_status(fe, 4); /* DRIVER_OK */
    if (result == 0)
        return true;
    hostile_expect(h, false, "the attacked port is out of use: %s", fe->error.text);
    hostile_close(fe);
    return false;
}

bool hostile_open(struct hostile *h, struct front_end *fe, const struct front_end_options *options)
{
    if (!hostile_open_unposted(h, fe, options))
        return false;
    for (unsigned i = 0; i < fe->ring_count; i += 2)
        front_ring_post(&fe->rings[i], fe->rings[i].options.size);
    return true;
}

void hostile_close(struct front_end *fe)
{
    front_end_disconnect(fe);
    front_end_close(fe);
}

bool hostile_expect_closed(struct hostile *h, struct front_end *fe, const char *what)
{
    return hostile_expect(h, vu_wait_closed(fe->socket, AWAIT_MS) == 0,
                          "the connection survived: %s", what);
}

void hostile_expect_refused(struct hostile *h, struct front_end *fe, enum vu_request request,
                            const void *payload, size_t len, const int *fds, unsigned fd_count,
                            const char *what)
{
    struct vu_header header = {request, VU_VERSION | VU_FLAG_NEED_REPLY, (uint32_t)len};
    struct vu_message reply;
    int result = vu_send(fe->socket, &header, payload, len, fds, fd_count, AWAIT_MS);

    if (result == 0)
        result = vu_receive(fe->socket, &reply, AWAIT_MS);
    if (result == -ECONNRESET || result == -EPIPE)
        return;
    hostile_expect(h, result == 0, "%s %s: %s", vu_request_name(request), what, strerror(-result));
    hostile_expect(h, result < 0 || reply.u64 != 0, "%s was carried out: %s",
                   vu_request_name(request), what);
}

uint64_t hostile_counter(struct hostile *h, const char *name)
{
    return daemon_counter(&h->daemon, "attacker", name);
}

bool hostile_await_counter(struct hostile *h, const char *name, uint64_t value)
{
    uint64_t deadline_ns = deadline_in(AWAIT_MS);

    while (hostile_counter(h, name) < value) {
        if (h->failed || clock_now_ns() > deadline_ns)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}

void hostile_expect_fault(struct hostile *h, uint64_t before, const char *what)
{
    hostile_expect(h, hostile_await_counter(h, "faults", before + 1), "no fault was noticed: %s",
                   what);
}

void hostile_expect_idle(struct hostile *h, const char *what)
{
    uint64_t start_ms, start_ns, used_ms, passed_ms;

    if (!hostile_pause_honest(h))
        return;
    start_ms = daemon_cpu_ms(&h->daemon);
    start_ns = clock_now_ns();
    poll(NULL, 0, 400);
    used_ms = daemon_cpu_ms(&h->daemon) - start_ms;
    passed_ms = (clock_now_ns() - start_ns) / 1000000;
    hostile_resume_honest(h);
    hostile_expect(
        h, daemon_is_sanitized(&h->daemon) || used_ms * 100 <= passed_ms * IDLE_CPU_PERCENT_MAX,
        "%s: convoyd used %llu of %llu ms, with nothing to do", what, (unsigned long long)used_ms,
        (unsigned long long)passed_ms);
}

static void probe_broadcast(struct hostile *h, size_t len)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t frame[1514];
    struct virtio_net_hdr hdr;
    struct traffic_source source;

    traffic_source_init(&source, TRAFFIC_UDP4, 98, everybody, hostile_probe_mac);
    traffic_frame_build(&source, frame, len, &hdr);
    frame[36] = 0x11; /* not the port of judged traffic: for honest guests it is foreign */
    hostile_expect(h, front_end_send(&h->probe, 0, &hdr, frame, len) == 0, "the probe cannot send");
}

void hostile_probe_broadcast(struct hostile *h, size_t len)
{
    if (h->failed) /* a daemon that is stuck would cost a time limit for every frame */
        return;
    probe_broadcast(h, len);
}

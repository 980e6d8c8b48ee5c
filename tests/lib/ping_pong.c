#include "ping_pong.h"

#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

#define NS_PER_MS  UINT64_C(1000000)
#define STARVED_NS (20 * NS_PER_MS) /* for so long a thread that can run is given a processor */

enum {
    SUSPICION_MS = 20, /* a wait that is longer is watched ... */
    STALL_MS = 100,    /* ... and from here on a stall ... */
    PATIENCE_MS = 900, /* ... which is given this long to end by itself */
};

struct ping_pong {
    struct exchange *exchange;
    const struct ping_pong_options *options;
    struct ping_pong_result *result;
    uint64_t random;
};

/* A number from 0 to `max`, evenly. */
static uint64_t draw(struct ping_pong *game, uint64_t max)
{
    game->random = game->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint64_t)(((unsigned __int128)game->random * (max + 1)) >> 64);
}

/* Sleeping would wake up at the clock's grain, not at the time that was drawn. */
static void spin(uint64_t ns)
{
    uint64_t until_ns;

    if (ns == 0)
        return;
    until_ns = clock_now_ns() + ns;
    while (clock_now_ns() < until_ns)
        __builtin_ia32_pause();
}

static struct front_ring *receiveq(struct ping_pong *game, unsigned end)
{
    return front_end_receiveq(&game->exchange->ends[end].fe, 0);
}

static struct front_ring *transmitq(struct ping_pong *game, unsigned end)
{
    return front_end_transmitq(&game->exchange->ends[end].fe, 0);
}

static bool arrived(struct ping_pong *game, unsigned end)
{
    return exchange_receive(game->exchange, end, 1) > 0;
}

/* First line of a file, or nothing. */
static void read_line(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "r");

    if (!file || !fgets(text, (int)bytes, file))
        text[0] = '\0';
    if (file)
        fclose(file);
    text[strcspn(text, "\n")] = '\0';
}

static void thread_file(pid_t pid, const char *thread, const char *file, char *text, size_t bytes)
{
    char path[300];

    snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", (int)pid, thread, file);
    read_line(path, text, bytes);
}

/* What all threads of the switch together have had so far (schedstat in proc(5)). */
struct thread_times {
    uint64_t ran_ns;
    uint64_t starved_ns; /* ready to run, and given no processor */
};

static void add_times(struct thread_times *times, const char *schedstat)
{
    char *end;

    times->ran_ns += strtoull(schedstat, &end, 10);
    times->starved_ns += strtoull(end, NULL, 10);
}

/* The switch's threads: their times, and what they do, appended to `text` as "NAME STATE". */
static struct thread_times look_at_threads(const struct front_end *fe, char *text, size_t bytes)
{
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);
    struct thread_times times = {0};
    char path[64];
    struct dirent *entry;
    DIR *threads;

    (void)getsockopt(fe->socket, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    snprintf(path, sizeof(path), "/proc/%d/task", (int)peer.pid);
    threads = opendir(path);
    while (threads && (entry = readdir(threads))) {
        char name[32], stat[512], schedstat[128];
        size_t used = strlen(text);
        const char *state;

        thread_file(peer.pid, entry->d_name, "comm", name, sizeof(name));
        thread_file(peer.pid, entry->d_name, "stat", stat, sizeof(stat));
        thread_file(peer.pid, entry->d_name, "schedstat", schedstat, sizeof(schedstat));
        state = strrchr(stat, ')');
        if (state && strlen(state) > 2)
            snprintf(text + used, bytes - used, " %s %c", name, state[2]);
        add_times(&times, schedstat);
    }
    if (threads)
        closedir(threads);
    return times;
}

static void describe(struct ping_pong *game, unsigned end, const struct thread_times *before)
{
    struct ping_pong_result *result = game->result;
    struct thread_times now;
    char rings[2][256], threads[400] = "";

    if (result->first_stall[0])
        return;
    front_ring_describe(receiveq(game, end), rings[0], sizeof(rings[0]));
    front_ring_describe(transmitq(game, end ^ 1), rings[1], sizeof(rings[1]));
    now = look_at_threads(&game->exchange->ends[end].fe, threads, sizeof(threads));
    snprintf(result->first_stall, sizeof(result->first_stall),
             "round %llu: end %u waits. Its receiveq: %s. The sender's transmitq: %s. Threads of "
             "the switch:%s; since the wait began they ran %.1f ms and waited for a processor "
             "%.1f ms.",
             (unsigned long long)result->rounds, end, rings[0], rings[1], threads,
             (double)(now.ran_ns - before->ran_ns) / 1e6,
             (double)(now.starved_ns - before->starved_ns) / 1e6);
}

/* Sleeps until the call, at most `timeout_ms`; false when none came. */
static bool await_call(struct front_ring *ring, int timeout_ms)
{
    struct pollfd fd = {.fd = ring->call_fd, .events = POLLIN};
    bool called = poll(&fd, 1, timeout_ms) > 0;

    front_ring_calls_take(ring);
    return called;
}

/* What a stall hangs on; the call has been asked for. True: nothing was lost, it only came late. */
static bool came_late(struct ping_pong *game, unsigned end)
{
    struct front_ring *ring = receiveq(game, end);

    if (await_call(ring, PATIENCE_MS))
        return true;
    if (front_ring_has_used(ring)) {
        game->result->lost_calls++;
        return false;
    }
    front_ring_kick(transmitq(game, end ^ 1));
    if (await_call(ring, PATIENCE_MS))
        game->result->lost_kicks++;
    else
        game->result->lost_frames++;
    return false;
}

/*
 * Nothing came for SUSPICION_MS of a wait that began at `from_ns`. True when it ended before it
 * counts as a stall; false: the round has failed or was delayed, and all is counted.
 */
static bool wait_on(struct ping_pong *game, unsigned end, uint64_t from_ns)
{
    const struct front_end *fe = &game->exchange->ends[end].fe;
    struct front_ring *ring = receiveq(game, end);
    char ignored[400] = "";
    struct thread_times before = look_at_threads(fe, ignored, sizeof(ignored)), after;
    uint64_t waited_ns;
    bool was_late;

    if (await_call(ring, STALL_MS - SUSPICION_MS))
        return true;
    waited_ns = clock_now_ns() - from_ns;
    describe(game, end, &before);
    was_late = came_late(game, end);
    ignored[0] = '\0';
    after = look_at_threads(fe, ignored, sizeof(ignored));
    /* Who was not woken in time himself has kept nobody waiting; and the others fared alike. */
    if (was_late && (after.starved_ns - before.starved_ns > STARVED_NS ||
                     waited_ns > STALL_MS * NS_PER_MS + STARVED_NS))
        game->result->starved++;
    else
        game->result->stalls++;
    return false;
}

/* Waits as a driver does: look, ask for a call, look again, sleep. */
static bool await_frame(struct ping_pong *game, unsigned end)
{
    struct front_ring *ring = receiveq(game, end);
    bool is_over = false;

    spin(draw(game, game->options->arm_ns_max));
    while (!arrived(game, end)) {
        uint64_t from_ns = clock_now_ns();

        if (is_over)
            return false;
        if (!front_ring_calls_enable(ring, 0)) {
            game->result->sleeps++;
            is_over = !await_call(ring, SUSPICION_MS) && !wait_on(game, end, from_ns);
        }
        front_ring_calls_disable(ring);
    }
    return true;
}

static bool serve(struct ping_pong *game, unsigned end)
{
    front_ring_reclaim(transmitq(game, end));
    if (!exchange_offer_one(game->exchange, end, game->options->frame_bytes))
        return false;
    front_ring_publish(transmitq(game, end));
    return true;
}

/* There and back. */
static void play_round(struct ping_pong *game)
{
    uint64_t start_ns;

    spin(draw(game, game->options->pause_ns_max));
    start_ns = clock_now_ns();
    for (unsigned end = 0; end < 2; end++) {
        if (end == 1)
            spin(draw(game, game->options->pause_ns_max));
        if (!serve(game, end) || !await_frame(game, end ^ 1))
            return;
    }
    histogram_record(&game->result->round_ns, clock_now_ns() - start_ns, 1);
    game->result->rounds++;
}

/* Leaves the switch as traffic at full load leaves it; what comes next is lone again. */
static void play_bulk(struct ping_pong *game, uint64_t deadline_ns)
{
    struct exchange *exchange = game->exchange;
    uint64_t sent = CV_MAX(exchange->ends[0].sent, exchange->ends[1].sent);

    exchange->options.frames = sent + game->options->bulk_frames;
    if (!exchange_run(exchange, CV_MIN(deadline_ns, clock_now_ns() + UINT64_C(10000000000))))
        game->result->bulk_failed++;
}

bool ping_pong_run(struct exchange *exchange, const struct ping_pong_options *options,
                   uint64_t deadline_ns, struct ping_pong_result *ret_result)
{
    struct ping_pong game = {exchange, options, ret_result, options->seed * 2 + 1};
    uint64_t played = 0;

    memset(ret_result, 0, sizeof(*ret_result));
    while (played < options->rounds) {
        if (options->bulk_every > 0 && played % options->bulk_every == 0)
            play_bulk(&game, deadline_ns);
        play_round(&game);
        played++;
        if (played % 256 == 0 && clock_now_ns() > deadline_ns)
            break;
    }
    exchange->finished_ns = clock_now_ns();
    return played == options->rounds;
}

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
    STALL_MS = 100,    /* a wait that is longer is a stall ... */
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

/*
 * The switch's threads: what they do, appended to `text` as "NAME STATE", and for how long all of
 * them together have been ready to run and were given no processor (proc(5), schedstat).
 */
static uint64_t look_at_threads(const struct front_end *fe, char *text, size_t bytes)
{
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);
    uint64_t starved_ns = 0;
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
        if (strchr(schedstat, ' '))
            starved_ns += strtoull(strchr(schedstat, ' '), NULL, 10);
    }
    if (threads)
        closedir(threads);
    return starved_ns;
}

static void describe(struct ping_pong *game, unsigned end)
{
    struct ping_pong_result *result = game->result;
    char rings[2][256];

    if (result->first_stall[0])
        return;
    front_ring_describe(receiveq(game, end), rings[0], sizeof(rings[0]));
    front_ring_describe(transmitq(game, end ^ 1), rings[1], sizeof(rings[1]));
    snprintf(result->first_stall, sizeof(result->first_stall),
             "round %llu: end %u waits. Its receiveq: %s. The sender's transmitq: %s. Threads of "
             "the switch:",
             (unsigned long long)result->rounds, end, rings[0], rings[1]);
    (void)look_at_threads(&game->exchange->ends[end].fe, result->first_stall,
                          sizeof(result->first_stall));
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

/* Nothing came in a wait that began at `from_ns`. True when the frame is there in the end. */
static bool stalled(struct ping_pong *game, unsigned end, uint64_t from_ns)
{
    const struct front_end *fe = &game->exchange->ends[end].fe;
    uint64_t waited_ns = clock_now_ns() - from_ns, starved_ns;
    char ignored[512] = "";
    bool was_late;

    starved_ns = look_at_threads(fe, ignored, sizeof(ignored));
    describe(game, end);
    was_late = came_late(game, end);
    starved_ns = look_at_threads(fe, ignored, sizeof(ignored)) - starved_ns;
    /* Who was not woken in time himself has kept nobody waiting; and the others fared alike. */
    if (was_late && (starved_ns > STARVED_NS || waited_ns > STALL_MS * NS_PER_MS + STARVED_NS))
        game->result->starved++;
    else
        game->result->stalls++;
    front_ring_calls_disable(receiveq(game, end));
    return arrived(game, end);
}

/* Waits as a driver does: look, ask for a call, look again, sleep. */
static bool await_frame(struct ping_pong *game, unsigned end)
{
    struct front_ring *ring = receiveq(game, end);

    spin(draw(game, game->options->arm_ns_max));
    for (;;) {
        bool ready = front_ring_calls_enable(ring, 0), called = true;
        uint64_t from_ns = clock_now_ns();

        if (!ready) {
            game->result->sleeps++;
            called = await_call(ring, STALL_MS);
        }
        if (!called)
            return stalled(game, end, from_ns);
        front_ring_calls_disable(ring);
        if (arrived(game, end))
            return true;
    }
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

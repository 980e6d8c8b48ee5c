#include "control/control_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/control_limits.h"

struct client {
    struct reactor_watch watch;
    struct reactor_timer patience; /* set while a line is unfinished or an answer unfetched */
    struct control_server *server;
    TAILQ_ENTRY(client) link; /* the server's list, silent longest first */
    uint32_t epoll_events;    /* what is watched for now */
    bool is_closing;          /* ends when its answer is fetched */
    size_t line_bytes;        /* bytes in `line` */
    char *reply;              /* answer being fetched; NULL: none */
    size_t reply_bytes, reply_sent;
    char line[CONTROL_LINE_BYTES_MAX];
};

struct control_server {
    struct reactor *reactor;
    struct reactor_watch listener;
    const struct control_facts *facts;
    uint64_t patience_ns;
    int spare_fd; /* see hang_up */
    unsigned client_count;
    TAILQ_HEAD(client_list, client) clients;
};

static void client_free(struct client *client)
{
    struct control_server *server = client->server;

    reactor_remove(server->reactor, &client->watch);
    reactor_timer_clear(&client->patience);
    close(client->watch.fd);
    TAILQ_REMOVE(&server->clients, client, link);
    server->client_count--;
    free(client->reply);
    free(client);
}

static void patience_expired(struct reactor_timer *timer)
{
    struct client *client = CV_CONTAINER_OF(timer, struct client, patience);

    log_info("control: a client was closed because it %s",
             client->reply ? "did not fetch its answer" : "did not finish its request");
    client_free(client);
}

/* Sends what can be sent. False when the client is gone. */
static bool client_send(struct client *client)
{
    while (client->reply) {
        ssize_t n = send(client->watch.fd, client->reply + client->reply_sent,
                         client->reply_bytes - client->reply_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        client->reply_sent += (size_t)n;
        if (client->reply_sent < client->reply_bytes)
            continue;
        free(client->reply);
        client->reply = NULL;
        reactor_timer_clear(&client->patience);
    }
    return !client->is_closing;
}

static void client_take_reply(struct client *client, char *reply)
{
    assert(!client->reply);
    client->reply = reply;
    client->reply_bytes = reply ? strlen(reply) : 0;
    assert(client->reply_bytes <= CONTROL_REPLY_BYTES_MAX);
    client->reply_sent = 0;
}

/* The last words to a client: an error, after which it is closed. */
static void client_dismiss(struct client *client, enum control_code code, const char *sentence)
{
    client_take_reply(client, control_rpc_complain(code, sentence));
    client->is_closing = true;
}

/* Answers the first line of what has arrived, if it is whole. */
static void client_answer(struct client *client)
{
    char *end = memchr(client->line, '\n', client->line_bytes), *reply;
    size_t line_len, used;

    if (!end) {
        if (client->line_bytes == sizeof(client->line))
            client_dismiss(client, CONTROL_CODE_REQUEST, "a request has at most 65536 bytes");
        return;
    }
    line_len = (size_t)(end - client->line);
    used = line_len + 1;
    reactor_timer_clear(&client->patience);
    if (control_rpc_answer(client->server->facts, client->line, line_len, &reply) < 0)
        client_dismiss(client, CONTROL_CODE_INTERNAL, "no memory for the answer");
    else
        client_take_reply(client, reply);
    client->line_bytes -= used;
    memmove(client->line, client->line + used, client->line_bytes);
}

/* Reads what fits. False when the client is gone, or there is nothing left to do for it. */
static bool client_read(struct client *client)
{
    ssize_t n = recv(client->watch.fd, client->line + client->line_bytes,
                     sizeof(client->line) - client->line_bytes, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    client->line_bytes += (size_t)n;
    return n > 0;
}

/* Watches for what the client's state needs next, and limits how long it may take. */
static void client_await(struct client *client)
{
    struct reactor *reactor = client->server->reactor;
    bool has_line = memchr(client->line, '\n', client->line_bytes);
    /* With a whole line at hand, writability brings us back at once, after all others. */
    uint32_t events = client->reply || has_line ? EPOLLOUT : EPOLLIN;

    if (client->reply || client->line_bytes > 0) {
        if (!client->patience.is_set)
            reactor_timer_set(reactor, &client->patience,
                              clock_now_ns() + client->server->patience_ns);
    } else {
        reactor_timer_clear(&client->patience);
    }
    if (events == client->epoll_events)
        return;
    client->epoll_events = events;
    if (reactor_modify(reactor, &client->watch, events) < 0)
        client_free(client);
}

static void client_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct client *client = CV_CONTAINER_OF(watch, struct client, watch);
    struct control_server *server = client->server;
    bool may_read = client->epoll_events == EPOLLIN;

    (void)epoll_events;
    TAILQ_REMOVE(&server->clients, client, link);
    TAILQ_INSERT_TAIL(&server->clients, client, link);
    if (!client_send(client) || (may_read && !client_read(client))) {
        client_free(client);
        return;
    }
    if (!client->reply)
        client_answer(client);
    if (!client_send(client))
        client_free(client);
    else
        client_await(client);
}

static int client_add(struct control_server *server, int fd)
{
    struct client *client = malloc(sizeof(*client));
    int rc;

    if (!client)
        return -ENOMEM;
    memset(client, 0, offsetof(struct client, line));
    client->server = server;
    client->watch = (struct reactor_watch){.fd = fd, .ready = client_ready};
    client->patience.expired = patience_expired;
    client->epoll_events = EPOLLIN;
    rc = reactor_add(server->reactor, &client->watch, EPOLLIN);
    if (rc < 0) {
        free(client);
        return rc;
    }
    TAILQ_INSERT_TAIL(&server->clients, client, link);
    server->client_count++;
    return 0;
}

/*
 * Without a free descriptor a connection can be neither taken nor refused, and the listener would
 * stay ready for ever; so one descriptor is kept in reserve to take it and hang up.
 */
static void hang_up(struct control_server *server)
{
    int fd;

    close(server->spare_fd);
    fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    log_warning("control: a client was turned away: no file descriptors left");
}

static void listener_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct control_server *server = CV_CONTAINER_OF(watch, struct control_server, listener);
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)epoll_events;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            hang_up(server);
        return;
    }
    if (server->client_count >= CONTROL_CLIENTS_MAX)
        client_free(TAILQ_FIRST(&server->clients));
    if (client_add(server, fd) < 0)
        close(fd);
}

struct control_server *control_server_new(struct reactor *reactor, int listen_fd,
                                          const struct control_facts *facts, uint64_t patience_ns,
                                          struct error *error)
{
    struct control_server *server = calloc(1, sizeof(*server));
    int rc;

    if (!server) {
        (void)error_set(error, -ENOMEM, "no memory for the control socket");
        return NULL;
    }
    server->reactor = reactor;
    server->facts = facts;
    server->patience_ns = patience_ns;
    server->listener = (struct reactor_watch){.fd = listen_fd, .ready = listener_ready};
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    TAILQ_INIT(&server->clients);
    rc = reactor_add(reactor, &server->listener, EPOLLIN);
    if (rc < 0) {
        (void)error_set(error, rc, "cannot watch the control socket: %s", strerror(-rc));
        control_server_free(server);
        return NULL;
    }
    return server;
}

void control_server_free(struct control_server *server)
{
    struct client *client, *next;

    if (!server)
        return;
    reactor_remove(server->reactor, &server->listener);
    for (client = TAILQ_FIRST(&server->clients); client; client = next) {
        next = TAILQ_NEXT(client, link);
        client_free(client);
    }
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    free(server);
}

unsigned control_server_client_count(const struct control_server *server)
{
    return server->client_count;
}

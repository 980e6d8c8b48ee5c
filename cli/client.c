#include "client.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ANSWER_WAIT_S_MAX = 15,
    ANSWER_BYTES_MAX = 16 << 20,
    CODE_PARAMS = -32602, /* JSON-RPC 2.0: invalid params */
};

/* Why the socket could not be reached, and what to do about it. */
static enum cli_exit explain_connect(const char *path, int error)
{
    struct stat facts;
    const struct group *group;

    switch (error) {
    case ENOENT:
        return cli_fail(CLI_EXIT_FAILURE,
                        "convoyd is not running: there is no socket %s; start convoyd "
                        "(systemctl start convoyd), or name its socket with --socket",
                        path);
    case ECONNREFUSED:
        return cli_fail(CLI_EXIT_FAILURE,
                        "convoyd is not running: %s was left over by one that has ended; start "
                        "convoyd again (systemctl start convoyd), which clears it away",
                        path);
    case EACCES:
    case EPERM:
        group = stat(path, &facts) == 0 && facts.st_gid != 0 ? getgrgid(facts.st_gid) : NULL;
        return cli_fail(CLI_EXIT_FAILURE,
                        "you may not use %s; run convoy as root (sudo convoy ...)%s%s", path,
                        group ? " or as a member of the group " : "", group ? group->gr_name : "");
    case ENOTSOCK:
        return cli_fail(CLI_EXIT_FAILURE, "%s is not a socket", path);
    default:
        return cli_fail(CLI_EXIT_FAILURE, "cannot reach convoyd on %s: %s", path, strerror(error));
    }
}

static enum cli_exit connect_to(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_WAIT_S_MAX};
    struct stat facts;
    int fd, rc;

    if (strlen(path) >= sizeof(address.sun_path))
        return cli_fail(CLI_EXIT_USAGE, "--socket: a socket's path has at most %zu characters",
                        sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    /* Connecting to another kind of file says "refused", which would be told as a left-over. */
    if (stat(path, &facts) == 0 && !S_ISSOCK(facts.st_mode))
        return explain_connect(path, ENOTSOCK);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return cli_fail(CLI_EXIT_FAILURE, "cannot make a socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        rc = errno;
        close(fd);
        return explain_connect(path, rc);
    }
    *ret_fd = fd;
    return CLI_EXIT_OK;
}

static bool send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Reads up to the first line feed. The line is for free(); NULL with errno, 0 at an early end. */
static char *receive_line(int fd)
{
    size_t size = 4096, len = 0;
    char *line = malloc(size);

    while (line) {
        ssize_t n = recv(fd, line + len, size - len - 1, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || size > ANSWER_BYTES_MAX) {
            errno = n < 0 ? errno : 0;
            break;
        }
        len += (size_t)n;
        line[len] = '\0';
        if (line[len - 1] == '\n')
            return line;
        if (len == size - 1) {
            char *longer = realloc(line, size *= 2);

            if (!longer)
                break;
            line = longer;
        }
    }
    free(line);
    return NULL;
}

/* What a terminal would obey must not reach it: port names and faults come from others. */
static void neutralise(json_t *value)
{
    const char *key;
    json_t *member;
    size_t index;

    if (json_is_string(value)) {
        char *text = (char *)(uintptr_t)json_string_value(value);

        for (; *text; text++)
            if ((unsigned char)*text < 0x20 || *text == 0x7f)
                *text = '?';
    }
    json_object_foreach(value, key, member)
    {
        neutralise(member);
    }
    json_array_foreach(value, index, member)
    {
        neutralise(member);
    }
}

static enum cli_exit read_answer(const struct cli_options *options, const char *line,
                                 json_t **ret_result)
{
    json_t *answer = json_loads(line, 0, NULL), *error, *result;
    const char *message;
    enum cli_exit code;

    error = json_object_get(answer, "error");
    result = json_object_get(answer, "result");
    if (!error && !result) {
        json_decref(answer);
        return cli_fail(CLI_EXIT_FAILURE, "whoever answers on %s is not convoyd", options->socket);
    }
    if (error && options->json)
        (void)(json_dumpf(error, stdout, JSON_INDENT(2)), putchar('\n'));
    if (!options->json)
        neutralise(answer);
    if (error) {
        message = json_string_value(json_object_get(error, "message"));
        code = json_integer_value(json_object_get(error, "code")) == CODE_PARAMS ? CLI_EXIT_USAGE
                                                                                 : CLI_EXIT_FAILURE;
        code = cli_fail(code, "%s", message ? message : "convoyd refused without a reason");
    } else {
        *ret_result = json_incref(result);
        code = CLI_EXIT_OK;
    }
    json_decref(answer);
    return code;
}

static enum cli_exit exchange(const struct cli_options *options, int fd, const char *request,
                              json_t **ret_result)
{
    enum cli_exit code;
    char *line;

    if (!send_all(fd, request, strlen(request)) || !send_all(fd, "\n", 1))
        return cli_fail(CLI_EXIT_FAILURE, "cannot send to convoyd: %s", strerror(errno));
    line = receive_line(fd);
    if (!line && (errno == EAGAIN || errno == EWOULDBLOCK))
        return cli_fail(CLI_EXIT_FAILURE, "convoyd has not answered for %d seconds",
                        ANSWER_WAIT_S_MAX);
    if (!line)
        return cli_fail(CLI_EXIT_FAILURE, "convoyd hung up%s%s", errno ? ": " : " unanswered",
                        errno ? strerror(errno) : "");
    code = read_answer(options, line, ret_result);
    free(line);
    return code;
}

enum cli_exit client_call(const struct cli_options *options, const char *method, json_t *params,
                          json_t **ret_result)
{
    json_t *request = json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1, "method", method,
                                "params", params);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    enum cli_exit code;
    int fd;

    json_decref(request);
    if (!text)
        return cli_fail(CLI_EXIT_FAILURE, "the request cannot be written as JSON: is every word "
                                          "valid UTF-8?");
    code = connect_to(options->socket, &fd);
    if (code == CLI_EXIT_OK) {
        code = exchange(options, fd, text, ret_result);
        close(fd);
    }
    free(text);
    return code;
}

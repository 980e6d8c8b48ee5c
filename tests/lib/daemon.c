#include "daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { START_MS = 10000, ANSWER_MS = 5000, STOP_MS = 5000 };

/* --- its life --- */

static int write_config(const struct daemon *daemon, const char *ports, char *path,
                        size_t path_bytes)
{
    FILE *file;

    snprintf(path, path_bytes, "%s/convoy.yaml", daemon->dir);
    file = fopen(path, "w");
    if (!file)
        return -errno;
    fprintf(file, "run-dir: %s\nports:\n%s\n", daemon->dir, ports);
    return fclose(file) == 0 ? 0 : -errno;
}

static void exec_daemon(const struct daemon *daemon, const char *program, const char *config,
                        pid_t parent)
{
    int log = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    unsetenv("JOURNAL_STREAM");
    if (log < 0 || getppid() != parent || dup2(log, STDERR_FILENO) < 0 ||
        dup2(log, STDOUT_FILENO) < 0)
        _exit(126);
    execl(program, program, "--config", config, (char *)NULL);
    dprintf(STDERR_FILENO, "cannot run %s: %m\n", program);
    _exit(127);
}

static int connect_control(struct daemon *daemon)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", daemon->dir);
    daemon->control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (daemon->control >= 0 &&
        connect(daemon->control, (struct sockaddr *)&address, sizeof(address)) == 0)
        return 0;
    if (daemon->control >= 0)
        close(daemon->control);
    daemon->control = -1;
    return -1;
}

static bool await_ready(struct daemon *daemon)
{
    uint64_t deadline_ns = clock_now_ns() + START_MS * UINT64_C(1000000);

    while (clock_now_ns() < deadline_ns && daemon_is_alive(daemon)) {
        if (connect_control(daemon) == 0) {
            json_t *status = daemon_call(daemon, "status", json_object());

            json_decref(status);
            return status != NULL;
        }
        poll(NULL, 0, 5);
    }
    return false;
}

static void read_log_tail(const struct daemon *daemon, char *text, size_t bytes)
{
    int fd = open(daemon->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    if (fd >= 0) {
        off_t end = lseek(fd, 0, SEEK_END);

        n = pread(fd, text, bytes - 1, end > (off_t)bytes ? end - (off_t)bytes : 0);
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
}

int daemon_start(struct daemon *daemon, const char *program, const char *ports, struct error *error)
{
    pid_t parent = getpid();
    char config[128], tail[400];
    int result;

    *daemon = (struct daemon){.pid = -1, .dir = "/tmp/convoy-test-XXXXXX", .control = -1};
    if (!mkdtemp(daemon->dir))
        return error_set(error, -errno, "no directory in /tmp: %s", strerror(errno));
    snprintf(daemon->log, sizeof(daemon->log), "%s/log", daemon->dir);
    result = write_config(daemon, ports, config, sizeof(config));
    if (result < 0)
        return error_set(error, result, "%s: %s", config, strerror(-result));
    daemon->pid = fork();
    if (daemon->pid == 0)
        exec_daemon(daemon, program, config, parent);
    if (daemon->pid < 0)
        return error_set(error, -errno, "fork: %s", strerror(errno));
    if (await_ready(daemon))
        return 0;
    read_log_tail(daemon, tail, sizeof(tail));
    daemon_stop(daemon);
    return error_set(error, -ETIMEDOUT, "%s does not get ready: %s", program, tail);
}

int daemon_join(struct daemon *daemon, const char *dir)
{
    *daemon = (struct daemon){.pid = -1, .control = -1};
    if (strlen(dir) >= sizeof(daemon->dir))
        return -ENAMETOOLONG;
    strcpy(daemon->dir, dir);
    return connect_control(daemon) < 0 ? -ENOENT : 0;
}

static void remove_dir(const char *dir)
{
    struct dirent *entry;
    DIR *stream = opendir(dir);

    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream)
        closedir(stream);
    rmdir(dir);
}

static int await_end(struct daemon *daemon)
{
    uint64_t deadline_ns = clock_now_ns() + STOP_MS * UINT64_C(1000000);
    int status;

    while (clock_now_ns() < deadline_ns) {
        if (waitpid(daemon->pid, &status, WNOHANG) == daemon->pid)
            return status;
        poll(NULL, 0, 5);
    }
    kill(daemon->pid, SIGKILL);
    waitpid(daemon->pid, &status, 0);
    return -1;
}

int daemon_stop(struct daemon *daemon)
{
    int status = -1;

    if (daemon->control >= 0)
        close(daemon->control);
    if (daemon->pid > 0) {
        kill(daemon->pid, SIGTERM);
        status = await_end(daemon);
    }
    remove_dir(daemon->dir);
    daemon->pid = -1;
    daemon->control = -1;
    return status;
}

bool daemon_is_alive(struct daemon *daemon)
{
    siginfo_t info = {.si_pid = 0};

    return daemon->pid > 0 &&
           waitid(P_PID, (id_t)daemon->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

const char *daemon_socket(const struct daemon *daemon, const char *port)
{
    static char paths[4][108];
    static unsigned next;
    char *path = paths[next++ % CV_COUNT_OF(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s.sock", daemon->dir, port);
    return path;
}

/* --- its control socket --- */

static char *read_line(int fd)
{
    uint64_t deadline_ns = clock_now_ns() + ANSWER_MS * UINT64_C(1000000);
    size_t len = 0, room = 1 << 20;
    char *line = malloc(room);

    while (line && clock_now_ns() < deadline_ns && len < room) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&poll_fd, 1, ANSWER_MS) > 0 ? read(fd, line + len, room - len) : 0;

        if (n <= 0)
            break;
        len += (size_t)n;
        if (line[len - 1] == '\n') {
            line[len - 1] = '\0';
            return line;
        }
    }
    free(line);
    return NULL;
}

json_t *daemon_call(struct daemon *daemon, const char *method, json_t *params)
{
    json_t *request = json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1, "method", method,
                                "params", params);
    char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
    json_t *answer, *result;

    json_decref(request);
    if (text && dprintf(daemon->control, "%s\n", text) > 0)
        line = read_line(daemon->control);
    free(text);
    answer = line ? json_loads(line, 0, NULL) : NULL;
    free(line);
    result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return result;
}

uint64_t daemon_counter(struct daemon *daemon, const char *port, const char *name)
{
    static const char prefix[] = "drop_";
    json_t *status = daemon_call(daemon, "port.show", json_pack("{s:s}", "name", port));
    const json_t *value = json_object_get(status, name); /* e.g. dropped, frames_waiting */
    uint64_t result = UINT64_MAX;

    if (!value && strncmp(name, prefix, strlen(prefix)) == 0)
        value = json_object_get(json_object_get(status, "drops"), name + strlen(prefix));
    if (!value)
        value = json_object_get(json_object_get(status, "counters"), name);
    if (json_is_integer(value))
        result = (uint64_t)json_integer_value(value);
    json_decref(status);
    return result;
}

void daemon_port_show(struct daemon *daemon, const char *port)
{
    json_t *status = daemon_call(daemon, "port.show", json_pack("{s:s}", "name", port));
    char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;

    fprintf(stderr, "    %s: %s\n", port, text ? text : "no answer");
    free(text);
    json_decref(status);
}

/* --- its log --- */

static char *read_log(const struct daemon *daemon, size_t from)
{
    size_t end = daemon_log_bytes(daemon), len = end > from ? end - from : 0;
    char *text = calloc(1, len + 1);
    int fd = open(daemon->log, O_RDONLY | O_CLOEXEC);

    if (text && fd >= 0 && pread(fd, text, len, (off_t)from) < 0)
        text[0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

size_t daemon_log_bytes(const struct daemon *daemon)
{
    int fd = open(daemon->log, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;

    if (fd >= 0)
        close(fd);
    return (size_t)end;
}

bool daemon_log_has(const struct daemon *daemon, size_t from, const char *word,
                    const char *other_word)
{
    char *text = read_log(daemon, from), *rest = text, *line;
    bool found = false;

    while (!found && (line = strsep(&rest, "\n")))
        found = strstr(line, word) && strstr(line, other_word);
    free(text);
    return found;
}

void daemon_log_show(const struct daemon *daemon, size_t from)
{
    char *text = read_log(daemon, from), *rest = text, *line;
    unsigned lines = 0;

    while ((line = strsep(&rest, "\n")) && lines < 20) {
        if (!*line || strstr(line, "has connected") || strstr(line, "has disconnected"))
            continue;
        fprintf(stderr, "    log: %s\n", line);
        lines++;
    }
    free(text);
}

/* --- its figures --- */

unsigned daemon_open_files(const struct daemon *daemon)
{
    unsigned count = 0;
    char path[64];
    DIR *stream;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)daemon->pid);
    stream = opendir(path);
    while (stream && readdir(stream))
        count++;
    if (stream)
        closedir(stream);
    return count > 2 ? count - 2 : 0; /* "." and ".." */
}

void daemon_open_files_show(const struct daemon *daemon)
{
    struct dirent *entry;
    char path[64], target[128];
    DIR *stream;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)daemon->pid);
    stream = opendir(path);
    while (stream && (entry = readdir(stream))) {
        ssize_t n = readlinkat(dirfd(stream), entry->d_name, target, sizeof(target) - 1);

        if (n > 0)
            fprintf(stderr, "    file %s: %.*s\n", entry->d_name, (int)n, target);
    }
    if (stream)
        closedir(stream);
}

/* The number behind `key` in /proc/PID/status. */
static uint64_t status_number(const struct daemon *daemon, const char *key)
{
    uint64_t value = 0;
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)daemon->pid);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoull(line + strlen(key), NULL, 10);
    }
    if (file)
        fclose(file);
    return value;
}

uint64_t daemon_anonymous_kib(const struct daemon *daemon)
{
    return status_number(daemon, "RssAnon:");
}

bool daemon_is_sanitized(const struct daemon *daemon)
{
    return status_number(daemon, "VmSize:") >> 30 > 0; /* its shadow maps 16 TiB and more */
}

uint64_t daemon_cpu_ms(const struct daemon *daemon)
{
    unsigned long long user = 0, system = 0;
    char path[64], text[1024] = "", *at;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)daemon->pid);
    file = fopen(path, "r");
    if (file) {
        if (!fgets(text, sizeof(text), file))
            text[0] = '\0';
        fclose(file);
    }
    at = strrchr(text, ')');
    if (at)
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system);
    return (user + system) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK);
}

#include "startup.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "control/version.h"

#define CONFIG_PATH_DEFAULT "/etc/convoy/convoy.yaml"

static const char usage_text[] =
    "Usage: convoyd [OPTION]...\n"
    "Switches packets between virtual machines and the host's network.\n"
    "\n"
    "  -c, --config FILE  configuration (default " CONFIG_PATH_DEFAULT ", which may be missing)\n"
    "  -n, --check        check the configuration and exit\n"
    "  -r, --run-dir DIR  where sockets are made (default /run/convoy)\n"
    "  -v, --verbose      log more\n"
    "  -V, --version      print the version and exit\n"
    "  -h, --help         print this and exit\n"
    "\n"
    "convoy(1) talks to it while it runs. More in convoyd(8).\n";

static const struct option option_table[] = {
    {"config", required_argument, NULL, 'c'},
    {"check", no_argument, NULL, 'n'},
    {"run-dir", required_argument, NULL, 'r'},
    {"verbose", no_argument, NULL, 'v'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool finish_with(enum startup_exit code, enum startup_exit *ret_exit)
{
    *ret_exit = code;
    return false;
}

static bool refuse_usage(const char *sentence, const char *word, enum startup_exit *ret_exit)
{
    fprintf(stderr, "convoyd: %s%s (convoyd --help lists the options)\n", sentence, word);
    return finish_with(STARTUP_EXIT_USAGE, ret_exit);
}

bool startup_read_options(int argc, char **argv, struct startup_options *ret_options,
                          enum startup_exit *ret_exit)
{
    struct startup_options options = {.config_path = CONFIG_PATH_DEFAULT,
                                      .config_is_default = true};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:nr:vVh", option_table, NULL)) != -1) {
        switch (letter) {
        case 'c':
            options.config_path = optarg;
            options.config_is_default = false;
            break;
        case 'n':
            options.check_only = true;
            break;
        case 'r':
            options.run_dir = optarg;
            break;
        case 'v':
            options.verbose = true;
            break;
        case 'V':
            puts("convoyd " CONVOY_VERSION);
            return finish_with(STARTUP_EXIT_OK, ret_exit);
        case 'h':
            fputs(usage_text, stdout);
            return finish_with(STARTUP_EXIT_OK, ret_exit);
        default:
            /* getopt has named the option that is wrong. */
            fputs("convoyd --help lists the options\n", stderr);
            return finish_with(STARTUP_EXIT_USAGE, ret_exit);
        }
    }
    if (optind < argc)
        return refuse_usage("there is nothing to do with the argument ", argv[optind], ret_exit);
    if (options.run_dir && options.run_dir[0] != '/')
        return refuse_usage("--run-dir needs an absolute path, not ", options.run_dir, ret_exit);
    *ret_options = options;
    return true;
}

static bool has_key(const struct port_config *config, const char *wanted)
{
    const char *key;

    for (unsigned i = 0; (key = port_config_key(i)); i++)
        if (strcmp(key, wanted) == 0)
            return (config->keys_set >> i & 1) != 0;
    return false;
}

/* Moves everything whose place the configuration left open to another run directory. */
static int use_run_dir(struct config *config, const char *run_dir, struct error *error)
{
    char control_socket[sizeof(config->run_dir) + 16];
    int rc = 0;

    /* One less than fits, so that "/control.sock" fits behind it in a socket's address. */
    if (strlen(run_dir) >= sizeof(config->run_dir) - 1)
        return error_set(error, -EINVAL, "--run-dir: %s has more than %zu characters", run_dir,
                         sizeof(config->run_dir) - 2);
    (void)snprintf(control_socket, sizeof(control_socket), "%s/control.sock", config->run_dir);
    if (strcmp(config->control_socket, control_socket) == 0)
        (void)snprintf(config->control_socket, sizeof(config->control_socket), "%s/control.sock",
                       run_dir);
    for (unsigned i = 0; i < config->port_count && rc == 0; i++) {
        struct port_config *port = &config->ports[i];

        if (port->type != PORT_TYPE_VHOST_USER || has_key(port, "socket"))
            continue;
        port->socket[0] = '\0';
        rc = port_config_finish(port, run_dir, error);
    }
    (void)snprintf(config->run_dir, sizeof(config->run_dir), "%s", run_dir);
    return rc;
}

int startup_load_config(const struct startup_options *options, struct config *ret_config,
                        bool *ret_found, struct error *error)
{
    bool found = !options->config_is_default || access(options->config_path, F_OK) == 0;
    struct config config;
    int rc = 0;

    if (found)
        rc = config_load(options->config_path, &config, error);
    else
        config_init(&config);
    if (rc < 0)
        return rc;
    if (options->run_dir)
        rc = use_run_dir(&config, options->run_dir, error);
    if (rc < 0) {
        config_uninit(&config);
        return rc;
    }
    *ret_config = config;
    *ret_found = found;
    return 0;
}

void startup_raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("cannot raise the limit of open files: %m");
}

static void signal_ready(struct reactor_watch *watch, uint32_t epoll_events)
{
    struct startup_signals *signals = CV_CONTAINER_OF(watch, struct startup_signals, watch);
    struct signalfd_siginfo info;

    (void)epoll_events;
    if (read(watch->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP) {
        log_info("SIGHUP changes nothing: the configuration is read at the start only; "
                 "convoy(1) changes a running convoyd");
        return;
    }
    log_info("ending: %s received", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
    reactor_stop(signals->reactor);
}

int startup_watch_signals(struct startup_signals *signals, struct reactor *reactor,
                          struct error *error)
{
    sigset_t set;
    int rc;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc != 0)
        return error_set(error, -rc, "cannot block signals: %s", strerror(rc));
    signals->reactor = reactor;
    signals->watch.ready = signal_ready;
    signals->watch.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->watch.fd < 0)
        return error_set(error, -errno, "cannot watch signals: %m");
    rc = reactor_add(reactor, &signals->watch, EPOLLIN);
    if (rc < 0) {
        close(signals->watch.fd);
        return error_set(error, rc, "cannot watch signals: %s", strerror(-rc));
    }
    return 0;
}

void startup_unwatch_signals(struct startup_signals *signals)
{
    reactor_remove(signals->reactor, &signals->watch);
    close(signals->watch.fd);
}

void startup_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t path_len = path ? strlen(path) : 0;
    int fd;

    if (path_len == 0 || path_len >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, path_len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* the abstract name space */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len)) < 0)
        log_warning("cannot tell the service manager %s: %m", state);
    close(fd);
}

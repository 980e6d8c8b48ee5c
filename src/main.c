/*
 * convoyd: the order of start-up and shut-down, nothing else.
 *
 *   options, configuration        a wrong word ends here, before anything is touched
 *   signals, limits, guard        for every thread to come
 *   control socket                one daemon per run directory; a second one ends here
 *   switch, ports, addresses      what cannot be had ends here, before anybody was served
 *   control server, ready         from now on only a signal ends it
 *
 * and back in the opposite order.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/control_server.h"
#include "control/control_socket.h"
#include "control/version.h"
#include "guest/foreign_fd.h"
#include "guest/guest_memory.h"
#include "startup.h"
#include "switch/vswitch.h"

static int add_configured(struct vswitch *vswitch, const struct config *config, struct error *error)
{
    int rc = 0;

    for (unsigned i = 0; i < config->port_count && rc == 0; i++)
        rc = vswitch_port_add(vswitch, &config->ports[i], error);
    for (unsigned i = 0; i < config->static_mac_count && rc == 0; i++)
        rc = vswitch_static_mac_add(vswitch, config->static_macs[i].mac,
                                    config->static_macs[i].port, error);
    return rc;
}

/* Answers the control socket until a signal comes. */
static int serve(const struct config *config, const char *config_path, struct vswitch *vswitch,
                 struct reactor *reactor, int listen_fd, struct error *error)
{
    const struct control_facts facts = {
        .vswitch = vswitch,
        .run_dir = config->run_dir,
        .control_socket = config->control_socket,
        .config_path = config_path,
        .start_ns = clock_now_ns(),
    };
    struct control_server *server;
    int rc;

    server = control_server_new(reactor, listen_fd, &facts, CONTROL_PATIENCE_NS_DEFAULT, error);
    if (!server)
        return -1;
    log_info("convoyd " CONVOY_VERSION " is ready: ports %u, workers %u, control socket %s",
             config->port_count, vswitch_worker_count(vswitch), config->control_socket);
    startup_notify("READY=1");
    rc = reactor_run(reactor);
    if (rc < 0)
        (void)error_set(error, rc, "the event loop failed: %s", strerror(-rc));
    startup_notify("STOPPING=1");
    control_server_free(server);
    return rc;
}

/* Runs the switch on a control socket that is ours. */
static int run_switch(const struct config *config, const char *config_path, struct reactor *reactor,
                      int listen_fd, struct error *error)
{
    struct vswitch *vswitch = vswitch_new(config, reactor, error);
    int rc;

    if (!vswitch)
        return -1;
    rc = add_configured(vswitch, config, error);
    if (rc == 0)
        rc = serve(config, config_path, vswitch, reactor, listen_fd, error);
    vswitch_free(vswitch);
    return rc;
}

static int run(const struct config *config, const char *config_path, struct error *error)
{
    struct startup_signals signals;
    struct control_socket socket;
    struct reactor *reactor = reactor_new();
    int rc;

    if (!reactor)
        return error_set(error, -1, "cannot make the event loop: %m");
    rc = startup_watch_signals(&signals, reactor, error);
    if (rc < 0)
        goto free_reactor;
    startup_raise_limits();
    rc = guest_memory_guard_install();
    if (rc < 0) {
        (void)error_set(error, rc, "cannot guard guest memory: %s", strerror(-rc));
        goto unwatch_signals;
    }
    if (!foreign_fd_init()) {
        rc = error_set(error, -ENOMEM, "cannot start the thread that closes descriptors of peers");
        goto unwatch_signals;
    }
    rc = control_socket_open(&socket, config->run_dir, config->control_socket, error);
    if (rc < 0)
        goto unwatch_signals;
    rc = run_switch(config, config_path, reactor, socket.listen_fd, error);
    control_socket_close(&socket);
unwatch_signals:
    startup_unwatch_signals(&signals);
free_reactor:
    reactor_free(reactor);
    return rc;
}

int main(int argc, char **argv)
{
    struct startup_options options;
    enum startup_exit code;
    struct config config;
    struct error error;
    bool found;
    int rc;

    if (!startup_read_options(argc, argv, &options, &code))
        return (int)code;
    if (options.verbose)
        log_set_level(LOG_LEVEL_DEBUG);
    rc = startup_load_config(&options, &config, &found, &error);
    if (rc == 0) {
        if (options.check_only)
            printf("%s: no errors, %u ports%s\n", options.config_path, config.port_count,
                   found ? "" : " (there is no such file; convoyd starts without ports)");
        else
            rc = run(&config, found ? options.config_path : NULL, &error);
        config_uninit(&config);
    }
    if (rc < 0)
        log_error("%s", error.text);
    return rc < 0 ? STARTUP_EXIT_FAILURE : STARTUP_EXIT_OK;
}

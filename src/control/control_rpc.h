/*
 * From one line of the control socket to the line that answers it: JSON-RPC 2.0, parameters by name
 * only, checked strictly: a member that is not known is an error that names it and its nearest
 * known one. Knows nothing of sockets, so it can be tested and fuzzed alone.
 *
 * Source: JSON-RPC 2.0 Specification, www.jsonrpc.org. Departures: no batches (one object per
 * line), no parameters by position. Thread: control.
 */
#ifndef CONVOY_CONTROL_CONTROL_RPC_H
#define CONVOY_CONTROL_CONTROL_RPC_H

#include <jansson.h>

#include "base/error.h"
#include "switch/vswitch.h"

/* Error codes: the specification's, and those of this program from -32000 down. */
enum control_code {
    CONTROL_CODE_PARSE = -32700,     /* not JSON */
    CONTROL_CODE_REQUEST = -32600,   /* JSON, but not a request */
    CONTROL_CODE_METHOD = -32601,    /* no such method */
    CONTROL_CODE_PARAMS = -32602,    /* unknown, missing or wrong parameter */
    CONTROL_CODE_INTERNAL = -32603,  /* no memory for the answer */
    CONTROL_CODE_SYSTEM = -32000,    /* the system refused; data.errno says what */
    CONTROL_CODE_NOT_FOUND = -32001, /* no such port or address */
    CONTROL_CODE_EXISTS = -32002,    /* the name, socket, interface or address is taken */
    CONTROL_CODE_FULL = -32003,      /* a table has no room */
};

/* What methods work on. The strings and the switch must outlive it. */
struct control_facts {
    struct vswitch *vswitch;
    const char *run_dir;        /* where ports' sockets are made */
    const char *control_socket; /* path */
    const char *config_path;    /* file that was read at the start; NULL: none */
    uint64_t start_ns;          /* monotonic time of the start */
};

/* One request on its way through its method. */
struct control_call {
    const struct control_facts *facts;
    json_t *params;     /* an object with known members of the right type; borrowed */
    json_t *result;     /* set by the method on success; the reference is the caller's */
    struct error error; /* set by the method on failure */
};

/* A parameter that a method takes. */
struct control_param {
    const char *name; /* NULL ends a list */
    json_type type;   /* JSON_STRING or JSON_INTEGER */
    bool required;
};

enum { CONTROL_PARAMS_MAX = 3 };

struct control_method {
    const char *name;
    struct control_param params[CONTROL_PARAMS_MAX + 1];
    bool takes_port_keys; /* also takes the keys of a port, which port_config_set checks */
    /* Returns 0 and a result, or a negative errno (see error_code) and a sentence. */
    int (*run)(struct control_call *call);
};

/* The table of methods (control_methods.c). */
extern const struct control_method control_methods[];
extern const size_t control_method_count;

/*
 * Answers one line (its line feed may be missing). *ret_reply is the answer with its line feed, for
 * free(); NULL when none is due, because the request was a notification or the line blank. -ENOMEM.
 */
int control_rpc_answer(const struct control_facts *facts, const char *line, size_t line_len,
                       char **ret_reply) CV_MUST_CHECK;

/* An answer to nothing in particular, for free(); NULL when memory is short. */
char *control_rpc_complain(enum control_code code, const char *sentence);

#endif

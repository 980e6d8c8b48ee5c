/*
 * Lines of the control socket: whatever arrives, each answer is one line of JSON that JSON-RPC 2.0
 * allows, within its limit. The switch behind it is a fake, which is part of this program so that
 * it takes the real one's place.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_limits.h"
#include "control/control_rpc.h"

#include "../lib/fake_vswitch.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const char *reply)
{
    size_t len = strlen(reply);
    json_t *answer = json_loads(reply, JSON_REJECT_DUPLICATES, NULL), *error;

    assert(len >= 1 && len <= CONTROL_REPLY_BYTES_MAX);
    assert(strchr(reply, '\n') == reply + len - 1);
    assert(json_is_object(answer) && json_object_size(answer) == 3);
    assert(json_object_get(answer, "id"));
    assert(json_is_string(json_object_get(answer, "jsonrpc")));
    error = json_object_get(answer, "error");
    assert((error != NULL) != (json_object_get(answer, "result") != NULL));
    assert(!error || json_is_integer(json_object_get(error, "code")));
    assert(!error || json_is_string(json_object_get(error, "message")));
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct control_facts facts = {
        .vswitch = fake_vswitch_get(), .run_dir = "/run/fuzz", .control_socket = "/run/fuzz/c"};
    const char *line = (const char *)data, *end = line + size, *next;
    char *reply;

    log_set_level(LOG_LEVEL_ERROR);
    fake_vswitch_reset();
    for (; line < end; line = next) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));

        next = feed ? feed + 1 : end;
        assert(control_rpc_answer(&facts, line, (size_t)((feed ? feed : end) - line), &reply) == 0);
        if (reply)
            check_reply(reply);
        free(reply);
    }
    return 0;
}

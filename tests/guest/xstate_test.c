/*
 * Goal: the preloaded ptrace() of xstate.c reads and writes the vector registers of a process
 * through a buffer too small for the processor's whole state, as User Mode Linux does on AMX.
 * Method: any processor with AVX will do. A child fills registers and traps; the parent gets its
 * state through a buffer that ends before the last component, changes one register, sets it and
 * lets the child check itself. It also sets what it read before the child ran on and changed it: to
 * take that for what the child still has would be wrong. The bare system call must refuse the same
 * buffer, or this test would prove nothing.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SKIP = 77, /* Meson's exit status for a skipped test. */
    XMM0_OFFSET = 160,
    XMM1_OFFSET = 176,
    XSTATE_BV_AT = 512,
    AREA_MAX_BYTES = 65536,
};

static const uint8_t PATTERN = 0xa5, CHANGED = 0x3c;

static void require(int truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "failed: %s (errno %d)\n", what, errno);
    exit(1);
}

static long bare_ptrace(long request, pid_t pid, struct iovec *buffer)
{
    return syscall(SYS_ptrace, request, pid, NT_X86_XSTATE, buffer);
}

/* Loads xmm0 and xmm1 with the pattern, traps, clears xmm0, traps again, and exits with 0 if the
 * parent has restored xmm0 and xmm1 is as the parent changed it. One piece of assembly, so that
 * nothing in between uses the registers. */
static void child_main(void)
{
    uint8_t before[32], after[32];

    memset(before, PATTERN, sizeof(before));
    require(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "PTRACE_TRACEME");
    __asm__ volatile("movups (%0), %%xmm0\n\t"
                     "movups 16(%0), %%xmm1\n\t"
                     "int3\n\t"
                     "pxor %%xmm0, %%xmm0\n\t"
                     "int3\n\t"
                     "movups %%xmm0, (%1)\n\t"
                     "movups %%xmm1, 16(%1)\n\t"
                     :
                     : "r"(before), "r"(after)
                     : "xmm0", "xmm1", "memory");
    for (int i = 0; i < 16; i++) {
        if (after[i] != PATTERN || after[16 + i] != CHANGED)
            _exit(1);
    }
    _exit(0);
}

static pid_t start_child(void)
{
    int status;
    pid_t pid = fork();

    require(pid >= 0, "fork");
    if (pid == 0)
        child_main();
    require(waitpid(pid, &status, 0) == pid, "waitpid");
    require(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "the child stops at its trap");
    return pid;
}

/* Lets the child go on to its second trap, where it has cleared xmm0, and sets the state that it
 * had at the first one. */
static void check_state_of_before(pid_t pid, size_t bytes)
{
    uint8_t *state = calloc(1, bytes);
    struct iovec part = {state, bytes};
    int status;

    require(state != NULL, "memory");
    require(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &part) == 0, "get at the first trap");
    require(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "PTRACE_CONT");
    require(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "the child stops once more");
    part.iov_len = bytes;
    require(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &part) == 0, "set at the second trap");
    free(state);
}

/* The child must end by itself, with the status 0. */
static void finish_child(pid_t pid)
{
    int status;

    require(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "PTRACE_CONT");
    require(waitpid(pid, &status, 0) == pid, "waitpid");
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child finds its registers right");
}

static size_t whole_state_bytes(pid_t pid)
{
    static uint8_t area[AREA_MAX_BYTES];
    struct iovec whole = {area, sizeof(area)};

    require(bare_ptrace(PTRACE_GETREGSET, pid, &whole) == 0, "the kernel gives the whole state");
    return whole.iov_len;
}

static void check_short_buffer(pid_t pid, size_t bytes)
{
    /* The guard shows that nothing is written behind the short buffer. */
    uint8_t *state = calloc(1, bytes + 64);
    struct iovec part = {state, bytes};
    uint64_t present;

    require(state != NULL, "memory");
    memset(state + bytes, 0xee, 64);
    require(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &part) == 0, "get with a short buffer");
    require(part.iov_len == bytes, "the short buffer is filled");
    for (size_t i = 0; i < 64; i++)
        require(state[bytes + i] == 0xee, "nothing is written behind the buffer");
    require(state[XMM0_OFFSET] == PATTERN && state[XMM1_OFFSET + 15] == PATTERN, "registers read");
    memcpy(&present, state + XSTATE_BV_AT, sizeof(present));
    require((present & ~UINT64_C(3)) == 0, "components beyond the buffer are struck");

    memset(state + XMM1_OFFSET, CHANGED, 16);
    part.iov_len = bytes;
    require(bare_ptrace(PTRACE_SETREGSET, pid, &part) < 0, "the bare kernel refuses it");
    part.iov_len = bytes;
    require(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &part) == 0, "set with a short buffer");
    free(state);
}

/* A buffer larger than the state is served as the kernel serves it, and PEEK gives its word. */
static void check_other_requests(pid_t pid, size_t whole_bytes)
{
    static uint8_t area[AREA_MAX_BYTES];
    static long word;
    struct iovec large = {area, sizeof(area)};

    require(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &large) == 0, "get with a large buffer");
    require(large.iov_len == whole_bytes, "the length is the state's");
    require(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &large) == 0, "set the whole state");
    require(ptrace(PTRACE_POKEDATA, pid, &word, (void *)-2L) == 0, "PTRACE_POKEDATA");
    errno = EINVAL;
    require(ptrace(PTRACE_PEEKDATA, pid, &word, NULL) == -2 && errno == 0, "PTRACE_PEEKDATA");
    require(ptrace(PTRACE_PEEKDATA, pid, NULL, NULL) == -1 && errno != 0, "a bad address fails");
}

int main(void)
{
    const size_t legacy_and_header = 512 + 64;
    pid_t pid = start_child();
    size_t bytes = whole_state_bytes(pid);

    if (bytes <= legacy_and_header) {
        printf("skipped: this processor has no state beyond SSE\n");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return SKIP;
    }
    check_other_requests(pid, bytes);
    check_short_buffer(pid, legacy_and_header);
    check_state_of_before(pid, legacy_and_header);
    finish_child(pid);
    printf("ok: %zu of %zu bytes of state suffice\n", legacy_and_header, bytes);
    return 0;
}

/*
 * A ptrace() to preload into User Mode Linux, on hosts whose processors have a larger extended
 * state than it knows.
 *
 * User Mode Linux keeps the vector registers of its processes in a buffer of fixed size, which ends
 * behind AVX-512 and the protection keys. With AMX the state is 11 KB. PTRACE_SETREGSET for
 * NT_X86_XSTATE accepts nothing but the whole state, so the first switch of context fails there
 * and the guest dies at start.
 *
 * Here the caller gets what fits; on the way back it is padded with zeroes to the whole size.
 * Components that the caller cannot hold are struck from XSTATE_BV both ways, which means "in the
 * initial state": a guest that never saw them cannot have changed them. All other requests pass
 * unchanged.
 *
 * User Mode Linux reads the state after each system call of its processes and writes it back before
 * the process goes on, as a rule unchanged. That is not written then: the kernel would take a
 * buffer from its own virtual memory for it, which was a fifth of the processor of a guest that
 * receives a TCP stream.
 *
 * Buffers are static because User Mode Linux calls from its small kernel stacks, and may be so
 * because it traces from one thread only.
 *
 * Sources: ptrace(2); Intel SDM volume 1, section 13.4 (layout of the XSAVE area) and volume 2,
 * CPUID leaf 0DH.
 */
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    STATE_MAX_BYTES = 65536,
    LEGACY_BYTES = 512,
    HEADER_BYTES = 64,
    COMPONENTS = 63,
};

static uint8_t whole_state[STATE_MAX_BYTES] __attribute__((aligned(64)));

static long kernel_ptrace(long request, pid_t pid, void *address, void *data)
{
    return syscall(SYS_ptrace, request, pid, address, data);
}

/* The bits of XSTATE_BV whose components lie wholly in the first `bytes` of the state. */
static uint64_t components_within(size_t bytes)
{
    /* Asked once per length: in a virtual machine CPUID costs an exit. */
    static size_t last_bytes;
    static uint64_t last_components;
    unsigned size, offset, ecx, edx;

    if (bytes == last_bytes)
        return last_components;
    last_components = 3; /* x87 and SSE live in the legacy area. */
    for (unsigned i = 2; i < COMPONENTS; i++) {
        if (!__get_cpuid_count(0xd, i, &size, &offset, &ecx, &edx))
            break;
        if (size != 0 && (size_t)offset + size <= bytes)
            last_components |= UINT64_C(1) << i;
    }
    last_bytes = bytes;
    return last_components;
}

static void strike_components(uint8_t *state, size_t bytes)
{
    uint64_t present;

    memcpy(&present, state + LEGACY_BYTES, sizeof(present));
    present &= components_within(bytes);
    memcpy(state + LEGACY_BYTES, &present, sizeof(present));
}

/* What `pid` has as long as it stands still; nothing is known if that is 0. */
static struct {
    pid_t pid;
    size_t bytes;
    uint8_t state[STATE_MAX_BYTES];
} known;

/* Whether a process may have another vector state after this request than before. */
static int may_change_state(long request)
{
    switch (request) {
    case PTRACE_GETREGS:
    case PTRACE_SETREGS:
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
        return 0;
    default:
        return 1;
    }
}

/* Size of the kernel's register set, or 0 with errno. */
static size_t whole_state_bytes(pid_t pid)
{
    static size_t bytes;
    struct iovec whole = {whole_state, sizeof(whole_state)};

    if (bytes == 0 && kernel_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &whole) == 0)
        bytes = whole.iov_len;
    return bytes;
}

static long get_state(pid_t pid, struct iovec *part)
{
    long result = kernel_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, part);

    known.pid = 0;
    if (result != 0)
        return result;
    if (part->iov_len >= LEGACY_BYTES + HEADER_BYTES)
        strike_components(part->iov_base, part->iov_len);
    if (part->iov_len <= sizeof(known.state)) {
        known.pid = pid;
        known.bytes = part->iov_len;
        memcpy(known.state, part->iov_base, part->iov_len);
    }
    return 0;
}

static long set_state(pid_t pid, const struct iovec *part)
{
    struct iovec whole = {whole_state, whole_state_bytes(pid)};
    size_t bytes = part->iov_len < whole.iov_len ? part->iov_len : whole.iov_len;

    if (whole.iov_len == 0)
        return -1;
    if (part->iov_len < LEGACY_BYTES + HEADER_BYTES) {
        errno = EFAULT;
        return -1;
    }
    if (pid == known.pid && bytes == known.bytes && memcmp(part->iov_base, known.state, bytes) == 0)
        return 0;
    known.pid = 0;
    memcpy(whole_state, part->iov_base, bytes);
    memset(whole_state + bytes, 0, whole.iov_len - bytes);
    if (bytes < whole.iov_len)
        strike_components(whole_state, bytes);
    return kernel_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &whole);
}

/* The C library's ptrace(), with its way to return the word of a PEEK request. */
static long plain_ptrace(long request, pid_t pid, void *address, void *data)
{
    int peek = request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER;
    long word, result;

    result = kernel_ptrace(request, pid, address, peek ? &word : data);
    if (!peek || result < 0)
        return result;
    errno = 0;
    return word;
}

__attribute__((visibility("default"))) long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    pid_t pid;
    void *address, *data;

    va_start(arguments, request);
    pid = va_arg(arguments, pid_t);
    address = va_arg(arguments, void *);
    data = va_arg(arguments, void *);
    va_end(arguments);
    if (address == (void *)NT_X86_XSTATE && request == PTRACE_GETREGSET)
        return get_state(pid, data);
    if (address == (void *)NT_X86_XSTATE && request == PTRACE_SETREGSET)
        return set_state(pid, data);
    if (may_change_state(request))
        known.pid = 0;
    return plain_ptrace(request, pid, address, data);
}

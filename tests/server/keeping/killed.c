/* Loaded before the C library: ends the process, as SIGKILL would at any time, before its n-th step that changes a file.
 * LATCHKEY_TEST_KILL_AT is n; a step is a write, a sync, a cut, a new name or the removal of one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static void step(void) {
    static long left = -1;
    if (left < 0) {
        const char *at = getenv("LATCHKEY_TEST_KILL_AT");
        left = at ? atol(at) : 1L << 60;
    }
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0) kill(getpid(), SIGKILL);
}

#define STEP(result, name, params, args)                     \
    result name params {                                     \
        static result (*real) params;                        \
        if (!real) real = dlsym(RTLD_NEXT, #name);           \
        step();                                              \
        return real args;                                    \
    }

STEP(int, fsync, (int fd), (fd))
STEP(int, fdatasync, (int fd), (fd))
STEP(int, ftruncate64, (int fd, off64_t length), (fd, length))
STEP(int, rename, (const char *from, const char *to), (from, to))
STEP(int, link, (const char *from, const char *to), (from, to))
STEP(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
STEP(int, unlink, (const char *path), (path))
STEP(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
STEP(ssize_t, copy_file_range, (int from, off64_t *a, int to, off64_t *b, size_t count, unsigned flags),
     (from, a, to, b, count, flags))

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (fd > 2) step();
    return real(fd, bytes, count);
}

/* Loaded before the C library: what a disk does that fails. The file named by LATCHKEY_TEST_FAULT says how:
 * 's' syncing fails, 'w' writing fails, 'h' half of it is written and then it fails. No such file: all is well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static char fault(void) {
    char how = 0;
    const char *path = getenv("LATCHKEY_TEST_FAULT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (read(fd, &how, 1) != 1) how = 0;
        close(fd);
    }
    return how;
}

static int fail(void) {
    errno = EIO;
    return -1;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return fault() == 's' ? fail() : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    return fault() == 's' ? fail() : real(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    char how = fault();
    if (how == 'w') return fail();
    if (how == 'h') {
        (void)real(fd, bytes, count / 2, at);
        return fail();
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}

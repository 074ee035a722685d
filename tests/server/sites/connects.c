// Writes to a file if the process connects to an address of the Internet family. Unix sockets do not count.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    const char *path = getenv("LATCHKEY_TEST_CONNECTED");
    if (path && address && (address->sa_family == AF_INET || address->sa_family == AF_INET6)) {
        FILE *file = fopen(path, "a");
        if (file) {
            fprintf(file, "family %d\n", address->sa_family);
            fclose(file);
        }
    }
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return next(socket, address, length);
}

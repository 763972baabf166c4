/* Preloaded into medallion: the MEDALLION_EIO_AT-th write to a regular file fails as on a broken disk. strace could not
   tell such a write from one to a pipe or to the runtime's own wake-ups. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*writer)(int, const void *, size_t);

ssize_t write(int file, const void *bytes, size_t count) {
    static atomic_int seen;
    writer real = (writer)dlsym(RTLD_NEXT, "write");
    const char *at = getenv("MEDALLION_EIO_AT");
    struct stat about;
    if (at != NULL && file > 2 && fstat(file, &about) == 0 && S_ISREG(about.st_mode)
        && atomic_fetch_add(&seen, 1) + 1 == atoi(at)) {
        static const char told[] = "(INJECTED)\n";
        real(2, told, sizeof told - 1);
        errno = EIO;
        return -1;
    }
    return real(file, bytes, count);
}

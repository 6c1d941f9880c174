// Preloaded into a process, counts what it allocates and what it syncs; its disk can be made to hang.
//
//   WEFT_COUNTS=FILE   two 64-bit numbers: allocations, syncs of files
//   WEFT_STALL=FILE    while it exists, writes to files and syncs wait
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Atomic uint64_t nowhere[2];
static _Atomic uint64_t *counts = nowhere;
static const char *stall;

__attribute__((constructor))
static void begin(void) {
    stall = getenv("WEFT_STALL");
    const char *path = getenv("WEFT_COUNTS");
    if (path == NULL) return;
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof nowhere) != 0) abort();
    void *map = mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) abort();
    counts = map;
}

static void wait_for_disk(void) {
    while (stall != NULL && access(stall, F_OK) == 0) usleep(5000);
}

void *malloc(size_t size) {
    counts[0]++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    counts[0]++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    counts[0]++;
    return __libc_realloc(old, size);
}

int posix_memalign(void **made, size_t alignment, size_t size) {
    counts[0]++;
    *made = __libc_memalign(alignment, size);
    return *made == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t size) {
    counts[0]++;
    return __libc_memalign(alignment, size);
}

int fdatasync(int file) {
    wait_for_disk();
    counts[1]++;
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    wait_for_disk();
    counts[1]++;
    return (int)syscall(SYS_fsync, file);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
    wait_for_disk();
    return syscall(SYS_pwrite64, file, bytes, count, place);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t place) {
    return pwrite64(file, bytes, count, place);
}

// What Swift cannot call: macros and shared mutable globals of the C library.
#define _GNU_SOURCE
#include "platform.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void weft_set_malloc_arenas(int count) {
    mallopt(M_ARENA_MAX, count);
}

void weft_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}

void weft_yield_to_others(void) {
    enum { whoIsThread = 1, classBestEffort = 2, classShift = 13, lastOfClass = 7 };
    // Where neither is allowed, the thread competes as the others do.
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 5);
    (void)syscall(SYS_ioprio_set, whoIsThread, 0, classBestEffort << classShift | lastOfClass);
}

void weft_line_buffer_standard_output(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
}

static const char *const startedAnew = "WEFT_STARTED_ANEW";

void weft_start_anew(char *const arguments[]) {
    setenv(startedAnew, "1", 1);
    // What a reader of signals ignored and blocked is not the next start's.
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    execv("/proc/self/exe", arguments);
}

void weft_finish_start_anew(void) {
    if (!getenv(startedAnew)) return;
    unsetenv(startedAnew);
    weft_name_thread("weft");
    // Libraries leave sockets open across exec, and a listener that nobody knows of would keep its address.
    DIR *open_now = opendir("/proc/self/fd");
    if (!open_now) return;
    struct dirent *entry;
    while ((entry = readdir(open_now)) != NULL) {
        int descriptor = atoi(entry->d_name);
        if (descriptor > STDERR_FILENO && descriptor != dirfd(open_now)) close(descriptor);
    }
    closedir(open_now);
}

// What Swift cannot call: macros and shared mutable globals of the C library.
#define _GNU_SOURCE
#include "platform.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>

void weft_set_malloc_arenas(int count) {
    mallopt(M_ARENA_MAX, count);
}

void weft_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}

void weft_line_buffer_standard_output(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
}

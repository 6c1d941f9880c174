// What Swift cannot call: macros and shared mutable globals of the C library.
#include "platform.h"

#include <malloc.h>
#include <stdio.h>

void weft_set_malloc_arenas(int count) {
    mallopt(M_ARENA_MAX, count);
}

void weft_line_buffer_standard_output(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
}

#pragma once

/// Limits glibc's malloc to `count` arenas: each keeps what was freed into it.
void weft_set_malloc_arenas(int count);

/// Makes standard output line-buffered, also when it is no terminal.
void weft_line_buffer_standard_output(void);

#pragma once

/// Limits glibc's malloc to `count` arenas: each keeps what was freed into it.
void weft_set_malloc_arenas(int count);

/// Names the calling thread, in 15 bytes at most.
void weft_name_thread(const char *name);

/// Lets other threads go first, at the processor and at the disk, from now on.
void weft_yield_to_others(void);

/// Makes standard output line-buffered, also when it is no terminal.
void weft_line_buffer_standard_output(void);

// Begins this program anew in its own process, with these arguments, which end with NULL. Returns only when that cannot be.
void weft_start_anew(char *const arguments[]);

// The other half of that, before anything is opened in the new start: closes what the old one had open, but for standard input,
// output and error.
void weft_finish_start_anew(void);

#pragma once

#include "sums.h"

/// A database file or a write-ahead log; other files are the base's own, untouched.
struct shim_file {
    sqlite3_file base;
    struct sums_table *table;
    /// The base's file, behind this struct.
    sqlite3_file *real;
};

static inline struct shim_file *shim_of(sqlite3_file *file) {
    return (struct shim_file *)file;
}

/// Where bytes of a file that have a sum of their own are.
struct piece {
    struct sum_array *sums;
    int64_t place;
    int64_t offset;
    uint32_t size;
};

/// Compares what a read of the piece gave, with the read's result, SQLITE_OK or SQLITE_IOERR_SHORT_READ. May read it
/// again.
int shim_compare(const struct shim_file *file, const struct piece *piece, int code, void *bytes);

int database_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset);
int database_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset);
int database_truncate(sqlite3_file *file, sqlite3_int64 size);

int log_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset);
int log_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset);
int log_truncate(sqlite3_file *file, sqlite3_int64 size);
int log_sync(sqlite3_file *file, int flags);
/// Deletes the log of a database that is open.
int log_delete(struct sums_table *table, sqlite3_vfs *base, const char *path, int syncs_directory);

#pragma once

#include "page_sums.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the files of this folder share. Results are SQLite result codes.

/// Makes the tables that the functions below need; any number of times.
void sums_crc_prepare(void);

/// The CRC-32C (RFC 3720, appendix B.4) of bytes.
uint32_t sums_crc(const void *bytes, size_t count);

/// The sum of a page of 512 or more bytes, a power of two, at its place: the same bytes elsewhere have another. Never
/// SUM_UNKNOWN.
uint32_t sums_of_page(const void *bytes, uint32_t page_size, uint64_t place);

// MARK: - Arrays

enum {
    SUM_UNKNOWN = 0,
    SUMS_PER_BLOCK = 1008,
    /// SQLite's limit of 2^32 pages needs no more.
    SUM_CHUNKS = 23,
    PAGE_BYTES_MIN = 512,
    PAGE_BYTES_MAX = 65536,
};

/// The unit in which sums are saved.
struct sum_block {
    _Atomic uint32_t sums[SUMS_PER_BLOCK];
    /// Of the save that wrote its newest slot; 0 when none did.
    uint64_t sequence;
    int slot;
    bool is_dirty;
    /// What was saved is lost. Not saved again: a block with some sums of many would pass for a whole one.
    bool is_damaged;
};

/// Sums by place, from 0. Any thread may read; all else is for the holder of the table's mutex.
///
/// Chunk k holds 2^k blocks. It is never moved or freed before the table is, so that readers need no lock.
struct sum_array {
    struct sum_block *_Atomic chunks[SUM_CHUNKS];
    /// No sum from here on is known.
    int64_t end;
};

/// SUM_UNKNOWN where none was set.
uint32_t sum_array_get(const struct sum_array *array, int64_t place);
/// SQLITE_IOERR_NOMEM when there is no memory, and then nothing is changed. Marks the block dirty.
int sum_array_set(struct sum_array *array, int64_t place, uint32_t sum);
/// Forgets one sum.
void sum_array_clear(struct sum_array *array, int64_t place);
/// Forgets all sums from `place` on.
void sum_array_clear_from(struct sum_array *array, int64_t place);
/// Makes the block when it is not there; NULL when there is no memory or no database has so many pages.
struct sum_block *sum_array_block(struct sum_array *array, int64_t number);

// MARK: - Tables

enum { SALT_BYTES = 8 };

/// What is known of the write-ahead log as a whole. Its salts, all zero while unknown, change each time it begins anew.
struct sums_log {
    unsigned char salts[SALT_BYTES];
    /// Frames up to the last that ends a transaction.
    int64_t committed;
    /// Frames that must be there when the log has these salts: committed, and synced.
    int64_t durable;
    /// The frame whose header was written last, counted from 1, if it ends a transaction, until its page is written.
    int64_t ending;
    /// A recovery that is under way has found so many frames right.
    bool is_walked;
    bool is_big_endian;
    int64_t walked;
    uint32_t checksum[2];
};

/// The sums of one database.
struct sums_table {
    struct sums_table *next;
    int references;
    char *path;
    /// Held while a page is written together with its sum, and by all that is not one load of a sum.
    pthread_mutex_t mutex;
    /// 0 while unknown.
    _Atomic uint32_t page_size;
    _Atomic uint32_t frame_page_size;
    struct sum_array pages;
    /// The pages in the write-ahead log, by frame.
    struct sum_array frames;
    struct sums_log log;
    // The saved sums. The descriptor is opened with the table and kept, so that one of a dead process of a simulator
    // never writes to a file of its successor.
    int sidecar;
    enum page_sums_state state;
    bool is_dirty;
    /// Of the last save.
    uint64_t sequence;
    /// The blocks that are on the device for certain: one of them without a valid slot is damage.
    int64_t blocks_promised;
    /// Of the sync that failed.
    int failure;
};

/// The table of a full path, with one more reference; reads the saved sums when it is new.
int sums_acquire(const char *path, struct sums_table **table);
/// The table of the first `length` bytes of `path` if there is one, with one more reference; otherwise NULL.
struct sums_table *sums_find(const char *path, size_t length);
void sums_release(struct sums_table *table);
/// Keeps the table of a full path, if there is one, for those who have a reference only: the path is another file's.
void sums_detach(const char *path);

/// Takes `size` for the page size if none is known and it can be one. For the holder of the mutex.
bool sums_adopt_page_size(_Atomic uint32_t *known, int64_t size);

/// Sets or forgets sums of pages of the file. For the holder of the mutex.
int sums_set_page(struct sums_table *table, int64_t place, uint32_t sum);
void sums_clear_pages_from(struct sums_table *table, int64_t place);

// MARK: - The saved sums

/// Where the sums of `path` are saved, or written before they are; NULL when there is no memory. Freed by the caller.
char *sidecar_path(const char *path);
char *sidecar_draft_path(const char *path);

/// Reads the saved sums into a table that nobody else has yet.
int sidecar_load(struct sums_table *table);
/// Saves what changed, unless there is no sidecar. For the holder of the mutex.
int sidecar_save(struct sums_table *table);
/// Makes a sidecar with all sums of the table, in the place of one there is. For the holder of the mutex.
int sidecar_create(struct sums_table *table);
/// Removes the sidecar of `path`.
int sidecar_remove(const char *path);

// MARK: - The VFS below

/// The VFS below, once registered.
sqlite3_vfs *sums_base(void);

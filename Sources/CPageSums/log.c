#include "shim.h"

#include <stdatomic.h>
#include <string.h>

// SQLite's write-ahead log: a header, then frames of a header and a page each. Numbers are big-endian.
// https://www.sqlite.org/fileformat2.html#walformat
enum {
    LOG_HEADER_BYTES = 32,
    AT_LOG_PAGE_SIZE = 8,
    AT_LOG_SALTS = 16,
    AT_LOG_CHECKSUM = 24,
    FRAME_HEADER_BYTES = 24,
    AT_FRAME_COMMIT = 4,
    AT_FRAME_SALTS = 8,
    AT_FRAME_CHECKSUM = 16,
};

static const uint32_t log_magic = 0x377f0682;

static uint32_t get32(const unsigned char *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | (uint32_t)from[3];
}

static int damage_of(const struct sums_table *table, const char *what) {
    sqlite3_log(SQLITE_IOERR_DATA, "page sums of %s-wal: %s", table->path, what);
    return SQLITE_IOERR_DATA;
}

// MARK: - Places

static int64_t frame_offset(int64_t place, uint32_t page_size) {
    return LOG_HEADER_BYTES + place * (FRAME_HEADER_BYTES + (int64_t)page_size);
}

/// The frames that are whole below `offset`.
static int64_t frames_below(int64_t offset, int64_t page_size) {
    return offset < LOG_HEADER_BYTES ? 0 : (offset - LOG_HEADER_BYTES) / (FRAME_HEADER_BYTES + page_size);
}

/// If the page of some frame begins at `offset`.
static bool is_frame_page(int64_t offset, int64_t page_size) {
    int64_t first = LOG_HEADER_BYTES + FRAME_HEADER_BYTES;
    return offset >= first && (offset - first) % (FRAME_HEADER_BYTES + page_size) == 0;
}

/// Makes `size` the size of pages in the log, if the bytes at `offset` can be one.
static bool takes_frame_page(struct sums_table *table, int64_t size, int64_t offset) {
    uint32_t page_size = atomic_load(&table->page_size);
    if (size <= 0 || !is_frame_page(offset, size) || (page_size != 0 && page_size != size)) return false;
    if (sums_adopt_page_size(&table->frame_page_size, size)) return true;
    sum_array_clear_from(&table->frames, 0);
    atomic_store(&table->frame_page_size, 0);
    return sums_adopt_page_size(&table->frame_page_size, size);
}

/// Forgets the frames whose pages have some of these bytes.
static void clear_frames(struct sums_table *table, int64_t offset, int64_t count) {
    uint32_t page_size = atomic_load(&table->frame_page_size);
    if (page_size == 0) return;
    for (int64_t place = frames_below(offset, page_size);
         place < table->frames.end && frame_offset(place, page_size) < offset + count; place++) {
        int64_t first = frame_offset(place, page_size) + FRAME_HEADER_BYTES;
        if (first < offset + count && offset < first + page_size) sum_array_clear(&table->frames, place);
    }
}

// MARK: - The log as a whole

static void begin_log(struct sums_log *log, const unsigned char *salts) {
    *log = (struct sums_log){0};
    memcpy(log->salts, salts, SALT_BYTES);
}

static void keep_frames(struct sums_log *log, int64_t frames) {
    if (log->committed > frames) log->committed = frames;
    if (log->durable > frames) log->durable = frames;
}

/// A page was written to its frame.
static void note_page(struct sums_log *log, int64_t place) {
    // SQLite gave up what it had here, a commit that failed in the end.
    keep_frames(log, place);
    if (log->ending == place + 1) log->committed = log->ending;
    log->ending = 0;
}

/// Something that is not a page was written: the header, or a frame's.
static void note_header(struct sums_table *table, const unsigned char *bytes, int count, int64_t offset) {
    struct sums_log *log = &table->log;
    log->ending = 0;
    if (offset == 0 && count == LOG_HEADER_BYTES) {
        begin_log(log, bytes + AT_LOG_SALTS);
        return;
    }
    uint32_t page_size = atomic_load(&table->page_size);
    if (page_size == 0 || count != FRAME_HEADER_BYTES || !is_frame_page(offset + FRAME_HEADER_BYTES, page_size)) return;
    if (get32(bytes + AT_FRAME_COMMIT) != 0) log->ending = frames_below(offset, page_size) + 1;
}

// MARK: - Recovery

// A recovery believes frames up to the first whose checksum is wrong. It takes the rest for a transaction that was
// never finished, also when they had been synced, and even moved into the file. So its reads are followed here: when it
// comes to a wrong frame among those that must be there, it gets an error.

static void add_words(struct sums_log *log, const unsigned char *bytes, size_t count) {
    uint32_t a = log->checksum[0], b = log->checksum[1];
    for (size_t i = 0; i < count; i += 8) {
        uint32_t x = get32(bytes + i), y = get32(bytes + i + 4);
        if (!log->is_big_endian) {
            x = __builtin_bswap32(x);
            y = __builtin_bswap32(y);
        }
        a += x + b;
        b += y + a;
    }
    log->checksum[0] = a;
    log->checksum[1] = b;
}

static bool has_checksum(const struct sums_log *log, const unsigned char *bytes) {
    return get32(bytes) == log->checksum[0] && get32(bytes + 4) == log->checksum[1];
}

/// The header was read. A log that is not one holds nothing, and then all that was moved into the file is there alone.
static int begin_walk(const struct shim_file *file, const unsigned char *header) {
    struct sums_log *log = &file->table->log;
    log->is_walked = false;
    if ((get32(header) & ~1u) != log_magic) return SQLITE_OK;
    log->is_big_endian = (get32(header) & 1) != 0;
    log->checksum[0] = log->checksum[1] = 0;
    add_words(log, header, AT_LOG_CHECKSUM);
    if (!has_checksum(log, header + AT_LOG_CHECKSUM)) return SQLITE_OK;
    if (memcmp(log->salts, header + AT_LOG_SALTS, SALT_BYTES) != 0) {
        memcpy(log->salts, header + AT_LOG_SALTS, SALT_BYTES);
        log->committed = log->durable = 0;
    }
    log->is_walked = true;
    log->walked = log->ending = 0;
    sqlite3_int64 size = 0;
    int code = file->real->pMethods->xFileSize(file->real, &size);
    if (code != SQLITE_OK) return code;
    bool is_short = frames_below(size, get32(header + AT_LOG_PAGE_SIZE)) < log->durable;
    return is_short ? damage_of(file->table, "it lost its end") : SQLITE_OK;
}

static bool is_next_frame_right(struct sums_log *log, const unsigned char *frame, uint32_t page_size) {
    if (memcmp(frame + AT_FRAME_SALTS, log->salts, SALT_BYTES) != 0 || get32(frame) == 0) return false;
    add_words(log, frame, AT_FRAME_SALTS);
    add_words(log, frame + FRAME_HEADER_BYTES, page_size);
    return has_checksum(log, frame + AT_FRAME_CHECKSUM);
}

/// A whole frame was read.
static int walk(struct sums_table *table, int64_t place, const unsigned char *frame, uint32_t page_size) {
    struct sums_log *log = &table->log;
    if (!log->is_walked || place != log->walked) return SQLITE_OK;
    if (!is_next_frame_right(log, frame, page_size)) {
        log->is_walked = false;
        return place < log->durable ? damage_of(table, "a frame that was synced is damaged") : SQLITE_OK;
    }
    log->walked++;
    if (get32(frame + AT_FRAME_COMMIT) != 0 && log->committed < log->walked) log->committed = log->walked;
    // From now on the frame is known, as if it had been written.
    if (sum_array_get(&table->frames, place) != SUM_UNKNOWN) return SQLITE_OK;
    uint32_t sum = sums_of_page(frame + FRAME_HEADER_BYTES, page_size, (uint64_t)place);
    return sum_array_set(&table->frames, place, sum);
}

// MARK: - Reading

/// `size` is that of the page in the frame.
static int read_frame(const struct shim_file *file, unsigned char *frame, uint32_t size, int64_t offset) {
    struct sums_table *table = file->table;
    pthread_mutex_lock(&table->mutex);
    int64_t place = frames_below(offset, size);
    bool is_frame = takes_frame_page(table, size, offset + FRAME_HEADER_BYTES);
    int code = is_frame ? walk(table, place, frame, size) : SQLITE_OK;
    pthread_mutex_unlock(&table->mutex);
    if (code != SQLITE_OK || !is_frame) return code;
    struct piece piece = {&table->frames, place, offset + FRAME_HEADER_BYTES, size};
    return shim_compare(file, &piece, SQLITE_OK, frame + FRAME_HEADER_BYTES);
}

int log_read(sqlite3_file *base, void *bytes, int count, sqlite3_int64 offset) {
    struct shim_file *file = shim_of(base);
    struct sums_table *table = file->table;
    int code = file->real->pMethods->xRead(file->real, bytes, count, offset);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return code;
    uint32_t page_size = atomic_load_explicit(&table->frame_page_size, memory_order_relaxed);
    if (page_size != 0 && (uint32_t)count == page_size && is_frame_page(offset, page_size)) {
        struct piece piece = {&table->frames, frames_below(offset, page_size), offset, page_size};
        return shim_compare(file, &piece, code, bytes);
    }
    if (code != SQLITE_OK) return code;
    if (offset == 0 && count == LOG_HEADER_BYTES) {
        pthread_mutex_lock(&table->mutex);
        code = begin_walk(file, bytes);
        pthread_mutex_unlock(&table->mutex);
        return code;
    }
    if (count < FRAME_HEADER_BYTES + PAGE_BYTES_MIN) return code;
    return read_frame(file, bytes, (uint32_t)count - FRAME_HEADER_BYTES, offset);
}

// MARK: - Writing

/// Before anything of the log goes away: what it held is in the file, and must have its sums saved.
static int save_before_reuse(struct sums_table *table) {
    pthread_mutex_lock(&table->mutex);
    int code = sidecar_save(table);
    pthread_mutex_unlock(&table->mutex);
    return code;
}

static int write_locked(const struct shim_file *file, const void *bytes, int count, sqlite3_int64 offset) {
    struct sums_table *table = file->table;
    int64_t place = frames_below(offset, count);
    bool is_page = takes_frame_page(table, count, offset);
    if (is_page) {
        int code = sum_array_set(&table->frames, place, sums_of_page(bytes, (uint32_t)count, (uint64_t)place));
        if (code != SQLITE_OK) return code;
    } else {
        clear_frames(table, offset, count);
    }
    int code = file->real->pMethods->xWrite(file->real, bytes, count, offset);
    if (code == SQLITE_OK) {
        if (is_page) note_page(&table->log, place);
        else note_header(table, bytes, count, offset);
        return code;
    }
    // The frame is no part of any transaction then, but a recovery may look at it, and should not fail over it.
    if (is_page) clear_frames(table, offset, count);
    if (offset < LOG_HEADER_BYTES) table->log = (struct sums_log){0};
    return code;
}

int log_write(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset) {
    struct shim_file *file = shim_of(base);
    if (offset < LOG_HEADER_BYTES) {
        int code = save_before_reuse(file->table);
        if (code != SQLITE_OK) return code;
    }
    pthread_mutex_lock(&file->table->mutex);
    int code = write_locked(file, bytes, count, offset);
    pthread_mutex_unlock(&file->table->mutex);
    return code;
}

int log_truncate(sqlite3_file *base, sqlite3_int64 size) {
    struct shim_file *file = shim_of(base);
    struct sums_table *table = file->table;
    int code = save_before_reuse(table);
    if (code != SQLITE_OK) return code;
    pthread_mutex_lock(&table->mutex);
    int64_t frames = frames_below(size, atomic_load(&table->frame_page_size));
    sum_array_clear_from(&table->frames, frames);
    keep_frames(&table->log, frames);
    code = file->real->pMethods->xTruncate(file->real, size);
    pthread_mutex_unlock(&table->mutex);
    return code;
}

int log_sync(sqlite3_file *base, int flags) {
    struct shim_file *file = shim_of(base);
    struct sums_log *log = &file->table->log;
    pthread_mutex_lock(&file->table->mutex);
    struct sums_log before = *log;
    pthread_mutex_unlock(&file->table->mutex);
    int code = file->real->pMethods->xSync(file->real, flags);
    pthread_mutex_lock(&file->table->mutex);
    // What was committed while the device worked may not be on it.
    bool is_same = memcmp(log->salts, before.salts, SALT_BYTES) == 0;
    if (code == SQLITE_OK && is_same && log->durable < before.committed && before.committed <= log->committed) {
        log->durable = before.committed;
    }
    pthread_mutex_unlock(&file->table->mutex);
    return code;
}

int log_delete(struct sums_table *table, sqlite3_vfs *base, const char *path, int syncs_directory) {
    int code = save_before_reuse(table);
    if (code == SQLITE_OK) code = base->xDelete(base, path, syncs_directory);
    if (code != SQLITE_OK) return code;
    pthread_mutex_lock(&table->mutex);
    sum_array_clear_from(&table->frames, 0);
    table->log = (struct sums_log){0};
    pthread_mutex_unlock(&table->mutex);
    return code;
}

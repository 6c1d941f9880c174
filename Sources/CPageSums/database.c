#include "shim.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { DATABASE_HEADER_BYTES = 100 };

// MARK: - Comparing

// Why a sum that differs is never a page that is just being written: a checkpoint moves a page into the file only up to
// mxSafeFrame, which no reader's mark is below, and only while nobody holds mark 0, which stands for reading the file
// without the log. So every reader there is finds that page in the log, at its frame or a later one; a reader that
// comes later takes frames up to nBackfill from the file, and that is raised when the writing is done. Frames are
// written only behind those that any reader looks at, and overwritten only when nobody reads the log.
//
// One read is outside of these rules: a connection that finds no log yet reads page 1 while another may make a log and
// move page 1. And a sum and its page are not stored in one step. So a difference counts only when it is still there
// with writers kept out; reads that find none, nearly all, take no lock.

static bool is_right(const struct piece *piece, int code, const void *bytes) {
    uint32_t sum = sum_array_get(piece->sums, piece->place);
    // A file that ends before a page it once had is damaged too, though SQLite would take the page for zeros.
    return sum == SUM_UNKNOWN || (code == SQLITE_OK && sums_of_page(bytes, piece->size, (uint64_t)piece->place) == sum);
}

int shim_compare(const struct shim_file *file, const struct piece *piece, int code, void *bytes) {
    if (is_right(piece, code, bytes)) return code;
    struct sums_table *table = file->table;
    pthread_mutex_lock(&table->mutex);
    code = file->real->pMethods->xRead(file->real, bytes, (int)piece->size, piece->offset);
    if ((code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ) && !is_right(piece, code, bytes)) {
        bool is_log = piece->sums == &table->frames;
        sqlite3_log(
            SQLITE_IOERR_DATA, "page sums of %s%s: %s %lld is not what was written", table->path, is_log ? "-wal" : "",
            is_log ? "frame" : "page", (long long)piece->place + 1);
        code = SQLITE_IOERR_DATA;
    }
    pthread_mutex_unlock(&table->mutex);
    return code;
}

/// Reads a piece only to compare it.
static int inspect(const struct shim_file *file, const struct piece *piece) {
    if (sum_array_get(piece->sums, piece->place) == SUM_UNKNOWN) return SQLITE_OK;
    void *bytes = malloc(piece->size);
    if (bytes == NULL) return SQLITE_IOERR_NOMEM;
    int code = file->real->pMethods->xRead(file->real, bytes, (int)piece->size, piece->offset);
    if (code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ) code = shim_compare(file, piece, code, bytes);
    free(bytes);
    return code == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : code;
}

// MARK: - The database file

static struct piece page_at(struct sums_table *table, int64_t place, uint32_t page_size) {
    return (struct piece){&table->pages, place, place * page_size, page_size};
}

int database_read(sqlite3_file *base, void *bytes, int count, sqlite3_int64 offset) {
    struct shim_file *file = shim_of(base);
    struct sums_table *table = file->table;
    int code = file->real->pMethods->xRead(file->real, bytes, count, offset);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return code;
    uint32_t page_size = atomic_load_explicit(&table->page_size, memory_order_relaxed);
    if (page_size == 0 || count <= 0) return code;
    if ((uint32_t)count == page_size && offset % page_size == 0) {
        struct piece piece = page_at(table, offset / page_size, page_size);
        return shim_compare(file, &piece, code, bytes);
    }
    // The header as SQLite reads it when it opens the file, before it looks at the log: page 1 may rightly differ then
    // after a crash. It is a guess at the page size that SQLite corrects from page 1 as all others are read.
    if (offset == 0 && count == DATABASE_HEADER_BYTES) return code;
    for (int64_t place = offset / page_size; place * page_size < offset + count; place++) {
        struct piece piece = page_at(table, place, page_size);
        int found = inspect(file, &piece);
        if (found != SQLITE_OK) return found;
    }
    return code;
}

/// Makes `count` the page size for a page that is about to be written. A file without saved sums can change its own,
/// as a copy does that is made over it.
static bool takes_page(struct sums_table *table, int count, int64_t offset) {
    if (count <= 0 || offset % count != 0) return false;
    if (sums_adopt_page_size(&table->page_size, count)) return true;
    if (table->state != PAGE_SUMS_NEW) return false;
    sums_clear_pages_from(table, 0);
    atomic_store(&table->page_size, 0);
    return sums_adopt_page_size(&table->page_size, count);
}

/// The sum goes first: when the write fails or is torn the page is a wrong one until it is written whole.
static int write_page(const struct shim_file *file, const void *bytes, int count, sqlite3_int64 offset) {
    struct sums_table *table = file->table;
    if (takes_page(table, count, offset)) {
        int64_t place = offset / count;
        int code = sums_set_page(table, place, sums_of_page(bytes, (uint32_t)count, (uint64_t)place));
        if (code != SQLITE_OK) return code;
    } else if (table->state != PAGE_SUMS_NEW) {
        sqlite3_log(SQLITE_IOERR_WRITE, "page sums of %s: %d bytes are not a page", table->path, count);
        return SQLITE_IOERR_WRITE;
    }
    return file->real->pMethods->xWrite(file->real, bytes, count, offset);
}

int database_write(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset) {
    struct shim_file *file = shim_of(base);
    pthread_mutex_lock(&file->table->mutex);
    int code = write_page(file, bytes, count, offset);
    pthread_mutex_unlock(&file->table->mutex);
    return code;
}

int database_truncate(sqlite3_file *base, sqlite3_int64 size) {
    struct shim_file *file = shim_of(base);
    struct sums_table *table = file->table;
    pthread_mutex_lock(&table->mutex);
    uint32_t page_size = atomic_load(&table->page_size);
    if (page_size != 0) sums_clear_pages_from(table, size / page_size);
    int code = file->real->pMethods->xTruncate(file->real, size);
    pthread_mutex_unlock(&table->mutex);
    return code;
}

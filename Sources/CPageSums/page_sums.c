#include "sums.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/// Room for what a header says of the page size.
enum { HEADER_BYTES = 100, AT_HEADER_PAGE_SIZE = 16 };

// MARK: - The file below

static int open_below(const char *path, sqlite3_file **opened) {
    sqlite3_vfs *base = sums_base();
    sqlite3_file *file = calloc(1, (size_t)base->szOsFile);
    if (file == NULL) return SQLITE_IOERR_NOMEM;
    int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READONLY;
    int code = base->xOpen(base, path, file, flags, &flags);
    if (code != SQLITE_OK) {
        if (file->pMethods != NULL) file->pMethods->xClose(file);
        free(file);
        return code;
    }
    *opened = file;
    return SQLITE_OK;
}

static void close_below(sqlite3_file *file) {
    file->pMethods->xClose(file);
    free(file);
}

static int damage_of(const struct sums_table *table, int64_t place) {
    sqlite3_log(
        SQLITE_IOERR_DATA, "page sums of %s: page %lld is not what was written", table->path, (long long)place + 1);
    return SQLITE_IOERR_DATA;
}

/// The page size that a database's header tells; 0 when it tells none.
static int64_t page_size_of_header(const unsigned char *header) {
    if (memcmp(header, "SQLite format 3", 16) != 0) return 0;
    int64_t size = (int64_t)header[AT_HEADER_PAGE_SIZE] << 8 | header[AT_HEADER_PAGE_SIZE + 1];
    return size == 1 ? PAGE_BYTES_MAX : size;
}

// MARK: - Building

static int learn_page_size(struct sums_table *table, sqlite3_file *file) {
    unsigned char header[HEADER_BYTES];
    int code = file->pMethods->xRead(file, header, HEADER_BYTES, 0);
    if (code == SQLITE_IOERR_SHORT_READ) return SQLITE_NOTADB;
    if (code != SQLITE_OK) return code;
    int64_t size = page_size_of_header(header);
    if (sums_adopt_page_size(&table->page_size, size)) return SQLITE_OK;
    return atomic_load(&table->page_size) == 0 ? SQLITE_NOTADB : damage_of(table, 0);
}

static int sum_pages(struct sums_table *table, sqlite3_file *file, unsigned char *bytes) {
    uint32_t page_size = atomic_load(&table->page_size);
    sqlite3_int64 size = 0;
    int code = file->pMethods->xFileSize(file, &size);
    if (code != SQLITE_OK) return code;
    int64_t pages = size / page_size;
    for (int64_t place = pages; place < table->pages.end; place++) {
        if (sum_array_get(&table->pages, place) != SUM_UNKNOWN) return damage_of(table, place);
    }
    for (int64_t place = 0; place < pages; place++) {
        code = file->pMethods->xRead(file, bytes, (int)page_size, place * page_size);
        if (code != SQLITE_OK) return code;
        uint32_t known = sum_array_get(&table->pages, place);
        uint32_t sum = sums_of_page(bytes, page_size, (uint64_t)place);
        if (known != SUM_UNKNOWN && known != sum) return damage_of(table, place);
        code = sums_set_page(table, place, sum);
        if (code != SQLITE_OK) return code;
    }
    return SQLITE_OK;
}

static int build(struct sums_table *table) {
    sqlite3_file *file;
    int code = open_below(table->path, &file);
    if (code != SQLITE_OK) return code;
    code = learn_page_size(table, file);
    if (code == SQLITE_OK) {
        unsigned char *bytes = malloc(atomic_load(&table->page_size));
        code = bytes == NULL ? SQLITE_IOERR_NOMEM : sum_pages(table, file, bytes);
        free(bytes);
    }
    close_below(file);
    return code == SQLITE_OK ? sidecar_create(table) : code;
}

// MARK: - Verifying

static int verify_pages(const struct sums_table *table, sqlite3_file *file, unsigned char *bytes, int64_t *page) {
    uint32_t page_size = atomic_load(&table->page_size);
    for (int64_t place = 0; place < table->pages.end; place++) {
        uint32_t known = sum_array_get(&table->pages, place);
        if (known == SUM_UNKNOWN) continue;
        int code = file->pMethods->xRead(file, bytes, (int)page_size, place * page_size);
        if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return code;
        if (code == SQLITE_OK && sums_of_page(bytes, page_size, (uint64_t)place) == known) continue;
        *page = place + 1;
        return damage_of(table, place);
    }
    return SQLITE_OK;
}

static int verify(const struct sums_table *table, int64_t *page) {
    if (atomic_load(&table->page_size) == 0) return SQLITE_OK;
    sqlite3_file *file;
    int code = open_below(table->path, &file);
    if (code != SQLITE_OK) return code;
    unsigned char *bytes = malloc(atomic_load(&table->page_size));
    code = bytes == NULL ? SQLITE_IOERR_NOMEM : verify_pages(table, file, bytes, page);
    free(bytes);
    close_below(file);
    return code;
}

// MARK: - Paths

/// The path under which SQLite opens the file; freed by the caller.
static int full_path(const char *path, char **full) {
    int code = page_sums_register();
    if (code != SQLITE_OK) return code;
    sqlite3_vfs *base = sums_base();
    int bytes = base->mxPathname + 1;
    *full = calloc(1, (size_t)bytes);
    if (*full == NULL) return SQLITE_IOERR_NOMEM;
    code = base->xFullPathname(base, path, bytes, *full);
    // A symbolic link was followed.
    if (code == SQLITE_OK_SYMLINK) code = SQLITE_OK;
    if (code != SQLITE_OK) free(*full);
    return code;
}

static int acquire(const char *path, struct sums_table **table) {
    char *full;
    int code = full_path(path, &full);
    if (code != SQLITE_OK) return code;
    code = sums_acquire(full, table);
    free(full);
    return code;
}

/// NULL in `*table` when the file is not open.
static int find(const char *path, struct sums_table **table) {
    char *full;
    int code = full_path(path, &full);
    if (code != SQLITE_OK) return code;
    *table = sums_find(full, strlen(full));
    free(full);
    return SQLITE_OK;
}

// MARK: - What others call

enum page_sums_state page_sums_state(const char *path) {
    struct sums_table *table;
    if (acquire(path, &table) != SQLITE_OK) return PAGE_SUMS_UNREADABLE;
    pthread_mutex_lock(&table->mutex);
    enum page_sums_state state = table->state;
    pthread_mutex_unlock(&table->mutex);
    sums_release(table);
    return state;
}

int page_sums_build(const char *path) {
    struct sums_table *table;
    int code = acquire(path, &table);
    if (code != SQLITE_OK) return code;
    pthread_mutex_lock(&table->mutex);
    code = build(table);
    pthread_mutex_unlock(&table->mutex);
    sums_release(table);
    return code;
}

int page_sums_save(const char *path) {
    struct sums_table *table;
    int code = find(path, &table);
    if (code != SQLITE_OK) return code;
    if (table == NULL) return SQLITE_MISUSE;
    pthread_mutex_lock(&table->mutex);
    code = table->state == PAGE_SUMS_NEW ? SQLITE_MISUSE : sidecar_save(table);
    pthread_mutex_unlock(&table->mutex);
    sums_release(table);
    return code;
}

int page_sums_forget(const char *path) {
    char *full;
    int code = full_path(path, &full);
    if (code != SQLITE_OK) return code;
    code = sidecar_remove(full);
    if (code == SQLITE_OK) sums_detach(full);
    free(full);
    return code;
}

int page_sums_verify(const char *path, int64_t *page) {
    *page = 0;
    struct sums_table *table;
    int code = acquire(path, &table);
    if (code != SQLITE_OK) return code;
    code = verify(table, page);
    sums_release(table);
    return code;
}

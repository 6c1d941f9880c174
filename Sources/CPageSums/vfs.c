#include "shim.h"

#include <string.h>

static sqlite3_file *real_of(sqlite3_file *file) {
    return shim_of(file)->real;
}

// MARK: - What is passed on

static int file_close(sqlite3_file *file) {
    int code = real_of(file)->pMethods->xClose(real_of(file));
    sums_release(shim_of(file)->table);
    return code;
}

static int database_sync(sqlite3_file *file, int flags) {
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *is_reserved) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), is_reserved);
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_characteristics(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int file_shm_map(sqlite3_file *file, int region, int bytes, int extend, void volatile **mapped) {
    return real_of(file)->pMethods->xShmMap(real_of(file), region, bytes, extend, mapped);
}

static int file_shm_lock(sqlite3_file *file, int first, int count, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), first, count, flags);
}

static void file_shm_barrier(sqlite3_file *file) {
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int deletes) {
    return real_of(file)->pMethods->xShmUnmap(real_of(file), deletes);
}

// Version 2 has no xFetch: pages in a memory map would be read without being compared.
#define METHODS(version, reads, writes, truncates, syncs)                                                              \
    {                                                                                                                  \
        .iVersion = (version), .xClose = file_close, .xRead = (reads), .xWrite = (writes), .xTruncate = (truncates),   \
        .xSync = (syncs), .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock,                          \
        .xCheckReservedLock = file_check_reserved, .xFileControl = file_control, .xSectorSize = file_sector_size,      \
        .xDeviceCharacteristics = file_characteristics, .xShmMap = file_shm_map, .xShmLock = file_shm_lock,            \
        .xShmBarrier = file_shm_barrier, .xShmUnmap = file_shm_unmap,                                                  \
    }

// A base whose files are of version 1 has no shared memory, and SQLite must know.
static const sqlite3_io_methods database_methods[] = {
    METHODS(1, database_read, database_write, database_truncate, database_sync),
    METHODS(2, database_read, database_write, database_truncate, database_sync),
};
static const sqlite3_io_methods log_methods[] = {
    METHODS(1, log_read, log_write, log_truncate, log_sync),
    METHODS(2, log_read, log_write, log_truncate, log_sync),
};

// MARK: - The file system

static const char log_suffix[] = "-wal";

static sqlite3_vfs *base_of(sqlite3_vfs *vfs) {
    return vfs->pAppData;
}

/// The table of the database whose log this is, with one more reference; NULL when it is none or not open.
static struct sums_table *table_of_log(const char *path) {
    size_t length = strlen(path), end = sizeof log_suffix - 1;
    if (length <= end || memcmp(path + length - end, log_suffix, end) != 0) return NULL;
    return sums_find(path, length - end);
}

/// Opens the base's file behind `file`, whose table's reference it takes over or gives back.
static int open_shim(sqlite3_vfs *vfs, const char *path, struct shim_file *file, int flags, int *flags_out) {
    file->real = (sqlite3_file *)(file + 1);
    file->real->pMethods = NULL;
    int code = base_of(vfs)->xOpen(base_of(vfs), path, file->real, flags, flags_out);
    if (code != SQLITE_OK) {
        if (file->real->pMethods != NULL) file->real->pMethods->xClose(file->real);
        sums_release(file->table);
        return code;
    }
    bool has_shared_memory = file->real->pMethods->iVersion >= 2;
    bool is_database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    file->base.pMethods = is_database ? &database_methods[has_shared_memory] : &log_methods[has_shared_memory];
    return SQLITE_OK;
}

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *flags_out) {
    struct shim_file *file = shim_of(base);
    base->pMethods = NULL;
    file->table = NULL;
    if (path != NULL && (flags & SQLITE_OPEN_MAIN_DB) != 0) {
        int code = sums_acquire(path, &file->table);
        if (code != SQLITE_OK) return code;
    } else if (path != NULL && (flags & SQLITE_OPEN_WAL) != 0) {
        file->table = table_of_log(path);
    }
    if (file->table == NULL) return base_of(vfs)->xOpen(base_of(vfs), path, base, flags, flags_out);
    return open_shim(vfs, path, file, flags, flags_out);
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int syncs_directory) {
    struct sums_table *table = table_of_log(path);
    if (table == NULL) return base_of(vfs)->xDelete(base_of(vfs), path, syncs_directory);
    int code = log_delete(table, base_of(vfs), path, syncs_directory);
    sums_release(table);
    return code;
}

static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *answer) {
    return base_of(vfs)->xAccess(base_of(vfs), path, flags, answer);
}

static int full_path(sqlite3_vfs *vfs, const char *path, int bytes, char *out) {
    return base_of(vfs)->xFullPathname(base_of(vfs), path, bytes, out);
}

static void *open_library(sqlite3_vfs *vfs, const char *path) {
    return base_of(vfs)->xDlOpen(base_of(vfs), path);
}

static void library_error(sqlite3_vfs *vfs, int bytes, char *message) {
    base_of(vfs)->xDlError(base_of(vfs), bytes, message);
}

static void (*library_symbol(sqlite3_vfs *vfs, void *library, const char *name))(void) {
    return base_of(vfs)->xDlSym(base_of(vfs), library, name);
}

static void close_library(sqlite3_vfs *vfs, void *library) {
    base_of(vfs)->xDlClose(base_of(vfs), library);
}

static int randomness(sqlite3_vfs *vfs, int bytes, char *out) {
    return base_of(vfs)->xRandomness(base_of(vfs), bytes, out);
}

static int sleep_microseconds(sqlite3_vfs *vfs, int microseconds) {
    return base_of(vfs)->xSleep(base_of(vfs), microseconds);
}

static int current_time(sqlite3_vfs *vfs, double *days) {
    return base_of(vfs)->xCurrentTime(base_of(vfs), days);
}

static int last_error(sqlite3_vfs *vfs, int bytes, char *message) {
    return base_of(vfs)->xGetLastError(base_of(vfs), bytes, message);
}

static int current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *time) {
    return base_of(vfs)->xCurrentTimeInt64(base_of(vfs), time);
}

static sqlite3_vfs page_sums_vfs = {
    .zName = "page-sums",
    .xOpen = open_file,
    .xDelete = delete_file,
    .xAccess = access_file,
    .xFullPathname = full_path,
    .xDlOpen = open_library,
    .xDlError = library_error,
    .xDlSym = library_symbol,
    .xDlClose = close_library,
    .xRandomness = randomness,
    .xSleep = sleep_microseconds,
    .xCurrentTime = current_time,
    .xGetLastError = last_error,
    .xCurrentTimeInt64 = current_time_int64,
};

sqlite3_vfs *sums_base(void) {
    return base_of(&page_sums_vfs);
}

static pthread_mutex_t registration = PTHREAD_MUTEX_INITIALIZER;
static bool is_registered;

static int register_once(void) {
    sqlite3_vfs *base = sqlite3_vfs_find(NULL);
    if (base == NULL) return SQLITE_ERROR;
    sums_crc_prepare();
    page_sums_vfs.iVersion = base->iVersion < 2 ? 1 : 2;
    page_sums_vfs.szOsFile = (int)sizeof(struct shim_file) + base->szOsFile;
    page_sums_vfs.mxPathname = base->mxPathname;
    page_sums_vfs.pAppData = base;
    return sqlite3_vfs_register(&page_sums_vfs, 0);
}

int page_sums_register(void) {
    pthread_mutex_lock(&registration);
    int code = is_registered ? SQLITE_OK : register_once();
    is_registered = code == SQLITE_OK;
    pthread_mutex_unlock(&registration);
    return code;
}

#include "disk.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

struct vfs_file {
    sqlite3_file base;
    struct sim_handle handle;
    /// SQLite's, valid until the file is closed; NULL for a private file.
    const char *path;
    /// The first sync makes the file's name durable too.
    bool syncs_directory;
    bool is_deleted_on_close;
};

enum { PATH_BYTES_MAX = 512 };

static struct sim_random vfs_random;
/// Milliseconds of the Julian calendar, SQLite's own.
static int64_t vfs_time;
static const int64_t julian_of_1970 = 210866760000000;

void sim_vfs_set_seed(uint64_t seed) {
    vfs_random.state = seed;
}

void sim_vfs_set_time(int64_t milliseconds) {
    vfs_time = julian_of_1970 + milliseconds;
}

static struct vfs_file *file_of(sqlite3_file *base) {
    return (struct vfs_file *)base;
}

/// The code for an errno; `otherwise` for those that say no more.
static int code_of(int error, int otherwise) {
    switch (error) {
    case 0: return SQLITE_OK;
    case ENOSPC:
    case EFBIG: return SQLITE_FULL;
    case EBADF: return SQLITE_READONLY;
    default: return otherwise;
    }
}

// MARK: - A file

static int file_close(sqlite3_file *base) {
    struct vfs_file *file = file_of(base);
    bool is_stale = sim_is_stale(&file->handle);
    sim_close(&file->handle);
    if (file->is_deleted_on_close && !is_stale) sim_unlink(file->path);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *bytes, int count, sqlite3_int64 offset) {
    int64_t got = 0;
    if (sim_read(&file_of(base)->handle, bytes, count, offset, &got) != 0) return SQLITE_IOERR_READ;
    if (got == count) return SQLITE_OK;
    memset((char *)bytes + got, 0, (size_t)(count - got));
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset) {
    return code_of(sim_write(&file_of(base)->handle, bytes, count, offset), SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size) {
    return code_of(sim_truncate(&file_of(base)->handle, size), SQLITE_IOERR_TRUNCATE);
}

static int file_sync(sqlite3_file *base, int flags) {
    (void)flags;
    struct vfs_file *file = file_of(base);
    if (sim_sync(&file->handle) != 0) return SQLITE_IOERR_FSYNC;
    if (!file->syncs_directory) return SQLITE_OK;
    if (sim_sync_parent(file->path) != 0) return SQLITE_IOERR_DIR_FSYNC;
    file->syncs_directory = false;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size) {
    struct sim_handle *handle = &file_of(base)->handle;
    if (sim_is_stale(handle)) return SQLITE_IOERR_FSTAT;
    *size = handle->inode->size;
    return SQLITE_OK;
}

static int file_lock(sqlite3_file *base, int level) {
    struct sim_handle *handle = &file_of(base)->handle;
    if (sim_is_stale(handle)) return SQLITE_IOERR_LOCK;
    return sim_lock(handle, level) ? SQLITE_OK : SQLITE_BUSY;
}

static int file_unlock(sqlite3_file *base, int level) {
    struct sim_handle *handle = &file_of(base)->handle;
    if (sim_is_stale(handle)) return SQLITE_IOERR_UNLOCK;
    sim_unlock(handle, level);
    return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *base, int *is_reserved) {
    struct sim_handle *handle = &file_of(base)->handle;
    if (sim_is_stale(handle)) return SQLITE_IOERR_CHECKRESERVEDLOCK;
    *is_reserved = handle->inode->writer != NULL;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int operation, void *argument) {
    struct vfs_file *file = file_of(base);
    struct sim_handle *handle = &file->handle;
    if (sim_is_stale(handle)) return SQLITE_NOTFOUND;
    switch (operation) {
    case SQLITE_FCNTL_LOCKSTATE: *(int *)argument = handle->level; return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED:
        *(int *)argument =
            file->path != NULL && sim_table_find(&handle->machine->table, file->path) != handle->inode;
        return SQLITE_OK;
    default: return SQLITE_NOTFOUND;
    }
}

static int file_sector_size(sqlite3_file *base) {
    (void)base;
    return SIM_SECTOR;
}

static int file_characteristics(sqlite3_file *base) {
    (void)base;
    return 0;
}

static int file_shm_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **mapped) {
    struct sim_handle *handle = &file_of(base)->handle;
    *mapped = NULL;
    if (sim_is_stale(handle)) return SQLITE_IOERR_SHMMAP;
    *mapped = sim_shm_map(handle, region, bytes, extend != 0);
    return SQLITE_OK;
}

static int file_shm_lock(sqlite3_file *base, int first, int count, int flags) {
    struct sim_handle *handle = &file_of(base)->handle;
    if (sim_is_stale(handle) || handle->shm == NULL) return SQLITE_IOERR_SHMLOCK;
    unsigned slots = ((1u << count) - 1) << first;
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        sim_shm_unlock(handle, slots);
        return SQLITE_OK;
    }
    return sim_shm_lock(handle, slots, (flags & SQLITE_SHM_EXCLUSIVE) != 0) ? SQLITE_OK : SQLITE_BUSY;
}

static void file_shm_barrier(sqlite3_file *base) {
    (void)base;
}

static int file_shm_unmap(sqlite3_file *base, int deletes) {
    (void)deletes;
    sim_shm_unmap(&file_of(base)->handle);
    return SQLITE_OK;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

// MARK: - The file system

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *flags_out) {
    (void)vfs;
    struct vfs_file *file = file_of(base);
    *file = (struct vfs_file){.path = path};
    if (path == NULL) {
        sim_open_private(&file->handle);
    } else {
        int ways = (flags & SQLITE_OPEN_READWRITE) != 0 ? SIM_OPEN_WRITE : 0;
        if ((flags & SQLITE_OPEN_CREATE) != 0) ways |= SIM_OPEN_CREATE;
        if ((flags & SQLITE_OPEN_EXCLUSIVE) != 0) ways |= SIM_OPEN_EXCLUSIVE;
        int error = sim_open(&file->handle, path, ways);
        if (error != 0) return code_of(error, error == EIO ? SQLITE_IOERR : SQLITE_CANTOPEN);
        const int journals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
        file->syncs_directory = (flags & SQLITE_OPEN_CREATE) != 0 && (flags & journals) != 0;
        file->is_deleted_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    }
    if (flags_out != NULL) *flags_out = flags;
    file->base.pMethods = &file_methods;
    return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int syncs_directory) {
    (void)vfs;
    int error = sim_unlink(path);
    if (error != 0) return error == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    if (syncs_directory && sim_sync_parent(path) != 0) return SQLITE_IOERR_DIR_FSYNC;
    return SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *answer) {
    (void)vfs;
    struct sim_machine *machine = sim_machine_of(path);
    if (machine != NULL && machine->is_dead) return SQLITE_IOERR_ACCESS;
    struct sim_inode *inode = machine == NULL ? NULL : sim_table_find(&machine->table, path);
    // SQLite takes an empty journal for none.
    *answer = inode != NULL && (flags != SQLITE_ACCESS_EXISTS || inode->size > 0);
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *path, int bytes, char *out) {
    (void)vfs;
    size_t needed = strlen(path) + 1;
    if (needed > (size_t)bytes) return SQLITE_CANTOPEN;
    memcpy(out, path, needed);
    return SQLITE_OK;
}

static void *open_library(sqlite3_vfs *vfs, const char *path) {
    (void)vfs;
    (void)path;
    return NULL;
}

static void library_error(sqlite3_vfs *vfs, int bytes, char *message) {
    (void)vfs;
    sqlite3_snprintf(bytes, message, "the simulated disk has no libraries");
}

static void (*library_symbol(sqlite3_vfs *vfs, void *library, const char *name))(void) {
    (void)vfs;
    (void)library;
    (void)name;
    return NULL;
}

static void close_library(sqlite3_vfs *vfs, void *library) {
    (void)vfs;
    (void)library;
}

static int randomness(sqlite3_vfs *vfs, int bytes, char *out) {
    (void)vfs;
    for (int i = 0; i < bytes; i++) out[i] = (char)(sim_next(&vfs_random) >> 56);
    return bytes;
}

static int sleep_microseconds(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *time) {
    (void)vfs;
    *time = vfs_time;
    return SQLITE_OK;
}

static int current_time(sqlite3_vfs *vfs, double *days) {
    (void)vfs;
    *days = (double)vfs_time / 86400000.0;
    return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int bytes, char *message) {
    (void)vfs;
    (void)bytes;
    (void)message;
    return 0;
}

static sqlite3_vfs simulated_vfs = {
    .iVersion = 2,
    .szOsFile = sizeof(struct vfs_file),
    .mxPathname = PATH_BYTES_MAX,
    .zName = "simulated",
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

int sim_vfs_register(void) {
    return sqlite3_vfs_register(&simulated_vfs, 1);
}

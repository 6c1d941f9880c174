#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int posix_open(const char *path, int flags, unsigned mode) {
    return open(path, flags | O_CLOEXEC, (mode_t)mode);
}

static int64_t posix_size(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? (int64_t)status.st_size : -1;
}

static int posix_lock(int descriptor) {
    return flock(descriptor, LOCK_EX | LOCK_NB);
}

static int posix_exists(const char *path) {
    return access(path, F_OK) == 0;
}

static int posix_make_directory(const char *path, unsigned mode) {
    return mkdir(path, (mode_t)mode);
}

static int posix_directory_mode(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return -1;
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return (int)(status.st_mode & 07777);
}

/// Closes without losing the errno of what failed before.
static int posix_close_keeping_error(int descriptor, int result) {
    int error = errno;
    close(descriptor);
    errno = error;
    return result;
}

static int posix_sync_directory(const char *path) {
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return -1;
    return posix_close_keeping_error(descriptor, fsync(descriptor));
}

static int posix_names(const char *directory, void *context, void (*each)(void *context, const char *name)) {
    DIR *stream = opendir(directory);
    if (stream == NULL) return -1;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) each(context, entry->d_name);
    }
    int error = errno;
    closedir(stream);
    errno = error;
    return error == 0 ? 0 : -1;
}

int weft_exchange_names(const char *one, const char *other) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
}

static const struct weft_files posix_files = {
    .open = posix_open,
    .close = close,
    .pread = pread,
    .pwrite = pwrite,
    .ftruncate = ftruncate,
    .fdatasync = fdatasync,
    .size = posix_size,
    .lock = posix_lock,
    .exists = posix_exists,
    .unlink = unlink,
    .rename = rename,
    .make_directory = posix_make_directory,
    .directory_mode = posix_directory_mode,
    .sync_directory = posix_sync_directory,
    .names = posix_names,
};

static const struct weft_files *files_in_use = &posix_files;

const struct weft_files *weft_files(void) {
    return files_in_use;
}

void weft_files_set(const struct weft_files *files) {
    files_in_use = files != NULL ? files : &posix_files;
}

#pragma once

#include <stdint.h>
#include <sys/types.h>

/// The calls by which ordinary files are used. All answer -1 and set errno when they fail, unless said otherwise.
struct weft_files {
    /// A descriptor that a child process does not inherit. Flags and mode are those of open(2).
    int (*open)(const char *path, int flags, unsigned mode);
    /// Gives a descriptor back, and its lock.
    int (*close)(int descriptor);
    /// The bytes read; fewer than asked for at the file's end.
    ssize_t (*pread)(int descriptor, void *bytes, size_t count, off_t offset);
    /// The bytes written; can be fewer than asked for.
    ssize_t (*pwrite)(int descriptor, const void *bytes, size_t count, off_t offset);
    /// Cuts or extends a file to `size` bytes.
    int (*ftruncate)(int descriptor, off_t size);
    /// Waits until what was written is on the device.
    int (*fdatasync)(int descriptor);
    /// The file's size in bytes.
    int64_t (*size)(int descriptor);
    /// Takes the file for this descriptor alone, without waiting: EWOULDBLOCK when another has it.
    int (*lock)(int descriptor);
    /// 1 when a file or directory has this path, otherwise 0.
    int (*exists)(const char *path);
    /// Removes a name.
    int (*unlink)(const char *path);
    /// Gives a file another name, replacing what has it.
    int (*rename)(const char *from, const char *to);
    /// Makes one directory; EEXIST when the path is taken.
    int (*make_directory)(const char *path, unsigned mode);
    /// The permission bits of a directory; ENOTDIR when it is none.
    int (*directory_mode)(const char *path);
    /// Waits until the names in a directory are on the device.
    int (*sync_directory)(const char *path);
    /// Calls `each` for every name in a directory but . and .., in no special order. `each` must not use files itself.
    int (*names)(const char *directory, void *context, void (*each)(void *context, const char *name));
};

/// Has two paths change places at once. Not one of the calls that can be set.
int weft_exchange_names(const char *one, const char *other);

/// The calls in use: the operating system's, unless others were set.
const struct weft_files *weft_files(void);

/// Replaces the calls in use; NULL brings the operating system's back. Call it before any thread starts and before
/// the first file is opened; `files` must stay valid.
void weft_files_set(const struct weft_files *files);

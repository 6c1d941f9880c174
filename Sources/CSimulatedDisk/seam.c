#include "disk.h"
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

// A descriptor is a mark, a generation and a place in the table: one that was given back never works again.
enum { PLACES = 1 << 12, GENERATIONS = 1 << 18, MARK = 1 << 30 };

struct place {
    struct sim_handle handle;
    unsigned generation;
    bool is_used;
};

static struct place places[PLACES];
static int places_in_use;
/// Every place below is in use.
static int first_free;

static int answer(int error) {
    if (error == 0) return 0;
    errno = error;
    return -1;
}

static struct place *place_of(int descriptor) {
    struct place *place = &places[descriptor & (PLACES - 1)];
    bool is_right = (descriptor & MARK) != 0 && place->is_used
        && place->generation == ((unsigned)descriptor / PLACES) % GENERATIONS;
    return is_right ? place : NULL;
}

static void give_back(struct place *place) {
    sim_close(&place->handle);
    place->is_used = false;
    place->generation = (place->generation + 1) % GENERATIONS;
    places_in_use--;
    if (place - places < first_free) first_free = (int)(place - places);
}

void sim_files_reset(void) {
    for (int i = 0; i < PLACES && places_in_use > 0; i++) {
        if (places[i].is_used) give_back(&places[i]);
    }
}

static int files_open(const char *path, int flags, unsigned mode) {
    (void)mode;
    int number = first_free;
    while (number < PLACES && places[number].is_used) number++;
    first_free = number;
    if (number == PLACES) return answer(EMFILE);
    struct place *place = &places[number];
    int ways = (flags & O_ACCMODE) != O_RDONLY ? SIM_OPEN_WRITE : 0;
    if ((flags & O_CREAT) != 0) ways |= SIM_OPEN_CREATE;
    if ((flags & O_EXCL) != 0) ways |= SIM_OPEN_EXCLUSIVE;
    if ((flags & O_TRUNC) != 0) ways |= SIM_OPEN_TRUNCATE;
    int error = sim_open(&place->handle, path, ways);
    if (error != 0) return answer(error);
    place->is_used = true;
    places_in_use++;
    return MARK | (int)(place->generation * PLACES) | number;
}

static int files_close(int descriptor) {
    struct place *place = place_of(descriptor);
    if (place == NULL) return answer(EBADF);
    give_back(place);
    return 0;
}

static ssize_t files_pread(int descriptor, void *bytes, size_t count, off_t offset) {
    struct place *place = place_of(descriptor);
    if (place == NULL) return answer(EBADF);
    int64_t got = 0;
    int64_t wanted = count > INT64_MAX ? INT64_MAX : (int64_t)count;
    int error = sim_read(&place->handle, bytes, wanted, offset, &got);
    return error != 0 ? answer(error) : (ssize_t)got;
}

static ssize_t files_pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    struct place *place = place_of(descriptor);
    if (place == NULL) return answer(EBADF);
    if (count > (size_t)sim_file_bytes_max) return answer(EFBIG);
    int error = sim_write(&place->handle, bytes, (int64_t)count, offset);
    return error != 0 ? answer(error) : (ssize_t)count;
}

static int files_ftruncate(int descriptor, off_t size) {
    struct place *place = place_of(descriptor);
    return answer(place == NULL ? EBADF : sim_truncate(&place->handle, size));
}

static int files_fdatasync(int descriptor) {
    struct place *place = place_of(descriptor);
    return answer(place == NULL ? EBADF : sim_sync(&place->handle));
}

static int64_t files_size(int descriptor) {
    struct place *place = place_of(descriptor);
    if (place == NULL) return answer(EBADF);
    if (sim_is_stale(&place->handle)) return answer(EIO);
    return place->handle.inode->size;
}

static int files_lock(int descriptor) {
    struct place *place = place_of(descriptor);
    if (place == NULL) return answer(EBADF);
    if (sim_is_stale(&place->handle)) return answer(EIO);
    struct sim_inode *inode = place->handle.inode;
    if (inode->owner != NULL && inode->owner != &place->handle) return answer(EWOULDBLOCK);
    inode->owner = &place->handle;
    return 0;
}

static bool lies_in(const char *path, const char *directory, size_t length) {
    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static size_t length_of_directory(const char *path) {
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') length--;
    return length;
}

static bool is_file(const struct sim_machine *machine, const char *path) {
    return sim_table_find(&machine->table, path) != NULL;
}

static int files_exists(const char *path) {
    struct sim_machine *machine = sim_machine_of(path);
    if (machine == NULL || machine->is_dead) return 0;
    if (is_file(machine, path)) return 1;
    size_t length = length_of_directory(path);
    if (path[length] == '/') return 1;
    for (int i = 0; i < machine->table.count; i++) {
        if (lies_in(machine->table.entries[i].path, path, length)) return 1;
    }
    return 0;
}

static int files_unlink(const char *path) {
    return answer(sim_unlink(path));
}

static int files_rename(const char *from, const char *to) {
    return answer(sim_rename(from, to));
}

static int files_make_directory(const char *path, unsigned mode) {
    (void)mode;
    struct sim_machine *machine = sim_machine_of(path);
    if (machine == NULL) return answer(ENOENT);
    if (machine->is_dead) return answer(EIO);
    return answer(is_file(machine, path) ? EEXIST : 0);
}

static int files_directory_mode(const char *path) {
    struct sim_machine *machine = sim_machine_of(path);
    if (machine == NULL) return answer(ENOENT);
    if (machine->is_dead) return answer(EIO);
    return is_file(machine, path) ? answer(ENOTDIR) : 0700;
}

static int files_sync_directory(const char *path) {
    return answer(sim_sync_directory(path));
}

static int files_names(const char *directory, void *context, void (*each)(void *context, const char *name)) {
    struct sim_machine *machine = sim_machine_of(directory);
    if (machine == NULL) return answer(ENOENT);
    if (machine->is_dead) return answer(EIO);
    size_t length = length_of_directory(directory);
    for (int i = 0; i < machine->table.count; i++) {
        const char *path = machine->table.entries[i].path;
        if (!lies_in(path, directory, length)) continue;
        const char *name = path + length + 1;
        if (strchr(name, '/') == NULL) each(context, name);
    }
    return 0;
}

static const struct weft_files simulated_files = {
    .open = files_open,
    .close = files_close,
    .pread = files_pread,
    .pwrite = files_pwrite,
    .ftruncate = files_ftruncate,
    .fdatasync = files_fdatasync,
    .size = files_size,
    .lock = files_lock,
    .exists = files_exists,
    .unlink = files_unlink,
    .rename = files_rename,
    .make_directory = files_make_directory,
    .directory_mode = files_directory_mode,
    .sync_directory = files_sync_directory,
    .names = files_names,
};

const struct weft_files *sim_files(void) {
    return &simulated_files;
}

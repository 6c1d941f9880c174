#pragma once

#include "simulated_disk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the files of this folder share. Results are 0 or an errno.

enum { SIM_SECTOR = 512, SIM_SCRATCH = WD_MACHINES, SIM_LOCK_SLOTS = 8 };

/// Larger files are refused as if the disk were full, so that a wild offset does not take the memory of the host.
static const int64_t sim_file_bytes_max = (int64_t)1 << 30;

#define SIM_CHECK(condition, message) ((condition) ? (void)0 : sim_broken(message, __FILE__, __LINE__))

_Noreturn void sim_broken(const char *message, const char *file, int line);

void *sim_allocate(void *old, size_t bytes);
char *sim_copy_text(const char *text);

// MARK: - Chance

struct sim_random {
    uint64_t state;
};

static inline uint64_t sim_next(struct sim_random *random) {
    uint64_t x = random->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/// Evenly below `bound`, which is not 0.
static inline uint64_t sim_below(struct sim_random *random, uint64_t bound) {
    return sim_next(random) % bound;
}

static inline bool sim_coin(struct sim_random *random) {
    return sim_next(random) >> 63;
}

// MARK: - Files

struct sim_handle;

/// Memory that connections of one process share for a write-ahead log. It outlives a kill until the last stale handle
/// is closed, for SQLite keeps pointers into it.
struct sim_shm {
    int handles;
    int region_count;
    int region_bytes;
    void **regions;
    /// Per slot -1 when it is held exclusively, otherwise by how many it is shared.
    int slots[SIM_LOCK_SLOTS];
};

/// A file: what a process sees of it, and what a power cut leaves. Both images are zero beyond their size.
struct sim_inode {
    struct sim_inode *previous, *next;
    unsigned char *bytes, *durable;
    int64_t size, durable_size, capacity;
    /// Each sector that differs from the durable image is listed once, in the order of the first write.
    unsigned char *is_dirty;
    uint32_t *dirty;
    uint32_t dirty_count;
    /// A sync failed: the images may differ where nothing is listed.
    bool has_diverged;
    int names, handles;
    /// SQLite's locks: how many handles have any, who has more than a shared one, and how much.
    int sharers, level;
    const struct sim_handle *writer;
    const struct sim_handle *owner;
    struct sim_shm *shm;
};

void sim_inode_free(struct sim_inode *inode);
void sim_inode_write(struct sim_inode *inode, const void *bytes, int64_t count, int64_t offset);
void sim_inode_truncate(struct sim_inode *inode, int64_t size);
void sim_inode_sync(struct sim_inode *inode);
void sim_inode_lose_sync(struct sim_inode *inode, struct sim_random *random);

enum sim_cut { SIM_CUT_LOST, SIM_CUT_KEPT, SIM_CUT_MIXED };

/// Makes both images what the power cut leaves.
void sim_inode_cut(struct sim_inode *inode, enum sim_cut cut, uint32_t grain_sectors, struct sim_random *random);

// MARK: - Names

struct sim_entry {
    uint64_t hash;
    char *path;
    struct sim_inode *inode;
};

/// Paths and their files, sorted. Each entry counts as one name of its file.
struct sim_table {
    struct sim_entry *entries;
    int count, capacity;
};

struct sim_inode *sim_table_find(const struct sim_table *table, const char *path);
void sim_table_set(struct sim_table *table, const char *path, struct sim_inode *inode);
void sim_table_remove(struct sim_table *table, const char *path);
void sim_table_clear(struct sim_table *table);

enum sim_change_kind { SIM_CREATE, SIM_UNLINK, SIM_RENAME };

/// A change of names that no directory sync has made durable. It counts as one name of its file.
struct sim_change {
    enum sim_change_kind kind;
    bool is_chosen;
    char *path, *target;
    struct sim_inode *inode;
};

// MARK: - Machines

/// Countdowns: 0 is off, 1 strikes next.
struct sim_faults {
    int64_t crash, sync_failure, read_error, full, misdirect, lost_write;
    int64_t full_duration, full_left;
    bool crash_cuts_power;
};

struct sim_machine {
    struct sim_table table, durable;
    struct sim_change *changes;
    int change_count, change_capacity;
    struct sim_inode *inodes;
    /// Of the handles that work. Never goes back, so that no handle comes to life again.
    uint64_t incarnation;
    bool is_dead, is_full;
    struct sim_faults faults;
    struct sim_random random;
    struct wd_counts counts;
};

/// The machine of that number, the scratch disk's included, or NULL.
struct sim_machine *sim_machine_at(int number);
/// The machine that a path lies on, or NULL when it has a number that there is not.
struct sim_machine *sim_machine_of(const char *path);
struct sim_inode *sim_machine_new_inode(struct sim_machine *machine);
/// Frees a file that has neither a name nor a handle.
void sim_machine_release(struct sim_machine *machine, struct sim_inode *inode);
void sim_machine_change(
    struct sim_machine *machine, enum sim_change_kind kind, const char *path, const char *target,
    struct sim_inode *inode);
void sim_machine_commit_directory(struct sim_machine *machine, const char *path, size_t length);
void sim_machine_kill(struct sim_machine *machine);
void sim_machine_cut_power(struct sim_machine *machine, uint64_t seed);
void sim_machine_wipe(struct sim_machine *machine);

// MARK: - Operations

/// An open file of one process. Lies in memory that stays where it is until it is closed.
struct sim_handle {
    struct sim_machine *machine;
    uint64_t incarnation;
    struct sim_inode *inode;
    struct sim_shm *shm;
    int level;
    unsigned shared_slots, exclusive_slots;
    bool can_write;
    /// SQLite's name for a database or a write-ahead log: what misdirected and lost writes strike.
    bool is_database;
};

enum { SIM_OPEN_WRITE = 1, SIM_OPEN_CREATE = 2, SIM_OPEN_EXCLUSIVE = 4, SIM_OPEN_TRUNCATE = 8 };

static inline bool sim_is_stale(const struct sim_handle *handle) {
    return handle->incarnation != handle->machine->incarnation;
}

int sim_open(struct sim_handle *handle, const char *path, int flags);
/// A file without a name, gone when it is closed.
void sim_open_private(struct sim_handle *handle);
void sim_close(struct sim_handle *handle);
/// `got` is fewer than `count` at the file's end.
int sim_read(struct sim_handle *handle, void *bytes, int64_t count, int64_t offset, int64_t *got);
int sim_write(struct sim_handle *handle, const void *bytes, int64_t count, int64_t offset);
int sim_truncate(struct sim_handle *handle, int64_t size);
int sim_sync(struct sim_handle *handle);
int sim_unlink(const char *path);
int sim_rename(const char *from, const char *to);
int sim_sync_directory(const char *path);
/// Syncs the directory that `path` lies in.
int sim_sync_parent(const char *path);

// MARK: - Locks, of handles that are not stale

/// SQLite's file locks; false when another handle is in the way.
bool sim_lock(struct sim_handle *handle, int level);
void sim_unlock(struct sim_handle *handle, int level);
/// A region of shared memory, or NULL when there is none and `extend` is false.
void *sim_shm_map(struct sim_handle *handle, int region, int bytes, bool extend);
bool sim_shm_lock(struct sim_handle *handle, unsigned slots, bool exclusive);
void sim_shm_unlock(struct sim_handle *handle, unsigned slots);
/// Also for a stale handle.
void sim_shm_unmap(struct sim_handle *handle);

// MARK: - The two ways in

int sim_vfs_register(void);
void sim_vfs_set_seed(uint64_t seed);
void sim_vfs_set_time(int64_t milliseconds);
const struct weft_files *sim_files(void);
/// Gives back all descriptors.
void sim_files_reset(void);

#include "disk.h"

#include <errno.h>
#include <string.h>

/// Counts down to a fault; true when it strikes.
static bool is_due(int64_t *countdown) {
    return *countdown > 0 && --*countdown == 0;
}

/// What becomes of an operation that changes the disk.
enum fate { FATE_DONE, FATE_DIES_BEFORE, FATE_DIES_AFTER };

static bool operation_dies(struct sim_machine *machine) {
    machine->counts.operations++;
    return is_due(&machine->faults.crash);
}

static enum fate fate_of_operation(struct sim_machine *machine) {
    if (!operation_dies(machine)) return FATE_DONE;
    return sim_coin(&machine->random) ? FATE_DIES_AFTER : FATE_DIES_BEFORE;
}

/// The machine dies in an operation. Frees files: the caller must not use any after it.
static int die(struct sim_machine *machine) {
    if (machine->faults.crash_cuts_power) sim_machine_cut_power(machine, sim_next(&machine->random));
    else sim_machine_kill(machine);
    return EIO;
}

/// If something that needs space finds none; `begins` when it is of the kind that `wd_arm_full` counts.
static bool has_no_space(struct sim_machine *machine, bool begins) {
    struct sim_faults *faults = &machine->faults;
    if (begins && is_due(&faults->full)) faults->full_left = faults->full_duration;
    bool strikes = machine->is_full || faults->full_left > 0;
    if (faults->full_left > 0) faults->full_left--;
    if (strikes) machine->counts.full++;
    return strikes;
}

// MARK: - Opening

static void attach(struct sim_handle *handle, struct sim_machine *machine, struct sim_inode *inode) {
    *handle = (struct sim_handle){.machine = machine, .incarnation = machine->incarnation, .inode = inode};
    inode->handles++;
}

static int create(struct sim_machine *machine, const char *path, struct sim_inode **created) {
    enum fate fate = fate_of_operation(machine);
    if (fate == FATE_DIES_BEFORE) return die(machine);
    if (has_no_space(machine, false)) return fate == FATE_DONE ? ENOSPC : die(machine);
    struct sim_inode *inode = sim_machine_new_inode(machine);
    sim_table_set(&machine->table, path, inode);
    sim_machine_change(machine, SIM_CREATE, path, NULL, inode);
    if (fate == FATE_DIES_AFTER) return die(machine);
    *created = inode;
    return 0;
}

static bool ends_with(const char *text, const char *suffix) {
    size_t length = strlen(text), end = strlen(suffix);
    return length >= end && memcmp(text + length - end, suffix, end) == 0;
}

int sim_open(struct sim_handle *handle, const char *path, int flags) {
    struct sim_machine *machine = sim_machine_of(path);
    if (machine == NULL) return ENOENT;
    if (machine->is_dead) return EIO;
    size_t length = strlen(path);
    if (length == 0) return ENOENT;
    if (path[length - 1] == '/') return EISDIR;
    struct sim_inode *inode = sim_table_find(&machine->table, path);
    if (inode == NULL) {
        if ((flags & SIM_OPEN_CREATE) == 0) return ENOENT;
        int error = create(machine, path, &inode);
        if (error != 0) return error;
    } else if ((flags & SIM_OPEN_CREATE) != 0 && (flags & SIM_OPEN_EXCLUSIVE) != 0) {
        return EEXIST;
    }
    attach(handle, machine, inode);
    handle->can_write = (flags & SIM_OPEN_WRITE) != 0;
    handle->is_database = machine != sim_machine_at(SIM_SCRATCH) && (ends_with(path, ".db") || ends_with(path, "-wal"));
    if ((flags & SIM_OPEN_TRUNCATE) != 0 && handle->can_write && inode->size > 0) {
        int error = sim_truncate(handle, 0);
        if (error != 0) sim_close(handle);
        return error;
    }
    return 0;
}

void sim_open_private(struct sim_handle *handle) {
    struct sim_machine *scratch = sim_machine_at(SIM_SCRATCH);
    attach(handle, scratch, sim_machine_new_inode(scratch));
    handle->can_write = true;
}

void sim_close(struct sim_handle *handle) {
    sim_shm_unmap(handle);
    if (sim_is_stale(handle)) return;
    sim_unlock(handle, 0);
    struct sim_inode *inode = handle->inode;
    if (inode->owner == handle) inode->owner = NULL;
    inode->handles--;
    sim_machine_release(handle->machine, inode);
}

// MARK: - Reading and writing

int sim_read(struct sim_handle *handle, void *bytes, int64_t count, int64_t offset, int64_t *got) {
    if (sim_is_stale(handle)) return EIO;
    if (offset < 0 || count < 0) return EINVAL;
    struct sim_machine *machine = handle->machine;
    machine->counts.reads++;
    if (is_due(&machine->faults.read_error)) {
        machine->counts.read_errors++;
        return EIO;
    }
    int64_t left = handle->inode->size - offset;
    *got = left <= 0 ? 0 : left < count ? left : count;
    if (*got > 0) memcpy(bytes, handle->inode->bytes + offset, (size_t)*got);
    return 0;
}

/// Does the sectors of a write up to one that chance chooses, and dies.
static int tear(struct sim_handle *handle, const void *bytes, int64_t count, int64_t offset) {
    struct sim_machine *machine = handle->machine;
    int64_t first = offset / SIM_SECTOR;
    int64_t sectors = (offset + count + SIM_SECTOR - 1) / SIM_SECTOR - first;
    int64_t kept = (int64_t)sim_below(&machine->random, (uint64_t)sectors + 1);
    int64_t done = (first + kept) * SIM_SECTOR - offset;
    if (kept == 0) done = 0;
    if (done > count) done = count;
    bool extends = offset + done > handle->inode->size;
    if (extends && has_no_space(machine, true)) return die(machine);
    if (done > 0 && done < count) machine->counts.torn++;
    sim_inode_write(handle->inode, bytes, done, offset);
    return die(machine);
}

/// Another place in the file for a write; false when it has none.
static bool finds_other_place(struct sim_handle *handle, int64_t count, int64_t *offset) {
    int64_t places = (handle->inode->size - count) / SIM_SECTOR + 1;
    if (handle->inode->size < count || places < 2) return false;
    int64_t place = (int64_t)sim_below(&handle->machine->random, (uint64_t)places) * SIM_SECTOR;
    if (place == *offset) place = place > 0 ? place - SIM_SECTOR : SIM_SECTOR;
    *offset = place;
    return true;
}

int sim_write(struct sim_handle *handle, const void *bytes, int64_t count, int64_t offset) {
    if (sim_is_stale(handle)) return EIO;
    if (!handle->can_write) return EBADF;
    if (offset < 0 || count < 0) return EINVAL;
    if (count > sim_file_bytes_max || offset > sim_file_bytes_max - count) return EFBIG;
    if (count == 0) return 0;
    struct sim_machine *machine = handle->machine;
    struct sim_faults *faults = &machine->faults;
    machine->counts.writes++;
    if (operation_dies(machine)) return tear(handle, bytes, count, offset);
    if (offset + count > handle->inode->size && has_no_space(machine, true)) return ENOSPC;
    if (handle->is_database && is_due(&faults->lost_write)) {
        machine->counts.lost++;
        return 0;
    }
    if (handle->is_database && is_due(&faults->misdirect)) {
        if (finds_other_place(handle, count, &offset)) machine->counts.misdirected++;
        else faults->misdirect = 1;
    }
    sim_inode_write(handle->inode, bytes, count, offset);
    return 0;
}

int sim_truncate(struct sim_handle *handle, int64_t size) {
    if (sim_is_stale(handle)) return EIO;
    if (!handle->can_write || size < 0) return EINVAL;
    if (size > sim_file_bytes_max) return EFBIG;
    enum fate fate = fate_of_operation(handle->machine);
    if (fate != FATE_DIES_BEFORE) sim_inode_truncate(handle->inode, size);
    return fate == FATE_DONE ? 0 : die(handle->machine);
}

int sim_sync(struct sim_handle *handle) {
    if (sim_is_stale(handle)) return EIO;
    struct sim_machine *machine = handle->machine;
    machine->counts.syncs++;
    enum fate fate = fate_of_operation(machine);
    if (fate == FATE_DIES_BEFORE) return die(machine);
    bool fails = is_due(&machine->faults.sync_failure);
    if (fails) {
        machine->counts.sync_failures++;
        sim_inode_lose_sync(handle->inode, &machine->random);
    } else {
        sim_inode_sync(handle->inode);
    }
    if (fate == FATE_DIES_AFTER) return die(machine);
    return fails ? EIO : 0;
}

// MARK: - Names

int sim_unlink(const char *path) {
    struct sim_machine *machine = sim_machine_of(path);
    if (machine == NULL) return ENOENT;
    if (machine->is_dead) return EIO;
    struct sim_inode *inode = sim_table_find(&machine->table, path);
    if (inode == NULL) return ENOENT;
    enum fate fate = fate_of_operation(machine);
    if (fate != FATE_DIES_BEFORE) {
        sim_machine_change(machine, SIM_UNLINK, path, NULL, inode);
        sim_table_remove(&machine->table, path);
    }
    return fate == FATE_DONE ? 0 : die(machine);
}

int sim_rename(const char *from, const char *to) {
    struct sim_machine *machine = sim_machine_of(from);
    struct sim_machine *other = sim_machine_of(to);
    if (machine == NULL || other == NULL) return ENOENT;
    if (machine->is_dead || other->is_dead) return EIO;
    if (machine != other) return EXDEV;
    struct sim_inode *inode = sim_table_find(&machine->table, from);
    if (inode == NULL) return ENOENT;
    if (strcmp(from, to) == 0) return 0;
    enum fate fate = fate_of_operation(machine);
    if (fate != FATE_DIES_BEFORE) {
        struct sim_inode *replaced = sim_table_find(&machine->table, to);
        sim_machine_change(machine, SIM_RENAME, from, to, inode);
        sim_table_set(&machine->table, to, inode);
        sim_table_remove(&machine->table, from);
        if (replaced != NULL) sim_machine_release(machine, replaced);
    }
    return fate == FATE_DONE ? 0 : die(machine);
}

static int sync_directory(const char *path, size_t length) {
    struct sim_machine *machine = sim_machine_of(path);
    if (machine == NULL) return ENOENT;
    if (machine->is_dead) return EIO;
    machine->counts.directory_syncs++;
    enum fate fate = fate_of_operation(machine);
    if (fate != FATE_DIES_BEFORE) sim_machine_commit_directory(machine, path, length);
    return fate == FATE_DONE ? 0 : die(machine);
}

int sim_sync_directory(const char *path) {
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') length--;
    return sync_directory(path, length);
}

int sim_sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    return sync_directory(path, slash == NULL ? 0 : (size_t)(slash - path));
}

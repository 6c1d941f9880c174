#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim_machine machines[WD_MACHINES + 1];

void sim_broken(const char *message, const char *file, int line) {
    fprintf(stderr, "%s:%d: %s\n", file, line, message);
    abort();
}

void *sim_allocate(void *old, size_t bytes) {
    void *fresh = realloc(old, bytes);
    SIM_CHECK(fresh != NULL, "no memory for the simulated disk");
    return fresh;
}

char *sim_copy_text(const char *text) {
    size_t bytes = strlen(text) + 1;
    return memcpy(sim_allocate(NULL, bytes), text, bytes);
}

struct sim_machine *sim_machine_at(int number) {
    return number >= 0 && number <= SIM_SCRATCH ? &machines[number] : NULL;
}

struct sim_machine *sim_machine_of(const char *path) {
    if (strncmp(path, "/sim/", 5) != 0) return &machines[SIM_SCRATCH];
    int number = 0;
    const char *digit = path + 5;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        number = number * 10 + (*digit - '0');
        if (number >= WD_MACHINES) return NULL;
    }
    if (digit == path + 5) return *digit == 0 ? &machines[SIM_SCRATCH] : NULL;
    return *digit == 0 || *digit == '/' ? &machines[number] : NULL;
}

struct sim_inode *sim_machine_new_inode(struct sim_machine *machine) {
    struct sim_inode *inode = sim_allocate(NULL, sizeof *inode);
    *inode = (struct sim_inode){.next = machine->inodes};
    if (inode->next != NULL) inode->next->previous = inode;
    machine->inodes = inode;
    return inode;
}

void sim_machine_release(struct sim_machine *machine, struct sim_inode *inode) {
    SIM_CHECK(inode->names >= 0 && inode->handles >= 0, "a file has fewer than no users");
    if (inode->names > 0 || inode->handles > 0) return;
    SIM_CHECK(inode->shm == NULL && inode->sharers == 0, "a file without handles is locked");
    if (inode->next != NULL) inode->next->previous = inode->previous;
    if (inode->previous != NULL) inode->previous->next = inode->next;
    else machine->inodes = inode->next;
    sim_inode_free(inode);
}

// MARK: - Changes of names

static void free_change(struct sim_machine *machine, struct sim_change *change) {
    free(change->path);
    free(change->target);
    change->inode->names--;
    sim_machine_release(machine, change->inode);
}

/// Applies a change to the durable names.
static void commit(struct sim_machine *machine, struct sim_change *change) {
    const char *removed = change->kind == SIM_CREATE ? NULL : change->path;
    const char *added = change->kind == SIM_UNLINK ? NULL : change->kind == SIM_CREATE ? change->path : change->target;
    if (removed != NULL) sim_table_remove(&machine->durable, removed);
    if (added != NULL) {
        struct sim_inode *replaced = sim_table_find(&machine->durable, added);
        sim_table_set(&machine->durable, added, change->inode);
        if (replaced != NULL) sim_machine_release(machine, replaced);
    }
    free_change(machine, change);
}

/// Commits the changes that are chosen, in order.
static void commit_chosen(struct sim_machine *machine) {
    int left = 0;
    for (int i = 0; i < machine->change_count; i++) {
        if (machine->changes[i].is_chosen) commit(machine, &machine->changes[i]);
        else machine->changes[left++] = machine->changes[i];
    }
    machine->change_count = left;
}

static void commit_prefix(struct sim_machine *machine, int count) {
    for (int i = 0; i < count; i++) machine->changes[i].is_chosen = true;
    commit_chosen(machine);
}

void sim_machine_change(
    struct sim_machine *machine, enum sim_change_kind kind, const char *path, const char *target,
    struct sim_inode *inode) {
    enum { changes_max = 128 };
    // No file system holds changes back for ever, and each one keeps a whole file in memory.
    if (machine->change_count >= changes_max) commit_prefix(machine, changes_max / 2);
    if (machine->change_count == machine->change_capacity) {
        machine->change_capacity = machine->change_capacity > 0 ? machine->change_capacity * 2 : 8;
        machine->changes =
            sim_allocate(machine->changes, (size_t)machine->change_capacity * sizeof *machine->changes);
    }
    inode->names++;
    machine->changes[machine->change_count++] = (struct sim_change){
        kind, false, sim_copy_text(path), target == NULL ? NULL : sim_copy_text(target), inode};
}

struct directory {
    const char *path;
    size_t length;
};

static struct directory parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return (struct directory){path, slash == NULL ? 0 : (size_t)(slash - path)};
}

static bool contains(const struct directory *set, int count, struct directory directory) {
    for (int i = 0; i < count; i++) {
        if (set[i].length == directory.length && memcmp(set[i].path, directory.path, directory.length) == 0) {
            return true;
        }
    }
    return false;
}

void sim_machine_commit_directory(struct sim_machine *machine, const char *path, size_t length) {
    enum { directories_max = 16 };
    struct directory set[directories_max] = {{path, length}};
    int count = 1;
    // Backwards: a rename that is committed takes along what came before it in its other directory, which would else
    // not keep the order of its changes.
    for (int i = machine->change_count - 1; i >= 0; i--) {
        struct sim_change *change = &machine->changes[i];
        struct directory from = parent_of(change->path);
        struct directory to = change->target == NULL ? from : parent_of(change->target);
        bool has_from = contains(set, count, from);
        bool has_to = contains(set, count, to);
        if (!has_from && !has_to) continue;
        change->is_chosen = true;
        if (has_from && has_to) continue;
        if (count == directories_max) {
            commit_prefix(machine, i + 1);
            return;
        }
        set[count++] = has_from ? to : from;
    }
    commit_chosen(machine);
}

// MARK: - Death

void sim_machine_kill(struct sim_machine *machine) {
    machine->is_dead = true;
    machine->incarnation++;
    struct sim_inode *next;
    for (struct sim_inode *inode = machine->inodes; inode != NULL; inode = next) {
        next = inode->next;
        inode->handles = 0;
        inode->sharers = 0;
        inode->level = 0;
        inode->writer = NULL;
        inode->owner = NULL;
        inode->shm = NULL;
        sim_machine_release(machine, inode);
    }
}

/// Frees the files that lost their last name.
static void release_all(struct sim_machine *machine) {
    struct sim_inode *next;
    for (struct sim_inode *inode = machine->inodes; inode != NULL; inode = next) {
        next = inode->next;
        sim_machine_release(machine, inode);
    }
}

static void forget_changes(struct sim_machine *machine) {
    for (int i = 0; i < machine->change_count; i++) free_change(machine, &machine->changes[i]);
    machine->change_count = 0;
}

void sim_machine_cut_power(struct sim_machine *machine, uint64_t seed) {
    sim_machine_kill(machine);
    struct sim_random random = {seed};
    uint32_t grain_sectors = sim_coin(&random) ? 8 : 1;
    static const enum sim_cut cuts[] = {SIM_CUT_LOST, SIM_CUT_KEPT, SIM_CUT_MIXED};
    enum sim_cut cut = cuts[sim_below(&random, 3)];
    commit_prefix(machine, (int)sim_below(&random, (uint64_t)machine->change_count + 1));
    sim_table_clear(&machine->table);
    forget_changes(machine);
    for (int i = 0; i < machine->durable.count; i++) {
        struct sim_entry *entry = &machine->durable.entries[i];
        sim_inode_cut(entry->inode, cut, grain_sectors, &random);
        sim_table_set(&machine->table, entry->path, entry->inode);
    }
    release_all(machine);
}

void sim_machine_wipe(struct sim_machine *machine) {
    sim_machine_kill(machine);
    sim_table_clear(&machine->table);
    sim_table_clear(&machine->durable);
    forget_changes(machine);
    free(machine->changes);
    machine->changes = NULL;
    machine->change_capacity = 0;
    release_all(machine);
    SIM_CHECK(machine->inodes == NULL, "a file of a wiped machine is still used");
}

#include "disk.h"
#include "files.h"

#include <sqlite3.h>
#include <string.h>

static uint64_t seed_in_use;
/// 2020-01-01, so that no clock starts at an odd zero.
static const int64_t time_at_start = 1577836800000;

/// A machine that can have faults, or NULL.
static struct sim_machine *machine_at(int number) {
    return number == SIM_SCRATCH ? NULL : sim_machine_at(number);
}

int wd_install(uint64_t seed) {
    static bool is_installed;
    if (!is_installed) {
        // Without the counters of SQLite's allocator each allocation is faster; refused once SQLite is in use.
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        int code = sim_vfs_register();
        if (code != SQLITE_OK) return code;
        sim_vfs_set_time(time_at_start);
        is_installed = true;
    }
    weft_files_set(sim_files());
    wd_set_seed(seed);
    return 0;
}

void wd_set_seed(uint64_t seed) {
    seed_in_use = seed;
    struct sim_random random = {seed};
    for (int i = 0; i <= SIM_SCRATCH; i++) sim_machine_at(i)->random.state = sim_next(&random);
    sim_vfs_set_seed(sim_next(&random));
    // SQLite draws on the VFS once for its own generator; this makes it draw again.
    sqlite3_randomness(0, NULL);
}

void wd_set_time(int64_t milliseconds) {
    sim_vfs_set_time(milliseconds);
}

void wd_reset(void) {
    sim_files_reset();
    for (int i = 0; i <= SIM_SCRATCH; i++) {
        struct sim_machine *machine = sim_machine_at(i);
        sim_machine_wipe(machine);
        *machine = (struct sim_machine){.incarnation = machine->incarnation};
    }
    sim_vfs_set_time(time_at_start);
    wd_set_seed(seed_in_use);
}

// MARK: - Processes and power

void wd_kill(int machine) {
    if (machine_at(machine) != NULL) sim_machine_kill(machine_at(machine));
}

void wd_power_cut(int machine, uint64_t seed) {
    if (machine_at(machine) != NULL) sim_machine_cut_power(machine_at(machine), seed);
}

void wd_start(int machine) {
    struct sim_machine *started = machine_at(machine);
    if (started == NULL) return;
    if (!started->is_dead) sim_machine_kill(started);
    started->is_dead = false;
    started->faults = (struct sim_faults){0};
}

int wd_is_dead(int machine) {
    return machine_at(machine) != NULL && machine_at(machine)->is_dead;
}

void wd_wipe(int machine) {
    if (machine_at(machine) != NULL) sim_machine_wipe(machine_at(machine));
}

// MARK: - Faults

static int64_t countdown(int64_t number) {
    return number < 0 ? 0 : number == 0 ? 1 : number;
}

void wd_arm_crash(int machine, int64_t operations, int power_cut_style) {
    struct sim_machine *armed = machine_at(machine);
    if (armed == NULL) return;
    armed->faults.crash = countdown(operations);
    armed->faults.crash_cuts_power = power_cut_style != 0;
}

void wd_arm_sync_failure(int machine, int64_t syncs) {
    if (machine_at(machine) != NULL) machine_at(machine)->faults.sync_failure = countdown(syncs);
}

void wd_arm_read_error(int machine, int64_t reads) {
    if (machine_at(machine) != NULL) machine_at(machine)->faults.read_error = countdown(reads);
}

void wd_set_full(int machine, int on) {
    if (machine_at(machine) != NULL) machine_at(machine)->is_full = on != 0;
}

void wd_arm_full(int machine, int64_t writes, int64_t duration_writes) {
    struct sim_machine *armed = machine_at(machine);
    if (armed == NULL) return;
    armed->faults.full = countdown(writes);
    armed->faults.full_duration = duration_writes > 0 ? duration_writes : 1;
    armed->faults.full_left = 0;
}

void wd_arm_misdirect(int machine, int64_t writes) {
    if (machine_at(machine) != NULL) machine_at(machine)->faults.misdirect = countdown(writes);
}

void wd_arm_lost_write(int machine, int64_t writes) {
    if (machine_at(machine) != NULL) machine_at(machine)->faults.lost_write = countdown(writes);
}

static bool can_flip(const struct sim_entry *entry, const char *suffix) {
    size_t length = strlen(entry->path), end = strlen(suffix);
    return length >= end && strcmp(entry->path + length - end, suffix) == 0 && entry->inode->size > 0;
}

int64_t wd_flip(int machine, const char *suffix, uint64_t seed) {
    struct sim_machine *struck = machine_at(machine);
    if (struck == NULL) return -1;
    uint64_t files = 0;
    for (int i = 0; i < struck->table.count; i++) files += can_flip(&struck->table.entries[i], suffix);
    if (files == 0) return -1;
    struct sim_random random = {seed};
    uint64_t chosen = sim_below(&random, files);
    for (int i = 0; i < struck->table.count; i++) {
        struct sim_entry *entry = &struck->table.entries[i];
        if (!can_flip(entry, suffix) || chosen-- > 0) continue;
        struct sim_inode *inode = entry->inode;
        int64_t offset = (int64_t)sim_below(&random, (uint64_t)inode->size);
        unsigned char bit = (unsigned char)(1u << sim_below(&random, 8));
        inode->bytes[offset] ^= bit;
        if (offset < inode->durable_size) inode->durable[offset] ^= bit;
        struck->counts.flips++;
        return offset;
    }
    return -1;
}

// MARK: - What there is

struct wd_counts wd_counts(int machine) {
    return machine_at(machine) != NULL ? machine_at(machine)->counts : (struct wd_counts){0};
}

int64_t wd_extent(int machine) {
    struct sim_machine *asked = machine_at(machine);
    int64_t bytes = 0;
    for (int i = 0; asked != NULL && i < asked->table.count; i++) bytes += asked->table.entries[i].inode->size;
    return bytes;
}

static uint64_t add_to_digest(uint64_t digest, const void *bytes, int64_t count) {
    const unsigned char *byte = bytes;
    for (int64_t i = 0; i < count; i++) digest = (digest ^ byte[i]) * 0x100000001b3u;
    return digest;
}

uint64_t wd_digest(int machine) {
    struct sim_machine *asked = machine_at(machine);
    uint64_t digest = 0xcbf29ce484222325u;
    for (int i = 0; asked != NULL && i < asked->table.count; i++) {
        const struct sim_entry *entry = &asked->table.entries[i];
        digest = add_to_digest(digest, entry->path, (int64_t)strlen(entry->path) + 1);
        digest = add_to_digest(digest, &entry->inode->size, sizeof entry->inode->size);
        digest = add_to_digest(digest, entry->inode->bytes, entry->inode->size);
    }
    return digest;
}

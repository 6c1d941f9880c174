#pragma once

#include <stdint.h>

/// Disks of up to 64 simulated machines, in memory and deterministic, below SQLite and below `weft_files`.
///
/// Machine 7 has the files whose path begins with /sim/7/; other paths lie on a scratch disk without faults. What was
/// written is lost in a power cut unless it was synced, and so is a change of names unless its directory was. All of it
/// is for one thread. A machine outside 0...63 is ignored, and answers nothing.

enum { WD_MACHINES = 64 };

/// What a machine's disk did since `wd_reset`, tries that failed included.
struct wd_counts {
    uint64_t writes, syncs, reads, directory_syncs;
    /// Faults that struck. `full` counts the writes and creations that found no space.
    uint64_t flips, misdirected, lost, torn, sync_failures, read_errors, full;
    /// Everything that `wd_arm_crash` counts.
    uint64_t operations;
};

/// Makes this SQLite's default VFS, "simulated", and the files of `weft_files`, and calls `wd_set_seed`. Can be called
/// again. Answers 0, or SQLite's result code when it refused.
int wd_install(uint64_t seed);

/// Restarts every source of chance: the machines' own, and SQLite's randomness.
void wd_set_seed(uint64_t seed);

/// Sets the time that SQLite sees, in milliseconds since 1970. It stands still.
void wd_set_time(int64_t milliseconds);

/// Frees all files of all machines, counters and faults; every machine is up, the chance and the time are as after
/// `wd_install` with the seed set last. Handles of before are stale.
void wd_reset(void);

// MARK: - Processes and power

/// The process on the machine dies: its handles are stale from now on, and its locks are gone. Files stay as they are.
/// Until `wd_start` everything on the machine fails.
void wd_kill(int machine);

/// The machine dies and loses power: of what was not synced the seed says what is kept, in blocks of 512 or 4096 bytes.
/// Of the changes of names that were not synced, a prefix is kept. Also for a machine that is dead already.
void wd_power_cut(int machine, uint64_t seed);

/// Starts a new process on the machine: new handles work. Faults that were armed are disarmed; `wd_set_full` stays.
/// Kills a process that still runs.
void wd_start(int machine);

/// 1 when the machine died and was not started since, otherwise 0.
int wd_is_dead(int machine);

/// Kills the process and removes every file, also from the durable state.
void wd_wipe(int machine);

// MARK: - Faults
//
// A number n of what is counted means that the n-th from now on is struck, once; 0 is taken as 1, and below 0 disarms.

/// The machine dies in the middle of a write, truncation, sync, deletion, rename, creation or directory sync. A write
/// is done up to some sector, anything else whole or not at all. It dies as in `wd_power_cut` when `power_cut_style`
/// is not 0, as in `wd_kill` otherwise.
void wd_arm_crash(int machine, int64_t operations, int power_cut_style);

/// A sync of a file fails. About half of the sectors it had to write are back at their durable state, and a later sync
/// writes none of them.
void wd_arm_sync_failure(int machine, int64_t syncs);

/// A read fails.
void wd_arm_read_error(int machine, int64_t reads);

/// While on, no write extends a file and no file is created: there is no space.
void wd_set_full(int machine, int on);

/// A write that extends a file finds no space, and so do later ones and creations, until `duration_writes` have failed.
void wd_arm_full(int machine, int64_t writes, int64_t duration_writes);

/// A write to a file opened as *.db or *-wal goes to another place in that file. It strikes the first write from the
/// n-th on for which the file has another place.
void wd_arm_misdirect(int machine, int64_t writes);

/// A write to a file opened as *.db or *-wal is said to be done and is not.
void wd_arm_lost_write(int machine, int64_t writes);

/// Flips one bit, now and durably, of a file that is not empty and whose path ends with `suffix`; the seed chooses.
/// Answers the bit's byte in the file, or -1 when there is no such file.
int64_t wd_flip(int machine, const char *suffix, uint64_t seed);

// MARK: - What there is

/// What the machine's disk did.
struct wd_counts wd_counts(int machine);

/// The sizes of the machine's files, added up, in bytes.
int64_t wd_extent(int machine);

/// A hash of the names and bytes that a process on the machine sees.
uint64_t wd_digest(int machine);

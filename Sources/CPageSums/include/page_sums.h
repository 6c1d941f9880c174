#pragma once

#include <stdint.h>

/// Checksums for the pages of SQLite files, which have none of their own: a VFS, "page-sums", that remembers a sum of
/// every page outside of the file, compares it at each read, and answers SQLITE_IOERR_DATA when they differ. A flipped
/// bit, a page that was written to another place and a write that never reached the device become errors, where
/// SQLite alone would find fewer rows than there are.
///
/// It also remembers the pages in the write-ahead log, in memory only: SQLite compares the log's checksums when it
/// recovers it, and never again. And it saves how many frames of the log were durable: a recovery that comes to a
/// damaged one among them fails, where SQLite alone would drop it and all after it, and read pages from what is left
/// of the log that are older than the file's. Without a save since they were written, frames are dropped as ever.
///
/// The sums of a file are shared by all its connections in the process, on any threads, and live as long as one of
/// them is open. Between processes they are kept in `<path>-sums`, which can be renamed with its file while no
/// connection is open. That file is brought up to date by
/// `page_sums_save`, not by each write, and the write-ahead log is what makes this safe: after a crash a page whose
/// sum was not saved is still in the log, is read from there and is written anew by the next checkpoint. So the log
/// may not begin anew, shrink or go away before the sums of all pages moved out of it are saved. The VFS sees to that
/// itself: it saves before any of the three, and lets the operation fail when it cannot.
///
/// From this follows what a user must hold to:
/// - The file is in WAL mode whenever it has saved sums.
/// - Nothing else writes the file: neither another process nor a connection on another VFS, the shell `sqlite3`
///   included, which checkpoints when it closes. The sums would be wrong afterwards, and right pages read as damage.
/// - When another file takes the path, `page_sums_forget` comes first.
///
/// Paths are of database files, absolute or relative. Results are 0 or SQLite result codes. All functions can be called
/// from any thread; none but `page_sums_state` at the same time as another for the same path. In a simulator, where a
/// process dies without its memory, every connection of the dead process must be closed before the path is opened
/// again.

/// What is known of a file's sums.
enum page_sums_state {
    /// They could not be read.
    PAGE_SUMS_UNREADABLE = -1,
    /// There were none when the file was opened: only pages written since are compared. `page_sums_build` makes them.
    PAGE_SUMS_NEW = 0,
    /// They were read, or built.
    PAGE_SUMS_LOADED = 1,
    /// Some of them are lost: pages that they were of are not compared until written. Saving goes on for the others,
    /// but only `page_sums_build`, after a check of the file by other means, or another file ends this state.
    PAGE_SUMS_DAMAGED = 2,
};

/// Registers the VFS "page-sums" over the one that is SQLite's default now, without making it the default. Later calls
/// do nothing.
int page_sums_register(void);

/// What is known of the sums of the file at `path`, which should be open. Pages that turn out to be damaged do not
/// change it.
enum page_sums_state page_sums_state(const char *path);

/// Computes the sums of all pages as they are in the file, and saves them, making `<path>-sums` in one step that a
/// crash does not tear. For a file that was just created or put in place, by the one that writes it, after a complete
/// checkpoint. What the file holds is believed, except that a page known to be another is SQLITE_IOERR_DATA, and none
/// are saved then. SQLITE_NOTADB when the file is not a database, or still empty.
int page_sums_build(const char *path);

/// Saves the sums of pages written since the last time, durably: one sync, two when the file has grown into a new block
/// of 1008 pages. Called by the one that writes the file, after a complete checkpoint and before the next change, so
/// that the log is free to begin anew; without it the next change pays. Costs nothing when nothing changed.
///
/// SQLITE_FULL can be tried again. After a failed sync every later call fails too: what the device holds is unknown.
/// SQLITE_MISUSE when the file is not open, or its sums were not built.
int page_sums_save(const char *path);

/// Removes `<path>-sums`, durably. Called before another file takes the path, by the one that writes the file, whose own
/// connection is closed and moved all of the write-ahead log. Connections that only read may go on to read the file there
/// is, with its sums, until they are closed; whoever opens the path from now on opens another file. Closing them must
/// not touch the log, which is the other file's by then (SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE).
/// A crash before the other file is in place leaves the old one without sums, as PAGE_SUMS_NEW.
int page_sums_forget(const char *path);

/// Reads every page whose sum is known, past all caches of SQLite's. SQLITE_IOERR_DATA and the first bad page's number,
/// counted from 1, in `*page` when one differs; otherwise `*page` is 0.
///
/// Only right after a complete checkpoint, by the one that writes the file: until then pages that the write-ahead log
/// replaces may rightly differ after a crash.
int page_sums_verify(const char *path, int64_t *page);

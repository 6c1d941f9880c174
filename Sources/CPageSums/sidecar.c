#include "sums.h"
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The file of saved sums. Block b has the sums of pages b * 1008 + 1 and on, in one of two slots of 4096 bytes that
// begin at b * 8192 and are written in turn: a torn write leaves the other, which was right for all pages that are not
// in the write-ahead log any more. Numbers are little-endian:
//
//      0  "weftsum1"
//      8  number of the save, of 8 bytes: the higher of two valid slots counts
//     16  block
//     20  page size
//     24  blocks that were on the device when this was written: one of them without a valid slot is damage
//     28  CRC-32C of the slot, with zeros here
//     32  salts of the write-ahead log, of 8 bytes as they are in the log
//     40  frames that must be in the log while it has these salts, of 8 bytes
//     64  the sums, 0 for one that is not known
//
// What is said of the log counts in the newest slot of all. It is there because a damaged log loses all that comes
// after the damage, silently: older pages before it would then hide newer ones that a checkpoint moved into the file.
//
// A slot that another block's write hit by mistake has the wrong block number. A slot that was flipped or not written
// gives way to the older one, whose sums differ from the pages written last: that reads as damage, and wrong pages
// never pass.
enum {
    SLOT_BYTES = 4096,
    BLOCK_BYTES = 2 * SLOT_BYTES,
    AT_SEQUENCE = 8,
    AT_BLOCK = 16,
    AT_PAGE_SIZE = 20,
    AT_PROMISED = 24,
    AT_CRC = 28,
    AT_LOG_SALTS = 32,
    AT_LOG_FRAMES = 40,
    AT_SUMS = 64,
    MAGIC_BYTES = 8,
    FILE_MODE = 0600,
};

static const char magic[MAGIC_BYTES + 1] = "weftsum1";

_Static_assert(AT_SUMS + 4 * SUMS_PER_BLOCK == SLOT_BYTES, "a slot is full");

static void put32(unsigned char *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t get32(const unsigned char *from) {
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void put64(unsigned char *to, uint64_t value) {
    put32(to, (uint32_t)value);
    put32(to + 4, (uint32_t)(value >> 32));
}

static uint64_t get64(const unsigned char *from) {
    return get32(from) | (uint64_t)get32(from + 4) << 32;
}

static char *with_suffix(const char *path, const char *suffix) {
    size_t length = strlen(path), more = strlen(suffix) + 1;
    char *joined = malloc(length + more);
    if (joined == NULL) return NULL;
    memcpy(joined, path, length);
    memcpy(joined + length, suffix, more);
    return joined;
}

char *sidecar_path(const char *path) {
    return with_suffix(path, "-sums");
}

char *sidecar_draft_path(const char *path) {
    return with_suffix(path, "-sums-new");
}

static int code_of_errno(int otherwise) {
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? SQLITE_FULL : otherwise;
}

// MARK: - Reading

/// Up to `count` bytes, and zeros where the file has none.
static int read_padded(int descriptor, unsigned char *bytes, size_t count, int64_t offset) {
    size_t done = 0;
    while (done < count) {
        ssize_t got = weft_files()->pread(descriptor, bytes + done, count - done, offset + (int64_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return SQLITE_IOERR_READ;
        if (got == 0) break;
        done += (size_t)got;
    }
    memset(bytes + done, 0, count - done);
    return SQLITE_OK;
}

/// The slot's sequence, 0 when it is not valid. Clears the CRC in it.
static uint64_t sequence_of(unsigned char *slot, int64_t block) {
    uint32_t crc = get32(slot + AT_CRC);
    put32(slot + AT_CRC, 0);
    bool is_valid = memcmp(slot, magic, MAGIC_BYTES) == 0 && crc == sums_crc(slot, SLOT_BYTES)
        && get32(slot + AT_BLOCK) == (uint32_t)block;
    return is_valid ? get64(slot + AT_SEQUENCE) : 0;
}

/// Takes in what a block's two slots hold; one without a valid slot is left as never saved.
static int load_block(struct sums_table *table, int64_t number, unsigned char *bytes) {
    uint64_t sequences[2] = {sequence_of(bytes, number), sequence_of(bytes + SLOT_BYTES, number)};
    int slot = sequences[1] > sequences[0];
    const unsigned char *best = bytes + slot * SLOT_BYTES;
    if (sequences[slot] == 0 || !sums_adopt_page_size(&table->page_size, get32(best + AT_PAGE_SIZE))) return SQLITE_OK;
    struct sum_block *block = sum_array_block(&table->pages, number);
    if (block == NULL) return SQLITE_IOERR_NOMEM;
    for (int i = 0; i < SUMS_PER_BLOCK; i++) {
        uint32_t sum = get32(best + AT_SUMS + 4 * i);
        int64_t place = number * SUMS_PER_BLOCK + i;
        if (sum != SUM_UNKNOWN) (void)sum_array_set(&table->pages, place, sum);
    }
    block->sequence = sequences[slot];
    block->slot = slot;
    block->is_dirty = false;
    int64_t promised = get32(best + AT_PROMISED);
    if (table->blocks_promised < promised) table->blocks_promised = promised;
    if (table->sequence < sequences[slot]) {
        table->sequence = sequences[slot];
        memcpy(table->log.salts, best + AT_LOG_SALTS, SALT_BYTES);
        table->log.durable = (int64_t)get64(best + AT_LOG_FRAMES);
    }
    return SQLITE_OK;
}

static int mark_damage(struct sums_table *table) {
    for (int64_t number = 0; number < table->blocks_promised; number++) {
        struct sum_block *block = sum_array_block(&table->pages, number);
        if (block == NULL) return SQLITE_IOERR_NOMEM;
        if (block->sequence != 0) continue;
        block->is_damaged = true;
        table->state = PAGE_SUMS_DAMAGED;
        sqlite3_log(SQLITE_IOERR_DATA, "page sums of %s: block %lld is lost", table->path, (long long)number);
    }
    return SQLITE_OK;
}

static int load_blocks(struct sums_table *table) {
    int64_t size = weft_files()->size(table->sidecar);
    if (size < 0) return SQLITE_IOERR_FSTAT;
    unsigned char *bytes = malloc(BLOCK_BYTES);
    if (bytes == NULL) return SQLITE_IOERR_NOMEM;
    int code = SQLITE_OK;
    for (int64_t number = 0; code == SQLITE_OK && number * BLOCK_BYTES < size; number++) {
        code = read_padded(table->sidecar, bytes, BLOCK_BYTES, number * BLOCK_BYTES);
        if (code == SQLITE_OK) code = load_block(table, number, bytes);
    }
    free(bytes);
    return code;
}

int sidecar_load(struct sums_table *table) {
    char *path = sidecar_path(table->path);
    if (path == NULL) return SQLITE_IOERR_NOMEM;
    const struct weft_files *files = weft_files();
    table->sidecar = files->open(path, O_RDWR, 0);
    if (table->sidecar < 0 && (errno == EACCES || errno == EROFS)) table->sidecar = files->open(path, O_RDONLY, 0);
    bool is_missing = table->sidecar < 0 && errno == ENOENT;
    free(path);
    table->state = PAGE_SUMS_NEW;
    if (is_missing) return SQLITE_OK;
    if (table->sidecar < 0) return SQLITE_CANTOPEN;
    table->state = PAGE_SUMS_LOADED;
    // A sidecar is made with one block at least.
    table->blocks_promised = 1;
    int code = load_blocks(table);
    return code == SQLITE_OK ? mark_damage(table) : code;
}

// MARK: - Writing

static int write_fully(int descriptor, const unsigned char *bytes, size_t count, int64_t offset) {
    size_t done = 0;
    while (done < count) {
        ssize_t put = weft_files()->pwrite(descriptor, bytes + done, count - done, offset + (int64_t)done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return code_of_errno(SQLITE_IOERR_WRITE);
        if (put == 0) return SQLITE_FULL;
        done += (size_t)put;
    }
    return SQLITE_OK;
}

static int write_slot(
    const struct sums_table *table, int descriptor, int64_t number, const struct sum_block *block, uint64_t sequence,
    int slot) {
    unsigned char bytes[SLOT_BYTES] = {0};
    memcpy(bytes, magic, MAGIC_BYTES);
    put64(bytes + AT_SEQUENCE, sequence);
    put32(bytes + AT_BLOCK, (uint32_t)number);
    put32(bytes + AT_PAGE_SIZE, atomic_load(&table->page_size));
    put32(bytes + AT_PROMISED, (uint32_t)table->blocks_promised);
    memcpy(bytes + AT_LOG_SALTS, table->log.salts, SALT_BYTES);
    put64(bytes + AT_LOG_FRAMES, (uint64_t)table->log.durable);
    for (int i = 0; i < SUMS_PER_BLOCK; i++) {
        put32(bytes + AT_SUMS + 4 * i, atomic_load_explicit(&block->sums[i], memory_order_relaxed));
    }
    put32(bytes + AT_CRC, sums_crc(bytes, SLOT_BYTES));
    return write_fully(descriptor, bytes, SLOT_BYTES, number * BLOCK_BYTES + slot * SLOT_BYTES);
}

/// Writes the dirty blocks from `first` up to `end`, makes them durable, and only then counts them as saved: what fails
/// is written to the same older slots again.
static int save_blocks(struct sums_table *table, int64_t first, int64_t end, bool stays_dirty) {
    for (int64_t number = first; number < end; number++) {
        struct sum_block *block = sum_array_block(&table->pages, number);
        if (block == NULL) return SQLITE_IOERR_NOMEM;
        // A new block is saved even when all its sums are of pages not there.
        if (block->sequence == 0 && !block->is_damaged) block->is_dirty = true;
        if (!block->is_dirty || block->is_damaged) continue;
        int slot = block->sequence == 0 ? 0 : !block->slot;
        int code = write_slot(table, table->sidecar, number, block, table->sequence + 1, slot);
        if (code != SQLITE_OK) return code;
    }
    if (weft_files()->fdatasync(table->sidecar) != 0) {
        table->failure = SQLITE_IOERR_FSYNC;
        return table->failure;
    }
    table->sequence++;
    for (int64_t number = first; number < end; number++) {
        struct sum_block *block = sum_array_block(&table->pages, number);
        if (!block->is_dirty || block->is_damaged) continue;
        block->slot = block->sequence == 0 ? 0 : !block->slot;
        block->sequence = table->sequence;
        block->is_dirty = stays_dirty;
    }
    return SQLITE_OK;
}

int sidecar_save(struct sums_table *table) {
    if (table->state == PAGE_SUMS_NEW || !table->is_dirty) return SQLITE_OK;
    if (table->failure != SQLITE_OK) return table->failure;
    int64_t blocks = (table->pages.end + SUMS_PER_BLOCK - 1) / SUMS_PER_BLOCK;
    if (blocks > table->blocks_promised) {
        // A promise may not reach the device before what it promises: new blocks go first, and once more with it.
        int code = save_blocks(table, table->blocks_promised, blocks, true);
        if (code != SQLITE_OK) return code;
        table->blocks_promised = blocks;
    }
    int code = save_blocks(table, 0, table->blocks_promised, false);
    if (code == SQLITE_OK) table->is_dirty = false;
    return code;
}

// MARK: - Making and removing

static int sync_directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *directory = with_suffix(slash == NULL ? "." : path, "");
    if (directory == NULL) return SQLITE_IOERR_NOMEM;
    if (slash != NULL) directory[slash == path ? 1 : slash - path] = 0;
    int code = weft_files()->sync_directory(directory) == 0 ? SQLITE_OK : SQLITE_IOERR_DIR_FSYNC;
    free(directory);
    return code;
}

/// Writes all blocks to a new file.
static int write_draft(struct sums_table *table, int descriptor) {
    for (int64_t number = 0; number < table->blocks_promised; number++) {
        struct sum_block *block = sum_array_block(&table->pages, number);
        if (block == NULL) return SQLITE_IOERR_NOMEM;
        int code = write_slot(table, descriptor, number, block, 1, 0);
        if (code != SQLITE_OK) return code;
    }
    return weft_files()->fdatasync(descriptor) == 0 ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

/// The new file becomes the sidecar.
static void take_over(struct sums_table *table, int descriptor) {
    if (table->sidecar >= 0) weft_files()->close(table->sidecar);
    table->sidecar = descriptor;
    table->sequence = 1;
    for (int64_t number = 0; number < table->blocks_promised; number++) {
        struct sum_block *block = sum_array_block(&table->pages, number);
        block->sequence = 1;
        block->slot = 0;
        block->is_dirty = block->is_damaged = false;
    }
    table->state = PAGE_SUMS_LOADED;
    table->is_dirty = false;
    table->failure = SQLITE_OK;
}

/// Makes a new file that takes the place of the old one, if there is one.
static int put_in_place(struct sums_table *table, const char *draft, const char *path) {
    const struct weft_files *files = weft_files();
    int descriptor = files->open(draft, O_RDWR | O_CREAT | O_TRUNC, FILE_MODE);
    if (descriptor < 0) return code_of_errno(SQLITE_CANTOPEN);
    int64_t promised = table->blocks_promised;
    int64_t blocks = (table->pages.end + SUMS_PER_BLOCK - 1) / SUMS_PER_BLOCK;
    table->blocks_promised = blocks > 1 ? blocks : 1;
    int code = write_draft(table, descriptor);
    if (code == SQLITE_OK && files->rename(draft, path) != 0) code = code_of_errno(SQLITE_IOERR_WRITE);
    if (code == SQLITE_OK) {
        code = sync_directory_of(path);
        // The old file has lost its name, the new one may yet: neither can be saved to.
        if (code != SQLITE_OK) table->failure = code;
    }
    if (code == SQLITE_OK) {
        take_over(table, descriptor);
    } else {
        files->close(descriptor);
        table->blocks_promised = promised;
    }
    return code;
}

int sidecar_create(struct sums_table *table) {
    char *path = sidecar_path(table->path);
    char *draft = sidecar_draft_path(table->path);
    int code = path != NULL && draft != NULL ? put_in_place(table, draft, path) : SQLITE_IOERR_NOMEM;
    free(path);
    free(draft);
    return code;
}

int sidecar_remove(const char *path) {
    char *names[] = {sidecar_path(path), sidecar_draft_path(path)};
    int code = names[0] != NULL && names[1] != NULL ? SQLITE_OK : SQLITE_IOERR_NOMEM;
    for (int i = 0; i < 2 && code == SQLITE_OK; i++) {
        if (weft_files()->unlink(names[i]) != 0 && errno != ENOENT) code = SQLITE_IOERR_DELETE;
    }
    if (code == SQLITE_OK) code = sync_directory_of(path);
    free(names[0]);
    free(names[1]);
    return code;
}

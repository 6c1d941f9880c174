#include "disk.h"

#include <stdlib.h>
#include <string.h>

void sim_inode_free(struct sim_inode *inode) {
    free(inode->bytes);
    free(inode->durable);
    free(inode->is_dirty);
    free(inode->dirty);
    free(inode);
}

static void reserve(struct sim_inode *inode, int64_t size) {
    if (size <= inode->capacity) return;
    SIM_CHECK(size <= sim_file_bytes_max, "a file larger than any may be");
    int64_t old = inode->capacity;
    int64_t capacity = old > 0 ? old : 4096;
    while (capacity < size) capacity *= 2;
    size_t sectors = (size_t)(capacity / SIM_SECTOR);
    inode->bytes = sim_allocate(inode->bytes, (size_t)capacity);
    inode->durable = sim_allocate(inode->durable, (size_t)capacity);
    inode->is_dirty = sim_allocate(inode->is_dirty, sectors);
    inode->dirty = sim_allocate(inode->dirty, sectors * sizeof *inode->dirty);
    memset(inode->bytes + old, 0, (size_t)(capacity - old));
    memset(inode->durable + old, 0, (size_t)(capacity - old));
    memset(inode->is_dirty + old / SIM_SECTOR, 0, sectors - (size_t)(old / SIM_SECTOR));
    inode->capacity = capacity;
}

/// Lists the sectors of the bytes from `start` up to `end`.
static void mark_dirty(struct sim_inode *inode, int64_t start, int64_t end) {
    uint32_t last = (uint32_t)((end - 1) / SIM_SECTOR);
    for (uint32_t sector = (uint32_t)(start / SIM_SECTOR); sector <= last; sector++) {
        if (inode->is_dirty[sector]) continue;
        inode->is_dirty[sector] = 1;
        inode->dirty[inode->dirty_count++] = sector;
    }
}

void sim_inode_write(struct sim_inode *inode, const void *bytes, int64_t count, int64_t offset) {
    if (count == 0) return;
    reserve(inode, offset + count);
    memcpy(inode->bytes + offset, bytes, (size_t)count);
    mark_dirty(inode, offset, offset + count);
    if (inode->size < offset + count) inode->size = offset + count;
}

void sim_inode_truncate(struct sim_inode *inode, int64_t size) {
    if (size < inode->size) {
        // Listed, because the file may grow over these zeros again before it is synced.
        memset(inode->bytes + size, 0, (size_t)(inode->size - size));
        mark_dirty(inode, size, inode->size);
    } else {
        reserve(inode, size);
    }
    inode->size = size;
}

static void copy_sectors(unsigned char *to, const unsigned char *from, uint32_t sector, uint32_t count) {
    size_t offset = (size_t)sector * SIM_SECTOR;
    memcpy(to + offset, from + offset, (size_t)count * SIM_SECTOR);
}

void sim_inode_sync(struct sim_inode *inode) {
    uint32_t done = 0;
    while (done < inode->dirty_count) {
        uint32_t first = inode->dirty[done];
        uint32_t run = 1;
        while (done + run < inode->dirty_count && inode->dirty[done + run] == first + run) run++;
        copy_sectors(inode->durable, inode->bytes, first, run);
        memset(inode->is_dirty + first, 0, run);
        done += run;
    }
    inode->dirty_count = 0;
    if (inode->size < inode->durable_size) {
        memset(inode->durable + inode->size, 0, (size_t)(inode->durable_size - inode->size));
    }
    inode->durable_size = inode->size;
}

void sim_inode_lose_sync(struct sim_inode *inode, struct sim_random *random) {
    for (uint32_t i = 0; i < inode->dirty_count; i++) {
        uint32_t sector = inode->dirty[i];
        inode->is_dirty[sector] = 0;
        int64_t start = (int64_t)sector * SIM_SECTOR;
        if (!sim_coin(random) || start >= inode->size) continue;
        int64_t count = inode->size - start < SIM_SECTOR ? inode->size - start : SIM_SECTOR;
        memcpy(inode->bytes + start, inode->durable + start, (size_t)count);
    }
    inode->dirty_count = 0;
    inode->has_diverged = true;
}

/// Writes the kept blocks to the durable image, and answers where the last of them ends.
static int64_t keep_blocks(
    struct sim_inode *inode, enum sim_cut cut, uint32_t grain_sectors, struct sim_random *random) {
    uint32_t sectors = (uint32_t)(inode->capacity / SIM_SECTOR);
    int64_t end = 0;
    for (uint32_t i = 0; i < inode->dirty_count; i++) {
        if (!inode->is_dirty[inode->dirty[i]]) continue;
        bool keeps = cut == SIM_CUT_KEPT || (cut == SIM_CUT_MIXED && sim_coin(random));
        uint32_t first = inode->dirty[i] / grain_sectors * grain_sectors;
        for (uint32_t sector = first; sector < first + grain_sectors && sector < sectors; sector++) {
            if (!inode->is_dirty[sector]) continue;
            inode->is_dirty[sector] = 0;
            // What was cut off is decided with the size alone.
            if (!keeps || (int64_t)sector * SIM_SECTOR >= inode->size) continue;
            copy_sectors(inode->durable, inode->bytes, sector, 1);
            int64_t sector_end = ((int64_t)sector + 1) * SIM_SECTOR;
            if (sector_end > inode->size) sector_end = inode->size;
            if (end < sector_end) end = sector_end;
        }
    }
    return end;
}

void sim_inode_cut(struct sim_inode *inode, enum sim_cut cut, uint32_t grain_sectors, struct sim_random *random) {
    int64_t kept_end = keep_blocks(inode, cut, grain_sectors, random);
    int64_t larger = inode->size > inode->durable_size ? inode->size : inode->durable_size;
    int64_t size = inode->durable_size > kept_end ? inode->durable_size : kept_end;
    bool changed = inode->size != inode->durable_size;
    if (changed && (cut == SIM_CUT_KEPT || (cut == SIM_CUT_MIXED && sim_coin(random)))) size = inode->size;
    if (inode->has_diverged && larger > 0) {
        memcpy(inode->bytes, inode->durable, (size_t)larger);
    } else {
        for (uint32_t i = 0; i < inode->dirty_count; i++) {
            copy_sectors(inode->bytes, inode->durable, inode->dirty[i], 1);
        }
    }
    if (size < larger) {
        memset(inode->bytes + size, 0, (size_t)(larger - size));
        memset(inode->durable + size, 0, (size_t)(larger - size));
    }
    inode->size = size;
    inode->durable_size = size;
    inode->dirty_count = 0;
    inode->has_diverged = false;
}

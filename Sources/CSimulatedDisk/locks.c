#include "disk.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

bool sim_lock(struct sim_handle *handle, int level) {
    struct sim_inode *inode = handle->inode;
    if (handle->level >= level) return true;
    SIM_CHECK(handle->level > SQLITE_LOCK_NONE || level == SQLITE_LOCK_SHARED, "the first lock is a shared one");
    bool other_writes = inode->writer != NULL && inode->writer != handle;
    if (level == SQLITE_LOCK_SHARED) {
        if (inode->level >= SQLITE_LOCK_PENDING) return false;
        inode->sharers++;
        handle->level = SQLITE_LOCK_SHARED;
        return true;
    }
    if (other_writes) return false;
    inode->writer = handle;
    if (level == SQLITE_LOCK_EXCLUSIVE && inode->sharers > 1) {
        // It keeps new readers out while the others finish.
        handle->level = inode->level = SQLITE_LOCK_PENDING;
        return false;
    }
    handle->level = inode->level = level;
    return true;
}

void sim_unlock(struct sim_handle *handle, int level) {
    struct sim_inode *inode = handle->inode;
    if (handle->level <= level) return;
    if (inode->writer == handle) {
        inode->writer = NULL;
        inode->level = SQLITE_LOCK_SHARED;
    }
    if (level == SQLITE_LOCK_NONE) {
        inode->sharers--;
        SIM_CHECK(inode->sharers >= 0, "more locks are given back than were taken");
    }
    handle->level = level;
}

// MARK: - Shared memory

void *sim_shm_map(struct sim_handle *handle, int region, int bytes, bool extend) {
    struct sim_inode *inode = handle->inode;
    if (handle->shm == NULL) {
        if (inode->shm == NULL) {
            inode->shm = sim_allocate(NULL, sizeof *inode->shm);
            *inode->shm = (struct sim_shm){.region_bytes = bytes};
        }
        handle->shm = inode->shm;
        handle->shm->handles++;
    }
    struct sim_shm *shm = handle->shm;
    SIM_CHECK(shm->region_bytes == bytes, "regions of shared memory have one size");
    if (region >= shm->region_count) {
        if (!extend) return NULL;
        shm->regions = sim_allocate(shm->regions, ((size_t)region + 1) * sizeof *shm->regions);
        while (shm->region_count <= region) {
            void *fresh = sim_allocate(NULL, (size_t)bytes);
            shm->regions[shm->region_count++] = memset(fresh, 0, (size_t)bytes);
        }
    }
    return shm->regions[region];
}

bool sim_shm_lock(struct sim_handle *handle, unsigned slots, bool exclusive) {
    struct sim_shm *shm = handle->shm;
    slots &= exclusive ? ~handle->exclusive_slots : ~handle->shared_slots;
    for (int slot = 0; slot < SIM_LOCK_SLOTS; slot++) {
        unsigned bit = 1u << slot;
        if ((slots & bit) == 0) continue;
        SIM_CHECK(((handle->shared_slots | handle->exclusive_slots) & bit) == 0, "a slot is locked in two ways");
        if (exclusive ? shm->slots[slot] != 0 : shm->slots[slot] < 0) return false;
    }
    for (int slot = 0; slot < SIM_LOCK_SLOTS; slot++) {
        if ((slots & 1u << slot) != 0) shm->slots[slot] += exclusive ? -1 : 1;
    }
    if (exclusive) handle->exclusive_slots |= slots;
    else handle->shared_slots |= slots;
    return true;
}

void sim_shm_unlock(struct sim_handle *handle, unsigned slots) {
    for (int slot = 0; slot < SIM_LOCK_SLOTS; slot++) {
        unsigned bit = 1u << slot;
        if ((slots & handle->shared_slots & bit) != 0) handle->shm->slots[slot]--;
        if ((slots & handle->exclusive_slots & bit) != 0) handle->shm->slots[slot]++;
    }
    handle->shared_slots &= ~slots;
    handle->exclusive_slots &= ~slots;
}

void sim_shm_unmap(struct sim_handle *handle) {
    struct sim_shm *shm = handle->shm;
    if (shm == NULL) return;
    sim_shm_unlock(handle, ~0u);
    handle->shm = NULL;
    if (--shm->handles > 0) return;
    if (!sim_is_stale(handle)) handle->inode->shm = NULL;
    for (int i = 0; i < shm->region_count; i++) free(shm->regions[i]);
    free(shm->regions);
    free(shm);
}

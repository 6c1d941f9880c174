#include "disk.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *path) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path != 0; path++) hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
    return hash;
}

/// Where an entry is, or -1.
static int place_of(const struct sim_table *table, const char *path) {
    uint64_t hash = hash_of(path);
    for (int i = 0; i < table->count; i++) {
        if (table->entries[i].hash == hash && strcmp(table->entries[i].path, path) == 0) return i;
    }
    return -1;
}

struct sim_inode *sim_table_find(const struct sim_table *table, const char *path) {
    int place = place_of(table, path);
    return place < 0 ? NULL : table->entries[place].inode;
}

void sim_table_set(struct sim_table *table, const char *path, struct sim_inode *inode) {
    inode->names++;
    int place = place_of(table, path);
    if (place >= 0) {
        table->entries[place].inode->names--;
        table->entries[place].inode = inode;
        return;
    }
    if (table->count == table->capacity) {
        table->capacity = table->capacity > 0 ? table->capacity * 2 : 8;
        table->entries = sim_allocate(table->entries, (size_t)table->capacity * sizeof *table->entries);
    }
    place = table->count;
    while (place > 0 && strcmp(table->entries[place - 1].path, path) > 0) {
        table->entries[place] = table->entries[place - 1];
        place--;
    }
    table->entries[place] = (struct sim_entry){hash_of(path), sim_copy_text(path), inode};
    table->count++;
}

void sim_table_remove(struct sim_table *table, const char *path) {
    int place = place_of(table, path);
    if (place < 0) return;
    struct sim_entry *entry = &table->entries[place];
    entry->inode->names--;
    free(entry->path);
    table->count--;
    memmove(entry, entry + 1, (size_t)(table->count - place) * sizeof *entry);
}

void sim_table_clear(struct sim_table *table) {
    for (int i = 0; i < table->count; i++) {
        table->entries[i].inode->names--;
        free(table->entries[i].path);
    }
    free(table->entries);
    *table = (struct sim_table){0};
}

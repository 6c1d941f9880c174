#include "sums.h"
#include "files.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// MARK: - Arrays

struct spot {
    int chunk;
    int64_t block;
};

static struct spot spot_of(int64_t block_number) {
    uint64_t number = (uint64_t)block_number + 1;
    int chunk = 63 - __builtin_clzll(number);
    return (struct spot){chunk, (int64_t)(number - (1ull << chunk))};
}

static struct sum_block *find_block(const struct sum_array *array, int64_t number) {
    struct spot spot = spot_of(number);
    if (spot.chunk >= SUM_CHUNKS) return NULL;
    struct sum_block *chunk = atomic_load_explicit(&array->chunks[spot.chunk], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk[spot.block];
}

uint32_t sum_array_get(const struct sum_array *array, int64_t place) {
    struct sum_block *block = find_block(array, place / SUMS_PER_BLOCK);
    if (block == NULL) return SUM_UNKNOWN;
    return atomic_load_explicit(&block->sums[place % SUMS_PER_BLOCK], memory_order_relaxed);
}

struct sum_block *sum_array_block(struct sum_array *array, int64_t number) {
    struct spot spot = spot_of(number);
    if (spot.chunk >= SUM_CHUNKS) return NULL;
    struct sum_block *chunk = atomic_load_explicit(&array->chunks[spot.chunk], memory_order_relaxed);
    if (chunk == NULL) {
        chunk = calloc((size_t)1 << spot.chunk, sizeof *chunk);
        if (chunk == NULL) return NULL;
        atomic_store_explicit(&array->chunks[spot.chunk], chunk, memory_order_release);
    }
    return &chunk[spot.block];
}

int sum_array_set(struct sum_array *array, int64_t place, uint32_t sum) {
    struct sum_block *block = sum_array_block(array, place / SUMS_PER_BLOCK);
    if (block == NULL) return SQLITE_IOERR_NOMEM;
    atomic_store_explicit(&block->sums[place % SUMS_PER_BLOCK], sum, memory_order_relaxed);
    block->is_dirty = true;
    if (array->end <= place) array->end = place + 1;
    return SQLITE_OK;
}

void sum_array_clear(struct sum_array *array, int64_t place) {
    struct sum_block *block = find_block(array, place / SUMS_PER_BLOCK);
    if (block == NULL) return;
    atomic_store_explicit(&block->sums[place % SUMS_PER_BLOCK], SUM_UNKNOWN, memory_order_relaxed);
    block->is_dirty = true;
}

void sum_array_clear_from(struct sum_array *array, int64_t place) {
    for (int64_t i = place; i < array->end; i++) sum_array_clear(array, i);
    if (array->end > place) array->end = place;
}

static void free_array(struct sum_array *array) {
    for (int i = 0; i < SUM_CHUNKS; i++) free(array->chunks[i]);
}

// MARK: - Tables

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sums_table *list;

static struct sums_table *find_locked(const char *path, size_t length) {
    struct sums_table *table = list;
    while (table != NULL && (strlen(table->path) != length || memcmp(table->path, path, length) != 0)) {
        table = table->next;
    }
    return table;
}

static void free_table(struct sums_table *table) {
    if (table->sidecar >= 0) weft_files()->close(table->sidecar);
    free_array(&table->pages);
    free_array(&table->frames);
    pthread_mutex_destroy(&table->mutex);
    free(table->path);
    free(table);
}

static struct sums_table *make_table(const char *path) {
    // SQLite looks for parameters behind the name of a database, up to an empty one.
    enum { parameters_end = 4 };
    struct sums_table *table = calloc(1, sizeof *table);
    size_t length = strlen(path);
    char *copy = calloc(1, length + parameters_end);
    if (table == NULL || copy == NULL || pthread_mutex_init(&table->mutex, NULL) != 0) {
        free(table);
        free(copy);
        return NULL;
    }
    table->path = memcpy(copy, path, length);
    table->sidecar = -1;
    return table;
}

/// Others that open the same file wait until its sums are read.
static int acquire_locked(const char *path, struct sums_table **answer) {
    struct sums_table *table = find_locked(path, strlen(path));
    if (table == NULL) {
        table = make_table(path);
        if (table == NULL) return SQLITE_IOERR_NOMEM;
        int code = sidecar_load(table);
        if (code != SQLITE_OK) {
            free_table(table);
            return code;
        }
        table->next = list;
        list = table;
    }
    table->references++;
    *answer = table;
    return SQLITE_OK;
}

int sums_acquire(const char *path, struct sums_table **table) {
    pthread_mutex_lock(&list_mutex);
    int code = acquire_locked(path, table);
    pthread_mutex_unlock(&list_mutex);
    return code;
}

struct sums_table *sums_find(const char *path, size_t length) {
    pthread_mutex_lock(&list_mutex);
    struct sums_table *table = find_locked(path, length);
    if (table != NULL) table->references++;
    pthread_mutex_unlock(&list_mutex);
    return table;
}

/// Takes a table out of the list, if it is there.
static void unlist(const struct sums_table *table) {
    struct sums_table **link = &list;
    while (*link != NULL && *link != table) link = &(*link)->next;
    if (*link != NULL) *link = table->next;
}

void sums_release(struct sums_table *table) {
    pthread_mutex_lock(&list_mutex);
    bool is_last = --table->references == 0;
    if (is_last) {
        unlist(table);
        free_table(table);
    }
    pthread_mutex_unlock(&list_mutex);
}

void sums_detach(const char *path) {
    pthread_mutex_lock(&list_mutex);
    struct sums_table *table = find_locked(path, strlen(path));
    if (table != NULL) unlist(table);
    pthread_mutex_unlock(&list_mutex);
}

bool sums_adopt_page_size(_Atomic uint32_t *known, int64_t size) {
    if (size < PAGE_BYTES_MIN || size > PAGE_BYTES_MAX || (size & (size - 1)) != 0) return false;
    if (atomic_load(known) == 0) atomic_store(known, (uint32_t)size);
    return atomic_load(known) == size;
}

int sums_set_page(struct sums_table *table, int64_t place, uint32_t sum) {
    table->is_dirty = true;
    return sum_array_set(&table->pages, place, sum);
}

void sums_clear_pages_from(struct sums_table *table, int64_t place) {
    if (place < table->pages.end) table->is_dirty = true;
    sum_array_clear_from(&table->pages, place);
}

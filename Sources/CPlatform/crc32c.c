#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

/// Table t gives the CRC of a byte followed by t zero bytes.
static uint32_t tables[8][256];

static uint64_t load_word(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

// MARK: - By tables

static uint32_t table_step(uint32_t crc, uint64_t word) {
    word ^= crc;
    return tables[7][word & 0xff] ^ tables[6][word >> 8 & 0xff] ^ tables[5][word >> 16 & 0xff]
        ^ tables[4][word >> 24 & 0xff] ^ tables[3][word >> 32 & 0xff] ^ tables[2][word >> 40 & 0xff]
        ^ tables[1][word >> 48 & 0xff] ^ tables[0][word >> 56];
}

static uint32_t table_add(uint32_t crc, const unsigned char *bytes, size_t count) {
    for (; count >= 8; bytes += 8, count -= 8) crc = table_step(crc, load_word(bytes));
    for (; count > 0; bytes++, count--) crc = crc >> 8 ^ tables[0][(crc ^ *bytes) & 0xff];
    return crc;
}

// MARK: - By instructions

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static uint32_t fast_add(uint32_t crc, const unsigned char *bytes, size_t count) {
    uint64_t sum = crc;
    for (; count >= 8; bytes += 8, count -= 8) sum = _mm_crc32_u64(sum, load_word(bytes));
    crc = (uint32_t)sum;
    for (; count > 0; bytes++, count--) crc = _mm_crc32_u8(crc, *bytes);
    return crc;
}

static bool has_fast_add(void) {
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
static uint32_t fast_add(uint32_t crc, const unsigned char *bytes, size_t count) {
    for (; count >= 8; bytes += 8, count -= 8) crc = __crc32cd(crc, load_word(bytes));
    for (; count > 0; bytes++, count--) crc = __crc32cb(crc, *bytes);
    return crc;
}

static bool has_fast_add(void) {
    return true;
}
#else
#define fast_add table_add

static bool has_fast_add(void) {
    return false;
}
#endif

static uint32_t (*add_in_use)(uint32_t crc, const unsigned char *bytes, size_t count) = table_add;

__attribute__((constructor))
static void prepare(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        tables[0][byte] = crc;
    }
    for (int t = 1; t < 8; t++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = tables[t - 1][byte];
            tables[t][byte] = crc >> 8 ^ tables[0][crc & 0xff];
        }
    }
    if (has_fast_add()) add_in_use = fast_add;
}

uint32_t weft_crc32c_add(uint32_t crc, const void *bytes, size_t count) {
    return add_in_use(crc, bytes, count);
}

uint32_t weft_crc32c_step(uint32_t crc, uint64_t word) {
    return table_step(crc, word);
}

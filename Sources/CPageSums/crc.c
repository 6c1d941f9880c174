#include "sums.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

// A page is summed in four quarters at once: one CRC instruction waits for the one before, four chains keep the unit
// busy. The page's sum is the CRC of the quarters' and of the place. Damage within 32 bits is found for certain, for it
// changes one quarter's CRC, and then the sum.
enum { QUARTERS = 4 };

static pthread_once_t prepared = PTHREAD_ONCE_INIT;
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

static void table_quarters(uint32_t crc[QUARTERS], const unsigned char *bytes, size_t quarter) {
    for (int i = 0; i < QUARTERS; i++) crc[i] = table_add(crc[i], bytes + (size_t)i * quarter, quarter);
}

// MARK: - By instructions

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static void fast_quarters(uint32_t crc[QUARTERS], const unsigned char *bytes, size_t quarter) {
    uint64_t a = crc[0], b = crc[1], c = crc[2], d = crc[3];
    for (size_t i = 0; i < quarter; i += 8) {
        a = _mm_crc32_u64(a, load_word(bytes + i));
        b = _mm_crc32_u64(b, load_word(bytes + quarter + i));
        c = _mm_crc32_u64(c, load_word(bytes + 2 * quarter + i));
        d = _mm_crc32_u64(d, load_word(bytes + 3 * quarter + i));
    }
    crc[0] = (uint32_t)a;
    crc[1] = (uint32_t)b;
    crc[2] = (uint32_t)c;
    crc[3] = (uint32_t)d;
}

static bool has_fast_quarters(void) {
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
static void fast_quarters(uint32_t crc[QUARTERS], const unsigned char *bytes, size_t quarter) {
    uint32_t a = crc[0], b = crc[1], c = crc[2], d = crc[3];
    for (size_t i = 0; i < quarter; i += 8) {
        a = __crc32cd(a, load_word(bytes + i));
        b = __crc32cd(b, load_word(bytes + quarter + i));
        c = __crc32cd(c, load_word(bytes + 2 * quarter + i));
        d = __crc32cd(d, load_word(bytes + 3 * quarter + i));
    }
    crc[0] = a;
    crc[1] = b;
    crc[2] = c;
    crc[3] = d;
}

static bool has_fast_quarters(void) {
    return true;
}
#else
#define fast_quarters table_quarters

static bool has_fast_quarters(void) {
    return false;
}
#endif

// MARK: - Sums

static void (*quarters_in_use)(uint32_t crc[QUARTERS], const unsigned char *bytes, size_t quarter) = table_quarters;

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
    if (has_fast_quarters()) quarters_in_use = fast_quarters;
}

void sums_crc_prepare(void) {
    pthread_once(&prepared, prepare);
}

uint32_t sums_crc(const void *bytes, size_t count) {
    return ~table_add(~0u, bytes, count);
}

uint32_t sums_of_page(const void *bytes, uint32_t page_size, uint64_t place) {
    uint32_t crc[QUARTERS] = {~0u, ~0u, ~0u, ~0u};
    quarters_in_use(crc, bytes, page_size / QUARTERS);
    uint32_t sum = table_step(~0u, place);
    sum = table_step(sum, (uint64_t)crc[0] | (uint64_t)crc[1] << 32);
    sum = ~table_step(sum, (uint64_t)crc[2] | (uint64_t)crc[3] << 32);
    return sum != SUM_UNKNOWN ? sum : 1;
}

#include "sums.h"

#include "crc32c.h"

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

static uint64_t load_word(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static void plain_quarters(uint32_t crc[QUARTERS], const unsigned char *bytes, size_t quarter) {
    for (int i = 0; i < QUARTERS; i++) crc[i] = weft_crc32c_add(crc[i], bytes + (size_t)i * quarter, quarter);
}

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
#define fast_quarters plain_quarters

static bool has_fast_quarters(void) {
    return false;
}
#endif

// MARK: - Sums

static void (*quarters_in_use)(uint32_t crc[QUARTERS], const unsigned char *bytes, size_t quarter) = plain_quarters;

void sums_crc_prepare(void) {
    if (has_fast_quarters()) quarters_in_use = fast_quarters;
}

uint32_t sums_crc(const void *bytes, size_t count) {
    return ~weft_crc32c_add(~0u, bytes, count);
}

uint32_t sums_of_page(const void *bytes, uint32_t page_size, uint64_t place) {
    uint32_t crc[QUARTERS] = {~0u, ~0u, ~0u, ~0u};
    quarters_in_use(crc, bytes, page_size / QUARTERS);
    uint32_t sum = weft_crc32c_step(~0u, place);
    sum = weft_crc32c_step(sum, (uint64_t)crc[0] | (uint64_t)crc[1] << 32);
    sum = ~weft_crc32c_step(sum, (uint64_t)crc[2] | (uint64_t)crc[3] << 32);
    return sum != SUM_UNKNOWN ? sum : 1;
}

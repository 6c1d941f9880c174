#pragma once

#include <stddef.h>
#include <stdint.h>

/// Goes on with a CRC-32C (Castagnoli, RFC 3720 appendix B.4). A sum begins with ~0 and ends by inverting all bits.
uint32_t weft_crc32c_add(uint32_t crc, const void *bytes, size_t count);

/// The same for one little-endian word, by tables.
uint32_t weft_crc32c_step(uint32_t crc, uint64_t word);

/* crc32c.h - the Castagnoli checksum that guards log records and snapshots.
 *
 * Uses the processor's instruction where there is one. Thread-safe. */
#ifndef RAFTSTORE_CRC32C_H
#define RAFTSTORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to start) over n bytes. Any other start value is a salt:
 * bytes summed under one salt do not pass under another. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The table-driven form, for tests of the other. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif

/* store_hooks.h - what tests and benchmarks may change about a store. */
#ifndef RAFTSTORE_STORE_HOOKS_H
#define RAFTSTORE_STORE_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

struct disk;
struct error;
struct store;
struct store_config;

/* 0 or NULL: the default. */
struct store_hooks {
    struct disk *disk;
    uint64_t log_segment_bytes;
    uint64_t trail_bytes;
    uint64_t cache_bytes;
    uint32_t snapshot_chunk_bytes;
    uint32_t proposal_timeout_ms;
    uint16_t command_format;     /* What this member says it understands. */
    uint64_t disk_reserve_bytes; /* Less room than this raises the alarm. */
};

int store_open_hooked(const struct store_config *config, const struct store_hooks *hooks,
                      struct store **ret, struct error *err);
/* Ends as a crash of the process would: nothing is flushed or handed over.
 * Pending requests are still answered, with E_CLOSED. */
void store_kill(struct store *s);
/* Drops all messages to and from the member (0: all members). */
void store_block(struct store *s, uint64_t id, bool blocked);
/* How often the log was synced so far. */
uint64_t store_sync_count(const struct store *s);

#endif

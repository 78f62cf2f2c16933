/* disk_sim.h - a member's disk, in memory: behind raftstore/disk.h, so that the
 * real log and snapshot files stand on it.
 *
 * What was written is cached; fdatasync makes a file's bytes stable, sync_dir the
 * names. A crash keeps what is stable and, by chance, any sectors written since,
 * whole or torn, and any first few of the names changed since. */
#ifndef TEST_DISK_SIM_H
#define TEST_DISK_SIM_H

#include "raftstore/disk.h"

struct rng;
struct sim_disk;

/* The generator is borrowed: the disk draws from it when it crashes. */
struct sim_disk *sim_disk_new(struct rng *rng);
void sim_disk_free(struct sim_disk *d); /* NULL is a no-op. */
struct disk *sim_disk_base(struct sim_disk *d);

/* Every open file number is void then; faults but for the capacity end. */
void sim_disk_crash(struct sim_disk *d);

/* --- faults --- */
/* The call number `calls` from now (0: the next) and all behind it fail: the
 * machine has stopped there. The owner notices by sim_disk_dead() and crashes. */
void sim_disk_stop_after(struct sim_disk *d, uint64_t calls);
void sim_disk_stop(struct sim_disk *d); /* Here and now. */
bool sim_disk_dead(const struct sim_disk *d);
/* The write, sync or change of a name that comes `calls`-th from now fails, once. */
void sim_disk_hiccup(struct sim_disk *d, uint64_t calls);
/* Writes and syncs fail with EIO. */
void sim_disk_fail(struct sim_disk *d, bool failing);
void sim_disk_heal(struct sim_disk *d); /* No fault is left or to come. */
/* Bytes for all files together; 0: no limit. Beyond, ENOSPC. */
void sim_disk_limit(struct sim_disk *d, uint64_t bytes);
uint64_t sim_disk_used(const struct sim_disk *d);
/* Bit rot: flips one bit, under the file system's back. False: no such byte. */
bool sim_disk_rot(struct sim_disk *d, const char *path, uint64_t offset, uint32_t bit);
/* Files below a folder, in a fixed order; their sizes. */
uint32_t sim_disk_count(const struct sim_disk *d, const char *dir);
const char *sim_disk_name(const struct sim_disk *d, const char *dir, uint32_t i,
                          uint64_t *ret_size);

#endif

/* config_write.h - the configuration that holds, as a KubeSchedulerConfiguration that would say
 * the same: for /configz. Pure. */
#ifndef SCHEDULER_CONFIG_WRITE_H
#define SCHEDULER_CONFIG_WRITE_H

struct buf;
struct sched_config;

/* JSON; read again it gives an equal configuration. What flags decide, and the keys and
 * certificates of extenders, are left out. */
void sched_config_write(const struct sched_config *c, struct buf *b);

#endif

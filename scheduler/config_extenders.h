/* config_extenders.h - extenders of a KubeSchedulerConfiguration. Private to config*.c. */
#ifndef SCHEDULER_CONFIG_EXTENDERS_H
#define SCHEDULER_CONFIG_EXTENDERS_H

struct config_reader;
struct json;
struct sched_config;

/* After the profiles: resources that an extender looks after alone are none of
 * NodeResourcesFit's. */
void config_extenders(struct config_reader *r, struct sched_config *c, const struct json *document);

#endif

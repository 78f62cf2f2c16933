/* config_args.h - profiles[].pluginConfig: the plugins' arguments. Private to config.c. */
#ifndef SCHEDULER_CONFIG_ARGS_H
#define SCHEDULER_CONFIG_ARGS_H

#include "scheduler/config.h"
#include "scheduler/config_reader.h"

/* path: of args. False: no plugin of that name has arguments. */
bool config_args(struct config_reader *r, struct sched_config *c, struct profile *p,
                 const char *path, struct str plugin, const struct json *args);

#endif

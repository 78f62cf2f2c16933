/* runtime_config.h - --runtime-config: which of the built-in APIs are served. */
#ifndef APISERVER_RUNTIME_CONFIG_H
#define APISERVER_RUNTIME_CONFIG_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct error;
struct flag_list;

/* Refuses in upstream's words what it refuses; warns of versions that do not exist here. */
int runtime_config_check(const struct flag_list *given, struct error *err);
/* Of what was checked: api/all, then api/ga or api/beta, then the version, then the resource
 * decides. Beta versions are off by default. */
bool runtime_config_serves(const struct flag_list *given, struct str group, struct str version,
                           struct str resource);

#endif

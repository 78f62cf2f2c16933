/* config.h - the node agent's flags, with a --config file below them. */
#ifndef KUBELET_CONFIG_H
#define KUBELET_CONFIG_H

#include "lib/base/error.h"

struct flag_set;
struct kubelet_config;

/* Sets defaults and registers every flag. */
struct flag_set *kubelet_flags(struct kubelet_config *c);
/* Reads --config (a KubeletConfiguration in YAML or JSON) into what the
 * command line did not set. */
int kubelet_config_load(struct kubelet_config *c, struct flag_set *f, struct error *err);
/* Checks values against each other. */
int kubelet_config_check(const struct kubelet_config *c, struct error *err);

#endif

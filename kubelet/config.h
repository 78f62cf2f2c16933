/* config.h - the node agent's flags, with a --config file below them. */
#ifndef KUBELET_CONFIG_H
#define KUBELET_CONFIG_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct flag_set;
struct kubelet_config;

/* Sets defaults and registers every flag. */
struct flag_set *kubelet_flags(struct kubelet_config *c);
/* Reads --config (a KubeletConfiguration in YAML or JSON) into what the command line did not set.
 * E_INVALID names the file, the field and what would be right. */
int kubelet_config_load(struct kubelet_config *c, struct flag_set *f, struct error *err);
/* The same of a text, without the file's name in errors. c->file_values is the caller's to free. */
int kubelet_config_read(struct kubelet_config *c, struct flag_set *f, struct str text,
                        struct error *err);
/* Checks values against each other; sets gates. */
int kubelet_config_check(struct kubelet_config *c, struct error *err);
/* Checks name values by their flags: where one came from the file, the message is changed to name
 * the file and its field. Returns err's code. */
int kubelet_config_place(const struct kubelet_config *c, struct error *err);

#endif

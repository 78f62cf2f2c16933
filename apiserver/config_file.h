/* config_file.h - reading the server's own configuration files: YAML or JSON,
 * strictly. What is wrong is gathered with its path, as for objects. */
#ifndef APISERVER_CONFIG_FILE_H
#define APISERVER_CONFIG_FILE_H

#include "apiserver/field_error.h"

struct error;
struct json;

#define CONFIG_BYTES_MAX (3u << 20)

/* One document, its apiVersion one of versions (ended by NULL) of apiserver.config.k8s.io. */
int config_parse(struct arena *a, struct str text, const char *kind, const char *const *versions,
                 struct json **ret, struct error *err);
/* 0, or E_INVALID with all of them. */
int config_result(const struct field_errors *errs, struct error *err);

/* Members of objects: absent ones and nulls are empty, those of another type errors. */
void config_known(struct field_errors *errs, const struct field_path *at, const struct json *j,
                  const char *const *names);
struct str config_str(struct field_errors *errs, const struct field_path *at, const struct json *j,
                      const char *name, bool *ret_given);
bool config_bool(struct field_errors *errs, const struct field_path *at, const struct json *j,
                 const char *name, bool fallback);
/* "5m" in milliseconds. */
int64_t config_duration(struct field_errors *errs, const struct field_path *at,
                        const struct json *j, const char *name, int64_t fallback_ms,
                        bool *ret_given);
/* NULL: absent. */
const struct json *config_object(struct field_errors *errs, const struct field_path *at,
                                 const struct json *j, const char *name);
const struct json *config_list(struct field_errors *errs, const struct field_path *at,
                               const struct json *j, const char *name, size_t *ret_count);
/* An item of a list that must be an object. */
const struct json *config_item(struct field_errors *errs, const struct field_path *at,
                               const struct json *list, size_t index);
size_t config_strings(struct field_errors *errs, const struct field_path *at, const struct json *j,
                      const char *name, struct str **ret);

#endif

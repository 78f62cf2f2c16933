/* config_reader.h - members of a configuration's objects, with all that is wrong
 * gathered under its path. Private to config*.c. */
#ifndef SCHEDULER_CONFIG_READER_H
#define SCHEDULER_CONFIG_READER_H

#include "lib/api/json.h"
#include "lib/base/buf.h"

struct config_reader {
    struct arena *arena;
    struct buf errors; /* "a, b, ..." */
    unsigned error_count;
};

void config_wrong(struct config_reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "podMaxBackoffSeconds: Invalid value: 0: must be ..." */
void config_invalid(struct config_reader *r, const char *path, int64_t value, const char *why);
/* Every member must be among the names (ended by NULL). path "": the document. */
void config_known(struct config_reader *r, const char *path, const struct json *j,
                  const char *const *names);
#define CONFIG_KNOWN(r, path, j, ...)                                                              \
    config_known((r), (path), (j), (const char *const[]){__VA_ARGS__, NULL})
/* "path.name", or "name" in the document; "path[3]". */
const char *config_at(struct config_reader *r, const char *path, const char *name);
const char *config_item(struct config_reader *r, const char *path, size_t i);
/* NULL when absent or null; another type is wrong. */
const struct json *config_member(struct config_reader *r, const char *path, const struct json *j,
                                 const char *name, enum json_type type);
int64_t config_int(struct config_reader *r, const char *path, const struct json *j,
                   const char *name, int64_t fallback);
bool config_bool(struct config_reader *r, const char *path, const struct json *j, const char *name,
                 bool fallback);
/* NULL when absent; in the arena. */
const char *config_text(struct config_reader *r, const char *path, const struct json *j,
                        const char *name);

#endif

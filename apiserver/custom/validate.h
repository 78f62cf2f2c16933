/* validate.h - values of custom kinds against their schema, worded as
 * upstream's validator words it. Pure. */
#ifndef APISERVER_CUSTOM_VALIDATE_H
#define APISERVER_CUSTOM_VALIDATE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct field_errors;
struct field_path;
struct json;
struct structural;

/* old: what stood there before, NULL when it is new. What has not changed is
 * not judged again: a schema may become stricter without stopping its objects. */
void custom_validate(struct field_errors *errs, const struct structural *s, const struct json *j,
                     const struct json *old);
/* Faults of one value, all at one path (defaults in definitions). True: none. */
bool custom_validate_at(struct field_errors *errs, const struct field_path *path,
                        const struct structural *s, const struct json *j);
/* Lists that are sets or have keys: no two items alike. */
void custom_validate_lists(struct field_errors *errs, const struct structural *s,
                           const struct json *j);
/* Objects inside of others say what they are. */
void custom_validate_embedded(struct field_errors *errs, const struct structural *s,
                              const struct json *j);

/* Is the text of that OpenAPI format? Unknown formats hold anything. */
bool custom_format_holds(struct str format, struct str text);
bool custom_format_known(struct str format);

#endif

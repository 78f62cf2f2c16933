/* custom.h - objects of custom kinds: metadata as every object has it, and
 * everything else as a JSON tree.
 *
 * A custom kind's message table is made at run time. It says API_CUSTOM, has
 * metadata as its one field, and is the first member of a struct custom_type,
 * which adds the schema. So whatever handles an object's metadata by the
 * tables works for custom kinds as well, and codecs do the rest:
 *
 *   decoding   what the schema does not know is dropped and reported as an
 *              unknown field; defaults are filled in
 *   encoding   {"apiVersion":..,"kind":..,"metadata":{..},...members by name}
 *
 * There is no protobuf form. */
#ifndef API_CUSTOM_H
#define API_CUSTOM_H

#include "api/meta_v1.h"
#include "lib/api/schema.h"

struct arena;
struct json;
struct structural;

/* Shape of the message. */
struct api_custom {
    struct meta_v1_object_meta metadata;
    struct json *content;      /* Without apiVersion, kind and metadata; never NULL. */
    const struct api_msg *msg; /* Its own table, set by api_msg_new(). */
};

struct custom_type {
    struct api_msg msg;
    struct api_field field; /* metadata */
    struct api_json_member member;
    uint16_t index[1];
    const struct structural *schema; /* NULL: everything is kept as it is. */
};

/* Sets up t, which must stay where it is. The strings are borrowed. */
void custom_type_init(struct custom_type *t, const char *kind, const char *group,
                      const char *version, const struct structural *schema);

static inline const struct custom_type *custom_type_of(const struct api_msg *m)
{
    return m->special == API_CUSTOM ? (const struct custom_type *)(const void *)m : NULL;
}

/* Drops what the type does not know (see structural_prune()) and fills in
 * defaults. */
void custom_tidy(struct arena *a, struct api_custom *obj);

#endif

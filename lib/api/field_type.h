/* field_type.h - the types of JSON values as server-side apply sees them: the
 * generated tables, one value at a time.
 *
 * A type is a small value. Structs and maps are maps here; what the tables do
 * not describe (raw JSON) is one unit whatever it holds. */
#ifndef API_FIELD_TYPE_H
#define API_FIELD_TYPE_H

#include "lib/api/fieldset.h"
#include "lib/api/schema.h"

struct error;
struct structural;

enum field_shape {
    FIELD_SHAPE_STRING,
    FIELD_SHAPE_NUMBER,
    FIELD_SHAPE_BOOL,
    FIELD_SHAPE_SCALAR, /* Any scalar: quantities, times, int-or-string. */
    FIELD_SHAPE_ANY,    /* Any JSON, one unit. */
    FIELD_SHAPE_LIST,
    FIELD_SHAPE_MAP, /* Members by name: msg, or all of one type. */
};

struct field_type {
    enum field_shape shape;
    bool atomic;                   /* Lists and maps: one unit. */
    const struct api_msg *msg;     /* A struct's members; else NULL. */
    const struct api_field *field; /* Lists and maps of a field: the type of elements. */
    /* Custom kinds: the schema in place of the tables; root: of an object. */
    const struct structural *schema;
    bool root;
    bool deduced; /* Of no schema: as the value is. Objects are maps, the rest is one unit. */
};

struct field_type field_type_of_msg(const struct api_msg *m);
/* The type of a member; false: not declared. */
bool field_type_member(const struct field_type *t, struct str name, struct field_type *ret);
/* Whether name is a declared member, not an entry of a map. */
bool field_type_declares(const struct field_type *t, struct str name);
struct field_type field_type_element(const struct field_type *t);
/* The same for a given pair of values (before and after; NULL: none): what is
 * deduced becomes a map where they are objects. */
struct field_type field_type_of_value(const struct field_type *t, const struct json *x,
                                      const struct json *y);

/* The path element of an item of a list that is not atomic. E_INVALID with
 * upstream's words when it can have none. */
int field_type_item(struct arena *a, const struct field_type *list, const struct json *item,
                    struct fieldpath_elem *ret, struct error *err);

/* A set written when lists and maps of today's atomic types were granular:
 * their members become one. The set itself when nothing changes. */
struct fieldset field_type_reconcile(struct arena *a, const struct field_type *t,
                                     const struct fieldset *s);
/* With each declared member that has members below it as a member itself. */
struct fieldset field_type_name_members(struct arena *a, const struct field_type *t,
                                        const struct fieldset *s);

#endif

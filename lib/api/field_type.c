/* field_type.c - see field_type.h. */
#include "lib/api/field_type.h"

#include "lib/api/custom.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

enum { KEYS_MAX = 8 };

static const struct field_type type_string = {.shape = FIELD_SHAPE_STRING};
static const struct field_type type_any = {.shape = FIELD_SHAPE_ANY, .atomic = true};

/* --- types of custom kinds --------------------------------------------------------- */
/* What no schema describes: its type follows from the value. */
static const struct field_type type_deduced = {.shape = FIELD_SHAPE_ANY, .deduced = true};

static struct field_type schema_type(const struct structural *s)
{
    if (s == NULL)
        return type_deduced;
    if (s->int_or_string)
        return (struct field_type){.shape = FIELD_SHAPE_SCALAR};
    switch (s->type) {
    case STRUCTURAL_STRING:
        return type_string;
    case STRUCTURAL_INTEGER:
    case STRUCTURAL_NUMBER:
        return (struct field_type){.shape = FIELD_SHAPE_NUMBER};
    case STRUCTURAL_BOOLEAN:
        return (struct field_type){.shape = FIELD_SHAPE_BOOL};
    case STRUCTURAL_ARRAY:
        return (struct field_type){
            .shape = FIELD_SHAPE_LIST, .atomic = s->list == LIST_ATOMIC, .schema = s};
    case STRUCTURAL_OBJECT:
        if (s->member_count != 0 || s->has_additional || s->embedded || s->map_atomic)
            return (struct field_type){
                .shape = FIELD_SHAPE_MAP, .atomic = s->map_atomic, .schema = s};
        break;
    case STRUCTURAL_ANY:
        break;
    }
    return type_deduced;
}

static struct field_type custom_root(const struct api_msg *m)
{
    return (struct field_type){
        .shape = FIELD_SHAPE_MAP, .root = true, .schema = custom_type_of(m)->schema};
}

/* Members of objects that have a schema, or none at all. */
static bool schema_member(const struct field_type *t, struct str name, struct field_type *ret)
{
    const struct structural *s = t->schema;
    if ((t->root || (s != NULL && s->embedded)) && structural_is_meta(name)) {
        *ret =
            str_eqc(name, "metadata") ? field_type_of_msg(&meta_v1_object_meta_msg) : type_string;
        return true;
    }
    const struct structural *below = structural_member(s, name);
    if (below != NULL)
        *ret = schema_type(below);
    else if (s != NULL && s->has_additional && !s->forbids_additional)
        *ret = schema_type(s->additional);
    else if (s == NULL || s->preserve_unknown || s->embedded)
        *ret = type_deduced;
    else
        return false;
    return true;
}

struct field_type field_type_of_value(const struct field_type *t, const struct json *x,
                                      const struct json *y)
{
    const struct json *j = x != NULL && x->type != JSON_NULL ? x : y;
    if (!t->deduced || t->shape != FIELD_SHAPE_ANY || j == NULL || j->type != JSON_OBJECT ||
        (y != NULL && y->type != JSON_NULL && y->type != JSON_OBJECT))
        return *t;
    return (struct field_type){.shape = FIELD_SHAPE_MAP, .deduced = true};
}

static struct field_type message_type(const struct api_msg *m)
{
    switch ((enum api_special)m->special) {
    case API_PLAIN:
        return (struct field_type){.shape = FIELD_SHAPE_MAP, .atomic = m->struct_atomic, .msg = m};
    case API_TIME:
    case API_MICRO_TIME:
    case API_QUANTITY:
    case API_INT_OR_STRING:
        return (struct field_type){.shape = FIELD_SHAPE_SCALAR};
    case API_DURATION:
    case API_GROUP_VERSION:
        return type_string;
    case API_STRING_LIST:
        return (struct field_type){
            .shape = FIELD_SHAPE_LIST, .atomic = true, .field = &m->fields[0]};
    case API_FIELDS_V1:
    case API_RAW_EXTENSION:
    case API_UNKNOWN:
    case API_JSON:
    case API_SCHEMA_OR_BOOL:
    case API_SCHEMA_OR_ARRAY:
    case API_SCHEMA_OR_STRING_ARRAY:
        break;
    case API_CUSTOM:
        return custom_root(m);
    }
    return type_any;
}

/* One value of the field, without its label. */
static struct field_type value_type(const struct api_field *f)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return (struct field_type){.shape = FIELD_SHAPE_BOOL};
    case API_INT32:
    case API_INT64:
    case API_DOUBLE:
        return (struct field_type){.shape = FIELD_SHAPE_NUMBER};
    case API_STRING:
    case API_BYTES:
        return type_string;
    case API_MESSAGE:
        return message_type(f->msg);
    }
    return type_any;
}

static struct field_type type_of(const struct api_field *f)
{
    if (f->label == API_REPEATED)
        return (struct field_type){
            .shape = FIELD_SHAPE_LIST,
            .atomic = (f->flags & (API_F_LIST_MAP | API_F_LIST_SET)) == 0,
            .field = f,
        };
    if (f->label == API_MAP)
        return (struct field_type){
            .shape = FIELD_SHAPE_MAP, .atomic = (f->flags & API_F_MAP_ATOMIC) != 0, .field = f};
    struct field_type t = value_type(f);
    if (t.shape == FIELD_SHAPE_MAP && (f->flags & API_F_MAP_ATOMIC) != 0)
        t.atomic = true;
    if (t.shape == FIELD_SHAPE_MAP && (f->flags & API_F_MAP_GRANULAR) != 0)
        t.atomic = false; /* The field's own mark overrides its type's. */
    return t;
}

struct field_type field_type_of_msg(const struct api_msg *m)
{
    return message_type(m);
}

static bool is_type_meta(const struct api_msg *m, struct str name)
{
    return m->is_kind && (str_eq(name, STR("kind")) || str_eq(name, STR("apiVersion")));
}

bool field_type_declares(const struct field_type *t, struct str name)
{
    if (t->schema != NULL || t->root)
        return (t->root && structural_is_meta(name)) || structural_member(t->schema, name) != NULL;
    return t->msg != NULL &&
           (api_field_by_json(t->msg, name) != NULL || is_type_meta(t->msg, name));
}

bool field_type_member(const struct field_type *t, struct str name, struct field_type *ret)
{
    if (t->shape == FIELD_SHAPE_ANY) {
        *ret = *t;
        return true;
    }
    if (t->schema != NULL || t->root || t->deduced)
        return schema_member(t, name, ret);
    if (t->msg == NULL) {
        if (t->field == NULL)
            return false;
        *ret = value_type(t->field);
        return true;
    }
    const struct api_field *f = api_field_by_json(t->msg, name);
    if (f != NULL)
        *ret = type_of(f);
    else if (is_type_meta(t->msg, name))
        *ret = type_string;
    else
        return false;
    return true;
}

struct field_type field_type_element(const struct field_type *t)
{
    if (t->schema != NULL)
        return schema_type(t->schema->items);
    return t->field != NULL ? value_type(t->field) : type_any;
}

/* --- items of lists ---------------------------------------------------------------- */
/* The value that stands for a key left out: the schema's default, or the zero
 * value that a field without omitempty has. NULL: none. */
static const struct json *key_default(struct arena *a, const struct api_field *f)
{
    struct json *j = NULL;
    if (f->default_json != NULL)
        return json_parse(a, str_of(f->default_json), &j, NULL) == 0 ? j : NULL;
    if ((f->flags & (API_F_POINTER | API_F_OMITEMPTY | API_F_OMITZERO)) != 0 ||
        f->label != API_SINGULAR)
        return NULL;
    switch ((enum api_type)f->type) {
    case API_STRING:
        return json_string(a, STR(""));
    case API_INT32:
    case API_INT64:
    case API_DOUBLE:
        return json_int(a, 0);
    case API_BOOL:
        return json_bool(a, false);
    case API_BYTES:
    case API_MESSAGE:
        break;
    }
    return NULL;
}

/* The names of a keyed list's keys; returns how many, at most KEYS_MAX. */
static size_t key_names(const struct field_type *list, struct str ret[KEYS_MAX])
{
    size_t n = 0;
    if (list->schema != NULL) {
        for (; n < list->schema->key_count && n < KEYS_MAX; n++)
            ret[n] = list->schema->keys[n];
        return n;
    }
    struct str rest = str_of(list->field->list_map_keys);
    while (rest.len != 0 && n < KEYS_MAX)
        str_cut(rest, ',', &ret[n++], &rest);
    return n;
}

static const struct json *default_of_key(struct arena *a, const struct field_type *list,
                                         struct str name)
{
    if (list->schema != NULL) {
        const struct structural *s = structural_member(list->schema->items, name);
        return s != NULL ? s->default_ : NULL;
    }
    const struct api_field *f = api_field_by_json(list->field->msg, name);
    return f != NULL ? key_default(a, f) : NULL;
}

static int no_keys(const struct field_type *list, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    struct str names[KEYS_MAX];
    size_t n = key_names(list, names);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s\"" STR_FMT "\"", b.len != 0 ? " " : "", STR_ARG(names[i]));
    return error_set(err, E_INVALID,
                     "associative list with keys has an element that omits all key fields "
                     "[" STR_FMT "] (and doesn't have default values for any key fields)",
                     STR_ARG(buf_str(&b)));
}

static int keyed_item(struct arena *a, const struct field_type *list, const struct json *item,
                      struct fieldpath_elem *ret, struct error *err)
{
    struct str names[KEYS_MAX];
    size_t name_count = key_names(list, names);
    if (item->type == JSON_NULL)
        return error_set(err, E_INVALID, "associative list with keys may not have a null element");
    if (item->type != JSON_OBJECT)
        return error_set(err, E_INVALID,
                         "associative list with keys may not have non-map elements");
    struct fieldpath_key *keys = ARENA_ARRAY(a, struct fieldpath_key, KEYS_MAX);
    size_t n = 0;
    for (size_t i = 0; i < name_count; i++) {
        const struct json *value = json_get(item, names[i]);
        if (value == NULL)
            value = default_of_key(a, list, names[i]);
        if (value != NULL)
            keys[n++] = (struct fieldpath_key){names[i], value};
    }
    if (n == 0)
        return no_keys(list, err);
    fieldpath_sort_keys(keys, n);
    *ret = (struct fieldpath_elem){.kind = FIELDPATH_KEY};
    ret->key.items = keys;
    ret->key.count = n;
    return 0;
}

int field_type_item(struct arena *a, const struct field_type *list, const struct json *item,
                    struct fieldpath_elem *ret, struct error *err)
{
    if (list->schema != NULL ? list->schema->list == LIST_MAP
                             : list->field != NULL && (list->field->flags & API_F_LIST_MAP) != 0)
        return keyed_item(a, list, item, ret, err);
    switch (item->type) {
    case JSON_OBJECT:
        return error_set(err, E_INVALID,
                         "associative list without keys has an element that's a map type");
    case JSON_ARRAY:
        return error_set(err, E_INVALID, "not supported: associative list with lists as elements");
    case JSON_NULL:
        return error_set(err, E_INVALID,
                         "associative list without keys has an element that's an explicit null");
    default:
        *ret = (struct fieldpath_elem){.kind = FIELDPATH_VALUE, .value = item};
        return 0;
    }
}

/* --- sets and types ------------------------------------------------------------------ */
/* The type behind one step; false: unknown. */
static bool step(const struct field_type *t, const struct fieldpath_elem *e, struct field_type *ret)
{
    if ((t->shape == FIELD_SHAPE_MAP || t->deduced) && e->kind == FIELDPATH_NAME)
        return field_type_member(t, e->name, ret);
    if (t->shape == FIELD_SHAPE_LIST && e->kind != FIELDPATH_NAME) {
        *ret = field_type_element(t);
        return true;
    }
    return false;
}

struct fieldset field_type_reconcile(struct arena *a, const struct field_type *t,
                                     const struct fieldset *s)
{
    struct fieldset out = *s;
    bool own = false;
    for (size_t i = 0; i < s->count; i++) {
        const struct fieldset_item *item = &s->items[i];
        struct field_type below;
        if (item->children.count == 0 || !step(t, &item->elem, &below) ||
            below.shape < FIELD_SHAPE_LIST)
            continue;
        struct fieldset children =
            below.atomic ? FIELDSET_EMPTY : field_type_reconcile(a, &below, &item->children);
        if (children.items == item->children.items && !below.atomic)
            continue;
        if (!own) {
            out.items = arena_memdup(a, s->items, s->count * sizeof(*s->items));
            out.cap = s->count;
            own = true;
        }
        out.items[i].children = children;
        out.items[i].member = item->member || below.atomic;
    }
    return out;
}

struct fieldset field_type_name_members(struct arena *a, const struct field_type *t,
                                        const struct fieldset *s)
{
    struct fieldset out = *s;
    if (s->count == 0)
        return out;
    out.items = arena_memdup(a, s->items, s->count * sizeof(*s->items));
    out.cap = s->count;
    for (size_t i = 0; i < s->count; i++) {
        struct fieldset_item *item = &out.items[i];
        struct field_type below = type_any;
        if (item->children.count == 0)
            continue;
        if (item->elem.kind == FIELDPATH_NAME && field_type_declares(t, item->elem.name))
            item->member = true;
        if (!step(t, &item->elem, &below))
            below = type_any;
        item->children = field_type_name_members(a, &below, &item->children);
    }
    return out;
}

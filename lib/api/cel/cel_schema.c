/* cel_schema.c - the types of OpenAPI schemas, and how property names are written. */
#include "lib/api/cel/cel_internal.h"

#include "lib/base/buf.h"

enum { SCHEMA_DEPTH_MAX = 64 };

/* --- names ------------------------------------------------------------------------------- */
static bool is_reserved(struct str s)
{
    static const char *const words[] = {
        "true",     "false",   "null",      "in",       "as",  "break",  "const",
        "continue", "else",    "for",       "function", "if",  "import", "let",
        "loop",     "package", "namespace", "return",   "var", "void",   "while",
    };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eqc(s, words[i]))
            return true;
    return false;
}

bool cel_escape(struct arena *a, struct str property, struct str *ret)
{
    if (is_reserved(property)) {
        *ret = arena_printf(a, "__" STR_FMT "__", STR_ARG(property));
        return true;
    }
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < property.len; i++) {
        char c = property.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (c == '_' && i + 1 < property.len && property.data[i + 1] == '_') {
            buf_puts(&b, "__underscores__");
            i++;
        } else if (c == '.') {
            buf_puts(&b, "__dot__");
        } else if (c == '-') {
            buf_puts(&b, "__dash__");
        } else if (c == '/') {
            buf_puts(&b, "__slash__");
        } else if (letter || (i > 0 && c >= '0' && c <= '9')) {
            buf_putc(&b, c);
        } else {
            return false;
        }
    }
    if (b.len == 0 || !(b.data[0] == '_' || (b.data[0] | 0x20) >= 'a'))
        return false;
    *ret = arena_str(a, buf_str(&b));
    return true;
}

/* --- types --------------------------------------------------------------------------------- */
static const struct cel_type *schema_type(struct arena *a, const struct json *s, bool resource,
                                          unsigned depth);

static int by_name(const void *x, const void *y)
{
    const struct cel_field *a = x, *b = y;
    return str_cmp(a->name, b->name);
}

static void add_field(struct arena *a, struct cel_type *t, size_t *cap, const char *name,
                      const struct cel_type *type)
{
    for (size_t i = 0; i < t->field_count; i++)
        if (str_eqc(t->fields[i].json, name))
            return;
    struct cel_field *fields =
        arena_grow(a, (void *)(uintptr_t)t->fields, t->field_count, cap, sizeof(*fields));
    fields[t->field_count++] = (struct cel_field){str_of(name), str_of(name), type};
    t->fields = fields;
}

static const struct cel_type *meta_type(struct arena *a)
{
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    size_t cap = 0;
    t->kind = CEL_OBJECT;
    t->name = STR("object");
    add_field(a, t, &cap, "generateName", &cel_string);
    add_field(a, t, &cap, "name", &cel_string);
    return t;
}

static const struct cel_type *object_type(struct arena *a, const struct json *s, bool resource,
                                          unsigned depth)
{
    const struct json *props = json_getc(s, "properties");
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    size_t cap = 0;
    t->kind = CEL_OBJECT;
    t->name = STR("object");
    for (size_t i = 0; props != NULL && props->type == JSON_OBJECT && i < props->object.count;
         i++) {
        const struct json_member *m = &props->object.members[i];
        struct str name;
        const struct cel_type *type = resource && str_eqc(m->key, "metadata")
                                          ? meta_type(a)
                                          : schema_type(a, m->value, false, depth + 1);
        if (type == NULL || !cel_escape(a, m->key, &name))
            continue;
        struct cel_field *fields =
            arena_grow(a, (void *)(uintptr_t)t->fields, t->field_count, &cap, sizeof(*fields));
        fields[t->field_count++] = (struct cel_field){name, m->key, type};
        t->fields = fields;
    }
    if (resource) {
        add_field(a, t, &cap, "apiVersion", &cel_string);
        add_field(a, t, &cap, "kind", &cel_string);
        add_field(a, t, &cap, "metadata", meta_type(a));
    }
    if (t->field_count > 1)
        qsort((void *)(uintptr_t)t->fields, t->field_count, sizeof(struct cel_field), by_name);
    return t;
}

static const struct cel_type *list_type(struct arena *a, const struct json *s, unsigned depth)
{
    const struct json *items = json_getc(s, "items"),
                      *keys = json_getc(s, "x-kubernetes-list-map-keys");
    const struct cel_type *elem = items != NULL ? schema_type(a, items, false, depth + 1) : NULL;
    struct str kind = json_get_str(s, "x-kubernetes-list-type");
    if (elem == NULL)
        return NULL;
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    t->kind = CEL_LIST;
    t->elem = elem;
    t->list_type = str_eqc(kind, "set")   ? CEL_LIST_SET
                   : str_eqc(kind, "map") ? CEL_LIST_MAP
                                          : CEL_LIST_ATOMIC;
    if (t->list_type == CEL_LIST_MAP && keys != NULL && keys->type == JSON_ARRAY) {
        struct str *names = ARENA_ARRAY(a, struct str, keys->array.count);
        for (size_t i = 0; i < keys->array.count; i++) {
            struct str key =
                keys->array.items[i]->type == JSON_STRING ? keys->array.items[i]->string : STR_NULL;
            if (!cel_escape(a, key, &names[i]))
                names[i] = key;
        }
        t->list_keys = names;
        t->list_key_count = keys->array.count;
    }
    return t;
}

static const struct cel_type *string_type(const struct json *s)
{
    struct str f = json_get_str(s, "format");
    return str_eqc(f, "byte")                              ? &cel_bytes
           : str_eqc(f, "date") || str_eqc(f, "date-time") ? &cel_timestamp
           : str_eqc(f, "duration")                        ? &cel_duration
                                                           : &cel_string;
}

static const struct cel_type *schema_type(struct arena *a, const struct json *s, bool resource,
                                          unsigned depth)
{
    if (depth > SCHEMA_DEPTH_MAX || s->type != JSON_OBJECT)
        return NULL;
    if (json_get_bool(s, "x-kubernetes-int-or-string", false))
        return &cel_dyn;
    struct str type = json_get_str(s, "type");
    resource |= json_get_bool(s, "x-kubernetes-embedded-resource", false);
    const struct json *extra = json_getc(s, "additionalProperties");
    if (str_eqc(type, "array"))
        return list_type(a, s, depth);
    if (str_eqc(type, "object") || (resource && type.len == 0)) {
        if (extra != NULL && extra->type == JSON_OBJECT && extra->object.count != 0) {
            const struct cel_type *elem = schema_type(a, extra, false, depth + 1);
            return elem != NULL ? cel_type_map(a, &cel_string, elem) : NULL;
        }
        if (extra != NULL && (extra->type == JSON_OBJECT || extra->boolean))
            return &cel_map_dyn;
        return object_type(a, s, resource, depth);
    }
    if (str_eqc(type, "string"))
        return string_type(s);
    if (str_eqc(type, "boolean"))
        return &cel_bool;
    if (str_eqc(type, "integer"))
        return &cel_int;
    if (str_eqc(type, "number"))
        return &cel_double;
    /* Without a type nothing is known, and only that is kept can be looked at. */
    return json_get_bool(s, "x-kubernetes-preserve-unknown-fields", false) ? &cel_dyn : NULL;
}

const struct cel_type *cel_schema_type(struct arena *a, const struct json *schema, bool root)
{
    return schema_type(a, schema, root, 0);
}

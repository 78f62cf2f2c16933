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
/* A definition that is being followed. */
struct followed {
    const struct json *schema;
    struct followed *outer;
};

struct builder {
    struct arena *arena;
    bool sized;
    const struct json *definitions; /* Of an OpenAPI document, by name; NULL: a schema alone. */
    struct followed *followed;
};

/* What a reference leads to, also one that is wrapped in allOf; s itself when it is none. */
static const struct json *full(const struct builder *b, const struct json *s)
{
    const struct json *all = json_getc(s, "allOf");
    struct str ref = json_get_str(s, "$ref");
    if (b->definitions == NULL)
        return s;
    if (ref.len == 0 && all != NULL && all->type == JSON_ARRAY && all->array.count != 0)
        ref = json_get_str(all->array.items[0], "$ref");
    if (ref.len == 0)
        return s;
    for (size_t i = ref.len; i > 0; i--)
        if (ref.data[i - 1] == '/')
            return json_get(b->definitions, str_sub(ref, i, ref.len));
    return NULL;
}

static const struct cel_type *schema_type(struct builder *b, const struct json *s, bool resource,
                                          unsigned depth);

static int by_name(const void *x, const void *y)
{
    const struct cel_field *a = x, *b = y;
    return str_cmp(a->name, b->name);
}

/* One of its own for a value that has a size. */
static const struct cel_type *sized(struct builder *b, const struct cel_type *t, uint64_t size_max,
                                    uint64_t json_bytes_min)
{
    if (!b->sized)
        return t;
    struct cel_type *own = arena_memdup(b->arena, t, sizeof(*t));
    own->size_max = size_max;
    own->json_bytes_min = json_bytes_min;
    return own;
}

/* A limit of the schema; negative ones allow nothing. */
static uint64_t limit_of(const struct json *s, const char *name, uint64_t otherwise)
{
    const struct json *j = json_getc(s, name);
    if (j == NULL || j->type != JSON_INT)
        return otherwise;
    return j->integer > 0 ? (uint64_t)j->integer : 0;
}

static void add_field(struct builder *b, struct cel_type *t, size_t *cap, struct str name,
                      struct str json, const struct cel_type *type)
{
    struct cel_field *fields =
        arena_grow(b->arena, (void *)(uintptr_t)t->fields, t->field_count, cap, sizeof(*fields));
    fields[t->field_count++] = (struct cel_field){name, json, type};
    t->fields = fields;
}

#define TEXT_BYTES_MAX (CEL_REQUEST_BYTES_MAX - 2) /* Without the quotes. */

static const struct cel_type *meta_type(struct builder *b)
{
    struct cel_type *t = ARENA_NEW(b->arena, struct cel_type);
    const struct cel_type *text = sized(b, &cel_string, TEXT_BYTES_MAX, 2);
    size_t cap = 0;
    t->kind = CEL_OBJECT;
    t->name = STR("object");
    t->json_bytes_min = 2;
    add_field(b, t, &cap, STR("generateName"), STR("generateName"), text);
    add_field(b, t, &cap, STR("name"), STR("name"), text);
    return t;
}

static bool is_string(const struct json *s, const char *name)
{
    return str_eqc(json_get_str(json_getc(json_getc(s, "properties"), name), "type"), "string");
}

/* Then the schema's own words on metadata count. */
static bool says_all(const struct builder *b, const struct json *s)
{
    const struct json *meta = json_getc(json_getc(s, "properties"), "metadata");
    if (meta != NULL)
        meta = full(b, meta);
    return is_string(s, "kind") && is_string(s, "apiVersion") &&
           str_eqc(json_get_str(meta, "type"), "object") && is_string(meta, "name") &&
           is_string(meta, "generateName");
}

static bool is_required(const struct json *s, struct str name)
{
    const struct json *list = json_getc(s, "required");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++)
        if (list->array.items[i]->type == JSON_STRING && str_eq(list->array.items[i]->string, name))
            return true;
    return false;
}

static bool is_meta(struct str name)
{
    return str_eqc(name, "kind") || str_eqc(name, "apiVersion") || str_eqc(name, "metadata");
}

static void add_member(struct builder *b, struct cel_type *t, size_t *cap, const struct json *s,
                       struct str key, const struct json *schema, const struct cel_type *type)
{
    struct str name;
    if (type == NULL)
        return;
    if (cel_escape(b->arena, key, &name))
        add_field(b, t, cap, name, key, type);
    if (b->sized && is_required(s, key) && (schema == NULL || json_getc(schema, "default") == NULL))
        t->json_bytes_min += key.len + type->json_bytes_min + 4;
}

static const struct cel_type *object_type(struct builder *b, const struct json *s, bool resource,
                                          unsigned depth)
{
    const struct json *props = json_getc(s, "properties");
    struct cel_type *t = ARENA_NEW(b->arena, struct cel_type);
    bool adds_meta = resource && !says_all(b, s);
    size_t cap = 0;
    t->kind = CEL_OBJECT;
    t->name = STR("object");
    t->json_bytes_min = 2;
    for (size_t i = 0; props != NULL && props->type == JSON_OBJECT && i < props->object.count;
         i++) {
        const struct json_member *m = &props->object.members[i];
        if (!adds_meta || !is_meta(m->key))
            add_member(b, t, &cap, s, m->key, m->value, schema_type(b, m->value, false, depth + 1));
    }
    if (adds_meta) {
        const struct cel_type *text = sized(b, &cel_string, TEXT_BYTES_MAX, 2);
        add_member(b, t, &cap, s, STR("apiVersion"), NULL, text);
        add_member(b, t, &cap, s, STR("kind"), NULL, text);
        add_member(b, t, &cap, s, STR("metadata"), NULL, meta_type(b));
    }
    if (t->field_count > 1)
        qsort((void *)(uintptr_t)t->fields, t->field_count, sizeof(struct cel_field), by_name);
    return t;
}

static const struct cel_type *list_type(struct builder *b, const struct json *s, unsigned depth)
{
    const struct json *items = json_getc(s, "items"),
                      *keys = json_getc(s, "x-kubernetes-list-map-keys");
    const struct cel_type *elem = items != NULL ? schema_type(b, items, false, depth + 1) : NULL;
    struct str kind = json_get_str(s, "x-kubernetes-list-type");
    if (elem == NULL)
        return NULL;
    struct cel_type *t = ARENA_NEW(b->arena, struct cel_type);
    t->kind = CEL_LIST;
    t->elem = elem;
    t->json_bytes_min = 2;
    t->size_max = limit_of(s, "maxItems", (CEL_REQUEST_BYTES_MAX - 2) / (elem->json_bytes_min + 1));
    t->list_type = str_eqc(kind, "set")   ? CEL_LIST_SET
                   : str_eqc(kind, "map") ? CEL_LIST_MAP
                                          : CEL_LIST_ATOMIC;
    if (t->list_type == CEL_LIST_MAP && keys != NULL && keys->type == JSON_ARRAY) {
        struct str *names = ARENA_ARRAY(b->arena, struct str, keys->array.count);
        for (size_t i = 0; i < keys->array.count; i++) {
            struct str key =
                keys->array.items[i]->type == JSON_STRING ? keys->array.items[i]->string : STR_NULL;
            if (!cel_escape(b->arena, key, &names[i]))
                names[i] = key;
        }
        t->list_keys = names;
        t->list_key_count = keys->array.count;
    }
    return t;
}

static const struct cel_type *map_type(struct builder *b, const struct json *s,
                                       const struct json *extra, unsigned depth)
{
    const struct cel_type *elem = schema_type(b, extra, false, depth + 1);
    if (elem == NULL)
        return NULL;
    struct cel_type *t = ARENA_NEW(b->arena, struct cel_type);
    t->kind = CEL_MAP;
    t->key = &cel_string;
    t->elem = elem;
    t->json_bytes_min = 2;
    t->size_max =
        limit_of(s, "maxProperties", (CEL_REQUEST_BYTES_MAX - 2) / (elem->json_bytes_min + 6));
    return t;
}

/* The longest of the values that there may be. */
static uint64_t enum_bytes(const struct json *values)
{
    uint64_t max = 0;
    for (size_t i = 0; i < values->array.count; i++)
        if (values->array.items[i]->type == JSON_STRING)
            max = MAX_OF(max, (uint64_t)values->array.items[i]->string.len);
    return max;
}

static const struct cel_type *string_type(struct builder *b, const struct json *s)
{
    struct str f = json_get_str(s, "format");
    const struct json *values = json_getc(s, "enum");
    if (str_eqc(f, "byte"))
        return sized(b, &cel_bytes, limit_of(s, "maxLength", TEXT_BYTES_MAX), 2);
    if (str_eqc(f, "date"))
        return sized(b, &cel_timestamp, 12, 12);
    if (str_eqc(f, "date-time"))
        return sized(b, &cel_timestamp, 32, 21);
    if (str_eqc(f, "duration"))
        return sized(b, &cel_duration, 32, 3);
    uint64_t max = TEXT_BYTES_MAX;
    if (json_getc(s, "maxLength") != NULL)
        max = limit_of(s, "maxLength", 0) * 4; /* A character has up to four bytes. */
    else if (values != NULL && values->type == JSON_ARRAY && values->array.count != 0)
        max = enum_bytes(values);
    return sized(b, &cel_string, max, 2);
}

static const struct cel_type *plain_type(struct builder *b, const struct json *s, bool resource,
                                         unsigned depth)
{
    if (json_get_bool(s, "x-kubernetes-int-or-string", false))
        return sized(b, &cel_dyn,
                     json_getc(s, "maxLength") != NULL ? limit_of(s, "maxLength", 0) * 4
                                                       : TEXT_BYTES_MAX,
                     1);
    struct str type = json_get_str(s, "type");
    resource |= json_get_bool(s, "x-kubernetes-embedded-resource", false);
    const struct json *extra = json_getc(s, "additionalProperties");
    if (str_eqc(type, "array"))
        return list_type(b, s, depth);
    if (str_eqc(type, "object"))
        return extra != NULL && extra->type == JSON_OBJECT ? map_type(b, s, extra, depth)
                                                           : object_type(b, s, resource, depth);
    if (str_eqc(type, "string"))
        return string_type(b, s);
    if (str_eqc(type, "boolean"))
        return sized(b, &cel_bool, 0, 4);
    if (str_eqc(type, "integer"))
        return sized(b, &cel_int, 0, 1);
    if (str_eqc(type, "number"))
        return sized(b, &cel_double, 0, 1);
    /* Of OpenAPI's documents: IntOrString, Quantity. */
    if (b->definitions != NULL && type.len == 0 && json_getc(s, "oneOf") != NULL)
        return &cel_dyn;
    return NULL; /* Nothing is known of what has no type. */
}

static const struct cel_type *schema_type(struct builder *b, const struct json *s, bool resource,
                                          unsigned depth)
{
    static const struct cel_type within_itself = {.kind = CEL_OBJECT, .name = {"object", 6}};
    struct followed mine = {.schema = full(b, s), .outer = b->followed};
    if (depth > SCHEMA_DEPTH_MAX || mine.schema == NULL || mine.schema->type != JSON_OBJECT)
        return NULL;
    if (mine.schema == s)
        return plain_type(b, s, resource, depth);
    for (const struct followed *f = b->followed; f != NULL; f = f->outer)
        if (f->schema == mine.schema)
            return &within_itself;
    b->followed = &mine;
    const struct cel_type *t = plain_type(b, mine.schema, resource, depth);
    b->followed = mine.outer;
    return t;
}

const struct cel_type *cel_schema_type(struct arena *a, const struct json *schema, bool root)
{
    struct builder b = {.arena = a};
    return schema_type(&b, schema, root, 0);
}

const struct cel_type *cel_schema_sized_type(struct arena *a, const struct json *schema, bool root)
{
    struct builder b = {.arena = a, .sized = true};
    return schema_type(&b, schema, root, 0);
}

/* Names the objects of a tree of types that was just built by the way to them. */
static void name_objects(struct arena *a, const struct cel_type *t, struct str name)
{
    if (t->kind == CEL_LIST || t->kind == CEL_MAP) {
        const char *step = t->kind == CEL_LIST ? "@idx" : "@elem";
        if (t->elem != NULL)
            name_objects(a, t->elem, arena_printf(a, STR_FMT ".%s", STR_ARG(name), step));
        return;
    }
    if (t->kind != CEL_OBJECT || t->field_count == 0)
        return;
    ((struct cel_type *)(uintptr_t)t)->name = name;
    for (size_t i = 0; i < t->field_count; i++) {
        const struct cel_type *f = t->fields[i].type;
        if (f->kind == CEL_OBJECT || f->kind == CEL_LIST || f->kind == CEL_MAP)
            name_objects(
                a, f,
                arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(name), STR_ARG(t->fields[i].name)));
    }
}

const struct cel_type *cel_openapi_type(struct arena *a, const struct json *definitions,
                                        const struct json *schema, struct str name)
{
    struct followed outermost = {.schema = schema};
    struct builder b = {.arena = a, .definitions = definitions, .followed = &outermost};
    const struct cel_type *t = schema_type(&b, schema, true, 0);
    if (t != NULL)
        name_objects(a, t, name);
    return t;
}

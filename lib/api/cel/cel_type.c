/* cel_type.c - types: the constant ones, their names, building more. */
#include "lib/api/cel/cel_internal.h"

#include "lib/base/buf.h"

const struct cel_type cel_dyn = {.kind = CEL_DYN}, cel_null = {.kind = CEL_NULL},
                      cel_bool = {.kind = CEL_BOOL}, cel_int = {.kind = CEL_INT},
                      cel_uint = {.kind = CEL_UINT}, cel_double = {.kind = CEL_DOUBLE},
                      cel_string = {.kind = CEL_STRING}, cel_bytes = {.kind = CEL_BYTES},
                      cel_timestamp = {.kind = CEL_TIMESTAMP},
                      cel_duration = {.kind = CEL_DURATION}, cel_quantity = {.kind = CEL_QUANTITY},
                      cel_url = {.kind = CEL_URL}, cel_ip = {.kind = CEL_IP},
                      cel_cidr = {.kind = CEL_CIDR}, cel_format = {.kind = CEL_FORMAT},
                      cel_semver = {.kind = CEL_SEMVER},
                      cel_param_a = {.kind = CEL_PARAM, .name = {"A", 1}},
                      cel_param_b = {.kind = CEL_PARAM, .name = {"B", 1}};
const struct cel_type cel_list_dyn = {.kind = CEL_LIST, .elem = &cel_dyn},
                      cel_map_dyn = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_dyn},
                      cel_list_a = {.kind = CEL_LIST, .elem = &cel_param_a},
                      cel_list_list_a = {.kind = CEL_LIST, .elem = &cel_list_a},
                      cel_map_ab = {.kind = CEL_MAP, .key = &cel_param_a, .elem = &cel_param_b},
                      cel_optional_a = {.kind = CEL_OPTIONAL, .elem = &cel_param_a},
                      cel_list_string = {.kind = CEL_LIST, .elem = &cel_string},
                      cel_map_lists = {.kind = CEL_MAP,
                                       .key = &cel_string,
                                       .elem = &cel_list_string},
                      cel_list_int = {.kind = CEL_LIST, .elem = &cel_int},
                      cel_type_type = {.kind = CEL_TYPE, .elem = &cel_dyn},
                      cel_optional_list_string = {.kind = CEL_OPTIONAL, .elem = &cel_list_string},
                      cel_optional_format = {.kind = CEL_OPTIONAL, .elem = &cel_format};

static const char *const kind_names[] = {
    [CEL_DYN] = "dyn",
    [CEL_ERROR] = "error",
    [CEL_NULL] = "null",
    [CEL_BOOL] = "bool",
    [CEL_INT] = "int",
    [CEL_UINT] = "uint",
    [CEL_DOUBLE] = "double",
    [CEL_STRING] = "string",
    [CEL_BYTES] = "bytes",
    [CEL_TIMESTAMP] = "google.protobuf.Timestamp",
    [CEL_DURATION] = "google.protobuf.Duration",
    [CEL_LIST] = "list",
    [CEL_MAP] = "map",
    [CEL_OBJECT] = "object",
    [CEL_TYPE] = "type",
    [CEL_OPTIONAL] = "optional_type",
    [CEL_QUANTITY] = "kubernetes.Quantity",
    [CEL_URL] = "kubernetes.URL",
    [CEL_IP] = "net.IP",
    [CEL_CIDR] = "net.CIDR",
    [CEL_FORMAT] = "kubernetes.NamedFormat",
    [CEL_SEMVER] = "kubernetes.Semver",
    [CEL_HOST] = "host",
    [CEL_PARAM] = "param",
};

const char *cel_kind_name(enum cel_kind k)
{
    return kind_names[k];
}

static void put_type(struct buf *b, const struct cel_type *t, unsigned depth)
{
    if (t == NULL || depth > 16) {
        buf_puts(b, "dyn");
        return;
    }
    if (t->name.len != 0)
        buf_append_str(b, t->name);
    else
        buf_puts(b, kind_names[t->kind]);
    if (t->kind == CEL_MAP) {
        buf_putc(b, '(');
        put_type(b, t->key, depth + 1);
        buf_puts(b, ", ");
        put_type(b, t->elem, depth + 1);
        buf_putc(b, ')');
    } else if (t->kind == CEL_LIST || t->kind == CEL_OPTIONAL || t->kind == CEL_TYPE) {
        buf_putc(b, '(');
        put_type(b, t->elem, depth + 1);
        buf_putc(b, ')');
    }
}

struct str cel_type_text(struct arena *a, const struct cel_type *t)
{
    AUTO_BUF b = BUF_INIT;
    put_type(&b, t, 0);
    return arena_str(a, buf_str(&b));
}

static struct cel_type *make(struct arena *a, enum cel_kind kind, const struct cel_type *elem)
{
    struct cel_type *t = ARENA_NEW(a, struct cel_type);
    t->kind = kind;
    t->elem = elem;
    return t;
}

const struct cel_type *cel_type_list(struct arena *a, const struct cel_type *elem)
{
    return elem->kind == CEL_DYN ? &cel_list_dyn : make(a, CEL_LIST, elem);
}

const struct cel_type *cel_type_map(struct arena *a, const struct cel_type *key,
                                    const struct cel_type *elem)
{
    struct cel_type *t = make(a, CEL_MAP, elem);
    t->key = key;
    return t;
}

const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *elem)
{
    return make(a, CEL_OPTIONAL, elem);
}

const struct cel_type *cel_type_of_type(struct arena *a, const struct cel_type *t)
{
    return make(a, CEL_TYPE, t);
}

const struct cel_type *cel_type_named(struct str name)
{
    static const struct cel_type dyn_map = {.kind = CEL_MAP, .key = &cel_dyn, .elem = &cel_dyn},
                                 dyn_optional = {.kind = CEL_OPTIONAL, .elem = &cel_dyn};
    static const struct {
        const char *name;
        const struct cel_type *type;
    } named[] = {
        {"bool", &cel_bool},
        {"int", &cel_int},
        {"uint", &cel_uint},
        {"double", &cel_double},
        {"string", &cel_string},
        {"bytes", &cel_bytes},
        {"list", &cel_list_dyn},
        {"map", &dyn_map},
        {"null_type", &cel_null},
        {"type", &cel_type_type},
        {"dyn", &cel_dyn},
        {"optional_type", &dyn_optional},
        {"google.protobuf.Timestamp", &cel_timestamp},
        {"google.protobuf.Duration", &cel_duration},
        {"kubernetes.Quantity", &cel_quantity},
        {"kubernetes.URL", &cel_url},
        {"net.IP", &cel_ip},
        {"net.CIDR", &cel_cidr},
        {"kubernetes.Semver", &cel_semver},
        {"kubernetes.NamedFormat", &cel_format},
    };
    for (size_t i = 0; i < ARRAY_SIZE(named); i++)
        if (str_eqc(name, named[i].name))
            return named[i].type;
    return NULL;
}

struct str cel_value_type_name(const struct cel_value *v)
{
    if ((v->kind == CEL_OBJECT || v->kind == CEL_HOST) && v->type != NULL && v->type->name.len != 0)
        return v->type->name;
    return v->kind == CEL_NULL ? STR("null_type") : str_of(kind_names[v->kind]);
}

const struct cel_field *cel_type_field(const struct cel_type *t, struct str name)
{
    size_t from = 0, to = t->field_count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int c = str_cmp(t->fields[mid].name, name);
        if (c == 0)
            return &t->fields[mid];
        if (c < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

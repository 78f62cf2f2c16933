/* emit_tables.c - the constant tables of one file: fields by number, members
 * of the JSON object (inlined structs flattened) and the message itself. */
#include "proto/gen/emit.h"
#include "proto/gen/model.h"

#include "trireme/options.pb-c.h"

#include "lib/base/buf.h"

#include <string.h>

static const char *const type_names[] = {"API_BOOL",   "API_INT32", "API_INT64",  "API_DOUBLE",
                                         "API_STRING", "API_BYTES", "API_MESSAGE"};

static const char *const special_names[] = {
    "API_PLAIN",
    "API_TIME",
    "API_MICRO_TIME",
    "API_DURATION",
    "API_QUANTITY",
    "API_INT_OR_STRING",
    "API_FIELDS_V1",
    "API_RAW_EXTENSION",
    "API_UNKNOWN",
    "API_JSON",
    "API_SCHEMA_OR_BOOL",
    "API_SCHEMA_OR_ARRAY",
    "API_SCHEMA_OR_STRING_ARRAY",
    "API_STRING_LIST",
    "API_GROUP_VERSION",
};

static const char *const shape_names[] = {"API_SHAPE_PART", "API_SHAPE_OBJECT", "API_SHAPE_LIST",
                                          "API_SHAPE_BARE", "API_SHAPE_NO_TYPEMETA"};

void emit_literal(const char *s, struct buf *out)
{
    if (s == NULL) {
        buf_puts(out, "NULL");
        return;
    }
    buf_putc(out, '"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            buf_putc(out, '\\');
        buf_putc(out, *s);
    }
    buf_putc(out, '"');
}

static void emit_flags(const field_rules *r, struct buf *out)
{
    const struct {
        bool on;
        const char *name;
    } flags[] = {
        {r->pointer, "API_F_POINTER"},
        {r->omitempty, "API_F_OMITEMPTY"},
        {r->omitzero, "API_F_OMITZERO"},
        {r->required, "API_F_REQUIRED"},
        {r->optional, "API_F_OPTIONAL"},
        {r->inline_, "API_F_INLINE"},
        {r->hidden, "API_F_HIDDEN"},
        {r->patch_merge, "API_F_PATCH_MERGE"},
        {r->patch_retain_keys, "API_F_PATCH_RETAIN_KEYS"},
        {r->patch_replace, "API_F_PATCH_REPLACE"},
        {r->list == TRIREME__LIST_TYPE__MAP, "API_F_LIST_MAP"},
        {r->list == TRIREME__LIST_TYPE__SET, "API_F_LIST_SET"},
        {r->list == TRIREME__LIST_TYPE__ATOMIC, "API_F_LIST_ATOMIC"},
        {r->map_type == TRIREME__MAP_TYPE__ATOMIC_MAP, "API_F_MAP_ATOMIC"},
        {r->map_type == TRIREME__MAP_TYPE__GRANULAR, "API_F_MAP_GRANULAR"},
        {r->values != NULL && r->values[0] == '|', "API_F_ENUM_ALLOWS_EMPTY"},
        {r->typed, "API_F_TYPED"},
    };
    bool any = false;
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        if (!flags[i].on)
            continue;
        buf_printf(out, "%s%s", any ? " | " : "", flags[i].name);
        any = true;
    }
    if (!any)
        buf_putc(out, '0');
}

static void emit_description(size_t index, struct buf *out)
{
    if (index != 0)
        buf_printf(out, ", .description = %zu", index);
}

static void emit_optional(const char *member, const char *value, struct buf *out)
{
    if (value == NULL)
        return;
    buf_printf(out, ",\n     .%s = ", member);
    emit_literal(value, out);
}

/* Time's struct is not made of its proto fields; codecs treat it whole. */
static bool is_time(const struct message *m)
{
    return m->rules->special == TRIREME__SPECIAL__TIME ||
           m->rules->special == TRIREME__SPECIAL__MICRO_TIME;
}

static void emit_places(const struct message *m, const struct field *f, struct buf *out)
{
    const char *has = NULL;
    if (f->map || f->repeated)
        has = xasprintf("%s_count", f->c_base);
    else if (f->rules->pointer && f->type != V_MESSAGE && f->type != V_BYTES)
        has = xasprintf("has_%s", f->c_base);
    buf_printf(out, ",\n     .offset = offsetof(struct %s, %s)", m->c_name, f->c_name);
    if (has != NULL)
        buf_printf(out, ", .has_offset = offsetof(struct %s, %s)", m->c_name, has);
    else
        buf_puts(out, ", .has_offset = UINT32_MAX");
    buf_printf(out, ", .elem_size = sizeof(%s)", f->map ? field_entry_type(f) : field_c_type(f));
    if (f->map)
        buf_printf(out, ", .entry_value_offset = offsetof(%s, value)", field_entry_type(f));
}

static void emit_field(const struct message *m, const struct field *f, struct buf *out)
{
    buf_puts(out, "    {.name = ");
    emit_literal(f->name, out);
    if (f->json_name != NULL) {
        buf_puts(out, ", .json_name = ");
        emit_literal(f->json_name, out);
        buf_printf(out, ", .json_len = %zu", strlen(f->json_name));
    }
    emit_description(f->description, out);
    buf_printf(out, ", .number = %u, .type = %s, .label = %s,\n     .flags = ", f->number,
               type_names[f->type],
               f->map        ? "API_MAP"
               : f->repeated ? "API_REPEATED"
                             : "API_SINGULAR");
    emit_flags(f->rules, out);
    if (!is_time(m))
        emit_places(m, f, out);
    if (f->msg != NULL)
        buf_printf(out, ",\n     .msg = &%s_msg", f->msg->c_name);
    emit_optional("patch_merge_key", f->rules->patch_merge_key, out);
    emit_optional("list_map_keys", f->rules->list_map_keys, out);
    emit_optional("default_json", f->rules->default_, out);
    emit_optional("enum_values", f->rules->values, out);
    emit_optional("format", f->rules->format, out);
    buf_puts(out, "},\n");
}

static int by_number(const void *x, const void *y)
{
    const struct field *a = *(const struct field *const *)x, *b = *(const struct field *const *)y;
    return a->number < b->number ? -1 : 1;
}

/* One member of the JSON object: the field, and the path to the struct that
 * holds it ("" or "volume_source"). */
struct member {
    const struct message *owner;
    const struct field *field;
    const char *path;
};

enum { MEMBERS_MAX = 512, INLINE_DEPTH_MAX = 8 };

static size_t collect_members(const struct message *m, const char *path, struct member *ret,
                              size_t count, unsigned depth)
{
    if (depth > INLINE_DEPTH_MAX)
        gen_fail("%s: inlined too deeply", m->full_name);
    for (size_t i = 0; i < m->field_count; i++) {
        const struct field *f = &m->fields[i];
        if (f->rules->inline_) {
            const char *inner = path[0] == '\0' ? f->c_name : xasprintf("%s.%s", path, f->c_name);
            count = collect_members(f->msg, inner, ret, count, depth + 1);
        } else if (f->json_name != NULL) {
            if (count == MEMBERS_MAX)
                gen_fail("%s: too many members", m->full_name);
            ret[count++] = (struct member){m, f, path};
        }
    }
    return count;
}

/* The index of a field in its message's table, which is ordered by number. */
static size_t table_index(const struct message *m, const struct field *f)
{
    size_t index = 0;
    for (size_t i = 0; i < m->field_count; i++)
        index += m->fields[i].number < f->number;
    return index;
}

static size_t emit_members(const struct message *m, struct buf *out)
{
    struct member members[MEMBERS_MAX];
    size_t count = collect_members(m, "", members, 0, 0);
    if (count == 0)
        return 0;
    buf_printf(out, "static const struct api_json_member %s_json[] = {\n", m->c_name);
    for (size_t i = 0; i < count; i++) {
        const struct member *x = &members[i];
        buf_printf(out, "    {&%s_fields[%zu], ", x->owner->c_name,
                   table_index(x->owner, x->field));
        if (x->path[0] == '\0')
            buf_puts(out, "0},\n");
        else
            buf_printf(out, "offsetof(struct %s, %s)},\n", m->c_name, x->path);
    }
    buf_puts(out, "};\n");
    buf_printf(out, "static const uint16_t %s_by_name[] = {", m->c_name);
    bool used[MEMBERS_MAX] = {false};
    for (size_t n = 0; n < count; n++) {
        size_t best = count;
        for (size_t i = 0; i < count; i++)
            if (!used[i] && (best == count || strcmp(members[i].field->json_name,
                                                     members[best].field->json_name) < 0))
                best = i;
        used[best] = true;
        for (size_t i = 0; i < count; i++)
            if (!used[i] &&
                strcmp(members[i].field->json_name, members[best].field->json_name) == 0)
                gen_fail("%s: two members named %s", m->full_name, members[i].field->json_name);
        buf_printf(out, "%s%zu", n == 0 ? "" : ", ", best);
    }
    buf_puts(out, "};\n");
    return count;
}

static void emit_message_fields(const struct message *m, struct buf *out)
{
    if (m->field_count == 0)
        return;
    const struct field **sorted = xzalloc(sizeof(*sorted) * m->field_count);
    for (size_t i = 0; i < m->field_count; i++)
        sorted[i] = &m->fields[i];
    qsort(sorted, m->field_count, sizeof(*sorted), by_number);
    buf_printf(out, "const struct api_field %s_fields[] = {\n", m->c_name);
    for (size_t i = 0; i < m->field_count; i++)
        emit_field(m, sorted[i], out);
    buf_puts(out, "};\n");
    free(sorted);
}

static void emit_declared(const struct message *m, struct buf *out)
{
    if (m->field_count == 0)
        return;
    buf_printf(out, "static const uint16_t %s_declared[] = {", m->c_name);
    for (size_t i = 0; i < m->field_count; i++)
        buf_printf(out, "%s%zu", i == 0 ? "" : ", ", table_index(m, &m->fields[i]));
    buf_puts(out, "};\n");
}

static void emit_message(const struct message *m, struct buf *out)
{
    const file_rules *file = m->file->rules;
    buf_putc(out, '\n');
    size_t members = is_time(m) ? 0 : emit_members(m, out);
    emit_declared(m, out);
    buf_printf(out, "const struct api_msg %s_msg = {\n    .full_name = ", m->c_name);
    emit_literal(m->full_name, out);
    buf_puts(out, ",\n    .name = ");
    emit_literal(m->name, out);
    buf_puts(out, ",\n    .group = ");
    emit_literal(file->version == NULL     ? NULL
                 : m->rules->group != NULL ? m->rules->group
                                           : file->group,
                 out);
    buf_puts(out, ",\n    .version = ");
    emit_literal(m->rules->version != NULL ? m->rules->version : file->version, out);
    buf_printf(
        out, ",\n    .size = sizeof(struct %s), .field_count = %zu, .special = %s, .shape = %s,\n",
        m->c_name, m->field_count, special_names[m->rules->special], shape_names[m->rules->shape]);
    buf_printf(out, "    .struct_atomic = %d, .is_kind = %d", m->rules->atomic ? 1 : 0,
               m->rules->kind ? 1 : 0);
    emit_description(m->description, out);
    buf_puts(out, ",\n");
    if (m->rules->union_by != NULL) {
        buf_puts(out, "    .union_by = ");
        emit_literal(m->rules->union_by, out);
        buf_puts(out, ",\n");
    }
    if (m->field_count > 0)
        buf_printf(out, "    .fields = %s_fields, .declared = %s_declared,\n", m->c_name,
                   m->c_name);
    if (members > 0)
        buf_printf(out, "    .json = %s_json, .json_by_name = %s_by_name, .json_count = %zu,\n",
                   m->c_name, m->c_name, members);
    buf_puts(out, "};\n");
}

/* Field tables are named by the members of other messages, and of other
 * files, that inline them. */
static void emit_extern_fields(const struct message *m, struct buf *out)
{
    buf_printf(out, "extern const struct api_field %s_fields[];\n", m->c_name);
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].rules->inline_)
            emit_extern_fields(m->fields[i].msg, out);
}

void emit_tables(const struct file *f, struct buf *out)
{
    buf_printf(out, "/* Generated from %s by proto/gen. */\n#include \"api/%s.h\"\n\n", f->path,
               f->c_name);
    for (size_t i = 0; i < f->message_count; i++)
        if (f->messages[i].field_count > 0)
            emit_extern_fields(&f->messages[i], out);
    buf_putc(out, '\n');
    for (size_t i = 0; i < f->message_count; i++)
        emit_message_fields(&f->messages[i], out);
    for (size_t i = 0; i < f->message_count; i++)
        emit_message(&f->messages[i], out);
}

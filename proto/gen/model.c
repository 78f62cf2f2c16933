/* model.c - from descriptors to the model. Custom options reach a plugin as
 * unknown fields of the options messages, since protobuf-c knows no
 * extensions; their bytes are unpacked by hand here. */
#include "proto/gen/model.h"

#include "plugin.pb-c.h"
#include "trireme/options.pb-c.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef Google__Protobuf__FileDescriptorProto desc_file;
typedef Google__Protobuf__DescriptorProto desc_message;
typedef Google__Protobuf__FieldDescriptorProto desc_field;

/* Numbers of the extensions in trireme/options.proto. */
enum { EXT_FILE = 50100, EXT_MESSAGE = 50101, EXT_FIELD = 50102 };

void gen_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("protoc-gen-trireme: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static bool is_upper(char c)
{
    return isupper((unsigned char)c) != 0;
}
static bool is_lower(char c)
{
    return islower((unsigned char)c) != 0;
}

char *name_snake(const char *s)
{
    size_t n = strlen(s);
    char *in = xstrdup(s);
    /* The upstream generator lowers only the first letter of Go's name:
     * UID is written uID and APIGroup aPIGroup. */
    if (n >= 2 && is_lower(in[0]) && is_upper(in[1]) && (n == 2 || is_upper(in[2])))
        in[0] = (char)toupper((unsigned char)in[0]);
    char *out = xmalloc(2 * n + 1);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        bool boundary = false;
        if (i > 0 && is_upper(in[i])) {
            boundary = !is_upper(in[i - 1]);
            /* The last capital of a run begins a word (IPBlock), unless what
             * follows it is only a plural's s (CIDRs). */
            if (!boundary && is_lower(in[i + 1]))
                boundary = !(in[i + 1] == 's' && (in[i + 2] == '\0' || is_upper(in[i + 2])));
        }
        if (boundary)
            out[len++] = '_';
        out[len++] = (char)tolower((unsigned char)in[i]);
    }
    out[len] = '\0';
    free(in);
    return out;
}

static bool is_reserved(const char *s)
{
    static const char *const words[] = {
        "auto",     "bool",   "break",    "case",   "char",   "const",    "continue", "default",
        "do",       "double", "else",     "enum",   "extern", "false",    "float",    "for",
        "goto",     "if",     "inline",   "int",    "long",   "register", "restrict", "return",
        "short",    "signed", "sizeof",   "static", "struct", "switch",   "true",     "typedef",
        "unsigned", "void",   "volatile", "while",  "union",  "linux",    "unix",
    };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(words[i], s) == 0)
            return true;
    return false;
}

/* The extension's payload in a message's unknown fields, unpacked. */
static ProtobufCMessage *unpack_rules(const ProtobufCMessage *options, uint32_t number,
                                      const ProtobufCMessageDescriptor *type, const char *where)
{
    if (options != NULL) {
        for (size_t i = 0; i < options->n_unknown_fields; i++) {
            const ProtobufCMessageUnknownField *u = &options->unknown_fields[i];
            if (u->tag != number)
                continue;
            size_t skip = 0; /* The length stands in front of the data. */
            while (skip < u->len && (u->data[skip] & 0x80) != 0)
                skip++;
            skip++;
            if (skip > u->len)
                gen_fail("%s: damaged option", where);
            ProtobufCMessage *m =
                protobuf_c_message_unpack(type, NULL, u->len - skip, u->data + skip);
            if (m == NULL)
                gen_fail("%s: damaged option", where);
            return m;
        }
    }
    return NULL;
}

static struct file *find_file(const struct model *m, const char *path)
{
    for (size_t i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].path, path) == 0)
            return &m->files[i];
    return NULL;
}

struct message *model_find(const struct model *m, const char *full_name)
{
    for (size_t i = 0; i < m->file_count; i++) {
        const struct file *f = &m->files[i];
        for (size_t j = 0; j < f->message_count; j++)
            if (strcmp(f->messages[j].full_name, full_name) == 0)
                return &f->messages[j];
    }
    return NULL;
}

static enum value_type value_type_of(const desc_field *d, const char *where)
{
    switch (d->type) {
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BOOL:
        return V_BOOL;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32:
        return V_INT32;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT64:
        return V_INT64;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_DOUBLE:
        return V_DOUBLE;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING:
        return V_STRING;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES:
        return V_BYTES;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE:
        return V_MESSAGE;
    default:
        gen_fail("%s: field type not supported", where);
    }
}

static const desc_message *map_entry_of(const desc_message *parent, const desc_field *d)
{
    if (d->type_name == NULL)
        return NULL;
    const char *last = strrchr(d->type_name, '.');
    for (size_t i = 0; i < parent->n_nested_type; i++) {
        const desc_message *n = parent->nested_type[i];
        if (n->options != NULL && n->options->map_entry && last != NULL &&
            strcmp(n->name, last + 1) == 0)
            return n;
    }
    return NULL;
}

static void build_field(const struct model *model, const struct message *m, const desc_message *dm,
                        const desc_field *d, struct field *f)
{
    char *where = xasprintf("%s.%s", m->full_name, d->name);
    f->name = d->name;
    f->number = (uint32_t)d->number;
    f->rules =
        (const field_rules *)unpack_rules(d->options == NULL ? NULL : &d->options->base, EXT_FIELD,
                                          &trireme__field_rules__descriptor, where);
    if (f->rules == NULL) {
        static const field_rules none = TRIREME__FIELD_RULES__INIT;
        f->rules = &none;
    }
    f->c_base = name_snake(d->name);
    f->c_name = is_reserved(f->c_base) ? xasprintf("%s_", f->c_base) : f->c_base;
    if (!f->rules->hidden && !f->rules->inline_)
        f->json_name = f->rules->json != NULL ? f->rules->json : d->name;
    f->repeated = d->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    const desc_message *entry = map_entry_of(dm, d);
    if (entry != NULL) {
        f->map = true;
        f->repeated = false;
        d = entry->field[1];
        if (entry->field[0]->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING)
            gen_fail("%s: map keys must be strings", where);
    }
    f->type = value_type_of(d, where);
    if (f->type == V_MESSAGE) {
        f->msg = model_find(model, d->type_name + 1); /* Behind the leading dot. */
        if (f->msg == NULL)
            gen_fail("%s: unknown type %s", where, d->type_name);
        if (f->map)
            f->msg->is_map_value = true;
    } else if (f->map && f->type != V_STRING && f->type != V_BYTES) {
        gen_fail("%s: map values must be strings, bytes or messages", where);
    }
    if (f->rules->pointer && (f->repeated || f->map))
        gen_fail("%s: a list or map cannot be a pointer", where);
    free(where);
}

static void build_messages(const desc_file *d, struct file *f)
{
    f->messages = xzalloc(sizeof(*f->messages) * (d->n_message_type + 1));
    f->message_count = d->n_message_type;
    for (size_t i = 0; i < d->n_message_type; i++) {
        const desc_message *dm = d->message_type[i];
        struct message *m = &f->messages[i];
        m->name = dm->name;
        m->full_name = xasprintf("%s.%s", d->package, dm->name);
        char *snake = name_snake(dm->name);
        m->c_name = xasprintf("%s_%s", f->c_name, snake);
        free(snake);
        m->file = f;
        m->rules = (const message_rules *)unpack_rules(
            dm->options == NULL ? NULL : &dm->options->base, EXT_MESSAGE,
            &trireme__message_rules__descriptor, m->full_name);
        if (m->rules == NULL) {
            static const message_rules none = TRIREME__MESSAGE_RULES__INIT;
            m->rules = &none;
        }
    }
}

static void build_fields(const struct model *model, const desc_file *d, struct file *f)
{
    f->imports = xzalloc(sizeof(*f->imports) * (d->n_dependency + 1));
    for (size_t i = 0; i < d->n_dependency; i++) {
        struct file *import = find_file(model, d->dependency[i]);
        if (import != NULL)
            f->imports[f->import_count++] = import;
    }
    for (size_t i = 0; i < d->n_message_type; i++) {
        const desc_message *dm = d->message_type[i];
        struct message *m = &f->messages[i];
        m->field_count = dm->n_field;
        m->fields = xzalloc(sizeof(*m->fields) * (dm->n_field + 1));
        for (size_t j = 0; j < dm->n_field; j++)
            build_field(model, m, dm, dm->field[j], &m->fields[j]);
    }
}

struct model *model_build(const plugin_request *request)
{
    struct model *m = xzalloc(sizeof(*m));
    m->files = xzalloc(sizeof(*m->files) * (request->n_proto_file + 1));
    const desc_file **descs = xzalloc(sizeof(*descs) * (request->n_proto_file + 1));
    for (size_t i = 0; i < request->n_proto_file; i++) {
        const desc_file *d = request->proto_file[i];
        const file_rules *rules =
            (const file_rules *)unpack_rules(d->options == NULL ? NULL : &d->options->base,
                                             EXT_FILE, &trireme__file_rules__descriptor, d->name);
        if (rules == NULL)
            continue;
        struct file *f = &m->files[m->file_count];
        descs[m->file_count++] = d;
        f->path = d->name;
        f->rules = rules;
        f->c_name = rules->c_name;
        build_messages(d, f);
    }
    for (size_t i = 0; i < m->file_count; i++)
        build_fields(m, descs[i], &m->files[i]);
    free(descs);
    return m;
}

bool field_is_embedded(const struct field *f)
{
    return f->type == V_MESSAGE && !f->repeated && !f->map && !f->rules->pointer;
}

const char *field_c_type(const struct field *f)
{
    switch (f->type) {
    case V_BOOL:
        return "bool";
    case V_INT32:
        return "int32_t";
    case V_INT64:
        return "int64_t";
    case V_DOUBLE:
        return "double";
    case V_STRING:
    case V_BYTES:
        return "struct str";
    case V_MESSAGE:
        return xasprintf("struct %s", f->msg->c_name);
    }
    gen_fail("%s: no C type", f->name);
}

const char *message_entry_name(const struct message *m)
{
    if (m->rules->special == TRIREME__SPECIAL__QUANTITY)
        return "struct api_quantity_entry";
    return xasprintf("struct %s_entry", m->c_name);
}

const char *field_entry_type(const struct field *f)
{
    return f->type == V_MESSAGE ? message_entry_name(f->msg) : "struct api_str_entry";
}

/* options_file.c - etcd's configuration file: YAML, one key for each flag.
 *
 *   name: a
 *   initial-cluster: a=http://10.0.0.1:2380,b=http://10.0.0.2:2380
 *   client-transport-security:
 *     cert-file: /etc/etcd/server.crt
 *
 * A key that is no flag is an error: a setting that was misspelt is not left out
 * silently. Lists may be YAML lists or text divided by commas. */
#include "raftstore/options.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <yaml.h>

#define FILE_MAX_BYTES (1u << 20)

/* Keys that are named otherwise than flags, by the section they stand in. */
static const struct {
    const char *section, *key, *flag;
} renamed[] = {
    {"client-transport-security", "cert-file", "cert-file"},
    {"client-transport-security", "key-file", "key-file"},
    {"client-transport-security", "client-cert-auth", "client-cert-auth"},
    {"client-transport-security", "trusted-ca-file", "trusted-ca-file"},
    {"client-transport-security", "auto-tls", "auto-tls"},
    {"client-transport-security", "client-crl-file", "client-crl-file"},
    {"client-transport-security", "crl-file", "client-crl-file"},
    {"client-transport-security", "allowed-hostname", "client-cert-allowed-hostname"},
    {"peer-transport-security", "cert-file", "peer-cert-file"},
    {"peer-transport-security", "key-file", "peer-key-file"},
    {"peer-transport-security", "client-cert-auth", "peer-client-cert-auth"},
    {"peer-transport-security", "trusted-ca-file", "peer-trusted-ca-file"},
    {"peer-transport-security", "auto-tls", "peer-auto-tls"},
    {"peer-transport-security", "crl-file", "peer-crl-file"},
    {"peer-transport-security", "allowed-cn", "peer-cert-allowed-cn"},
    {"peer-transport-security", "allowed-hostname", "peer-cert-allowed-hostname"},
};

struct reading {
    yaml_parser_t parser;
    struct flag_set *flags;
    struct arena *arena;
    struct error *err;
};

/* What the parser says, without its memory. */
struct piece {
    yaml_event_type_t type;
    size_t line;
    struct str text; /* Of a scalar, in the arena. */
    bool null;       /* A scalar that says so. */
};

static int next(struct reading *r, struct piece *ret)
{
    yaml_event_t ev;
    if (!yaml_parser_parse(&r->parser, &ev))
        return error_set(r->err, E_INVALID, "line %zu: %s", r->parser.problem_mark.line + 1,
                         r->parser.problem != NULL ? r->parser.problem : "not YAML");
    *ret = (struct piece){.type = ev.type, .line = ev.start_mark.line + 1};
    if (ev.type == YAML_SCALAR_EVENT) {
        ret->text =
            arena_str(r->arena, str_n((const char *)ev.data.scalar.value, ev.data.scalar.length));
        ret->null = ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                    (str_eqc(ret->text, "null") || str_eqc(ret->text, "~"));
    }
    yaml_event_delete(&ev);
    return 0;
}

/* The rest of a list, joined by commas. */
static int read_list(struct reading *r, struct str *ret)
{
    AUTO_BUF all = BUF_INIT;
    for (;;) {
        struct piece ev;
        int rc = next(r, &ev);
        if (rc < 0)
            return rc;
        if (ev.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (ev.type != YAML_SCALAR_EVENT)
            return error_set(r->err, E_INVALID, "line %zu: a list of words is wanted", ev.line);
        if (all.len > 0)
            buf_putc(&all, ',');
        buf_append_str(&all, ev.text);
    }
    *ret = arena_str(r->arena, buf_str(&all));
    return 0;
}

static int set(struct reading *r, const char *section, struct str key, struct str value,
               size_t line)
{
    const char *flag = section == NULL ? key.data : NULL;
    for (size_t i = 0; section != NULL && i < ARRAY_SIZE(renamed); i++)
        if (strcmp(renamed[i].section, section) == 0 && str_eqc(key, renamed[i].key))
            flag = renamed[i].flag;
    if (flag == NULL || !flag_known(r->flags, flag) || strcmp(flag, "config-file") == 0 ||
        strcmp(flag, "version") == 0)
        return error_set(r->err, E_INVALID, "line %zu: unknown key \"%s%s%s\"", line,
                         section != NULL ? section : "", section != NULL ? "." : "", key.data);
    if (str_empty(value))
        return 0;
    int rc = flag_set_value(r->flags, flag, value.data, r->err);
    return rc == 0 ? 0 : error_prefix(r->err, "line %zu", line);
}

static int read_mapping(struct reading *r, const char *section);

static int read_value(struct reading *r, const char *section, struct str key, size_t line)
{
    struct piece ev;
    struct str list;
    int rc = next(r, &ev);
    if (rc < 0)
        return rc;
    switch (ev.type) {
    case YAML_SCALAR_EVENT:
        return set(r, section, key, ev.null ? STR_NULL : ev.text, line);
    case YAML_SEQUENCE_START_EVENT:
        rc = read_list(r, &list);
        return rc < 0 ? rc : set(r, section, key, list, line);
    case YAML_MAPPING_START_EVENT:
        if (section == NULL)
            return read_mapping(r, key.data);
        break;
    default:
        break;
    }
    return error_set(r->err, E_INVALID, "line %zu: \"%s\" cannot be read", line, key.data);
}

static int read_mapping(struct reading *r, const char *section)
{
    for (;;) {
        struct piece ev;
        int rc = next(r, &ev);
        if (rc < 0)
            return rc;
        if (ev.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (ev.type != YAML_SCALAR_EVENT)
            return error_set(r->err, E_INVALID, "line %zu: a key is wanted", ev.line);
        rc = read_value(r, section, ev.text, ev.line);
        if (rc < 0)
            return rc;
    }
}

static int read_document(struct reading *r)
{
    for (;;) {
        struct piece ev;
        int rc = next(r, &ev);
        if (rc < 0)
            return rc;
        if (ev.type == YAML_MAPPING_START_EVENT)
            return read_mapping(r, NULL);
        if (ev.type == YAML_STREAM_END_EVENT ||
            (ev.type == YAML_SCALAR_EVENT && str_empty(ev.text)))
            return 0;
        if (ev.type != YAML_STREAM_START_EVENT && ev.type != YAML_DOCUMENT_START_EVENT)
            return error_set(r->err, E_INVALID, "keys and values are wanted");
    }
}

int options_file_parse(struct flag_set *f, struct str text, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct error local = {0};
    struct reading r = {.flags = f, .arena = a, .err = err != NULL ? err : &local};
    if (!yaml_parser_initialize(&r.parser))
        return error_set(err, E_NO_MEMORY, "no memory to read YAML");
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.data, text.len);
    int rc = read_document(&r);
    yaml_parser_delete(&r.parser);
    return rc;
}

int options_file_read(struct flag_set *f, const char *path, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int rc = file_read(path, FILE_MAX_BYTES, &text, err);
    if (rc == 0)
        rc = options_file_parse(f, buf_str(&text), err);
    return rc == 0 ? 0 : error_prefix(err, "--config-file %s", path);
}

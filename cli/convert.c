/* convert.c - `trireme convert`: objects from one encoding into another, in the
 * same meaning. Needs no cluster.
 *
 * Kinds of the scheme are read into their types, so that the output is what a
 * server would say; others pass as documents, between JSON and YAML. */
#include "cli/convert.h"

#include "cli/verbs.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_MAX = 256 * 1024 * 1024, JSON_INDENT = 4 };

/* One object on its way: typed if its kind is known, else a tree. */
struct item {
    struct str api_version;
    struct str kind_name;
    const struct api_kind *kind;
    void *msg;
    struct json *tree;
};

int convert_format(const char *name, enum convert_format *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum convert_format format;
    } names[] = {{"json", CONVERT_JSON}, {"yaml", CONVERT_YAML}, {"protobuf", CONVERT_PROTOBUF}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(names[i].name, name) == 0) {
            *ret = names[i].format;
            return 0;
        }
    }
    return error_set(err, E_USAGE, "unknown format \"%s\": json, yaml and protobuf are possible",
                     name);
}

/* --- reading ------------------------------------------------------------------------- */

static int unknown_kind(const struct item *it, struct error *err)
{
    return error_set(err, E_INVALID,
                     "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT "\"",
                     STR_ARG(it->kind_name), STR_ARG(it->api_version));
}

static int read_protobuf(struct arena *a, struct str input, struct item *it, struct error *err)
{
    struct str raw;
    int r = api_envelope_open(input, &it->api_version, &it->kind_name, &raw, err);
    if (r != 0)
        return r;
    it->kind = api_kind_by_api_version(it->api_version, it->kind_name);
    if (it->kind == NULL)
        return unknown_kind(it, err);
    it->msg = api_msg_new(a, it->kind->msg);
    return api_pb_decode(a, it->kind->msg, raw, it->msg, err);
}

static int read_tree(struct arena *a, struct json *tree, struct api_warnings *warnings,
                     struct item *it, struct error *err)
{
    it->tree = tree;
    it->api_version = json_get_str(tree, "apiVersion");
    it->kind_name = json_get_str(tree, "kind");
    if (tree->type != JSON_OBJECT || it->api_version.len == 0 || it->kind_name.len == 0)
        return error_set(err, E_INVALID, "an object needs \"apiVersion\" and \"kind\"");
    it->kind = api_kind_by_api_version(it->api_version, it->kind_name);
    if (it->kind == NULL)
        return 0;
    it->msg = api_msg_new(a, it->kind->msg);
    int r = api_json_decode_tree(a, it->kind->msg, tree, API_WARN, warnings, it->msg, err);
    return r != 0 ? error_prefix(err, "%s in version \"%s\"", it->kind->kind, it->kind->api_version)
                  : 0;
}

/* --- writing ------------------------------------------------------------------------- */

static int write_item(struct arena *a, enum convert_format format, const struct item *it,
                      struct buf *out, struct error *err)
{
    if (format == CONVERT_PROTOBUF) {
        if (it->kind == NULL)
            return unknown_kind(it, err);
        api_envelope_encode(it->kind->msg, it->msg, it->api_version, it->kind_name, out);
        return 0;
    }
    const struct json *tree = it->tree;
    if (it->kind != NULL)
        tree = api_json_tree(a, it->kind->msg, it->msg, it->api_version, it->kind_name);
    if (format == CONVERT_YAML) {
        api_yaml_write(tree, out);
    } else {
        json_write_indent(tree, false, JSON_INDENT, out);
        buf_putc(out, '\n');
    }
    return 0;
}

struct conversion {
    enum convert_format to;
    struct buf *out;
    struct api_warnings *warnings;
    struct arena *warnings_arena;
    size_t count; /* Objects written. */
};

static int convert_item(struct conversion *c, struct arena *a, const struct item *it,
                        struct error *err)
{
    if (c->count > 0 && c->to == CONVERT_PROTOBUF)
        return error_set(err, E_INVALID, "protobuf holds one object, but the input has more");
    if (c->count > 0 && c->to == CONVERT_YAML)
        buf_puts(c->out, "---\n");
    c->count++;
    return write_item(a, c->to, it, c->out, err);
}

static int convert_tree(struct conversion *c, struct arena *a, struct json *tree, struct error *err)
{
    struct item it = {0};
    struct api_warnings found = {0};
    int r = read_tree(a, tree, &found, &it, err);
    for (size_t i = 0; c->warnings != NULL && i < found.count; i++) {
        struct api_warnings *w = c->warnings;
        w->items = arena_grow(c->warnings_arena, w->items, w->count, &w->cap, sizeof(*w->items));
        w->items[w->count++] = arena_str(c->warnings_arena, found.items[i]);
    }
    return r != 0 ? r : convert_item(c, a, &it, err);
}

static int convert_yaml(struct conversion *c, struct str input, struct error *err)
{
    for (;;) {
        AUTO_ARENA *a = arena_new(0);
        struct json *tree;
        size_t consumed;
        int r = api_yaml_parse(a, input, &consumed, &tree, err);
        if (r == E_EOF)
            return c->count > 0 ? 0 : error_set(err, E_INVALID, "the input has no objects");
        if (r == 0 && tree->type != JSON_NULL)
            r = convert_tree(c, a, tree, err);
        if (r != 0)
            return r;
        input = str_sub(input, consumed, input.len - consumed);
    }
}

int convert_bytes(enum convert_format from, enum convert_format to, struct str input,
                  struct buf *out, struct arena *warnings_arena, struct api_warnings *warnings,
                  struct error *err)
{
    struct conversion c = {
        .to = to, .out = out, .warnings = warnings, .warnings_arena = warnings_arena};
    if (from == CONVERT_YAML)
        return convert_yaml(&c, input, err);
    AUTO_ARENA *a = arena_new(0);
    int r;
    if (from == CONVERT_PROTOBUF) {
        struct item it = {0};
        r = read_protobuf(a, input, &it, err);
        return r != 0 ? r : convert_item(&c, a, &it, err);
    }
    struct json *tree;
    r = json_parse(a, input, &tree, err);
    return r != 0 ? r : convert_tree(&c, a, tree, err);
}

/* --- the verb ------------------------------------------------------------------------- */

static int read_input(const char *path, struct buf *ret, struct error *err)
{
    if (strcmp(path, "-") != 0)
        return file_read(path, INPUT_MAX, ret, err);
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buf_reserve(ret, 65536), 65536);
        if (n < 0)
            return error_set(err, E_IO, "cannot read the standard input");
        if (n == 0)
            return 0;
        buf_commit(ret, (size_t)n);
        if (ret->len > INPUT_MAX)
            return error_set(err, E_TOO_LARGE, "more input than %d bytes", INPUT_MAX);
    }
}

/* What the input is, when the user does not say. */
static enum convert_format guess_format(struct str input)
{
    if (api_envelope_is(input))
        return CONVERT_PROTOBUF;
    size_t i = 0;
    while (i < input.len && isspace((unsigned char)input.data[i]))
        i++;
    return i < input.len && input.data[i] == '{' ? CONVERT_JSON : CONVERT_YAML;
}

static int convert(const char *from_name, const char *to_name, const char *path, struct error *err)
{
    AUTO_BUF input = BUF_INIT, output = BUF_INIT;
    AUTO_ARENA *a = arena_new(0);
    struct api_warnings warnings = {0};
    enum convert_format from = CONVERT_YAML, to = CONVERT_YAML;
    int r = convert_format(to_name, &to, err);
    if (r == 0 && from_name != NULL)
        r = convert_format(from_name, &from, err);
    if (r == 0)
        r = read_input(path, &input, err);
    if (r == 0 && from_name == NULL)
        from = guess_format(buf_str(&input));
    if (r == 0)
        r = convert_bytes(from, to, buf_str(&input), &output, a, &warnings, err);
    for (size_t i = 0; i < warnings.count; i++)
        fprintf(stderr, "warning: " STR_FMT "\n", STR_ARG(warnings.items[i]));
    if (r == 0 && (fwrite(output.data, 1, output.len, stdout) != output.len || fflush(stdout) != 0))
        r = error_set(err, E_IO, "cannot write the output");
    return r;
}

int cli_convert(int argc, char **argv)
{
    const char *from = NULL, *to = "yaml";
    struct flag_set *flags = flag_set_new("trireme convert [-i FORMAT] [-o FORMAT] [FILE]");
    flag_string(flags, &from, "input,i",
                "`Format` of the input: json, yaml or protobuf. Guessed when not given.");
    flag_string(flags, &to, "output,o", "`Format` of the output: json, yaml or protobuf.");
    int status = 0;
    struct error err = {0};
    if (verb_flags(flags, argc, argv, &status) == 0) {
        size_t count;
        const char *const *args = flag_set_args(flags, &count);
        if (count > 1) {
            fprintf(stderr, "error: one file at most\n");
            status = 2;
        } else if (convert(from, to, count == 1 ? args[0] : "-", &err) != 0) {
            status = verb_fail(&err);
        }
    }
    flag_set_free(flags);
    return status;
}

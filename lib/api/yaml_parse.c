/* yaml_parse.c - YAML into trees through libyaml's events, as sigs.k8s.io/yaml
 * reads it. libyaml's scanner is not trusted with size: input is bounded by the
 * caller, depth and what aliases expand to are bounded here. */
#include "lib/api/codec.h"

#include "lib/api/json.h"
#include "lib/api/json_index.h"
#include "lib/api/yaml_scalar.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"

#include <stdio.h>
#include <yaml.h>

struct anchor {
    struct str name;
    struct json *value; /* NULL while its node is still open. */
    size_t nodes;
};

struct composer {
    struct arena *arena;
    yaml_parser_t parser;
    yaml_event_t event; /* The current one. */
    struct anchor *anchors;
    size_t anchor_count, anchor_cap;
    size_t nodes;          /* Made so far. */
    size_t expanded;       /* Of these, copies made for aliases. */
    size_t searched;       /* Anchors looked at for aliases. */
    struct buf duplicates; /* What a strict reader complains of. */
    struct error *err;
};

/* Aliases may copy this much freely, and more in proportion to the document:
 * a handful of nested ones can otherwise expand to billions of nodes. */
enum { ALIAS_FREE = 10000, ALIAS_FACTOR = 10, SEARCH_MAX = 10 * 1000 * 1000 };

static int compose(struct composer *c, unsigned depth, struct json **ret);

static int fail_parse(struct composer *c)
{
    const yaml_parser_t *p = &c->parser;
    /* The line as go-yaml counts it: that of the context if there is one, and
     * one more for the scanner's errors. */
    size_t line = p->context_mark.line != 0 ? p->context_mark.line : p->problem_mark.line;
    if (line != 0 && p->error == YAML_SCANNER_ERROR)
        line++;
    const char *problem = p->problem != NULL ? p->problem : "unknown problem parsing YAML content";
    if (line != 0)
        return error_set(c->err, E_INVALID, "yaml: line %zu: %s", line, problem);
    return error_set(c->err, E_INVALID, "yaml: %s", problem);
}

static int next_event(struct composer *c)
{
    yaml_event_delete(&c->event);
    if (!yaml_parser_parse(&c->parser, &c->event)) {
        memset(&c->event, 0, sizeof(c->event));
        return fail_parse(c);
    }
    return 0;
}

static struct str event_text(const yaml_char_t *p)
{
    return str_of((const char *)p);
}

/* --- anchors ------------------------------------------------------------------------ */

/* Index of the new anchor, or of none. */
static size_t open_anchor(struct composer *c, const yaml_char_t *name)
{
    if (name == NULL)
        return SIZE_MAX;
    c->anchors =
        arena_grow(c->arena, c->anchors, c->anchor_count, &c->anchor_cap, sizeof(*c->anchors));
    c->anchors[c->anchor_count].name = arena_str(c->arena, event_text(name));
    return c->anchor_count++;
}

static void close_anchor(struct composer *c, size_t index, struct json *value, size_t nodes_before)
{
    if (index == SIZE_MAX)
        return;
    c->anchors[index].value = value;
    c->anchors[index].nodes = c->nodes - nodes_before;
}

static int compose_alias(struct composer *c, struct json **ret)
{
    struct str name = event_text(c->event.data.alias.anchor);
    for (size_t i = c->anchor_count; i > 0; i--) { /* The latest of that name. */
        const struct anchor *a = &c->anchors[i - 1];
        if (c->searched++ > SEARCH_MAX)
            break;
        if (!str_eq(a->name, name))
            continue;
        if (a->value == NULL)
            return error_set(c->err, E_INVALID, "yaml: anchor '" STR_FMT "' value contains itself",
                             STR_ARG(name));
        c->expanded += a->nodes;
        if (c->expanded > ALIAS_FREE + ALIAS_FACTOR * (c->nodes - MIN_OF(c->nodes, c->expanded)))
            return error_set(c->err, E_INVALID, "yaml: document contains excessive aliasing");
        c->nodes += a->nodes;
        *ret = json_clone(c->arena, a->value);
        return 0;
    }
    return error_set(c->err, E_INVALID, "yaml: unknown anchor '" STR_FMT "' referenced",
                     STR_ARG(name));
}

/* --- scalars ------------------------------------------------------------------------ */

#define TAG_PREFIX "tag:yaml.org,2002:"

static int cannot_decode(struct composer *c, struct str text, const char *as)
{
    return error_set(c->err, E_INVALID, "yaml: cannot decode !!str `" STR_FMT "` as a !!%s",
                     STR_ARG(text), as);
}

static int tagged_scalar(struct composer *c, struct str tag, struct str text, struct json **ret)
{
    if (!str_has_prefix(tag, STR(TAG_PREFIX))) {
        *ret = json_string(c->arena, text);
        return 0;
    }
    struct str type = str_sub(tag, sizeof(TAG_PREFIX) - 1, tag.len);
    struct json *j = yaml_scalar_resolve(c->arena, text);
    if (str_eqc(type, "binary")) {
        AUTO_BUF bytes = BUF_INIT;
        if (base64_decode(BASE64_STD, text, &bytes) != 0)
            return error_set(c->err, E_INVALID,
                             "yaml: !!binary value contains invalid base64 data");
        *ret = json_string(c->arena, buf_str(&bytes));
        return 0;
    }
    bool number = j->type == JSON_INT || j->type == JSON_DOUBLE;
    if ((str_eqc(type, "int") && j->type != JSON_INT) || (str_eqc(type, "float") && !number) ||
        (str_eqc(type, "bool") && j->type != JSON_BOOL) ||
        (str_eqc(type, "null") && j->type != JSON_NULL)) {
        char name[8];
        snprintf(name, sizeof(name), STR_FMT, STR_ARG(type));
        return cannot_decode(c, text, name);
    }
    bool keeps = str_eqc(type, "int") || str_eqc(type, "float") || str_eqc(type, "bool") ||
                 str_eqc(type, "null");
    *ret = keeps ? j : json_string(c->arena, text);
    return 0;
}

static int compose_scalar(struct composer *c, struct json **ret)
{
    struct str text = str_n((const char *)c->event.data.scalar.value, c->event.data.scalar.length);
    struct str tag = event_text(c->event.data.scalar.tag);
    if (tag.len > 0 && !str_eqc(tag, "!"))
        return tagged_scalar(c, tag, text, ret);
    if (c->event.data.scalar.plain_implicit)
        *ret = yaml_scalar_resolve(c->arena, text);
    else
        *ret = json_string(c->arena, text);
    if ((*ret)->type == JSON_DOUBLE && !((*ret)->number.value - (*ret)->number.value == 0))
        return error_set(c->err, E_INVALID, "json: unsupported value: " STR_FMT, STR_ARG(text));
    return 0;
}

/* --- collections --------------------------------------------------------------------- */

static int compose_sequence(struct composer *c, unsigned depth, struct json **ret)
{
    struct json *j = json_array(c->arena);
    int r;
    while ((r = next_event(c)) == 0 && c->event.type != YAML_SEQUENCE_END_EVENT) {
        struct json *item;
        if ((r = compose(c, depth + 1, &item)) != 0)
            return r;
        json_append(c->arena, j, item);
    }
    *ret = j;
    return r;
}

/* A key as text: JSON has no other. */
static int key_text(struct composer *c, const struct json *key, struct str *ret)
{
    AUTO_BUF text = BUF_INIT;
    ASSERT(key != NULL);
    switch (key->type) {
    case JSON_STRING:
        *ret = key->string;
        return 0;
    case JSON_BOOL:
    case JSON_INT:
        json_write(key, false, &text);
        break;
    case JSON_DOUBLE:
        buf_printf(&text, "%g", key->number.value);
        break;
    default:
        json_write_go(key, &text);
        return error_set(
            c->err, E_INVALID,
            "error converting YAML to JSON: unsupported map key of type: %s, key: %.*s",
            key->type == JSON_NULL    ? "%!s(<nil>)"
            : key->type == JSON_ARRAY ? "[]interface {}"
                                      : "map[interface {}]interface {}",
            (int)MIN_OF(text.len, (size_t)200), (const char *)text.data);
    }
    *ret = arena_str(c->arena, buf_str(&text));
    return 0;
}

static bool is_merge_key(const struct composer *c)
{
    return c->event.type == YAML_SCALAR_EVENT && c->event.data.scalar.plain_implicit &&
           str_eqc(event_text(c->event.data.scalar.value), "<<");
}

/* True when the key was there before. */
static bool set_member(struct composer *c, struct json_index *index, struct json *object,
                       struct str key, struct json *value)
{
    struct json_member *m = json_index_find(index, object, key);
    if (m != NULL)
        m->value = value;
    else
        json_index_add(index, c->arena, object, key, value);
    return m != NULL;
}

/* "<<: *base": the members of another mapping, or of several. */
static int merge_into(struct composer *c, struct json_index *index, struct json *object,
                      const struct json *from)
{
    if (from->type == JSON_ARRAY) {
        for (size_t i = from->array.count; i > 0; i--) { /* Earlier ones win. */
            const struct json *item = from->array.items[i - 1];
            if (item->type != JSON_OBJECT)
                return error_set(c->err, E_INVALID,
                                 "yaml: map merge requires map or sequence of maps as the value");
            merge_into(c, index, object, item);
        }
        return 0;
    }
    if (from->type != JSON_OBJECT)
        return error_set(c->err, E_INVALID,
                         "yaml: map merge requires map or sequence of maps as the value");
    for (size_t i = 0; i < from->object.count; i++)
        set_member(c, index, object, from->object.members[i].key, from->object.members[i].value);
    return 0;
}

static void note_duplicate(struct composer *c, size_t line, const struct json *key)
{
    buf_printf(&c->duplicates, "\n  line %zu: key ", line);
    if (key->type == JSON_STRING)
        json_write_string(key->string, &c->duplicates);
    else
        json_write(key, false, &c->duplicates);
    buf_puts(&c->duplicates, " already set in map");
}

static int compose_member(struct composer *c, unsigned depth, struct json_index *index,
                          struct json *object)
{
    bool merge = is_merge_key(c);
    struct json *key = NULL, *value = NULL;
    struct str name = STR_NULL;
    int r = compose(c, depth + 1, &key);
    if (r == 0 && !merge)
        r = key_text(c, key, &name);
    if (r == 0)
        r = next_event(c);
    size_t line = c->event.start_mark.line + 1;
    if (r == 0)
        r = compose(c, depth + 1, &value);
    if (r != 0)
        return r;
    if (merge)
        return merge_into(c, index, object, value);
    if (set_member(c, index, object, name, value))
        note_duplicate(c, line, key);
    return 0;
}

static int compose_mapping(struct composer *c, unsigned depth, struct json **ret)
{
    struct json *j = json_object(c->arena);
    struct json_index index = {.used = false};
    int r;
    while ((r = next_event(c)) == 0 && c->event.type != YAML_MAPPING_END_EVENT)
        if ((r = compose_member(c, depth, &index, j)) != 0)
            break;
    json_index_done(&index);
    *ret = j;
    return r;
}

/* The node that the current event begins; afterwards the event that ends it is
 * current. */
static int compose(struct composer *c, unsigned depth, struct json **ret)
{
    if (depth > API_DEPTH_MAX)
        return error_set(c->err, E_INVALID, "yaml: exceeded max depth of %d", API_DEPTH_MAX);
    size_t before = c->nodes++, anchor;
    int r;
    switch (c->event.type) {
    case YAML_ALIAS_EVENT:
        return compose_alias(c, ret);
    case YAML_SCALAR_EVENT:
        anchor = open_anchor(c, c->event.data.scalar.anchor);
        r = compose_scalar(c, ret);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = open_anchor(c, c->event.data.sequence_start.anchor);
        r = compose_sequence(c, depth, ret);
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = open_anchor(c, c->event.data.mapping_start.anchor);
        r = compose_mapping(c, depth, ret);
        break;
    default:
        return error_set(c->err, E_INVALID, "yaml: unexpected event %d", (int)c->event.type);
    }
    if (r == 0)
        close_anchor(c, anchor, *ret, before);
    return r;
}

/* --- documents ------------------------------------------------------------------------ */

static int compose_document(struct composer *c, struct json **ret)
{
    int r;
    do {
        if ((r = next_event(c)) != 0)
            return r;
        if (c->event.type == YAML_STREAM_END_EVENT) {
            *ret = json_null(c->arena);
            return 0;
        }
    } while (c->event.type == YAML_STREAM_START_EVENT ||
             c->event.type == YAML_DOCUMENT_START_EVENT);
    if ((r = compose(c, 0, ret)) != 0)
        return r;
    /* The rest of the text must at least scan. */
    return next_event(c);
}

static int parse_one(struct arena *a, struct str text, bool strict, struct json **ret,
                     struct error *err)
{
    struct composer c = {.arena = a, .err = err};
    if (!yaml_parser_initialize(&c.parser))
        return error_set(err, E_NO_MEMORY, "yaml: no memory for a parser");
    yaml_parser_set_input_string(&c.parser, (const unsigned char *)str_c(text), text.len);
    int r = compose_document(&c, ret);
    if (r == 0 && strict && c.duplicates.len > 0) {
        struct str list = buf_str(&c.duplicates);
        r = error_set(err, E_INVALID, "yaml: unmarshal errors:" STR_FMT, STR_ARG(list));
    }
    buf_done(&c.duplicates);
    yaml_event_delete(&c.event);
    yaml_parser_delete(&c.parser);
    return r;
}

/* Cuts the next document: up to a line that begins with ---. Documents without
 * a byte between separators do not count. */
static int cut_document(struct str text, size_t *ret_consumed, struct str *ret, struct error *err)
{
    size_t pos = 0, start = 0;
    while (pos < text.len) {
        ptrdiff_t newline = str_find(text, '\n', pos);
        size_t end = newline < 0 ? text.len : (size_t)newline + 1;
        struct str line = str_sub(text, pos, end - pos);
        if (str_has_prefix(line, STR("---"))) {
            struct str rest = str_trim(str_sub(line, 3, line.len));
            if (rest.len > 0 && rest.data[0] != '#')
                return error_set(err, E_INVALID, "invalid Yaml document separator: " STR_FMT,
                                 STR_ARG(rest));
            if (pos > start) {
                *ret = str_sub(text, start, pos - start);
                *ret_consumed = end;
                return 0;
            }
            start = end;
        }
        pos = end;
    }
    *ret_consumed = text.len;
    if (start == text.len)
        return error_set(err, E_EOF, "no more documents");
    *ret = str_sub(text, start, text.len - start);
    return 0;
}

static int parse_next(struct arena *a, struct str text, bool strict, size_t *ret_consumed,
                      struct json **ret, struct error *err)
{
    struct str document = STR_NULL;
    size_t consumed = 0;
    int r = cut_document(text, &consumed, &document, err);
    if (r == 0)
        r = parse_one(a, document, strict, ret, err);
    if (r == 0 || r == E_EOF)
        *ret_consumed = consumed;
    return r;
}

int api_yaml_parse(struct arena *a, struct str text, size_t *ret_consumed, struct json **ret,
                   struct error *err)
{
    return parse_next(a, text, false, ret_consumed, ret, err);
}

int api_yaml_parse_strict(struct arena *a, struct str text, size_t *ret_consumed, struct json **ret,
                          struct error *err)
{
    return parse_next(a, text, true, ret_consumed, ret, err);
}

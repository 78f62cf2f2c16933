/* json_decode.c - JSON text into structs, by the tables, in one pass without a
 * tree. Follows Go's decoder (sigs.k8s.io/json): names match by case, null
 * leaves values alone, the texts of its errors. */
#include "lib/api/json_decode.h"

#include "lib/api/json.h"
#include "lib/api/walk.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

/* --- errors and paths --------------------------------------------------------------- */

int json_decode_wrong(struct json_decoder *d, const char *fmt, ...)
{
    if (d->wrong.code != 0)
        return 0;
    char text[ERROR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    error_set(&d->wrong, E_INVALID, "%s", text);
    return 0;
}

const char *json_decode_kind(struct json_lex *l)
{
    switch (json_lex_peek(l)) {
    case '{':
        return "object";
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

/* Go's path of a field: the names of fields alone, from the top. */
static void put_fields(const struct json_frame *f, struct buf *out)
{
    if (f == NULL)
        return;
    put_fields(f->up, out);
    if (f->type != FRAME_FIELD)
        return;
    if (out->len > 0)
        buf_putc(out, '.');
    buf_append_str(out, f->name);
}

void json_decode_wrong_value(struct json_decoder *d, const struct json_frame *frame,
                             const char *value, const char *go_type)
{
    if (d->wrong.code != 0)
        return;
    const struct json_frame *field = frame;
    while (field != NULL && field->type != FRAME_FIELD)
        field = field->up;
    if (field == NULL) {
        json_decode_wrong(d, "json: cannot unmarshal %s into Go value of type %s", value, go_type);
        return;
    }
    AUTO_BUF path = BUF_INIT;
    put_fields(frame, &path);
    struct str text = buf_str(&path);
    json_decode_wrong(d, "json: cannot unmarshal %s into Go struct field %s." STR_FMT " of type %s",
                      value, field->struct_name, STR_ARG(text), go_type);
}

int json_decode_mismatch(struct json_decoder *d, const struct json_frame *frame,
                         const char *go_type)
{
    const char *kind = json_decode_kind(&d->lex);
    struct str ignored;
    int r = json_lex_skip(&d->lex, 0, &ignored);
    if (r == 0)
        json_decode_wrong_value(d, frame, kind, go_type);
    return r;
}

/* The strict decoder's path: spec.containers[0].name. */
static void put_path(const struct json_frame *f, struct buf *out)
{
    if (f == NULL)
        return;
    put_path(f->up, out);
    if (f->type == FRAME_INDEX) {
        buf_printf(out, "[%zu]", f->index);
        return;
    }
    if (out->len > 0)
        buf_putc(out, '.');
    buf_append_str(out, f->name);
}

/* Upstream reports so many at most, each once. */
enum { STRICT_ERRORS_MAX = 100 };

void json_decode_report(struct json_decoder *d, const char *what, const struct json_frame *frame,
                        struct str name)
{
    struct api_warnings *w = d->warnings;
    if (w == NULL || w->count >= STRICT_ERRORS_MAX)
        return;
    AUTO_BUF text = BUF_INIT;
    put_path(frame, &text);
    if (text.len > 0)
        buf_putc(&text, '.');
    buf_append_str(&text, name);
    struct str path = buf_str(&text);
    struct str item = arena_printf(d->lex.arena, "%s field \"" STR_FMT "\"", what, STR_ARG(path));
    for (size_t i = 0; i < w->count; i++)
        if (str_eq(w->items[i], item))
            return;
    w->items = arena_grow(d->lex.arena, w->items, w->count, &w->cap, sizeof(*w->items));
    w->items[w->count++] = item;
}

/* --- fields ------------------------------------------------------------------------------ */

static int decode_value(struct json_decoder *d, const struct api_field *f,
                        const struct json_frame *frame, unsigned depth, void *at)
{
    int64_t v;
    int r;
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return json_decode_bool(d, frame, at);
    case API_INT32:
        r = json_decode_int(d, frame, 32, &v);
        if (r == 0)
            *(int32_t *)at = (int32_t)v;
        return r < 0 ? r : 0;
    case API_INT64:
        r = json_decode_int(d, frame, 64, &v);
        if (r == 0)
            *(int64_t *)at = v;
        return r < 0 ? r : 0;
    case API_DOUBLE:
        return json_decode_double(d, frame, at);
    case API_STRING:
        return json_decode_string(d, frame, at);
    case API_BYTES:
        return json_decode_bytes(d, frame, at);
    case API_MESSAGE:
        return json_decode_message(d, f->msg, frame, depth + 1, at);
    }
    return 0;
}

/* null inside a list or map: the zero value, but messages may have their say. */
static int decode_element(struct json_decoder *d, const struct api_field *f,
                          const struct json_frame *frame, unsigned depth, void *at)
{
    if (json_lex_peek(&d->lex) == 'n' && f->type != API_MESSAGE)
        return json_lex_literal(&d->lex, "null");
    return decode_value(d, f, frame, depth, at);
}

/* "v1" of k8s.io.api.core.v1.Container, the package as Go's errors name it. */
static void go_type_name(const struct api_field *f, char *ret, size_t size)
{
    static const char *const scalars[] = {"bool",   "int32",   "int64", "float64",
                                          "string", "[]uint8", ""};
    char value[128];
    if (f->type == API_MESSAGE) {
        struct str full = str_of(f->msg->full_name);
        size_t name = full.len - strlen(f->msg->name), start = name - 1;
        while (start > 0 && full.data[start - 1] != '.')
            start--;
        snprintf(value, sizeof(value), "%s", f->msg->full_name + start);
    } else {
        snprintf(value, sizeof(value), "%s", scalars[f->type]);
    }
    const char *prefix = f->label == API_REPEATED ? "[]" : f->label == API_MAP ? "map[string]" : "";
    snprintf(ret, size, "%s%s", prefix, value);
}

static int mismatch_with_field(struct json_decoder *d, const struct api_field *f,
                               const struct json_frame *frame)
{
    char go_type[160];
    go_type_name(f, go_type, sizeof(go_type));
    return json_decode_mismatch(d, frame, go_type);
}

int json_decode_list(struct json_decoder *d, const struct api_field *f,
                     const struct json_frame *frame, unsigned depth, void *base)
{
    if (json_lex_peek(&d->lex) != '[')
        return mismatch_with_field(d, f, frame);
    struct json_frame element = {.up = frame, .type = FRAME_INDEX};
    size_t count = 0, cap = 0;
    char *items = NULL;
    int r;
    d->lex.p++;
    while ((r = json_lex_next(&d->lex, ']', count == 0)) > 0) {
        items = arena_grow(d->lex.arena, items, count, &cap, f->elem_size);
        element.index = count;
        r = decode_element(d, f, &element, depth, items + count * f->elem_size);
        count++;
        if (r != 0)
            break;
    }
    /* An empty list is not the same as none: Go prints [] and null. */
    field_set_items(base, f, items != NULL ? items : arena_alloc(d->lex.arena, 1));
    field_set_count(base, f, count);
    return r;
}

struct slot {
    struct str key;
    size_t index;
};

static int compare_slots(const void *x, const void *y)
{
    const struct slot *a = x, *b = y;
    int order = str_cmp(a->key, b->key);
    return order != 0 ? order : a->index < b->index ? -1 : 1;
}

/* Sorts by key; of equal keys the last one stays, and is reported. */
static void sort_entries(struct json_decoder *d, const struct api_field *f,
                         const struct json_frame *frame, void *base)
{
    size_t n = field_count(base, f), size = f->elem_size, kept = 0;
    char *items = field_items(base, f);
    struct slot *order = xmalloc((n + 1) * sizeof(*order));
    char *sorted = arena_array(d->lex.arena, size, n);
    for (size_t i = 0; i < n; i++)
        order[i] = (struct slot){*(const struct str *)(const void *)(items + i * size), i};
    qsort(order, n, sizeof(*order), compare_slots);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && str_eq(order[i].key, order[i + 1].key)) {
            json_decode_report(d, "duplicate", frame, order[i].key);
            continue;
        }
        memcpy(sorted + kept++ * size, items + order[i].index * size, size);
    }
    free(order);
    field_set_items(base, f, sorted);
    field_set_count(base, f, kept);
}

static int decode_map(struct json_decoder *d, const struct api_field *f,
                      const struct json_frame *frame, unsigned depth, void *base)
{
    if (json_lex_peek(&d->lex) != '{')
        return mismatch_with_field(d, f, frame);
    struct json_frame value = {.up = frame, .type = FRAME_KEY};
    /* The member may have stood in the text before: its entries stay. */
    size_t count = field_count(base, f), cap = count;
    char *items = field_items(base, f);
    bool sorted = true;
    int r;
    d->lex.p++;
    for (bool first = true; (r = json_lex_next(&d->lex, '}', first)) > 0; first = false) {
        items = arena_grow(d->lex.arena, items, count, &cap, f->elem_size);
        char *entry = items + count * f->elem_size;
        struct str *key = (struct str *)(void *)entry;
        memset(entry, 0, f->elem_size);
        if ((r = json_lex_key(&d->lex, key)) != 0)
            break;
        value.name = *key;
        if (count > 0 &&
            str_cmp(*(const struct str *)(const void *)(entry - f->elem_size), *key) >= 0)
            sorted = false;
        count++;
        if ((r = decode_element(d, f, &value, depth, entry + f->entry_value_offset)) != 0)
            break;
    }
    field_set_items(base, f, items != NULL ? items : arena_alloc(d->lex.arena, 1));
    field_set_count(base, f, count);
    if (r == 0 && !sorted)
        sort_entries(d, f, frame, base);
    return r;
}

/* null: pointers, lists and maps become nil, plain values stay as they are. */
static int decode_null(struct json_decoder *d, const struct api_field *f,
                       const struct json_frame *frame, unsigned depth, void *base)
{
    if (f->label != API_SINGULAR) {
        field_set_items(base, f, NULL);
        field_set_count(base, f, 0);
    } else if (field_is_message_pointer(f)) {
        field_set_items(base, f, NULL);
    } else if (field_is_scalar_pointer(f)) {
        field_set_has(base, f, false);
    } else if (f->type == API_BYTES) {
        *(struct str *)field_at(base, f) = STR_NULL;
    } else if (f->type == API_MESSAGE) {
        return json_decode_message(d, f->msg, frame, depth + 1, field_at(base, f));
    }
    return json_lex_literal(&d->lex, "null");
}

static int decode_field(struct json_decoder *d, const struct api_field *f,
                        const struct json_frame *frame, unsigned depth, void *base)
{
    if (json_lex_peek(&d->lex) == 'n')
        return decode_null(d, f, frame, depth, base);
    if (f->label == API_REPEATED)
        return json_decode_list(d, f, frame, depth, base);
    if (f->label == API_MAP)
        return decode_map(d, f, frame, depth, base);
    if (field_is_message_pointer(f)) {
        void *p = field_items(base, f);
        if (p == NULL) {
            p = api_msg_new(d->lex.arena, f->msg);
            field_set_items(base, f, p);
        }
        return json_decode_message(d, f->msg, frame, depth + 1, p);
    }
    if (field_is_scalar_pointer(f))
        field_set_has(base, f, true);
    return decode_value(d, f, frame, depth, field_at(base, f));
}

/* --- objects ------------------------------------------------------------------------------ */

enum { MEMBERS_MAX = 256 };

/* Members usually come in the order of the tables, so the one behind the last
 * is tried first. */
static const struct api_json_member *find_member(const struct api_msg *m, struct str name,
                                                 size_t *next)
{
    if (*next < m->json_count) {
        const struct api_field *f = m->json[*next].field;
        if (name.len == f->json_len && memcmp(name.data, f->json_name, name.len) == 0)
            return &m->json[(*next)++];
    }
    const struct api_json_member *found = api_member_by_json(m, name);
    if (found != NULL)
        *next = (size_t)(found - m->json) + 1;
    return found;
}

static bool is_type_meta(const struct api_msg *m, struct str name)
{
    return m->is_kind && (str_eqc(name, "kind") || str_eqc(name, "apiVersion"));
}

/* kind and apiVersion travel beside the struct; a wrong type is still wrong. */
static int skip_type_meta(struct json_decoder *d, const struct json_frame *frame)
{
    struct str ignored;
    if (json_lex_peek(&d->lex) == 'n')
        return json_lex_literal(&d->lex, "null");
    return json_decode_string(d, frame, &ignored);
}

static int decode_members(struct json_decoder *d, const struct api_msg *m,
                          const struct json_frame *frame, unsigned depth, void *base)
{
    uint64_t seen[MEMBERS_MAX / 64] = {0};
    bool seen_meta[2] = {false, false};
    size_t next = 0;
    int r;
    ASSERT_CMP(m->json_count, <=, MEMBERS_MAX);
    d->lex.p++;
    for (bool first = true; (r = json_lex_next(&d->lex, '}', first)) > 0; first = false) {
        struct json_frame field = {.up = frame, .type = FRAME_FIELD, .struct_name = m->name};
        if ((r = json_lex_key_view(&d->lex, &field.name)) != 0)
            return r;
        const struct api_json_member *x = find_member(m, field.name, &next);
        if (x == NULL && !is_type_meta(m, field.name)) {
            struct str ignored;
            json_decode_report(d, "unknown", frame, field.name);
            if ((r = json_lex_skip(&d->lex, depth, &ignored)) != 0)
                return r;
            continue;
        }
        bool *meta = &seen_meta[field.name.data[0] == 'k'];
        uint64_t *word = NULL, bit = 0;
        if (x != NULL) {
            size_t index = (size_t)(x - m->json);
            word = &seen[index / 64];
            bit = UINT64_C(1) << (index % 64);
        }
        if (x != NULL ? (*word & bit) != 0 : *meta)
            json_decode_report(d, "duplicate", frame, field.name);
        if (x == NULL) {
            *meta = true;
            r = skip_type_meta(d, &field);
        } else {
            *word |= bit;
            r = decode_field(d, x->field, &field, depth, (char *)base + x->base);
        }
        if (r != 0)
            return r;
    }
    return r;
}

int json_decode_message(struct json_decoder *d, const struct api_msg *m,
                        const struct json_frame *frame, unsigned depth, void *base)
{
    if (depth > API_DEPTH_MAX)
        return error_set(d->lex.err, E_INVALID, "exceeded max depth");
    if (m->special != API_PLAIN)
        return json_decode_special(d, m, frame, depth, base);
    int c = json_lex_peek(&d->lex);
    if (c == '{')
        return decode_members(d, m, frame, depth, base);
    if (c == 'n')
        return json_lex_literal(&d->lex, "null");
    struct api_field self = {.type = API_MESSAGE, .msg = m};
    return mismatch_with_field(d, &self, frame);
}

static int strict_error(const struct api_warnings *w, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < w->count; i++) {
        if (i > 0)
            buf_puts(&text, ", ");
        buf_append_str(&text, w->items[i]);
    }
    struct str all = buf_str(&text);
    return error_set(err, E_INVALID, "strict decoding error: " STR_FMT, STR_ARG(all));
}

int api_json_decode(struct arena *a, const struct api_msg *m, struct str text,
                    enum api_strict strict, struct api_warnings *warnings, void *msg,
                    struct error *err)
{
    struct api_warnings own = {0};
    struct json_decoder d = {.strict = strict};
    if (strict == API_STRICT)
        d.warnings = warnings != NULL ? warnings : &own;
    else if (strict == API_WARN)
        d.warnings = warnings;
    size_t before = d.warnings != NULL ? d.warnings->count : 0;
    json_lex_init(&d.lex, a, text, err);
    /* A syntax error comes before all others, wherever it stands. */
    int r = json_lex_peek(&d.lex) < 0 ? json_lex_fail(&d.lex, "")
                                      : json_decode_message(&d, m, NULL, 0, msg);
    if (r == 0)
        r = json_lex_end(&d.lex);
    if (r != 0)
        return r;
    if (d.wrong.code != 0)
        return error_set(err, E_INVALID, "%s", d.wrong.message);
    if (strict == API_STRICT && d.warnings->count > before)
        return strict_error(d.warnings, err);
    return 0;
}

int api_json_decode_tree(struct arena *a, const struct api_msg *m, const struct json *tree,
                         enum api_strict strict, struct api_warnings *warnings, void *msg,
                         struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    json_write(tree, false, &text);
    return api_json_decode(a, m, buf_str(&text), strict, warnings, msg, err);
}

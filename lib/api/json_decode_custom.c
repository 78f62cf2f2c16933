/* json_decode_custom.c - objects of custom kinds from JSON; see custom.h. */
#include "lib/api/custom.h"
#include "lib/api/json.h"
#include "lib/api/json_decode.h"
#include "lib/api/json_index.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"

static int tree(struct json_decoder *d, const struct json_frame *frame, unsigned depth,
                struct json **ret);

static int tree_object(struct json_decoder *d, const struct json_frame *frame, unsigned depth,
                       struct json *o)
{
    struct json_index index = {.used = false};
    int r;
    d->lex.p++;
    for (bool first = true; (r = json_lex_next(&d->lex, '}', first)) > 0; first = false) {
        struct json_frame field = {.up = frame, .type = FRAME_FIELD, .struct_name = ""};
        struct json *value = NULL;
        if ((r = json_lex_key(&d->lex, &field.name)) != 0 ||
            (r = tree(d, &field, depth + 1, &value)) != 0)
            break;
        struct json_member *m = json_index_find(&index, o, field.name);
        if (m == NULL) {
            json_index_add(&index, d->lex.arena, o, field.name, value);
            continue;
        }
        json_decode_report(d, "duplicate", frame, field.name);
        m->value = value; /* The last one wins. */
    }
    json_index_done(&index);
    return r;
}

static int tree_array(struct json_decoder *d, const struct json_frame *frame, unsigned depth,
                      struct json *array)
{
    int r;
    d->lex.p++;
    for (bool first = true; (r = json_lex_next(&d->lex, ']', first)) > 0; first = false) {
        struct json_frame item = {.up = frame, .type = FRAME_INDEX, .index = array->array.count};
        struct json *value = NULL;
        if ((r = tree(d, &item, depth + 1, &value)) != 0)
            break;
        json_append(d->lex.arena, array, value);
    }
    return r;
}

static int tree(struct json_decoder *d, const struct json_frame *frame, unsigned depth,
                struct json **ret)
{
    int c = json_lex_peek(&d->lex), r;
    struct str text;
    if (depth > API_DEPTH_MAX)
        return error_set(d->lex.err, E_INVALID, "exceeded max depth");
    if (c == '{' || c == '[') {
        struct json *j = c == '{' ? json_object(d->lex.arena) : json_array(d->lex.arena);
        r = c == '{' ? tree_object(d, frame, depth, j) : tree_array(d, frame, depth, j);
        *ret = j;
        return r;
    }
    if ((r = json_lex_skip(&d->lex, depth, &text)) != 0)
        return r;
    return json_parse(d->lex.arena, text, ret, d->lex.err);
}

static int members(struct json_decoder *d, const struct json_frame *frame, unsigned depth,
                   struct api_custom *obj)
{
    struct json_index index = {.used = false};
    bool seen_meta[3] = {false};
    int r;
    d->lex.p++;
    for (bool first = true; (r = json_lex_next(&d->lex, '}', first)) > 0; first = false) {
        struct json_frame field = {.up = frame, .type = FRAME_FIELD, .struct_name = obj->msg->name};
        struct json *value = NULL;
        if ((r = json_lex_key(&d->lex, &field.name)) != 0)
            break;
        if (structural_is_meta(field.name)) {
            bool *seen = &seen_meta[field.name.data[0] == 'k'   ? 0
                                    : field.name.data[0] == 'm' ? 1
                                                                : 2];
            if (*seen)
                json_decode_report(d, "duplicate", frame, field.name);
            *seen = true;
            struct str ignored;
            r = field.name.data[0] == 'm' ? json_decode_message(d, &meta_v1_object_meta_msg, &field,
                                                                depth + 1, &obj->metadata)
                                          : json_lex_skip(&d->lex, depth, &ignored);
            if (r != 0)
                break;
            continue;
        }
        if ((r = tree(d, &field, depth + 1, &value)) != 0)
            break;
        struct json_member *m = json_index_find(&index, obj->content, field.name);
        if (m == NULL) {
            json_index_add(&index, d->lex.arena, obj->content, field.name, value);
            continue;
        }
        json_decode_report(d, "duplicate", frame, field.name);
        m->value = value;
    }
    json_index_done(&index);
    return r;
}

int json_decode_custom(struct json_decoder *d, const struct api_msg *m,
                       const struct json_frame *frame, unsigned depth, void *base)
{
    struct api_custom *obj = base;
    const struct custom_type *t = custom_type_of(m);
    int c = json_lex_peek(&d->lex);
    obj->msg = m;
    obj->content = json_object(d->lex.arena);
    if (c == 'n')
        return json_lex_literal(&d->lex, "null");
    if (c != '{')
        return json_decode_mismatch(d, frame, "map[string]interface {}");
    int r = members(d, frame, depth, obj);
    if (r != 0 || t->schema == NULL)
        return r;
    structural_prune(d->lex.arena, t->schema, obj->content, true, d->warnings);
    structural_default(d->lex.arena, t->schema, obj->content);
    return 0;
}

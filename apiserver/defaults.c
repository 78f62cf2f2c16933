/* defaults.c - see defaults.h.
 *
 * Scalars alone have defaults there; structs are walked through. */
#include "apiserver/defaults.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"

static bool is_pointer(const struct api_field *f)
{
    return (f->flags & API_F_POINTER) != 0;
}

void msg_field_copy(const struct api_field *f, void *dst, const void *src)
{
    char *d = dst;
    const char *s = src;
    if (f->label != API_SINGULAR) {
        memcpy(d + f->offset, s + f->offset, sizeof(void *));
        memcpy(d + f->has_offset, s + f->has_offset, sizeof(size_t));
        return;
    }
    if (is_pointer(f) && f->type == API_MESSAGE) {
        memcpy(d + f->offset, s + f->offset, sizeof(void *));
        return;
    }
    memcpy(d + f->offset, s + f->offset, f->elem_size);
    if (is_pointer(f) && f->has_offset != UINT32_MAX)
        memcpy(d + f->has_offset, s + f->has_offset, sizeof(bool));
}

void msg_field_clear(const struct api_field *f, void *msg)
{
    char *d = msg;
    if (f->label != API_SINGULAR) {
        memset(d + f->offset, 0, sizeof(void *));
        memset(d + f->has_offset, 0, sizeof(size_t));
        return;
    }
    if (is_pointer(f) && f->type == API_MESSAGE) {
        memset(d + f->offset, 0, sizeof(void *));
        return;
    }
    memset(d + f->offset, 0, f->elem_size);
    if (is_pointer(f) && f->has_offset != UINT32_MAX)
        memset(d + f->has_offset, 0, sizeof(bool));
}

static void set_scalar(struct arena *a, const struct api_field *f, char *base, const struct json *v)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        *(bool *)(void *)(base + f->offset) = v->type == JSON_BOOL && v->boolean;
        break;
    case API_INT32:
        *(int32_t *)(void *)(base + f->offset) = v->type == JSON_INT ? (int32_t)v->integer : 0;
        break;
    case API_INT64:
        *(int64_t *)(void *)(base + f->offset) = v->type == JSON_INT ? v->integer : 0;
        break;
    case API_STRING:
        *(struct str *)(void *)(base + f->offset) =
            v->type == JSON_STRING ? arena_str(a, v->string) : STR_NULL;
        break;
    default:
        return;
    }
    if (is_pointer(f))
        *(bool *)(void *)(base + f->has_offset) = true;
}

static bool absent(const struct api_field *f, const char *base)
{
    if (is_pointer(f))
        return !*(const bool *)(const void *)(base + f->has_offset);
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return !*(const bool *)(const void *)(base + f->offset);
    case API_INT32:
        return *(const int32_t *)(const void *)(base + f->offset) == 0;
    case API_INT64:
        return *(const int64_t *)(const void *)(base + f->offset) == 0;
    case API_STRING:
        return ((const struct str *)(const void *)(base + f->offset))->len == 0;
    default:
        return false;
    }
}

static void apply(struct arena *a, const struct api_msg *m, char *base, unsigned depth);

static void descend(struct arena *a, const struct api_field *f, char *base, unsigned depth)
{
    if (f->label == API_SINGULAR) {
        char *v = base + f->offset;
        if (is_pointer(f))
            v = *(char **)(void *)v;
        if (v != NULL)
            apply(a, f->msg, v, depth);
        return;
    }
    char *items = *(char **)(void *)(base + f->offset);
    size_t count = *(size_t *)(void *)(base + f->has_offset);
    for (size_t i = 0; i < count; i++)
        apply(a, f->msg,
              items + i * f->elem_size + (f->label == API_MAP ? f->entry_value_offset : 0), depth);
}

static void apply(struct arena *a, const struct api_msg *m, char *base, unsigned depth)
{
    if (depth >= API_DEPTH_MAX || m->special != API_PLAIN)
        return;
    for (uint16_t i = 0; i < m->field_count; i++) {
        const struct api_field *f = &m->fields[i];
        if (f->type == API_MESSAGE) {
            descend(a, f, base, depth + 1);
        } else if (f->default_json != NULL && f->label == API_SINGULAR && absent(f, base)) {
            struct json *v;
            if (json_parse(a, str_of(f->default_json), &v, NULL) == 0)
                set_scalar(a, f, base, v);
        }
    }
}

void defaults_apply(struct arena *a, const struct api_msg *m, void *msg)
{
    apply(a, m, msg, 0);
}

/* msg.c - objects as a whole: copying, comparing, tidying by the tables. Recursion
 * follows the depth of the object, which decoders bound. */
#include "lib/api/codec.h"

#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/custom.h"
#include "lib/api/json.h"
#include "lib/api/quantity.h"
#include "lib/api/time.h"
#include "lib/api/walk.h"
#include "lib/base/arena.h"

void *api_msg_new(struct arena *a, const struct api_msg *m)
{
    void *msg = arena_zalloc(a, m->size);
    if (m->special == API_CUSTOM) {
        struct api_custom *x = msg;
        x->msg = m;
        x->content = json_object(a);
    }
    return msg;
}

static bool is_time(const struct api_msg *m)
{
    return m->special == API_TIME || m->special == API_MICRO_TIME;
}

static struct str copy_str(struct arena *a, struct str s)
{
    if (s.data == NULL)
        return STR_NULL;
    return s.len == 0 ? (struct str){"", 0} : arena_str(a, s);
}

/* One value of the field's type, at dst and src. */
static void copy_value(struct arena *a, const struct api_field *f, void *dst, const void *src)
{
    if (f->type == API_MESSAGE)
        api_msg_copy(a, f->msg, dst, src);
    else if (f->type == API_STRING || f->type == API_BYTES)
        *(struct str *)dst = copy_str(a, *(const struct str *)src);
    else
        memcpy(dst, src, f->elem_size);
}

static void copy_items(struct arena *a, const struct api_field *f, void *dst, const void *src)
{
    const char *from = field_items(src, f);
    if (from == NULL)
        return;
    size_t n = field_count(src, f);
    char *to = arena_array(a, f->elem_size, MAX_OF(n, (size_t)1));
    for (size_t i = 0; i < n; i++, from += f->elem_size) {
        char *at = to + i * f->elem_size;
        if (f->label == API_MAP) {
            *(struct str *)(void *)at = copy_str(a, *(const struct str *)(const void *)from);
            if (f->type == API_MESSAGE)
                api_msg_copy(a, f->msg, at + f->entry_value_offset, from + f->entry_value_offset);
            else
                *(struct str *)(void *)(at + f->entry_value_offset) =
                    copy_str(a, *(const struct str *)(const void *)(from + f->entry_value_offset));
        } else {
            copy_value(a, f, at, from);
        }
    }
    field_set_items(dst, f, to);
    field_set_count(dst, f, n);
}

void api_msg_copy(struct arena *a, const struct api_msg *m, void *dst, const void *src)
{
    if (is_time(m)) {
        memcpy(dst, src, m->size);
        return;
    }
    memset(dst, 0, m->size);
    for (size_t i = 0; i < m->field_count; i++) {
        const struct api_field *f = &m->fields[i];
        if (f->label != API_SINGULAR) {
            copy_items(a, f, dst, src);
        } else if (field_is_message_pointer(f)) {
            const void *p = field_items(src, f);
            if (p != NULL)
                field_set_items(dst, f, api_msg_clone(a, f->msg, p));
        } else {
            if (field_is_scalar_pointer(f))
                field_set_has(dst, f, field_has(src, f));
            copy_value(a, f, field_at(dst, f), field_at_const(src, f));
        }
    }
    if (m->special == API_CUSTOM) {
        struct api_custom *x = dst;
        x->msg = ((const struct api_custom *)src)->msg;
        x->content = json_clone(a, ((const struct api_custom *)src)->content);
    }
}

void *api_msg_clone(struct arena *a, const struct api_msg *m, const void *src)
{
    void *copy = api_msg_new(a, m);
    api_msg_copy(a, m, copy, src);
    return copy;
}

static bool quantities_equal(const struct resource_quantity *x, const struct resource_quantity *y)
{
    if (str_eq(x->string, y->string))
        return true;
    struct quantity a = quantity_of(x), b = quantity_of(y);
    return quantity_cmp(&a, &b) == 0;
}

static bool values_equal(const struct api_field *f, const void *x, const void *y)
{
    return f->type == API_MESSAGE ? api_msg_equal(f->msg, x, y) : field_scalar_equal(f, x, y);
}

static bool items_equal(const struct api_field *f, const void *x, const void *y)
{
    size_t n = field_count(x, f);
    if (n != field_count(y, f))
        return false;
    const char *a = field_items(x, f), *b = field_items(y, f);
    for (size_t i = 0; i < n; i++, a += f->elem_size, b += f->elem_size) {
        size_t value = 0;
        if (f->label == API_MAP) {
            if (!str_eq(*(const struct str *)(const void *)a, *(const struct str *)(const void *)b))
                return false;
            value = f->entry_value_offset;
        }
        if (!values_equal(f, a + value, b + value))
            return false;
    }
    return true;
}

bool api_field_equal(const struct api_field *f, const void *x, const void *y)
{
    if (f->label != API_SINGULAR)
        return items_equal(f, x, y);
    if (field_is_message_pointer(f)) {
        const void *a = field_items(x, f), *b = field_items(y, f);
        if (a == NULL || b == NULL)
            return a == b;
        return api_msg_equal(f->msg, a, b);
    }
    if (field_is_scalar_pointer(f)) {
        if (field_has(x, f) != field_has(y, f))
            return false;
        if (!field_has(x, f))
            return true;
    }
    return values_equal(f, field_at_const(x, f), field_at_const(y, f));
}

bool api_msg_equal(const struct api_msg *m, const void *x, const void *y)
{
    if (m->special == API_TIME)
        return time_cmp(x, y) == 0;
    if (m->special == API_MICRO_TIME)
        return micro_time_cmp(x, y) == 0;
    if (m->special == API_QUANTITY)
        return quantities_equal(x, y);
    for (size_t i = 0; i < m->field_count; i++)
        if (!api_field_equal(&m->fields[i], x, y))
            return false;
    if (m->special == API_CUSTOM)
        return json_equal(((const struct api_custom *)x)->content,
                          ((const struct api_custom *)y)->content);
    return true;
}

static bool value_is_zero(const struct api_field *f, const void *x)
{
    return f->type == API_MESSAGE ? api_msg_is_zero(f->msg, x) : field_scalar_empty(f, x);
}

bool api_msg_is_zero(const struct api_msg *m, const void *x)
{
    if (m->special == API_TIME)
        return time_is_zero(x);
    if (m->special == API_MICRO_TIME)
        return micro_time_is_zero(x);
    for (size_t i = 0; i < m->field_count; i++) {
        const struct api_field *f = &m->fields[i];
        if (f->label != API_SINGULAR) {
            if (field_count(x, f) != 0)
                return false;
        } else if (field_is_message_pointer(f)) {
            if (field_items(x, f) != NULL)
                return false;
        } else if (field_is_scalar_pointer(f)) {
            if (field_has(x, f))
                return false;
        } else if (!value_is_zero(f, field_at_const(x, f))) {
            return false;
        }
    }
    return m->special != API_CUSTOM || ((const struct api_custom *)x)->content->object.count == 0;
}

static void drop_empty_items(const struct api_field *f, void *x)
{
    char *items = field_items(x, f);
    size_t n = field_count(x, f), value = f->label == API_MAP ? f->entry_value_offset : 0;
    if (n == 0)
        field_set_items(x, f, NULL);
    for (size_t i = 0; f->type == API_MESSAGE && i < n; i++)
        api_msg_drop_empty(f->msg, items + i * f->elem_size + value);
}

void api_msg_drop_empty(const struct api_msg *m, void *x)
{
    bool has_fields = m->special == API_PLAIN || m->special == API_CUSTOM;
    for (size_t i = 0; has_fields && i < m->field_count; i++) {
        const struct api_field *f = &m->fields[i];
        if (f->label != API_SINGULAR)
            drop_empty_items(f, x);
        else if (field_is_message_pointer(f) && field_items(x, f) != NULL)
            api_msg_drop_empty(f->msg, field_items(x, f));
        else if (f->type == API_MESSAGE && !field_is_message_pointer(f))
            api_msg_drop_empty(f->msg, field_at(x, f));
    }
}

/* fieldset_json.c - sets as FieldsV1 text: an object per step, {} for a member,
 * "." inside for a member that has children as well. */
#include "lib/api/fieldset.h"

#include "lib/api/codec.h"
#include "lib/api/json_lex.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

/* --- reading --------------------------------------------------------------------- */
static int parse_children(struct json_lex *l, unsigned depth, struct fieldset *ret,
                          bool *ret_member);

static int skip(struct json_lex *l)
{
    struct str ignored;
    return json_lex_skip(l, 0, &ignored);
}

static int parse_item(struct json_lex *l, unsigned depth, struct fieldset *ret, bool *ret_member)
{
    struct str key;
    struct fieldpath_elem elem;
    int r = json_lex_key_view(l, &key);
    if (r != 0)
        return r;
    (void)json_lex_peek(l);
    if (str_eq(key, STR("."))) {
        *ret_member = true;
        return skip(l);
    }
    r = fieldpath_elem_parse(l->arena, key, &elem, l->err);
    if (r < 0)
        return r;
    if (r == 0)
        return skip(l);
    struct fieldset children = FIELDSET_EMPTY;
    bool member = false;
    r = parse_children(l, depth, &children, &member);
    if (r != 0)
        return r;
    fieldset_append(l->arena, ret, &elem, member, children);
    return 0;
}

static int by_elem(const void *x, const void *y)
{
    return fieldpath_elem_cmp(&((const struct fieldset_item *)x)->elem,
                              &((const struct fieldset_item *)y)->elem);
}

/* Mostly there is nothing to do. Of repeated steps one set of children stays. */
static void put_in_order(struct fieldset *s)
{
    size_t kept = 1;
    while (kept < s->count && by_elem(&s->items[kept - 1], &s->items[kept]) < 0)
        kept++;
    if (kept >= s->count)
        return;
    qsort(s->items, s->count, sizeof(*s->items), by_elem);
    kept = 0;
    for (size_t i = 1; i < s->count; i++) {
        struct fieldset_item *last = &s->items[kept], *item = &s->items[i];
        if (by_elem(last, item) != 0) {
            s->items[++kept] = *item;
            continue;
        }
        last->member |= item->member;
        if (item->children.count != 0)
            last->children = item->children;
    }
    s->count = (uint32_t)kept + 1;
}

/* Without further steps the step itself is meant, whether "." says so or not. */
static int parse_children(struct json_lex *l, unsigned depth, struct fieldset *ret,
                          bool *ret_member)
{
    int r, c = json_lex_peek(l);
    if (depth == 0)
        return error_set(l->err, E_INVALID, "fields are nested too deeply");
    if (c == 'n') {
        r = json_lex_literal(l, "null");
    } else if (c == '{') {
        l->p++;
        for (bool first = true; (r = json_lex_next(l, '}', first)) > 0; first = false)
            if ((r = parse_item(l, depth - 1, ret, ret_member)) != 0)
                break;
    } else {
        return c < 0 ? json_lex_fail(l, "")
                     : error_set(l->err, E_INVALID, "fields must be an object");
    }
    if (ret->count == 0)
        *ret_member = true;
    else
        put_in_order(ret);
    return r;
}

int fieldset_parse(struct arena *a, struct str text, struct fieldset *ret, struct error *err)
{
    struct json_lex l;
    bool member = false;
    *ret = FIELDSET_EMPTY;
    if (text.len == 0)
        return 0;
    json_lex_init(&l, a, text, err);
    int r = parse_children(&l, API_DEPTH_MAX, ret, &member);
    return r != 0 ? r : json_lex_end(&l);
}

/* --- writing --------------------------------------------------------------------- */
/* Most names are plain: written in one go. False: it has something to escape. */
static bool print_plain_name(struct str name, struct buf *out)
{
    uint8_t *start = buf_reserve(out, name.len + 5), *p = start;
    *p++ = '"';
    *p++ = 'f';
    *p++ = ':';
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c < ' ' || c == '"' || c == '\\')
            return false;
        *p++ = c;
    }
    *p++ = '"';
    *p++ = ':';
    buf_commit(out, (size_t)(p - start));
    return true;
}

static void print(const struct fieldset *s, bool self, struct buf *scratch, struct buf *out)
{
    if (self)
        buf_append(out, "{\".\":{}", 7);
    for (size_t i = 0; i < s->count; i++) {
        const struct fieldset_item *item = &s->items[i];
        buf_putc(out, i != 0 || self ? ',' : '{');
        if (item->elem.kind != FIELDPATH_NAME || !print_plain_name(item->elem.name, out)) {
            buf_putc(out, '"');
            fieldpath_elem_print(&item->elem, scratch, out);
            buf_append(out, "\":", 2);
        }
        if (item->children.count == 0)
            buf_append(out, "{}", 2);
        else
            print(&item->children, item->member, scratch, out);
    }
    buf_putc(out, '}');
}

void fieldset_print(const struct fieldset *s, struct buf *out)
{
    AUTO_BUF scratch = BUF_INIT;
    if (s->count == 0)
        buf_append(out, "{}", 2);
    else
        print(s, false, &scratch, out);
}

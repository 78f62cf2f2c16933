/* field_check.c - whether a document fits its type, in upstream's words; see
 * field_tree.h. */
#include "lib/api/field_tree.h"

#include "lib/api/field_tree_internal.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

enum { FAULTS_MAX = 64, PATH_BYTES_MAX = 4096 };

struct check {
    struct arena *arena;
    bool allow_duplicates;
    struct buf path;
    struct str *faults;
    size_t count, cap;
};

static void fault(struct check *c, struct str what)
{
    if (c->count == FAULTS_MAX)
        return;
    c->faults = arena_grow(c->arena, c->faults, c->count, &c->cap, sizeof(*c->faults));
    c->faults[c->count++] = c->path.len == 0
                                ? what
                                : arena_printf(c->arena, STR_FMT ": " STR_FMT,
                                               STR_ARG(buf_str(&c->path)), STR_ARG(what));
}

/* --- values as Go prints them ----------------------------------------------------- */
/* %v of a value: a pointer to a struct around the document. */
static struct str shown(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "&{");
    json_write_go(j, &b);
    buf_putc(&b, '}');
    return arena_str(a, buf_str(&b));
}

/* %#v: Go's syntax. */
static void show_source(const struct json *j, struct buf *out)
{
    switch (j->type) {
    case JSON_ARRAY:
        buf_puts(out, "[]interface {}{");
        for (size_t i = 0; i < j->array.count; i++) {
            if (i != 0)
                buf_puts(out, ", ");
            show_source(j->array.items[i], out);
        }
        buf_putc(out, '}');
        return;
    case JSON_OBJECT:
        buf_puts(out, "map[string]interface {}{");
        for (size_t i = 0; i < j->object.count; i++) {
            if (i != 0)
                buf_puts(out, ", ");
            json_write_string(j->object.members[i].key, out);
            buf_putc(out, ':');
            show_source(j->object.members[i].value, out);
        }
        buf_putc(out, '}');
        return;
    case JSON_NULL:
        buf_puts(out, "interface {}(nil)");
        return;
    default:
        json_write(j, false, out);
        return;
    }
}

static struct str source(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "&value.valueUnstructured{Value:");
    show_source(j, &b);
    buf_putc(&b, '}');
    return arena_str(a, buf_str(&b));
}

static const char *go_type(const struct json *j)
{
    switch (j->type) {
    case JSON_STRING:
        return "string";
    case JSON_BOOL:
        return "bool";
    case JSON_ARRAY:
        return "[]interface {}";
    case JSON_OBJECT:
        return "map[string]interface {}";
    case JSON_INT:
        return "int64";
    case JSON_DOUBLE:
        return "float64";
    case JSON_NULL:
        break;
    }
    return "<nil>";
}

/* --- checks ------------------------------------------------------------------------- */
static bool is_scalar(const struct json *j)
{
    return j->type != JSON_ARRAY && j->type != JSON_OBJECT;
}

static void check_scalar(struct check *c, const struct field_type *t, const struct json *j)
{
    if (j->type == JSON_NULL)
        return;
    switch (t->shape) {
    case FIELD_SHAPE_STRING:
        if (j->type != JSON_STRING)
            fault(c, arena_printf(c->arena, "expected string, got " STR_FMT,
                                  STR_ARG(source(c->arena, j))));
        return;
    case FIELD_SHAPE_NUMBER:
        if (j->type != JSON_INT && j->type != JSON_DOUBLE)
            fault(c, arena_printf(c->arena, "expected numeric (int or float), got %s", go_type(j)));
        return;
    case FIELD_SHAPE_BOOL:
        if (j->type != JSON_BOOL)
            fault(c, arena_printf(c->arena, "expected boolean, got " STR_FMT,
                                  STR_ARG(shown(c->arena, j))));
        return;
    case FIELD_SHAPE_SCALAR:
        if (!is_scalar(j))
            fault(c, arena_printf(c->arena, "expected any scalar, got " STR_FMT,
                                  STR_ARG(shown(c->arena, j))));
        return;
    default:
        return;
    }
}

static void check_value(struct check *c, const struct field_type *t, const struct json *j);

static void check_below(struct check *c, const struct fieldpath_elem *elem,
                        const struct field_type *t, const struct json *j)
{
    size_t len = c->path.len;
    if (len < PATH_BYTES_MAX)
        fieldpath_elem_show(elem, &c->path);
    check_value(c, t, j);
    buf_truncate(&c->path, len);
}

static struct str elem_text(struct check *c, const struct fieldpath_elem *elem)
{
    AUTO_BUF b = BUF_INIT;
    fieldpath_elem_show(elem, &b);
    return arena_str(c->arena, buf_str(&b));
}

static int by_pointed(const void *x, const void *y)
{
    const struct tree_item *a = *(const struct tree_item *const *)x,
                           *b = *(const struct tree_item *const *)y;
    int order = fieldpath_elem_cmp(&a->elem, &b->elem);
    return order != 0 ? order : a->at < b->at ? -1 : a->at > b->at;
}

/* Which items have one of their identity before them. */
static bool *find_repeated(struct arena *a, const struct tree_item *items, size_t n)
{
    const struct tree_item **sorted = ARENA_ARRAY(a, const struct tree_item *, n + 1);
    bool *repeated = ARENA_ARRAY(a, bool, n + 1);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &items[i];
    qsort(sorted, n, sizeof(const struct tree_item *), by_pointed);
    for (size_t i = 1; i < n; i++)
        repeated[sorted[i]->at] = fieldpath_elem_cmp(&sorted[i - 1]->elem, &sorted[i]->elem) == 0;
    return repeated;
}

static void check_identified(struct check *c, const struct field_type *t, const struct json *j)
{
    size_t n;
    struct field_type below = field_type_element(t);
    struct tree_item *items = tree_items(c->arena, t, j, false, &n);
    bool *repeated = find_repeated(c->arena, items, n);
    for (size_t i = 0; i < n; i++) {
        if (repeated[i] && !c->allow_duplicates)
            fault(c, arena_printf(c->arena, "duplicate entries for key " STR_FMT,
                                  STR_ARG(elem_text(c, &items[i].elem))));
        check_below(c, &items[i].elem, &below, items[i].value);
    }
    struct error err = {0};
    struct fieldpath_elem ignored;
    if (n < j->array.count && field_type_item(c->arena, t, j->array.items[n], &ignored, &err) != 0)
        fault(c, arena_printf(c->arena, "element %zu: %s", n, error_message(&err)));
}

static void check_list(struct check *c, const struct field_type *t, const struct json *j)
{
    if (j->type == JSON_NULL)
        return;
    if (j->type != JSON_ARRAY) {
        fault(c,
              arena_printf(c->arena, "expected list, got " STR_FMT, STR_ARG(shown(c->arena, j))));
        return;
    }
    if (!t->atomic) {
        check_identified(c, t, j);
        return;
    }
    struct field_type below = field_type_element(t);
    for (size_t i = 0; i < j->array.count; i++) {
        struct fieldpath_elem elem = {.kind = FIELDPATH_INDEX, .index = (int64_t)i};
        check_below(c, &elem, &below, j->array.items[i]);
    }
}

static void check_map(struct check *c, const struct field_type *t, const struct json *j)
{
    if (j->type == JSON_NULL)
        return;
    if (j->type != JSON_OBJECT) {
        fault(c, arena_printf(c->arena, "expected map, got " STR_FMT, STR_ARG(shown(c->arena, j))));
        return;
    }
    for (size_t i = 0; i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = m->key};
        struct field_type below;
        if (field_type_member(t, m->key, &below)) {
            check_below(c, &elem, &below, m->value);
            continue;
        }
        size_t len = c->path.len;
        fieldpath_elem_show(&elem, &c->path);
        fault(c, STR("field not declared in schema"));
        buf_truncate(&c->path, len);
        return; /* Upstream looks no further in this map. */
    }
}

static void check_value(struct check *c, const struct field_type *t, const struct json *j)
{
    if (t->shape == FIELD_SHAPE_MAP)
        check_map(c, t, j);
    else if (t->shape == FIELD_SHAPE_LIST)
        check_list(c, t, j);
    else if (t->shape != FIELD_SHAPE_ANY)
        check_scalar(c, t, j);
}

int field_tree_check(struct arena *a, const struct field_type *t, const struct json *j,
                     bool allow_duplicates, struct str *ret_faults)
{
    struct check c = {.arena = a, .allow_duplicates = allow_duplicates};
    buf_init(&c.path);
    check_value(&c, t, j);
    buf_done(&c.path);
    if (c.count == 0)
        return 0;
    AUTO_BUF b = BUF_INIT;
    if (c.count > 1)
        buf_puts(&b, "errors:");
    for (size_t i = 0; i < c.count; i++) {
        if (c.count > 1)
            buf_puts(&b, "\n  ");
        buf_append_str(&b, c.faults[i]);
    }
    *ret_faults = arena_str(a, buf_str(&b));
    return E_INVALID;
}

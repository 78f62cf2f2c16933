/* env_expand.c - see env_expand.h. */
#include "kubelet/env_expand.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

void env_list_set(struct arena *a, struct env_list *l, struct str name, struct str value)
{
    for (size_t i = 0; i < l->count; i++) {
        if (str_eq(l->items[i].name, name)) {
            l->items[i].value = value;
            return;
        }
    }
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct env_var){name, value};
}

const struct str *env_list_get(const struct env_list *l, struct str name)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        if (str_eq(l->items[i].name, name))
            return &l->items[i].value;
    }
    return NULL;
}

/* Writes what stands for the text behind a dollar sign at input[at]; returns
 * how many bytes of it were used. */
static size_t expand_one(struct str input, size_t at, const struct env_list *first,
                         const struct env_list *second, struct buf *out)
{
    if (at >= input.len) {
        buf_putc(out, '$');
        return 0;
    }
    if (input.data[at] == '$') {
        buf_putc(out, '$');
        return 1;
    }
    if (input.data[at] != '(') {
        buf_putc(out, '$');
        buf_putc(out, input.data[at]);
        return 1;
    }
    ptrdiff_t close = str_find(input, ')', at + 1);
    if (close < 0) {
        buf_puts(out, "$(");
        return 1;
    }
    struct str name = str_sub(input, at + 1, (size_t)close - at - 1);
    const struct str *value = env_list_get(first, name);
    if (value == NULL)
        value = env_list_get(second, name);
    if (value != NULL)
        buf_append_str(out, *value);
    else
        buf_printf(out, "$(" STR_FMT ")", STR_ARG(name));
    return name.len + 2;
}

struct str env_expand(struct arena *a, struct str input, const struct env_list *first,
                      const struct env_list *second)
{
    if (str_find(input, '$', 0) < 0)
        return input;
    AUTO_BUF out = BUF_INIT;
    for (size_t i = 0; i < input.len; i++) {
        if (input.data[i] == '$')
            i += expand_one(input, i + 1, first, second, &out);
        else
            buf_putc(&out, input.data[i]);
    }
    return arena_str(a, buf_str(&out));
}

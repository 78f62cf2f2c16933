/* field_selector.c - field selectors: comma-separated terms of field, operator
 * and value. */
#include "lib/api/selector.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"

/* Removes backslashes; bare separators are refused. */
static int unescape(struct arena *a, struct str s, struct str *ret, struct error *err)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '\\') {
            char next = i + 1 < s.len ? s.data[i + 1] : '\0';
            if (next != '\\' && next != ',' && next != '=')
                return error_set(err, E_INVALID,
                                 "invalid field selector: invalid escape sequence: " STR_FMT,
                                 (int)MIN_OF((size_t)2, s.len - i), s.data + i);
            out[len++] = next;
            i++;
        } else if (c == ',' || c == '=') {
            return error_set(err, E_INVALID,
                             "invalid field selector: unescaped character in value: %d", c);
        } else {
            out[len++] = c;
        }
    }
    out[len] = '\0';
    *ret = str_n(out, len);
    return 0;
}

/* The first operator splits a term: field, then "!=", "==" or "=". */
static bool split_term(struct str term, struct api_field_requirement *ret, struct str *ret_value)
{
    for (size_t i = 0; i < term.len; i++) {
        struct str rest = str_sub(term, i, term.len - i);
        size_t n = str_has_prefix(rest, STR("!=")) || str_has_prefix(rest, STR("==")) ? 2
                   : rest.data[0] == '='                                              ? 1
                                                                                      : 0;
        if (n == 0)
            continue;
        ret->field = str_sub(term, 0, i);
        ret->negated = rest.data[0] == '!';
        *ret_value = str_sub(rest, n, rest.len - n);
        return true;
    }
    return false;
}

/* The end of the term that begins at `start`: a comma that is not escaped. */
static size_t term_end(struct str text, size_t start)
{
    bool escaped = false;
    for (size_t i = start; i < text.len; i++) {
        if (!escaped && text.data[i] == ',')
            return i;
        escaped = !escaped && text.data[i] == '\\';
    }
    return text.len;
}

int api_field_selector_parse(struct arena *a, struct str text, struct api_field_selector *ret,
                             struct error *err)
{
    struct api_field_selector s = {0};
    size_t cap = 0;
    for (size_t start = 0, end; start <= text.len; start = end + 1) {
        end = term_end(text, start);
        struct str term = str_sub(text, start, end - start), value;
        struct api_field_requirement r = {0};
        if (term.len == 0)
            continue;
        if (!split_term(term, &r, &value))
            return error_set(err, E_INVALID,
                             "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT "'",
                             STR_ARG(text), STR_ARG(term));
        int rc = unescape(a, value, &r.value, err);
        if (rc != 0)
            return rc;
        r.field = arena_str(a, r.field);
        s.items = arena_grow(a, s.items, s.count, &cap, sizeof(*s.items));
        s.items[s.count++] = r;
    }
    *ret = s;
    return 0;
}

bool api_field_selector_matches(const struct api_field_selector *s,
                                struct str (*get)(void *object, struct str field), void *object)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(get(object, s->items[i].field), s->items[i].value) == s->items[i].negated)
            return false;
    return true;
}

/* env_file.c - see env_file.h. */
#include "kubelet/env_file.h"

#include "lib/base/error.h"

static struct str skip_blanks(struct str s)
{
    size_t i = 0;
    while (i < s.len && (s.data[i] == ' ' || s.data[i] == '\t' || s.data[i] == '\r'))
        i++;
    return str_sub(s, i, s.len - i);
}

static size_t lines_in(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.data[i] == '\n';
    return n;
}

/* Takes one variable off the front. */
static int take_one(struct str *rest, size_t line, struct str *ret_name, struct str *ret_value,
                    struct error *err)
{
    ptrdiff_t eq = str_find(*rest, '=', 0), nl = str_find(*rest, '\n', 0);
    if (eq <= 0 || (nl >= 0 && nl < eq))
        return error_set(err, E_INVALID, "line %zu: expected NAME='value'", line);
    *ret_name = str_sub(*rest, 0, (size_t)eq);
    for (size_t i = 0; i < ret_name->len; i++)
        if (ret_name->data[i] <= ' ' || ret_name->data[i] == '\'')
            return error_set(err, E_INVALID, "line %zu: the name holds a blank or a quote", line);
    struct str after = str_sub(*rest, (size_t)eq + 1, rest->len - (size_t)eq - 1);
    if (after.len == 0 || after.data[0] != '\'')
        return error_set(err, E_INVALID, "line %zu: the value is not in single quotes", line);
    ptrdiff_t end = str_find(after, '\'', 1);
    if (end < 0)
        return error_set(err, E_INVALID, "line %zu: the closing quote is missing", line);
    *ret_value = str_sub(after, 1, (size_t)end - 1);
    struct str tail = skip_blanks(str_sub(after, (size_t)end + 1, after.len - (size_t)end - 1));
    if (tail.len > 0 && tail.data[0] != '\n' && tail.data[0] != '#')
        return error_set(err, E_INVALID, "line %zu: nothing but a comment may follow the value",
                         line + lines_in(*ret_value));
    struct str dropped;
    str_cut(tail, '\n', &dropped, rest);
    return 0;
}

int env_file_get(struct str text, struct str key, struct str *ret, bool *ret_found,
                 struct error *err)
{
    struct str rest = text;
    *ret_found = false;
    for (;;) {
        rest = skip_blanks(rest);
        if (rest.len == 0)
            return 0;
        struct str dropped, name = STR_NULL, value = STR_NULL;
        if (rest.data[0] == '\n' || rest.data[0] == '#') {
            str_cut(rest, '\n', &dropped, &rest);
            continue;
        }
        size_t line = 1 + lines_in(str_sub(text, 0, text.len - rest.len));
        int rc = take_one(&rest, line, &name, &value, err);
        if (rc != 0)
            return rc;
        if (str_eq(name, key)) {
            *ret = value;
            *ret_found = true;
        }
    }
}

/* job_indexes.c - the lists of indexes of Jobs: "1,3-5,7". Pure. */
#include "apiserver/kinds/job_indexes.h"

#include "lib/base/arena.h"

static struct str parse_index(struct arena *a, struct str s, int32_t completions, int64_t *ret)
{
    struct str digits = s.len > 1 && s.data[0] == '+' ? str_sub(s, 1, s.len) : s;
    if (!str_to_i64(digits, ret))
        return arena_printf(a, "cannot convert string to integer for index: \"" STR_FMT "\"",
                            STR_ARG(s));
    if (*ret >= completions)
        return arena_printf(a, "too large index: \"" STR_FMT "\"", STR_ARG(s));
    return STR_NULL;
}

/* One number, or two with a dash between. */
static struct str parse_interval(struct arena *a, struct str s, int32_t completions, int64_t *ret_x,
                                 int64_t *ret_y)
{
    struct str first, second;
    bool two = str_cut(s, '-', &first, &second);
    if (two && str_find(second, '-', 0) >= 0)
        return arena_printf(a,
                            "the fragment \"" STR_FMT "\" violates the requirement that an index "
                            "interval can have at most two parts separated by '-'",
                            STR_ARG(s));
    struct str why = parse_index(a, two ? first : s, completions, ret_x);
    *ret_y = *ret_x;
    if (!two || why.len != 0)
        return why;
    why = parse_index(a, second, completions, ret_y);
    if (why.len == 0 && *ret_x >= *ret_y)
        return arena_printf(a, "non-increasing order, previous: %lld, current: %lld",
                            (long long)*ret_x, (long long)*ret_y);
    return why;
}

struct str job_indexes_fault(struct arena *a, struct str list, int32_t completions,
                             int32_t *ret_total)
{
    int64_t x, y, last = -1;
    bool more = list.len != 0, any = false;
    *ret_total = 0;
    while (more) {
        struct str item = list, rest = STR_NULL;
        more = str_cut(list, ',', &item, &rest);
        struct str why = parse_interval(a, more ? item : list, completions, &x, &y);
        if (why.len == 0 && any && last >= x)
            why = arena_printf(a, "non-increasing order, previous: %lld, current: %lld",
                               (long long)last, (long long)x);
        if (why.len != 0) {
            *ret_total = 0;
            return why;
        }
        *ret_total += (int32_t)(y - x + 1);
        last = y;
        any = true;
        list = rest;
    }
    return STR_NULL;
}

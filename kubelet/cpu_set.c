/* cpu_set.c - see cpu_set.h. */
#include "kubelet/cpu_set.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define WORDS (CPU_MAX / 64)

static int parse_number(struct str text, int64_t *ret, struct error *err)
{
    if (!str_to_i64(text, ret) || *ret < 0)
        return error_set(err, E_INVALID, "'" STR_FMT "' is not a number or a range (0-3,8)",
                         STR_ARG(text));
    if (*ret >= CPU_MAX)
        return error_set(err, E_INVALID, "%lld is above %d", (long long)*ret, CPU_MAX - 1);
    return 0;
}

int cpu_set_parse(struct str text, struct cpu_set *ret, struct error *err)
{
    struct cpu_set s = {0};
    struct str rest = str_trim(text), one;
    for (bool more = rest.len > 0; more;) {
        struct str first, last;
        int64_t from, to;
        more = str_cut(rest, ',', &one, &rest);
        bool is_range = str_cut(str_trim(one), '-', &first, &last);
        int rc = parse_number(first, &from, err);
        if (rc == 0)
            rc = parse_number(is_range ? last : first, &to, err);
        if (rc != 0)
            return rc;
        if (from > to)
            return error_set(err, E_INVALID, "the range '" STR_FMT "' ends before it begins",
                             STR_ARG(one));
        for (; from <= to; from++)
            cpu_set_add(&s, (int)from);
    }
    *ret = s;
    return 0;
}

const char *cpu_set_text(const struct cpu_set *s, struct arena *a)
{
    AUTO_BUF b = BUF_INIT;
    for (int first = cpu_set_next(s, 0); first >= 0;) {
        int last = first;
        while (last + 1 < CPU_MAX && cpu_set_has(s, last + 1))
            last++;
        buf_printf(&b, "%s%d", b.len > 0 ? "," : "", first);
        if (last > first)
            buf_printf(&b, "-%d", last);
        first = cpu_set_next(s, last + 1);
    }
    return str_c(arena_str(a, buf_str(&b)));
}

int cpu_set_count(const struct cpu_set *s)
{
    int count = 0;
    for (size_t i = 0; i < WORDS; i++)
        count += __builtin_popcountll(s->words[i]);
    return count;
}

bool cpu_set_is_empty(const struct cpu_set *s)
{
    return cpu_set_next(s, 0) < 0;
}

bool cpu_set_equal(const struct cpu_set *x, const struct cpu_set *y)
{
    for (size_t i = 0; i < WORDS; i++)
        if (x->words[i] != y->words[i])
            return false;
    return true;
}

bool cpu_set_intersects(const struct cpu_set *x, const struct cpu_set *y)
{
    for (size_t i = 0; i < WORDS; i++)
        if ((x->words[i] & y->words[i]) != 0)
            return true;
    return false;
}

bool cpu_set_contains(const struct cpu_set *whole, const struct cpu_set *part)
{
    for (size_t i = 0; i < WORDS; i++)
        if ((part->words[i] & ~whole->words[i]) != 0)
            return false;
    return true;
}

struct cpu_set cpu_set_or(const struct cpu_set *x, const struct cpu_set *y)
{
    struct cpu_set s;
    for (size_t i = 0; i < WORDS; i++)
        s.words[i] = x->words[i] | y->words[i];
    return s;
}

struct cpu_set cpu_set_and(const struct cpu_set *x, const struct cpu_set *y)
{
    struct cpu_set s;
    for (size_t i = 0; i < WORDS; i++)
        s.words[i] = x->words[i] & y->words[i];
    return s;
}

struct cpu_set cpu_set_minus(const struct cpu_set *x, const struct cpu_set *y)
{
    struct cpu_set s;
    for (size_t i = 0; i < WORDS; i++)
        s.words[i] = x->words[i] & ~y->words[i];
    return s;
}

int cpu_set_next(const struct cpu_set *s, int from)
{
    for (int i = from / 64; i < WORDS; i++) {
        uint64_t word = s->words[i];
        if (i == from / 64)
            word &= ~(uint64_t)0 << (from % 64);
        if (word != 0)
            return i * 64 + __builtin_ctzll(word);
    }
    return -1;
}

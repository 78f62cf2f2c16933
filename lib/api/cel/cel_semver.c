/* cel_semver.c - semantic versions as values. */
#include "lib/api/cel/cel_table.h"

#include "lib/base/buf.h"

struct version {
    uint64_t parts[3];
    struct str pre;
};

static bool is_ident(struct str s, bool numeric_rule)
{
    bool number = true;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-')
            return false;
        number &= digit;
    }
    return s.len != 0 && !(numeric_rule && number && s.len > 1 && s.data[0] == '0');
}

static bool are_idents(struct str s, bool numeric_rule)
{
    struct str head, tail;
    bool more;
    do {
        more = str_cut(s, '.', &head, &tail);
        if (!is_ident(head, numeric_rule))
            return false;
        s = tail;
    } while (more);
    return true;
}

static bool parse(struct str s, struct version *ret)
{
    struct str core = s, build, pre, head, tail;
    if (str_cut(s, '+', &core, &build) && !are_idents(build, false))
        return false;
    ret->pre = STR_NULL;
    if (str_cut(core, '-', &core, &pre)) {
        if (!are_idents(pre, true))
            return false;
        ret->pre = pre;
    }
    for (size_t i = 0; i < 3; i++) {
        bool more = str_cut(core, '.', &head, &tail);
        if (more != (i < 2) || !str_to_u64(head, &ret->parts[i]) ||
            (head.len > 1 && head.data[0] == '0') || head.data[0] == '+')
            return false;
        core = tail;
    }
    return true;
}

/* v1.2 becomes 1.2.0; leading zeros go. */
static struct str normalized(C *c, struct str s)
{
    AUTO_BUF b = BUF_INIT;
    if (s.len != 0 && (s.data[0] == 'v' || s.data[0] == 'V'))
        s = str_sub(s, 1, s.len - 1);
    size_t core = 0;
    while (core < s.len && s.data[core] != '-' && s.data[core] != '+')
        core++;
    struct str rest = str_sub(s, core, s.len - core), head, tail = str_sub(s, 0, core);
    for (size_t i = 0; i < 3 || tail.len != 0; i++) {
        str_cut(tail, '.', &head, &tail);
        while (head.len > 1 && head.data[0] == '0')
            head = str_sub(head, 1, head.len - 1);
        buf_puts(&b, i != 0 ? "." : "");
        buf_append_str(&b, head.len != 0 ? head : STR("0"));
    }
    buf_append_str(&b, rest);
    return arena_str(c->arena, buf_str(&b));
}

static int compare_pre(struct str x, struct str y)
{
    if (x.len == 0 || y.len == 0)
        return (x.len == 0) - (y.len == 0);
    while (x.len != 0 && y.len != 0) {
        struct str a, b;
        uint64_t n, m;
        str_cut(x, '.', &a, &x);
        str_cut(y, '.', &b, &y);
        bool an = str_to_u64(a, &n), bn = str_to_u64(b, &m);
        int c = an && bn ? (n > m) - (n < m) : an != bn ? (an ? -1 : 1) : str_cmp(a, b);
        if (c != 0)
            return c < 0 ? -1 : 1;
    }
    return (x.len != 0) - (y.len != 0);
}

static int compare_versions(struct str x, struct str y)
{
    struct version a = {0}, b = {0};
    parse(x, &a);
    parse(y, &b);
    for (size_t i = 0; i < 3; i++)
        if (a.parts[i] != b.parts[i])
            return a.parts[i] < b.parts[i] ? -1 : 1;
    return compare_pre(a.pre, b.pre);
}

static struct str text_of(C *c, const V *a)
{
    cel_charge_bytes(c, a[0].string.len);
    return c->function->arg_count == 2 && a[1].boolean ? normalized(c, a[0].string) : a[0].string;
}

static V semver_of(C *c, const V *a)
{
    struct version v;
    struct str s = text_of(c, a);
    if (!parse(s, &v))
        return cel_error(c->arena, "semver parse error: \"" STR_FMT "\"", STR_ARG(s));
    return (V){.kind = CEL_SEMVER, .string = s};
}

bool cel_semver_is(struct str text)
{
    struct version v;
    return parse(text, &v);
}

static V is_semver(C *c, const V *a)
{
    struct version v;
    return cel_of_bool(parse(text_of(c, a), &v));
}

static V compare(C *c, const V *a)
{
    int r = compare_versions(a[0].string, a[1].string);
    const char *f = c->function->name;
    return f[0] == 'c' ? cel_of_int(r) : cel_of_bool(f[2] == 'L' ? r < 0 : r > 0);
}

static V component(C *c, const V *a)
{
    struct version v = {0};
    const char *f = c->function->name;
    parse(a[0].string, &v);
    return cel_of_int((int64_t)v.parts[f[0] == 'p' ? 2 : f[1] == 'i']);
}

#define S &cel_string
#define SV &cel_semver
#define B &cel_bool

const struct cel_function cel_functions_semver[] = {
    G("semver", 1, SV, semver_of, S),
    G("semver", 2, SV, semver_of, S, B),
    G("isSemver", 1, B, is_semver, S),
    G("isSemver", 2, B, is_semver, S, B),
    M("isLessThan", 2, B, compare, SV, SV),
    M("isGreaterThan", 2, B, compare, SV, SV),
    M("compareTo", 2, &cel_int, compare, SV, SV),
    M("major", 1, &cel_int, component, SV),
    M("minor", 1, &cel_int, component, SV),
    M("patch", 1, &cel_int, component, SV),
    {NULL},
};

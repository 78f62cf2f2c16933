/* crd_field_path.c - see crd.h. */
#include "apiserver/kinds/crd.h"

#include "api/apiextensions_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define props_t struct apiextensions_v1_json_schema_props

const props_t *crd_property(const props_t *p, struct str name)
{
    for (size_t i = 0; i < p->properties_count; i++)
        if (str_eq(p->properties[i].key, name))
            return &p->properties[i].value;
    return NULL;
}

struct reader {
    struct arena *arena;
    struct str rest;
    const props_t *at;
    struct buf canonical;
    struct str why;
};

static bool refuse(struct reader *r, struct str why)
{
    r->why = why;
    return false;
}

/* The next token: a delimiter, a quoted text with its quotes, or what stands
 * before the next delimiter. False: there is none. */
static bool next_token(struct reader *r, struct str *ret)
{
    struct str s = r->rest;
    size_t n = 0;
    if (s.len == 0)
        return false;
    if (s.data[0] == '.' || s.data[0] == '[' || s.data[0] == ']') {
        n = 1;
    } else if (s.data[0] == '\'') {
        for (n = 1; n < s.len && (s.data[n] != '\'' || s.data[n - 1] == '\\'); n++)
            ;
        n += n < s.len;
    } else {
        while (n < s.len && s.data[n] != '.' && s.data[n] != '[' && s.data[n] != ']')
            n++;
    }
    *ret = str_sub(s, 0, n);
    r->rest = str_sub(s, n, s.len);
    return true;
}

/* Inside of quotes: \\ and \' alone are known. */
static bool unescape(struct reader *r, struct str s, struct str *ret)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\\' &&
            (i + 1 == s.len || (s.data[i + 1] != '\\' && s.data[i + 1] != '\'')))
            return refuse(r, STR("invalid string literal: invalid syntax"));
        i += s.data[i] == '\\';
        buf_putc(&b, s.data[i]);
    }
    *ret = arena_str(r->arena, buf_str(&b));
    return true;
}

static bool step(struct reader *r, struct str name)
{
    const props_t *p = r->at;
    if (p->properties_count != 0) {
        r->at = crd_property(p, name);
        buf_printf(&r->canonical, "%s" STR_FMT, r->canonical.len != 0 ? "." : "", STR_ARG(name));
    } else {
        r->at = p->additional_properties != NULL ? p->additional_properties->schema : NULL;
        buf_printf(&r->canonical, "[" STR_FMT "]", STR_ARG(name));
    }
    return r->at != NULL || refuse(r, STR("does not refer to a valid field"));
}

static bool step_quoted(struct reader *r)
{
    struct str token, name;
    if (!next_token(r, &token))
        return refuse(r, STR("unexpected end of JSON path"));
    if (token.len < 2 || token.data[0] != '\'' || token.data[token.len - 1] != '\'')
        return refuse(r, arena_printf(r->arena, "expected single quoted string but got " STR_FMT,
                                      STR_ARG(token)));
    if (!unescape(r, str_sub(token, 1, token.len - 1), &name) || !step(r, name))
        return false;
    if (!next_token(r, &token))
        return refuse(r, STR("unexpected end of JSON path"));
    return str_eqc(token, "]") ||
           refuse(r, arena_printf(r->arena, "expected ] but got " STR_FMT, STR_ARG(token)));
}

static bool step_token(struct reader *r, struct str token, bool arrays)
{
    if (str_eqc(token, "["))
        return arrays ? step_quoted(r) : refuse(r, STR("array notation is not allowed"));
    if (!str_eqc(token, "."))
        return refuse(r,
                      arena_printf(r->arena, "expected [ or . but got: " STR_FMT, STR_ARG(token)));
    return next_token(r, &token) ? step(r, token) : refuse(r, STR("unexpected end of JSON path"));
}

const props_t *crd_field_path(struct arena *a, const props_t *p, struct str path, bool arrays,
                              struct str *ret_canonical, struct str *ret_why)
{
    struct reader r = {.arena = a, .rest = path, .at = p, .canonical = BUF_INIT};
    struct str token;
    bool good = true;
    while (good && next_token(&r, &token))
        good = step_token(&r, token, arrays);
    *ret_canonical = arena_str(a, buf_str(&r.canonical));
    *ret_why = r.why;
    buf_done(&r.canonical);
    return good ? r.at : NULL;
}

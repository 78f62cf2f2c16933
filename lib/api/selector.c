/* selector.c - label selectors. The parser takes upstream's tokens and words
 * its errors as upstream does. */
#include "lib/api/selector.h"

#include "api/meta_v1.h"
#include "lib/api/names.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdio.h>

enum token {
    T_END,
    T_CLOSE,
    T_COMMA,
    T_NOT,
    T_EQUALS2,
    T_EQUALS,
    T_GREATER,
    T_NAME,
    T_IN,
    T_LESS,
    T_NOT_EQUALS,
    T_NOT_IN,
    T_OPEN,
    T_BAD,
};

struct parser {
    struct arena *arena;
    struct str text;
    size_t pos;
    enum token token; /* The one ahead. */
    struct str literal;
    struct error *err;
};

/* --- tokens -------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_symbol(char c)
{
    return c != '\0' && strchr("=!(),><", c) != NULL;
}

static enum token symbol_token(struct str s)
{
    static const struct {
        const char *text;
        enum token token;
    } symbols[] = {{")", T_CLOSE},       {",", T_COMMA},  {"!", T_NOT},
                   {"==", T_EQUALS2},    {"=", T_EQUALS}, {">", T_GREATER},
                   {"!=", T_NOT_EQUALS}, {"<", T_LESS},   {"(", T_OPEN}};
    for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
        if (str_eqc(s, symbols[i].text))
            return symbols[i].token;
    return T_BAD;
}

static char char_at(const struct parser *p, size_t i)
{
    return i < p->text.len ? p->text.data[i] : '\0';
}

/* Moves on to the next token. A NUL byte ends the text, as it does upstream. */
static void advance(struct parser *p)
{
    while (is_space(char_at(p, p->pos)))
        p->pos++;
    size_t start = p->pos;
    if (char_at(p, start) == '\0') {
        p->token = T_END;
        p->literal = STR_NULL;
        return;
    }
    if (is_symbol(char_at(p, start))) {
        /* The longest symbol: == before =, != before !. */
        size_t n =
            is_symbol(char_at(p, start + 1)) && symbol_token(str_sub(p->text, start, 2)) != T_BAD
                ? 2
                : 1;
        p->literal = str_sub(p->text, start, n);
        p->token = symbol_token(p->literal);
        p->pos = start + n;
        return;
    }
    while (char_at(p, p->pos) != '\0' && !is_symbol(char_at(p, p->pos)) &&
           !is_space(char_at(p, p->pos)))
        p->pos++;
    p->literal = str_sub(p->text, start, p->pos - start);
    p->token = str_eqc(p->literal, "in") ? T_IN : str_eqc(p->literal, "notin") ? T_NOT_IN : T_NAME;
}

/* Keys and values may be called "in". */
static bool is_name(const struct parser *p)
{
    return p->token == T_NAME || p->token == T_IN || p->token == T_NOT_IN;
}

static int found(struct parser *p, const char *expected)
{
    return error_set(p->err, E_INVALID,
                     "unable to parse requirement: found '" STR_FMT "', expected: %s",
                     STR_ARG(p->literal), expected);
}

/* --- requirements --------------------------------------------------------------------------- */

/* Faults as upstream joins them: <path>: Invalid value: "x": a; b. */
static int invalid(struct error *err, const char *path, struct str value,
                   const struct api_faults *f)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < f->count; i++)
        buf_printf(&b, "%s%s", i > 0 ? "; " : "", f->items[i]);
    struct str text = buf_str(&b);
    return error_set(err, E_INVALID, "%s: Invalid value: \"" STR_FMT "\": " STR_FMT, path,
                     STR_ARG(value), STR_ARG(text));
}

static int check_values(const struct api_label_requirement *r, struct error *err)
{
    char path[160];
    for (size_t i = 0; i < r->count; i++) {
        int64_t number;
        snprintf(path, sizeof(path), "values[%zu]", i);
        if ((r->op == API_SEL_GT || r->op == API_SEL_LT) && !str_to_i64(r->values[i], &number))
            return error_set(err, E_INVALID,
                             "%s: Invalid value: \"" STR_FMT
                             "\": for 'Gt', 'Lt' operators, the value must be an integer",
                             path, STR_ARG(r->values[i]));
        struct api_faults f = api_check_label_value(r->values[i]);
        if (f.count > 0) {
            snprintf(path, sizeof(path), "values[%zu][" STR_FMT "]", i, STR_ARG(r->key));
            return invalid(err, path, r->values[i], &f);
        }
    }
    return 0;
}

static int compare_strs(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void sort_values(struct api_label_requirement *r)
{
    size_t kept = 0;
    if (r->count == 0)
        return;
    qsort(r->values, r->count, sizeof(*r->values), compare_strs);
    for (size_t i = 0; i < r->count; i++)
        if (kept == 0 || !str_eq(r->values[kept - 1], r->values[i]))
            r->values[kept++] = r->values[i];
    r->count = kept;
}

static void add_value(struct parser *p, struct api_label_requirement *r, size_t *cap,
                      struct str value)
{
    r->values = arena_grow(p->arena, r->values, r->count, cap, sizeof(*r->values));
    r->values[r->count++] = arena_str(p->arena, value);
}

/* "(a,b)"; empty places are empty values. */
static int parse_values(struct parser *p, struct api_label_requirement *r)
{
    size_t cap = 0;
    if (p->token != T_OPEN)
        return error_set(p->err, E_INVALID,
                         "unable to parse requirement: found '" STR_FMT "' expected: '('",
                         STR_ARG(p->literal));
    advance(p);
    if (p->token != T_CLOSE && p->token != T_COMMA && !is_name(p))
        return found(p, "',', ')' or identifier");
    for (;;) {
        if (is_name(p)) {
            add_value(p, r, &cap, p->literal);
            advance(p);
            if (p->token != T_COMMA && p->token != T_CLOSE)
                return found(p, "',' or ')'");
        } else if (p->token == T_COMMA || p->token == T_CLOSE) {
            add_value(p, r, &cap, STR_NULL);
        } else {
            return found(p, "',', or identifier");
        }
        if (p->token == T_CLOSE)
            break;
        advance(p);
    }
    advance(p);
    return 0;
}

static int parse_exact_value(struct parser *p, struct api_label_requirement *r)
{
    size_t cap = 0;
    if (p->token == T_END || p->token == T_COMMA) {
        add_value(p, r, &cap, STR_NULL);
        return 0;
    }
    if (!is_name(p))
        return found(p, "identifier");
    add_value(p, r, &cap, p->literal);
    advance(p);
    return 0;
}

static int parse_operator(struct parser *p, struct api_label_requirement *r)
{
    static const struct {
        enum token token;
        enum api_selector_op op;
        const char *sign;
    } operators[] = {{T_IN, API_SEL_IN, "in"},
                     {T_NOT_IN, API_SEL_NOT_IN, "notin"},
                     {T_EQUALS, API_SEL_IN, "="},
                     {T_EQUALS2, API_SEL_IN, "=="},
                     {T_GREATER, API_SEL_GT, ">"},
                     {T_LESS, API_SEL_LT, "<"},
                     {T_NOT_EQUALS, API_SEL_NOT_IN, "!="}};
    for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
        if (operators[i].token == p->token) {
            r->op = operators[i].op;
            r->sign = operators[i].sign;
            advance(p);
            return 0;
        }
    }
    return found(p, "in, notin, =, ==, !=, gt, lt");
}

static int parse_requirement(struct parser *p, struct api_label_requirement *r)
{
    bool negated = p->token == T_NOT;
    if (negated)
        advance(p);
    if (!is_name(p))
        return found(p, "identifier");
    struct api_faults f = api_check_qualified_name(p->literal);
    if (f.count > 0) {
        invalid(p->err, "<nil>", p->literal, &f);
        return error_prefix(p->err, "unable to parse requirement");
    }
    r->key = arena_str(p->arena, p->literal);
    advance(p);
    if (negated || p->token == T_END || p->token == T_COMMA) {
        r->op = negated ? API_SEL_NOT_EXISTS : API_SEL_EXISTS;
        r->sign = negated ? "!" : "";
        return 0;
    }
    int rc = parse_operator(p, r);
    if (rc != 0)
        return rc;
    bool set = strcmp(r->sign, "in") == 0 || strcmp(r->sign, "notin") == 0;
    rc = set ? parse_values(p, r) : parse_exact_value(p, r);
    if (rc != 0)
        return rc;
    sort_values(r);
    if (check_values(r, p->err) != 0)
        return error_prefix(p->err, "unable to parse requirement");
    if (r->op == API_SEL_GT || r->op == API_SEL_LT)
        str_to_i64(r->values[0], &r->number);
    return 0;
}

static int compare_requirements(const void *x, const void *y)
{
    const struct api_label_requirement *a = x, *b = y;
    return str_cmp(a->key, b->key);
}

int api_label_selector_parse(struct arena *a, struct str text, struct api_label_selector *ret,
                             struct error *err)
{
    struct parser p = {.arena = a, .text = text, .err = err};
    struct api_label_selector s = {0};
    size_t cap = 0;
    advance(&p);
    while (p.token != T_END) {
        if (!is_name(&p) && p.token != T_NOT)
            return error_set(err, E_INVALID,
                             "found '" STR_FMT "', expected: !, identifier, or 'end of string'",
                             STR_ARG(p.literal));
        s.items = arena_grow(a, s.items, s.count, &cap, sizeof(*s.items));
        int r = parse_requirement(&p, &s.items[s.count++]);
        if (r != 0)
            return r;
        if (p.token == T_END)
            break;
        if (p.token != T_COMMA)
            return error_set(err, E_INVALID,
                             "found '" STR_FMT "', expected: ',' or 'end of string'",
                             STR_ARG(p.literal));
        advance(&p);
        if (!is_name(&p) && p.token != T_NOT)
            return error_set(err, E_INVALID, "found '" STR_FMT "', expected: identifier after ','",
                             STR_ARG(p.literal));
    }
    if (s.count > 0)
        qsort(s.items, s.count, sizeof(*s.items), compare_requirements);
    *ret = s;
    return 0;
}

/* --- LabelSelector ---------------------------------------------------------------------------- */

static int from_expression(struct arena *a, const struct meta_v1_label_selector_requirement *e,
                           struct api_label_requirement *r, struct error *err)
{
    static const struct {
        const char *name, *sign;
        enum api_selector_op op;
        bool values;
    } operators[] = {{"In", "in", API_SEL_IN, true},
                     {"NotIn", "notin", API_SEL_NOT_IN, true},
                     {"Exists", "", API_SEL_EXISTS, false},
                     {"DoesNotExist", "!", API_SEL_NOT_EXISTS, false}};
    size_t k = 0;
    while (k < ARRAY_SIZE(operators) && !str_eqc(e->operator, operators[k].name))
        k++;
    if (k == ARRAY_SIZE(operators))
        return error_set(err, E_INVALID, "\"" STR_FMT "\" is not a valid label selector operator",
                         STR_ARG(e->operator));
    struct api_faults f = api_check_qualified_name(e->key);
    if (f.count > 0)
        return invalid(err, "key", e->key, &f);
    if (operators[k].values && e->values_count == 0)
        return error_set(
            err, E_INVALID,
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
    if (!operators[k].values && e->values_count > 0)
        return error_set(
            err, E_INVALID,
            "values: Invalid value: []: values set must be empty for exists and does not exist");
    *r = (struct api_label_requirement){
        .key = arena_str(a, e->key), .op = operators[k].op, .sign = operators[k].sign};
    r->values = ARENA_ARRAY(a, struct str, e->values_count);
    for (size_t i = 0; i < e->values_count; i++)
        r->values[r->count++] = arena_str(a, e->values[i]);
    sort_values(r);
    return check_values(r, err);
}

int api_label_selector_from(struct arena *a, const struct meta_v1_label_selector *m,
                            struct api_label_selector *ret, struct error *err)
{
    struct api_label_selector s = {.nothing = m == NULL};
    if (m != NULL) {
        s.items = ARENA_ARRAY(a, struct api_label_requirement,
                              m->match_labels_count + m->match_expressions_count);
        for (size_t i = 0; i < m->match_labels_count; i++) {
            struct api_label_requirement *r = &s.items[s.count++];
            *r = (struct api_label_requirement){
                .key = arena_str(a, m->match_labels[i].key), .op = API_SEL_IN, .sign = "="};
            r->values = ARENA_NEW(a, struct str);
            r->values[r->count++] = arena_str(a, m->match_labels[i].value);
            struct api_faults f = api_check_qualified_name(r->key);
            if (f.count > 0)
                return invalid(err, "key", r->key, &f);
            int rc = check_values(r, err);
            if (rc != 0)
                return rc;
        }
        for (size_t i = 0; i < m->match_expressions_count; i++) {
            int rc = from_expression(a, &m->match_expressions[i], &s.items[s.count++], err);
            if (rc != 0)
                return rc;
        }
        if (s.count > 0)
            qsort(s.items, s.count, sizeof(*s.items), compare_requirements);
    }
    *ret = s;
    return 0;
}

/* --- matching and printing ----------------------------------------------------------------------
 */

static bool has_value(const struct api_label_requirement *r, struct str value)
{
    for (size_t i = 0; i < r->count; i++)
        if (str_eq(r->values[i], value))
            return true;
    return false;
}

static bool holds(const struct api_label_requirement *r, const struct str *value)
{
    int64_t number;
    switch (r->op) {
    case API_SEL_IN:
        return value != NULL && has_value(r, *value);
    case API_SEL_NOT_IN:
        return value == NULL || !has_value(r, *value);
    case API_SEL_EXISTS:
        return value != NULL;
    case API_SEL_NOT_EXISTS:
        return value == NULL;
    case API_SEL_GT:
        return value != NULL && str_to_i64(*value, &number) && number > r->number;
    case API_SEL_LT:
        return value != NULL && str_to_i64(*value, &number) && number < r->number;
    }
    return false;
}

bool api_label_selector_matches(const struct api_label_selector *s,
                                const struct api_str_entry *labels, size_t count)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (!holds(&s->items[i], api_str_map_get(labels, count, s->items[i].key)))
            return false;
    return true;
}

struct str api_label_selector_text(struct arena *a, const struct api_label_selector *s)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s->count; i++) {
        const struct api_label_requirement *r = &s->items[i];
        bool set = r->sign[0] == 'i' || r->sign[0] == 'n';
        if (i > 0)
            buf_putc(&b, ',');
        if (r->op == API_SEL_NOT_EXISTS)
            buf_putc(&b, '!');
        buf_append_str(&b, r->key);
        if (r->op == API_SEL_EXISTS || r->op == API_SEL_NOT_EXISTS)
            continue;
        buf_printf(&b, set ? " %s (" : "%s", r->sign);
        for (size_t k = 0; k < r->count; k++) {
            if (k > 0)
                buf_putc(&b, ',');
            buf_append_str(&b, r->values[k]);
        }
        if (set)
            buf_putc(&b, ')');
    }
    return arena_str(a, buf_str(&b));
}

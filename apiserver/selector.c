/* selector.c - see selector.h. */
#include "apiserver/selector.h"

#include "api/meta_v1.h"
#include "apiserver/validate.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#define REQUIREMENTS_MAX 1024u
#define VALUES_MAX 4096u

enum token {
    T_END,
    T_IDENT,
    T_COMMA,
    T_EQ,
    T_EQEQ,
    T_NE,
    T_NOT,
    T_OPEN,
    T_CLOSE,
    T_GT,
    T_LT,
    T_IN,
    T_NOTIN,
    T_ERROR,
};

struct lexer {
    struct arena *arena;
    struct str text;
    size_t at;
    enum token tok;
    struct str lit;
};

static bool is_symbol(char c)
{
    return c != '\0' && strchr("=!(),><", c) != NULL;
}
static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void lex(struct lexer *l)
{
    static const struct {
        const char *lit;
        enum token tok;
    } symbols[] = {{"==", T_EQEQ}, {"!=", T_NE},   {"=", T_EQ}, {"!", T_NOT}, {"(", T_OPEN},
                   {")", T_CLOSE}, {",", T_COMMA}, {">", T_GT}, {"<", T_LT}};
    while (l->at < l->text.len && is_space(l->text.data[l->at]))
        l->at++;
    size_t from = l->at;
    if (from >= l->text.len) {
        l->tok = T_END;
        l->lit = STR("");
        return;
    }
    if (is_symbol(l->text.data[from])) {
        struct str rest = str_sub(l->text, from, l->text.len);
        for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
            if (str_has_prefix(rest, str_of(symbols[i].lit))) {
                l->tok = symbols[i].tok;
                l->lit = str_of(symbols[i].lit);
                l->at += l->lit.len;
                return;
            }
    }
    while (l->at < l->text.len && !is_symbol(l->text.data[l->at]) && !is_space(l->text.data[l->at]))
        l->at++;
    l->lit = str_sub(l->text, from, l->at - from);
    l->tok = str_eqc(l->lit, "in") ? T_IN : str_eqc(l->lit, "notin") ? T_NOTIN : T_IDENT;
}

/* Where a value stands, keywords are words like any other. */
static enum token value_token(const struct lexer *l)
{
    return l->tok == T_IN || l->tok == T_NOTIN ? T_IDENT : l->tok;
}

static int unexpected(const struct lexer *l, const char *what, struct error *err)
{
    return error_set(err, E_INVALID, "unable to parse requirement: found '" STR_FMT "'%s",
                     STR_ARG(l->lit), what);
}

static int field_fault(struct arena *a, const struct field_errors *errs, struct error *err)
{
    return error_set(err, E_INVALID, "unable to parse requirement: " STR_FMT,
                     STR_ARG(field_errors_text(a, errs)));
}

static void add_value(struct lexer *l, struct label_requirement *r, size_t *cap, struct str v)
{
    r->values = arena_grow(l->arena, r->values, r->count, cap, sizeof(*r->values));
    r->values[r->count++] = v;
}

/* "(a, b)"; an empty place between commas is the empty value. */
static int parse_values(struct lexer *l, struct label_requirement *r, struct error *err)
{
    size_t cap = 0;
    if (value_token(l) != T_OPEN)
        return error_set(err, E_INVALID,
                         "unable to parse requirement: found '" STR_FMT "' expected: '('",
                         STR_ARG(l->lit));
    lex(l);
    bool value_seen = false;
    while (r->count < VALUES_MAX) {
        switch (value_token(l)) {
        case T_IDENT:
            add_value(l, r, &cap, l->lit);
            value_seen = true;
            lex(l);
            if (value_token(l) != T_COMMA && value_token(l) != T_CLOSE)
                return unexpected(l, ", expected: ',' or ')'", err);
            break;
        case T_COMMA:
            if (!value_seen)
                add_value(l, r, &cap, STR(""));
            value_seen = false;
            lex(l);
            if (value_token(l) == T_CLOSE) {
                add_value(l, r, &cap, STR(""));
                lex(l);
                return 0;
            }
            break;
        case T_CLOSE:
            lex(l);
            return 0;
        default:
            return unexpected(l, ", expected: ',', ')' or identifier", err);
        }
    }
    return error_set(err, E_INVALID, "unable to parse requirement: more than %u values",
                     VALUES_MAX);
}

static int check_values(struct lexer *l, struct label_requirement *r, struct error *err)
{
    struct field_errors errs = {.arena = l->arena};
    const struct field_path *values = PATH(PATH_ROOT, "values");
    if ((r->op == SEL_IN || r->op == SEL_NOT_IN) && r->count == 0)
        field_invalid_raw(&errs, values, STR("[]"),
                          "for 'in', 'notin' operators, values set can't be empty");
    if ((r->op == SEL_GT || r->op == SEL_LT) && !str_to_i64(r->values[0], &r->number))
        field_invalid(&errs, PATH_INDEX(values, 0), r->values[0],
                      "for 'Gt', 'Lt' operators, the value must be an integer");
    for (size_t i = 0; i < r->count && errs.count == 0; i++)
        field_faults(&errs, PATH_KEY(PATH_INDEX(values, i), r->key), r->values[i],
                     check_label_value(r->values[i]));
    return errs.count == 0 ? 0 : field_fault(l->arena, &errs, err);
}

static int parse_requirement(struct lexer *l, struct label_requirement *r, struct error *err)
{
    bool negated = value_token(l) == T_NOT;
    if (negated)
        lex(l);
    if (value_token(l) != T_IDENT)
        return unexpected(l, ", expected: identifier", err);
    r->key = l->lit;
    struct field_errors errs = {.arena = l->arena};
    field_faults(&errs, PATH_ROOT, r->key, check_qualified_name(r->key, l->arena));
    if (errs.count != 0)
        return field_fault(l->arena, &errs, err);
    lex(l);
    if (negated || l->tok == T_END || l->tok == T_COMMA) {
        r->op = negated ? SEL_NOT_EXISTS : SEL_EXISTS;
        return 0;
    }
    enum token op = l->tok;
    switch (op) {
    case T_IN:
    case T_EQ:
    case T_EQEQ:
        r->op = SEL_IN;
        break;
    case T_NOTIN:
    case T_NE:
        r->op = SEL_NOT_IN;
        break;
    case T_GT:
        r->op = SEL_GT;
        break;
    case T_LT:
        r->op = SEL_LT;
        break;
    default:
        return unexpected(l, ", expected: in, notin, =, ==, !=, gt, lt", err);
    }
    lex(l);
    if (op == T_IN || op == T_NOTIN) {
        int code = parse_values(l, r, err);
        return code != 0 ? code : check_values(l, r, err);
    }
    size_t cap = 0;
    if (l->tok == T_END || l->tok == T_COMMA) {
        add_value(l, r, &cap, STR(""));
    } else if (value_token(l) == T_IDENT) {
        add_value(l, r, &cap, l->lit);
        lex(l);
    } else {
        return unexpected(l, ", expected: identifier", err);
    }
    return check_values(l, r, err);
}

int label_selector_parse(struct arena *a, struct str text, struct label_selector *ret,
                         struct error *err)
{
    struct lexer l = {.arena = a, .text = text};
    struct label_selector s = {0};
    size_t cap = 0;
    lex(&l);
    while (l.tok != T_END) {
        if (value_token(&l) != T_IDENT && l.tok != T_NOT)
            return error_set(err, E_INVALID,
                             "found '" STR_FMT "', expected: !, identifier, or 'end of string'",
                             STR_ARG(l.lit));
        if (s.count >= REQUIREMENTS_MAX)
            return error_set(err, E_INVALID, "more than %u requirements", REQUIREMENTS_MAX);
        struct label_requirement r = {0};
        int code = parse_requirement(&l, &r, err);
        if (code != 0)
            return code;
        s.items = arena_grow(a, s.items, s.count, &cap, sizeof(*s.items));
        s.items[s.count++] = r;
        if (l.tok == T_END)
            break;
        if (l.tok != T_COMMA)
            return error_set(err, E_INVALID,
                             "found '" STR_FMT "', expected: ',' or 'end of string'",
                             STR_ARG(l.lit));
        lex(&l);
        if (value_token(&l) != T_IDENT && l.tok != T_NOT)
            return error_set(err, E_INVALID, "found '" STR_FMT "', expected: identifier after ','",
                             STR_ARG(l.lit));
    }
    *ret = s;
    return 0;
}

static bool requirement_matches(const struct label_requirement *r, const struct str *value)
{
    bool in = false;
    int64_t n;
    switch (r->op) {
    case SEL_EXISTS:
        return value != NULL;
    case SEL_NOT_EXISTS:
        return value == NULL;
    case SEL_IN:
    case SEL_NOT_IN:
        for (size_t i = 0; value != NULL && i < r->count && !in; i++)
            in = str_eq(*value, r->values[i]);
        return r->op == SEL_IN ? in : !in;
    case SEL_GT:
        return value != NULL && str_to_i64(*value, &n) && n > r->number;
    case SEL_LT:
        return value != NULL && str_to_i64(*value, &n) && n < r->number;
    }
    return false;
}

bool label_selector_matches(const struct label_selector *s, const struct wire_label *labels,
                            size_t count)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct str *value = NULL;
        for (size_t j = 0; j < count && value == NULL; j++)
            if (str_eq(labels[j].key, s->items[i].key))
                value = &labels[j].value;
        if (!requirement_matches(&s->items[i], value))
            return false;
    }
    return true;
}

bool label_selector_matches_wire(const struct label_selector *s, struct str object)
{
    if (s->count == 0)
        return true;
    struct wire_label labels[WIRE_LABELS_MAX];
    return label_selector_matches(s, labels, wire_labels(object, labels, WIRE_LABELS_MAX));
}

bool label_selector_matches_map(const struct label_selector *s, const struct api_str_entry *labels,
                                size_t count)
{
    for (size_t i = 0; i < s->count; i++)
        if (!requirement_matches(&s->items[i], api_str_map_get(labels, count, s->items[i].key)))
            return false;
    return true;
}

int label_selector_of(struct arena *a, const struct meta_v1_label_selector *m,
                      struct label_selector *ret, bool *ret_none, struct error *err)
{
    *ret_none = m == NULL;
    *ret = (struct label_selector){0};
    if (m == NULL)
        return 0;
    ret->items = ARENA_ARRAY(a, struct label_requirement,
                             m->match_labels_count + m->match_expressions_count);
    for (size_t i = 0; i < m->match_labels_count; i++)
        ret->items[ret->count++] = (struct label_requirement){m->match_labels[i].key, SEL_IN,
                                                              &m->match_labels[i].value, 1, 0};
    for (size_t i = 0; i < m->match_expressions_count; i++) {
        const struct meta_v1_label_selector_requirement *e = &m->match_expressions[i];
        struct label_requirement r = {e->key, SEL_IN, e->values, e->values_count, 0};
        if (str_eqc(e->operator, "NotIn"))
            r.op = SEL_NOT_IN;
        else if (str_eqc(e->operator, "Exists"))
            r.op = SEL_EXISTS;
        else if (str_eqc(e->operator, "DoesNotExist"))
            r.op = SEL_NOT_EXISTS;
        else if (!str_eqc(e->operator, "In"))
            return error_set(err, E_INVALID,
                             "\"" STR_FMT "\" is not a valid label selector operator",
                             STR_ARG(e->operator));
        ret->items[ret->count++] = r;
    }
    return 0;
}

static void text_requirement(struct buf *b, const struct label_requirement *r)
{
    if (r->op == SEL_NOT_EXISTS)
        buf_putc(b, '!');
    buf_append_str(b, r->key);
    if (r->op == SEL_EXISTS || r->op == SEL_NOT_EXISTS)
        return;
    buf_puts(b, r->op == SEL_IN ? " in (" : " notin (");
    for (size_t i = 0; i < r->count; i++) {
        if (i != 0)
            buf_putc(b, ',');
        buf_append_str(b, r->values[i]);
    }
    buf_putc(b, ')');
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct label_requirement *)x)->key,
                   ((const struct label_requirement *)y)->key);
}

struct str label_selector_text(struct arena *a, const struct meta_v1_label_selector *m)
{
    struct label_selector s;
    bool none;
    if (label_selector_of(a, m, &s, &none, NULL) != 0)
        return STR("<error>");
    if (none || s.count == 0)
        return STR("");
    qsort(s.items, s.count, sizeof(*s.items), by_key);
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s.count; i++) {
        bool exact = false;
        for (size_t j = 0; j < m->match_labels_count; j++)
            exact = exact || s.items[i].values == &m->match_labels[j].value;
        if (i != 0)
            buf_putc(&b, ',');
        if (exact)
            buf_printf(&b, STR_FMT "=" STR_FMT, STR_ARG(s.items[i].key),
                       STR_ARG(s.items[i].values[0]));
        else
            text_requirement(&b, &s.items[i]);
    }
    return arena_str(a, buf_str(&b));
}

/* --- fields --------------------------------------------------------------------- */
/* A backslash escapes itself, ',' and '='. */
static int unescape(struct arena *a, struct str s, struct str *ret, struct error *err)
{
    char *p = arena_alloc(a, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '\\') {
            p[n++] = s.data[i];
            continue;
        }
        i++;
        if (i >= s.len || strchr("\\,=", s.data[i]) == NULL)
            return error_set(err, E_INVALID,
                             "invalid field selector: invalid escape sequence: " STR_FMT,
                             STR_ARG(s));
        p[n++] = s.data[i];
    }
    p[n] = '\0';
    *ret = str_n(p, n);
    return 0;
}

static size_t term_end(struct str s, size_t from)
{
    for (size_t i = from; i < s.len; i++) {
        if (s.data[i] == '\\')
            i++;
        else if (s.data[i] == ',')
            return i;
    }
    return s.len;
}

static bool split_term(struct str term, struct str *ret_key, struct str *ret_value,
                       bool *ret_negated)
{
    for (size_t i = 0; i < term.len; i++) {
        size_t op = 0;
        if (term.data[i] == '\\') {
            i++;
            continue;
        }
        if (i + 1 < term.len &&
            (memcmp(term.data + i, "!=", 2) == 0 || memcmp(term.data + i, "==", 2) == 0))
            op = 2;
        else if (term.data[i] == '=')
            op = 1;
        if (op == 0)
            continue;
        *ret_key = str_sub(term, 0, i);
        *ret_value = str_sub(term, i + op, term.len);
        *ret_negated = term.data[i] == '!';
        return true;
    }
    return false;
}

int field_selector_parse(struct arena *a, struct str text, struct field_selector *ret,
                         struct error *err)
{
    struct field_selector s = {0};
    size_t cap = 0;
    for (size_t at = 0; at <= text.len && text.len != 0;) {
        size_t end = term_end(text, at);
        struct str term = str_sub(text, at, end - at);
        at = end + 1;
        if (term.len == 0)
            continue;
        struct str key, value;
        struct field_requirement r = {0};
        if (!split_term(term, &key, &value, &r.negated))
            return error_set(err, E_INVALID,
                             "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT "'",
                             STR_ARG(text), STR_ARG(term));
        int code = unescape(a, value, &r.value, err);
        if (code != 0)
            return code;
        if (s.count >= REQUIREMENTS_MAX)
            return error_set(err, E_INVALID, "more than %u requirements", REQUIREMENTS_MAX);
        r.field = key;
        s.items = arena_grow(a, s.items, s.count, &cap, sizeof(*s.items));
        s.items[s.count++] = r;
    }
    *ret = s;
    return 0;
}

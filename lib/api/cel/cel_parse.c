/* cel_parse.c - tokens to a syntax tree, by recursive descent of named depth.
 * Errors are worded as the reference's generated parser words them. */
#include "lib/api/cel/cel_internal.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <errno.h>
#include <math.h>

#define EXPECTED_PRIMARY                                                                           \
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "       \
    "STRING, BYTES, IDENTIFIER}"

enum { NODE_DEPTH_MAX = 1000 };

struct parser {
    struct cel_source *src;
    const struct cel_token *token; /* The next one. */
    unsigned depth;
};

struct cel_node *cel_node_new(struct cel_source *s, enum cel_node_kind kind, uint32_t pos)
{
    struct cel_node *n = ARENA_NEW(s->arena, struct cel_node);
    n->kind = kind;
    n->pos = pos;
    n->depth = 1;
    return n;
}

static bool failed(const struct parser *p)
{
    return p->src->issue_count != 0;
}

/* Takes note of how deep a tree became by child. */
static void deepen(struct parser *p, struct cel_node *n, const struct cel_node *child)
{
    if (child != NULL && child->depth >= n->depth)
        n->depth = (uint16_t)(child->depth + 1);
    if (n->depth > NODE_DEPTH_MAX && !failed(p))
        cel_issue(p->src, n->pos, "expression recursion limit exceeded: %d", NODE_DEPTH_MAX);
}

static void add_arg(struct parser *p, struct cel_node *n, struct cel_node *arg)
{
    if ((n->arg_count & (n->arg_count - 1)) == 0) { /* Powers of two: doubled. */
        size_t cap = n->arg_count == 0 ? 1 : n->arg_count * 2u;
        struct cel_node **args = ARENA_ARRAY(p->src->arena, struct cel_node *, cap);
        if (n->arg_count != 0)
            memcpy(args, n->args, n->arg_count * sizeof(*args));
        n->args = args;
    }
    n->args[n->arg_count++] = arg;
    deepen(p, n, arg);
}

static bool is(const struct parser *p, const char *punct)
{
    return p->token->kind == TOKEN_PUNCT && str_eqc(p->token->text, punct);
}

static const struct cel_token *next(struct parser *p)
{
    const struct cel_token *t = p->token;
    if (t->kind != TOKEN_EOF)
        p->token++;
    return t;
}

static bool accept(struct parser *p, const char *punct)
{
    if (!is(p, punct))
        return false;
    next(p);
    return true;
}

static void expect(struct parser *p, const char *punct)
{
    if (accept(p, punct) || failed(p))
        return;
    if (p->token->kind == TOKEN_EOF)
        cel_issue(p->src, p->token->pos, "Syntax error: missing '%s' at '<EOF>'", punct);
    else
        cel_issue(p->src, p->token->pos,
                  "Syntax error: extraneous input '" STR_FMT "' expecting '%s'",
                  STR_ARG(p->token->text), punct);
}

static struct cel_node *literal(struct parser *p, uint32_t pos, struct cel_value v)
{
    struct cel_node *n = cel_node_new(p->src, NODE_LITERAL, pos);
    n->value = v;
    return n;
}

static struct cel_node *call(struct parser *p, uint32_t pos, const char *name)
{
    struct cel_node *n = cel_node_new(p->src, NODE_CALL, pos);
    n->name = str_of(name);
    return n;
}

static struct cel_node *expression(struct parser *p);

/* Always a node, so that the callers need not ask; junk when something failed. */
static struct cel_node *nothing(struct parser *p)
{
    return literal(p, p->token->pos, cel_null_value());
}

/* --- numbers ---------------------------------------------------------------------------- */
static bool parse_integer(struct str t, bool negative, uint64_t *ret)
{
    uint64_t v = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    unsigned base = 10;
    if (t.len > 0 && (t.data[t.len - 1] == 'u' || t.data[t.len - 1] == 'U')) {
        t.len--;
        limit = UINT64_MAX;
    }
    if (t.len > 2 && t.data[1] == 'x') {
        base = 16;
        t = str_sub(t, 2, t.len - 2);
    }
    for (size_t i = 0; i < t.len; i++) {
        char c = t.data[i];
        unsigned d = c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
        if (v > (limit - d) / base)
            return false;
        v = v * base + d;
    }
    *ret = v;
    return true;
}

static struct cel_node *number(struct parser *p, bool negative, uint32_t pos)
{
    const struct cel_token *t = next(p);
    uint64_t u = 0;
    if (t->kind == TOKEN_FLOAT) {
        char text[400];
        if (t->text.len >= sizeof(text)) {
            cel_issue(p->src, pos, "Syntax error: invalid double literal");
            return nothing(p);
        }
        memcpy(text, t->text.data, t->text.len);
        text[t->text.len] = '\0';
        double d = strtod(text, NULL);
        if (isinf(d))
            cel_issue(p->src, pos, "Syntax error: invalid double literal");
        return literal(p, pos, cel_of_double(negative ? -d : d));
    }
    if (!parse_integer(t->text, negative, &u)) {
        cel_issue(p->src, pos,
                  t->kind == TOKEN_INT ? "Syntax error: invalid int literal"
                                       : "Syntax error: invalid uint literal");
        return nothing(p);
    }
    if (t->kind == TOKEN_UINT)
        return literal(p, pos, cel_of_uint(u));
    return literal(p, pos, cel_of_int(negative ? (int64_t)(0 - u) : (int64_t)u));
}

/* --- primaries -------------------------------------------------------------------------------- */
static const char *const reserved[] = {
    "as",  "break", "const",   "continue",  "else",   "for", "function", "if",    "import",
    "let", "loop",  "package", "namespace", "return", "var", "void",     "while",
};

static bool is_reserved(struct str s)
{
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (str_eqc(s, reserved[i]))
            return true;
    return false;
}

bool cel_is_identifier(struct str s)
{
    if (s.len == 0 || is_reserved(s) || str_eqc(s, "in") || str_eqc(s, "true") ||
        str_eqc(s, "false") || str_eqc(s, "null"))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

static void note_optional(struct parser *p, struct cel_node *n, size_t index, bool yes, size_t *cap)
{
    if (index >= *cap || n->optionals == NULL) {
        size_t size = index < 8 ? 16 : index * 2;
        bool *more = ARENA_ARRAY(p->src->arena, bool, size);
        if (n->optionals != NULL)
            memcpy(more, n->optionals, *cap);
        n->optionals = more;
        *cap = size;
    }
    n->optionals[index] = yes;
}

/* The entries of a list, map or object up to the closing bracket. key reads what
 * stands before a value: it adds to n, and false ends the entries. */
typedef bool entry_key(struct parser *p, struct cel_node *n, size_t *names_cap);

static struct cel_node *entries(struct parser *p, struct cel_node *n, const char *end,
                                entry_key *key)
{
    size_t cap = 0, names_cap = 0;
    for (size_t i = 0; !is(p, end) && !failed(p); i++) {
        bool optional = accept(p, "?");
        note_optional(p, n, i, optional, &cap);
        if (key != NULL && !key(p, n, &names_cap))
            break;
        add_arg(p, n, expression(p));
        if (!accept(p, ","))
            break;
    }
    expect(p, end);
    return n;
}

static struct cel_node *list(struct parser *p)
{
    return entries(p, cel_node_new(p->src, NODE_LIST, next(p)->pos), "]", NULL);
}

static bool map_key(struct parser *p, struct cel_node *n, size_t *names_cap)
{
    UNUSED(names_cap);
    add_arg(p, n, expression(p));
    expect(p, ":");
    return true;
}

static struct cel_node *map(struct parser *p)
{
    return entries(p, cel_node_new(p->src, NODE_MAP, next(p)->pos), "}", map_key);
}

/* The dotted name of a chain of selects; false when it is something else. */
static bool qualified_name(const struct cel_node *n, struct buf *out)
{
    if (n->kind == NODE_IDENT) {
        buf_append_str(out, n->name);
        return true;
    }
    if (n->kind != NODE_SELECT || n->test || n->is_optional || !qualified_name(n->target, out))
        return false;
    buf_putc(out, '.');
    buf_append_str(out, n->name);
    return true;
}

static bool field_name(struct parser *p, struct cel_node *n, size_t *names_cap)
{
    const struct cel_token *t = next(p);
    if (t->kind != TOKEN_IDENT && t->kind != TOKEN_QUOTED_IDENT) {
        cel_issue(p->src, t->pos,
                  "Syntax error: mismatched input '" STR_FMT "' expecting IDENTIFIER",
                  STR_ARG(t->text));
        return false;
    }
    n->names = arena_grow(p->src->arena, n->names, n->arg_count, names_cap, sizeof(*n->names));
    n->names[n->arg_count] =
        t->kind == TOKEN_IDENT ? t->text : str_sub(t->text, 1, t->text.len - 2);
    expect(p, ":");
    return true;
}

static struct cel_node *object(struct parser *p, struct str type)
{
    struct cel_node *n = cel_node_new(p->src, NODE_OBJECT, next(p)->pos);
    n->name = type;
    return entries(p, n, "}", field_name);
}

static void arguments(struct parser *p, struct cel_node *n)
{
    while (!is(p, ")") && !failed(p)) {
        add_arg(p, n, expression(p));
        if (!accept(p, ","))
            break;
    }
    expect(p, ")");
}

static struct cel_node *finish_call(struct parser *p, struct cel_node *n)
{
    arguments(p, n);
    if (failed(p))
        return n;
    struct cel_node *m = cel_macro(p->src, n);
    if (m == NULL)
        return n;
    deepen(p, m, m->target);
    for (uint32_t i = 0; i < m->arg_count; i++)
        deepen(p, m, m->args[i]);
    return m;
}

static struct cel_node *identifier(struct parser *p)
{
    accept(p, "."); /* A leading dot means the root, where we are. */
    const struct cel_token *t = p->token;
    if (t->kind != TOKEN_IDENT) {
        cel_issue(p->src, t->pos,
                  "Syntax error: mismatched input '" STR_FMT "' expecting IDENTIFIER",
                  STR_ARG(t->text));
        return nothing(p);
    }
    next(p);
    if (is_reserved(t->text)) {
        cel_issue(p->src, t->pos, "Syntax error: reserved identifier: " STR_FMT, STR_ARG(t->text));
        return nothing(p);
    }
    if (is(p, "(")) {
        struct cel_node *n = cel_node_new(p->src, NODE_CALL, next(p)->pos);
        n->name = t->text;
        return finish_call(p, n);
    }
    struct cel_node *n = cel_node_new(p->src, NODE_IDENT, t->pos);
    n->name = t->text;
    return n;
}

static struct cel_node *text_literal(struct parser *p)
{
    const struct cel_token *t = next(p);
    struct str s = STR_NULL;
    cel_unquote(p->src, t, &s);
    return literal(p, t->pos, t->kind == TOKEN_BYTES ? cel_of_bytes(s) : cel_of_str(s));
}

static struct cel_node *primary(struct parser *p)
{
    const struct cel_token *t = p->token;
    switch (t->kind) {
    case TOKEN_TRUE:
    case TOKEN_FALSE:
        next(p);
        return literal(p, t->pos, cel_of_bool(t->kind == TOKEN_TRUE));
    case TOKEN_NULL:
        next(p);
        return literal(p, t->pos, cel_null_value());
    case TOKEN_INT:
    case TOKEN_UINT:
    case TOKEN_FLOAT:
        return number(p, false, t->pos);
    case TOKEN_STRING:
    case TOKEN_BYTES:
        return text_literal(p);
    case TOKEN_IDENT:
        return identifier(p);
    default:
        break;
    }
    if (is(p, "["))
        return list(p);
    if (is(p, "{"))
        return map(p);
    if (is(p, "."))
        return identifier(p);
    if (accept(p, "(")) {
        struct cel_node *n = expression(p);
        expect(p, ")");
        return n;
    }
    if (!failed(p))
        cel_issue(p->src, t->pos,
                  "Syntax error: mismatched input '" STR_FMT "' expecting " EXPECTED_PRIMARY,
                  STR_ARG(t->text));
    return nothing(p);
}

/* --- members ------------------------------------------------------------------------------------
 */
static struct cel_node *select_member(struct parser *p, struct cel_node *target)
{
    const struct cel_token *dot = next(p);
    bool optional = accept(p, "?");
    const struct cel_token *t = p->token;
    if (t->kind != TOKEN_IDENT && t->kind != TOKEN_QUOTED_IDENT) {
        if (!failed(p))
            cel_issue(p->src, t->pos,
                      "Syntax error: no viable alternative at input '.%s" STR_FMT "'",
                      optional ? "?" : "", STR_ARG(t->kind == TOKEN_EOF ? STR_NULL : t->text));
        return target;
    }
    next(p);
    struct str name = t->kind == TOKEN_IDENT ? t->text : str_sub(t->text, 1, t->text.len - 2);
    struct cel_node *n;
    if (!optional && t->kind == TOKEN_IDENT && is(p, "(")) {
        n = cel_node_new(p->src, NODE_CALL, next(p)->pos);
        n->name = name;
        n->target = target;
        deepen(p, n, target);
        return finish_call(p, n);
    }
    n = cel_node_new(p->src, NODE_SELECT, dot->pos);
    n->name = name;
    n->is_optional = optional;
    n->target = target;
    deepen(p, n, target);
    return n;
}

static struct cel_node *member(struct parser *p)
{
    struct cel_node *n = primary(p);
    while (!failed(p)) {
        if (is(p, ".")) {
            n = select_member(p, n);
        } else if (is(p, "[")) {
            struct cel_node *index = cel_node_new(p->src, NODE_INDEX, next(p)->pos);
            index->is_optional = accept(p, "?");
            index->target = n;
            deepen(p, index, n);
            add_arg(p, index, expression(p));
            expect(p, "]");
            n = index;
        } else if (is(p, "{")) {
            AUTO_BUF name = BUF_INIT;
            if (!qualified_name(n, &name))
                break;
            n = object(p, arena_str(p->src->arena, buf_str(&name)));
        } else {
            break;
        }
    }
    return n;
}

static struct cel_node *unary(struct parser *p)
{
    const struct cel_token *first = p->token;
    const char *op = is(p, "!") ? "!" : is(p, "-") ? "-" : NULL;
    if (op == NULL)
        return member(p);
    unsigned count = 0;
    const struct cel_token *last = first;
    while (is(p, op)) {
        last = next(p);
        count++;
    }
    bool numeric = op[0] == '-' && (p->token->kind == TOKEN_INT || p->token->kind == TOKEN_FLOAT);
    struct cel_node *n;
    if (numeric && count == 1) {
        /* Selects and calls bind closer, yet the sign belongs to the literal. */
        struct cel_node *lit = number(p, true, last->pos);
        if (!is(p, ".") && !is(p, "["))
            return lit;
        n = lit;
        while (!failed(p) && is(p, "."))
            n = select_member(p, n);
        return n;
    }
    n = member(p);
    if (count % 2 == 0)
        return n;
    struct cel_node *c = call(p, first->pos, op[0] == '!' ? "!_" : "-_");
    add_arg(p, c, n);
    return c;
}

/* --- operators
 * -------------------------------------------------------------------------------------- */
struct operator
{
    const char *text, *name;
};

static const struct operator multiplicative[] = {{"*", "_*_"}, {"/", "_/_"}, {"%", "_%_"}, {NULL}};
static const struct operator additive[] = {{"+", "_+_"}, {"-", "_-_"}, {NULL}};
static const struct operator relations[] = {{"<", "_<_"},  {"<=", "_<=_"}, {">=", "_>=_"},
                                            {">", "_>_"},  {"==", "_==_"}, {"!=", "_!=_"},
                                            {"in", "@in"}, {NULL}};
static const struct operator* const levels[] = {relations, additive, multiplicative};

static struct cel_node *binary(struct parser *p, size_t level)
{
    if (level == ARRAY_SIZE(levels))
        return unary(p);
    struct cel_node *n = binary(p, level + 1);
    while (!failed(p)) {
        const struct operator* op = levels[level];
        while (op->text != NULL && !is(p, op->text))
            op++;
        if (op->text == NULL)
            break;
        struct cel_node *c = call(p, next(p)->pos, op->name);
        add_arg(p, c, n);
        add_arg(p, c, binary(p, level + 1));
        n = c;
    }
    return n;
}

static struct cel_node *logic(struct parser *p, bool is_or)
{
    struct cel_node *n = is_or ? logic(p, false) : binary(p, 0), *all = NULL;
    while (!failed(p) && is(p, is_or ? "||" : "&&")) {
        uint32_t pos = next(p)->pos;
        if (all == NULL) {
            all = cel_node_new(p->src, is_or ? NODE_OR : NODE_AND, pos);
            all->name = is_or ? STR("_||_") : STR("_&&_");
            add_arg(p, all, n);
        }
        add_arg(p, all, is_or ? logic(p, false) : binary(p, 0));
    }
    return all != NULL ? all : n;
}

static struct cel_node *expression(struct parser *p)
{
    if (p->depth >= CEL_DEPTH_MAX) {
        if (!failed(p))
            cel_issue(p->src, p->token->pos, "expression recursion limit exceeded: %u",
                      CEL_DEPTH_MAX);
        return nothing(p);
    }
    p->depth++;
    struct cel_node *n = logic(p, true);
    if (!failed(p) && is(p, "?")) {
        struct cel_node *c = cel_node_new(p->src, NODE_COND, next(p)->pos);
        c->name = STR("_?_:_");
        add_arg(p, c, n);
        add_arg(p, c, logic(p, true));
        expect(p, ":");
        add_arg(p, c, expression(p));
        n = c;
    }
    p->depth--;
    return n;
}

struct cel_node *cel_parse(struct cel_source *s)
{
    struct cel_token *tokens;
    cel_lex(s, &tokens);
    struct parser p = {.src = s, .token = tokens};
    unsigned lexed = s->issue_count;
    s->issue_count = 0; /* The lexer goes on, and so does the parser. */
    struct cel_node *n = expression(&p);
    if (!failed(&p) && p.token->kind != TOKEN_EOF)
        cel_issue(s, p.token->pos,
                  p.token[1].kind == TOKEN_EOF
                      ? "Syntax error: extraneous input '" STR_FMT "' expecting <EOF>"
                      : "Syntax error: mismatched input '" STR_FMT "' expecting <EOF>",
                  STR_ARG(p.token->text));
    s->issue_count += lexed;
    return n;
}

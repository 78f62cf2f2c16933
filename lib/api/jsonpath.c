/* jsonpath.c - see jsonpath.h. */
#include "lib/api/jsonpath.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#define STEPS_MAX 64u
#define DESCENT_MAX 128u

enum step_type { STEP_NAME, STEP_ALL, STEP_INDEX, STEP_SLICE, STEP_FILTER, STEP_DESCENT };
enum compare {
    COMPARE_EXISTS,
    COMPARE_EQ,
    COMPARE_NE,
    COMPARE_LT,
    COMPARE_LE,
    COMPARE_GT,
    COMPARE_GE
};

struct operand {
    const struct jsonpath *path; /* From the item; NULL: the value. */
    const struct json *value;
};

struct step {
    enum step_type type;
    struct str name;
    int64_t from, to, by;
    bool has_from, has_to;
    enum compare compare;
    struct operand left, right;
};

struct jsonpath {
    struct step *steps;
    size_t count, cap;
};

/* --- parsing ------------------------------------------------------------------------- */
struct parse {
    struct arena *arena;
    struct str text;
    size_t at;
    unsigned filters; /* Nested filters, which are bounded. */
    struct error *err;
};

static int parse_steps(struct parse *p, const char *until, struct jsonpath *out);

static int bad(struct parse *p, const char *why)
{
    return error_set(p->err, E_INVALID, "%s", why);
}

static bool is_end(const struct parse *p)
{
    return p->at >= p->text.len;
}

static char peek(const struct parse *p)
{
    return is_end(p) ? '\0' : p->text.data[p->at];
}

static void skip_space(struct parse *p)
{
    while (peek(p) == ' ')
        p->at++;
}

static struct step *add_step(struct parse *p, struct jsonpath *out, enum step_type type)
{
    out->steps = arena_grow(p->arena, out->steps, out->count, &out->cap, sizeof(*out->steps));
    struct step *s = &out->steps[out->count++];
    *s = (struct step){.type = type, .by = 1};
    return s;
}

/* A name behind a dot; a backslash takes the next character as it is. */
static int parse_name(struct parse *p, const char *until, struct jsonpath *out)
{
    AUTO_BUF b = BUF_INIT;
    while (!is_end(p) && strchr(".[", peek(p)) == NULL && strchr(until, peek(p)) == NULL) {
        if (peek(p) == '\\' && p->at + 1 < p->text.len)
            p->at++;
        buf_putc(&b, p->text.data[p->at++]);
    }
    if (b.len == 0)
        return 0; /* A dot alone is the object itself. */
    if (b.len == 1 && b.data[0] == '*')
        add_step(p, out, STEP_ALL);
    else
        add_step(p, out, STEP_NAME)->name = arena_str(p->arena, buf_str(&b));
    return 0;
}

static int parse_quoted(struct parse *p, struct str *ret)
{
    AUTO_BUF b = BUF_INIT;
    char quote = peek(p);
    for (p->at++; peek(p) != quote; p->at++) {
        if (is_end(p))
            return bad(p, "unterminated quoted string");
        if (peek(p) == '\\' && p->at + 1 < p->text.len)
            p->at++;
        buf_putc(&b, peek(p));
    }
    p->at++;
    *ret = arena_str(p->arena, buf_str(&b));
    return 0;
}

static int parse_operand(struct parse *p, struct operand *ret)
{
    skip_space(p);
    if (peek(p) == '@' || peek(p) == '$') {
        struct jsonpath *path = ARENA_NEW(p->arena, struct jsonpath);
        p->at++;
        ret->path = path;
        return parse_steps(p, " =!<>)", path);
    }
    if (peek(p) == '"' || peek(p) == '\'') {
        struct str text;
        int code = parse_quoted(p, &text);
        if (code == 0)
            ret->value = json_string(p->arena, text);
        return code;
    }
    size_t from = p->at;
    while (!is_end(p) && strchr(" =!<>)", peek(p)) == NULL)
        p->at++;
    struct json *value;
    if (json_parse(p->arena, str_sub(p->text, from, p->at - from), &value, NULL) != 0)
        return bad(p, "invalid filter");
    ret->value = value;
    return 0;
}

static int parse_compare(struct parse *p, enum compare *ret)
{
    static const struct {
        const char *text;
        enum compare compare;
    } table[] = {{"==", COMPARE_EQ}, {"!=", COMPARE_NE}, {"<=", COMPARE_LE}, {">=", COMPARE_GE},
                 {"<", COMPARE_LT},  {">", COMPARE_GT},  {"=", COMPARE_EQ}};
    skip_space(p);
    struct str rest = str_sub(p->text, p->at, p->text.len);
    *ret = COMPARE_EXISTS;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (str_has_prefix(rest, str_of(table[i].text))) {
            *ret = table[i].compare;
            p->at += strlen(table[i].text);
            return 0;
        }
    return peek(p) == ')' ? 0 : bad(p, "unrecognized filter operator");
}

static int parse_filter(struct parse *p, struct jsonpath *out)
{
    struct operand left = {0}, right = {0};
    enum compare compare;
    if (p->filters == 0)
        return bad(p, "filters are nested too deeply");
    p->filters--;
    p->at += 2; /* ?( */
    int code = parse_operand(p, &left);
    if (code == 0)
        code = parse_compare(p, &compare);
    if (code == 0 && compare != COMPARE_EXISTS)
        code = parse_operand(p, &right);
    if (code != 0)
        return code;
    skip_space(p);
    if (peek(p) != ')')
        return bad(p, "unterminated filter");
    p->at++;
    p->filters++;
    struct step *s = add_step(p, out, STEP_FILTER);
    s->compare = compare;
    s->left = left;
    s->right = right;
    return 0;
}

static bool parse_int(struct parse *p, int64_t *ret)
{
    size_t from = p->at;
    if (peek(p) == '-')
        p->at++;
    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return p->at > from && str_to_i64(str_sub(p->text, from, p->at - from), ret);
}

static int parse_range(struct parse *p, struct jsonpath *out)
{
    struct step s = {.type = STEP_INDEX, .by = 1};
    s.has_from = parse_int(p, &s.from);
    if (peek(p) == ':') {
        s.type = STEP_SLICE;
        p->at++;
        s.has_to = parse_int(p, &s.to);
        if (peek(p) == ':') {
            p->at++;
            if (!parse_int(p, &s.by) || s.by <= 0)
                return bad(p, "step must be > 0");
        }
    } else if (!s.has_from) {
        return bad(p, "invalid array index");
    }
    *add_step(p, out, s.type) = s;
    return 0;
}

static int parse_bracket(struct parse *p, struct jsonpath *out)
{
    int code = 0;
    p->at++;
    if (peek(p) == '?' && p->at + 1 < p->text.len && p->text.data[p->at + 1] == '(') {
        code = parse_filter(p, out);
    } else if (peek(p) == '\'' || peek(p) == '"') {
        struct str name;
        code = parse_quoted(p, &name);
        if (code == 0)
            add_step(p, out, STEP_NAME)->name = name;
    } else if (peek(p) == '*') {
        p->at++;
        add_step(p, out, STEP_ALL);
    } else {
        code = parse_range(p, out);
    }
    if (code != 0)
        return code;
    if (peek(p) != ']')
        return bad(p, "unterminated array");
    p->at++;
    return 0;
}

static int parse_steps(struct parse *p, const char *until, struct jsonpath *out)
{
    int code = 0;
    while (code == 0 && !is_end(p) && strchr(until, peek(p)) == NULL) {
        if (out->count >= STEPS_MAX)
            return bad(p, "the path is too long");
        if (peek(p) == '[') {
            code = parse_bracket(p, out);
            continue;
        }
        if (peek(p) != '.')
            return bad(p, "a step must begin with '.' or '['");
        p->at++;
        if (peek(p) == '.') {
            p->at++;
            add_step(p, out, STEP_DESCENT);
        }
        if (peek(p) != '[')
            code = parse_name(p, until, out);
    }
    return code;
}

int jsonpath_parse(struct arena *a, struct str text, const struct jsonpath **ret, struct error *err)
{
    struct jsonpath *out = ARENA_NEW(a, struct jsonpath);
    text = str_trim(text);
    if (text.len >= 2 && text.data[0] == '{' && text.data[text.len - 1] == '}')
        text = str_trim(str_sub(text, 1, text.len - 2));
    struct parse p = {.arena = a, .text = text, .filters = 4, .err = err};
    if (peek(&p) == '$' || peek(&p) == '@')
        p.at++;
    int code = parse_steps(&p, "", out);
    if (code == 0)
        *ret = out;
    return code;
}

/* --- finding --------------------------------------------------------------------------- */
static void add(struct arena *a, struct jsonpath_results *r, const struct json *j)
{
    if (j == NULL || r->count >= JSONPATH_RESULTS_MAX)
        return;
    r->items = arena_grow(a, (void *)r->items, r->count, &r->cap, sizeof(*r->items));
    r->items[r->count++] = j;
}

static void add_all(struct arena *a, struct jsonpath_results *r, const struct json *j)
{
    for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++)
        add(a, r, j->array.items[i]);
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++)
        add(a, r, j->object.members[i].value);
}

static void add_descendants(struct arena *a, struct jsonpath_results *r, const struct json *j,
                            unsigned depth)
{
    add(a, r, j);
    if (depth == 0)
        return;
    for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++)
        add_descendants(a, r, j->array.items[i], depth - 1);
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++)
        add_descendants(a, r, j->object.members[i].value, depth - 1);
}

static void add_slice(struct arena *a, struct jsonpath_results *r, const struct json *j,
                      const struct step *s)
{
    if (j->type != JSON_ARRAY)
        return;
    int64_t n = (int64_t)j->array.count;
    int64_t from = !s->has_from ? 0 : s->from < 0 ? s->from + n : s->from;
    int64_t to = !s->has_to ? n : s->to < 0 ? s->to + n : s->to;
    for (int64_t i = MAX_OF(from, (int64_t)0); i < MIN_OF(to, n); i += s->by)
        add(a, r, j->array.items[i]);
}

static const struct json *operand(struct arena *a, const struct operand *o, const struct json *item)
{
    return o->path != NULL ? jsonpath_first(a, o->path, item) : o->value;
}

static bool is_number(const struct json *j)
{
    return j->type == JSON_INT || j->type == JSON_DOUBLE;
}

static double number_of(const struct json *j)
{
    return j->type == JSON_INT ? (double)j->integer : j->number.value;
}

static bool holds(struct arena *a, const struct step *s, const struct json *item)
{
    const struct json *x = operand(a, &s->left, item), *y = operand(a, &s->right, item);
    int order;
    if (s->compare == COMPARE_EXISTS)
        return x != NULL;
    if (x == NULL || y == NULL)
        return false;
    if (s->compare == COMPARE_EQ || s->compare == COMPARE_NE)
        return json_equal(x, y) == (s->compare == COMPARE_EQ);
    if (is_number(x) && is_number(y))
        order = number_of(x) < number_of(y) ? -1 : number_of(x) > number_of(y);
    else if (x->type == JSON_STRING && y->type == JSON_STRING)
        order = str_cmp(x->string, y->string);
    else
        return false;
    switch (s->compare) {
    case COMPARE_LT:
        return order < 0;
    case COMPARE_LE:
        return order <= 0;
    case COMPARE_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

static void take_step(struct arena *a, const struct step *s, const struct json *j,
                      struct jsonpath_results *r)
{
    switch (s->type) {
    case STEP_NAME:
        add(a, r, json_get(j, s->name));
        break;
    case STEP_ALL:
        add_all(a, r, j);
        break;
    case STEP_INDEX:
        if (j->type == JSON_ARRAY) {
            int64_t n = (int64_t)j->array.count, i = s->from < 0 ? s->from + n : s->from;
            add(a, r, i >= 0 && i < n ? j->array.items[i] : NULL);
        }
        break;
    case STEP_SLICE:
        add_slice(a, r, j, s);
        break;
    case STEP_FILTER:
        for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++)
            if (holds(a, s, j->array.items[i]))
                add(a, r, j->array.items[i]);
        break;
    case STEP_DESCENT:
        add_descendants(a, r, j, DESCENT_MAX);
        break;
    }
}

void jsonpath_find(struct arena *a, const struct jsonpath *p, const struct json *root,
                   struct jsonpath_results *ret)
{
    struct jsonpath_results now = {0};
    add(a, &now, root);
    for (size_t i = 0; i < p->count && now.count != 0; i++) {
        struct jsonpath_results next = {0};
        for (size_t j = 0; j < now.count; j++)
            take_step(a, &p->steps[i], now.items[j], &next);
        now = next;
    }
    *ret = now;
}

const struct json *jsonpath_first(struct arena *a, const struct jsonpath *p,
                                  const struct json *root)
{
    if (jsonpath_is_simple(p)) {
        const struct json *j = root;
        for (size_t i = 0; j != NULL && i < p->count; i++)
            j = json_get(j, p->steps[i].name);
        return j;
    }
    struct jsonpath_results r;
    jsonpath_find(a, p, root, &r);
    return r.count != 0 ? r.items[0] : NULL;
}

/* --- simple paths ------------------------------------------------------------------------ */
bool jsonpath_is_simple(const struct jsonpath *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->steps[i].type != STEP_NAME)
            return false;
    return p->count != 0;
}

size_t jsonpath_names(const struct jsonpath *p, struct str *ret, size_t max)
{
    size_t n = 0;
    for (; n < p->count && n < max; n++)
        ret[n] = p->steps[n].name;
    return n;
}

bool jsonpath_set(struct arena *a, const struct jsonpath *p, struct json *root, struct json *value)
{
    struct json *at = root;
    for (size_t i = 0; i + 1 < p->count; i++) {
        struct json *next = json_get(at, p->steps[i].name);
        if (next == NULL) {
            next = json_object(a);
            json_set(a, at, p->steps[i].name, next);
        }
        if (next->type != JSON_OBJECT)
            return false;
        at = next;
    }
    if (at->type != JSON_OBJECT || p->count == 0)
        return false;
    json_set(a, at, p->steps[p->count - 1].name, value);
    return true;
}

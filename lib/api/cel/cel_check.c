/* cel_check.c - resolves names and overloads, and finds each node's type. */
#include "lib/api/cel/cel_internal.h"

#include "lib/base/buf.h"

struct scope {
    struct str name;
    const struct cel_type *type;
    uint32_t slot;
    const struct scope *outer;
};

struct checker {
    struct cel_source *src;
    struct cel_program *program;
    const struct scope *scope;
    uint32_t slots;
};

static const struct cel_type *check(struct checker *c, struct cel_node *n);

/* --- types ------------------------------------------------------------------------------ */
/* What type variables stand for so far. */
struct bindings {
    const struct cel_type *a, *b;
};

static bool is_dyn(const struct cel_type *t)
{
    return t == NULL || t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

static bool assignable(const struct cel_type *from, const struct cel_type *to,
                       struct bindings *bind, unsigned depth)
{
    if (is_dyn(to) || depth > 16)
        return true;
    if (to->kind == CEL_PARAM) {
        const struct cel_type **held = to == &cel_param_a ? &bind->a : &bind->b;
        if (*held == NULL) {
            *held = from;
            return true;
        }
        if (is_dyn(from)) {
            *held = &cel_dyn;
            return true;
        }
        if (assignable(from, *held, bind, depth + 1))
            return true;
        if (!assignable(*held, from, bind, depth + 1))
            return false;
        *held = from;
        return true;
    }
    if (is_dyn(from))
        return true;
    if (from->kind == CEL_NULL && to->kind != CEL_NULL)
        return to->kind == CEL_OBJECT || to->kind == CEL_TIMESTAMP || to->kind == CEL_DURATION;
    if (from->kind != to->kind)
        return false;
    switch (to->kind) {
    case CEL_LIST:
    case CEL_OPTIONAL:
        return assignable(from->elem, to->elem, bind, depth + 1);
    case CEL_MAP:
        return assignable(from->key, to->key, bind, depth + 1) &&
               assignable(from->elem, to->elem, bind, depth + 1);
    case CEL_OBJECT:
    case CEL_HOST:
        return from == to || (from->name.len != 0 && str_eq(from->name, to->name));
    default:
        return true;
    }
}

static bool same(const struct cel_type *x, const struct cel_type *y)
{
    struct bindings none = {0};
    return !is_dyn(x) && !is_dyn(y) && assignable(x, y, &none, 0) && assignable(y, x, &none, 0);
}

/* The type of two branches or elements: either's when they agree. */
static const struct cel_type *join(const struct cel_type *x, const struct cel_type *y)
{
    struct bindings none = {0};
    if (x == NULL)
        return y;
    if (same(x, y))
        return x;
    if (!is_dyn(x) && !is_dyn(y) && x->kind == CEL_NULL && assignable(x, y, &none, 0))
        return y;
    if (!is_dyn(x) && !is_dyn(y) && y->kind == CEL_NULL && assignable(y, x, &none, 0))
        return x;
    return &cel_dyn;
}

static const struct cel_type *substitute(struct arena *a, const struct cel_type *t,
                                         const struct bindings *bind)
{
    if (is_dyn(t))
        return &cel_dyn;
    switch (t->kind) {
    case CEL_PARAM:
        t = t == &cel_param_a ? bind->a : bind->b;
        return t != NULL ? t : &cel_dyn;
    case CEL_LIST:
        return t == &cel_list_string || t == &cel_list_int
                   ? t
                   : cel_type_list(a, substitute(a, t->elem, bind));
    case CEL_OPTIONAL:
        return cel_type_optional(a, substitute(a, t->elem, bind));
    case CEL_MAP:
        return cel_type_map(a, substitute(a, t->key, bind), substitute(a, t->elem, bind));
    default:
        return t;
    }
}

/* --- calls ------------------------------------------------------------------------------------ */
static const struct cel_type *no_match(struct checker *c, const struct cel_node *n, struct str name,
                                       const struct cel_type **types, size_t count, bool member)
{
    AUTO_BUF b = BUF_INIT;
    size_t i = 0;
    if (member) {
        buf_append_str(&b, cel_type_text(c->src->arena, types[0]));
        buf_putc(&b, '.');
        i = 1;
    }
    buf_putc(&b, '(');
    for (size_t first = i; i < count; i++) {
        buf_puts(&b, i != first ? ", " : "");
        buf_append_str(&b, cel_type_text(c->src->arena, types[i]));
    }
    buf_putc(&b, ')');
    cel_issue(c->src, n->pos,
              "found no matching overload for '" STR_FMT "' applied to '" STR_FMT "'",
              STR_ARG(name), STR_ARG(buf_str(&b)));
    return &cel_dyn;
}

/* Picks what may run among a function's overloads; the result's type. */
static const struct cel_type *resolve(struct checker *c, struct cel_node *n,
                                      const struct cel_function **all, size_t all_count,
                                      const struct cel_type **types, size_t count, bool member)
{
    struct arena *a = c->src->arena;
    const struct cel_type *result = NULL;
    for (size_t i = 0; i < all_count; i++) {
        const struct cel_function *f = all[i];
        if (f->member != member || f->arg_count != count)
            continue;
        struct bindings bind = {0};
        bool fits = true;
        for (size_t k = 0; k < count && fits; k++)
            fits = assignable(types[k], f->args[k], &bind, 0);
        if (!fits)
            continue;
        if (n->overloads == NULL)
            n->overloads = ARENA_ARRAY(a, const struct cel_function *, all_count);
        n->overloads[n->overload_count++] = f;
        const struct cel_type *t = substitute(a, f->result, &bind);
        result = result == NULL || same(result, t) ? t : &cel_dyn;
    }
    return result != NULL ? result : no_match(c, n, n->name, types, count, member);
}

/* Of a constant expression, so that it fails now and is not compiled again and again. */
static void check_pattern(struct checker *c, struct cel_node *n, size_t arg)
{
    static const char *const takers[] = {"matches", "find", "findAll"};
    if (arg >= n->arg_count || n->args[arg]->kind != NODE_LITERAL ||
        n->args[arg]->value.kind != CEL_STRING)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(takers); i++)
        if (str_eqc(n->name, takers[i])) {
            struct str why;
            n->pattern = cel_pattern_new(c->src->arena, n->args[arg]->value.string, &why);
            if (n->pattern == NULL)
                cel_issue(c->src, n->args[arg]->pos, "invalid matches argument: " STR_FMT,
                          STR_ARG(why));
        }
}

static const struct scope *find_local(const struct checker *c, struct str name)
{
    const struct scope *s = c->scope;
    while (s != NULL && !str_eq(s->name, name))
        s = s->outer;
    return s;
}

static bool chain_name(const struct cel_node *n, struct buf *b)
{
    if (n->kind == NODE_SELECT && !n->test && !n->is_optional) {
        if (!chain_name(n->target, b))
            return false;
        buf_putc(b, '.');
    } else if (n->kind != NODE_IDENT) {
        return false;
    }
    buf_append_str(b, n->name);
    return true;
}

static const struct cel_node *chain_root(const struct cel_node *n)
{
    while (n->kind == NODE_SELECT)
        n = n->target;
    return n;
}

/* sets.contains(...) is a function of that name, not a member of a variable sets. */
static size_t namespaced(struct checker *c, struct cel_node *n, const struct cel_function **all)
{
    AUTO_BUF b = BUF_INIT;
    if (!chain_name(n->target, &b) || find_local(c, chain_root(n->target)->name) != NULL)
        return 0;
    buf_putc(&b, '.');
    buf_append_str(&b, n->name);
    size_t count = cel_functions_named(c->src->env, buf_str(&b), all, CEL_OVERLOADS_MAX);
    bool global = false;
    for (size_t i = 0; i < count; i++)
        global |= !all[i]->member;
    if (!global)
        return 0;
    n->name = arena_str(c->src->arena, buf_str(&b));
    n->target = NULL;
    return count;
}

static const struct cel_type *check_call(struct checker *c, struct cel_node *n)
{
    const struct cel_function *all[CEL_OVERLOADS_MAX];
    const struct cel_type *types[CEL_ARGS_MAX + 1];
    size_t count = 0, all_count = n->target != NULL ? namespaced(c, n, all) : 0;
    bool member = n->target != NULL;
    if (all_count == 0)
        all_count = cel_functions_named(c->src->env, n->name, all, ARRAY_SIZE(all));
    if (all_count == 0) {
        if (member)
            check(c, n->target);
        for (uint32_t i = 0; i < n->arg_count; i++)
            check(c, n->args[i]);
        cel_issue(c->src, n->pos, "undeclared reference to '" STR_FMT "' (in container '')",
                  STR_ARG(n->name));
        return &cel_dyn;
    }
    unsigned before = c->src->issue_count;
    if (member)
        types[count++] = check(c, n->target);
    for (uint32_t i = 0; i < n->arg_count; i++) {
        const struct cel_type *t = check(c, n->args[i]);
        if (count < ARRAY_SIZE(types))
            types[count++] = t;
    }
    if (c->src->issue_count != before)
        return &cel_dyn;
    check_pattern(c, n, member ? 0 : 1);
    return resolve(c, n, all, all_count, types, count, member);
}

/* --- names
 * ---------------------------------------------------------------------------------------- */
static void become_type(struct checker *c, struct cel_node *n, const struct cel_type *t)
{
    n->kind = NODE_LITERAL;
    n->value = cel_of_type(t);
    n->type = cel_type_of_type(c->src->arena, t);
}

/* A variable of the env; their names may be dotted. */
static bool find_var(struct checker *c, struct cel_node *n, struct str name)
{
    const struct cel_env *env = c->src->env;
    for (size_t i = 0; i < env->var_count; i++)
        if (str_eqc(name, env->vars[i].name)) {
            n->kind = NODE_VAR;
            n->slot = (uint32_t)i;
            n->type = env->vars[i].type != NULL ? env->vars[i].type : &cel_dyn;
            c->program->used[i] = true;
            return true;
        }
    return false;
}

static const struct cel_type *check_ident(struct checker *c, struct cel_node *n)
{
    const struct scope *s = find_local(c, n->name);
    if (s != NULL) {
        n->kind = NODE_LOCAL;
        n->slot = s->slot;
        return s->type;
    }
    if (find_var(c, n, n->name))
        return n->type;
    const struct cel_type *t = cel_type_named(n->name);
    if (t != NULL) {
        become_type(c, n, t);
        return n->type;
    }
    cel_issue(c->src, n->pos, "undeclared reference to '" STR_FMT "' (in container '')",
              STR_ARG(n->name));
    return &cel_dyn;
}

static bool dotted_name(struct checker *c, struct cel_node *n)
{
    AUTO_BUF b = BUF_INIT;
    if (n->test || n->is_optional || !chain_name(n, &b) ||
        find_local(c, chain_root(n)->name) != NULL)
        return false;
    if (find_var(c, n, buf_str(&b)))
        return true;
    const struct cel_type *t = cel_type_named(buf_str(&b));
    if (t != NULL)
        become_type(c, n, t);
    return t != NULL;
}

static const struct cel_type *check_select(struct checker *c, struct cel_node *n)
{
    struct arena *a = c->src->arena;
    if (dotted_name(c, n))
        return n->type;
    const struct cel_type *t = check(c, n->target), *of = t, *result = &cel_dyn;
    bool optional = n->is_optional;
    if (of->kind == CEL_OPTIONAL) {
        optional = true;
        of = of->elem;
    }
    if (is_dyn(of)) {
        result = &cel_dyn;
    } else if (of->kind == CEL_MAP) {
        result = of->elem;
    } else if (of->kind == CEL_OBJECT) {
        const struct cel_field *f = cel_type_field(of, n->name);
        if (f == NULL) {
            cel_issue(c->src, n->pos, "undefined field '" STR_FMT "'", STR_ARG(n->name));
            return &cel_dyn;
        }
        n->fields = ARENA_NEW(a, const struct cel_field *);
        n->fields[0] = f;
        result = f->type;
    } else {
        cel_issue(c->src, n->pos, "type '" STR_FMT "' does not support field selection",
                  STR_ARG(cel_type_text(a, t)));
        return &cel_dyn;
    }
    if (n->test)
        return &cel_bool;
    if (is_dyn(result))
        result = &cel_dyn;
    return optional ? cel_type_optional(a, result) : result;
}

static const struct cel_type *check_index(struct checker *c, struct cel_node *n)
{
    struct arena *a = c->src->arena;
    const struct cel_type *types[2] = {check(c, n->target), check(c, n->args[0])}, *of = types[0];
    bool optional = n->is_optional;
    if (of->kind == CEL_OPTIONAL) {
        optional = true;
        of = of->elem;
    }
    if (is_dyn(of))
        return optional ? cel_type_optional(a, &cel_dyn) : &cel_dyn;
    struct bindings none = {0};
    bool fits = of->kind == CEL_LIST
                    ? is_dyn(types[1]) || types[1]->kind == CEL_INT || types[1]->kind == CEL_UINT ||
                          types[1]->kind == CEL_DOUBLE
                : of->kind == CEL_MAP ? assignable(types[1], of->key, &none, 0)
                                      : false;
    if (!fits)
        return no_match(c, n, n->is_optional ? STR("_[?_]") : STR("_[_]"), types, 2, false);
    const struct cel_type *t = is_dyn(of->elem) ? &cel_dyn : of->elem;
    return optional ? cel_type_optional(a, t) : t;
}

/* --- aggregates
 * --------------------------------------------------------------------------------------- */
static const struct cel_type *element(struct checker *c, struct cel_node *n, bool optional)
{
    const struct cel_type *t = check(c, n);
    if (!optional || is_dyn(t))
        return t;
    if (t->kind == CEL_OPTIONAL)
        return is_dyn(t->elem) ? &cel_dyn : t->elem;
    cel_issue(c->src, n->pos, "expected type 'optional_type(" STR_FMT ")' but found '" STR_FMT "'",
              STR_ARG(cel_type_text(c->src->arena, t)), STR_ARG(cel_type_text(c->src->arena, t)));
    return &cel_dyn;
}

static bool optional_at(const struct cel_node *n, size_t i)
{
    return n->optionals != NULL && n->optionals[i];
}

static const struct cel_type *check_list(struct checker *c, struct cel_node *n)
{
    const struct cel_type *t = NULL;
    for (uint32_t i = 0; i < n->arg_count; i++)
        t = join(t, element(c, n->args[i], optional_at(n, i)));
    return cel_type_list(c->src->arena, t != NULL ? t : &cel_dyn);
}

static const struct cel_type *check_map(struct checker *c, struct cel_node *n)
{
    const struct cel_type *k = NULL, *v = NULL;
    for (uint32_t i = 0; i + 1 < n->arg_count; i += 2) {
        k = join(k, check(c, n->args[i]));
        v = join(v, element(c, n->args[i + 1], optional_at(n, i / 2)));
    }
    return cel_type_map(c->src->arena, k != NULL ? k : &cel_dyn, v != NULL ? v : &cel_dyn);
}

static const struct cel_type *check_object(struct checker *c, struct cel_node *n)
{
    const struct cel_env *env = c->src->env;
    struct arena *a = c->src->arena;
    const struct cel_type *t = env->find_type != NULL ? env->find_type(env, n->name) : NULL;
    if (t == NULL) {
        cel_issue(c->src, n->pos, "undeclared reference to '" STR_FMT "' (in container '')",
                  STR_ARG(n->name));
        for (uint32_t i = 0; i < n->arg_count; i++)
            check(c, n->args[i]);
        return &cel_dyn;
    }
    n->fields = ARENA_ARRAY(a, const struct cel_field *, n->arg_count);
    for (uint32_t i = 0; i < n->arg_count; i++) {
        struct bindings none = {0};
        const struct cel_type *v = element(c, n->args[i], optional_at(n, i));
        const struct cel_field *f = cel_type_field(t, n->names[i]);
        if (t->kind != CEL_OBJECT) {
            continue; /* Anything may be set. */
        } else if (f == NULL) {
            cel_issue(c->src, n->args[i]->pos, "undefined field '" STR_FMT "'",
                      STR_ARG(n->names[i]));
        } else if (!assignable(v, f->type, &none, 0)) {
            cel_issue(c->src, n->args[i]->pos,
                      "expected type of field '" STR_FMT "' is '" STR_FMT
                      "' but provided type is '" STR_FMT "'",
                      STR_ARG(n->names[i]), STR_ARG(cel_type_text(a, f->type)),
                      STR_ARG(cel_type_text(a, v)));
        }
        n->fields[i] = f;
    }
    return t;
}

/* --- comprehensions
 * --------------------------------------------------------------------------------------- */
static bool range_types(const struct cel_node *n, const struct cel_type *range,
                        const struct cel_type *ret[2])
{
    bool two = n->var_count == 2;
    ret[0] = ret[1] = &cel_dyn;
    if (n->fold == FOLD_BIND) {
        ret[0] = range;
        return true;
    }
    if (is_dyn(range))
        return true;
    if (n->fold == FOLD_OPT_MAP || n->fold == FOLD_OPT_FLAT_MAP) {
        if (range->kind != CEL_OPTIONAL)
            return false;
        ret[0] = range->elem;
    } else if (range->kind == CEL_LIST) {
        ret[two ? 1 : 0] = range->elem;
        if (two)
            ret[0] = &cel_int;
    } else if (range->kind == CEL_MAP && n->fold != FOLD_SORT_BY) {
        ret[0] = range->key;
        if (two)
            ret[1] = range->elem;
    } else {
        return false;
    }
    return true;
}

static void want_bool(struct checker *c, const struct cel_node *n, const struct cel_type *t,
                      const char *op)
{
    const struct cel_type *types[2] = {&cel_bool, t};
    if (is_dyn(t) || t->kind == CEL_BOOL)
        return;
    if (op != NULL)
        no_match(c, n, str_of(op), types, 2, false);
    else
        no_match(c, n, STR("_?_:_"), (const struct cel_type *[]){t, &cel_dyn, &cel_dyn}, 3, false);
}

static const struct cel_type *fold_type(struct checker *c, struct cel_node *n,
                                        const struct cel_type *range)
{
    struct arena *a = c->src->arena;
    const struct cel_type *first = check(c, n->args[0]);
    const struct cel_type *last = n->arg_count > 1 ? check(c, n->args[1]) : first;
    if (n->arg_count > 1)
        want_bool(c, n, first, NULL);
    switch (n->fold) {
    case FOLD_ALL:
        want_bool(c, n, first, "_&&_");
        return &cel_bool;
    case FOLD_EXISTS:
        want_bool(c, n, first, "_||_");
        return &cel_bool;
    case FOLD_EXISTS_ONE:
        want_bool(c, n, first, NULL);
        return &cel_bool;
    case FOLD_FILTER:
        want_bool(c, n, first, NULL);
        return is_dyn(range) ? &cel_list_dyn
               : range->kind == CEL_LIST
                   ? range
                   : cel_type_list(a, is_dyn(range->key) ? &cel_dyn : range->key);
    case FOLD_MAP:
    case FOLD_LIST:
        return cel_type_list(a, last);
    case FOLD_MAPPED:
        return cel_type_map(a,
                            is_dyn(range)             ? &cel_dyn
                            : range->kind == CEL_LIST ? &cel_int
                                                      : range->key,
                            last);
    case FOLD_ENTRY:
        return is_dyn(last) || last->kind != CEL_MAP ? &cel_dyn : last;
    case FOLD_BIND:
        return last;
    case FOLD_OPT_MAP:
        return cel_type_optional(a, last);
    case FOLD_OPT_FLAT_MAP:
        return last;
    case FOLD_SORT_BY:
        return range;
    }
    return &cel_dyn;
}

static const struct cel_type *check_fold(struct checker *c, struct cel_node *n)
{
    const struct cel_type *range = check(c, n->target), *types[2] = {&cel_dyn, &cel_dyn};
    if (!range_types(n, range, types)) {
        cel_issue(c->src, n->target->pos,
                  "expression of type '" STR_FMT
                  "' cannot be range of a comprehension (must be list, "
                  "map, or dynamic)",
                  STR_ARG(cel_type_text(c->src->arena, range)));
        range = &cel_dyn;
    }
    const struct scope *outer = c->scope;
    struct scope scopes[2];
    n->slot = c->slots;
    ASSERT(n->var_count <= ARRAY_SIZE(scopes));
    for (uint32_t i = 0; i < n->var_count; i++) {
        scopes[i] = (struct scope){n->names[i], is_dyn(types[i]) ? &cel_dyn : types[i], c->slots++,
                                   c->scope};
        c->scope = &scopes[i];
    }
    if (c->slots > c->program->local_count)
        c->program->local_count = c->slots;
    const struct cel_type *t = fold_type(c, n, range);
    c->scope = outer;
    c->slots = n->slot;
    return t;
}

/* --- all kinds
 * --------------------------------------------------------------------------------------------- */
static const struct cel_type *check_logic(struct checker *c, struct cel_node *n)
{
    for (uint32_t i = 0; i < n->arg_count; i++) {
        const struct cel_type *t = check(c, n->args[i]);
        const struct cel_type *types[2] = {i == 0 ? t : &cel_bool, i == 0 ? &cel_bool : t};
        if (!is_dyn(t) && t->kind != CEL_BOOL) {
            if (i == 0)
                types[1] = check(c, n->args[++i]);
            no_match(c, n, n->name, types, 2, false);
        }
    }
    return &cel_bool;
}

static const struct cel_type *check_cond(struct checker *c, struct cel_node *n)
{
    const struct cel_type *types[3];
    unsigned before = c->src->issue_count;
    for (uint32_t i = 0; i < 3; i++)
        types[i] = check(c, n->args[i]);
    struct bindings bind = {.a = types[1]};
    bool fits = (is_dyn(types[0]) || types[0]->kind == CEL_BOOL) &&
                assignable(types[2], &cel_param_a, &bind, 0);
    if (!fits && c->src->issue_count == before)
        return no_match(c, n, n->name, types, 3, false);
    return join(types[1], types[2]);
}

static const struct cel_type *literal_type(const struct cel_node *n)
{
    switch (n->value.kind) {
    case CEL_NULL:
        return &cel_null;
    case CEL_BOOL:
        return &cel_bool;
    case CEL_INT:
        return &cel_int;
    case CEL_UINT:
        return &cel_uint;
    case CEL_DOUBLE:
        return &cel_double;
    case CEL_STRING:
        return &cel_string;
    case CEL_BYTES:
        return &cel_bytes;
    default:
        return &cel_dyn;
    }
}

static const struct cel_type *check_kind(struct checker *c, struct cel_node *n)
{
    switch (n->kind) {
    case NODE_LITERAL:
        return literal_type(n);
    case NODE_IDENT:
        return check_ident(c, n);
    case NODE_SELECT:
        return check_select(c, n);
    case NODE_INDEX:
        return check_index(c, n);
    case NODE_CALL:
        return check_call(c, n);
    case NODE_AND:
    case NODE_OR:
        return check_logic(c, n);
    case NODE_COND:
        return check_cond(c, n);
    case NODE_LIST:
        return check_list(c, n);
    case NODE_MAP:
        return check_map(c, n);
    case NODE_OBJECT:
        return check_object(c, n);
    case NODE_FOLD:
        return check_fold(c, n);
    case NODE_VAR:
    case NODE_LOCAL:
        break;
    }
    return &cel_dyn;
}

/* Recursion follows the tree, whose depth the parser has bounded. */
static const struct cel_type *check(struct checker *c, struct cel_node *n)
{
    const struct cel_type *t = check_kind(c, n);
    n->type = is_dyn(t) ? &cel_dyn : t;
    return n->type;
}

void cel_check(struct cel_source *s, struct cel_program *p)
{
    struct checker c = {.src = s, .program = p};
    check(&c, p->root);
}

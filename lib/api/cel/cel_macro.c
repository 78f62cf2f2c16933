/* cel_macro.c - calls that are not functions: has(), the comprehensions,
 * cel.bind and what optional values bring. */
#include "lib/api/cel/cel_internal.h"

struct macro {
    const char *name;
    unsigned arg_count;
    unsigned vars;
    enum cel_fold fold;
};

static const struct macro macros[] = {
    {"all", 2, 1, FOLD_ALL},
    {"all", 3, 2, FOLD_ALL},
    {"exists", 2, 1, FOLD_EXISTS},
    {"exists", 3, 2, FOLD_EXISTS},
    {"exists_one", 2, 1, FOLD_EXISTS_ONE},
    {"existsOne", 2, 1, FOLD_EXISTS_ONE},
    {"existsOne", 3, 2, FOLD_EXISTS_ONE},
    {"map", 2, 1, FOLD_MAP},
    {"map", 3, 1, FOLD_MAP},
    {"filter", 2, 1, FOLD_FILTER},
    {"transformList", 3, 2, FOLD_LIST},
    {"transformList", 4, 2, FOLD_LIST},
    {"transformMap", 3, 2, FOLD_MAPPED},
    {"transformMap", 4, 2, FOLD_MAPPED},
    {"transformMapEntry", 3, 2, FOLD_ENTRY},
    {"transformMapEntry", 4, 2, FOLD_ENTRY},
    {"optMap", 2, 1, FOLD_OPT_MAP},
    {"optFlatMap", 2, 1, FOLD_OPT_FLAT_MAP},
    {"sortBy", 2, 1, FOLD_SORT_BY},
};

static struct cel_node *fold(struct cel_source *s, const struct cel_node *call, enum cel_fold kind,
                             struct cel_node *range, unsigned vars)
{
    struct cel_node *n = cel_node_new(s, NODE_FOLD, call->pos);
    n->fold = kind;
    n->name = call->name;
    n->target = range;
    n->var_count = vars;
    n->names = ARENA_ARRAY(s->arena, struct str, vars);
    for (unsigned i = 0; i < vars; i++) {
        const struct cel_node *v = call->args[i];
        if (v->kind != NODE_IDENT) {
            cel_issue(s, v->pos, "argument must be a simple name");
            return NULL;
        }
        n->names[i] = v->name;
        if (i > 0 && str_eq(v->name, n->names[0])) {
            cel_issue(s, v->pos, "duplicate variable name: " STR_FMT, STR_ARG(v->name));
            return NULL;
        }
    }
    n->args = call->args + vars;
    n->arg_count = call->arg_count - vars;
    return n;
}

static struct cel_node *has_macro(struct cel_source *s, const struct cel_node *call)
{
    struct cel_node *arg = call->args[0];
    if (arg->kind != NODE_SELECT || arg->test) {
        cel_issue(s, arg->pos, "invalid argument to has() macro");
        return NULL;
    }
    arg->test = true;
    arg->pos = call->pos;
    return arg;
}

/* cel.bind(name, value, expression) */
static struct cel_node *bind_macro(struct cel_source *s, const struct cel_node *call)
{
    struct cel_node named = *call;
    if (call->args[0]->kind != NODE_IDENT) {
        cel_issue(s, call->args[0]->pos, "cel.bind() variable names must be simple identifiers");
        return NULL;
    }
    named.args = ARENA_ARRAY(s->arena, struct cel_node *, 2);
    named.args[0] = call->args[0];
    named.args[1] = call->args[2];
    named.arg_count = 2;
    return fold(s, &named, FOLD_BIND, call->args[1], 1);
}

struct cel_node *cel_macro(struct cel_source *s, struct cel_node *call)
{
    if (call->target == NULL)
        return str_eqc(call->name, "has") && call->arg_count == 1 ? has_macro(s, call) : NULL;
    if (call->target->kind == NODE_IDENT && str_eqc(call->target->name, "cel") &&
        str_eqc(call->name, "bind") && call->arg_count == 3)
        return bind_macro(s, call);
    for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
        if (macros[i].arg_count == call->arg_count && str_eqc(call->name, macros[i].name))
            return fold(s, call, macros[i].fold, call->target, macros[i].vars);
    return NULL;
}

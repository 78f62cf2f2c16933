/* cel_eval.c - walks a checked tree. Every step is charged as the reference
 * charges it, so that the same rules end at the same place. */
#include "lib/api/cel/cel_internal.h"

#include "lib/base/buf.h"
#include "lib/base/map.h"

#include <inttypes.h>

enum {
    COST_LIST = 10,
    COST_MAP = 30,
    COST_OBJECT = 40,
    ARENA_BYTES_MAX = 64 << 20, /* What one evaluation may make. */
};

static struct cel_value eval(struct cel_call *c, const struct cel_node *n);

bool cel_charge(struct cel_call *c, uint64_t cost)
{
    c->cost_left -= cost < INT64_MAX / 4 ? (int64_t)cost : INT64_MAX / 4;
    return c->cost_left >= 0;
}

void cel_charge_bytes(struct cel_call *c, size_t bytes)
{
    cel_charge(c, bytes <= 10 ? 0 : (bytes + 9) / 10 - 1); /* The call itself was charged 1. */
}

struct arena *cel_call_arena(const struct cel_call *call)
{
    return call->arena;
}

static struct cel_value cancelled(const struct cel_call *c)
{
    UNUSED(c);
    return (struct cel_value){.kind = CEL_ERROR,
                              .string = STR("operation cancelled: actual cost limit exceeded")};
}

/* What a field or variable held, ready for use. */
static struct cel_value settle(struct cel_call *c, struct cel_value v)
{
    if (v.kind != CEL_BYTES || !v.in_json)
        return v;
    struct str bytes;
    if (!cel_base64_decode(c->arena, v.string, &bytes))
        return cel_error(c->arena, "invalid base64 in the object");
    return cel_of_bytes(bytes);
}

struct cel_value cel_find(struct cel_call *c, const struct cel_value *map,
                          const struct cel_value *key)
{
    if (!map->in_json || cel_size(map) <= CEL_SEARCH_MAX)
        return cel_lookup(map, key, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(c->indexes); i++)
        if (c->indexes[i].object == map->json)
            return cel_lookup(map, key, &c->indexes[i]);
    struct cel_index *x = &c->indexes[c->next_index++ % ARRAY_SIZE(c->indexes)];
    cel_charge(c, cel_size(map) / 10); /* Else many large objects cost too little. */
    cel_index_build(x, map->json, ARENA_ARRAY(c->arena, uint32_t, cel_size(map)));
    return cel_lookup(map, key, x);
}

/* --- selection -------------------------------------------------------------------------- */
static struct cel_value no_such_key(struct cel_call *c, const struct cel_value *key)
{
    struct str text = cel_key_text(c->arena, key);
    return cel_error(c->arena, "no such key: " STR_FMT, STR_ARG(text));
}

/* As cel_find(), or what the map has for every key. */
static struct cel_value find_or_fallback(struct cel_call *c, const struct cel_value *map,
                                         const struct cel_value *key)
{
    struct cel_value v = cel_find(c, map, key);
    bool none = v.kind == CEL_DYN && map->kind == CEL_MAP && !map->in_json;
    return none && map->map->fallback != NULL ? *map->map->fallback : v;
}

/* Kind CEL_DYN when there is no such member. */
static struct cel_value find_field(struct cel_call *c, const struct cel_node *n,
                                   const struct cel_value *of)
{
    struct cel_value v = {.kind = CEL_DYN};
    if (of->kind == CEL_OBJECT && !of->in_json) {
        const struct cel_field *f = of->type != NULL ? cel_type_field(of->type, n->name) : NULL;
        if (f != NULL)
            of->lazy->field(of->lazy, c->arena, (size_t)(f - of->type->fields), &v);
        return v;
    }
    if (of->kind == CEL_OBJECT && n->fields != NULL) {
        const struct json *j = json_get(of->json, n->fields[0]->json);
        return j != NULL ? cel_of_json(j, n->fields[0]->type) : v;
    }
    if (of->kind == CEL_MAP || of->kind == CEL_OBJECT) {
        struct cel_value key = cel_of_str(n->name);
        return find_or_fallback(c, of, &key);
    }
    return v;
}

static struct cel_value eval_select(struct cel_call *c, const struct cel_node *n)
{
    struct cel_value of = eval(c, n->target);
    if (cel_failed(&of))
        return of;
    cel_charge(c, 1);
    bool optional = n->is_optional || of.kind == CEL_OPTIONAL;
    if (of.kind == CEL_OPTIONAL) {
        if (of.inner == NULL)
            return n->test ? cel_of_bool(false) : of;
        of = *of.inner;
    }
    struct cel_value v = find_field(c, n, &of);
    if (cel_failed(&v))
        return v;
    if (n->test)
        return cel_of_bool(v.kind != CEL_DYN);
    v = settle(c, v);
    if (optional)
        return cel_of_optional(c->arena, v.kind == CEL_DYN ? NULL : &v);
    if (v.kind == CEL_DYN) {
        struct cel_value key = cel_of_str(n->name);
        return no_such_key(c, &key);
    }
    return v;
}

static struct cel_value index_list(struct cel_call *c, const struct cel_value *list,
                                   const struct cel_value *index, bool optional)
{
    int64_t i;
    if (index->kind == CEL_INT)
        i = index->integer;
    else if (index->kind == CEL_UINT)
        i = index->uinteger <= INT64_MAX ? (int64_t)index->uinteger : INT64_MAX;
    else if (index->kind == CEL_DOUBLE && index->number == (double)(int32_t)index->number)
        i = (int64_t)index->number;
    else
        return cel_error(c->arena, "unsupported index type '" STR_FMT "' in list",
                         STR_ARG(cel_value_type_name(index)));
    if (i < 0 || (size_t)i >= cel_size(list)) {
        if (optional)
            return (struct cel_value){.kind = CEL_DYN};
        return cel_error(c->arena, "index out of bounds: %" PRId64, i);
    }
    return cel_item(list, (size_t)i);
}

static struct cel_value eval_index(struct cel_call *c, const struct cel_node *n)
{
    struct cel_value of = eval(c, n->target);
    if (cel_failed(&of))
        return of;
    struct cel_value index = eval(c, n->args[0]);
    if (cel_failed(&index))
        return index;
    cel_charge(c, 1);
    bool optional = n->is_optional || of.kind == CEL_OPTIONAL;
    if (of.kind == CEL_OPTIONAL) {
        if (of.inner == NULL)
            return of;
        of = *of.inner;
    }
    struct cel_value v;
    if (of.kind == CEL_LIST)
        v = index_list(c, &of, &index, optional);
    else if (of.kind == CEL_MAP || (of.kind == CEL_OBJECT && of.in_json))
        v = find_or_fallback(c, &of, &index);
    else
        return cel_no_overload(c->arena, "_[_]", (struct cel_value[]){of, index}, 2);
    if (cel_failed(&v))
        return v;
    v = settle(c, v);
    if (optional)
        return cel_of_optional(c->arena, v.kind == CEL_DYN ? NULL : &v);
    return v.kind == CEL_DYN ? no_such_key(c, &index) : v;
}

/* --- calls --------------------------------------------------------------------------------- */
static bool accepts(const struct cel_type *t, const struct cel_value *v)
{
    if (t->kind == CEL_DYN || t->kind == CEL_PARAM)
        return true;
    if (t->kind == CEL_HOST)
        return v->kind == CEL_HOST && str_eq(v->type->name, t->name);
    return t->kind == v->kind;
}

static struct cel_value eval_call(struct cel_call *c, const struct cel_node *n)
{
    struct cel_value args[CEL_ARGS_MAX];
    size_t count = 0;
    if (n->target != NULL) {
        args[count] = eval(c, n->target);
        if (cel_failed(&args[count++]))
            return args[0];
    }
    for (uint32_t i = 0; i < n->arg_count; i++, count++) {
        args[count] = eval(c, n->args[i]);
        if (cel_failed(&args[count]))
            return args[count];
    }
    if (!cel_charge(c, 1))
        return cancelled(c);
    for (uint32_t i = 0; i < n->overload_count; i++) {
        const struct cel_function *f = n->overloads[i];
        bool fits = true;
        for (size_t k = 0; k < count && fits; k++)
            fits = accepts(f->args[k], &args[k]);
        if (!fits)
            continue;
        c->node = n;
        c->function = f;
        struct cel_value v = f->run(c, args);
        if (c->cost_left < 0)
            return cancelled(c);
        if (arena_bytes(c->arena) > c->arena_limit)
            return cel_error(c->arena, "the expression makes too much data");
        return v;
    }
    char name[128];
    memcpy(name, n->name.data, MIN_OF(n->name.len, sizeof(name) - 1));
    name[MIN_OF(n->name.len, sizeof(name) - 1)] = '\0';
    return cel_no_overload(c->arena, name, args, count);
}

/* False wins over errors and true over errors, in whatever order they stand. */
static struct cel_value eval_logic(struct cel_call *c, const struct cel_node *n)
{
    bool decisive = n->kind == NODE_OR;
    struct cel_value failure = {.kind = CEL_DYN};
    for (uint32_t i = 0; i < n->arg_count; i++) {
        struct cel_value v = eval(c, n->args[i]);
        if (c->cost_left < 0)
            return cancelled(c);
        if (v.kind == CEL_BOOL) {
            if (v.boolean == decisive)
                return v;
        } else if (failure.kind == CEL_DYN) {
            failure = cel_failed(&v) ? v : cel_error(c->arena, "no such overload");
        }
    }
    return failure.kind != CEL_DYN ? failure : cel_of_bool(!decisive);
}

static struct cel_value eval_cond(struct cel_call *c, const struct cel_node *n)
{
    struct cel_value v = eval(c, n->args[0]);
    if (cel_failed(&v))
        return v;
    if (v.kind != CEL_BOOL)
        return cel_error(c->arena, "no such overload");
    return eval(c, n->args[v.boolean ? 1 : 2]);
}

/* --- aggregates --------------------------------------------------------------------------------
 */
/* An element written with `?` is left out when it is none. False: left out. */
static bool unwrap(struct cel_call *c, const struct cel_node *n, size_t i, struct cel_value *v)
{
    if (n->optionals == NULL || !n->optionals[i] || cel_failed(v))
        return true;
    if (v->kind != CEL_OPTIONAL) {
        *v = cel_error(c->arena, "cannot initialize optional entry from non-optional value");
        return true;
    }
    if (v->inner == NULL)
        return false;
    *v = *v->inner;
    return true;
}

static struct cel_value eval_list(struct cel_call *c, const struct cel_node *n)
{
    cel_charge(c, COST_LIST);
    struct cel_list *l = cel_list_new(c->arena);
    for (uint32_t i = 0; i < n->arg_count; i++) {
        struct cel_value v = eval(c, n->args[i]);
        bool there = unwrap(c, n, i, &v);
        if (cel_failed(&v))
            return v;
        if (there)
            cel_list_add(c->arena, l, v);
    }
    return cel_of_list(l);
}

static bool is_key(const struct cel_value *v)
{
    return v->kind == CEL_STRING || v->kind == CEL_INT || v->kind == CEL_UINT ||
           v->kind == CEL_BOOL || v->kind == CEL_DOUBLE;
}

static struct cel_value add_entry(struct cel_call *c, struct cel_map *m, struct cel_value key,
                                  struct cel_value value)
{
    if (!is_key(&key))
        return cel_error(c->arena, "unsupported key type");
    if (!cel_map_add(c->arena, m, key, value)) {
        struct str text = cel_key_text(c->arena, &key);
        return cel_error(c->arena, "insert failed: key %s" STR_FMT "%s already exists", "",
                         STR_ARG(text), "");
    }
    return cel_null_value();
}

static struct cel_value eval_map(struct cel_call *c, const struct cel_node *n)
{
    cel_charge(c, COST_MAP);
    struct cel_map *m = cel_map_new(c->arena);
    for (uint32_t i = 0; i + 1 < n->arg_count; i += 2) {
        struct cel_value key = eval(c, n->args[i]);
        if (cel_failed(&key))
            return key;
        struct cel_value v = eval(c, n->args[i + 1]);
        bool there = unwrap(c, n, i / 2, &v);
        if (cel_failed(&v))
            return v;
        if (!there)
            continue;
        if (!is_key(&key))
            return cel_error(c->arena, "unsupported key type");
        if (!cel_map_add(c->arena, m, key, v)) {
            struct str text = cel_key_text(c->arena, &key);
            return cel_error(c->arena, "Failed with repeated key " STR_FMT, STR_ARG(text));
        }
    }
    return cel_of_map(m);
}

/* Such objects are maps of what was set, with the name of their type. */
static struct cel_value eval_object(struct cel_call *c, const struct cel_node *n)
{
    cel_charge(c, COST_OBJECT);
    struct cel_map *m = cel_map_new(c->arena);
    for (uint32_t i = 0; i < n->arg_count; i++) {
        struct cel_value v = eval(c, n->args[i]);
        bool there = unwrap(c, n, i, &v);
        if (cel_failed(&v))
            return v;
        struct str name = n->fields[i] != NULL ? n->fields[i]->json : n->names[i];
        if (there && !cel_map_add(c->arena, m, cel_of_str(name), v))
            return cel_error(c->arena, "field '" STR_FMT "' is set twice", STR_ARG(name));
    }
    struct cel_value v = cel_of_map(m);
    v.type = n->type;
    return v;
}

/* --- comprehensions ------------------------------------------------------------------------------
 */
struct fold {
    const struct cel_node *node;
    struct cel_list *list;
    struct cel_map *map;
    struct cel_value failure; /* DYN: none. */
    uint64_t matches;
};

/* One step; true when the loop ends, with *ret as its value. */
static bool fold_quantify(struct cel_call *c, struct fold *f, struct cel_value *ret)
{
    bool all = f->node->fold == FOLD_ALL;
    cel_charge(c, all ? 3 : 4); /* The condition of the loop, and the result so far. */
    struct cel_value v = eval(c, f->node->args[0]);
    if (v.kind != CEL_BOOL) {
        if (f->failure.kind == CEL_DYN)
            f->failure = cel_failed(&v) ? v : cel_error(c->arena, "no such overload");
    } else if (v.boolean != all) {
        *ret = v;
        return true;
    }
    return false;
}

/* The filter of a transforming macro. False: left out, or failed with *ret set. */
static bool passes(struct cel_call *c, const struct cel_node *filter, struct cel_value *ret)
{
    struct cel_value v = eval(c, filter);
    if (v.kind == CEL_BOOL)
        return v.boolean;
    *ret = cel_failed(&v) ? v : cel_error(c->arena, "no such overload");
    return false;
}

static struct cel_value fold_entry(struct cel_call *c, struct fold *f, struct cel_value v)
{
    if (v.kind != CEL_MAP)
        return cel_error(c->arena, "no such overload");
    for (size_t i = 0, n = cel_size(&v); i < n; i++) {
        struct cel_entry e = cel_entry_at(&v, i);
        struct cel_value r = add_entry(c, f->map, e.key, e.value);
        if (cel_failed(&r))
            return r;
    }
    return v;
}

static bool fold_transform(struct cel_call *c, struct fold *f, struct cel_value *ret)
{
    const struct cel_node *n = f->node;
    const struct cel_value *first = &c->locals[n->slot];
    *ret = (struct cel_value){.kind = CEL_DYN};
    cel_charge(c, 1);
    if ((n->arg_count == 2 || n->fold == FOLD_FILTER) && !passes(c, n->args[0], ret))
        return cel_failed(ret);
    struct cel_value v = n->fold == FOLD_FILTER ? *first : eval(c, n->args[n->arg_count - 1]);
    if (cel_failed(&v)) {
        *ret = v;
        return true;
    }
    if (n->fold == FOLD_MAPPED) {
        cel_charge(c, 2);
        *ret = add_entry(c, f->map, *first, v);
    } else if (n->fold == FOLD_ENTRY) {
        cel_charge(c, 2);
        *ret = fold_entry(c, f, v);
    } else {
        cel_charge(c, COST_LIST + (n->fold == FOLD_FILTER ? 2 : 1));
        cel_list_add(c->arena, f->list, v);
    }
    return cel_failed(ret);
}

static bool fold_step(struct cel_call *c, struct fold *f, struct cel_value *ret)
{
    switch (f->node->fold) {
    case FOLD_ALL:
    case FOLD_EXISTS:
        return fold_quantify(c, f, ret);
    case FOLD_EXISTS_ONE: {
        struct cel_value failure = {.kind = CEL_DYN};
        cel_charge(c, 1);
        if (passes(c, f->node->args[0], &failure)) {
            cel_charge(c, 1);
            f->matches++;
        }
        *ret = failure;
        return cel_failed(&failure);
    }
    default:
        return fold_transform(c, f, ret);
    }
}

static struct cel_value fold_result(struct cel_call *c, const struct fold *f,
                                    const struct cel_value *range)
{
    cel_charge(c, 1);
    switch (f->node->fold) {
    case FOLD_ALL:
    case FOLD_EXISTS:
        return f->failure.kind != CEL_DYN ? f->failure : cel_of_bool(f->node->fold == FOLD_ALL);
    case FOLD_EXISTS_ONE:
        return cel_of_bool(f->matches == 1);
    case FOLD_MAPPED:
    case FOLD_ENTRY:
        return cel_of_map(f->map);
    case FOLD_FILTER: {
        struct cel_value v = cel_of_list(f->list);
        v.type = range->kind == CEL_LIST ? range->type : NULL;
        return v;
    }
    default:
        return cel_of_list(f->list);
    }
}

/* Sets the loop's variables to element i. */
static void fold_bind(struct cel_call *c, const struct cel_node *n, const struct cel_value *range,
                      size_t i)
{
    struct cel_value *v = &c->locals[n->slot];
    if (range->kind == CEL_LIST) {
        v[n->var_count - 1] = settle(c, cel_item(range, i));
        if (n->var_count == 2)
            v[0] = cel_of_int((int64_t)i);
        return;
    }
    struct cel_entry e = cel_entry_at(range, i);
    v[0] = e.key;
    if (n->var_count == 2)
        v[1] = settle(c, e.value);
}

static struct cel_value run_fold(struct cel_call *c, const struct cel_node *n,
                                 const struct cel_value *range)
{
    if (range->kind != CEL_LIST && range->kind != CEL_MAP &&
        !(range->kind == CEL_OBJECT && range->in_json))
        return cel_error(c->arena, "got '" STR_FMT "', expected iterable type",
                         STR_ARG(cel_value_type_name(range)));
    struct fold f = {.node = n};
    bool mapped = n->fold == FOLD_MAPPED || n->fold == FOLD_ENTRY;
    if (mapped) {
        cel_charge(c, COST_MAP);
        f.map = cel_map_new(c->arena);
    } else if (n->fold == FOLD_MAP || n->fold == FOLD_FILTER || n->fold == FOLD_LIST) {
        cel_charge(c, COST_LIST);
        f.list = cel_list_new(c->arena);
    }
    for (size_t i = 0, count = cel_size(range); i < count; i++) {
        struct cel_value v;
        fold_bind(c, n, range, i);
        if (fold_step(c, &f, &v))
            return v;
        if (c->cost_left < 0)
            return cancelled(c);
        if (arena_bytes(c->arena) > c->arena_limit)
            return cel_error(c->arena, "the expression makes too much data");
    }
    return fold_result(c, &f, range);
}

/* --- sorting by a key ---------------------------------------------------------------------------
 */
static int by_key(const void *x, const void *y)
{
    const struct cel_entry *a = x, *b = y;
    int c = cel_compare(&a->key, &b->key);
    /* Equal keys keep their order, which their second value tells. */
    return c != 0 ? c : a->value.integer < b->value.integer ? -1 : 1;
}

static struct cel_value sort_by(struct cel_call *c, const struct cel_node *n,
                                const struct cel_value *range)
{
    if (range->kind != CEL_LIST)
        return cel_no_overload(c->arena, "sortBy", range, 1);
    size_t count = cel_size(range);
    struct cel_entry *e = ARENA_ARRAY(c->arena, struct cel_entry, count);
    for (size_t i = 0; i < count; i++) {
        fold_bind(c, n, range, i);
        e[i] = (struct cel_entry){eval(c, n->args[0]), cel_of_int((int64_t)i)};
        if (cel_failed(&e[i].key))
            return e[i].key;
        if (cel_compare(&e[0].key, &e[i].key) > 1)
            return cel_error(c->arena, "list elements must be comparable and have the same type");
        if (!cel_charge(c, COST_LIST + 2))
            return cancelled(c);
    }
    if (count > 1)
        qsort(e, count, sizeof(*e), by_key);
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t i = 0; i < count; i++)
        cel_list_add(c->arena, l, cel_item(range, (size_t)e[i].value.integer));
    return cel_of_list(l);
}

static struct cel_value opt_map(struct cel_call *c, const struct cel_node *n,
                                const struct cel_value *of)
{
    if (of->kind != CEL_OPTIONAL)
        return cel_no_overload(c->arena, "optMap", of, 1);
    if (of->inner == NULL)
        return *of;
    c->locals[n->slot] = *of->inner;
    struct cel_value v = eval(c, n->args[0]);
    return cel_failed(&v) || n->fold == FOLD_OPT_FLAT_MAP ? v : cel_of_optional(c->arena, &v);
}

static struct cel_value eval_fold(struct cel_call *c, const struct cel_node *n)
{
    struct cel_value range = eval(c, n->target);
    if (cel_failed(&range) && n->fold != FOLD_BIND)
        return range;
    switch (n->fold) {
    case FOLD_BIND:
        c->locals[n->slot] = range;
        cel_charge(c, COST_LIST + 1);
        return eval(c, n->args[0]);
    case FOLD_OPT_MAP:
    case FOLD_OPT_FLAT_MAP:
        return opt_map(c, n, &range);
    case FOLD_SORT_BY:
        return sort_by(c, n, &range);
    default:
        return run_fold(c, n, &range);
    }
}

/* --- all kinds
 * ------------------------------------------------------------------------------------- */
static struct cel_value eval_var(struct cel_call *c, const struct cel_node *n)
{
    cel_charge(c, 1);
    const struct cel_value *v = &c->vars[n->slot];
    if (v->kind == CEL_DYN)
        return cel_error(c->arena, "no such attribute(s): %s", c->program->env->vars[n->slot].name);
    return settle(c, *v);
}

/* Recursion follows the tree, whose depth the parser has bounded. */
static struct cel_value eval(struct cel_call *c, const struct cel_node *n)
{
    if (c->cost_left < 0)
        return cancelled(c);
    switch (n->kind) {
    case NODE_LITERAL:
        return n->value;
    case NODE_VAR:
        return eval_var(c, n);
    case NODE_LOCAL:
        cel_charge(c, 1);
        return c->locals[n->slot];
    case NODE_SELECT:
        return eval_select(c, n);
    case NODE_INDEX:
        return eval_index(c, n);
    case NODE_CALL:
        return eval_call(c, n);
    case NODE_AND:
    case NODE_OR:
        return eval_logic(c, n);
    case NODE_COND:
        return eval_cond(c, n);
    case NODE_LIST:
        return eval_list(c, n);
    case NODE_MAP:
        return eval_map(c, n);
    case NODE_OBJECT:
        return eval_object(c, n);
    case NODE_FOLD:
        return eval_fold(c, n);
    case NODE_IDENT:
        break;
    }
    return cel_error(c->arena, "unresolved name");
}

struct cel_value cel_eval(const struct cel_program *p, struct arena *a,
                          const struct cel_value *vars, int64_t *cost_left)
{
    int64_t limit = MIN_OF(*cost_left, (int64_t)CEL_COST_PER_CALL);
    struct cel_call c = {.program = p,
                         .arena = a,
                         .vars = vars,
                         .cost_left = limit,
                         .arena_limit = arena_bytes(a) + ARENA_BYTES_MAX};
    struct cel_value none;
    c.locals = &none; /* Of programs without locals. */
    if (p->local_count != 0)
        c.locals = ARENA_ARRAY(a, struct cel_value, p->local_count);
    struct cel_value v = eval(&c, p->root);
    *cost_left -= limit - c.cost_left;
    return c.cost_left < 0 ? cancelled(&c) : v;
}

/* --- compiling
 * ----------------------------------------------------------------------------------------- */
int cel_compile(struct arena *a, const struct cel_env *env, struct str text,
                struct cel_program **ret, struct str *ret_error)
{
    struct cel_source s = {.arena = a, .text = arena_str(a, text), .env = env};
    if (text.len > CEL_TEXT_MAX) {
        *ret_error = arena_printf(a,
                                  "ERROR: <input>:-1:0: expression code point size exceeds limit: "
                                  "size: %zu, limit %u",
                                  text.len, CEL_TEXT_MAX);
        return -1;
    }
    struct cel_program *p = ARENA_NEW(a, struct cel_program);
    p->env = env;
    p->used = ARENA_ARRAY(a, bool, env->var_count + 1);
    p->root = cel_parse(&s);
    if (s.issue_count == 0)
        cel_check(&s, p);
    if (s.issue_count != 0) {
        *ret_error = s.issues;
        return -1;
    }
    *ret = p;
    return 0;
}

const struct cel_type *cel_program_type(const struct cel_program *p)
{
    return p->root->type;
}

bool cel_program_uses(const struct cel_program *p, size_t var_index)
{
    return p->used[var_index];
}

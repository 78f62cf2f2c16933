/* cel_cost.c - what an expression may cost at most, before there is a value.
 *
 * Counted as cel-go's checker does and as Kubernetes extends it: which rules
 * a definition may have depends on these numbers, so they agree to the last
 * unit, surprises included (the keys of a map count as empty; what a literal
 * list is walked by is looked up at the root of the schema). */
#include "lib/api/cel/cel_internal.h"

#include <math.h>

enum {
    COST_LIST = 10, /* Of making one. */
    COST_MAP = 30,
    COST_OBJECT = 40,
};
#define PER_BYTE 0.1
#define PER_PATTERN_BYTE 0.25
#define FORMAT_PATTERN_BYTES 128 /* The longest pattern of a named format. */
#define FORMAT_BYTES 64

/* A range, of costs or of sizes. */
struct span {
    uint64_t min, max;
};

static const struct span unknown = {0, UINT64_MAX};

/* Where in the schema a value stands: NULL is nowhere, and a step from nowhere
 * leads to the root. */
static const struct cel_type lost = {.kind = CEL_ERROR}; /* At a place that there is not. */

/* What is known of a node once its cost is counted. */
struct found {
    struct span cost;
    const struct cel_type *path;
    bool has_size, has_entry;
    struct span size;
    enum cel_kind container; /* With has_entry: LIST or MAP. */
    struct span key, value;  /* The sizes of its items. */
};

struct local {
    uint32_t slot;
    struct found is; /* Path and sizes. */
    const struct local *outer;
};

struct coster {
    const struct cel_type *root;
    const struct local *locals;
};

static struct found cost(struct coster *c, const struct cel_node *n);

/* --- numbers that do not overflow ------------------------------------------------------- */
static uint64_t plus(uint64_t x, uint64_t y)
{
    return x > UINT64_MAX - y ? UINT64_MAX : x + y;
}

static uint64_t times(uint64_t x, uint64_t y)
{
    return y != 0 && x > UINT64_MAX / y ? UINT64_MAX : x * y;
}

static uint64_t scaled(uint64_t x, double factor)
{
    double v = ceil((double)x * factor);
    return v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
}

static struct span add(struct span x, struct span y)
{
    return (struct span){plus(x.min, y.min), plus(x.max, y.max)};
}

static struct span mul(struct span x, struct span y)
{
    return (struct span){times(x.min, y.min), times(x.max, y.max)};
}

static struct span scale(struct span x, double factor)
{
    return (struct span){scaled(x.min, factor), scaled(x.max, factor)};
}

static struct span both(struct span x, struct span y)
{
    return (struct span){MIN_OF(x.min, y.min), MAX_OF(x.max, y.max)};
}

static struct span fixed(uint64_t v)
{
    return (struct span){v, v};
}

/* --- places and sizes -------------------------------------------------------------------- */
enum step { STEP_ITEMS, STEP_KEYS, STEP_VALUES, STEP_INDICES };

static const struct cel_type *step_into(const struct coster *c, const struct cel_type *at,
                                        enum step s)
{
    static const struct cel_type key = {.kind = CEL_STRING};
    if (at == NULL)
        return c->root;
    if (s == STEP_KEYS)
        return at->kind == CEL_MAP ? &key : &lost;
    if (s == STEP_INDICES || (at->kind != CEL_LIST && at->kind != CEL_MAP) || at->elem == NULL)
        return &lost;
    return at->elem;
}

static const struct cel_type *field_of(const struct coster *c, const struct cel_type *at,
                                       struct str name)
{
    if (at == NULL)
        return c->root;
    /* Attributes of devices: whatever they are called, their size is known. */
    if (at->kind == CEL_MAP && at->elem != NULL && at->elem->kind == CEL_DYN &&
        at->elem->size_max != 0)
        return at->elem;
    const struct cel_field *f = at->kind == CEL_OBJECT ? cel_type_field(at, name) : NULL;
    return f != NULL && f->type != NULL ? f->type : &lost;
}

static bool is_scalar(const struct cel_type *t)
{
    switch (t->kind) {
    case CEL_BOOL:
    case CEL_DOUBLE:
    case CEL_DURATION:
    case CEL_INT:
    case CEL_TIMESTAMP:
    case CEL_UINT:
        return true;
    case CEL_OPTIONAL:
        return t->elem != NULL && is_scalar(t->elem);
    default:
        return false;
    }
}

static bool place_size(const struct cel_type *at, struct span *ret)
{
    if (at == NULL || at == &lost)
        return false;
    *ret = (struct span){0, at->size_max};
    return true;
}

/* The size that the node has by itself, unless a call has said it. */
static void find_size(struct found *f, const struct cel_node *n)
{
    if (f->has_size)
        return;
    f->has_size = true;
    if (n->kind == NODE_LIST)
        f->size = fixed(n->arg_count);
    else if (n->kind == NODE_MAP)
        f->size = fixed(n->arg_count / 2);
    else if (n->kind == NODE_LITERAL && n->value.kind == CEL_STRING)
        f->size = fixed(cel_utf8_len(n->value.string));
    else if (n->kind == NODE_LITERAL && n->value.kind == CEL_BYTES)
        f->size = fixed(n->value.string.len);
    else if (n->kind == NODE_LITERAL && n->value.kind != CEL_TYPE)
        f->size = fixed(1);
    else if (!place_size(f->path, &f->size)) {
        f->has_size = is_scalar(n->type);
        f->size = fixed(1);
    }
}

static struct span size_of(const struct found *f)
{
    return f->has_size ? f->size : unknown;
}

/* Of the items of a list, for what looks at each of them. */
static struct span item_size(const struct coster *c, const struct found *list)
{
    struct span s;
    if (list->path == NULL || !place_size(step_into(c, list->path, STEP_ITEMS), &s))
        return unknown;
    return s;
}

/* --- calls ---------------------------------------------------------------------------------- */
struct call {
    struct coster *coster;
    const struct cel_node *node;
    const struct cel_function *overload;
    struct found target; /* Of members. */
    struct found *args;
    size_t arg_count;
    struct span args_cost;
    bool has_result;
    struct span result; /* The size of what it gives. */
};

static void result(struct call *c, struct span size)
{
    c->has_result = true;
    c->result = size;
}

static bool named(const struct call *c, const char *names)
{
    size_t len = c->node->name.len;
    for (const char *at = names; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, c->node->name.data, n) == 0)
            return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

/* The type of an argument of the overload; the receiver of members is 0. */
static enum cel_kind arg_kind(const struct call *c, unsigned i)
{
    const struct cel_type *t = i < c->overload->arg_count ? c->overload->args[i] : NULL;
    return t != NULL ? t->kind : CEL_DYN;
}

/* Go rounds towards what it can hold. */
static uint64_t divided(uint64_t x, uint64_t y)
{
    double v = ceil((double)x / (double)y);
    return v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
}

static struct span replace_cost(struct call *c)
{
    struct span all = size_of(&c->target), from = size_of(&c->args[0]), to = size_of(&c->args[1]);
    struct span count = {0}, kept = {0};
    if (from.min == 0) {
        count.max = plus(all.max, 1);
        kept.max = all.max;
    } else if (to.max <= from.min) {
        kept.max = all.max;
    } else {
        count.max = divided(all.max, from.min);
    }
    if (from.max == 0) {
        count.min = plus(all.min, 1);
        kept.min = all.min;
    } else if (from.max <= to.min) {
        kept.min = all.min;
    } else {
        count.min = divided(all.min, from.max);
    }
    result(c, add(mul(count, to), kept));
    return scale(all, 2 * PER_BYTE);
}

static struct span join_cost(struct call *c)
{
    struct span count = size_of(&c->target), sum = {0};
    if (arg_kind(c, 0) == CEL_LIST)
        sum = mul(count, item_size(c->coster, &c->target));
    if (c->arg_count > 0)
        sum = add(sum, mul(size_of(&c->args[0]), (struct span){count.min - (count.min > 0),
                                                               count.max - (count.max > 0)}));
    result(c, sum);
    return scale(sum, PER_BYTE);
}

/* Every item of a list is compared, or every byte of a string. */
static struct span walk_cost(const struct call *c)
{
    struct span each = fixed(1), count = size_of(&c->target);
    const struct cel_type *t = c->node->target->type;
    if (t->kind != CEL_LIST || t->elem == NULL)
        return scale(count, PER_BYTE);
    if (t->elem->kind == CEL_STRING || t->elem->kind == CEL_BYTES)
        each = add(each, scale(item_size(c->coster, &c->target), PER_BYTE));
    return mul(count, each);
}

static struct span pattern_cost(struct span text, struct span pattern)
{
    return mul(scale(add(text, fixed(1)), PER_BYTE), scale(pattern, PER_PATTERN_BYTE));
}

static struct span network_cost(const struct call *c)
{
    const struct span address = {4, 16};
    struct span sum = scale(add(address, address), PER_BYTE);
    if (named(c, "containsCIDR"))
        sum = add(add(sum, scale(address, PER_BYTE)), fixed(1));
    if (arg_kind(c, 1) == CEL_STRING)
        sum = add(sum, scale(size_of(&c->args[0]), PER_BYTE));
    return sum;
}

static uint64_t constant(const struct call *c, size_t i, uint64_t otherwise)
{
    const struct cel_node *n = i < c->node->arg_count ? c->node->args[i] : NULL;
    return n != NULL && n->kind == NODE_LITERAL && n->value.kind == CEL_INT && n->value.integer >= 0
               ? (uint64_t)n->value.integer
               : otherwise;
}

static struct span list_cost(struct call *c, double factor, struct span size)
{
    result(c, size);
    return add(scale(size, factor), fixed(1 + COST_LIST));
}

static struct span split_cost(struct call *c)
{
    struct span text = size_of(&c->target);
    result(c, (struct span){0, constant(c, 1, text.max)});
    return scale(text, 2 * PER_BYTE);
}

/* What Kubernetes and the libraries say; without the arguments' cost. False: nothing. */
static bool library_cost(struct call *c, struct span *ret)
{
    struct span text;
    bool member = c->overload->member;
    enum cel_kind first = arg_kind(c, 0);
    if (named(c, "isSorted sum max min indexOf lastIndexOf") && member) {
        *ret = walk_cost(c);
    } else if (named(c, "url")) {
        text = size_of(&c->args[0]);
        result(c, text);
        *ret = scale(text, PER_BYTE);
    } else if (named(c, "lowerAscii upperAscii substring trim")) {
        text = size_of(&c->target);
        result(c, text);
        *ret = scale(text, PER_BYTE);
    } else if (named(c, "replace")) {
        *ret = replace_cost(c);
    } else if (named(c, "split")) {
        *ret = split_cost(c);
    } else if (named(c, "join")) {
        *ret = join_cost(c);
    } else if (named(c, "find findAll")) {
        text = size_of(&c->target);
        result(c, (struct span){0, text.max});
        *ret = pattern_cost(text, size_of(&c->args[0]));
    } else if (named(c, "cidr isIP isCIDR quantity isQuantity semver isSemver") ||
               (named(c, "ip") && !member)) {
        *ret = scale(size_of(&c->args[0]), PER_BYTE);
    } else if (named(c, "ip.isCanonical")) {
        *ret = scale(size_of(&c->args[0]), 2 * PER_BYTE);
    } else if (named(c, "containsIP containsCIDR")) {
        *ret = network_cost(c);
    } else if (named(c, "validate")) {
        *ret =
            scale(scale(size_of(&c->args[0]), PER_BYTE), FORMAT_PATTERN_BYTES * PER_PATTERN_BYTE);
    } else if (named(c, "slice") && first == CEL_LIST) {
        uint64_t end = constant(c, 1, size_of(&c->target).max);
        *ret = list_cost(c, 1, fixed(end - constant(c, 0, 0)));
    } else if (named(c, "lists.range")) {
        *ret = list_cost(c, 1, fixed(constant(c, 0, UINT64_MAX)));
    } else if (named(c, "reverse") && first == CEL_LIST) {
        *ret = list_cost(c, 1, size_of(&c->target));
    } else if (named(c, "flatten")) {
        double depth = c->arg_count == 1 ? (double)constant(c, 0, UINT64_MAX) : 1;
        *ret = list_cost(c, depth, size_of(&c->target));
    } else if (named(c, "distinct")) {
        text = size_of(&c->target);
        *ret = list_cost(c, 2, mul(text, text));
    } else if (named(c, "sort")) {
        const struct cel_type *t = c->node->target->type;
        bool texts = t->elem != NULL && (t->elem->kind == CEL_STRING || t->elem->kind == CEL_BYTES);
        text = size_of(&c->target);
        *ret = list_cost(c, texts ? 2 + PER_BYTE : 2, mul(text, text));
    } else if (named(c, "sets.contains sets.intersects sets.equivalent")) {
        double factor = named(c, "sets.equivalent") ? 2 : 1;
        *ret = add(scale(mul(size_of(&c->args[0]), size_of(&c->args[1])), factor), fixed(1));
    } else {
        return false;
    }
    return true;
}

/* Values of one type that are compared as a whole, whatever they hold. */
static bool equality_cost(const struct call *c, struct span *ret)
{
    const struct cel_type *x = c->node->args[0]->type, *y = c->node->args[1]->type;
    if (!named(c, "_==_") || x->kind != y->kind)
        return false;
    switch (x->kind) {
    case CEL_IP:
    case CEL_CIDR:
    case CEL_QUANTITY:
    case CEL_SEMVER:
    case CEL_HOST:
        *ret = fixed(1);
        return true;
    case CEL_FORMAT:
        *ret = scale((struct span){1, FORMAT_BYTES}, PER_BYTE);
        return true;
    case CEL_URL:
        *ret = scale((struct span){1, c->args[1].has_size ? c->args[1].size.max : 1}, PER_BYTE);
        return true;
    default:
        return false;
    }
}

static struct span compare_cost(const struct call *c)
{
    uint64_t least = MIN_OF(size_of(&c->args[0]).max, size_of(&c->args[1]).max);
    return scale((struct span){least > 0, least}, PER_BYTE);
}

/* What the language itself says; without the arguments' cost. */
static struct span core_cost(struct call *c)
{
    enum cel_kind first = arg_kind(c, 0);
    bool text = first == CEL_STRING || first == CEL_BYTES;
    struct span size;
    if (named(c, "format"))
        return scale(size_of(&c->target), PER_BYTE);
    if (named(c, "bytes") && first == CEL_STRING) {
        size = size_of(&c->args[0]);
        result(c, (struct span){size.min, size.max * 4}); /* Wraps, as upstream's. */
        return scale(size, PER_BYTE);
    }
    if (named(c, "string") && first == CEL_BYTES) {
        size = size_of(&c->args[0]);
        result(c, (struct span){size.min / 4, size.max});
        return scale(size, PER_BYTE);
    }
    if (named(c, "strings.quote")) {
        size = size_of(&c->args[0]);
        result(c, (struct span){size.min + 2, size.max * 2 + 2});
        return scale(size, PER_BYTE);
    }
    if (named(c, "startsWith endsWith"))
        return scale(size_of(&c->args[0]), PER_BYTE);
    if (named(c, "@in") && arg_kind(c, 1) == CEL_LIST)
        return size_of(&c->args[1]);
    if (named(c, "matches") && c->overload->member)
        return pattern_cost(size_of(&c->target), size_of(&c->args[0]));
    if (named(c, "contains"))
        return mul(scale(size_of(&c->target), PER_BYTE), scale(size_of(&c->args[0]), PER_BYTE));
    if (named(c, "_+_") && (text || first == CEL_LIST)) {
        size = add(size_of(&c->args[0]), size_of(&c->args[1]));
        result(c, size);
        return text ? scale(size, PER_BYTE) : fixed(1);
    }
    if (named(c, "_==_ _!=_") || (text && named(c, "_<_ _<=_ _>_ _>=_")))
        return compare_cost(c);
    return fixed(1);
}

static bool unite_entries(struct found *f, const struct found *x, const struct found *y)
{
    if (!x->has_entry || !y->has_entry)
        return false;
    f->has_entry = true;
    f->container = x->container;
    f->key = both(x->key, y->key);
    f->value = both(x->value, y->value);
    return true;
}

static struct span overload_cost(struct call *c)
{
    struct span own;
    c->has_result = false;
    if (!library_cost(c, &own) && !(c->arg_count == 2 && equality_cost(c, &own)))
        own = core_cost(c);
    return add(own, c->args_cost);
}

static struct found call_cost(struct coster *coster, const struct cel_node *n)
{
    struct found args[CEL_ARGS_MAX] = {0}, f = {0};
    struct call c = {.coster = coster, .node = n, .args = args};
    struct span best = {UINT64_MAX, 0};
    if (str_eqc(n->name, "dyn") && n->target == NULL && n->arg_count == 1) {
        f = cost(coster, n->args[0]);
        f.path = NULL;
        f.cost = add(f.cost, fixed(1));
        return f;
    }
    for (uint32_t i = 0; i < n->arg_count; i++) {
        struct found arg = cost(coster, n->args[i]);
        c.args_cost = add(c.args_cost, arg.cost);
        if (c.arg_count < ARRAY_SIZE(args))
            args[c.arg_count++] = arg;
    }
    if (n->overload_count == 0)
        return f;
    if (n->target != NULL)
        c.target = cost(coster, n->target);
    for (uint32_t i = 0; i < n->overload_count; i++) {
        c.overload = n->overloads[i];
        best = both(best, overload_cost(&c));
        if (c.has_result)
            f.size = f.has_size ? both(f.size, c.result) : c.result;
        f.has_size |= c.has_result;
    }
    if (str_eqc(n->name, "_+_"))
        (void)unite_entries(&f, &args[0], &args[1]);
    f.cost = add(best, c.target.cost);
    return f;
}

/* --- the other kinds of nodes ---------------------------------------------------------------- */
static struct found select_cost(struct coster *c, const struct cel_node *n)
{
    struct found of = cost(c, n->target), f = {.cost = of.cost};
    if (n->test)
        return f; /* has() looks, and that is all. */
    if (n->is_optional) {
        f.cost = add(f.cost, fixed(1));
        return f;
    }
    enum cel_kind k = n->target->type->kind;
    if (k == CEL_MAP || k == CEL_OBJECT)
        f.cost = add(f.cost, fixed(1));
    f.path = field_of(c, of.path, n->name);
    return f;
}

static struct found index_cost(struct coster *c, const struct cel_node *n)
{
    struct found of = cost(c, n->target), key = cost(c, n->args[0]);
    struct found f = {.cost = add(add(of.cost, key.cost), fixed(1))};
    enum cel_kind k = n->target->type->kind;
    if (n->is_optional || k == CEL_OPTIONAL)
        return f;
    f.path = step_into(c, of.path, k == CEL_LIST ? STEP_ITEMS : STEP_VALUES);
    if (of.has_entry) {
        f.has_size = true;
        f.size = of.value;
    }
    return f;
}

static struct found logic_cost(struct coster *c, const struct cel_node *n)
{
    struct found f = cost(c, n->args[0]);
    struct span sum = f.cost;
    for (uint32_t i = 1; i < n->arg_count; i++)
        sum.max = plus(sum.max, cost(c, n->args[i]).cost.max);
    return (struct found){.cost = sum};
}

static struct found choice(struct span condition, const struct found *x, const struct found *y)
{
    struct found f = {.cost = add(condition, both(x->cost, y->cost)),
                      .has_size = true,
                      .size = both(size_of(x), size_of(y))};
    (void)unite_entries(&f, x, y);
    return f;
}

static struct found cond_cost(struct coster *c, const struct cel_node *n)
{
    struct found condition = cost(c, n->args[0]), x = cost(c, n->args[1]), y = cost(c, n->args[2]);
    return choice(condition.cost, &x, &y);
}

static struct found aggregate_cost(struct coster *c, const struct cel_node *n)
{
    bool map = n->kind == NODE_MAP;
    struct found f = {.cost = fixed(map                    ? COST_MAP
                                    : n->kind == NODE_LIST ? COST_LIST
                                                           : COST_OBJECT),
                      .has_entry = n->kind != NODE_OBJECT,
                      .container = map ? CEL_MAP : CEL_LIST,
                      .key = map ? (struct span){UINT64_MAX, 0} : fixed(1),
                      .value = {UINT64_MAX, 0}};
    if (n->arg_count == 0) {
        f.key.min = map ? 0 : f.key.min;
        f.value.min = 0;
    }
    for (uint32_t i = 0; i < n->arg_count; i++) {
        struct found item = cost(c, n->args[i]);
        struct span *of = map && i % 2 == 0 ? &f.key : &f.value;
        f.cost = add(f.cost, item.cost);
        *of = both(*of, size_of(&item));
    }
    return f;
}

/* --- comprehensions: what their macros stand for is counted ----------------------------------- */
/* A variable that walks over range. */
static struct found walker(const struct coster *c, const struct found *range,
                           const struct cel_type *type, bool key, bool single)
{
    bool list = range->has_entry ? range->container == CEL_LIST : type->kind == CEL_LIST;
    struct found f = {0};
    enum step s = list  ? (key && !single ? STEP_INDICES : STEP_ITEMS)
                  : key ? STEP_KEYS
                        : STEP_VALUES;
    f.path = step_into(c, range->path, s);
    f.has_size = range->has_entry;
    f.size = key && !(single && list) ? range->key : range->value;
    return f;
}

static struct found with_local(struct coster *c, uint32_t slot, struct found is,
                               const struct cel_node *n)
{
    struct local own = {slot, is, c->locals};
    c->locals = &own;
    struct found f = cost(c, n);
    c->locals = own.outer;
    return f;
}

/* The steps of a loop: what one costs, and what the accumulator is made of. */
struct loop {
    struct span init, condition, step, end;
};

static const struct span one = {1, 1};

static struct loop loop_of(const struct cel_node *n, const struct found *first,
                           const struct found *last)
{
    const struct span grown = {COST_LIST + 2, COST_LIST + 2}; /* accumulator + [x] */
    struct span body = first->cost, made = last->cost;
    bool filtered = n->arg_count > 1;
    switch (n->fold) {
    case FOLD_ALL:
        return (struct loop){{0}, {2, 2}, {1, plus(1, body.max)}, one};
    case FOLD_EXISTS:
        return (struct loop){{0}, {3, 3}, {1, plus(1, body.max)}, one};
    case FOLD_EXISTS_ONE:
        return (struct loop){{0}, {0}, add(body, (struct span){1, 2}), {2, 2}};
    case FOLD_FILTER:
        made = add(grown, one);
        return (struct loop){fixed(COST_LIST), {0}, add(body, both(made, one)), one};
    case FOLD_MAPPED:
    case FOLD_ENTRY:
        made = add(made, n->fold == FOLD_MAPPED ? fixed(3) : fixed(2)); /* @mapInsert() */
        return (struct loop){
            fixed(COST_MAP), {0}, filtered ? add(body, both(made, one)) : made, one};
    default:
        made = add(grown, made);
        return (struct loop){
            fixed(COST_LIST), {0}, filtered ? add(body, both(made, one)) : made, one};
    }
}

static void push_walkers(struct coster *c, const struct cel_node *n, const struct found *range,
                         struct local own[2])
{
    bool two = n->var_count == 2;
    for (uint32_t i = 0; i < n->var_count; i++) {
        own[i] = (struct local){
            n->slot + i, walker(c, range, n->target->type, two ? i == 0 : true, !two), c->locals};
        c->locals = &own[i];
    }
}

static struct found loop_cost(struct coster *c, const struct cel_node *n)
{
    struct found range = cost(c, n->target), f = {0};
    struct local own[2];
    const struct local *outer = c->locals;
    push_walkers(c, n, &range, own);
    struct found first = cost(c, n->args[0]);
    struct found last = n->arg_count > 1 ? cost(c, n->args[1]) : first;
    c->locals = outer;
    const struct loop l = loop_of(n, &first, &last);
    f.cost = add(add(range.cost, l.init), l.end);
    f.cost = add(f.cost, mul(size_of(&range), add(l.step, l.condition)));
    f.has_size = true;
    f.size = n->fold == FOLD_ALL || n->fold == FOLD_EXISTS || n->fold == FOLD_EXISTS_ONE
                 ? fixed(1)
                 : size_of(&range);
    return f;
}

/* cel.bind() and what is made of it. */
static struct found bind_cost(struct coster *c, const struct cel_node *n)
{
    struct found is = cost(c, n->target);
    if (n->fold == FOLD_BIND) {
        struct found f = with_local(c, n->slot, is, n->args[0]);
        f.path = NULL;
        f.cost = add(add(f.cost, is.cost), fixed(COST_LIST));
        return f;
    }
    /* x.hasValue() ? optional.of(cel.bind(v, x.value(), ...)) : optional.none() */
    struct span ask = add(is.cost, one);
    struct found f = with_local(c, n->slot, (struct found){0}, n->args[0]), none = {.cost = one};
    f.cost = add(add(f.cost, ask), fixed(COST_LIST));
    if (n->fold == FOLD_OPT_MAP)
        f = (struct found){.cost = add(f.cost, one)};
    return choice(ask, &f, &none);
}

/* x.map(v, key) gives what to sort by. */
static struct found sort_cost(struct coster *c, const struct cel_node *n)
{
    struct found keys = loop_cost(c, n);
    struct span n2 = mul(size_of(&keys), size_of(&keys));
    enum cel_kind k = n->args[0]->type->kind;
    double factor = k == CEL_STRING || k == CEL_BYTES ? 2 + PER_BYTE : 2;
    keys.cost = add(add(keys.cost, scale(n2, factor)), fixed(1 + COST_LIST));
    keys.size = n2;
    return keys;
}

static struct found fold_cost(struct coster *c, const struct cel_node *n)
{
    switch (n->fold) {
    case FOLD_BIND:
    case FOLD_OPT_MAP:
    case FOLD_OPT_FLAT_MAP:
        return bind_cost(c, n);
    case FOLD_SORT_BY:
        return sort_cost(c, n);
    default:
        return loop_cost(c, n);
    }
}

static struct found local_cost(const struct coster *c, const struct cel_node *n)
{
    const struct local *l = c->locals;
    while (l != NULL && l->slot != n->slot)
        l = l->outer;
    struct found f = l != NULL ? l->is : (struct found){0}, own = {.path = f.path};
    own.cost = fixed(1);
    own.has_entry = f.has_entry;
    own.container = f.container;
    own.key = f.key;
    own.value = f.value;
    /* Its place says more than what it was made of. */
    struct span ignored;
    if (!place_size(f.path, &ignored) && !is_scalar(n->type)) {
        own.has_size = f.has_size;
        own.size = f.size;
    }
    return own;
}

static struct found kind_cost(struct coster *c, const struct cel_node *n)
{
    switch (n->kind) {
    case NODE_LITERAL:
        return (struct found){.cost = fixed(n->value.kind == CEL_TYPE)};
    case NODE_VAR:
        return (struct found){.cost = fixed(1), .path = c->root};
    case NODE_LOCAL:
        return local_cost(c, n);
    case NODE_SELECT:
        return select_cost(c, n);
    case NODE_INDEX:
        return index_cost(c, n);
    case NODE_CALL:
        return call_cost(c, n);
    case NODE_AND:
    case NODE_OR:
        return logic_cost(c, n);
    case NODE_COND:
        return cond_cost(c, n);
    case NODE_LIST:
    case NODE_MAP:
    case NODE_OBJECT:
        return aggregate_cost(c, n);
    case NODE_FOLD:
        return fold_cost(c, n);
    case NODE_IDENT:
        break;
    }
    return (struct found){0};
}

/* Recursion follows the tree, whose depth the parser has bounded. */
static struct found cost(struct coster *c, const struct cel_node *n)
{
    struct found f = kind_cost(c, n);
    find_size(&f, n);
    return f;
}

uint64_t cel_program_cost(const struct cel_program *p, const struct cel_type *root)
{
    struct coster c = {.root = root};
    return cost(&c, p->root).cost.max;
}

/* policy_set.c - see policy_set.h. */
#include "apiserver/admission/policy_set.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#include <stdlib.h>

#define GROUP "admissionregistration.k8s.io"

enum source { VALIDATING, VALIDATING_BINDING, MUTATING, MUTATING_BINDING, HOOKS, MUTATING_HOOKS };
static const char *const source_names[] = {
    "validatingadmissionpolicies",     "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",       "mutatingadmissionpolicybindings",
    "validatingwebhookconfigurations", "mutatingwebhookconfigurations"};
enum { SOURCES = ARRAY_SIZE(source_names) };

struct policy_cache {
    struct server_thread *thread;
    const struct resource *resources[SOURCES];
    struct store_cursor *cursor; /* NULL: to be made. */
    int64_t checked_rev;         /* The set is as new as the store was then. */
    bool changed;                /* Something came since it was made. */
    struct policy_set *set;
};

/* --- items ------------------------------------------------------------------------------- */
static void item_unref(struct policy_item *i)
{
    if (--i->refs == 0)
        arena_free(i->arena);
}

static struct policy_program compile(struct policy_env *env, struct str text)
{
    struct policy_program p = {.text = text};
    if (text.len != 0)
        p.program = policy_compile(env, text, &p.error);
    return p;
}

static const struct policy_program *
compile_conditions(struct arena *a, struct policy_env *env,
                   const struct admissionregistration_v1_match_condition *c, size_t count)
{
    struct policy_program *p = ARENA_ARRAY(a, struct policy_program, count + 1);
    for (size_t i = 0; i < count; i++)
        p[i] = compile(env, c[i].expression);
    return p;
}

static struct policy_env *env_with(struct arena *a, const struct policy_env_config *config,
                                   const struct admissionregistration_v1_variable *v, size_t count)
{
    struct policy_env *env = policy_env_new(a, config);
    struct str why;
    for (size_t i = 0; i < count; i++)
        policy_add_variable(env, v[i].name, v[i].expression, &why);
    return env;
}

static void compile_validating(struct policy_item *item)
{
    const struct admissionregistration_v1_validating_admission_policy *p = item->obj;
    const struct policy_env_config config = {.params = p->spec.param_kind != NULL,
                                             .variables = true};
    struct arena *a = item->arena;
    struct policy_code *c = &item->code;
    size_t rules = p->spec.validations_count, notes = p->spec.audit_annotations_count;
    struct policy_program *r = ARENA_ARRAY(a, struct policy_program, 2 * rules + notes + 1);
    c->env = env_with(a, &config, p->spec.variables, p->spec.variables_count);
    c->conditions =
        compile_conditions(a, c->env, p->spec.match_conditions, p->spec.match_conditions_count);
    c->rules = r;
    c->messages = &r[rules];
    c->notes = &r[2 * rules];
    for (size_t i = 0; i < rules; i++) {
        r[i] = compile(c->env, p->spec.validations[i].expression);
        r[rules + i] = compile(c->env, p->spec.validations[i].message_expression);
    }
    for (size_t i = 0; i < notes; i++)
        r[2 * rules + i] = compile(c->env, p->spec.audit_annotations[i].value_expression);
}

static void compile_mutating(struct policy_item *item)
{
    const struct admissionregistration_v1_mutating_admission_policy *p = item->obj;
    const struct policy_env_config config = {
        .params = p->spec.param_kind != NULL, .variables = true, .objects = true};
    struct arena *a = item->arena;
    struct policy_code *c = &item->code;
    struct policy_program *r = ARENA_ARRAY(a, struct policy_program, p->spec.mutations_count + 1);
    c->env = env_with(a, &config, p->spec.variables, p->spec.variables_count);
    c->conditions =
        compile_conditions(a, c->env, p->spec.match_conditions, p->spec.match_conditions_count);
    c->rules = r;
    for (size_t i = 0; i < p->spec.mutations_count; i++) {
        const struct admissionregistration_v1_mutation *m = &p->spec.mutations[i];
        r[i] = compile(c->env, m->json_patch != NULL            ? m->json_patch->expression
                               : m->apply_configuration != NULL ? m->apply_configuration->expression
                                                                : STR_NULL);
    }
}

static void add_hook(struct policy_item *item, struct webhook_view v, struct str configuration)
{
    const struct policy_env_config plain = {0};
    struct policy_hook *h = &item->hooks[item->hook_count++];
    *h = (struct policy_hook){.view = v, .configuration = configuration};
    if (v.conditions_count == 0)
        return;
    h->env = policy_env_new(item->arena, &plain);
    h->conditions = compile_conditions(item->arena, h->env, v.conditions, v.conditions_count);
}

static void compile_hooks(struct policy_item *item)
{
    struct admissionregistration_v1_validating_webhook_configuration *c =
        (void *)(uintptr_t)item->obj;
    item->hooks = ARENA_ARRAY(item->arena, struct policy_hook, c->webhooks_count + 1);
    for (size_t i = 0; i < c->webhooks_count; i++)
        add_hook(item, WEBHOOK_VIEW(&c->webhooks[i]), c->metadata.name);
}

static void compile_mutating_hooks(struct policy_item *item)
{
    struct admissionregistration_v1_mutating_webhook_configuration *c =
        (void *)(uintptr_t)item->obj;
    item->hooks = ARENA_ARRAY(item->arena, struct policy_hook, c->webhooks_count + 1);
    for (size_t i = 0; i < c->webhooks_count; i++) {
        struct webhook_view v = WEBHOOK_VIEW(&c->webhooks[i]);
        v.has_reinvocation = &c->webhooks[i].has_reinvocation_policy;
        v.reinvocation_policy = &c->webhooks[i].reinvocation_policy;
        add_hook(item, v, c->metadata.name);
    }
}

/* NULL: it cannot be read, and so does not count. */
static struct policy_item *item_new(const struct policy_cache *c, unsigned source,
                                    const struct kv *kv)
{
    static void (*const compilers[SOURCES])(struct policy_item *
                                            item) = {[VALIDATING] = compile_validating,
                                                     [MUTATING] = compile_mutating,
                                                     [HOOKS] = compile_hooks,
                                                     [MUTATING_HOOKS] = compile_mutating_hooks};
    struct arena *a = arena_new(0);
    struct policy_item *item = ARENA_NEW(a, struct policy_item);
    struct error err = {0};
    void *obj;
    /* Strings of the object may point into the value's bytes. */
    if (stored_decode(a, c->resources[source], arena_str(a, stored_value(kv)), kv->mod_rev, &obj,
                      &err) != 0) {
        log_error("admission: " STR_FMT ": %s", STR_ARG(kv_key(kv)), error_message(&err));
        arena_free(a);
        return NULL;
    }
    *item = (struct policy_item){.refs = 1,
                                 .arena = a,
                                 .key = arena_str(a, kv_key(kv)),
                                 .mod_rev = kv->mod_rev,
                                 .source = source,
                                 .obj = obj};
    if (compilers[source] != NULL)
        compilers[source](item);
    return item;
}

/* --- sets ------------------------------------------------------------------------------------ */
static void set_unref(void *set)
{
    struct policy_set *s = set;
    if (s == NULL || --s->refs != 0)
        return;
    for (size_t i = 0; i < s->item_count; i++)
        item_unref(s->items[i]);
    arena_free(s->arena);
}

static struct str policy_name(const struct policy_item *binding)
{
    /* Bindings of both kinds begin alike. */
    static_assert(offsetof(struct admissionregistration_v1_validating_admission_policy_binding,
                           spec.policy_name) ==
                      offsetof(struct admissionregistration_v1_mutating_admission_policy_binding,
                               spec.policy_name),
                  "bindings differ");
    return ((const struct admissionregistration_v1_validating_admission_policy_binding *)
                binding->obj)
        ->spec.policy_name;
}

static struct str item_name(const struct policy_cache *c, const struct policy_item *i)
{
    return api_meta_of(c->resources[i->source]->storage, (void *)(uintptr_t)i->obj)->name;
}

/* The policies of a source with their bindings, in the order of names. */
static struct policy_bound *bind_policies(const struct policy_cache *c, struct policy_set *s,
                                          unsigned policies, unsigned bindings, size_t *ret_count)
{
    struct policy_bound *all = ARENA_ARRAY(s->arena, struct policy_bound, s->item_count + 1);
    *ret_count = 0;
    for (size_t i = 0; i < s->item_count; i++) {
        struct policy_bound *b = &all[*ret_count];
        size_t cap = 0;
        const struct policy_item **list = NULL;
        if (s->items[i]->source != policies)
            continue;
        *b = (struct policy_bound){.policy = s->items[i]};
        for (size_t k = 0; k < s->item_count; k++) {
            if (s->items[k]->source != bindings ||
                !str_eq(policy_name(s->items[k]), item_name(c, s->items[i])))
                continue;
            list = arena_grow(s->arena, (void *)list, b->binding_count, &cap, sizeof(*list));
            list[b->binding_count++] = s->items[k];
        }
        b->bindings = list;
        *ret_count += b->binding_count != 0;
    }
    return all;
}

static const struct policy_hook **list_hooks(struct policy_set *s, unsigned source,
                                             size_t *ret_count)
{
    size_t count = 0;
    for (size_t i = 0; i < s->item_count; i++)
        count += s->items[i]->source == source ? s->items[i]->hook_count : 0;
    const struct policy_hook **list = arena_alloc(s->arena, (count + 1) * sizeof(*list));
    *ret_count = 0;
    for (size_t i = 0; i < s->item_count; i++)
        for (size_t k = 0; s->items[i]->source == source && k < s->items[i]->hook_count; k++)
            list[(*ret_count)++] = &s->items[i]->hooks[k];
    return list;
}

static void set_index(const struct policy_cache *c, struct policy_set *s)
{
    s->validating = bind_policies(c, s, VALIDATING, VALIDATING_BINDING, &s->validating_count);
    s->mutating = bind_policies(c, s, MUTATING, MUTATING_BINDING, &s->mutating_count);
    s->validating_hooks = list_hooks(s, HOOKS, &s->validating_hook_count);
    s->mutating_hooks = list_hooks(s, MUTATING_HOOKS, &s->mutating_hook_count);
}

/* --- following the store -------------------------------------------------------------------------
 */
/* Walks the stored objects in the order of a set's items. */
struct walk {
    const struct policy_cache *cache;
    const struct store_view *view;
    struct store_iter iter;
    struct buf end;
    unsigned source;
    bool started;
};

static const struct kv *walk_next(struct walk *w)
{
    for (; w->source < SOURCES; w->source++, w->started = false) {
        struct str from = w->cache->resources[w->source]->prefix;
        if (!w->started) {
            buf_clear(&w->end);
            buf_append_str(&w->end, from);
            w->end.data[w->end.len - 1]++; /* '/' becomes '0'. */
            if (store_iter_init(&w->iter, w->view, from, buf_str(&w->end), 0) != 0)
                continue;
            w->started = true;
        }
        const struct kv *kv = store_iter_next(&w->iter);
        if (kv != NULL)
            return kv;
    }
    return NULL;
}

static bool is_item(const struct policy_item *i, unsigned source, const struct kv *kv)
{
    return i->source == source && i->mod_rev == kv->mod_rev && str_eq(i->key, kv_key(kv));
}

static bool unchanged(const struct policy_cache *c, const struct store_view *v)
{
    struct walk w = {.cache = c, .view = v, .end = BUF_INIT};
    const struct policy_set *s = c->set;
    const struct kv *kv;
    size_t n = 0;
    bool same = true;
    while (same && (kv = walk_next(&w)) != NULL) {
        same = n < s->item_count && is_item(s->items[n], w.source, kv);
        n++;
    }
    buf_done(&w.end);
    return same && n == s->item_count;
}

/* What an item stands behind: the order of walks. */
static bool before(const struct policy_item *i, unsigned source, struct str key)
{
    return i->source != source ? i->source < source : str_cmp(i->key, key) < 0;
}

static struct policy_set *set_new(const struct policy_cache *c, const struct store_view *v)
{
    struct arena *a = arena_new(0);
    struct policy_set *s = ARENA_NEW(a, struct policy_set);
    const struct policy_set *old = c->set;
    struct walk w = {.cache = c, .view = v, .end = BUF_INIT};
    const struct kv *kv;
    size_t cap = 0, at = 0;
    s->refs = 1;
    s->arena = a;
    while ((kv = walk_next(&w)) != NULL) {
        while (at < old->item_count && before(old->items[at], w.source, kv_key(kv)))
            at++;
        struct policy_item *item;
        if (at < old->item_count && is_item(old->items[at], w.source, kv)) {
            item = old->items[at];
            item->refs++;
        } else {
            item = item_new(c, w.source, kv);
        }
        if (item == NULL)
            continue;
        s->items = arena_grow(a, s->items, s->item_count, &cap, sizeof(*s->items));
        s->items[s->item_count++] = item;
    }
    buf_done(&w.end);
    set_index(c, s);
    return s;
}

/* Never told: the events are read when a write asks. */
static int open_cursor(struct policy_cache *c, int64_t rev)
{
    struct error err = {0};
    store_cursor_free(c->cursor);
    c->cursor = NULL;
    return store_cursor_new(c->thread->server->store, rev, &c->thread->mailbox, NULL, NULL,
                            &c->cursor, &err);
}

/* Follows from the newest view on. */
static void look_anew(struct policy_cache *c)
{
    struct store_view *v = store_view(c->thread->server->store);
    int64_t rev = store_view_rev(v);
    if (!unchanged(c, v)) {
        struct policy_set *old = c->set;
        c->set = set_new(c, v);
        set_unref(old);
    }
    c->changed = false;
    c->checked_rev = rev;
    /* Without one every write looks anew. */
    if (c->cursor == NULL)
        (void)open_cursor(c, rev);
    store_view_unref(v);
}

static bool concerns(const struct policy_cache *c, struct str key)
{
    for (size_t i = 0; i < SOURCES; i++)
        if (str_has_prefix(key, c->resources[i]->prefix))
            return true;
    return false;
}

static void read_events(struct policy_cache *c)
{
    const struct event_batch *b;
    bool lost = false;
    while (c->cursor != NULL && (b = store_cursor_next(c->cursor, &lost)) != NULL)
        for (uint32_t i = 0; i < b->count && !c->changed; i++)
            c->changed = concerns(c, kv_key(b->events[i].kv));
    if (lost) {
        store_cursor_free(c->cursor);
        c->cursor = NULL;
        c->changed = true;
    } else if (c->cursor != NULL && !c->changed) {
        c->checked_rev = MAX_OF(c->checked_rev, store_cursor_rev(c->cursor));
    }
}

const struct policy_set *policy_set_of(const struct kind_ctx *ctx)
{
    static const struct policy_set none;
    struct policy_cache *c = ctx->policies;
    if (c == NULL || ctx->view == NULL)
        return &none;
    int64_t rev = store_view_rev(ctx->view);
    if (c->checked_rev < rev || c->changed)
        read_events(c);
    /* A view is seen a moment before its events are. */
    if (c->checked_rev < rev || c->changed)
        look_anew(c);
    if (c->set->item_count == 0)
        return &none;
    c->set->refs++;
    arena_hold(ctx->arena, c->set, set_unref);
    return c->set;
}

struct policy_cache *policy_cache_new(struct server_thread *t)
{
    struct policy_cache *c = xzalloc(sizeof(*c));
    struct arena *a = arena_new(64);
    c->thread = t;
    c->checked_rev = -1;
    for (size_t i = 0; i < SOURCES; i++)
        c->resources[i] = registry_storage(STR(GROUP), str_of(source_names[i]));
    c->set = ARENA_NEW(a, struct policy_set);
    c->set->refs = 1;
    c->set->arena = a;
    return c;
}

void policy_cache_free(struct policy_cache *c)
{
    if (c == NULL)
        return;
    store_cursor_free(c->cursor);
    set_unref(c->set);
    free(c);
}

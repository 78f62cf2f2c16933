/* webhook.c - when webhooks are asked, and the write that waits for them; see webhook.h. */
#include "apiserver/admission/webhook.h"

#include "apiserver/admission/plugins.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/admission/policy_set.h"
#include "apiserver/admission/webhook_review.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom/conversion.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/net/bytes.h"

struct meta_v1_status webhook_wait;

struct hooks {
    const struct policy_hook *const *items; /* Held by the arena. */
    size_t count;
    bool listed;
};

struct webhook_state {
    struct arena *arena;
    struct str old_version; /* Of the object that is written over: what all this is about. */

    /* Mutating webhooks, one after the other. */
    struct hooks mutating;
    size_t next, changed_by; /* changed_by: one behind the last that changed the object. */
    bool *asked_once;
    bool again;                     /* Once more for those that want it. */
    struct webhook_review *current; /* Asked; answered when an attempt finds it. */
    void *object;                   /* As they left it so far; NULL: none was asked. */
    struct meta_v1_status *refused; /* By one of them. */

    /* Validating webhooks, all at once. */
    struct hooks validating;
    struct webhook_review **reviews;
    size_t review_count;
    bool asked;

    /* To be started, and running. */
    struct webhook_review **calls;
    size_t call_count, running;
    void (*resume)(void *arg);
    void *arg;
};

struct webhook_state *webhook_state_new(struct arena *a)
{
    struct webhook_state *s = ARENA_NEW(a, struct webhook_state);
    s->arena = a;
    return s;
}

/* --- calls --------------------------------------------------------------------------------- */
static void on_answer(void *arg)
{
    struct webhook_state *s = arg;
    if (--s->running == 0)
        s->resume(s->arg);
}

void webhook_start(struct webhook_state *s, struct server_thread *t, void (*resume)(void *arg),
                   void *arg)
{
    s->resume = resume;
    s->arg = arg;
    s->running = s->call_count;
    for (size_t i = 0; i < s->call_count; i++) {
        struct webhook_review *r = s->calls[i];
        webhook_post(t->webhooks, s->arena, &r->target, net_bytes_copy(r->body.data, r->body.len),
                     r->timeout_ms, &r->answer, on_answer, s);
    }
    s->call_count = 0;
}

/* Those that cannot even be asked are answered by what is wrong. */
static struct meta_v1_status *wait_for(struct webhook_state *s, struct webhook_review **reviews,
                                       size_t count)
{
    s->calls = ARENA_ARRAY(s->arena, struct webhook_review *, count);
    s->call_count = 0;
    for (size_t i = 0; i < count; i++)
        if (reviews[i]->problem.len == 0)
            s->calls[s->call_count++] = reviews[i];
    return s->call_count != 0 ? &webhook_wait : NULL;
}

/* --- which webhooks there are ------------------------------------------------------------------
 */
static void list_mutating(const struct kind_ctx *ctx, struct hooks *h)
{
    const struct policy_set *set = policy_set_of(ctx);
    *h = (struct hooks){set->mutating_hooks, set->mutating_hook_count, true};
}

static void list_validating(const struct kind_ctx *ctx, struct hooks *h)
{
    const struct policy_set *set = policy_set_of(ctx);
    *h = (struct hooks){set->validating_hooks, set->validating_hook_count, true};
}

/* The state for this write, or NULL when nothing may wait. What was answered
 * about another object that was to be written over is forgotten. */
static struct webhook_state *state_of(const struct admission *adm)
{
    struct webhook_state *s = adm->ctx->webhooks;
    if (s == NULL || policy_exempt(adm))
        return NULL;
    struct str version = adm->old != NULL
                             ? api_meta_of(adm->kind != NULL ? adm->kind : adm->res->storage,
                                           (void *)(uintptr_t)adm->old)
                                   ->resource_version
                             : STR_NULL;
    if (!str_eq(version, s->old_version))
        *s = (struct webhook_state){.arena = s->arena, .old_version = version};
    return s;
}

static const struct api_msg *msg_of(const struct admission *adm)
{
    return adm->kind != NULL ? adm->kind->msg : adm->res->storage->msg;
}

/* --- mutating
 * ------------------------------------------------------------------------------------- */
static bool wants_again(const struct webhook_state *s, size_t i)
{
    const struct webhook_view *h = &s->mutating.items[i]->view;
    return s->asked_once[i] && i + 1 < s->changed_by && *h->has_reinvocation &&
           str_eqc(*h->reinvocation_policy, "IfNeeded");
}

/* Takes the answer of the current one into the object. */
static struct meta_v1_status *take_answer(const struct admission *adm, struct webhook_state *s)
{
    struct webhook_review *r = s->current;
    struct json *patched;
    s->current = NULL;
    struct meta_v1_status *refused = webhook_judge(adm, r, &patched);
    if (refused == NULL && patched != NULL) {
        refused = policy_replace_object(adm, r->as, patched);
        s->object = api_msg_clone(s->arena, msg_of(adm), adm->obj);
        s->changed_by = MAX_OF(s->changed_by, s->next + 1);
    }
    s->next++;
    return refused;
}

static struct meta_v1_status *ask_next(const struct admission *adm, struct webhook_state *s)
{
    if (s->again && !wants_again(s, s->next)) {
        s->next++;
        return NULL;
    }
    const struct webhook_asking how = {
        .hook = s->mutating.items[s->next], .type = "admit", .round = s->again, .index = s->next};
    struct meta_v1_status *refused = webhook_ask(adm, &how, &s->current);
    if (refused == &webhook_wait)
        return refused;
    if (s->current == NULL) {
        s->next++;
        return refused;
    }
    s->object = api_msg_clone(s->arena, adm->res->storage->msg, adm->obj);
    if (conversions_pending()) {
        s->current = NULL; /* The object is yet to be what the webhook shall see. */
        return &webhook_wait;
    }
    s->asked_once[s->next] = true;
    return wait_for(s, &s->current, 1);
}

/* The plugins before the webhooks look at what these made of the object. What
 * they change in turn is news for every webhook. */
static struct meta_v1_status *run_others_again(const struct admission *adm, struct webhook_state *s)
{
    const struct api_msg *msg = msg_of(adm);
    const void *before = api_msg_clone(s->arena, msg, adm->obj);
    struct meta_v1_status *refused = admission_mutate_again(adm);
    if (refused == NULL && !api_msg_equal(msg, before, adm->obj)) {
        s->changed_by = s->mutating.count + 1;
        s->object = api_msg_clone(s->arena, msg, adm->obj);
    }
    return refused;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    struct webhook_state *s = state_of(adm);
    if (s == NULL || adm->obj == NULL)
        return NULL;
    if (conversions_pending())
        return &webhook_wait;
    if (!s->mutating.listed) {
        list_mutating(adm->ctx, &s->mutating);
        s->asked_once = ARENA_ARRAY(s->arena, bool, s->mutating.count + 1);
    }
    if (s->object != NULL) {
        const struct api_msg *msg = msg_of(adm);
        memcpy(adm->obj, api_msg_clone(s->arena, msg, s->object), msg->size);
    }
    while (s->refused == NULL) {
        if (s->next == s->mutating.count) {
            if (s->again || s->changed_by == 0)
                break;
            struct meta_v1_status *others = run_others_again(adm, s);
            if (others == &webhook_wait) /* They have questions of their own. */
                return others;
            s->again = true;
            s->next = 0;
            s->refused = others;
            continue;
        }
        struct meta_v1_status *r = s->current != NULL ? take_answer(adm, s) : ask_next(adm, s);
        if (r == &webhook_wait)
            return r;
        s->refused = r;
    }
    return s->refused;
}

const struct admission_plugin admission_mutating_webhook = {
    .name = "MutatingAdmissionWebhook",
    .ops = ADMIT_WRITES | ADMIT_BIT(ADMIT_CONNECT),
    .mutate = mutate,
};

/* --- validating
 * -------------------------------------------------------------------------------------- */
static struct meta_v1_status *ask_each(const struct admission *adm, struct webhook_state *s,
                                       const struct hooks *h, const char *type)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct webhook_asking how = {.hook = h->items[i], .type = type, .index = i};
        struct webhook_review *r;
        struct meta_v1_status *refused = webhook_ask(adm, &how, &r);
        if (refused != NULL)
            return refused;
        if (r != NULL)
            s->reviews[s->review_count++] = r;
    }
    return NULL;
}

static struct meta_v1_status *ask_all(const struct admission *adm, struct webhook_state *s)
{
    struct hooks mutating = {0}, validating;
    /* Mutating ones are asked about deletions too, where nothing can be changed. */
    if (adm->op == ADMIT_DELETE)
        list_mutating(adm->ctx, &mutating);
    list_validating(adm->ctx, &validating);
    s->asked = true;
    if (mutating.count + validating.count == 0)
        return NULL;
    s->reviews = ARENA_ARRAY(s->arena, struct webhook_review *, mutating.count + validating.count);
    s->refused = ask_each(adm, s, &mutating, "admit");
    if (s->refused == NULL)
        s->refused = ask_each(adm, s, &validating, "validating");
    if (s->refused == &webhook_wait) { /* Whom to ask is not known yet: from the start. */
        s->asked = false;
        s->refused = NULL;
        s->review_count = 0;
        return &webhook_wait;
    }
    return s->refused != NULL ? s->refused : wait_for(s, s->reviews, s->review_count);
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct webhook_state *s = state_of(adm);
    struct json *patched;
    if (s == NULL)
        return NULL;
    struct meta_v1_status *r = s->refused;
    if (r == NULL && !s->asked)
        r = ask_all(adm, s);
    for (size_t i = 0; i < s->review_count && r == NULL; i++)
        r = webhook_judge(adm, s->reviews[i], &patched);
    return r;
}

const struct admission_plugin admission_validating_webhook = {
    .name = "ValidatingAdmissionWebhook",
    .validate = validate,
};

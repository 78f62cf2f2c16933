/* consult_preempt.c - when no node is left that fits and extenders passed: preemption's node and
 * victims -> each extender's word on them -> evict, or the next best node. */
#include "scheduler/consult_internal.h"

#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/extender_wire.h"

#define REJECTIONS_MAX 16 /* Nodes that extenders may turn down. */

static void ask_next_preemption(struct consult *x);

/* Nodes that extenders turned down are no candidates any more, for the same reasons as before. */
static void reject(const struct consult *x, struct cycle *c)
{
    uint32_t *marks = ARENA_ARRAY(c->arena, uint32_t, c->snapshot->node_count + 1);
    memcpy(marks, c->node_refusals, c->snapshot->node_count * sizeof(*marks));
    for (size_t i = 0; i < x->rejected_count; i++) {
        const struct node_info *n = snapshot_node(c->snapshot, x->rejected[i]);
        if (n == NULL)
            continue;
        struct refusal r = c->refusals.items[marks[n->index]];
        r.verdict = UNRESOLVABLE;
        if (marks[n->index] != REFUSAL_NONE)
            consult_mark(c, marks, n->index, &r);
    }
    c->node_refusals = marks;
}

static bool is_asked_about_victims(const struct consult *x)
{
    size_t pos = 0;
    for (const struct extender_config *e;
         (e = extenders_next(x->scheduler->extenders, consult_pod(x), &pos)) != NULL;)
        if (e->preempt != NULL)
            return true;
    return false;
}

static void propose(struct consult *x, const struct preemption *pre)
{
    x->victim_node = arena_strc(x->arena, pre->node->name);
    x->victims = ARENA_ARRAY(x->arena, struct str, pre->victim_count + 1);
    x->victim_count = pre->victim_count;
    x->violations = pre->violations;
    for (size_t i = 0; i < pre->victim_count; i++)
        x->victims[i] = arena_str(x->arena, api_object_meta(pre->victims[i])->uid);
    x->pos = 0;
    ask_next_preemption(x);
}

void consult_refuse(struct consult *x, struct look *l)
{
    struct preemption pre = {0};
    if (l->cycle.pod_refusal.verdict == FIT)
        reject(x, &l->cycle);
    if (x->rejected_count < REJECTIONS_MAX)
        scheduler_preempt(x->scheduler, &l->cycle, &pre);
    if (pre.node != NULL && is_asked_about_victims(x)) {
        propose(x, &pre);
        consult_look_end(x, l);
        return;
    }
    scheduler_refuse(x->scheduler, &l->cycle, x->pod, &pre);
    consult_look_end(x, l);
    consult_end(x);
}

/* In the scheduler's arena; NULL: one of them is not there any more. */
static struct api_object **find_victims(const struct consult *x, const struct node_info *n)
{
    struct api_object **found =
        ARENA_ARRAY(x->scheduler->arena, struct api_object *, x->victim_count + 1);
    for (size_t i = 0; i < x->victim_count; i++) {
        const struct pod_info *v = map_get(&x->scheduler->snapshot.pods, x->victims[i]);
        if (v == NULL || v->node != n)
            return NULL;
        found[i] = pod_info_object(v, x->scheduler->arena);
    }
    return found;
}

/* All extenders agree. */
static void carry_out(struct consult *x)
{
    struct look l;
    struct preemption pre = {.victim_count = x->victim_count, .violations = x->violations};
    consult_look_begin(x, &l, true);
    if (l.cycle.pod_refusal.verdict == FIT)
        consult_keep_passed(x, &l.cycle);
    pre.node = snapshot_node(&x->scheduler->snapshot, x->victim_node);
    pre.victims = pre.node != NULL ? find_victims(x, pre.node) : NULL;
    if (pre.victims == NULL) /* The cluster went on: it is decided anew when that is seen. */
        pre = (struct preemption){0};
    scheduler_refuse(x->scheduler, &l.cycle, x->pod, &pre);
    consult_look_end(x, &l);
    consult_end(x);
}

static void turn_down(struct consult *x)
{
    x->rejected = arena_grow(x->arena, x->rejected, x->rejected_count, &x->rejected_cap,
                             sizeof(*x->rejected));
    x->rejected[x->rejected_count++] = x->victim_node;
    consult_decide(x);
}

static void on_judged(const struct error *err, struct str body, void *arg)
{
    struct consult *x = arg;
    struct error own = {0};
    const struct str *uids;
    size_t count;
    bool accepted = true;
    x->call = NULL;
    if (consult_is_over(x))
        return;
    if (err == NULL && extender_read_preemption(x->arena, arena_str(x->arena, body), x->victim_node,
                                                &accepted, &uids, &count, &own) != 0)
        err = &own;
    if (err != NULL && !x->current->ignorable) {
        consult_fail(x, error_message(err));
    } else if (err != NULL) {
        log_warning("extender %s is ignored: %s", x->current->url, error_message(err));
        ask_next_preemption(x);
    } else if (!accepted) {
        turn_down(x);
    } else {
        x->victims = ARENA_ARRAY(x->arena, struct str, count + 1);
        x->victim_count = count;
        for (size_t i = 0; i < count; i++)
            x->victims[i] = uids[i];
        ask_next_preemption(x);
    }
}

static void ask_next_preemption(struct consult *x)
{
    struct scheduler *s = x->scheduler;
    do
        x->current = extenders_next(s->extenders, consult_pod(x), &x->pos);
    while (x->current != NULL && x->current->preempt == NULL);
    if (x->current == NULL) {
        carry_out(x);
        return;
    }
    const struct node_info *n = snapshot_node(&s->snapshot, x->victim_node);
    struct api_object **pods = n != NULL ? find_victims(x, n) : NULL;
    if (pods == NULL) {
        turn_down(x);
        return;
    }
    AUTO_BUF body = BUF_INIT;
    const struct extender_victims v = {x->victim_node, pods, x->victim_count, x->violations};
    extender_write_preemption(consult_pod(x), &v, x->current->node_cache_capable, &body);
    x->call =
        extender_post(s->extenders, x->current, x->current->preempt, buf_str(&body), on_judged, x);
}

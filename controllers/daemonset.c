/* daemonset.c - one pod on every node that fits. The pod names its node by
 * affinity and the scheduler binds it; it tolerates what a node's trouble adds,
 * so that the node's own services outlive it. */
#include "controllers/history.h"
#include "controllers/owned.h"
#include "controllers/pods.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/client/labels.h"
#include "lib/client/placement.h"

#define BURST_MAX 250

static const struct meta_v1_label_selector *selector_of(struct arena *a, const void *msg)
{
    UNUSED(a);
    return ((const struct apps_v1_daemon_set *)msg)->spec.selector;
}

static const struct owned_config owned = {
    .group = "apps", .kind = "DaemonSet", .selector = selector_of};

static void touch_set(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    owned_touch_pod(r, &owned, old, o);
}

static void touch_revision(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_owner(r, o != NULL ? o : old, "DaemonSet");
}

static bool same_for_placement(const struct core_v1_node *x, const struct core_v1_node *y)
{
    bool same = x->metadata.labels_count == y->metadata.labels_count &&
                labels_contain(x->metadata.labels, x->metadata.labels_count, y->metadata.labels,
                               y->metadata.labels_count);
    return same && api_msg_equal(&core_v1_node_spec_msg, &x->spec, &y->spec);
}

static void touch_node(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old != NULL && o != NULL && same_for_placement(old->msg, o->msg))
        return;
    const struct informer *sets = controller_informer(r, "apps", "DaemonSet");
    size_t pos = 0;
    struct api_object *set;
    while ((set = informer_next(sets, &pos)) != NULL)
        controller_enqueue_object(r, set);
}

/* --- nodes and pods ------------------------------------------------------------------------ */

struct on_node {
    struct api_object *node;
    struct core_v1_pod **pods; /* Grows in the arena. */
    size_t count, cap;
    bool should_run, may_stay;
};

struct work {
    struct api_object *object;
    const struct apps_v1_daemon_set *set;
    struct core_v1_pod_template_spec *template; /* With what daemons tolerate. */
    struct history history;
    struct str hash; /* Of the present template. */
    struct on_node *nodes;
    size_t node_count;
    struct core_v1_pod **strays; /* On nodes that are gone. */
    size_t stray_count;
    size_t pod_count;
};

static const struct {
    const char *key, *effect;
    bool host_network_only;
} daemon_tolerations[] = {
    {"node.kubernetes.io/not-ready", "NoExecute", false},
    {"node.kubernetes.io/unreachable", "NoExecute", false},
    {"node.kubernetes.io/disk-pressure", "NoSchedule", false},
    {"node.kubernetes.io/memory-pressure", "NoSchedule", false},
    {"node.kubernetes.io/pid-pressure", "NoSchedule", false},
    {"node.kubernetes.io/unschedulable", "NoSchedule", false},
    {"node.kubernetes.io/network-unavailable", "NoSchedule", true},
};

static void add_tolerations(struct arena *a, struct core_v1_pod_spec *spec)
{
    size_t n = spec->tolerations_count;
    struct core_v1_toleration *list =
        ARENA_ARRAY(a, struct core_v1_toleration, n + ARRAY_SIZE(daemon_tolerations));
    if (n != 0)
        memcpy(list, spec->tolerations, n * sizeof(*list));
    for (size_t i = 0; i < ARRAY_SIZE(daemon_tolerations); i++) {
        if (daemon_tolerations[i].host_network_only && !spec->host_network)
            continue;
        struct core_v1_toleration t = {.key = str_of(daemon_tolerations[i].key),
                                       .operator= STR("Exists"),
                                       .effect = str_of(daemon_tolerations[i].effect)};
        bool there = false;
        for (size_t k = 0; k < n; k++)
            there |= api_msg_equal(&core_v1_toleration_msg, &list[k], &t);
        if (!there)
            list[n++] = t;
    }
    spec->tolerations = list;
    spec->tolerations_count = n;
}

/* The node a pod is on, or is meant for. */
static struct str node_of(const struct core_v1_pod *p)
{
    if (!str_empty(p->spec.node_name))
        return p->spec.node_name;
    const struct core_v1_affinity *a = p->spec.affinity;
    const struct core_v1_node_selector *s =
        a != NULL && a->node_affinity != NULL
            ? a->node_affinity->required_during_scheduling_ignored_during_execution
            : NULL;
    for (size_t i = 0; s != NULL && i < s->node_selector_terms_count; i++)
        for (size_t k = 0; k < s->node_selector_terms[i].match_fields_count; k++) {
            const struct core_v1_node_selector_requirement *r =
                &s->node_selector_terms[i].match_fields[k];
            if (str_eqc(r->key, "metadata.name") && r->values_count == 1)
                return r->values[0];
        }
    return STR_NULL;
}

static void judge_node(const struct core_v1_pod_spec *spec, struct on_node *n)
{
    const struct core_v1_node *node = n->node->msg;
    bool fits = (str_empty(spec->node_name) || str_eq(spec->node_name, node->metadata.name)) &&
                pod_matches_node_affinity(spec, node);
    n->should_run = n->may_stay = fits;
    for (size_t i = 0; fits && i < node->spec.taints_count; i++) {
        const struct core_v1_taint *t = &node->spec.taints[i];
        if (str_eqc(t->effect, "PreferNoSchedule") || spec_tolerates(spec, t))
            continue;
        n->should_run = false;
        n->may_stay &= !str_eqc(t->effect, "NoExecute");
    }
}

static void gather_nodes(struct reconcile *c, struct work *w, struct owned_pods *pods)
{
    const struct informer *nodes = controller_informer(c->run, "", "Node");
    struct map by_name;
    size_t pos = 0;
    struct api_object *o;
    map_init(&by_name);
    w->nodes = ARENA_ARRAY(c->arena, struct on_node, informer_count(nodes) + 1);
    while ((o = informer_next(nodes, &pos)) != NULL) {
        struct on_node *n = &w->nodes[w->node_count++];
        n->node = reconcile_hold(c, o);
        judge_node(&w->template->spec, n);
        map_set(&by_name, api_object_meta(o)->name, n);
    }
    w->strays = ARENA_ARRAY(c->arena, struct core_v1_pod *, pods->count + 1);
    w->pod_count = pods->count;
    for (size_t i = 0; i < pods->count; i++) {
        struct core_v1_pod *p = owned_pod(pods->items[i]);
        struct on_node *n = map_get(&by_name, node_of(p));
        if (n == NULL) {
            w->strays[w->stray_count++] = p;
            continue;
        }
        n->pods = arena_grow(c->arena, n->pods, n->count, &n->cap, sizeof(struct core_v1_pod *));
        n->pods[n->count++] = p;
    }
    map_done(&by_name);
}

static bool is_updated(const struct work *w, const struct core_v1_pod *p)
{
    const struct str *hash = label_get(&p->metadata, LABEL_REVISION_HASH);
    return hash != NULL && str_eq(*hash, w->hash);
}

/* Of several pods on a node the oldest stays. */
static struct core_v1_pod *oldest(const struct on_node *n)
{
    struct core_v1_pod *best = NULL;
    for (size_t i = 0; i < n->count; i++) {
        struct core_v1_pod *p = n->pods[i];
        if (pod_is_going(p) || pod_is_terminal(p))
            continue;
        if (best == NULL ||
            p->metadata.creation_timestamp.seconds < best->metadata.creation_timestamp.seconds)
            best = p;
    }
    return best;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    UNUSED(arg);
    if (result->code == 0 && result->object != NULL) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulCreate",
                     "Created pod: " STR_FMT, STR_ARG(api_object_meta(result->object)->name));
        return;
    }
    owned_creation_failed(c, result);
    if (is_namespace_terminating(result))
        return;
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedCreate", "Error creating: %s",
                 result->message);
    reconcile_fail(c);
}

static void bind_to_node(struct arena *a, struct core_v1_pod *pod, struct str node)
{
    struct core_v1_affinity *affinity = ARENA_NEW(a, struct core_v1_affinity);
    if (pod->spec.affinity != NULL)
        *affinity = *pod->spec.affinity;
    struct core_v1_node_affinity *na = ARENA_NEW(a, struct core_v1_node_affinity);
    if (affinity->node_affinity != NULL)
        *na = *affinity->node_affinity;
    struct core_v1_node_selector *s = ARENA_NEW(a, struct core_v1_node_selector);
    struct core_v1_node_selector_requirement *r =
        ARENA_NEW(a, struct core_v1_node_selector_requirement);
    struct str *value = ARENA_NEW(a, struct str);
    *value = node;
    *r = (struct core_v1_node_selector_requirement){
        .key = STR("metadata.name"), .operator= STR("In"), .values = value, .values_count = 1};
    s->node_selector_terms = ARENA_NEW(a, struct core_v1_node_selector_term);
    s->node_selector_terms_count = 1;
    s->node_selector_terms->match_fields = r;
    s->node_selector_terms->match_fields_count = 1;
    na->required_during_scheduling_ignored_during_execution = s;
    affinity->node_affinity = na;
    pod->spec.affinity = affinity;
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static void create_pod(struct reconcile *c, const struct work *w, struct str node)
{
    struct meta_v1_owner_reference owner;
    struct core_v1_pod pod;
    owner_reference_to(w->object->kind, &w->set->metadata, &owner);
    pod_from_template(c->arena, w->template, c->namespace_name, c->name, &owner, &pod);
    size_t n = pod.metadata.labels_count;
    struct api_str_entry *labels = ARENA_ARRAY(c->arena, struct api_str_entry, n + 2);
    if (n != 0)
        memcpy(labels, pod.metadata.labels, n * sizeof(*labels));
    labels[n++] = (struct api_str_entry){STR(LABEL_REVISION_HASH), w->hash};
    labels[n++] = (struct api_str_entry){
        STR("pod-template-generation"),
        arena_printf(c->arena, "%lld", (long long)w->set->metadata.generation)};
    qsort(labels, n, sizeof(*labels), by_key);
    pod.metadata.labels = labels;
    pod.metadata.labels_count = n;
    bind_to_node(c->arena, &pod, node);
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = c->namespace_name,
        .body = &pod,
    };
    reconcile_call(c, &call, on_created, NULL);
}

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    const struct core_v1_pod *pod = arg;
    struct event_object about = event_object_of(w->object);
    if (result->code == 0) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulDelete",
                     "Deleted pod: " STR_FMT, STR_ARG(pod->metadata.name));
        return;
    }
    owned_deletion_failed(c, result, pod->metadata.uid);
    if (result->code != E_NOT_FOUND)
        reconcile_fail(c);
}

static void delete_pod(struct reconcile *c, struct core_v1_pod *pod)
{
    if (pod_is_going(pod))
        return;
    expectations_expect_deletion(c->run->expectations, c->key, pod->metadata.uid);
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = pod->metadata.namespace,
        .name = pod->metadata.name,
        .uid_precondition = pod->metadata.uid,
    };
    reconcile_call(c, &call, on_deleted, pod);
}

/* --- one pod per node ----------------------------------------------------------------------------
 */

/* A pod that keeps failing on a node is replaced ever later. */
struct backoff {
    uint64_t delay_ms, last_ms;
};

#define FAILED_DELAY_MS 1000
#define FAILED_DELAY_MAX_MS (15 * 60 * 1000)

static void init(struct controller_run *r)
{
    struct map *failed = r->state = xzalloc(sizeof(*failed));
    map_init(failed);
}

static void done(struct controller_run *r)
{
    struct map *failed = r->state;
    void *x;
    for (size_t at = 0; map_next(failed, &at, NULL, &x);)
        free(x);
    map_done(failed);
    free(failed);
}

/* Old entries are dropped by the way, when there are many. */
static void forget_backoffs(struct map *failed, uint64_t now_ms)
{
    struct str key;
    void *value;
    if (failed->count < 1000)
        return;
    for (size_t at = 0; map_next(failed, &at, &key, &value);) {
        const struct backoff *x = value;
        if (now_ms - x->last_ms > 2 * FAILED_DELAY_MAX_MS)
            free(map_remove(failed, key));
    }
}

/* 0: the failed pod may go now, which counts as another failure; else how long to wait. */
static uint64_t failed_wait_ms(struct reconcile *c, const struct work *w, struct str node)
{
    struct map *failed = c->run->state;
    uint64_t now_ms = env_now_ms(c->run->env);
    struct str key = arena_printf(c->arena, STR_FMT "/%lld/" STR_FMT, STR_ARG(w->set->metadata.uid),
                                  (long long)w->set->status.observed_generation, STR_ARG(node));
    struct backoff *x = map_get(failed, key);
    if (x != NULL && now_ms < x->last_ms + x->delay_ms)
        return x->last_ms + x->delay_ms - now_ms;
    if (x == NULL || now_ms - x->last_ms > 2 * FAILED_DELAY_MAX_MS) {
        forget_backoffs(failed, now_ms);
        x = x != NULL ? x : xzalloc(sizeof(*x));
        x->delay_ms = FAILED_DELAY_MS;
        map_set(failed, key, x);
    } else {
        x->delay_ms = MIN_OF(x->delay_ms * 2, (uint64_t)FAILED_DELAY_MAX_MS);
    }
    x->last_ms = now_ms;
    return 0;
}

struct changes {
    struct str *create; /* Node names. */
    struct core_v1_pod **remove;
    size_t create_count, remove_count;
};

static void add_removal(struct changes *ch, struct core_v1_pod *p)
{
    for (size_t i = 0; i < ch->remove_count; i++)
        if (ch->remove[i] == p)
            return;
    ch->remove[ch->remove_count++] = p;
}

static void manage_node(struct reconcile *c, const struct work *w, struct on_node *n,
                        struct changes *ch, bool surging)
{
    size_t live = 0;
    for (size_t i = 0; i < n->count; i++) {
        struct core_v1_pod *p = n->pods[i];
        if (str_eqc(p->status.phase, "Failed") && !pod_is_going(p)) {
            uint64_t wait_ms = failed_wait_ms(c, w, api_object_meta(n->node)->name);
            if (wait_ms != 0) {
                reconcile_again_after(c, wait_ms);
                live++; /* Its place is taken until then. */
                continue;
            }
            struct event_object about = event_object_of(w->object);
            event_record(c->run->recorder, &about, EVENT_WARNING, "FailedDaemonPod",
                         "Found failed daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT
                         ", will try to kill it",
                         STR_ARG(p->metadata.namespace), STR_ARG(p->metadata.name),
                         STR_ARG(api_object_meta(n->node)->name));
            add_removal(ch, p);
        } else if (str_eqc(p->status.phase, "Succeeded") && !pod_is_going(p)) {
            add_removal(ch, p);
        } else if (!pod_is_terminal(p)) {
            live += 1; /* Those on their way out count: no two at a time. */
        }
    }
    if (!n->may_stay) {
        for (size_t i = 0; i < n->count; i++)
            add_removal(ch, n->pods[i]);
    } else if (n->should_run && live == 0) {
        ch->create[ch->create_count++] = api_object_meta(n->node)->name;
    } else if (!surging && live > 1) {
        struct core_v1_pod *keep = oldest(n);
        for (size_t i = 0; i < n->count; i++)
            if (n->pods[i] != keep && keep != NULL)
                add_removal(ch, n->pods[i]);
    }
}

/* --- rolling update
 * -------------------------------------------------------------------------------- */

static int32_t resolve(const struct intstr_int_or_string *v, int32_t fallback, size_t total,
                       bool up)
{
    int64_t percent;
    if (v == NULL)
        return fallback;
    if (v->type == 0)
        return v->int_val;
    struct str text = v->str_val;
    if (!str_has_suffix(text, STR("%")) || !str_to_i64(str_sub(text, 0, text.len - 1), &percent))
        return fallback;
    int64_t scaled = (int64_t)total * percent;
    return (int32_t)(up ? (scaled + 99) / 100 : scaled / 100);
}

static bool is_available(const struct reconcile *c, const struct work *w,
                         const struct core_v1_pod *p)
{
    return pod_is_available(p, w->set->spec.min_ready_seconds, controller_now_s(c->run));
}

struct rollout {
    int32_t unavailable_max, surge_max;
    bool rolling;
};

static struct rollout rollout_of(const struct work *w)
{
    size_t desired = 0;
    for (size_t i = 0; i < w->node_count; i++)
        desired += w->nodes[i].should_run;
    const struct apps_v1_daemon_set_update_strategy *s = &w->set->spec.update_strategy;
    const struct apps_v1_rolling_update_daemon_set *r = s->rolling_update;
    struct rollout ret = {.rolling = !str_eqc(s->type, "OnDelete")};
    ret.surge_max = r != NULL ? resolve(r->max_surge, 0, desired, true) : 0;
    ret.unavailable_max = r != NULL ? resolve(r->max_unavailable, 1, desired, true) : 1;
    if (ret.surge_max == 0 && ret.unavailable_max == 0)
        ret.unavailable_max = 1;
    return ret;
}

/* Without surge: old pods that are not available go at once, then available
 * ones as far as maxUnavailable allows. */
static void roll_by_deletion(struct reconcile *c, const struct work *w, const struct rollout *r,
                             struct changes *ch)
{
    int32_t unavailable = 0;
    struct core_v1_pod **candidates =
        ARENA_ARRAY(c->arena, struct core_v1_pod *, w->node_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < w->node_count; i++) {
        const struct on_node *n = &w->nodes[i];
        if (!n->should_run)
            continue;
        struct core_v1_pod *p = oldest(n);
        if (p == NULL) {
            unavailable++;
        } else if (!is_available(c, w, p)) {
            unavailable++;
            if (!is_updated(w, p))
                add_removal(ch, p);
        } else if (!is_updated(w, p)) {
            candidates[count++] = p;
        }
    }
    for (size_t i = 0; i < count && unavailable < r->unavailable_max; i++, unavailable++)
        add_removal(ch, candidates[i]);
}

/* With surge: a new pod beside the old one; the old one goes when the new one
 * is available, or at once when it is not available itself. */
static void roll_by_surge(struct reconcile *c, const struct work *w, const struct rollout *r,
                          struct changes *ch)
{
    int32_t surging = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < w->node_count; i++) {
            const struct on_node *n = &w->nodes[i];
            struct core_v1_pod *old = NULL, *fresh = NULL;
            for (size_t k = 0; k < n->count; k++) {
                if (pod_is_going(n->pods[k]) || pod_is_terminal(n->pods[k]))
                    continue;
                if (is_updated(w, n->pods[k]))
                    fresh = n->pods[k];
                else
                    old = n->pods[k];
            }
            if (!n->should_run || old == NULL)
                continue;
            if (fresh != NULL && pass == 0) {
                surging++;
                if (is_available(c, w, fresh) || !is_available(c, w, old))
                    add_removal(ch, old);
            } else if (fresh == NULL && pass == 1 &&
                       (surging < r->surge_max || !is_available(c, w, old))) {
                surging++;
                ch->create[ch->create_count++] = api_object_meta(n->node)->name;
            }
        }
}

/* --- status
 * ----------------------------------------------------------------------------------------- */

static void count_status(struct reconcile *c, const struct work *w,
                         struct apps_v1_daemon_set_status *st)
{
    st->current_number_scheduled = st->number_misscheduled = st->desired_number_scheduled = 0;
    st->number_ready = st->updated_number_scheduled = st->number_available = 0;
    for (size_t i = 0; i < w->node_count; i++) {
        const struct on_node *n = &w->nodes[i];
        const struct core_v1_pod *p = oldest(n);
        bool updated = false, available = false, ready = false;
        for (size_t k = 0; k < n->count; k++) {
            if (pod_is_going(n->pods[k]))
                continue;
            updated |= is_updated(w, n->pods[k]);
            ready |= pod_is_ready(n->pods[k]);
            available |= is_available(c, w, n->pods[k]);
        }
        if (!n->should_run) {
            st->number_misscheduled += p != NULL;
            continue;
        }
        st->desired_number_scheduled++;
        if (p == NULL)
            continue;
        st->current_number_scheduled++;
        st->number_ready += ready;
        st->number_available += available;
        st->updated_number_scheduled += updated;
        if (ready && !available)
            reconcile_again_after(c, (uint64_t)w->set->spec.min_ready_seconds * 1000 + 1000);
    }
    st->number_unavailable = st->desired_number_scheduled - st->number_available;
    st->observed_generation = w->set->metadata.generation;
}

static void report(struct reconcile *c)
{
    const struct work *w = c->state;
    struct apps_v1_daemon_set *copy = reconcile_copy(c, w->object);
    count_status(c, w, &copy->status);
    if (w->history.collided) {
        copy->status.has_collision_count = true;
        copy->status.collision_count++;
    }
    if (!api_msg_equal(&apps_v1_daemon_set_status_msg, &copy->status, &w->set->status))
        reconcile_update(c, w->object->kind, copy, "status");
}

static bool revision_in_use(const struct apps_v1_controller_revision *r, const void *arg)
{
    const struct work *w = arg;
    for (size_t i = 0; i < w->node_count; i++)
        for (size_t k = 0; k < w->nodes[i].count; k++) {
            const struct str *hash = label_get(&w->nodes[i].pods[k]->metadata, LABEL_REVISION_HASH);
            if (hash != NULL && str_eq(*hash, history_hash(r)))
                return true;
        }
    return false;
}

static void manage(struct reconcile *c, struct work *w)
{
    struct rollout r = rollout_of(w);
    struct changes ch = {
        .create = ARENA_ARRAY(c->arena, struct str, 2 * w->node_count + 1),
        .remove = ARENA_ARRAY(c->arena, struct core_v1_pod *, w->pod_count + 1),
    };
    for (size_t i = 0; i < w->node_count; i++)
        manage_node(c, w, &w->nodes[i], &ch, r.rolling && r.surge_max > 0);
    for (size_t i = 0; i < w->stray_count; i++)
        add_removal(&ch, w->strays[i]);
    if (ch.create_count == 0 && ch.remove_count == 0 && r.rolling) {
        if (r.surge_max > 0)
            roll_by_surge(c, w, &r, &ch);
        else
            roll_by_deletion(c, w, &r, &ch);
    }
    size_t create = MIN_OF(ch.create_count, (size_t)BURST_MAX);
    expectations_expect_creations(c->run->expectations, c->key, (unsigned)create);
    for (size_t i = 0; i < create; i++)
        create_pod(c, w, ch.create[i]);
    for (size_t i = 0; i < MIN_OF(ch.remove_count, (size_t)BURST_MAX); i++)
        delete_pod(c, ch.remove[i]);
    int32_t limit =
        w->set->spec.has_revision_history_limit ? w->set->spec.revision_history_limit : 10;
    history_trim(c, &w->history, limit, revision_in_use, w);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "apps", "DaemonSet"), c->key);
    if (o == NULL) {
        expectations_forget(c->run->expectations, c->key);
        return;
    }
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->set = o->msg;
    if (w->set->spec.selector == NULL || label_selector_is_empty(w->set->spec.selector))
        return; /* It would select everything. */
    bool settled = owned_settled(c);
    struct owned_pods pods = owned_gather(c, &owned, o);
    if (pods.adopting)
        return;
    struct history_config config = {
        .owner = o,
        .template = &w->set->spec.template,
        .collisions = w->set->status.has_collision_count ? &w->set->status.collision_count : NULL,
    };
    w->template = api_msg_clone(c->arena, &core_v1_pod_template_spec_msg, &w->set->spec.template);
    add_tolerations(c->arena, &w->template->spec);
    if (w->set->metadata.deletion_timestamp == NULL)
        history_sync(c, &config, &w->history);
    if (w->history.current != NULL)
        w->hash = history_hash(w->history.current);
    gather_nodes(c, w, &pods);
    if (settled && w->history.current != NULL)
        manage(c, w);
    reconcile_then(c, report);
}

static const struct controller_watch watches[] = {
    {"apps", "v1", "DaemonSet", touch_set},
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "Node", touch_node},
    {"apps", "v1", "ControllerRevision", touch_revision},
    {0},
};

const struct controller controller_daemonset = {
    .name = "daemonset-controller",
    .init = init,
    .done = done,
    .watches = watches,
    .reconcile = reconcile,
};

/* deployment_plan.c - see deployment_plan.h. Sizes first, then status. */
#include "controllers/deployment_plan.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "controllers/deployment_status.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define ROLLBACK_TO "deprecated.deployment.rollback.to"
#define HISTORY_MAX 2000 /* Characters. */
#define FNV_OFFSET 2166136261u
#define FNV_PRIME 16777619u

struct planner {
    struct arena *a;
    const struct plan_input *in;
    const struct apps_v1_deployment *d;
    const struct apps_v1_replica_set *new_set;
    const struct apps_v1_replica_set **old; /* Oldest first. */
    size_t old_count;
    int32_t surge, unavailable;
    struct plan *plan;
};

/* --- small questions -------------------------------------------------------------- */

static int32_t set_size(const struct apps_v1_replica_set *s)
{
    return s == NULL ? 0 : s->spec.has_replicas ? s->spec.replicas : 1;
}

static int32_t wanted(const struct apps_v1_deployment *d)
{
    return d->spec.has_replicas ? d->spec.replicas : 1;
}

static bool is_rolling(const struct apps_v1_deployment *d)
{
    return !str_eqc(d->spec.strategy.type, "Recreate");
}

static int32_t total_size(const struct planner *p)
{
    int32_t n = set_size(p->new_set);
    for (size_t i = 0; i < p->old_count; i++)
        n += set_size(p->old[i]);
    return n;
}

static int64_t revision_of(const struct meta_v1_object_meta *m)
{
    int64_t rev = 0;
    const struct str *text =
        api_str_map_get(m->annotations, m->annotations_count, STR(DEPLOYMENT_REVISION));
    return text != NULL && str_to_i64(*text, &rev) ? rev : 0;
}

/* A percentage of total, rounded up or down, or the number itself. */
static int32_t scaled_value(const struct intstr_int_or_string *v, int32_t total, bool up)
{
    if (v == NULL)
        return 0;
    if (v->type == 0)
        return v->int_val;
    int64_t percent = 0;
    struct str text = v->str_val;
    if (!str_has_suffix(text, STR("%")) || !str_to_i64(str_n(text.data, text.len - 1), &percent))
        return 0;
    int64_t scaled = percent * total;
    return (int32_t)(up ? (scaled + 99) / 100 : scaled / 100);
}

void deployment_fenceposts(const struct apps_v1_deployment *d, int32_t *ret_surge,
                           int32_t *ret_unavailable)
{
    *ret_surge = *ret_unavailable = 0;
    if (!is_rolling(d) || d->spec.strategy.rolling_update == NULL)
        return;
    const struct apps_v1_rolling_update_deployment *r = d->spec.strategy.rolling_update;
    *ret_surge = scaled_value(r->max_surge, wanted(d), true);
    *ret_unavailable = scaled_value(r->max_unavailable, wanted(d), false);
    if (*ret_surge == 0 && *ret_unavailable == 0)
        *ret_unavailable = 1; /* Else nothing could ever move. */
    *ret_unavailable = MIN_OF(*ret_unavailable, wanted(d));
}

static void template_without_hash(struct arena *a, const struct core_v1_pod_template_spec *t,
                                  struct core_v1_pod_template_spec *ret)
{
    *ret = *t;
    ret->metadata.labels = ARENA_ARRAY(a, struct api_str_entry, t->metadata.labels_count);
    ret->metadata.labels_count = 0;
    for (size_t i = 0; i < t->metadata.labels_count; i++)
        if (!str_eqc(t->metadata.labels[i].key, POD_TEMPLATE_HASH))
            ret->metadata.labels[ret->metadata.labels_count++] = t->metadata.labels[i];
}

bool deployment_template_equal(const struct core_v1_pod_template_spec *x,
                               const struct core_v1_pod_template_spec *y)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_pod_template_spec s, t;
    template_without_hash(a, x, &s);
    template_without_hash(a, y, &t);
    return api_msg_equal(&core_v1_pod_template_spec_msg, &s, &t);
}

static uint32_t fnv1a(uint32_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * FNV_PRIME;
    return h;
}

struct str deployment_template_hash(struct arena *a, const struct core_v1_pod_template_spec *t,
                                    bool has_collisions, int32_t collisions)
{
    /* No vowels and nothing that looks like one: names never spell words. */
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    struct core_v1_pod_template_spec plain;
    template_without_hash(a, t, &plain);
    AUTO_BUF wire = BUF_INIT;
    api_pb_encode(&core_v1_pod_template_spec_msg, &plain, &wire);
    uint32_t h = fnv1a(FNV_OFFSET, wire.data, wire.len);
    if (has_collisions)
        h = fnv1a(h, &collisions, sizeof(collisions));
    char digits[16];
    int n = snprintf(digits, sizeof(digits), "%u", h);
    char *out = arena_alloc(a, (size_t)n + 1);
    for (int i = 0; i < n; i++)
        out[i] = alphabet[(unsigned char)digits[i] % (sizeof(alphabet) - 1)];
    out[n] = '\0';
    return str_n(out, (size_t)n);
}

/* --- maps --------------------------------------------------------------------------- */

static void map_put(struct arena *a, struct api_str_entry **map, size_t *count, struct str key,
                    struct str value)
{
    size_t at = 0;
    while (at < *count && str_cmp((*map)[at].key, key) < 0)
        at++;
    if (at < *count && str_eq((*map)[at].key, key)) {
        struct api_str_entry *copy = arena_memdup(a, *map, *count * sizeof(**map));
        copy[at].value = value;
        *map = copy;
        return;
    }
    struct api_str_entry *copy = ARENA_ARRAY(a, struct api_str_entry, *count + 1);
    for (size_t i = 0; i < at; i++)
        copy[i] = (*map)[i];
    copy[at] = (struct api_str_entry){key, value};
    for (size_t i = at; i < *count; i++)
        copy[i + 1] = (*map)[i];
    *map = copy;
    (*count)++;
}

static void map_drop(struct arena *a, struct api_str_entry **map, size_t *count, struct str key)
{
    struct api_str_entry *copy = ARENA_ARRAY(a, struct api_str_entry, *count);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (!str_eq((*map)[i].key, key))
            copy[kept++] = (*map)[i];
    *map = copy;
    *count = kept;
}

static bool is_own_annotation(struct str key)
{
    return str_eqc(key, LAST_APPLIED) || str_eqc(key, DEPLOYMENT_REVISION) ||
           str_eqc(key, DEPLOYMENT_REVISION_HISTORY) || str_eqc(key, DEPLOYMENT_DESIRED) ||
           str_eqc(key, DEPLOYMENT_MAX) || str_eqc(key, ROLLBACK_TO);
}

/* The revisions that the set had, and one more; the oldest are forgotten past HISTORY_MAX. */
static struct str history_with(const struct planner *p, const struct meta_v1_object_meta *m,
                               int64_t revision)
{
    const struct str *known =
        api_str_map_get(m->annotations, m->annotations_count, STR(DEPLOYMENT_REVISION_HISTORY));
    struct str newest = arena_printf(p->a, "%lld", (long long)revision);
    struct str rest = known != NULL ? *known : STR("");
    while (!str_empty(rest) && rest.len + 1 + newest.len > HISTORY_MAX) {
        const char *comma = memchr(rest.data, ',', rest.len);
        size_t gone = comma != NULL ? (size_t)(comma - rest.data) + 1 : rest.len;
        rest = str_sub(rest, gone, rest.len - gone);
    }
    return str_empty(rest)
               ? newest
               : arena_printf(p->a, STR_FMT "," STR_FMT, STR_ARG(rest), STR_ARG(newest));
}

/* The deployment's annotations and the revision, as they belong on the new set. */
static void annotate_new(struct planner *p, struct meta_v1_object_meta *m, int64_t revision)
{
    const struct meta_v1_object_meta *dm = &p->d->metadata;
    for (size_t i = 0; i < dm->annotations_count; i++)
        if (!is_own_annotation(dm->annotations[i].key))
            map_put(p->a, &m->annotations, &m->annotations_count, dm->annotations[i].key,
                    dm->annotations[i].value);
    int64_t before = revision_of(m);
    if (before >= revision)
        return;
    if (before > 0)
        map_put(p->a, &m->annotations, &m->annotations_count, STR(DEPLOYMENT_REVISION_HISTORY),
                history_with(p, m, before));
    map_put(p->a, &m->annotations, &m->annotations_count, STR(DEPLOYMENT_REVISION),
            arena_printf(p->a, "%lld", (long long)revision));
}

static void annotate_sizes(struct planner *p, struct meta_v1_object_meta *m)
{
    map_put(p->a, &m->annotations, &m->annotations_count, STR(DEPLOYMENT_DESIRED),
            arena_printf(p->a, "%d", wanted(p->d)));
    map_put(p->a, &m->annotations, &m->annotations_count, STR(DEPLOYMENT_MAX),
            arena_printf(p->a, "%d", wanted(p->d) + p->surge));
}

/* --- writes ---------------------------------------------------------------------------- */

static struct plan_set *write_of(struct planner *p, const struct apps_v1_replica_set *s)
{
    for (size_t i = 0; i < p->plan->write_count; i++)
        if (p->plan->writes[i].before == s)
            return &p->plan->writes[i];
    struct plan_set *w = &p->plan->writes[p->plan->write_count++];
    *w = (struct plan_set){.before = s, .after = api_msg_clone(p->a, &apps_v1_replica_set_msg, s)};
    w->from = w->to = set_size(s);
    return w;
}

static int32_t planned_size(const struct planner *p, const struct apps_v1_replica_set *s)
{
    for (size_t i = 0; i < p->plan->write_count; i++)
        if (p->plan->writes[i].before == s)
            return p->plan->writes[i].to;
    return set_size(s);
}

/* True if anything has to be written. */
static bool scale_to(struct planner *p, const struct apps_v1_replica_set *s, int32_t size)
{
    struct meta_v1_object_meta m = s->metadata;
    annotate_sizes(p, &m);
    bool same_notes = m.annotations_count == s->metadata.annotations_count;
    for (size_t i = 0; same_notes && i < m.annotations_count; i++)
        same_notes = str_eq(m.annotations[i].value, s->metadata.annotations[i].value);
    if (planned_size(p, s) == size && same_notes)
        return false;
    struct plan_set *w = write_of(p, s);
    annotate_sizes(p, &w->after->metadata);
    w->after->spec.has_replicas = true;
    w->after->spec.replicas = size;
    w->to = size;
    return true;
}

/* --- finding and making the new set ------------------------------------------------------ */

static int by_age(const void *x, const void *y)
{
    const struct apps_v1_replica_set *const *s = x, *const *t = y;
    int64_t a = (*s)->metadata.creation_timestamp.seconds,
            b = (*t)->metadata.creation_timestamp.seconds;
    if (a != b)
        return a < b ? -1 : 1;
    return str_cmp((*s)->metadata.name, (*t)->metadata.name);
}

static void sort_sets(struct planner *p)
{
    const struct plan_input *in = p->in;
    const struct apps_v1_replica_set **all =
        ARENA_ARRAY(p->a, const struct apps_v1_replica_set *, in->set_count);
    for (size_t i = 0; i < in->set_count; i++)
        all[i] = in->sets[i];
    if (in->set_count > 1)
        qsort(all, in->set_count, sizeof(*all), by_age);
    p->old = ARENA_ARRAY(p->a, const struct apps_v1_replica_set *, in->set_count);
    for (size_t i = 0; i < in->set_count; i++) {
        /* Of several equal ones the oldest is the new set. */
        if (p->new_set == NULL &&
            deployment_template_equal(&all[i]->spec.template, &p->d->spec.template))
            p->new_set = all[i];
        else
            p->old[p->old_count++] = all[i];
    }
}

static int64_t next_revision(const struct planner *p)
{
    int64_t max = 0;
    for (size_t i = 0; i < p->old_count; i++)
        max = MAX_OF(max, revision_of(&p->old[i]->metadata));
    return max + 1;
}

static int32_t new_set_size(const struct planner *p)
{
    int32_t d = wanted(p->d), current = set_size(p->new_set);
    if (!is_rolling(p->d))
        return d;
    int32_t room = d + p->surge - total_size(p);
    if (room <= 0)
        return current;
    return current + MIN_OF(room, d - current);
}

static void build_new_set(struct planner *p)
{
    const struct apps_v1_deployment *d = p->d;
    struct arena *a = p->a;
    struct str hash = deployment_template_hash(a, &d->spec.template, d->status.has_collision_count,
                                               d->status.collision_count);
    struct apps_v1_replica_set *s = api_msg_new(a, &apps_v1_replica_set_msg);
    s->metadata.name =
        arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(d->metadata.name), STR_ARG(hash));
    s->metadata.namespace = d->metadata.namespace;
    s->spec.template = d->spec.template;
    map_put(a, &s->spec.template.metadata.labels, &s->spec.template.metadata.labels_count,
            STR(POD_TEMPLATE_HASH), hash);
    s->metadata.labels = s->spec.template.metadata.labels;
    s->metadata.labels_count = s->spec.template.metadata.labels_count;
    s->spec.selector = api_msg_clone(a, &meta_v1_label_selector_msg, d->spec.selector);
    map_put(a, &s->spec.selector->match_labels, &s->spec.selector->match_labels_count,
            STR(POD_TEMPLATE_HASH), hash);
    s->spec.min_ready_seconds = d->spec.min_ready_seconds;
    s->spec.has_replicas = true;
    s->spec.replicas = new_set_size(p);
    annotate_new(p, &s->metadata, next_revision(p));
    annotate_sizes(p, &s->metadata);
    s->metadata.owner_references = ARENA_NEW(a, struct meta_v1_owner_reference);
    s->metadata.owner_references_count = 1;
    s->metadata.owner_references[0] =
        (struct meta_v1_owner_reference){.api_version = STR("apps/v1"),
                                         .kind = STR("Deployment"),
                                         .name = d->metadata.name,
                                         .uid = d->metadata.uid,
                                         .has_controller = true,
                                         .controller = true,
                                         .has_block_owner_deletion = true,
                                         .block_owner_deletion = true};
    p->plan->writes[p->plan->write_count++] =
        (struct plan_set){.after = s, .from = 0, .to = s->spec.replicas};
}

static bool annotations_differ(const struct meta_v1_object_meta *x,
                               const struct meta_v1_object_meta *y)
{
    if (x->annotations_count != y->annotations_count)
        return true;
    for (size_t i = 0; i < x->annotations_count; i++)
        if (!str_eq(x->annotations[i].key, y->annotations[i].key) ||
            !str_eq(x->annotations[i].value, y->annotations[i].value))
            return true;
    return false;
}

/* The deployment shows the revision of its new set. */
static void show_revision(struct planner *p, const struct meta_v1_object_meta *new_set)
{
    const struct str *rev =
        api_str_map_get(new_set->annotations, new_set->annotations_count, STR(DEPLOYMENT_REVISION));
    const struct str *shown = api_str_map_get(
        p->d->metadata.annotations, p->d->metadata.annotations_count, STR(DEPLOYMENT_REVISION));
    if (rev == NULL || (shown != NULL && str_eq(*rev, *shown)))
        return;
    p->plan->deployment = api_msg_clone(p->a, &apps_v1_deployment_msg, p->d);
    struct meta_v1_object_meta *m = &p->plan->deployment->metadata;
    map_put(p->a, &m->annotations, &m->annotations_count, STR(DEPLOYMENT_REVISION), *rev);
}

/* Brings the new set's annotations up to date, or plans its creation. False
 * when this alone is the step. */
static bool ensure_new_set(struct planner *p, bool create)
{
    if (p->new_set == NULL) {
        if (create) {
            build_new_set(p);
            show_revision(p, &p->plan->writes[0].after->metadata);
        }
        return false;
    }
    struct meta_v1_object_meta m = p->new_set->metadata;
    annotate_new(p, &m, next_revision(p));
    bool differs = annotations_differ(&m, &p->new_set->metadata) ||
                   p->new_set->spec.min_ready_seconds != p->d->spec.min_ready_seconds;
    if (differs) {
        struct plan_set *w = write_of(p, p->new_set);
        annotate_new(p, &w->after->metadata, next_revision(p));
        w->after->spec.min_ready_seconds = p->d->spec.min_ready_seconds;
    }
    show_revision(p, &m);
    return !differs;
}

/* --- rolling update ------------------------------------------------------------------------ */

static int32_t available_of(const struct apps_v1_replica_set *s)
{
    return s == NULL ? 0 : s->status.available_replicas;
}

/* Old pods that never became available go first: they cost nothing. */
static int32_t clean_unhealthy(struct planner *p, int32_t max)
{
    int32_t done = 0;
    for (size_t i = 0; i < p->old_count && done < max; i++) {
        int32_t size = set_size(p->old[i]), available = available_of(p->old[i]);
        if (size == 0 || size <= available)
            continue;
        int32_t n = MIN_OF(max - done, size - available);
        scale_to(p, p->old[i], size - n);
        done += n;
    }
    return done;
}

static void shrink_old(struct planner *p)
{
    int32_t min_available = wanted(p->d) - p->unavailable;
    int32_t old_size = 0, available = available_of(p->new_set);
    for (size_t i = 0; i < p->old_count; i++) {
        old_size += set_size(p->old[i]);
        available += available_of(p->old[i]);
    }
    if (old_size == 0)
        return;
    int32_t new_unavailable = set_size(p->new_set) - available_of(p->new_set);
    int32_t max_down = total_size(p) - min_available - new_unavailable;
    if (max_down <= 0)
        return;
    clean_unhealthy(p, max_down);
    int32_t left = available - min_available;
    for (size_t i = 0; i < p->old_count && left > 0; i++) {
        int32_t size = planned_size(p, p->old[i]);
        int32_t n = MIN_OF(size, left);
        if (n > 0)
            scale_to(p, p->old[i], size - n);
        left -= n;
    }
}

static void roll(struct planner *p)
{
    if (!ensure_new_set(p, true))
        return;
    int32_t size = set_size(p->new_set), d = wanted(p->d);
    int32_t next = size > d ? d : size < d ? new_set_size(p) : size;
    if (next != size && scale_to(p, p->new_set, next))
        return;
    shrink_old(p);
}

static void recreate(struct planner *p)
{
    bool waits = p->in->old_pods_exist;
    ensure_new_set(p, false);
    for (size_t i = 0; i < p->old_count; i++) {
        /* The set's own count may be ahead of what is seen of its pods. */
        waits |= p->old[i]->status.replicas > 0;
        if (set_size(p->old[i]) > 0)
            waits |= scale_to(p, p->old[i], 0);
    }
    if (waits)
        return;
    if (ensure_new_set(p, true))
        scale_to(p, p->new_set, wanted(p->d));
}

/* --- scaling in proportion -------------------------------------------------------------------- */

static int32_t annotated_max(const struct planner *p, const struct apps_v1_replica_set *s)
{
    int64_t max = 0;
    const struct str *text = api_str_map_get(s->metadata.annotations, s->metadata.annotations_count,
                                             STR(DEPLOYMENT_MAX));
    if (text != NULL && str_to_i64(*text, &max) && max > 0)
        return (int32_t)max;
    return MAX_OF(p->d->status.replicas, 1);
}

static int32_t proportion(const struct planner *p, const struct apps_v1_replica_set *s,
                          int32_t to_add, int32_t added)
{
    if (set_size(s) == 0 || to_add == 0 || to_add == added)
        return 0;
    int32_t fraction;
    if (wanted(p->d) == 0) {
        fraction = -set_size(s);
    } else {
        double ideal = (double)set_size(s) * (wanted(p->d) + p->surge) / annotated_max(p, s);
        fraction = (int32_t)lround(ideal) - set_size(s);
    }
    int32_t allowed = to_add - added;
    return to_add > 0 ? MIN_OF(fraction, allowed) : MAX_OF(fraction, allowed);
}

/* Larger sets first; among equals the newer when growing, the older when shrinking. */
static void sort_by_size(const struct apps_v1_replica_set **sets, size_t count, bool newer_first)
{
    for (size_t i = 1; i < count; i++) {
        const struct apps_v1_replica_set *s = sets[i];
        size_t k = i;
        for (; k > 0; k--) {
            const struct apps_v1_replica_set *t = sets[k - 1];
            int age = by_age(&t, &s);
            bool before = set_size(s) > set_size(t) ||
                          (set_size(s) == set_size(t) && (newer_first ? age < 0 : age > 0));
            if (!before)
                break;
            sets[k] = t;
        }
        sets[k] = s;
    }
}

static void scale_proportionally(struct planner *p)
{
    size_t n = 0;
    const struct apps_v1_replica_set **active =
        ARENA_ARRAY(p->a, const struct apps_v1_replica_set *, p->old_count + 1);
    if (set_size(p->new_set) > 0)
        active[n++] = p->new_set;
    for (size_t i = 0; i < p->old_count; i++)
        if (set_size(p->old[i]) > 0)
            active[n++] = p->old[i];
    int32_t allowed = wanted(p->d) > 0 ? wanted(p->d) + p->surge : 0;
    int32_t to_add = allowed - total_size(p), added = 0;
    sort_by_size(active, n, to_add > 0);
    int32_t *sizes = ARENA_ARRAY(p->a, int32_t, n);
    for (size_t i = 0; i < n; i++) {
        int32_t share = to_add != 0 ? proportion(p, active[i], to_add, added) : 0;
        sizes[i] = set_size(active[i]) + share;
        added += share;
    }
    for (size_t i = 0; i < n; i++) {
        if (i == 0 && to_add != 0)
            sizes[i] = MAX_OF(sizes[i] + to_add - added, 0); /* What rounding left over. */
        scale_to(p, active[i], sizes[i]);
    }
}

/* The one set with pods, or the newest when none has; NULL when several have. */
static const struct apps_v1_replica_set *active_or_latest(const struct planner *p)
{
    const struct apps_v1_replica_set *active = NULL;
    for (size_t i = 0; i <= p->old_count; i++) {
        const struct apps_v1_replica_set *s = i < p->old_count ? p->old[i] : p->new_set;
        if (set_size(s) == 0)
            continue;
        if (active != NULL)
            return NULL;
        active = s;
    }
    if (active != NULL)
        return active;
    if (p->new_set != NULL)
        return p->new_set;
    return p->old_count > 0 ? p->old[p->old_count - 1] : NULL;
}

static bool several_active(const struct planner *p)
{
    size_t n = set_size(p->new_set) > 0;
    for (size_t i = 0; i < p->old_count; i++)
        n += set_size(p->old[i]) > 0;
    return n > 1;
}

static bool is_saturated(const struct planner *p)
{
    int64_t desired = -1;
    const struct apps_v1_replica_set *s = p->new_set;
    if (s == NULL)
        return false;
    const struct str *text = api_str_map_get(s->metadata.annotations, s->metadata.annotations_count,
                                             STR(DEPLOYMENT_DESIRED));
    return text != NULL && str_to_i64(*text, &desired) && set_size(s) == wanted(p->d) &&
           desired == wanted(p->d) && s->status.available_replicas == wanted(p->d);
}

static void scale_only(struct planner *p)
{
    const struct apps_v1_replica_set *one = several_active(p) ? NULL : active_or_latest(p);
    if (one != NULL) {
        scale_to(p, one, wanted(p->d));
        return;
    }
    if (is_saturated(p)) {
        for (size_t i = 0; i < p->old_count; i++)
            if (set_size(p->old[i]) > 0)
                scale_to(p, p->old[i], 0);
        return;
    }
    if (is_rolling(p->d) && several_active(p))
        scale_proportionally(p);
}

/* Did the deployment's size change since the sets were sized? */
static bool is_scaling(const struct planner *p)
{
    for (size_t i = 0; i <= p->old_count; i++) {
        const struct apps_v1_replica_set *s = i < p->old_count ? p->old[i] : p->new_set;
        int64_t desired = 0;
        if (set_size(s) == 0)
            continue;
        const struct str *text = api_str_map_get(
            s->metadata.annotations, s->metadata.annotations_count, STR(DEPLOYMENT_DESIRED));
        if (text != NULL && str_to_i64(*text, &desired) && desired != wanted(p->d))
            return true;
    }
    return false;
}

/* --- history ------------------------------------------------------------------------------------
 */

static int by_revision(const void *x, const void *y)
{
    const struct apps_v1_replica_set *const *s = x, *const *t = y;
    int64_t a = revision_of(&(*s)->metadata), b = revision_of(&(*t)->metadata);
    return a != b ? (a > b) - (a < b) : by_age(x, y);
}

/* The lowest revisions go first: what was rolled back to is new again, whatever its age. */
static void clean_history(struct planner *p)
{
    int64_t limit = p->d->spec.has_revision_history_limit ? p->d->spec.revision_history_limit : 10;
    int64_t extra = 0;
    for (size_t i = 0; i < p->old_count; i++)
        extra += p->old[i]->metadata.deletion_timestamp == NULL;
    extra -= limit;
    p->plan->removals = ARENA_ARRAY(p->a, const struct apps_v1_replica_set *, p->old_count);
    const struct apps_v1_replica_set **sorted =
        ARENA_ARRAY(p->a, const struct apps_v1_replica_set *, p->old_count + 1);
    for (size_t i = 0; i < p->old_count; i++)
        sorted[i] = p->old[i];
    qsort(sorted, p->old_count, sizeof(*sorted), by_revision);
    for (size_t i = 0; i < p->old_count && extra > 0; i++) {
        const struct apps_v1_replica_set *s = sorted[i];
        if (s->metadata.deletion_timestamp != NULL)
            continue;
        extra--;
        bool idle = s->status.replicas == 0 && set_size(s) == 0 && planned_size(p, s) == 0 &&
                    s->metadata.generation <= s->status.observed_generation;
        if (idle)
            p->plan->removals[p->plan->removal_count++] = s;
    }
}

/* --- rolling back ------------------------------------------------------------------------ */

/* The last revision but one; 0: there is none. */
static int64_t last_revision(const struct planner *p)
{
    int64_t max = 0, second = 0;
    for (size_t i = 0; i <= p->old_count; i++) {
        const struct apps_v1_replica_set *s = i < p->old_count ? p->old[i] : p->new_set;
        int64_t rev = s != NULL ? revision_of(&s->metadata) : 0;
        if (rev >= max) {
            second = max;
            max = rev;
        } else if (rev > second) {
            second = rev;
        }
    }
    return second;
}

static const struct apps_v1_replica_set *set_of_revision(const struct planner *p, int64_t revision)
{
    for (size_t i = 0; i <= p->old_count; i++) {
        const struct apps_v1_replica_set *s = i < p->old_count ? p->old[i] : p->new_set;
        if (s != NULL && revision_of(&s->metadata) == revision)
            return s;
    }
    return NULL;
}

static void note_rollback(struct planner *p, const char *reason, struct str message)
{
    p->plan->rollback_reason = reason;
    p->plan->rollback_message = message;
}

/* Template and annotations of an earlier set become the deployment's. */
static void take_template(struct planner *p, struct apps_v1_deployment *d,
                          const struct apps_v1_replica_set *s)
{
    struct meta_v1_object_meta *m = &d->metadata;
    struct api_str_entry *kept = ARENA_ARRAY(p->a, struct api_str_entry, m->annotations_count);
    size_t count = 0;
    for (size_t i = 0; i < m->annotations_count; i++)
        if (is_own_annotation(m->annotations[i].key))
            kept[count++] = m->annotations[i];
    m->annotations = kept;
    m->annotations_count = count;
    for (size_t i = 0; i < s->metadata.annotations_count; i++)
        if (!is_own_annotation(s->metadata.annotations[i].key))
            map_put(p->a, &m->annotations, &m->annotations_count, s->metadata.annotations[i].key,
                    s->metadata.annotations[i].value);
    template_without_hash(p->a, &s->spec.template, &d->spec.template);
}

/* What extensions/v1beta1 called spec.rollbackTo lives on as an annotation. True when it is set:
 * the template is taken back, the annotation off, and nothing else done meanwhile. */
static bool roll_back(struct planner *p)
{
    int64_t revision;
    const struct meta_v1_object_meta *m = &p->d->metadata;
    const struct str *to = api_str_map_get(m->annotations, m->annotations_count, STR(ROLLBACK_TO));
    if (to == NULL || str_empty(*to) || !str_to_i64(*to, &revision))
        return false;
    struct apps_v1_deployment *d = api_msg_clone(p->a, &apps_v1_deployment_msg, p->d);
    bool last = revision == 0;
    if (last)
        revision = last_revision(p);
    const struct apps_v1_replica_set *s = revision != 0 ? set_of_revision(p, revision) : NULL;
    if (last && revision == 0) {
        note_rollback(p, "DeploymentRollbackRevisionNotFound",
                      STR("Unable to find last revision."));
    } else if (s == NULL) {
        note_rollback(p, "DeploymentRollbackRevisionNotFound",
                      STR("Unable to find the revision to rollback to."));
    } else if (deployment_template_equal(&d->spec.template, &s->spec.template)) {
        note_rollback(p, "DeploymentRollbackTemplateUnchanged",
                      arena_printf(p->a,
                                   "The rollback revision contains the same template as current "
                                   "deployment \"" STR_FMT "\"",
                                   STR_ARG(m->name)));
    } else {
        take_template(p, d, s);
        note_rollback(p, "DeploymentRollback",
                      arena_printf(p->a, "Rolled back deployment \"" STR_FMT "\" to revision %lld",
                                   STR_ARG(m->name), (long long)revision));
    }
    map_drop(p->a, &d->metadata.annotations, &d->metadata.annotations_count, STR(ROLLBACK_TO));
    p->plan->deployment = d;
    return true;
}

void deployment_plan(struct arena *a, const struct plan_input *in, struct plan *ret)
{
    struct planner p = {.a = a, .in = in, .d = in->deployment, .plan = ret};
    *ret = (struct plan){.writes = ARENA_ARRAY(a, struct plan_set, in->set_count + 1)};
    deployment_fenceposts(p.d, &p.surge, &p.unavailable);
    sort_sets(&p);
    bool estimates = false;
    if (p.d->metadata.deletion_timestamp == NULL) {
        if (!p.d->spec.paused && roll_back(&p))
            return;
        estimates = !p.d->spec.paused && !is_scaling(&p);
        if (!estimates) {
            ensure_new_set(&p, false);
            scale_only(&p);
        } else if (is_rolling(p.d)) {
            roll(&p);
        } else {
            recreate(&p);
        }
    }
    ret->new_set = p.new_set;
    const struct status_input status = {.deployment = p.d,
                                        .new_set = p.new_set,
                                        .created = p.new_set == NULL && ret->write_count > 0 &&
                                                           ret->writes[0].before == NULL
                                                       ? ret->writes[0].after
                                                       : NULL,
                                        .sets = in->sets,
                                        .set_count = in->set_count,
                                        .max_unavailable = p.unavailable,
                                        .estimates = estimates,
                                        .now_s = in->now_s};
    ret->status = deployment_status(a, &status, &ret->again_after_s);
    if (p.d->metadata.deletion_timestamp == NULL &&
        (p.d->spec.paused || deployment_is_complete(p.d, ret->status)))
        clean_history(&p);
}

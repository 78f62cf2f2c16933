/* job_pods.c - see job_pods.h. */
#include "controllers/job_pods.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "controllers/pods.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/client/labels.h"

#include <string.h>

#define GENERATED_NAME_MAX 58 /* What the API server leaves of a generateName. */
#define INDEX_ENV "JOB_COMPLETION_INDEX"

bool job_is_indexed(const struct batch_v1_job *j)
{
    return j->spec.has_completion_mode && str_eqc(j->spec.completion_mode, "Indexed");
}

bool job_is_per_index(const struct batch_v1_job *j)
{
    return j->spec.has_backoff_limit_per_index && job_is_indexed(j);
}

bool job_awaits_end(const struct batch_v1_job *j)
{
    return j->spec.pod_failure_policy != NULL ||
           (j->spec.has_pod_replacement_policy &&
            str_eqc(j->spec.pod_replacement_policy, "Failed"));
}

/* --- questions ----------------------------------------------------------------------------------
 */

static int32_t number_of(const struct core_v1_pod *pod, const char *annotation, int32_t otherwise)
{
    const struct str *text = annotation_get(&pod->metadata, annotation);
    int64_t v;
    bool usable = text != NULL && str_to_i64(*text, &v) && v >= 0 && v <= INT32_MAX;
    return usable ? (int32_t)v : otherwise;
}

int32_t job_pod_index(const struct core_v1_pod *pod)
{
    return number_of(pod, JOB_INDEX, -1);
}

int32_t job_pod_failures(const struct core_v1_pod *pod)
{
    return number_of(pod, JOB_INDEX_FAILURES, 0);
}

int32_t job_pod_ignored(const struct core_v1_pod *pod)
{
    return number_of(pod, JOB_INDEX_IGNORED, 0);
}

bool job_pod_is_tracked(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.finalizers_count; i++)
        if (str_eqc(pod->metadata.finalizers[i], JOB_FINALIZER))
            return true;
    return false;
}

bool job_pod_succeeded(const struct core_v1_pod *pod)
{
    return str_eqc(pod->status.phase, "Succeeded");
}

bool job_pod_failed(const struct batch_v1_job *j, const struct core_v1_pod *pod)
{
    if (str_eqc(pod->status.phase, "Failed"))
        return true;
    return pod_is_going(pod) && !job_pod_succeeded(pod) && !job_awaits_end(j);
}

bool job_pod_is_terminating(const struct core_v1_pod *pod)
{
    return pod_is_going(pod) && !pod_is_terminal(pod);
}

static int64_t containers_finished_s(const struct core_v1_pod *pod)
{
    int64_t latest = 0;
    for (size_t i = 0; i < pod->status.container_statuses_count; i++) {
        const struct core_v1_container_state_terminated *t =
            pod->status.container_statuses[i].state.terminated;
        if (t == NULL || t->finished_at.seconds == 0)
            return 0;
        latest = MAX_OF(latest, t->finished_at.seconds);
    }
    return latest;
}

int64_t job_pod_finished_s(const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    const struct core_v1_pod_condition *ready = pod_condition(pod, "Ready");
    int64_t s = containers_finished_s(pod);
    if (s != 0)
        return s;
    if (ready != NULL && str_eqc(ready->status, "False") &&
        ready->last_transition_time.seconds != 0)
        return ready->last_transition_time.seconds;
    if (m->deletion_timestamp != NULL)
        return m->deletion_timestamp->seconds -
               (m->has_deletion_grace_period_seconds ? m->deletion_grace_period_seconds : 0);
    return m->creation_timestamp.seconds;
}

/* --- making -------------------------------------------------------------------------------------
 */

/* The entries with one more, or with this one changed; keys stay sorted. */
static void put(struct arena *a, struct api_str_entry **entries, size_t *count, const char *key,
                struct str value)
{
    size_t n = *count, at = 0;
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, n + 1);
    while (at < n && str_cmp((*entries)[at].key, str_of(key)) < 0)
        at++;
    bool there = at < n && str_eqc((*entries)[at].key, key);
    if (at != 0)
        memcpy(list, *entries, at * sizeof(*list));
    list[at] = (struct api_str_entry){str_of(key), value};
    size_t from = at + there;
    if (from < n)
        memcpy(list + at + 1, *entries + from, (n - from) * sizeof(*list));
    *entries = list;
    *count = n + !there;
}

/* Every container learns its index. */
static void add_index_env(struct arena *a, struct core_v1_container *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = list[i].env_count, k = 0;
        while (k < n && !str_eqc(list[i].env[k].name, INDEX_ENV))
            k++;
        if (k < n)
            continue; /* The user's own. */
        struct core_v1_env_var *env = ARENA_ARRAY(a, struct core_v1_env_var, n + 1);
        if (n != 0)
            memcpy(env, list[i].env, n * sizeof(*env));
        env[n].name = STR(INDEX_ENV);
        env[n].value_from = ARENA_NEW(a, struct core_v1_env_var_source);
        env[n].value_from->field_ref = ARENA_NEW(a, struct core_v1_object_field_selector);
        env[n].value_from->field_ref->field_path = STR("metadata.labels['" JOB_INDEX "']");
        list[i].env = env;
        list[i].env_count = n + 1;
    }
}

static struct str generate_name(struct arena *a, struct str job, int32_t index)
{
    struct str tail = arena_printf(a, "-%d-", (int)index);
    if (job.len + tail.len > GENERATED_NAME_MAX)
        job.len = GENERATED_NAME_MAX - tail.len;
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(job), STR_ARG(tail));
}

static void set_index(struct arena *a, const struct batch_v1_job *j,
                      const struct job_creation *what, struct core_v1_pod *pod)
{
    struct meta_v1_object_meta *m = &pod->metadata;
    struct str text = arena_printf(a, "%d", (int)what->index);
    put(a, &m->annotations, &m->annotations_count, JOB_INDEX, text);
    put(a, &m->labels, &m->labels_count, JOB_INDEX, text);
    m->generate_name = generate_name(a, j->metadata.name, what->index);
    if (job_is_per_index(j))
        put(a, &m->annotations, &m->annotations_count, JOB_INDEX_FAILURES,
            arena_printf(a, "%d", (int)what->failures));
    if (job_is_per_index(j) && what->ignored > 0)
        put(a, &m->annotations, &m->annotations_count, JOB_INDEX_IGNORED,
            arena_printf(a, "%d", (int)what->ignored));
    struct core_v1_pod_spec *spec = api_msg_clone(a, &core_v1_pod_spec_msg, &pod->spec);
    spec->hostname = arena_printf(a, STR_FMT "-%d", STR_ARG(j->metadata.name), (int)what->index);
    add_index_env(a, spec->init_containers, spec->init_containers_count);
    add_index_env(a, spec->containers, spec->containers_count);
    pod->spec = *spec;
}

static void add_finalizer(struct arena *a, struct meta_v1_object_meta *m)
{
    struct str *list = ARENA_ARRAY(a, struct str, m->finalizers_count + 1);
    for (size_t i = 0; i < m->finalizers_count; i++)
        list[i] = m->finalizers[i];
    list[m->finalizers_count++] = STR(JOB_FINALIZER);
    m->finalizers = list;
}

void job_pod_make(struct arena *a, const struct batch_v1_job *j,
                  const struct meta_v1_owner_reference *owner, const struct job_creation *what,
                  struct core_v1_pod *ret)
{
    pod_from_template(a, &j->spec.template, j->metadata.namespace, j->metadata.name, owner, ret);
    if (!job_pod_is_tracked(ret))
        add_finalizer(a, &ret->metadata);
    if (what->index >= 0)
        set_index(a, j, what, ret);
}

/* config.c - see config.h. */
#include "scheduler/config.h"

#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "scheduler/config_args.h"
#include "scheduler/config_extenders.h"
#include "scheduler/framework.h"
#include "scheduler/scheduler.h"

#include <string.h>

#define BACKOFF_MIN_S 1
#define BACKOFF_MAX_S 10
#define WEIGHT_MAX 1000000

/* Extension points and what they mean here: plugins of the others are always on. */
enum point_effect { EFFECT_NONE, EFFECT_ALL, EFFECT_FILTER, EFFECT_SCORE, EFFECT_PREEMPT };
static const struct {
    const char *name, *type; /* type: as upstream's errors call its plugins. */
    enum point_effect effect;
} points[] = {
    {"multiPoint", "MultiPointPlugin", EFFECT_ALL},
    {"preEnqueue", "PreEnqueuePlugin", EFFECT_NONE},
    {"queueSort", "QueueSortPlugin", EFFECT_NONE},
    {"preFilter", "PreFilterPlugin", EFFECT_NONE},
    {"filter", "FilterPlugin", EFFECT_FILTER},
    {"postFilter", "PostFilterPlugin", EFFECT_PREEMPT},
    {"preScore", "PreScorePlugin", EFFECT_NONE},
    {"score", "ScorePlugin", EFFECT_SCORE},
    {"reserve", "ReservePlugin", EFFECT_NONE},
    {"permit", "PermitPlugin", EFFECT_NONE},
    {"preBind", "PreBindPlugin", EFFECT_NONE},
    {"bind", "BindPlugin", EFFECT_NONE},
    {"postBind", "PostBindPlugin", EFFECT_NONE},
};
static const char *const always_on[] = {"PrioritySort", "SchedulingGates", "DefaultBinder"};

static int plugin_index(struct str name)
{
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (str_eqc(name, scheduler_plugins[i]->name))
            return (int)i;
    return -1;
}

static bool is_always_on(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(always_on); i++)
        if (str_eqc(name, always_on[i]))
            return true;
    return false;
}

static void set_plugin(struct profile *p, unsigned i, enum point_effect effect, bool on,
                       int64_t weight)
{
    if ((effect == EFFECT_ALL || effect == EFFECT_FILTER) && scheduler_plugins[i]->filter != NULL)
        p->filters[i] = on;
    if ((effect == EFFECT_ALL || effect == EFFECT_SCORE) && scheduler_plugins[i]->score != NULL) {
        p->scores[i] = on;
        if (on && weight != 0)
            p->weights[i] = weight;
    }
}

/* name "*": all of the point. */
static void apply(struct config_reader *r, struct profile *p, size_t point, struct str name,
                  bool on, int64_t weight)
{
    enum point_effect effect = points[point].effect;
    bool all = str_eqc(name, "*") && !on;
    int index = plugin_index(name);
    bool preemption = all || str_eqc(name, "DefaultPreemption");
    if (preemption && (effect == EFFECT_ALL || effect == EFFECT_PREEMPT))
        p->preempts = on;
    for (unsigned i = 0; all && i < scheduler_plugin_count; i++)
        set_plugin(p, i, effect, false, 0);
    if (index >= 0)
        set_plugin(p, (unsigned)index, effect, on, weight);
    else if (on && !preemption && !is_always_on(name))
        config_wrong(r, "initializing profiles: %s \"" STR_FMT "\" does not exist",
                     points[point].type, STR_ARG(name));
    else if (!on && !all && is_always_on(name))
        config_wrong(r, "%s cannot be disabled here", arena_str(r->arena, name).data);
}

static void read_set(struct config_reader *r, struct profile *p, size_t point, const char *path,
                     const struct json *set, const char *which)
{
    const struct json *list = config_member(r, path, set, which, JSON_ARRAY);
    const char *at = config_at(r, path, which);
    bool on = strcmp(which, "enabled") == 0;
    for (size_t i = 0; list != NULL && i < list->array.count; i++) {
        const char *here = config_item(r, at, i);
        const struct json *item = list->array.items[i];
        CONFIG_KNOWN(r, here, item, "name", "weight");
        const char *name = config_text(r, here, item, "name");
        int64_t weight = config_int(r, here, item, "weight", 0);
        if (name == NULL)
            config_wrong(r, "%s: Required value", config_at(r, here, "name"));
        else if (weight < 0 || weight > WEIGHT_MAX)
            config_invalid(r, config_at(r, here, "weight"), weight, "not in valid range");
        else
            apply(r, p, point, str_of(name), on, weight);
    }
}

/* Disabled before enabled, and multiPoint before what is said of single points. */
static void read_plugins(struct config_reader *r, struct profile *p, const char *path,
                         const struct json *j)
{
    const char *names[ARRAY_SIZE(points) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++)
        names[i] = points[i].name;
    config_known(r, path, j, names);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        const struct json *set = config_member(r, path, j, points[i].name, JSON_OBJECT);
        const char *at = config_at(r, path, points[i].name);
        CONFIG_KNOWN(r, at, set, "enabled", "disabled");
        if (set == NULL)
            continue;
        read_set(r, p, i, at, set, "disabled");
        read_set(r, p, i, at, set, "enabled");
    }
}

static void read_plugin_config(struct config_reader *r, struct sched_config *c, struct profile *p,
                               const char *path, const struct json *list)
{
    for (size_t i = 0; i < list->array.count; i++) {
        const char *at = config_item(r, path, i);
        const struct json *item = list->array.items[i];
        CONFIG_KNOWN(r, at, item, "name", "args");
        const char *name = config_text(r, at, item, "name");
        for (size_t k = 0; name != NULL && k < i; k++)
            if (str_eqc(json_get_str(list->array.items[k], "name"), name))
                config_wrong(r, "%s: Duplicate value: \"%s\"", at, name);
        if (name == NULL || !config_args(r, c, p, config_at(r, at, "args"), str_of(name),
                                         config_member(r, at, item, "args", JSON_OBJECT)))
            config_wrong(r, "%s: Invalid value: \"%s\": this plugin takes no arguments", at,
                         name != NULL ? name : "");
    }
}

static unsigned read_percentage(struct config_reader *r, const char *path, const struct json *j,
                                unsigned fallback)
{
    int64_t n = config_int(r, path, j, "percentageOfNodesToScore", fallback);
    if (n >= 0 && n <= 100)
        return (unsigned)n;
    config_invalid(r, config_at(r, path, "percentageOfNodesToScore"), n,
                   "not in valid range [0-100]");
    return fallback;
}

static void read_profile(struct config_reader *r, struct sched_config *c, struct profile *p,
                         const char *path, const struct json *j, unsigned percentage)
{
    CONFIG_KNOWN(r, path, j, "schedulerName", "percentageOfNodesToScore", "plugins",
                 "pluginConfig");
    const char *name = config_text(r, path, j, "schedulerName");
    profile_init(p, name != NULL ? name : SCHEDULER_NAME);
    if (p->name[0] == '\0')
        config_wrong(r, "%s: Required value", config_at(r, path, "schedulerName"));
    p->percentage = read_percentage(r, path, j, percentage);
    const struct json *plugins = config_member(r, path, j, "plugins", JSON_OBJECT);
    if (plugins != NULL)
        read_plugins(r, p, config_at(r, path, "plugins"), plugins);
    const struct json *args = config_member(r, path, j, "pluginConfig", JSON_ARRAY);
    if (args != NULL)
        read_plugin_config(r, c, p, config_at(r, path, "pluginConfig"), args);
}

static void read_profiles(struct config_reader *r, struct sched_config *c, const struct json *j,
                          unsigned percentage)
{
    const struct json *list = config_member(r, "", j, "profiles", JSON_ARRAY);
    size_t count = list != NULL ? list->array.count : 0;
    c->profile_count = MAX_OF(count, (size_t)1);
    c->profiles = ARENA_ARRAY(c->arena, struct profile, c->profile_count);
    profile_init(&c->profiles[0], SCHEDULER_NAME);
    c->profiles[0].percentage = percentage;
    for (size_t i = 0; i < count; i++) {
        const char *at = config_item(r, "profiles", i);
        read_profile(r, c, &c->profiles[i], at, list->array.items[i], percentage);
        for (size_t k = 0; k < i; k++)
            if (strcmp(c->profiles[k].name, c->profiles[i].name) == 0)
                config_wrong(r, "%s: Duplicate value: \"profiles[%zu].schedulerName\"",
                             config_at(r, at, "schedulerName"), k);
    }
}

/* --- the document ------------------------------------------------------------------------------
 */

static const char *scalar_text(struct config_reader *r, const struct json *j, const char *name)
{
    const struct json *m = json_getc(j, name);
    AUTO_BUF b = BUF_INIT;
    if (m == NULL || m->type == JSON_NULL)
        return NULL;
    if (m->type == JSON_STRING)
        return arena_str(r->arena, m->string).data;
    json_write(m, false, &b);
    return arena_str(r->arena, buf_str(&b)).data;
}

static void read_connection(struct config_reader *r, struct sched_config *c, const struct json *j)
{
    const struct json *client = config_member(r, "", j, "clientConnection", JSON_OBJECT);
    CONFIG_KNOWN(r, "clientConnection", client, "kubeconfig", "acceptContentTypes", "contentType",
                 "qps", "burst");
    const struct json *lease = config_member(r, "", j, "leaderElection", JSON_OBJECT);
    CONFIG_KNOWN(r, "leaderElection", lease, "leaderElect", "leaseDuration", "renewDeadline",
                 "retryPeriod", "resourceLock", "resourceName", "resourceNamespace");
    c->kubeconfig = config_text(r, "clientConnection", client, "kubeconfig");
    c->qps = scalar_text(r, client, "qps");
    c->burst = scalar_text(r, client, "burst");
    c->leader_elect = scalar_text(r, lease, "leaderElect");
    c->lease_duration = scalar_text(r, lease, "leaseDuration");
    c->renew_deadline = scalar_text(r, lease, "renewDeadline");
    c->retry_period = scalar_text(r, lease, "retryPeriod");
    c->lease_name = scalar_text(r, lease, "resourceName");
    c->lease_namespace = scalar_text(r, lease, "resourceNamespace");
    const char *lock = config_text(r, "leaderElection", lease, "resourceLock");
    if (lock != NULL && strcmp(lock, "leases") != 0)
        config_wrong(r,
                     "leaderElection.resourceLock: Invalid value: \"%s\": resourceLock value must "
                     "be \"leases\"",
                     lock);
}

static void read_backoff(struct config_reader *r, struct sched_config *c, const struct json *j)
{
    int64_t min = config_int(r, "", j, "podInitialBackoffSeconds", BACKOFF_MIN_S);
    int64_t max = config_int(r, "", j, "podMaxBackoffSeconds", BACKOFF_MAX_S);
    if (min <= 0)
        config_invalid(r, "podInitialBackoffSeconds", min, "must be greater than 0");
    if (max < min)
        config_invalid(r, "podMaxBackoffSeconds", max,
                       "must be greater than or equal to PodInitialBackoffSeconds");
    c->backoff_min_ms = (uint64_t)MAX_OF(min, (int64_t)1) * 1000;
    c->backoff_max_ms = (uint64_t)MAX_OF(max, (int64_t)1) * 1000;
}

static void read_document(struct config_reader *r, struct sched_config *c, const struct json *j)
{
    CONFIG_KNOWN(r, "", j, "apiVersion", "kind", "parallelism", "leaderElection",
                 "clientConnection", "enableProfiling", "enableContentionProfiling",
                 "percentageOfNodesToScore", "podInitialBackoffSeconds", "podMaxBackoffSeconds",
                 "profiles", "extenders", "delayCacheUntilActive");
    int64_t parallelism = config_int(r, "", j, "parallelism", 16);
    if (parallelism <= 0)
        config_invalid(r, "parallelism", parallelism,
                       "should be an integer value greater than zero");
    read_connection(r, c, j);
    read_backoff(r, c, j);
    read_profiles(r, c, j, read_percentage(r, "", j, 0));
    config_extenders(r, c, j);
}

static struct sched_config *config_new(void)
{
    struct arena *a = arena_new(0);
    struct sched_config *c = ARENA_NEW(a, struct sched_config);
    c->arena = a;
    c->bind_timeout_ms = 600u * 1000;
    c->reclaim = ESTIMATE_RULES_DEFAULT;
    return c;
}

struct sched_config *sched_config_default(void)
{
    struct sched_config *c = config_new();
    c->backoff_min_ms = BACKOFF_MIN_S * 1000;
    c->backoff_max_ms = BACKOFF_MAX_S * 1000;
    c->profile_count = 1;
    c->profiles = ARENA_NEW(c->arena, struct profile);
    profile_init(c->profiles, SCHEDULER_NAME);
    return c;
}

static int check_kind(const struct json *j, struct error *err)
{
    struct str version = json_get_str(j, "apiVersion"), kind = json_get_str(j, "kind");
    if (j->type == JSON_OBJECT && str_eqc(version, SCHED_CONFIG_VERSION) &&
        str_eqc(kind, SCHED_CONFIG_KIND))
        return 0;
    return error_set(err, E_INVALID,
                     "no kind \"" STR_FMT "\" is registered for version \"" STR_FMT
                     "\"; " SCHED_CONFIG_KIND " of " SCHED_CONFIG_VERSION " is read",
                     STR_ARG(kind), STR_ARG(version));
}

int sched_config_parse(struct str text, struct sched_config **ret, struct error *err)
{
    struct sched_config *c = config_new();
    struct config_reader r = {.arena = c->arena, .errors = BUF_INIT};
    struct json *j = NULL;
    size_t used = 0;
    int rc = api_yaml_parse_strict(c->arena, text, &used, &j, err);
    if (rc == E_EOF)
        rc = error_set(err, E_INVALID, "the configuration is empty");
    if (rc == 0)
        rc = check_kind(j, err);
    if (rc == 0)
        read_document(&r, c, j);
    if (rc == 0 && r.error_count != 0)
        rc = error_set(err, E_INVALID, r.error_count > 1 ? "[" STR_FMT "]" : STR_FMT,
                       STR_ARG(buf_str(&r.errors)));
    buf_done(&r.errors);
    if (rc != 0)
        sched_config_free(c);
    else
        *ret = c;
    return rc;
}

void sched_config_free(struct sched_config *c)
{
    if (c != NULL)
        arena_free(c->arena);
}

const struct profile *sched_config_profile(const struct sched_config *c, struct str name)
{
    for (size_t i = 0; i < c->profile_count; i++)
        if (str_eqc(name, c->profiles[i].name))
            return &c->profiles[i];
    return NULL;
}

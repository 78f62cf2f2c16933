/* eviction.c - see eviction.h: thresholds and conditions. Ranks and texts are in eviction_rank.c.
 */
#include "kubelet/eviction.h"

#include "kubelet/resources.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"

#include <stdlib.h>

static const struct {
    const char *name, *resource;
    enum eviction_condition condition;
} signals[EVICTION_SIGNALS] = {
    [EVICTION_MEMORY] = {"memory.available", "memory", EVICTION_MEMORY_PRESSURE},
    [EVICTION_ALLOCATABLE] = {"allocatableMemory.available", "memory", EVICTION_MEMORY_PRESSURE},
    [EVICTION_NODEFS] = {"nodefs.available", "ephemeral-storage", EVICTION_DISK_PRESSURE},
    [EVICTION_NODEFS_INODES] = {"nodefs.inodesFree", "inodes", EVICTION_DISK_PRESSURE},
    [EVICTION_IMAGEFS] = {"imagefs.available", "ephemeral-storage", EVICTION_DISK_PRESSURE},
    [EVICTION_IMAGEFS_INODES] = {"imagefs.inodesFree", "inodes", EVICTION_DISK_PRESSURE},
    [EVICTION_CONTAINERFS] = {"containerfs.available", "ephemeral-storage", EVICTION_DISK_PRESSURE},
    [EVICTION_CONTAINERFS_INODES] = {"containerfs.inodesFree", "inodes", EVICTION_DISK_PRESSURE},
    [EVICTION_PIDS] = {"pid.available", "pids", EVICTION_PID_PRESSURE},
};

static const char *hard_defaults[] = {"memory.available<100Mi", "nodefs.available<10%",
                                      "nodefs.inodesFree<5%", "imagefs.available<15%",
                                      "imagefs.inodesFree<5%"};
const struct flag_list eviction_hard_default = {hard_defaults, ARRAY_SIZE(hard_defaults)};

const char *eviction_signal_name(enum eviction_signal s)
{
    return signals[s].name;
}

const char *eviction_resource_name(enum eviction_signal s)
{
    return signals[s].resource;
}

const char *eviction_condition_name(enum eviction_condition c)
{
    static const char *const names[] = {"MemoryPressure", "DiskPressure", "PIDPressure"};
    return names[c];
}

int64_t eviction_amount_of(const struct eviction_amount *x, int64_t capacity)
{
    return x->is_share ? (int64_t)((double)capacity * x->share) : x->value;
}

/* --- grammar ------------------------------------------------------------------------------- */

static int parse_amount(enum eviction_signal s, struct str text, struct eviction_amount *ret,
                        struct error *err)
{
    struct quantity q;
    if (text.len > 1 && text.data[text.len - 1] == '%') {
        char number[32], *end;
        if (text.len > sizeof(number))
            return error_set(err, E_INVALID, "'" STR_FMT "' is no percentage", STR_ARG(text));
        memcpy(number, text.data, text.len - 1);
        number[text.len - 1] = '\0';
        double percent = strtod(number, &end);
        if (*end != '\0' || !(percent >= 0 && percent <= 100))
            return error_set(err, E_INVALID,
                             "eviction percentage threshold must be >= 0%% and <= 100%%: " STR_FMT,
                             STR_ARG(text));
        *ret = (struct eviction_amount){.is_share = true, .share = percent / 100};
        return 0;
    }
    int rc = quantity_parse(text, &q, err);
    if (rc != 0)
        return error_prefix(err,
                            "'" STR_FMT "' of %s is neither an amount such as 100Mi nor a "
                            "percentage such as 10%%",
                            STR_ARG(text), signals[s].name);
    if (quantity_sign(&q) < 0)
        return error_set(err, E_INVALID, "eviction threshold must be positive: " STR_FMT,
                         STR_ARG(text));
    *ret = (struct eviction_amount){.value = quantity_value(&q)};
    return 0;
}

/* "signal<amount" or "signal=value". */
static int parse_signal(const char *item, char sign, enum eviction_signal *ret_signal,
                        struct str *ret_value, struct error *err)
{
    struct str name;
    if (!str_cut(str_of(item), sign, &name, ret_value))
        return error_set(err, E_INVALID, "'%s' is not of the form signal%cvalue", item, sign);
    name = str_trim(name);
    *ret_value = str_trim(*ret_value);
    for (int i = 0; i < EVICTION_SIGNALS; i++)
        if (str_eqc(name, signals[i].name)) {
            *ret_signal = (enum eviction_signal)i;
            return 0;
        }
    return error_set(err, E_INVALID, "unsupported eviction signal " STR_FMT, STR_ARG(name));
}

static struct eviction_threshold *find(struct eviction *e, enum eviction_signal s, bool soft)
{
    for (size_t i = 0; i < e->count; i++)
        if (e->thresholds[i].signal == s && e->thresholds[i].soft == soft)
            return &e->thresholds[i];
    return NULL;
}

static int add_thresholds(struct eviction *e, const struct flag_list *list, bool soft,
                          struct error *err)
{
    bool seen[EVICTION_SIGNALS] = {false};
    for (size_t i = 0; i < list->count; i++) {
        struct eviction_threshold t = {.soft = soft};
        struct str value;
        int rc = parse_signal(list->items[i], '<', &t.signal, &value, err);
        if (rc == 0 && seen[t.signal])
            rc = error_set(err, E_INVALID, "found duplicate eviction threshold for signal %s",
                           signals[t.signal].name);
        if (rc == 0)
            rc = parse_amount(t.signal, value, &t.amount, err);
        if (rc != 0)
            return rc;
        seen[t.signal] = true;
        /* 0% and 100% turn a default off. */
        if (!t.amount.is_share || (t.amount.share > 0 && t.amount.share < 1))
            e->thresholds[e->count++] = t;
    }
    return 0;
}

/* As upstream, pods together are watched as strictly as the machine. */
static void add_allocatable(struct eviction *e)
{
    const struct eviction_threshold *memory = find(e, EVICTION_MEMORY, false);
    if (memory == NULL || find(e, EVICTION_ALLOCATABLE, false) != NULL)
        return;
    struct eviction_threshold t = *memory;
    t.signal = EVICTION_ALLOCATABLE;
    e->thresholds[e->count++] = t;
}

static int set_graces(struct eviction *e, const struct flag_list *list, struct error *err)
{
    bool given[EVICTION_SIGNALS] = {false};
    for (size_t i = 0; i < list->count; i++) {
        enum eviction_signal s;
        struct str value;
        int64_t ns = 0;
        int rc = parse_signal(list->items[i], '=', &s, &value, err);
        if (rc == 0 && (duration_parse(value, &ns) != 0 || ns < 0))
            rc = error_set(err, E_INVALID,
                           "invalid eviction grace period specified: " STR_FMT
                           ", must be a positive value",
                           STR_ARG(value));
        if (rc != 0)
            return rc;
        given[s] = true;
        struct eviction_threshold *t = find(e, s, true);
        if (t != NULL)
            t->grace_ms = (uint64_t)ns / 1000000;
    }
    for (size_t i = 0; i < e->count; i++)
        if (e->thresholds[i].soft && !given[e->thresholds[i].signal])
            return error_set(err, E_INVALID,
                             "grace period must be specified for the soft eviction threshold %s",
                             signals[e->thresholds[i].signal].name);
    return 0;
}

static int set_reclaims(struct eviction *e, const struct flag_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        enum eviction_signal s;
        struct str value;
        struct eviction_amount amount;
        int rc = parse_signal(list->items[i], '=', &s, &value, err);
        if (rc == 0)
            rc = parse_amount(s, value, &amount, err);
        if (rc != 0)
            return rc;
        for (size_t k = 0; k < e->count; k++)
            if (e->thresholds[k].signal == s)
                e->thresholds[k].min_reclaim = amount;
    }
    return 0;
}

/* Before the reason: where the value stands. */
static int place(struct error *err, const char *file, const char *field, const char *flag)
{
    return file != NULL ? error_prefix(err, "--config %s: %s", file, field)
                        : error_prefix(err, "--%s", flag);
}

int eviction_init(struct eviction *e, const struct eviction_config *config, struct error *err)
{
    *e = (struct eviction){.transition_ms =
                               (uint64_t)MAX_OF(config->transition_ns, (int64_t)0) / 1000000};
    int rc = add_thresholds(e, &config->hard, false, err);
    if (rc != 0)
        return place(err, config->file.hard, "evictionHard", "eviction-hard");
    rc = add_thresholds(e, &config->soft, true, err);
    if (rc != 0)
        return place(err, config->file.soft, "evictionSoft", "eviction-soft");
    rc = set_graces(e, &config->soft_grace, err);
    /* What is missing altogether belongs where the thresholds stand. */
    if (rc != 0)
        return place(err,
                     config->soft_grace.count > 0 ? config->file.soft_grace : config->file.soft,
                     "evictionSoftGracePeriod", "eviction-soft-grace-period");
    add_allocatable(e);
    rc = set_reclaims(e, &config->min_reclaim, err);
    return rc == 0 ? 0
                   : place(err, config->file.min_reclaim, "evictionMinimumReclaim",
                           "eviction-minimum-reclaim");
}

int64_t eviction_hard_amount(const struct eviction *e, enum eviction_signal s, int64_t capacity)
{
    for (size_t i = 0; i < e->count; i++)
        if (e->thresholds[i].signal == s && !e->thresholds[i].soft)
            return eviction_amount_of(&e->thresholds[i].amount, capacity);
    return 0;
}

/* --- state ------------------------------------------------------------------------------------ */

/* Once met it stays so until the minimum has been won back. */
static bool is_met(const struct eviction_threshold *t, const struct eviction_reading *r)
{
    int64_t wanted = eviction_amount_of(&t->amount, r->capacity);
    if (t->met)
        wanted += eviction_amount_of(&t->min_reclaim, r->capacity);
    return r->available < wanted;
}

void eviction_update(struct eviction *e, const struct eviction_reading *readings, uint64_t now_ms)
{
    for (size_t i = 0; i < e->count; i++) {
        struct eviction_threshold *t = &e->thresholds[i];
        const struct eviction_reading *r = &readings[t->signal];
        if (!r->known)
            continue; /* As it was. */
        bool met = is_met(t, r);
        if (met && !t->met)
            t->since_ms = now_ms;
        t->met = met;
    }
    for (size_t i = 0; i < e->count; i++)
        if (e->thresholds[i].met) {
            e->observed[signals[e->thresholds[i].signal].condition] = true;
            e->observed_ms[signals[e->thresholds[i].signal].condition] = now_ms;
        }
    for (int c = 0; c < EVICTION_CONDITIONS; c++)
        e->conditions[c] = e->observed[c] && (e->observed_ms[c] == now_ms ||
                                              now_ms - e->observed_ms[c] < e->transition_ms);
}

const struct eviction_threshold *eviction_due(const struct eviction *e, uint64_t now_ms)
{
    const struct eviction_threshold *best = NULL;
    for (size_t i = 0; i < e->count; i++) {
        const struct eviction_threshold *t = &e->thresholds[i];
        if (!t->met || now_ms - t->since_ms < t->grace_ms)
            continue;
        /* Signals are listed in their order; hard thresholds act faster. */
        if (best == NULL || t->signal < best->signal ||
            (t->signal == best->signal && best->soft && !t->soft))
            best = t;
    }
    return best;
}

static bool tolerates_memory_pressure(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->spec.tolerations_count; i++) {
        const struct core_v1_toleration *t = &pod->spec.tolerations[i];
        bool key = str_eqc(t->key, "node.kubernetes.io/memory-pressure") ||
                   (str_empty(t->key) && str_eqc(t->operator, "Exists"));
        bool value = str_eqc(t->operator, "Exists") || str_empty(t->value);
        if (key && value && (str_empty(t->effect) || str_eqc(t->effect, "NoSchedule")))
            return true;
    }
    return false;
}

bool eviction_admits(const struct eviction *e, struct arena *a, const struct core_v1_pod *pod,
                     const char **ret_message)
{
    bool memory = e->conditions[EVICTION_MEMORY_PRESSURE];
    bool others = e->conditions[EVICTION_DISK_PRESSURE] || e->conditions[EVICTION_PID_PRESSURE];
    if ((!memory && !others) || eviction_is_critical(pod))
        return true;
    if (!others && (pod_qos_class(pod) != QOS_BEST_EFFORT || tolerates_memory_pressure(pod)))
        return true;
    AUTO_BUF b = BUF_INIT;
    for (int c = 0; c < EVICTION_CONDITIONS; c++)
        if (e->conditions[c])
            buf_printf(&b, "%s%s", b.len > 0 ? " " : "",
                       eviction_condition_name((enum eviction_condition)c));
    *ret_message =
        str_c(arena_printf(a, "The node had condition: [" STR_FMT "]. ", STR_ARG(buf_str(&b))));
    return false;
}

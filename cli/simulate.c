/* simulate.c - `trireme simulate`: the scheduler's own code on a cluster's state that
 * was recorded (kubectl get nodes,pods,... -A -o yaml), is read from a running
 * cluster, or is made up. Nothing is written to any cluster. */
#include "cli/cluster_state.h"
#include "cli/objects.h"
#include "cli/simulate_pods.h"
#include "cli/verbs.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "scheduler/config.h"
#include "scheduler/simulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 100000
#define CONFIG_BYTES_MAX (1u << 20)

struct simulate {
    struct objects objects;
    struct flag_list state, pods;
    bool live, fits, no_preemption;
    int64_t nodes, zones, replicas, limit, seed;
    const char *config_path;
    struct sched_config *config;
    const char *node_cpu, *node_memory, *node_pods, *output;
    struct arena *arena, *scratch; /* scratch: of one pod. */
    struct simulation *simulation;
    struct api_object **wanted; /* Pods that were asked about; owned. */
    size_t wanted_count, wanted_cap;
    struct simulation_outcome *outcomes;
    size_t outcome_count, outcome_cap;
    size_t objects_read;
};

/* --- the state ---------------------------------------------------------------------------------
 */

static int decode(struct arena *a, const struct json *j, const struct api_kind *k,
                  struct api_object **ret, struct error *err)
{
    struct api_object *o = api_object_new(k);
    UNUSED(a);
    int rc = api_json_decode_tree(o->arena, k->msg, j, API_LENIENT, NULL, o->msg, err);
    if (rc != 0) {
        api_object_unref(o);
        (void)error_prefix(err, "%s", k->kind);
        return rc;
    }
    *ret = o;
    return 0;
}

static int add_from_file(struct arena *a, const struct json *j, const struct api_kind *k, void *arg,
                         struct error *err)
{
    struct simulate *s = arg;
    struct api_object *o;
    int rc = decode(a, j, k, &o, err);
    if (rc != 0)
        return rc;
    simulation_add(s->simulation, o);
    s->objects_read++;
    api_object_unref(o);
    return 0;
}

/* A file without any object is a slip: an empty cluster is said by naming no file. */
static int read_file(struct simulate *s, const char *path, const char *flag, objects_fn *fn,
                     struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    size_t before = s->objects_read;
    int rc = objects_each_in_file(a, path, fn, s, err);
    if (rc == 0 && s->objects_read == before)
        rc = error_set(err, E_INVALID,
                       "%s %s: no object in it; it is to hold what kubectl get -o yaml (or json) "
                       "writes",
                       flag, strcmp(path, "-") == 0 ? "- (standard input)" : path);
    return rc;
}

static int read_files(struct simulate *s, struct error *err)
{
    for (size_t i = 0; i < s->state.count; i++) {
        int rc = read_file(s, s->state.items[i], "--filename", add_from_file, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int make_nodes(struct simulate *s, struct error *err)
{
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), STR("Node"));
    for (int64_t i = 0; i < s->nodes; i++) {
        AUTO_BUF b = BUF_INIT;
        struct api_object *o = api_object_new(k);
        buf_printf(&b,
                   "{\"metadata\":{\"name\":\"node-%05lld\",\"labels\":{\"kubernetes.io/hostname\":"
                   "\"node-%05lld\"",
                   (long long)i, (long long)i);
        if (s->zones > 0)
            buf_printf(&b, ",\"topology.kubernetes.io/zone\":\"zone-%lld\"",
                       (long long)(i % s->zones));
        buf_printf(&b,
                   "}},\"status\":{\"allocatable\":{\"cpu\":\"%s\",\"memory\":\"%s\",\"pods\":"
                   "\"%s\"}}}",
                   s->node_cpu, s->node_memory, s->node_pods);
        int rc = api_json_decode(o->arena, k->msg, buf_str(&b), API_STRICT, NULL, o->msg, err);
        if (rc == 0)
            simulation_add(s->simulation, o);
        api_object_unref(o);
        if (rc != 0)
            return error_prefix(err, "--node-cpu, --node-memory, --node-pods");
    }
    return 0;
}

/* --- the pods ----------------------------------------------------------------------------------
 */

static void want(struct simulate *s, struct api_object *pod)
{
    s->wanted = arena_grow(s->arena, s->wanted, s->wanted_count, &s->wanted_cap,
                           sizeof(struct api_object *));
    s->wanted[s->wanted_count++] = pod;
}

/* A pod, or as many as the workload would make; or the group that they are in, or their claims. */
static int want_from_file(struct arena *a, const struct json *j, const struct api_kind *k,
                          void *arg, struct error *err)
{
    struct simulate *s = arg;
    struct api_object *o;
    if (strcmp(k->kind, "PodGroup") == 0 || strncmp(k->kind, "ResourceClaim", 13) == 0)
        return add_from_file(a, j, k, arg, err);
    int rc = decode(a, j, k, &o, err);
    if (rc != 0)
        return rc;
    s->objects_read++;
    struct workload w;
    rc = workload_of(o, &w, err);
    int64_t count = s->fits ? 1 : s->replicas >= 0 ? s->replicas : w.replicas;
    if (rc == 0 && w.owner != NULL)
        simulation_add(s->simulation, w.owner);
    for (int64_t i = 0; rc == 0 && i < count; i++)
        want(s, workload_pod(&w, i));
    if (rc == 0)
        workload_done(&w);
    api_object_unref(o);
    return rc;
}

static int choose_pods(struct simulate *s, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->pods.count; i++)
        rc = read_file(s, s->pods.items[i], "--pods", want_from_file, err);
    struct api_object *pod;
    while (rc == 0 && s->pods.count == 0 && (pod = simulation_next_pending(s->simulation)) != NULL)
        want(s, pod);
    if (rc == 0 && s->fits && s->wanted_count != 1)
        rc = error_set(err, E_INVALID, "--fits asks about one pod or workload, not %zu",
                       s->wanted_count);
    return rc;
}

static struct simulation_outcome *next_outcome(struct simulate *s)
{
    s->outcomes =
        arena_grow(s->arena, s->outcomes, s->outcome_count, &s->outcome_cap, sizeof(*s->outcomes));
    return &s->outcomes[s->outcome_count++];
}

static const struct simulation_outcome *place(struct simulate *s, struct api_object *pod)
{
    struct simulation_outcome *o = next_outcome(s);
    simulation_place(s->simulation, s->scratch, pod, !s->no_preemption && !s->fits, o);
    o->message = arena_str(s->arena, o->message);
    arena_clear(s->scratch);
    return o;
}

/* Of the gang, from the wanted pod `first` on: all are placed together, and done. */
static void place_gang(struct simulate *s, size_t first, struct str key, bool *done)
{
    struct api_object **pods = ARENA_ARRAY(s->arena, struct api_object *, s->wanted_count - first);
    size_t count = 0;
    for (size_t i = first; i < s->wanted_count; i++) {
        if (done[i] || !str_eq(simulation_gang(s->simulation, s->scratch, s->wanted[i]), key))
            continue;
        done[i] = true;
        pods[count++] = s->wanted[i];
    }
    struct simulation_outcome *all = ARENA_ARRAY(s->arena, struct simulation_outcome, count);
    simulation_place_gang(s->simulation, s->arena, pods, count, !s->no_preemption, all);
    for (size_t i = 0; i < count; i++)
        *next_outcome(s) = all[i];
}

static void place_wanted(struct simulate *s)
{
    bool *done = ARENA_ARRAY(s->arena, bool, s->wanted_count + 1);
    for (size_t i = 0; i < s->wanted_count; i++) {
        if (done[i])
            continue;
        struct str key = simulation_gang(s->simulation, s->arena, s->wanted[i]);
        if (str_empty(key))
            (void)place(s, s->wanted[i]);
        else
            place_gang(s, i, key, done);
        arena_clear(s->scratch);
    }
}

/* Copies of the one pod until the next does not fit. */
static void place_copies(struct simulate *s)
{
    for (int64_t i = 0; i < s->limit; i++) {
        struct api_object *copy = api_object_clone(s->wanted[0]);
        struct meta_v1_object_meta *m = api_object_meta(copy);
        m->name =
            arena_printf(copy->arena, STR_FMT "-%lld",
                         STR_ARG(str_empty(m->name) ? m->generate_name : m->name), (long long)i);
        m->uid = STR_NULL;
        bool placed = place(s, copy)->node != NULL;
        api_object_unref(copy);
        if (!placed)
            return;
    }
}

/* --- answers -----------------------------------------------------------------------------------
 */

static const struct meta_v1_object_meta *meta_of(const struct simulation_outcome *o)
{
    return api_object_meta(o->pod);
}

static void put(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", name);
    json_write_string(value, b);
}

static void begin_item(struct buf *b, const struct meta_v1_object_meta *m)
{
    buf_puts(b, b->data[b->len - 1] == '[' ? "{" : ",{");
    put(b, "namespace", m->namespace);
    put(b, "name", m->name);
}

static void write_json(const struct simulate *s, struct buf *b)
{
    size_t placed = 0;
    buf_puts(b, "{\"placed\":[");
    for (size_t i = 0; i < s->outcome_count; i++) {
        const struct simulation_outcome *o = &s->outcomes[i];
        if (o->node == NULL)
            continue;
        placed++;
        begin_item(b, meta_of(o));
        put(b, "node", str_of(o->node));
        buf_putc(b, '}');
    }
    buf_puts(b, "],\"refused\":[");
    for (size_t i = 0; i < s->outcome_count; i++) {
        const struct simulation_outcome *o = &s->outcomes[i];
        if (o->node != NULL)
            continue;
        begin_item(b, meta_of(o));
        put(b, "message", o->message);
        buf_putc(b, '}');
    }
    buf_puts(b, "],\"evicted\":[");
    for (size_t i = 0; i < s->outcome_count; i++) {
        const struct simulation_outcome *o = &s->outcomes[i];
        for (size_t k = 0; k < o->victim_count; k++) {
            begin_item(b, api_object_meta(o->victims[k].pod));
            put(b, "node", str_of(o->victims[k].node));
            put(b, "for",
                arena_printf(s->arena, STR_FMT "/" STR_FMT, STR_ARG(meta_of(o)->namespace),
                             STR_ARG(meta_of(o)->name)));
            buf_putc(b, '}');
        }
    }
    buf_printf(b, "],\"nodes\":%zu", simulation_node_count(s->simulation));
    if (s->fits)
        buf_printf(b, ",\"fits\":%zu", placed);
    buf_puts(b, "}\n");
}

static void write_placements(const struct simulate *s, struct buf *b)
{
    if (s->outcome_count != 0)
        buf_printf(b, "%-20s %-40s %s\n", "NAMESPACE", "POD", "NODE");
    for (size_t i = 0; i < s->outcome_count; i++) {
        const struct simulation_outcome *o = &s->outcomes[i];
        buf_printf(b, "%-20.*s %-40.*s %s%s" STR_FMT "\n", STR_ARG(meta_of(o)->namespace),
                   STR_ARG(meta_of(o)->name), o->node != NULL ? o->node : "<none>",
                   o->node != NULL ? "" : "  ", STR_ARG(o->message));
    }
}

static size_t write_evictions(const struct simulate *s, struct buf *b)
{
    size_t count = 0;
    for (size_t i = 0; i < s->outcome_count; i++) {
        const struct simulation_outcome *o = &s->outcomes[i];
        for (size_t k = 0; k < o->victim_count; k++) {
            const struct meta_v1_object_meta *m = api_object_meta(o->victims[k].pod);
            if (count++ == 0)
                buf_printf(b, "\n%-20s %-40s %-24s %s\n", "NAMESPACE", "EVICTED", "FROM", "FOR");
            buf_printf(b, "%-20.*s %-40.*s %-24s " STR_FMT "/" STR_FMT "\n", STR_ARG(m->namespace),
                       STR_ARG(m->name), o->victims[k].node, STR_ARG(meta_of(o)->namespace),
                       STR_ARG(meta_of(o)->name));
        }
    }
    return count;
}

static int by_node(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* How many copies on which node. */
static void write_fits(const struct simulate *s, struct buf *b)
{
    const char **nodes = ARENA_ARRAY(s->arena, const char *, s->outcome_count + 1);
    size_t placed = 0;
    for (size_t i = 0; i < s->outcome_count; i++)
        if (s->outcomes[i].node != NULL)
            nodes[placed++] = s->outcomes[i].node;
    if (placed != 0)
        qsort(nodes, placed, sizeof(*nodes), by_node);
    buf_printf(b, "%-40s %s\n", "NODE", "COPIES");
    for (size_t i = 0, run; i < placed; i += run) {
        for (run = 1; i + run < placed && strcmp(nodes[i], nodes[i + run]) == 0;)
            run++;
        buf_printf(b, "%-40s %zu\n", nodes[i], run);
    }
    const struct meta_v1_object_meta *m = api_object_meta(s->wanted[0]);
    buf_printf(b, "\n%zu %s of " STR_FMT " would fit on %zu nodes.\n", placed,
               placed == 1 ? "copy" : "copies",
               STR_ARG(str_empty(m->name) ? m->generate_name : m->name),
               simulation_node_count(s->simulation));
    if (placed < s->outcome_count)
        buf_printf(b, "The next: " STR_FMT "\n", STR_ARG(s->outcomes[placed].message));
    else
        buf_printf(b, "More were not tried (--limit %lld).\n", (long long)s->limit);
}

static void write_text(const struct simulate *s, struct buf *b)
{
    size_t placed = 0;
    if (s->fits) {
        write_fits(s, b);
        return;
    }
    write_placements(s, b);
    size_t evicted = write_evictions(s, b);
    for (size_t i = 0; i < s->outcome_count; i++)
        placed += s->outcomes[i].node != NULL;
    buf_printf(b, "%s%zu of %zu pods would be placed on %zu nodes, %zu not; %zu evicted.\n",
               s->outcome_count != 0 ? "\n" : "", placed, s->outcome_count,
               simulation_node_count(s->simulation), s->outcome_count - placed, evicted);
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static void register_flags(struct simulate *s, struct flag_set *f)
{
    flag_string_array(f, &s->state, "filename,f",
                      "`File` or folder with the cluster's state: what kubectl get "
                      "nodes,pods,... -A -o yaml (or json) wrote; -: standard input.");
    flag_bool(f, &s->live, "live", "Read the state from the cluster of --kubeconfig.");
    flag_string(f, &s->objects.kubeconfig, "kubeconfig",
                "`File` that names servers and credentials, with --live.");
    flag_string(f, &s->objects.context, "context", "`Context` of the kubeconfig to use.");
    flag_string(f, &s->config_path, "config",
                "`File` with a KubeSchedulerConfiguration: the scheduler's profiles and plugins.");
    flag_int(f, &s->nodes, "nodes", "Make up this many nodes.");
    flag_string(f, &s->node_cpu, "node-cpu", "CPU of a node that is made up.");
    flag_string(f, &s->node_memory, "node-memory", "Its memory.");
    flag_string(f, &s->node_pods, "node-pods", "How many pods may run on it.");
    flag_int(f, &s->zones, "zones", "Zones that nodes made up are dealt to; 0: none.");
    flag_string_array(
        f, &s->pods, "pods,p",
        "`File` with the pods to place, or with workloads that make them "
        "(Deployment, ReplicaSet, ReplicationController, StatefulSet, Job), "
        "PodGroups, ResourceClaims and their templates; default: the pods of the state that wait.");
    flag_int(f, &s->replicas, "replicas", "As many pods of each, whatever the file says.");
    flag_bool(f, &s->fits, "fits", "How many copies of the pod fit, without evicting others?");
    flag_int(f, &s->limit, "limit", "Most copies to try with --fits.");
    flag_bool(f, &s->no_preemption, "no-preemption", "Evict nothing.");
    flag_int(f, &s->seed, "seed", "Decides between nodes that are equally good.");
    flag_string(f, &s->output, "output,o", "Output `format`: text or json.");
}

static int check_flags(const struct simulate *s, struct error *err)
{
    if (strcmp(s->output, "text") != 0 && strcmp(s->output, "json") != 0)
        return error_set(err, E_USAGE, "unknown output format \"%s\": text and json are possible",
                         s->output);
    if (s->nodes < 0 || s->nodes > 1000000 || s->limit < 1)
        return error_set(err, E_USAGE, "--nodes must be 0 to 1000000, --limit at least 1");
    if (s->state.count == 0 && !s->live && s->nodes == 0)
        return error_set(err, E_INVALID,
                         "say which cluster: --filename, --live or --nodes (see --help)");
    if (s->fits && s->pods.count == 0)
        return error_set(err, E_USAGE, "--fits needs --pods");
    return 0;
}

static int read_config(struct simulate *s, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int rc = file_read(s->config_path, CONFIG_BYTES_MAX, &text, err);
    if (rc == 0)
        rc = sched_config_parse(buf_str(&text), &s->config, err);
    if (rc != 0)
        return error_prefix(err, "%s", s->config_path);
    simulation_set_config(s->simulation, s->config);
    return 0;
}

static int run(struct simulate *s, struct error *err)
{
    int rc = check_flags(s, err);
    if (rc == 0 && s->config_path != NULL)
        rc = read_config(s, err);
    if (rc == 0)
        rc = make_nodes(s, err);
    if (rc == 0)
        rc = read_files(s, err);
    if (rc == 0 && s->live)
        rc = cluster_state_read(s->arena, &s->objects, s->simulation, err);
    if (rc == 0)
        rc = choose_pods(s, err);
    if (rc != 0)
        return rc;
    if (s->fits)
        place_copies(s);
    else
        place_wanted(s);
    AUTO_BUF out = BUF_INIT;
    if (strcmp(s->output, "json") == 0)
        write_json(s, &out);
    else
        write_text(s, &out);
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

int verb_simulate(int argc, char **argv)
{
    struct simulate s = {.replicas = -1,
                         .limit = LIMIT_DEFAULT,
                         .node_cpu = "4",
                         .node_memory = "16Gi",
                         .node_pods = "110",
                         .output = "text"};
    struct flag_set *flags = flag_set_new("trireme simulate [flags]");
    int code;
    register_flags(&s, flags);
    if (verb_flags_alone(flags, argc, argv, &code) != 0) {
        flag_set_free(flags);
        return code;
    }
    struct error err = {0};
    s.arena = arena_new(0);
    s.scratch = arena_new(0);
    s.simulation = simulation_new((uint64_t)s.seed);
    code = run(&s, &err) == 0 ? 0 : verb_fail(&err);
    for (size_t i = 0; i < s.outcome_count; i++)
        simulation_outcome_done(&s.outcomes[i]);
    for (size_t i = 0; i < s.wanted_count; i++)
        api_object_unref(s.wanted[i]);
    simulation_free(s.simulation);
    sched_config_free(s.config);
    objects_done(&s.objects);
    arena_free(s.arena);
    arena_free(s.scratch);
    flag_set_free(flags);
    return code;
}

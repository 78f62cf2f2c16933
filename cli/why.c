/* why.c - `trireme why POD`: why does a pod wait? The scheduler's own filters are asked about the
 * cluster as it is now, and answer by plugin and number of nodes. Nothing is written. */
#include "cli/cluster_state.h"
#include "cli/objects.h"
#include "cli/verbs.h"

#include "api/core_v1.h"
#include "lib/api/json.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/client/sync.h"
#include "scheduler/config.h"
#include "scheduler/simulation.h"

#include <stdio.h>
#include <string.h>

#define CONFIG_BYTES_MAX (1u << 20)

struct why {
    struct objects objects;
    const char *config_path, *output;
    struct sched_config *config;
    struct simulation *simulation;
    struct arena *arena;
    struct api_object *pod; /* One reference. */
    struct str state;       /* "Waits", "Gated", "Placed", "Finished", "Deleted" */
    struct str summary, said;
    struct simulation_why answer;
};

static const struct core_v1_pod *pod_of(const struct why *w)
{
    return w->pod->msg;
}

/* --- what is the case --------------------------------------------------------------------------
 */

static void tell(struct why *w, const char *state, struct str summary)
{
    w->state = str_of(state);
    w->summary = summary;
}

static struct str gates(struct arena *a, const struct core_v1_pod *p)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < p->spec.scheduling_gates_count; i++)
        buf_printf(&b, "%s" STR_FMT, i != 0 ? ", " : "", STR_ARG(p->spec.scheduling_gates[i].name));
    return arena_str(a, buf_str(&b));
}

/* False: nothing is to be asked of plugins. */
static bool is_undecided(struct why *w)
{
    const struct core_v1_pod *p = pod_of(w);
    if (pod_is_terminal(p))
        tell(w, "Finished",
             arena_printf(w->arena, "it is over: " STR_FMT, STR_ARG(p->status.phase)));
    else if (!str_empty(p->spec.node_name))
        tell(w, "Placed",
             arena_printf(w->arena, "it does not wait for the scheduler: it is on node " STR_FMT,
                          STR_ARG(p->spec.node_name)));
    else if (p->metadata.deletion_timestamp != NULL)
        tell(w, "Deleted", STR("it is being deleted"));
    else if (p->spec.scheduling_gates_count != 0)
        tell(w, "Gated",
             arena_printf(w->arena,
                          "SchedulingGates: it waits until these are taken away: " STR_FMT,
                          STR_ARG(gates(w->arena, p))));
    else
        return true;
    return false;
}

/* The members of a gang are placed together. */
static struct str ask_gang(struct why *w, struct str key)
{
    struct arena *a = w->arena;
    struct api_object **pods = NULL, *o;
    size_t count = 0, cap = 0;
    while ((o = simulation_next_pending(w->simulation)) != NULL) {
        if (!str_eq(simulation_gang(w->simulation, a, o), key)) {
            api_object_unref(o);
            continue;
        }
        pods = arena_grow(a, pods, count, &cap, sizeof(struct api_object *));
        pods[count++] = o;
    }
    struct simulation_outcome *all = ARENA_ARRAY(a, struct simulation_outcome, count + 1);
    if (count != 0)
        simulation_place_gang(w->simulation, a, pods, count, true, all);
    struct str text = STR_NULL;
    for (size_t i = 0; i < count; i++) {
        if (str_eq(api_object_meta(pods[i])->uid, pod_of(w)->metadata.uid))
            text = all[i].node != NULL
                       ? arena_printf(a, "its group " STR_FMT " fits as a whole", STR_ARG(key))
                       : arena_str(a, all[i].message);
        simulation_outcome_done(&all[i]);
        api_object_unref(pods[i]);
    }
    return text;
}

static void ask(struct why *w)
{
    struct arena *a = w->arena;
    struct simulation_why *x = &w->answer;
    const struct core_v1_pod *p = pod_of(w);
    for (size_t i = 0; i < p->status.conditions_count; i++)
        if (str_eqc(p->status.conditions[i].type, "PodScheduled"))
            w->said = p->status.conditions[i].message;
    if (!is_undecided(w))
        return;
    simulation_explain(w->simulation, a, w->pod, x);
    struct str gang = simulation_gang(w->simulation, a, w->pod);
    struct str together = str_empty(gang) ? STR_NULL : ask_gang(w, gang);
    if (!str_empty(together))
        tell(w, "Waits", together);
    else if (!str_empty(x->failure))
        tell(w, "Waits", arena_printf(a, "no decision can be made: " STR_FMT, STR_ARG(x->failure)));
    else if (x->fitting != 0)
        tell(w, "Waits",
             arena_printf(a,
                          "%zu of %zu nodes fit now, %s among them: the scheduler " STR_FMT
                          " has not come to it yet, or does not run",
                          x->fitting, x->nodes, x->best, STR_ARG(p->spec.scheduler_name)));
    else
        tell(w, "Waits", arena_printf(a, "0 of %zu nodes fit", x->nodes));
}

/* --- answers ------------------------------------------------------------------------------------
 */

static void put(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", name);
    json_write_string(value, b);
}

static void write_json(const struct why *w, struct buf *b)
{
    const struct simulation_why *x = &w->answer;
    buf_putc(b, '{');
    put(b, "namespace", pod_of(w)->metadata.namespace);
    put(b, "name", pod_of(w)->metadata.name);
    put(b, "state", w->state);
    put(b, "summary", w->summary);
    buf_printf(b, ",\"nodes\":%zu,\"fitting\":%zu,\"reasons\":[", x->nodes, x->fitting);
    for (size_t i = 0; i < x->reason_count; i++) {
        const struct simulation_reason *r = &x->reasons[i];
        buf_puts(b, i != 0 ? ",{" : "{");
        put(b, "plugin", str_of(r->plugin));
        put(b, "reason", r->text);
        buf_printf(b, ",\"nodes\":%zu,\"examples\":[", r->nodes);
        for (size_t k = 0; k < ARRAY_SIZE(r->examples) && r->examples[k] != NULL; k++) {
            if (k != 0)
                buf_putc(b, ',');
            json_write_string(str_of(r->examples[k]), b);
        }
        buf_puts(b, "]}");
    }
    buf_putc(b, ']');
    if (!str_empty(x->preemption))
        put(b, "preemption", x->preemption);
    if (!str_empty(w->said))
        put(b, "schedulerSaid", w->said);
    buf_puts(b, "}\n");
}

static void write_reason(const struct simulation_reason *r, struct buf *b)
{
    char nodes[24] = "all";
    if (r->nodes != 0)
        (void)snprintf(nodes, sizeof(nodes), "%zu", r->nodes);
    buf_printf(b, "%-6s %-26s " STR_FMT, nodes, r->plugin, STR_ARG(r->text));
    for (size_t k = 0; k < ARRAY_SIZE(r->examples) && r->examples[k] != NULL; k++)
        buf_printf(b, "%s%s", k == 0 ? "  (" : ", ", r->examples[k]);
    if (r->nodes != 0)
        buf_puts(b, r->nodes > ARRAY_SIZE(r->examples) ? ", ...)" : ")");
    buf_putc(b, '\n');
}

static void write_text(const struct why *w, struct buf *b)
{
    const struct simulation_why *x = &w->answer;
    buf_printf(b, STR_FMT "/" STR_FMT ": " STR_FMT "\n", STR_ARG(pod_of(w)->metadata.namespace),
               STR_ARG(pod_of(w)->metadata.name), STR_ARG(w->summary));
    if (x->reason_count != 0)
        buf_printf(b, "\n%-6s %-26s %s\n", "NODES", "PLUGIN", "REASON");
    for (size_t i = 0; i < x->reason_count; i++)
        write_reason(&x->reasons[i], b);
    if (!str_empty(x->preemption))
        buf_printf(b, "\nEvicting others: " STR_FMT "\n", STR_ARG(x->preemption));
    if (!str_empty(w->said) && str_eqc(w->state, "Waits"))
        buf_printf(b, "\nThe scheduler said last: " STR_FMT "\n", STR_ARG(w->said));
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static int read_config(struct why *w, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int rc = file_read(w->config_path, CONFIG_BYTES_MAX, &text, err);
    if (rc == 0)
        rc = sched_config_parse(buf_str(&text), &w->config, err);
    if (rc != 0)
        return error_prefix(err, "%s", w->config_path);
    simulation_set_config(w->simulation, w->config);
    return 0;
}

/* As the state has it; one that does not wait is not in its queue. */
static int find_pod(struct why *w, struct str name, struct error *err)
{
    struct api_object *o = simulation_pod(w->simulation, w->objects.namespace_name, name);
    if (o != NULL) {
        w->pod = api_object_ref(o);
        return 0;
    }
    return sync_get(w->objects.client, api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
                    w->objects.namespace_name, name, &w->pod, err);
}

static int run(struct why *w, const struct flag_set *flags, struct error *err)
{
    size_t count = 0;
    const char *const *args = flag_set_args(flags, &count);
    if (count != 1)
        return error_set(err, E_USAGE, "want the name of one pod; see --help");
    struct str name = str_of(args[0]), kind, rest;
    if (str_cut(name, '/', &kind, &rest)) {
        if (!str_eqc(kind, "pod") && !str_eqc(kind, "pods"))
            return error_set(err, E_INVALID,
                             "only pods wait for the scheduler, and \"%s\" is none: say POD or "
                             "pod/POD",
                             args[0]);
        name = rest;
    }
    if (strcmp(w->output, "text") != 0 && strcmp(w->output, "json") != 0)
        return error_set(err, E_USAGE, "unknown output format \"%s\": text and json are possible",
                         w->output);
    int rc = w->config_path != NULL ? read_config(w, err) : 0;
    if (rc == 0)
        rc = cluster_state_read(w->arena, &w->objects, w->simulation, err);
    if (rc == 0)
        rc = find_pod(w, name, err);
    if (rc != 0)
        return rc;
    ask(w);
    AUTO_BUF out = BUF_INIT;
    if (strcmp(w->output, "json") == 0)
        write_json(w, &out);
    else
        write_text(w, &out);
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

int verb_why(int argc, char **argv)
{
    struct why w = {.output = "text"};
    struct flag_set *flags = flag_set_new("trireme why POD [flags]");
    int code = 0;
    objects_register_flags(&w.objects, flags);
    flag_string(flags, &w.config_path, "config",
                "`File` with the KubeSchedulerConfiguration that the scheduler runs with.");
    flag_string(flags, &w.output, "output,o", "Output `format`: text or json.");
    if (verb_flags(flags, argc, argv, &code) == 0) {
        struct error err = {0};
        w.arena = arena_new(0);
        w.simulation = simulation_new(0);
        code = run(&w, flags, &err) == 0 ? 0 : verb_fail(&err);
        api_object_unref(w.pod);
        simulation_free(w.simulation);
        sched_config_free(w.config);
        objects_done(&w.objects);
        arena_free(w.arena);
    }
    flag_set_free(flags);
    return code;
}

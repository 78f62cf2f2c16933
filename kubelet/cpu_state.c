/* cpu_state.c - see cpu_state.h. */
#include "kubelet/cpu_state.h"

#include "kubelet/state_file.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <string.h>

void cpu_state_init(struct cpu_state *s, const char *policy)
{
    *s = (struct cpu_state){.policy = xstrdup(policy)};
}

static void item_done(struct cpu_assignment *i)
{
    free(i->pod);
    free(i->container);
}

void cpu_state_done(struct cpu_state *s)
{
    for (size_t i = 0; i < s->count; i++)
        item_done(&s->items[i]);
    free(s->items);
    free(s->policy);
    *s = (struct cpu_state){0};
}

/* Items are kept in the order of the file: by pod, then by container. */
static size_t place_of(const struct cpu_state *s, struct str pod, struct str container,
                       bool *ret_found)
{
    size_t i = 0;
    *ret_found = false;
    for (; i < s->count; i++) {
        int order = str_cmp(str_of(s->items[i].pod), pod);
        if (order == 0)
            order = str_cmp(str_of(s->items[i].container), container);
        *ret_found = order == 0;
        if (order >= 0)
            break;
    }
    return i;
}

const struct cpu_set *cpu_state_find(const struct cpu_state *s, struct str pod,
                                     struct str container)
{
    bool found;
    size_t i = place_of(s, pod, container, &found);
    return found ? &s->items[i].cpus : NULL;
}

void cpu_state_set(struct cpu_state *s, struct str pod, struct str container,
                   const struct cpu_set *cpus)
{
    bool found;
    size_t i = place_of(s, pod, container, &found);
    if (!found) {
        s->items = xrealloc(s->items, (s->count + 1) * sizeof(*s->items));
        memmove(&s->items[i + 1], &s->items[i], (s->count - i) * sizeof(*s->items));
        s->count++;
        s->items[i] = (struct cpu_assignment){.pod = xstrndup(pod.data, pod.len),
                                              .container = xstrndup(container.data, container.len)};
    }
    s->items[i].cpus = *cpus;
}

void cpu_state_remove(struct cpu_state *s, size_t index)
{
    item_done(&s->items[index]);
    s->count--;
    memmove(&s->items[index], &s->items[index + 1], (s->count - index) * sizeof(*s->items));
}

/* --- the file -----------------------------------------------------------------------------------
 */

/* What Go prints of upstream's structure with %#v (of go-spew), and takes the checksum of. */
static uint32_t checksum(const struct cpu_state *s, struct arena *a)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b,
               "(*state.CPUManagerCheckpoint){PolicyName:(string)%s DefaultCPUSet:(string)%s "
               "Entries:(map[string]map[string]string)map[",
               s->policy, cpu_set_text(&s->shared, a));
    for (size_t i = 0; i < s->count; i++) {
        const struct cpu_assignment *x = &s->items[i];
        bool first = i == 0 || strcmp(s->items[i - 1].pod, x->pod) != 0;
        bool last = i + 1 == s->count || strcmp(s->items[i + 1].pod, x->pod) != 0;
        if (first)
            buf_printf(&b, "%s%s:map[", i > 0 ? " " : "", x->pod);
        buf_printf(&b, "%s%s:%s%s", first ? "" : " ", x->container, cpu_set_text(&x->cpus, a),
                   last ? "]" : "");
    }
    buf_printf(&b, "] Checksum:(checksum.Checksum)0}");
    return state_checksum(buf_str(&b));
}

void cpu_state_write(const struct cpu_state *s, struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *j = json_object(a), *entries = json_object(a), *pod = NULL;
    json_setc(a, j, "policyName", json_string(a, str_of(s->policy)));
    json_setc(a, j, "defaultCpuSet", json_string(a, str_of(cpu_set_text(&s->shared, a))));
    for (size_t i = 0; i < s->count; i++) {
        const struct cpu_assignment *x = &s->items[i];
        if (i == 0 || strcmp(s->items[i - 1].pod, x->pod) != 0) {
            pod = json_object(a);
            json_setc(a, entries, x->pod, pod);
        }
        json_setc(a, pod, x->container, json_string(a, str_of(cpu_set_text(&x->cpus, a))));
    }
    if (s->count > 0)
        json_setc(a, j, "entries", entries);
    json_setc(a, j, "checksum", json_int(a, checksum(s, a)));
    json_write(j, false, out);
}

static int read_cpus(const struct json *j, const char *what, struct cpu_set *ret, struct error *err)
{
    if (j == NULL || j->type != JSON_STRING)
        return error_set(err, E_INVALID, "%s is not a string", what);
    int rc = cpu_set_parse(j->string, ret, err);
    return rc == 0 ? 0 : error_prefix(err, "could not parse %s", what);
}

static int read_entries(struct cpu_state *s, const struct json *j, struct error *err)
{
    if (j == NULL || j->type == JSON_NULL)
        return 0;
    if (j->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "entries is not an object");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->object.count; i++) {
        const struct json_member *pod = &j->object.members[i];
        if (pod->value->type != JSON_OBJECT)
            return error_set(err, E_INVALID, "the entry of a pod is not an object");
        for (size_t k = 0; rc == 0 && k < pod->value->object.count; k++) {
            const struct json_member *c = &pod->value->object.members[k];
            struct cpu_set cpus;
            rc = read_cpus(c->value, "the cpuset of a container", &cpus, err);
            if (rc == 0)
                cpu_state_set(s, pod->key, c->key, &cpus);
        }
    }
    return rc;
}

static int read_all(struct cpu_state *s, struct arena *a, struct str text, struct error *err)
{
    struct json *j;
    int rc = json_parse(a, text, &j, err);
    if (rc == 0 && j->type != JSON_OBJECT)
        rc = error_set(err, E_INVALID, "it is not a JSON object");
    if (rc == 0 && !str_eqc(json_get_str(j, "policyName"), s->policy))
        rc = error_set(err, E_INVALID,
                       "configured policy \"%s\" differs from state checkpoint policy \"" STR_FMT
                       "\"",
                       s->policy, STR_ARG(json_get_str(j, "policyName")));
    if (rc == 0)
        rc = read_cpus(json_getc(j, "defaultCpuSet"), "defaultCpuSet", &s->shared, err);
    if (rc == 0)
        rc = read_entries(s, json_getc(j, "entries"), err);
    if (rc != 0)
        return rc;
    /* 0, or none: upstream accepts files of its oldest form. */
    int64_t told = json_get_int(j, "checksum", 0);
    return told == 0 || told == checksum(s, a)
               ? 0
               : error_set(err, E_INVALID, "checkpoint is corrupted");
}

int cpu_state_read(struct cpu_state *s, struct str text, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct cpu_state read;
    cpu_state_init(&read, s->policy);
    int rc = read_all(&read, a, text, err);
    if (rc != 0) {
        cpu_state_done(&read);
        return rc;
    }
    cpu_state_done(s);
    *s = read;
    return 0;
}

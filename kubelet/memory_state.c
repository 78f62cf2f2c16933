/* memory_state.c - see memory_state.h. */
#include "kubelet/memory_state.h"

#include "kubelet/state_file.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void memory_state_init(struct memory_state *s, const char *policy)
{
    *s = (struct memory_state){.policy = xstrdup(policy)};
}

void memory_state_done(struct memory_state *s)
{
    while (s->count > 0)
        memory_state_remove(s, s->count - 1);
    free(s->items);
    free(s->policy);
    *s = (struct memory_state){0};
}

static size_t place_of(const struct memory_state *s, struct str pod, struct str container,
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

struct memory_assignment *memory_state_find(const struct memory_state *s, struct str pod,
                                            struct str container)
{
    bool found;
    size_t i = place_of(s, pod, container, &found);
    return found ? &s->items[i] : NULL;
}

struct memory_assignment *memory_state_add(struct memory_state *s, struct str pod,
                                           struct str container)
{
    bool found;
    size_t i = place_of(s, pod, container, &found);
    if (found)
        return &s->items[i];
    s->items = xrealloc(s->items, (s->count + 1) * sizeof(*s->items));
    memmove(&s->items[i + 1], &s->items[i], (s->count - i) * sizeof(*s->items));
    s->count++;
    s->items[i] = (struct memory_assignment){.pod = xstrndup(pod.data, pod.len),
                                             .container = xstrndup(container.data, container.len)};
    return &s->items[i];
}

void memory_state_remove(struct memory_state *s, size_t index)
{
    free(s->items[index].pod);
    free(s->items[index].container);
    s->count--;
    memmove(&s->items[index], &s->items[index + 1], (s->count - index) * sizeof(*s->items));
}

/* --- the machine ------------------------------------------------------------------------------ */

int memory_type_of(const struct memory_machine *m, struct str name)
{
    for (size_t i = 0; i < m->type_count; i++)
        if (str_eqc(name, m->types[i]))
            return (int)i;
    return -1;
}

/* From the lowest node on, as much as each has. */
void memory_machine_take(struct memory_machine *m, const struct memory_block *b)
{
    int64_t rest = b->bytes;
    for (numa_mask left = b->nodes; left != 0; left &= left - 1) {
        struct memory_node *n = &m->node[__builtin_ctzll(left)];
        struct memory_table *t = &n->tables[b->type];
        int64_t part = MAX_OF(MIN_OF(rest, t->free), (int64_t)0);
        n->assignments++;
        n->cells = b->nodes;
        t->reserved += part;
        t->free -= part;
        rest -= part;
    }
}

/* --- what the file looks like -------------------------------------------------------------------
 */

static const char *const table_fields[] = {"total", "systemReserved", "allocatable", "reserved",
                                           "free"};

static struct json *json_of_nodes(struct arena *a, numa_mask nodes)
{
    struct json *list = json_array(a);
    for (; nodes != 0; nodes &= nodes - 1)
        json_append(a, list, json_int(a, __builtin_ctzll(nodes)));
    return list;
}

static struct json *json_of_table(struct arena *a, const struct memory_table *t)
{
    const int64_t values[] = {t->total, t->system_reserved, t->allocatable, t->reserved, t->free};
    struct json *j = json_object(a);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        json_setc(a, j, table_fields[i], json_int(a, values[i]));
    return j;
}

static struct json *json_of_machine(struct arena *a, const struct memory_machine *m)
{
    struct json *all = json_object(a);
    for (numa_mask left = m->nodes; left != 0; left &= left - 1) {
        int id = __builtin_ctzll(left);
        const struct memory_node *n = &m->node[id];
        struct json *j = json_object(a), *tables = json_object(a);
        for (size_t i = 0; i < m->type_count; i++)
            json_setc(a, tables, m->types[i], json_of_table(a, &n->tables[i]));
        json_setc(a, j, "numberOfAssignments", json_int(a, n->assignments));
        json_setc(a, j, "memoryMap", tables);
        json_setc(a, j, "cells", json_of_nodes(a, n->cells));
        json_setc(a, all, str_c(arena_printf(a, "%d", id)), j);
    }
    return all;
}

static struct json *json_of_entries(struct arena *a, const struct memory_state *s,
                                    const struct memory_machine *m)
{
    struct json *all = json_object(a), *pod = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct memory_assignment *x = &s->items[i];
        struct json *list = json_array(a);
        if (i == 0 || strcmp(s->items[i - 1].pod, x->pod) != 0) {
            pod = json_object(a);
            json_setc(a, all, x->pod, pod);
        }
        for (size_t k = 0; k < x->count; k++) {
            struct json *b = json_object(a);
            json_setc(a, b, "numaAffinity", json_of_nodes(a, x->blocks[k].nodes));
            json_setc(a, b, "type", json_string(a, str_of(m->types[x->blocks[k].type])));
            json_setc(a, b, "size", json_int(a, x->blocks[k].bytes));
            json_append(a, list, b);
        }
        json_setc(a, pod, x->container, list);
    }
    return all;
}

/* --- the checksum: what Go prints of upstream's structure with %#v (of go-spew)
 * ------------------- */

static void print_ints(struct buf *b, const struct json *list)
{
    buf_puts(b, "[");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++)
        buf_printf(b, "%s%" PRId64, i > 0 ? " " : "", list->array.items[i]->integer);
    buf_puts(b, "]");
}

static void print_table(struct buf *b, const struct json *t)
{
    buf_printf(b,
               "<*>{TotalMemSize:(uint64)%" PRId64 " SystemReserved:(uint64)%" PRId64
               " Allocatable:(uint64)%" PRId64 " Reserved:(uint64)%" PRId64 " Free:(uint64)%" PRId64
               "}",
               json_get_int(t, "total", 0), json_get_int(t, "systemReserved", 0),
               json_get_int(t, "allocatable", 0), json_get_int(t, "reserved", 0),
               json_get_int(t, "free", 0));
}

/* Calls back for an object's members in the order of their keys: numbers as such, others as text.
 */
static void each_sorted(struct arena *a, struct buf *b, const struct json *object, bool numbers,
                        void (*print)(struct arena *a, struct buf *b, const struct json *value))
{
    size_t count = object != NULL && object->type == JSON_OBJECT ? object->object.count : 0;
    const struct json_member **sorted =
        (const struct json_member **)ARENA_ARRAY(a, const struct json_member *, count + 1);
    if (count > 0)
        json_sort_members(object, sorted);
    for (size_t i = 1; numbers && i < count; i++)
        for (size_t k = i; k > 0 && sorted[k]->key.len < sorted[k - 1]->key.len; k--) {
            const struct json_member *swap = sorted[k];
            sorted[k] = sorted[k - 1];
            sorted[k - 1] = swap;
        }
    buf_puts(b, "map[");
    for (size_t i = 0; i < count; i++) {
        buf_printf(b, "%s" STR_FMT ":", i > 0 ? " " : "", STR_ARG(sorted[i]->key));
        print(a, b, sorted[i]->value);
    }
    buf_puts(b, "]");
}

static void print_memory_table(struct arena *a, struct buf *b, const struct json *t)
{
    UNUSED(a);
    print_table(b, t);
}

static void print_node(struct arena *a, struct buf *b, const struct json *n)
{
    buf_printf(b,
               "<*>{NumberOfAssignments:(int)%" PRId64
               " MemoryMap:(map[v1.ResourceName]*state.MemoryTable)",
               json_get_int(n, "numberOfAssignments", 0));
    each_sorted(a, b, json_getc(n, "memoryMap"), false, print_memory_table);
    buf_puts(b, " Cells:([]int)");
    print_ints(b, json_getc(n, "cells"));
    buf_puts(b, "}");
}

static void print_blocks(struct arena *a, struct buf *b, const struct json *list)
{
    UNUSED(a);
    buf_puts(b, "[");
    for (size_t i = 0; list->type == JSON_ARRAY && i < list->array.count; i++) {
        const struct json *x = list->array.items[i];
        buf_printf(b, "%s{NUMAAffinity:([]int)", i > 0 ? " " : "");
        print_ints(b, json_getc(x, "numaAffinity"));
        buf_printf(b, " Type:(v1.ResourceName)" STR_FMT " Size:(uint64)%" PRId64 "}",
                   STR_ARG(json_get_str(x, "type")), json_get_int(x, "size", 0));
    }
    buf_puts(b, "]");
}

static void print_pod(struct arena *a, struct buf *b, const struct json *pod)
{
    each_sorted(a, b, pod, false, print_blocks);
}

static uint32_t checksum(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b,
               "(*state.MemoryManagerCheckpoint){PolicyName:(string)" STR_FMT
               " MachineState:(state.NUMANodeMap)",
               STR_ARG(json_get_str(j, "policyName")));
    each_sorted(a, &b, json_getc(j, "machineState"), true, print_node);
    buf_puts(&b, " Entries:(state.ContainerMemoryAssignments)");
    each_sorted(a, &b, json_getc(j, "entries"), false, print_pod);
    buf_puts(&b, " Checksum:(checksum.Checksum)0}");
    return state_checksum(buf_str(&b));
}

/* --- writing and reading
 * --------------------------------------------------------------------------- */

void memory_state_write(const struct memory_state *s, const struct memory_machine *m,
                        struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *j = json_object(a);
    json_setc(a, j, "policyName", json_string(a, str_of(s->policy)));
    json_setc(a, j, "machineState", json_of_machine(a, m));
    if (s->count > 0)
        json_setc(a, j, "entries", json_of_entries(a, s, m));
    json_setc(a, j, "checksum", json_int(a, checksum(a, j)));
    json_write(j, false, out);
}

static int read_nodes(const struct json *list, numa_mask *ret, struct error *err)
{
    *ret = 0;
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++) {
        const struct json *x = list->array.items[i];
        if (x->type != JSON_INT || x->integer < 0 || x->integer >= NUMA_NODE_MAX)
            return error_set(err, E_INVALID, "it has a NUMA node that is not a number below %d",
                             NUMA_NODE_MAX);
        *ret |= (numa_mask)1 << x->integer;
    }
    return 0;
}

static int read_block(struct memory_assignment *to, const struct json *j,
                      const struct memory_machine *m, struct error *err)
{
    struct memory_block b = {.bytes = json_get_int(j, "size", 0)};
    int type = memory_type_of(m, json_get_str(j, "type"));
    int rc = read_nodes(json_getc(j, "numaAffinity"), &b.nodes, err);
    if (rc != 0)
        return rc;
    if (b.nodes == 0 || (b.nodes & ~m->nodes) != 0)
        return error_set(err, E_INVALID,
                         "(pod: %s, container: %s) the memory assignment uses the NUMA that does "
                         "not exist",
                         to->pod, to->container);
    if (type < 0 || to->count == MEMORY_TYPES_MAX)
        return error_set(err, E_INVALID,
                         "(pod: %s, container: %s) the memory assignment uses memory resource that "
                         "does not exist",
                         to->pod, to->container);
    if (b.bytes < 0)
        return error_set(err, E_INVALID, "(pod: %s, container: %s) a size is negative", to->pod,
                         to->container);
    b.type = (size_t)type;
    to->blocks[to->count++] = b;
    return 0;
}

static int read_entries(struct memory_state *s, const struct json *j,
                        const struct memory_machine *m, struct error *err)
{
    if (j == NULL || j->type == JSON_NULL)
        return 0;
    if (j->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "entries is not an object");
    for (size_t i = 0; i < j->object.count; i++) {
        const struct json_member *pod = &j->object.members[i];
        if (pod->value->type != JSON_OBJECT)
            return error_set(err, E_INVALID, "the entry of a pod is not an object");
        for (size_t k = 0; k < pod->value->object.count; k++) {
            const struct json_member *c = &pod->value->object.members[k];
            struct memory_assignment *to = memory_state_add(s, pod->key, c->key);
            if (c->value->type != JSON_ARRAY)
                return error_set(err, E_INVALID, "the entry of a container is not a list");
            for (size_t n = 0; n < c->value->array.count; n++) {
                int rc = read_block(to, c->value->array.items[n], m, err);
                if (rc != 0)
                    return rc;
            }
        }
    }
    return 0;
}

/* What is on the nodes of a group is only looked at as a whole: which node of it a block is taken
 * from depends on the order in which blocks came and went. */
static bool same_group(const struct json *told, const struct memory_machine *m, numa_mask group,
                       size_t type)
{
    int64_t free_bytes = 0, reserved = 0;
    for (numa_mask left = group; left != 0; left &= left - 1) {
        int id = __builtin_ctzll(left);
        char key[8];
        snprintf(key, sizeof(key), "%d", id);
        const struct json *n = json_getc(told, key);
        const struct json *t = json_getc(json_getc(n, "memoryMap"), m->types[type]);
        free_bytes += m->node[id].tables[type].free - json_get_int(t, "free", -1);
        reserved += m->node[id].tables[type].reserved - json_get_int(t, "reserved", -1);
    }
    return free_bytes == 0 && reserved == 0;
}

static bool same_node(const struct json *told, const struct memory_machine *m, int id)
{
    char key[8];
    snprintf(key, sizeof(key), "%d", id);
    const struct json *j = json_getc(told, key), *tables = json_getc(j, "memoryMap");
    const struct memory_node *n = &m->node[id];
    numa_mask cells;
    if (tables == NULL || tables->type != JSON_OBJECT || tables->object.count != m->type_count ||
        json_get_int(j, "numberOfAssignments", -1) != n->assignments ||
        read_nodes(json_getc(j, "cells"), &cells, NULL) != 0 || cells != n->cells)
        return false;
    for (size_t i = 0; i < m->type_count; i++) {
        const struct json *t = json_getc(tables, m->types[i]);
        if (json_get_int(t, "total", -1) != n->tables[i].total ||
            json_get_int(t, "systemReserved", -1) != n->tables[i].system_reserved ||
            json_get_int(t, "allocatable", -1) != n->tables[i].allocatable ||
            !same_group(told, m, n->cells, i))
            return false;
    }
    return true;
}

/* Memory was added or taken out, other amounts are reserved, or the file was written to. */
static int check_machine(const struct memory_state *s, const struct json *told,
                         const struct memory_machine *empty, struct error *err)
{
    struct memory_machine *m = xmemdup(empty, sizeof(*empty));
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->items[i].count; k++)
            memory_machine_take(m, &s->items[i].blocks[k]);
    bool same = told != NULL && told->type == JSON_OBJECT &&
                told->object.count == (size_t)numa_mask_count(m->nodes);
    for (numa_mask left = m->nodes; left != 0 && same; left &= left - 1)
        same = same_node(told, m, __builtin_ctzll(left));
    free(m);
    return same ? 0
                : error_set(err, E_INVALID,
                            "the expected machine state is different from the real one");
}

static int read_all(struct memory_state *s, struct arena *a, struct str text,
                    const struct memory_machine *empty, struct error *err)
{
    struct json *j;
    int rc = json_parse(a, text, &j, err);
    if (rc == 0 && j->type != JSON_OBJECT)
        rc = error_set(err, E_INVALID, "it is not a JSON object");
    if (rc != 0)
        return rc;
    struct str policy = json_get_str(j, "policyName");
    if (!str_eqc(policy, s->policy))
        return error_set(err, E_INVALID,
                         "configured policy \"%s\" differs from state checkpoint policy \"" STR_FMT
                         "\"",
                         s->policy, STR_ARG(policy));
    if (json_get_int(j, "checksum", 0) != checksum(a, j))
        return error_set(err, E_INVALID, "checkpoint is corrupted");
    rc = read_entries(s, json_getc(j, "entries"), empty, err);
    const struct json *told = json_getc(j, "machineState");
    bool is_new =
        s->count == 0 && (told == NULL || told->type != JSON_OBJECT || told->object.count == 0);
    return rc == 0 && !is_new ? check_machine(s, told, empty, err) : rc;
}

int memory_state_read(struct memory_state *s, struct str text, const struct memory_machine *empty,
                      struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct memory_state read;
    memory_state_init(&read, s->policy);
    int rc = read_all(&read, a, text, empty, err);
    if (rc != 0) {
        memory_state_done(&read);
        return rc;
    }
    memory_state_done(s);
    *s = read;
    return 0;
}

/* memory_manager_config.c - the memory manager's settings, and its start. */
#include "kubelet/memory_manager_internal.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdio.h>
#include <string.h>

#define RESERVED "--reserved-memory"
#define RESERVED_FORM "N:memory=1Gi,hugepages-2Mi=4Mi"

/* --- settings -----------------------------------------------------------------------------------
 */

struct parser {
    struct arena *a;
    struct memory_reservation *list;
    size_t count, cap;
};

static int parse_amount(struct parser *p, int64_t node, struct str text, struct error *err)
{
    struct str key, value;
    struct quantity q;
    if (!str_cut(text, '=', &key, &value) || quantity_parse(str_trim(value), &q, NULL) != 0)
        return error_set(err, E_INVALID, RESERVED ": '" STR_FMT "' is not of the form memory=1Gi",
                         STR_ARG(text));
    key = str_trim(key);
    int64_t bytes = quantity_value(&q);
    if (!str_eqc(key, "memory") && str_find_str(key, STR("hugepages-")) != 0)
        return error_set(err, E_INVALID,
                         RESERVED ": the limit type \"" STR_FMT "\" for NUMA node %lld is invalid, "
                                  "only memory and hugepages-<size> are",
                         STR_ARG(key), (long long)node);
    if (bytes <= 0)
        return error_set(err, E_INVALID,
                         RESERVED ": " STR_FMT " of NUMA node %lld must be greater than zero",
                         STR_ARG(key), (long long)node);
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].node == node && str_eqc(key, p->list[i].type))
            return error_set(err, E_INVALID,
                             RESERVED ": " STR_FMT " of NUMA node %lld stands there twice",
                             STR_ARG(key), (long long)node);
    p->list = arena_grow(p->a, p->list, p->count, &p->cap, sizeof(*p->list));
    p->list[p->count++] = (struct memory_reservation){
        .node = node, .type = str_c(arena_str(p->a, key)), .bytes = bytes};
    return 0;
}

static int parse_node(struct parser *p, struct str text, struct error *err)
{
    struct str id, rest, one;
    int64_t node;
    if (!str_cut(text, ':', &id, &rest) || !str_to_i64(str_trim(id), &node) || node < 0)
        return error_set(err, E_INVALID,
                         RESERVED ": '" STR_FMT "' is not of the form " RESERVED_FORM,
                         STR_ARG(text));
    int rc = 0;
    for (bool more = true; more && rc == 0;) {
        more = str_cut(rest, ',', &one, &rest);
        rc = parse_amount(p, node, one, err);
    }
    return rc;
}

int memory_manager_config_parse(const char *policy, const struct flag_list *reserved,
                                struct arena *a, struct memory_manager_config *ret,
                                struct error *err)
{
    struct memory_manager_config c = {.is_static = policy != NULL && strcmp(policy, "Static") == 0};
    struct parser p = {.a = a};
    if (policy != NULL && !c.is_static && strcmp(policy, "None") != 0)
        return error_set(err, E_INVALID, "--memory-manager-policy: '%s' is neither None nor Static",
                         policy);
    int rc = 0;
    for (size_t i = 0; reserved != NULL && i < reserved->count; i++) {
        struct str rest = str_of(reserved->items[i]), one;
        for (bool more = true; more && rc == 0;) {
            more = str_cut(rest, ';', &one, &rest);
            rc = parse_node(&p, str_trim(one), err);
        }
    }
    c.reservations = p.list;
    c.reservation_count = p.count;
    if (rc == 0)
        *ret = c;
    return rc;
}

/* --- the machine --------------------------------------------------------------------------------
 */

static void add_type(struct memory_machine *m, const char *name)
{
    snprintf(m->types[m->type_count++], MEMORY_TYPE_NAME_MAX, "%s", name);
}

void memory_machine_of(const struct machine_topology *t, struct memory_machine *ret)
{
    *ret = (struct memory_machine){.nodes = t->numa.nodes};
    add_type(ret, "memory");
    for (size_t i = 0; i < t->hugepage_size_count; i++) {
        char name[MEMORY_TYPE_NAME_MAX], size[QUANTITY_TEXT_MAX];
        struct quantity q = quantity_from_int(t->hugepage_bytes[i], QUANTITY_BINARY_SI);
        quantity_format(&q, size);
        snprintf(name, sizeof(name), "hugepages-%.16s", size);
        add_type(ret, name);
    }
    for (numa_mask left = t->numa.nodes; left != 0; left &= left - 1) {
        int id = __builtin_ctzll(left);
        struct memory_node *n = &ret->node[id];
        n->cells = (numa_mask)1 << id;
        n->tables[0].total = t->memory[id].bytes;
        n->tables[0].allocatable = t->memory[id].bytes;
        for (size_t i = 0; i < t->hugepage_size_count; i++) {
            int64_t bytes = t->memory[id].hugepages[i] * t->hugepage_bytes[i];
            n->tables[1 + i].total = n->tables[1 + i].allocatable = bytes;
            n->tables[0].allocatable -= bytes; /* Pages are set apart from the rest. */
        }
    }
}

static const char *amount(struct arena *a, int64_t bytes)
{
    char text[QUANTITY_TEXT_MAX];
    struct quantity q = quantity_from_int(bytes, QUANTITY_BINARY_SI);
    quantity_format(&q, text);
    return arena_strdup(a, text);
}

static int reserve_one(struct memory_machine *m, const struct memory_reservation *r,
                       struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    int type = memory_type_of(m, str_of(r->type));
    if (r->node >= NUMA_NODE_MAX || (m->nodes >> r->node & 1) == 0)
        return error_set(err, E_INVALID,
                         RESERVED ": the reserved memory configuration references a NUMA node %lld "
                                  "that does not exist on this machine",
                         (long long)r->node);
    if (type < 0)
        return error_set(err, E_INVALID, RESERVED ": this machine has no %s", r->type);
    struct memory_table *t = &m->node[r->node].tables[type];
    if (r->bytes > t->allocatable)
        return error_set(err, E_INVALID,
                         RESERVED ": NUMA node %lld has %s of %s, less than the %s reserved of it",
                         (long long)r->node, amount(a, t->allocatable), r->type,
                         amount(a, r->bytes));
    t->system_reserved = r->bytes;
    t->allocatable -= r->bytes;
    return 0;
}

static int check_total(const struct memory_machine *m, size_t type, int64_t held_back,
                       struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    int64_t sum = 0;
    for (numa_mask left = m->nodes; left != 0; left &= left - 1)
        sum += m->node[__builtin_ctzll(left)].tables[type].system_reserved;
    if (sum == held_back)
        return 0;
    return error_set(err, E_INVALID,
                     RESERVED ": the total amount \"%s\" of type \"%s\" is not equal to the value "
                              "\"%s\" determined by Node Allocatable feature: reserve as much as "
                              "--system-reserved, --kube-reserved and --eviction-hard together",
                     amount(a, sum), m->types[type], amount(a, held_back));
}

static int reserve(struct memory_manager *m, const struct memory_manager_config *c,
                   const int64_t *held_back, struct error *err)
{
    int64_t memory = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->reservation_count; i++) {
        rc = reserve_one(m->empty, &c->reservations[i], err);
        memory += strcmp(c->reservations[i].type, "memory") == 0 ? c->reservations[i].bytes : 0;
    }
    if (rc == 0 && memory == 0)
        return error_set(err, E_INVALID,
                         "--memory-manager-policy: Static needs memory reserved for the system: "
                         "give " RESERVED "=" RESERVED_FORM);
    for (size_t t = 0; rc == 0 && t < m->empty->type_count; t++)
        rc = check_total(m->empty, t, held_back[t], err);
    for (numa_mask left = m->empty->nodes; left != 0; left &= left - 1)
        for (size_t t = 0; t < m->empty->type_count; t++) {
            struct memory_table *x = &m->empty->node[__builtin_ctzll(left)].tables[t];
            x->free = x->allocatable;
        }
    return rc;
}

/* --- life ---------------------------------------------------------------------------------------
 */

void memory_manager_settle(struct memory_manager *m)
{
    *m->now = *m->empty;
    for (size_t i = 0; i < m->state.count; i++)
        for (size_t k = 0; k < m->state.items[i].count; k++)
            memory_machine_take(m->now, &m->state.items[i].blocks[k]);
}

/* Of policy None the file has no machine, as upstream's. */
void memory_manager_write(const struct memory_manager *m, struct buf *out)
{
    memory_state_write(&m->state, m->now, out);
}

int memory_manager_new(const struct memory_manager_config *config,
                       const struct memory_machine *machine, const int64_t *held_back,
                       struct str state, struct memory_manager **ret, struct error *err)
{
    struct memory_manager *m = xzalloc(sizeof(*m));
    m->is_static = config->is_static;
    m->generation = 1; /* A first state is saved, too. */
    m->empty = xmemdup(machine, sizeof(*machine));
    m->now = xzalloc(sizeof(*m->now));
    memory_state_init(&m->state, m->is_static ? "Static" : "None");
    int rc = 0;
    if (m->is_static)
        rc = reserve(m, config, held_back, err);
    else
        m->empty->nodes = 0;
    if (rc == 0 && state.len > 0 && memory_state_read(&m->state, state, m->empty, err) != 0) {
        struct error why = *err;
        rc = error_set(err, E_CORRUPT, "%s", error_message(&why));
    }
    memory_manager_settle(m);
    if (rc == 0)
        *ret = m;
    else
        memory_manager_free(m);
    return rc;
}

void memory_manager_free(struct memory_manager *m)
{
    if (m == NULL)
        return;
    memory_state_done(&m->state);
    free(m->empty);
    free(m->now);
    free(m);
}

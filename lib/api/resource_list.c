/* resource_list.c - see resource_list.h. */
#include "lib/api/resource_list.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"

/* The place of name: where it is, or where it belongs. */
static size_t place(const struct resource_list *l, struct str name, bool *ret_found)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = str_cmp(l->items[mid].name, name);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_found = false;
    return low;
}

const struct quantity *resource_list_get(const struct resource_list *l, struct str name)
{
    bool found;
    size_t i = place(l, name, &found);
    return found ? &l->items[i].q : NULL;
}

/* The amount of name; *ret_new when it was not listed. */
static struct quantity *slot(struct resource_list *l, struct str name, bool *ret_new)
{
    bool found;
    size_t i = place(l, name, &found);
    *ret_new = !found;
    if (!found) {
        l->items = arena_grow(l->arena, l->items, l->count, &l->cap, sizeof(*l->items));
        memmove(&l->items[i + 1], &l->items[i], (l->count - i) * sizeof(*l->items));
        l->items[i] = (struct resource_amount){.name = arena_str(l->arena, name)};
        l->count++;
    }
    return &l->items[i].q;
}

void resource_list_add(struct resource_list *l, struct str name, struct quantity q)
{
    bool is_new;
    struct quantity *s = slot(l, name, &is_new);
    if (is_new)
        *s = q;
    else
        quantity_add(s, &q);
}

void resource_list_max(struct resource_list *l, struct str name, struct quantity q)
{
    bool is_new;
    struct quantity *s = slot(l, name, &is_new);
    if (is_new || quantity_cmp(s, &q) < 0)
        *s = q;
}

void resource_list_add_all(struct resource_list *l, const struct resource_list *other)
{
    for (size_t i = 0; i < other->count; i++)
        resource_list_add(l, other->items[i].name, other->items[i].q);
}

void resource_list_max_all(struct resource_list *l, const struct resource_list *other)
{
    for (size_t i = 0; i < other->count; i++)
        resource_list_max(l, other->items[i].name, other->items[i].q);
}

void resource_list_add_entries(struct resource_list *l, const struct api_quantity_entry *e,
                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        resource_list_add(l, e[i].key, quantity_of(&e[i].value));
}

struct api_quantity_entry *resource_list_entries(const struct resource_list *l, size_t *ret_count)
{
    struct api_quantity_entry *e = ARENA_ARRAY(l->arena, struct api_quantity_entry, l->count + 1);
    for (size_t i = 0; i < l->count; i++) {
        e[i].key = l->items[i].name;
        quantity_store(l->arena, &l->items[i].q, &e[i].value);
    }
    *ret_count = l->count;
    return e;
}

/* --- pods ------------------------------------------------------------------------------ */

static void add_container(struct resource_list *l, const struct core_v1_container *c, bool limits)
{
    const struct core_v1_resource_requirements *r = &c->resources;
    if (limits)
        resource_list_add_entries(l, r->limits, r->limits_count);
    else
        resource_list_add_entries(l, r->requests, r->requests_count);
}

static void init_total(const struct core_v1_pod_spec *s, bool limits, struct resource_list *ret)
{
    struct resource_list sidecars = {.arena = ret->arena}, most = {.arena = ret->arena};
    for (size_t i = 0; i < s->init_containers_count; i++) {
        const struct core_v1_container *c = &s->init_containers[i];
        if (str_eqc(c->restart_policy, "Always")) {
            add_container(ret, c, limits);
            add_container(&sidecars, c, limits);
            resource_list_max_all(&most, &sidecars);
        } else {
            struct resource_list beside = {.arena = ret->arena};
            add_container(&beside, c, limits);
            resource_list_add_all(&beside, &sidecars);
            resource_list_max_all(&most, &beside);
        }
    }
    resource_list_max_all(ret, &most);
}

void pod_total(const struct core_v1_pod_spec *s, bool limits, bool overhead,
               struct resource_list *ret)
{
    bool is_new;
    for (size_t i = 0; i < s->containers_count; i++)
        add_container(ret, &s->containers[i], limits);
    init_total(s, limits, ret);
    if (s->resources != NULL) {
        const struct api_quantity_entry *e = limits ? s->resources->limits : s->resources->requests;
        size_t count = limits ? s->resources->limits_count : s->resources->requests_count;
        for (size_t i = 0; i < count; i++)
            *slot(ret, e[i].key, &is_new) = quantity_of(&e[i].value);
    }
    for (size_t i = 0; overhead && i < s->overhead_count; i++) {
        const struct quantity *q = resource_list_get(ret, s->overhead[i].key);
        if (!limits || (q != NULL && !quantity_is_zero(q)))
            resource_list_add(ret, s->overhead[i].key, quantity_of(&s->overhead[i].value));
    }
}

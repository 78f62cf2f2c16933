/* user.c - see user.h. Pure. */
#include "apiserver/user.h"

#include "lib/api/names.h"
#include "lib/base/arena.h"

#define WARNINGS_MAX 64u

bool user_in_group(const struct user *u, const char *group)
{
    for (size_t i = 0; i < u->group_count; i++)
        if (str_eqc(u->groups[i], group))
            return true;
    return false;
}

#define NODE_USER_PREFIX "system:node:"
#define NODE_NAME_KEY "authentication.kubernetes.io/node-name"

bool user_is_node(const struct user *u)
{
    return str_has_prefix(u->name, STR(NODE_USER_PREFIX)) && user_in_group(u, GROUP_NODES);
}

struct str user_node_name(const struct user *u)
{
    return user_is_node(u) ? str_sub(u->name, sizeof(NODE_USER_PREFIX) - 1, u->name.len) : STR_NULL;
}

bool user_service_account(const struct user *u, struct str *ret_ns, struct str *ret_name)
{
    struct str prefix = STR("system:serviceaccount:");
    if (!str_has_prefix(u->name, prefix))
        return false;
    return str_cut(str_sub(u->name, prefix.len, u->name.len), ':', ret_ns, ret_name);
}

struct str user_bound_node(const struct user *u)
{
    struct str ns, name;
    if (!user_service_account(u, &ns, &name))
        return STR_NULL;
    for (size_t i = 0; i < u->extra_count; i++)
        if (str_eqc(u->extra[i].key, NODE_NAME_KEY))
            return u->extra[i].count == 1 &&
                           api_check_dns_subdomain(u->extra[i].values[0]).count == 0
                       ? u->extra[i].values[0]
                       : STR_NULL;
    return STR_NULL;
}

void str_list_add(struct str_list *l, struct str text)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i], text))
            return;
    if (l->count >= WARNINGS_MAX)
        return;
    l->items = arena_grow(l->arena, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = arena_str(l->arena, text);
}

/* auth_entry.c - users and roles as single allocations, and a role's ranges
 * merged for looking up. */
#include "raftstore/auth_internal.h"

#include "lib/base/base.h"

#include <stdatomic.h>

/* Hands out the bytes behind a struct, piece by piece. */
struct room {
    char *p;
};

static struct str put(struct room *room, struct str s)
{
    char *p = room->p;
    if (s.len > 0)
        memcpy(p, s.data, s.len);
    p[s.len] = '\0';
    room->p += s.len + 1;
    return str_n(p, s.len);
}

const struct auth_user *auth_user_new(const struct auth_user *from)
{
    size_t bytes = from->name.len + 1 + from->password_hash.len + 1;
    for (size_t i = 0; i < from->role_count; i++)
        bytes += from->roles[i].len + 1;
    struct user_entry *u = xmalloc(sizeof(*u) + from->role_count * sizeof(struct str) + bytes);
    struct str *roles = (struct str *)(u + 1);
    struct room room = {(char *)(roles + from->role_count)};
    u->pub = *from;
    atomic_init(&u->refs, 1);
    u->pub.name = put(&room, from->name);
    u->pub.password_hash = put(&room, from->password_hash);
    for (size_t i = 0; i < from->role_count; i++)
        roles[i] = put(&room, from->roles[i]);
    u->pub.roles = roles;
    return &u->pub;
}

void auth_user_unref(const struct auth_user *u)
{
    if (u == NULL)
        return;
    struct user_entry *e = (struct user_entry *)(uintptr_t)u;
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
        free(e);
}

int auth_permission_cmp(const struct auth_permission *a, const struct auth_permission *b)
{
    int c = str_cmp(a->key, b->key);
    return c != 0 ? c : str_cmp(a->range_end, b->range_end);
}

bool auth_range_valid(struct str key, struct str range_end)
{
    if (str_empty(key))
        return false;
    return str_empty(range_end) || str_eq(range_end, str_n("", 1)) || str_cmp(key, range_end) < 0;
}

/* Adds one permission's range. They come by rising start, so only the last span
 * can touch it. scratch: where key + "\0", the end of a single key, goes. */
static void span_add(struct auth_spans *to, const struct auth_permission *p, struct room *scratch)
{
    struct str end = p->range_end;
    if (str_empty(end)) {
        memcpy(scratch->p, p->key.data, p->key.len);
        scratch->p[p->key.len] = '\0';
        end = str_n(scratch->p, p->key.len + 1);
        scratch->p += end.len;
    } else if (str_eq(end, str_n("", 1))) {
        end = STR_NULL;
    }
    struct auth_span *last = to->count > 0 ? &to->spans[to->count - 1] : NULL;
    if (last == NULL || (!str_empty(last->end) && str_cmp(last->end, p->key) < 0)) {
        to->spans[to->count++] = (struct auth_span){p->key, end};
        return;
    }
    if (!str_empty(last->end) && (str_empty(end) || str_cmp(last->end, end) < 0))
        last->end = end;
}

const struct auth_role *auth_role_new(const struct auth_role *from)
{
    size_t n = from->permission_count;
    size_t bytes = from->name.len + 1;
    for (size_t i = 0; i < n; i++) /* key and range_end, and an end for each of the two lists */
        bytes += 3 * (from->permissions[i].key.len + 1) + from->permissions[i].range_end.len + 1;
    struct role_entry *r = xmalloc(
        sizeof(*r) + n * (sizeof(struct auth_permission) + 2 * sizeof(struct auth_span)) + bytes);
    struct auth_permission *permissions = (struct auth_permission *)(r + 1);
    struct auth_span *spans = (struct auth_span *)(permissions + n);
    struct auth_spans read = {spans, 0}, write = {spans + n, 0};
    struct room room = {(char *)(spans + 2 * n)};
    struct str name = put(&room, from->name);
    for (size_t i = 0; i < n; i++) {
        permissions[i] = (struct auth_permission){from->permissions[i].access,
                                                  put(&room, from->permissions[i].key),
                                                  put(&room, from->permissions[i].range_end)};
        if (permissions[i].access != AUTH_WRITE)
            span_add(&read, &permissions[i], &room);
        if (permissions[i].access != AUTH_READ)
            span_add(&write, &permissions[i], &room);
    }
    atomic_init(&r->refs, 1);
    r->pub = (struct auth_role){name, permissions, n};
    r->read = read;
    r->write = write;
    return &r->pub;
}

void auth_role_unref(const struct auth_role *r)
{
    if (r == NULL)
        return;
    struct role_entry *e = (struct role_entry *)(uintptr_t)r;
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
        free(e);
}

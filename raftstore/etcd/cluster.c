/* cluster.c - etcd's Cluster service: who the members are.
 *
 * A member has one peer address here, HOST:PORT; etcd's clients give and get it as
 * a URL, https when this member's own peer URLs are. A new voter is counted as one
 * only after it has caught up, so adding never takes the majority away, and the
 * checks that etcd makes against that are not needed. */
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/url.h"
#include "raftstore/etcd/admin.h"

#include <stdio.h>

#define LEARNERS_MAX 1 /* As etcd's default. */

/* --- answers --- */

static const char *peer_scheme(const struct etcd_thread *t)
{
    const char *urls = etcd_thread_config(t)->listen_peer_urls;
    return urls != NULL && strncmp(urls, "https", 5) == 0 ? "https" : "http";
}

static char **one_url(struct etcd_call *c, struct str address)
{
    struct arena *a = etcd_call_arena(c);
    char **list = ARENA_ARRAY(a, char *, 1);
    struct str url = arena_printf(a, "%s://" STR_FMT, peer_scheme(c->thread), STR_ARG(address));
    list[0] = (char *)(uintptr_t)url.data;
    return list;
}

/* "a,b" to a list. */
static char **split_urls(struct arena *a, const char *urls, size_t *ret_count)
{
    char **list = NULL;
    size_t cap = 0, count = 0;
    struct str rest = str_of(urls), url;
    while (!str_empty(rest)) {
        str_cut(rest, ',', &url, &rest);
        if (str_empty(url))
            continue;
        list = arena_grow(a, list, count, &cap, sizeof(*list));
        list[count++] = arena_strdup(a, str_c(arena_str(a, url)));
    }
    *ret_count = count;
    return list;
}

static Etcdserverpb__Member *member_of(struct etcd_call *c, const struct store_member *from)
{
    struct arena *a = etcd_call_arena(c);
    Etcdserverpb__Member *m = ARENA_NEW(a, Etcdserverpb__Member);
    etcdserverpb__member__init(m);
    m->id = from->id;
    m->name = arena_strdup(a, from->name != NULL ? from->name : "");
    m->n_peerurls = 1;
    m->peerurls = one_url(c, str_of(from->address));
    m->clienturls =
        split_urls(a, from->client_urls != NULL ? from->client_urls : "", &m->n_clienturls);
    m->islearner = from->is_learner;
    return m;
}

/* Into the call's arena. */
static Etcdserverpb__Member **members_of(struct etcd_call *c, size_t *ret_count)
{
    uint32_t count;
    AUTO_FREE struct store_member *members = store_members(etcd_thread_store(c->thread), &count);
    Etcdserverpb__Member **list =
        ARENA_ARRAY(etcd_call_arena(c), Etcdserverpb__Member *, count + 1);
    for (uint32_t i = 0; i < count; i++)
        list[i] = member_of(c, &members[i]);
    *ret_count = count;
    return list;
}

/* As etcd's answers of this service, without a revision. */
static void header_of(struct etcd_call *c, Etcdserverpb__ResponseHeader *ret)
{
    etcd_header_proto(c->thread, 0, ret);
    ret->revision = 0;
}

/* The answers of list, remove, update and promote are alike on the wire. */
static void reply_members(struct etcd_call *c)
{
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    header_of(c, &header);
    response.header = &header;
    response.members = members_of(c, &response.n_members);
    etcd_call_reply_proto(c, &response.base);
}

/* --- changes --- */

/* What a change is called for, while it is under way. */
struct change {
    struct str address; /* Of an added member. */
    bool learner;
    uint64_t id;
};

static const struct etcd_fault *fault_of_change(int code)
{
    switch (code) {
    case 0:
        return NULL;
    case E_EXISTS:
        return &etcd_err_peer_url_exists;
    case E_NOT_FOUND:
        return &etcd_err_member_not_found;
    default:
        return etcd_fault_of_code(code);
    }
}

/* What this member knows includes the change. */
static void changed_seen(struct etcd_call *c, int code)
{
    UNUSED(code); /* The change is done; an older list is better than none. */
    if (etcd_call_is_open(c))
        reply_members(c);
}

static void finish_change(struct etcd_call *c, const struct etcd_fault *f)
{
    if (f != NULL)
        etcd_call_fail(c, f);
    else if (etcd_call_is_open(c))
        etcd_read_barrier(c, changed_seen);
    etcd_call_release(c);
}

/* May change members; else the call has ended. */
static bool allowed(struct etcd_call *c)
{
    const struct etcd_fault *f = etcd_check_root(&c->caller);
    if (f != NULL)
        etcd_call_fail(c, f);
    return f == NULL;
}

/* What a request that names no member is told; false: the call has ended. */
static bool names_member(struct etcd_call *c, uint64_t id)
{
    if (id == 0)
        etcd_call_fail(c, &etcd_err_member_not_found);
    return id != 0;
}

/* One URL with a host and a port and nothing else. */
static bool address_of(struct etcd_call *c, char *const *urls, size_t count, struct str *ret)
{
    struct str s = count == 1 ? str_trim(str_of(urls[0])) : STR_NULL, host;
    uint16_t port;
    if (str_has_prefix(s, STR("http://")))
        s = str_sub(s, 7, s.len);
    else if (str_has_prefix(s, STR("https://")))
        s = str_sub(s, 8, s.len);
    else
        return false;
    if (url_split_host_port(s, 0, &host, &port, NULL) < 0 || str_empty(host) ||
        str_find(s, '/', 0) >= 0 || str_find(s, '?', 0) >= 0 || str_find(s, '@', 0) >= 0)
        return false;
    *ret = arena_str(etcd_call_arena(c), s);
    return true;
}

static void added_seen(struct etcd_call *c, int code)
{
    UNUSED(code);
    if (!etcd_call_is_open(c))
        return;
    const struct change *change = c->user;
    Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT;
    header_of(c, &header);
    response.header = &header;
    member.id = change->id;
    member.n_peerurls = 1;
    member.peerurls = one_url(c, change->address);
    member.islearner = change->learner;
    response.member = &member;
    response.members = members_of(c, &response.n_members);
    etcd_call_reply_proto(c, &response.base);
}

static void added(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    if (code < 0) {
        etcd_call_fail(c, fault_of_change(code));
    } else if (etcd_call_is_open(c)) {
        struct change *change = c->user;
        change->id = (uint64_t)rev;
        etcd_read_barrier(c, added_seen);
    }
    etcd_call_release(c);
}

static size_t learners(struct etcd_call *c)
{
    uint32_t count;
    size_t n = 0;
    AUTO_FREE struct store_member *members = store_members(etcd_thread_store(c->thread), &count);
    for (uint32_t i = 0; i < count; i++)
        n += members[i].is_learner;
    return n;
}

static void on_add(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__MemberAddRequest *m =
        (const void *)etcd_call_unpack(c, &etcdserverpb__member_add_request__descriptor, message);
    if (m == NULL)
        return;
    struct change *change = ARENA_NEW(etcd_call_arena(c), struct change);
    if (!address_of(c, m->peerurls, m->n_peerurls, &change->address)) {
        etcd_call_fail(c, &etcd_err_member_bad_urls);
        return;
    }
    if (!allowed(c))
        return;
    if (m->islearner && learners(c) >= LEARNERS_MAX) {
        etcd_call_fail(c, &etcd_err_too_many_learners);
        return;
    }
    change->learner = m->islearner;
    c->user = change;
    etcd_call_hold(c);
    struct store *s = etcd_thread_store(c->thread);
    struct mailbox *mb = etcd_thread_mailbox(c->thread);
    if (m->islearner)
        store_member_add_learner(s, str_c(change->address), mb, added, c);
    else
        store_member_add(s, "", str_c(change->address), mb, added, c);
}

static void removed(int code, int64_t rev, void *arg)
{
    UNUSED(rev);
    /* E_INVALID: it is the last voter. */
    finish_change(arg,
                  code == E_INVALID ? &etcd_err_member_not_enough_started : fault_of_change(code));
}

static void on_remove(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__MemberRemoveRequest *m = (const void *)etcd_call_unpack(
        c, &etcdserverpb__member_remove_request__descriptor, message);
    if (m == NULL || !allowed(c) || !names_member(c, m->id))
        return;
    etcd_call_hold(c);
    store_member_remove(etcd_thread_store(c->thread), m->id, etcd_thread_mailbox(c->thread),
                        removed, c);
}

static void updated(int code, int64_t rev, void *arg)
{
    UNUSED(rev);
    finish_change(arg, fault_of_change(code));
}

static void on_update(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__MemberUpdateRequest *m = (const void *)etcd_call_unpack(
        c, &etcdserverpb__member_update_request__descriptor, message);
    struct str address;
    if (m == NULL || !allowed(c))
        return;
    if (!address_of(c, m->peerurls, m->n_peerurls, &address)) {
        etcd_call_fail(c, &etcd_err_member_bad_urls);
        return;
    }
    if (!names_member(c, m->id))
        return;
    etcd_call_hold(c);
    store_member_update(etcd_thread_store(c->thread), m->id, str_c(address),
                        etcd_thread_mailbox(c->thread), updated, c);
}

static void promoted(int code, int64_t rev, void *arg)
{
    UNUSED(rev);
    finish_change(arg, code == E_AGAIN     ? &etcd_err_learner_not_ready
                       : code == E_INVALID ? &etcd_err_member_not_learner
                                           : fault_of_change(code));
}

static void on_promote(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__MemberPromoteRequest *m = (const void *)etcd_call_unpack(
        c, &etcdserverpb__member_promote_request__descriptor, message);
    if (m == NULL || !allowed(c) || !names_member(c, m->id))
        return;
    etcd_call_hold(c);
    store_member_promote(etcd_thread_store(c->thread), m->id, etcd_thread_mailbox(c->thread),
                         promoted, c);
}

/* --- list --- */

static void list_read(struct etcd_call *c, int code)
{
    if (code < 0)
        etcd_call_fail_code(c, code);
    else if (etcd_call_is_open(c))
        reply_members(c);
}

static void on_list(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__MemberListRequest *m =
        (const void *)etcd_call_unpack(c, &etcdserverpb__member_list_request__descriptor, message);
    if (m == NULL)
        return;
    const struct etcd_fault *f = etcd_check_user(&c->caller);
    if (f != NULL)
        etcd_call_fail(c, f);
    else if (m->linearizable)
        etcd_read_barrier(c, list_read);
    else
        reply_members(c);
}

static const struct etcd_method methods[] = {
    {.path = "/etcdserverpb.Cluster/MemberAdd", .on_call = on_add},
    {.path = "/etcdserverpb.Cluster/MemberRemove", .on_call = on_remove},
    {.path = "/etcdserverpb.Cluster/MemberUpdate", .on_call = on_update},
    {.path = "/etcdserverpb.Cluster/MemberList", .on_call = on_list},
    {.path = "/etcdserverpb.Cluster/MemberPromote", .on_call = on_promote},
};
const struct etcd_service etcd_cluster_service = {methods, ARRAY_SIZE(methods)};

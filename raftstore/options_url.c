/* options_url.c - URLs of listeners and members, and the list of members. Pure. */
#include "raftstore/options.h"

#include "lib/base/arena.h"
#include "lib/net/pki.h"
#include "lib/net/url.h"

#include <arpa/inet.h>

static bool is_literal(struct str host)
{
    char text[64];
    struct in6_addr any;
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

int options_url_parse(struct arena *a, const char *flag, const char *url, bool listen,
                      struct options_url *ret, struct error *err)
{
    struct options_url u = {.url = url};
    struct error why = {0};
    struct str host, rest, scheme;
    uint16_t port;
    str_cut(str_of(url), ':', &scheme, &rest);
    if (str_eqc(scheme, "unix") || str_eqc(scheme, "unixs")) {
        struct str path = str_sub(rest, 2, rest.len);
        if (!str_has_prefix(rest, STR("//")) || str_empty(path))
            return error_set(err, E_INVALID, "--%s: %s names no socket", flag, url);
        u.address = arena_printf(a, "unix:" STR_FMT, STR_ARG(path)).data;
        u.tls = scheme.len == 5;
        *ret = u;
        return 0;
    }
    u.tls = str_eqc(scheme, "https");
    if ((!u.tls && !str_eqc(scheme, "http")) || !str_has_prefix(rest, STR("//")))
        return error_set(err, E_INVALID, "--%s: URL scheme must be http, https, unix, or unixs: %s",
                         flag, url);
    struct str authority = str_sub(rest, 2, rest.len);
    if (str_has_suffix(authority, STR("/")))
        authority.len--;
    if (str_find(authority, '/', 0) >= 0 || str_find(authority, '?', 0) >= 0)
        return error_set(err, E_INVALID, "--%s: URL must not contain a path: %s", flag, url);
    if (url_split_host_port(authority, 0, &host, &port, &why) < 0)
        return error_set(err, E_INVALID,
                         "--%s: URL address does not have the form \"host:port\": %s", flag, url);
    if (listen && str_eqc(host, "localhost"))
        host = STR("127.0.0.1");
    if (listen && !str_empty(host) && !is_literal(host))
        return error_set(err, E_INVALID, "--%s: expected IP in URL for binding (%s)", flag, url);
    u.address = url_host_port(a, host, port).data;
    *ret = u;
    return 0;
}

/* As etcd: from the member's URL and the cluster's token, the same on each member. */
static uint64_t member_id(struct arena *a, const char *url, const char *token)
{
    uint8_t sum[32];
    uint64_t id = 0;
    struct str text = arena_printf(a, "%s%s", url, token);
    net_sha256(text.data, text.len, sum);
    for (int i = 0; i < 8; i++)
        id = id << 8 | sum[i];
    id &= INT64_MAX;
    return id != 0 ? id : 1;
}

static int add_member(struct options *o, const char *item, struct error *err)
{
    struct options_url u = {.address = ""};
    const char *eq = strchr(item, '=');
    if (eq == NULL || eq == item)
        return error_set(err, E_INVALID, "error setting up initial cluster: %s is not name=URL",
                         item);
    struct str name = str_n(item, (size_t)(eq - item));
    for (uint32_t i = 0; i < o->member_count; i++)
        if (str_eqc(name, o->members[i].name))
            return error_set(err, E_INVALID,
                             "--initial-cluster: %s has several URLs; a member is known by one "
                             "here",
                             o->members[i].name);
    int rc = options_url_parse(o->arena, "initial-cluster", eq + 1, false, &u, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < o->member_count; i++)
        if (strcmp(u.address, o->members[i].address) == 0)
            return error_set(err, E_INVALID,
                             "error setting up initial cluster: duplicate peer URL %s", u.url);
    if (o->member_count == OPTIONS_MEMBERS_MAX)
        return error_set(err, E_INVALID, "--initial-cluster: more than %d members",
                         OPTIONS_MEMBERS_MAX);
    if (u.tls != o->listen_peers.items[0].tls)
        return error_set(err, E_INVALID,
                         "--initial-cluster: %s; members must all use http or all https", item);
    o->members[o->member_count++] = (struct store_member){
        .id = member_id(o->arena, u.address, o->initial_cluster_token),
        .name = str_c(arena_str(o->arena, name)),
        .address = u.address,
    };
    return 0;
}

int options_names_self(const struct options *o, struct error *err)
{
    if (o->initial_cluster.count == 0)
        return 0;
    for (uint32_t i = 0; i < o->member_count; i++) {
        if (strcmp(o->members[i].name, o->name) != 0)
            continue;
        if (strcmp(o->members[i].address, o->advertise_peer.address) == 0)
            return 0;
        return error_set(err, E_INVALID,
                         "--initial-cluster has %s=%s but missing from "
                         "--initial-advertise-peer-urls=%s",
                         o->name, o->members[i].address, o->advertise_peer.url);
    }
    return error_set(err, E_INVALID,
                     "couldn't find local name \"%s\" in the initial cluster configuration",
                     o->name);
}

int options_members(struct options *o, struct error *err)
{
    o->member_count = 0;
    o->join = strcmp(o->initial_cluster_state, "existing") == 0;
    if (o->initial_cluster.count == 0) {
        const char *self = arena_printf(o->arena, "%s=%s", o->name, o->advertise_peer.url).data;
        int rc = add_member(o, self, err);
        return rc;
    }
    for (size_t i = 0; i < o->initial_cluster.count; i++) {
        int rc = add_member(o, o->initial_cluster.items[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

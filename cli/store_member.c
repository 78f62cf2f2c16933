/* store_member.c - `trireme member` for a store on its own: over etcd's API. */
#include "cli/store.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "etcd/rpc.pb-c.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* A command at work. */
struct session {
    const struct etcd_client_config *config;
    struct etcd_client *client;
    struct arena *arena;
    struct error *err;
};

#define CALL(s, name, request, response, ret)                                                      \
    etcd_client_call((s)->client, "/etcdserverpb.Cluster/" name, &(request)->base,                 \
                     &etcdserverpb__##response##__descriptor, (s)->arena,                          \
                     (ProtobufCMessage **)(ret), (s)->err)

static const char *join(struct arena *a, char *const *items, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s%s", i > 0 ? "," : "", items[i]);
    return str_c(arena_str(a, buf_str(&b)));
}

static int members(struct session *s, Etcdserverpb__MemberListResponse **ret)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    return CALL(s, "MemberList", &request, member_list_response, ret);
}

static int list(struct session *s)
{
    Etcdserverpb__MemberListResponse *r = NULL;
    int rc = members(s, &r);
    if (rc < 0)
        return rc;
    printf("%-18s %-16s %-32s %-32s %s\n", "ID", "NAME", "PEER URLS", "CLIENT URLS", "ROLE");
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        printf("%-18" PRIx64 " %-16s %-32s %-32s %s\n", m->id,
               m->name[0] != '\0' ? m->name : "(not started)",
               join(s->arena, m->peerurls, m->n_peerurls),
               join(s->arena, m->clienturls, m->n_clienturls), m->islearner ? "learner" : "voter");
    }
    return 0;
}

/* By name, or by id in hexadecimal. */
static int find(struct session *s, const char *word, uint64_t *ret)
{
    Etcdserverpb__MemberListResponse *r = NULL;
    int rc = members(s, &r);
    if (rc < 0)
        return rc;
    char *end = NULL;
    uint64_t id = strtoull(word, &end, 16);
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        if (strcmp(m->name, word) == 0 || (*word != '\0' && *end == '\0' && m->id == id)) {
            *ret = m->id;
            return 0;
        }
    }
    return error_set(s->err, E_NOT_FOUND, "no member has the name or id %s", word);
}

/* "a,b" as an array in the arena. */
static char **split(struct arena *a, const char *list, size_t *ret_count)
{
    struct str item, rest = str_of(list);
    size_t count = 0;
    char **out = ARENA_ARRAY(a, char *, strlen(list) + 1);
    while (!str_empty(rest)) {
        str_cut(rest, ',', &item, &rest);
        if (!str_empty(item))
            out[count++] = arena_strdup(a, str_c(arena_str(a, item)));
    }
    *ret_count = count;
    return out;
}

static int add(struct session *s, const char *name, const struct store_member_options *o)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    Etcdserverpb__MemberAddResponse *r = NULL;
    if (o->peer_urls == NULL)
        return error_set(s->err, E_USAGE, "--peer-urls is needed: how the others will reach it");
    request.peerurls = split(s->arena, o->peer_urls, &request.n_peerurls);
    request.islearner = o->learner;
    int rc = CALL(s, "MemberAdd", &request, member_add_response, &r);
    if (rc < 0)
        return rc;
    AUTO_BUF cluster = BUF_INIT;
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        bool is_new = r->member != NULL && m->id == r->member->id;
        for (size_t u = 0; u < m->n_peerurls; u++)
            buf_printf(&cluster, "%s%s=%s", cluster.len > 0 ? "," : "", is_new ? name : m->name,
                       m->peerurls[u]);
    }
    printf("Member %16" PRIx64 " added. Start it with\n\n"
           "  trireme-raftstore --name %s --initial-cluster-state existing \\\n"
           "      --initial-advertise-peer-urls %s \\\n"
           "      --initial-cluster " STR_FMT "\n\nand its own URLs, certificates and data "
           "directory.\n",
           r->member != NULL ? r->member->id : 0, name, o->peer_urls, STR_ARG(buf_str(&cluster)));
    return 0;
}

static int remove_member(struct session *s, uint64_t id)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    Etcdserverpb__MemberRemoveResponse *r = NULL;
    request.id = id;
    int rc = CALL(s, "MemberRemove", &request, member_remove_response, &r);
    if (rc == 0)
        printf("Member %16" PRIx64 " removed\n", id);
    return rc;
}

static int promote(struct session *s, uint64_t id)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    Etcdserverpb__MemberPromoteResponse *r = NULL;
    request.id = id;
    int rc = CALL(s, "MemberPromote", &request, member_promote_response, &r);
    if (rc == 0)
        printf("Member %16" PRIx64 " promoted\n", id);
    return rc;
}

static int update(struct session *s, uint64_t id, const struct store_member_options *o)
{
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    Etcdserverpb__MemberUpdateResponse *r = NULL;
    if (o->peer_urls == NULL)
        return error_set(s->err, E_USAGE, "--peer-urls is needed: the new ones");
    request.id = id;
    request.peerurls = split(s->arena, o->peer_urls, &request.n_peerurls);
    int rc = CALL(s, "MemberUpdate", &request, member_update_response, &r);
    if (rc == 0)
        printf("Member %16" PRIx64 " updated\n", id);
    return rc;
}

/* Where clients reach the member that leads. */
static int find_leader(struct session *s, uint64_t *ret_id, const char **ret_endpoints)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *status = NULL;
    Etcdserverpb__MemberListResponse *r = NULL;
    int rc = etcd_client_call(s->client, "/etcdserverpb.Maintenance/Status", &request.base,
                              &etcdserverpb__status_response__descriptor, s->arena,
                              (ProtobufCMessage **)&status, s->err);
    if (rc == 0)
        rc = members(s, &r);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        if (m->id != status->leader)
            continue;
        *ret_id = m->id;
        *ret_endpoints = join(s->arena, m->clienturls, m->n_clienturls);
        return 0;
    }
    return error_set(s->err, E_UNAVAILABLE, "there is no leader that could hand over");
}

/* Only the leader can hand over: it is the one to be asked, wherever it is. */
static int lead(struct session *s, uint64_t id)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    ProtobufCMessage *r = NULL;
    struct etcd_client_config config = *s->config;
    struct etcd_client *c = NULL;
    uint64_t leader = 0;
    request.targetid = id;
    int rc = find_leader(s, &leader, &config.endpoints);
    if (rc == 0 && leader != id) {
        rc = etcd_client_new(&config, &c, s->err);
        if (rc == 0)
            rc = etcd_client_call(c, "/etcdserverpb.Maintenance/MoveLeader", &request.base,
                                  &etcdserverpb__move_leader_response__descriptor, s->arena, &r,
                                  s->err);
        if (rc < 0)
            error_prefix(s->err, "the leader at %s", config.endpoints);
        etcd_client_free(c);
    }
    if (rc == 0)
        printf("Member %16" PRIx64 " leads\n", id);
    return rc;
}

/* --- recover
 * ---------------------------------------------------------------------------------------- */

struct found {
    const char *endpoint;
    uint64_t id, term, index;
    int64_t rev;
};

static bool further(const struct found *a, const struct found *b)
{
    return a->term != b->term ? a->term > b->term : a->index > b->index;
}

/* Asks one member how far it got. */
static int ask(const struct etcd_client_config *config, struct arena *a, struct found *ret,
               bool *ret_leader, struct error *err)
{
    struct etcd_client_config one = *config;
    struct etcd_client *c = NULL;
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *r = NULL;
    one.endpoints = ret->endpoint;
    int rc = etcd_client_new(&one, &c, err);
    if (rc == 0)
        rc = etcd_client_call(c, "/etcdserverpb.Maintenance/Status", &request.base,
                              &etcdserverpb__status_response__descriptor, a,
                              (ProtobufCMessage **)&r, err);
    etcd_client_free(c);
    if (rc < 0 || r == NULL)
        return rc;
    ret->id = r->header != NULL ? r->header->member_id : 0;
    ret->rev = r->header != NULL ? r->header->revision : 0;
    ret->term = r->raftterm;
    ret->index = r->raftindex;
    *ret_leader |= r->leader != 0;
    return 0;
}

/* Says who got furthest, and what to do. */
static int advise(const struct etcd_client_config *config, struct arena *a, struct error *err)
{
    size_t count, answered = 0;
    struct found best = {0};
    bool has_leader = false;
    char **endpoints = split(a, config->endpoints, &count);
    printf("%-32s %-18s %-10s %-12s %s\n", "ENDPOINT", "ID", "TERM", "LOG INDEX", "REVISION");
    for (size_t i = 0; i < count; i++) {
        struct found f = {.endpoint = endpoints[i]};
        struct error why = {0};
        if (ask(config, a, &f, &has_leader, &why) < 0) {
            printf("%-32s no answer: %s\n", f.endpoint, error_message(&why));
            continue;
        }
        printf("%-32s %-18" PRIx64 " %-10" PRIu64 " %-12" PRIu64 " %" PRId64 "\n", f.endpoint, f.id,
               f.term, f.index, f.rev);
        if (answered++ == 0 || further(&f, &best))
            best = f;
    }
    if (answered == 0)
        return error_set(
            err, E_UNAVAILABLE,
            "no member answered: choose the machine with the newest data yourself, and "
            "run `trireme member recover --data-dir DIR` there");
    if (has_leader) {
        printf("\nThere is a leader, so a majority lives: nothing is to be recovered. Remove the\n"
               "lost members with `trireme member remove`, then add new ones.\n");
        return 0;
    }
    printf("\nThere is no leader. If the other members will come back, start them: nothing is "
           "lost.\nIf they are lost for good, go on with the one that got furthest:\n\n"
           "  1. Make sure that no other member is started again with its old data.\n"
           "  2. On the machine of %s stop trireme-raftstore and run\n"
           "       trireme member recover --data-dir DIR --peer-urls URL --yes\n"
           "  3. Start it as ever, and add the others anew: `trireme member add`.\n",
           best.endpoint);
    return 0;
}

static int recover(const struct etcd_client_config *client, const struct store_member_options *o,
                   struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    if (o->data_dir == NULL)
        return client->endpoints != NULL
                   ? advise(client, a, err)
                   : error_set(err, E_INVALID,
                               "want --endpoints, to see who got furthest, or --data-dir, to go on "
                               "alone with this data");
    const char *argv[10] = {"", "recover", "--data-dir", o->data_dir};
    int argc = 4;
    if (o->peer_urls != NULL) {
        argv[argc++] = "--initial-advertise-peer-urls";
        argv[argc++] = o->peer_urls;
    }
    if (o->name != NULL) {
        argv[argc++] = "--name";
        argv[argc++] = o->name;
    }
    if (o->yes)
        argv[argc++] = "--yes";
    return store_exec((char **)(uintptr_t)argv, err);
}

/* --- the verb
 * ------------------------------------------------------------------------------------- */

static int run(struct session *s, const struct store_member_options *o, const char *const *args,
               size_t count)
{
    uint64_t id = 0;
    if (count == 0 || (count == 1 && strcmp(args[0], "list") == 0))
        return list(s);
    if (count == 2 && strcmp(args[0], "add") == 0)
        return add(s, args[1], o);
    if (count != 2)
        return error_set(s->err, E_INVALID,
                         "want list, add NAME, remove, promote, update or lead with a name or id, "
                         "or recover");
    int rc = find(s, args[1], &id);
    if (rc < 0)
        return rc;
    if (strcmp(args[0], "remove") == 0)
        return remove_member(s, id);
    if (strcmp(args[0], "promote") == 0)
        return promote(s, id);
    if (strcmp(args[0], "update") == 0)
        return update(s, id, o);
    if (strcmp(args[0], "lead") == 0)
        return lead(s, id);
    return error_set(s->err, E_INVALID, "unknown: member %s", args[0]);
}

int store_member(const struct etcd_client_config *client, const struct store_member_options *o,
                 const char *const *args, size_t count, struct error *err)
{
    if (count == 1 && strcmp(args[0], "recover") == 0)
        return recover(client, o, err);
    AUTO_ARENA *a = arena_new(0);
    struct session s = {.config = client, .arena = a, .err = err};
    int rc = etcd_client_new(client, &s.client, err);
    if (rc == 0)
        rc = run(&s, o, args, count);
    etcd_client_free(s.client);
    return rc;
}

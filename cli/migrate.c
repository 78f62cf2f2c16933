/* migrate.c - `trireme migrate`: one revision of a store into another one, through
 * etcd's API on both sides, so either may be an etcd.
 *
 *   marker into the empty target -> leases -> keys in order -> hash of both sides -> marker out
 *
 * The marker is a key that says which source and revision the target is being filled
 * from. Interrupted, the same command goes on behind the last key that arrived;
 * --restart empties the target first. Without a marker a target that holds
 * anything is never touched. */
#include "cli/verbs.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/flags.h"
#include "lib/net/etcd_client.h"

#include "etcd/rpc.pb-c.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sorts before every key that begins with a printable byte. */
#define MARKER STR("\0trireme-migrate")
#define ALL STR("\0") /* As a range's end: everything from its key on. */
#define PIECE_BYTES (4u << 20)
#define PIECE_KEYS_MAX 5000
#define TXN_PUTS_MAX 100         /* etcd takes 128 by default, */
#define TXN_BYTES_MAX (1u << 20) /* ... and 1.5 MiB. */
#define LOST_LEASE_TTL_S 60      /* Of a lease that ended on the source meanwhile. */

struct migration {
    struct etcd_client *from, *to;
    int64_t rev; /* Of the source. */
    uint64_t cluster;
    bool restart, quiet;
    /* Leases of the target, kept alive until the end. */
    struct lease {
        int64_t id, ttl_s;
        uint64_t renewed_ms;
    } * leases;
    size_t lease_count, lease_cap;
    uint64_t keys, bytes;
    struct error *err;
};

typedef Etcdserverpb__RangeResponse range_response;

static ProtobufCBinaryData bytes_of(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.data};
}
static struct str str_of_bytes(ProtobufCBinaryData b)
{
    return str_n((const char *)b.data, b.len);
}

#define CALL(m, client, path, request, response, a, ret)                                           \
    etcd_client_call(client, "/etcdserverpb." path, &(request)->base,                              \
                     &etcdserverpb__##response##__descriptor, a, (ProtobufCMessage **)(ret),       \
                     (m)->err)

/* --- leases -------------------------------------------------------------------------------------
 */

static int on_kept(struct str message, void *arg, struct error *err)
{
    UNUSED(message);
    UNUSED(arg);
    UNUSED(err);
    return 0;
}

/* A lease that nobody renews would take its keys along before the copy is complete. */
static int keep_leases(struct migration *m)
{
    uint64_t now = env_now_ms(env_system());
    for (size_t i = 0; i < m->lease_count; i++) {
        struct lease *l = &m->leases[i];
        if (now - l->renewed_ms < (uint64_t)l->ttl_s * 1000 / 3)
            continue;
        Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
        request.id = l->id;
        int rc = etcd_client_stream(m->to, "/etcdserverpb.Lease/LeaseKeepAlive", &request.base,
                                    on_kept, NULL, m->err);
        if (rc < 0)
            return error_prefix(m->err, "renew lease %" PRIx64, (uint64_t)l->id);
        l->renewed_ms = now;
    }
    return 0;
}

static const struct lease *find_lease(const struct migration *m, int64_t id)
{
    for (size_t i = m->lease_count; i-- > 0;)
        if (m->leases[i].id == id)
            return &m->leases[i];
    return NULL;
}

/* The same id and time to live on the target; there already after an interruption. */
static int copy_lease(struct migration *m, int64_t id)
{
    AUTO_ARENA *a = arena_new(0);
    Etcdserverpb__LeaseTimeToLiveRequest ask = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    Etcdserverpb__LeaseTimeToLiveResponse *ttl = NULL;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantResponse *granted = NULL;
    ask.id = grant.id = id;
    int rc = CALL(m, m->from, "Lease/LeaseTimeToLive", &ask, lease_time_to_live_response, a, &ttl);
    if (rc < 0)
        return error_prefix(m->err, "lease %" PRIx64 " of the source", (uint64_t)id);
    grant.ttl = ttl->ttl > 0 && ttl->grantedttl > 0 ? ttl->grantedttl : LOST_LEASE_TTL_S;
    rc = CALL(m, m->to, "Lease/LeaseGrant", &grant, lease_grant_response, a, &granted);
    if (rc < 0 && strstr(error_message(m->err), "lease already exists") == NULL)
        return error_prefix(m->err, "grant lease %" PRIx64, (uint64_t)id);
    error_clear(m->err);
    if (m->lease_count == m->lease_cap) {
        m->lease_cap = m->lease_cap != 0 ? m->lease_cap * 2 : 16;
        m->leases = xrealloc(m->leases, m->lease_cap * sizeof(m->leases[0]));
    }
    m->leases[m->lease_count++] =
        (struct lease){id, grant.ttl, rc < 0 ? 0 : env_now_ms(env_system())};
    return 0;
}

static int lease_ids(struct migration *m, struct etcd_client *c, struct arena *a,
                     Etcdserverpb__LeaseLeasesResponse **ret)
{
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    return CALL(m, c, "Lease/LeaseLeases", &request, lease_leases_response, a, ret);
}

static int copy_leases(struct migration *m)
{
    AUTO_ARENA *a = arena_new(0);
    Etcdserverpb__LeaseLeasesResponse *all = NULL;
    int rc = lease_ids(m, m->from, a, &all);
    for (size_t i = 0; rc == 0 && i < all->n_leases; i++)
        rc = copy_lease(m, all->leases[i]->id);
    return rc;
}

/* --- reading
 * -------------------------------------------------------------------------------------- */

/* Walks all keys from `next` on at rev, marker left out. */
struct walk {
    struct etcd_client *client;
    int64_t rev; /* 0: the first answer's. */
    struct buf next;
    int64_t limit;
    bool done;
};

static void walk_init(struct walk *w, struct etcd_client *client, int64_t rev, struct str from)
{
    *w = (struct walk){.client = client, .rev = rev, .limit = 100};
    buf_append_str(&w->next, from);
}

/* The next piece; none of its keys is the marker unless it is the first. */
static int walk_next(struct migration *m, struct walk *w, struct arena *a, range_response **ret)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = bytes_of(buf_str(&w->next));
    request.range_end = bytes_of(ALL);
    request.limit = w->limit;
    request.revision = w->rev;
    int rc = CALL(m, w->client, "KV/Range", &request, range_response, a, ret);
    if (rc < 0)
        return rc;
    range_response *r = *ret;
    if (w->rev == 0)
        w->rev = r->header->revision;
    w->done = !r->more;
    size_t bytes = 1;
    for (size_t i = 0; i < r->n_kvs; i++)
        bytes += r->kvs[i]->key.len + r->kvs[i]->value.len;
    if (r->n_kvs > 0) {
        buf_clear(&w->next);
        buf_append_str(&w->next, str_of_bytes(r->kvs[r->n_kvs - 1]->key));
        buf_putc(&w->next, '\0');
        double next = (double)r->n_kvs * PIECE_BYTES / (double)bytes;
        w->limit = next < 1 ? 1 : next > PIECE_KEYS_MAX ? PIECE_KEYS_MAX : (int64_t)next;
    }
    return 0;
}

/* --- the marker
 * ------------------------------------------------------------------------------------- */

static int get(struct migration *m, struct etcd_client *c, struct str key, struct arena *a,
               range_response **ret)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = bytes_of(key);
    return CALL(m, c, "KV/Range", &request, range_response, a, ret);
}

/* Puts the marker if the target holds no key: in one transaction. */
static int claim(struct migration *m)
{
    AUTO_ARENA *a = arena_new(0);
    struct str text = arena_printf(a, "{\"cluster\":\"%" PRIx64 "\",\"revision\":%" PRId64 "}",
                                   m->cluster, m->rev);
    Etcdserverpb__Compare empty = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&empty};
    empty.key = bytes_of(ALL);
    empty.range_end = bytes_of(ALL);
    empty.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    empty.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    empty.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    empty.create_revision = 0;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&op};
    put.key = bytes_of(MARKER);
    put.value = bytes_of(text);
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *r = NULL;
    Etcdserverpb__LeaseLeasesResponse *leases = NULL;
    txn.n_compare = txn.n_success = 1;
    txn.compare = compares;
    txn.success = ops;
    int rc = lease_ids(m, m->to, a, &leases);
    if (rc == 0 && leases->n_leases > 0)
        return error_set(m->err, E_EXISTS, "the target is not empty: it has %zu leases",
                         leases->n_leases);
    if (rc == 0)
        rc = CALL(m, m->to, "KV/Txn", &txn, txn_response, a, &r);
    if (rc == 0 && !r->succeeded)
        rc = error_set(m->err, E_EXISTS, "the target is not empty: it holds keys");
    return rc;
}

static int unmark(struct migration *m)
{
    AUTO_ARENA *a = arena_new(0);
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *r = NULL;
    request.key = bytes_of(MARKER);
    return CALL(m, m->to, "KV/DeleteRange", &request, delete_range_response, a, &r);
}

/* --restart: everything but the marker goes, then the marker. */
static int empty_target(struct migration *m)
{
    AUTO_ARENA *a = arena_new(0);
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *r = NULL;
    Etcdserverpb__LeaseLeasesResponse *leases = NULL;
    int rc = lease_ids(m, m->to, a, &leases);
    for (size_t i = 0; rc == 0 && i < leases->n_leases; i++) {
        Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        Etcdserverpb__LeaseRevokeResponse *revoked = NULL;
        revoke.id = leases->leases[i]->id;
        rc = CALL(m, m->to, "Lease/LeaseRevoke", &revoke, lease_revoke_response, a, &revoked);
    }
    static const char behind[] = "\0trireme-migrate"; /* With the NUL behind it: the next key. */
    request.key = bytes_of(str_n(behind, sizeof(behind)));
    request.range_end = bytes_of(ALL);
    if (rc == 0)
        rc = CALL(m, m->to, "KV/DeleteRange", &request, delete_range_response, a, &r);
    return rc < 0 ? rc : unmark(m);
}

/* The target's marker: whose copy it holds. *ret_revision 0: there is none. */
static int read_marker(struct migration *m, uint64_t *ret_cluster, int64_t *ret_revision)
{
    AUTO_ARENA *a = arena_new(0);
    range_response *r = NULL;
    *ret_revision = 0;
    int rc = get(m, m->to, MARKER, a, &r);
    if (rc < 0 || r->n_kvs == 0)
        return rc;
    struct str text = arena_str(a, str_of_bytes(r->kvs[0]->value));
    if (sscanf(text.data, "{\"cluster\":\"%" SCNx64 "\",\"revision\":%" SCNd64 "}", ret_cluster,
               ret_revision) == 2)
        return 0;
    *ret_cluster = 0; /* Nobody's: it takes --restart to go on. */
    *ret_revision = 1;
    return 0;
}

/* Behind which key to go on; empty: none was copied yet. */
static int last_copied(struct migration *m, struct buf *ret)
{
    AUTO_ARENA *a = arena_new(0);
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range_response *r = NULL;
    request.key = bytes_of(MARKER);
    request.range_end = bytes_of(ALL);
    request.limit = 1;
    request.keys_only = true;
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    int rc = CALL(m, m->to, "KV/Range", &request, range_response, a, &r);
    if (rc == 0 && r->n_kvs > 0 && !str_eq(str_of_bytes(r->kvs[0]->key), MARKER)) {
        buf_append_str(ret, str_of_bytes(r->kvs[0]->key));
        buf_putc(ret, '\0');
    }
    return rc;
}

/* --- copying
 * ------------------------------------------------------------------------------------------ */

static int put_some(struct migration *m, Mvccpb__KeyValue *const *kvs, size_t count)
{
    AUTO_ARENA *a = arena_new(0);
    Etcdserverpb__RequestOp *ops = ARENA_ARRAY(a, Etcdserverpb__RequestOp, count);
    Etcdserverpb__RequestOp **list = ARENA_ARRAY(a, Etcdserverpb__RequestOp *, count);
    Etcdserverpb__PutRequest *puts = ARENA_ARRAY(a, Etcdserverpb__PutRequest, count);
    for (size_t i = 0; i < count; i++) {
        etcdserverpb__put_request__init(&puts[i]);
        etcdserverpb__request_op__init(&ops[i]);
        puts[i].key = kvs[i]->key;
        puts[i].value = kvs[i]->value;
        puts[i].lease = kvs[i]->lease;
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
        list[i] = &ops[i];
    }
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *r = NULL;
    txn.n_success = count;
    txn.success = list;
    return CALL(m, m->to, "KV/Txn", &txn, txn_response, a, &r);
}

static int put_piece(struct migration *m, const range_response *piece)
{
    int rc = 0;
    for (size_t from = 0, end; rc == 0 && from < piece->n_kvs; from = end) {
        size_t bytes = 0;
        for (end = from; end < piece->n_kvs && end - from < TXN_PUTS_MAX; end++) {
            const Mvccpb__KeyValue *kv = piece->kvs[end];
            size_t more = kv->key.len + kv->value.len + 32;
            if (end > from && bytes + more > TXN_BYTES_MAX)
                break;
            bytes += more;
            if (kv->lease != 0 && find_lease(m, kv->lease) == NULL &&
                (rc = copy_lease(m, kv->lease)) < 0)
                return rc;
        }
        rc = keep_leases(m);
        if (rc == 0)
            rc = put_some(m, piece->kvs + from, end - from);
        m->keys += end - from;
        m->bytes += bytes;
    }
    return rc;
}

static int copy_keys(struct migration *m, struct str from)
{
    struct walk w;
    int rc = 0;
    bool tty = isatty(STDERR_FILENO) != 0 && !m->quiet;
    walk_init(&w, m->from, m->rev, from);
    while (rc == 0 && !w.done) {
        AUTO_ARENA *a = arena_new(0);
        range_response *piece = NULL;
        rc = walk_next(m, &w, a, &piece);
        if (rc == 0)
            rc = put_piece(m, piece);
        if (tty)
            fprintf(stderr, "\r%" PRIu64 " keys", m->keys);
    }
    if (tty)
        fputc('\n', stderr);
    buf_done(&w.next);
    return rc;
}

/* --- verifying
 * ------------------------------------------------------------------------------------------ */

struct sum {
    uint64_t keys;
    uint8_t hash[EVP_MAX_MD_SIZE];
};

static void add_number(EVP_MD_CTX *md, uint64_t v)
{
    uint8_t le[8];
    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    EVP_DigestUpdate(md, le, sizeof(le));
}

static void add_kv(EVP_MD_CTX *md, const Mvccpb__KeyValue *kv)
{
    add_number(md, kv->key.len);
    EVP_DigestUpdate(md, kv->key.data, kv->key.len);
    add_number(md, kv->value.len);
    EVP_DigestUpdate(md, kv->value.data, kv->value.len);
    add_number(md, (uint64_t)kv->lease);
}

/* Over keys, values and leases in order of keys, without the marker. */
static int hash_side(struct migration *m, struct etcd_client *c, int64_t rev, struct sum *ret)
{
    struct walk w;
    int rc = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
        PANIC("SHA-256 is not available");
    *ret = (struct sum){0};
    walk_init(&w, c, rev, ALL);
    while (rc == 0 && !w.done) {
        AUTO_ARENA *a = arena_new(0);
        range_response *piece = NULL;
        rc = walk_next(m, &w, a, &piece);
        for (size_t i = 0; rc == 0 && i < piece->n_kvs; i++) {
            if (str_eq(str_of_bytes(piece->kvs[i]->key), MARKER))
                continue;
            add_kv(md, piece->kvs[i]);
            ret->keys++;
        }
        if (rc == 0)
            rc = keep_leases(m);
    }
    EVP_DigestFinal_ex(md, ret->hash, NULL);
    EVP_MD_CTX_free(md);
    buf_done(&w.next);
    return rc;
}

static int verify(struct migration *m)
{
    struct sum from = {0}, to = {0};
    int rc = hash_side(m, m->from, m->rev, &from);
    if (rc == 0)
        rc = hash_side(m, m->to, 0, &to);
    if (rc < 0)
        return rc;
    if (from.keys != to.keys || memcmp(from.hash, to.hash, 32) != 0)
        return error_set(m->err, E_CORRUPT,
                         "the copy differs: %" PRIu64 " keys at the source, %" PRIu64
                         " at the target. Does somebody else write to the target? Run with "
                         "--restart",
                         from.keys, to.keys);
    rc = unmark(m);
    if (rc < 0)
        return rc;
    printf("Migrated revision %" PRId64 ": %" PRIu64 " keys, %zu leases. sha256 of both sides: ",
           m->rev, to.keys, m->lease_count);
    for (int i = 0; i < 32; i++)
        printf("%02x", to.hash[i]);
    putchar('\n');
    return 0;
}

/* --- all of it
 * ------------------------------------------------------------------------------------------- */

static int look_at_source(struct migration *m)
{
    AUTO_ARENA *a = arena_new(0);
    range_response *r = NULL;
    int rc = get(m, m->from, MARKER, a, &r);
    if (rc < 0)
        return error_prefix(m->err, "source");
    if (r->n_kvs > 0)
        return error_set(m->err, E_INVALID,
                         "the source is itself the target of a migration that did not end");
    m->rev = r->header->revision;
    m->cluster = r->header->cluster_id;
    return 0;
}

static int migrate(struct migration *m)
{
    uint64_t cluster = 0;
    int64_t rev = 0;
    AUTO_BUF from = BUF_INIT;
    int rc = look_at_source(m);
    if (rc == 0)
        rc = read_marker(m, &cluster, &rev);
    if (rc < 0)
        return rc;
    if (rev != 0 && m->restart) {
        rc = empty_target(m);
        rev = 0;
    } else if (rev != 0 && cluster != m->cluster) {
        return error_set(m->err, E_CONFLICT,
                         "the target holds part of another source (cluster %" PRIx64
                         "): use --restart to begin anew",
                         cluster);
    } else if (rev != 0) {
        m->rev = rev;
        rc = last_copied(m, &from);
        if (rc == 0)
            fprintf(stderr, "going on with revision %" PRId64 "\n", rev);
    }
    if (rc == 0 && rev == 0)
        rc = claim(m);
    if (from.len == 0)
        buf_append_str(&from, ALL);
    if (rc == 0)
        rc = copy_leases(m);
    if (rc == 0)
        rc = copy_keys(m, buf_str(&from));
    return rc < 0 ? rc : verify(m);
}

static int run(struct migration *m, const struct etcd_client_config *from,
               const struct etcd_client_config *to)
{
    if (from->endpoints == NULL || to->endpoints == NULL)
        return error_set(m->err, E_USAGE, "--from and --to are needed");
    int rc = etcd_client_new(from, &m->from, m->err);
    if (rc == 0)
        rc = etcd_client_new(to, &m->to, m->err);
    if (rc == 0)
        rc = migrate(m);
    if (rc == E_EXPIRED || strstr(error_message(m->err), "has been compacted") != NULL)
        error_prefix(m->err, "the source dropped the revision meanwhile; use --restart");
    etcd_client_free(m->from);
    etcd_client_free(m->to);
    free(m->leases);
    return rc;
}

int verb_migrate(int argc, char **argv)
{
    struct error err = {0};
    struct migration m = {.err = &err};
    struct etcd_client_config from = {0}, to = {0};
    struct flag_set *flags = flag_set_new("trireme migrate --from URLS --to URLS [flags]");
    flag_string(flags, &from.endpoints, "from", "`URLs` of the source's members.");
    flag_string(flags, &to.endpoints, "to", "`URLs` of the target's members.");
    flag_bool(flags, &m.restart, "restart",
              "Empty a target that an interrupted migration left, and begin anew.");
    flag_bool(flags, &m.quiet, "quiet", "Do not show progress.");
    etcd_client_flags_for(&from, flags, "from-");
    etcd_client_flags_for(&to, flags, "to-");
    int exit_code = 0;
    if (verb_flags_alone(flags, argc, argv, &exit_code) == 0)
        exit_code = run(&m, &from, &to) == 0 ? 0 : verb_fail(&err);
    flag_set_free(flags);
    return exit_code;
}

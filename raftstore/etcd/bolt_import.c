/* bolt_import.c - see bolt_import.h.
 *
 *   bucket "key", by revision --sort by key--> versions of each key --tree_load()--> tree
 *
 * What the file's own compaction had not come to yet is left out here. */
#include "raftstore/etcd/bolt_import.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"
#include "raftstore/crc32c.h"
#include "raftstore/etcd/bolt_format.h"
#include "raftstore/etcd/bolt_read.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/wire.h"

#include <inttypes.h>

/* The log index that a restored state stands at. At 1 the consensus core would take
 * the log for one that begins at its beginning, and never send the snapshot to members
 * that are added. */
#define RESTORED_INDEX 100
#define VERSIONS_MAX (UINT64_C(1) << 32)

struct version {
    struct str key;
    struct str bytes; /* mvccpb.KeyValue */
    int64_t rev;
    uint32_t sub;
    bool tombstone;
};

struct importing {
    struct bolt_import *im;
    struct bolt_file file;
    struct mvcc_state s;
    struct version *versions;
    size_t count, cap;
    struct error *err;
};

/* --- protobuf --------------------------------------------------------------------------------- */

/* One field. False at the end, or when r is bad. number is set for varints, bytes
 * for lengths; other wire types do not occur in etcd's messages. */
struct field {
    uint32_t id;
    bool is_bytes;
    uint64_t number;
    struct str bytes;
};

static bool next_field(struct wire *r, struct field *ret)
{
    if (wire_left(r) == 0)
        return false;
    uint64_t tag = wire_varint(r);
    *ret = (struct field){.id = (uint32_t)(tag >> 3), .is_bytes = (tag & 7) == 2};
    if ((tag & 7) == 0)
        ret->number = wire_varint(r);
    else if (ret->is_bytes)
        ret->bytes = wire_str(r, SIZE_MAX);
    else
        wire_fail(r);
    return !r->bad;
}

static uint64_t be64(const char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static int corrupt(struct importing *g, const char *what)
{
    return error_set(g->err, E_CORRUPT, "the snapshot holds %s", what);
}

/* --- versions -----------------------------------------------------------------------------------
 */

static bool read_rev(struct str key, int64_t *ret_rev, uint32_t *ret_sub, bool *ret_tombstone)
{
    bool tombstone = key.len == BOLT_REV_BYTES + 1 && key.data[BOLT_REV_BYTES] == 't';
    if ((key.len != BOLT_REV_BYTES && !tombstone) || key.data[8] != '_')
        return false;
    uint64_t rev = be64(key.data), sub = be64(key.data + 9);
    *ret_rev = (int64_t)rev;
    *ret_sub = (uint32_t)sub;
    *ret_tombstone = tombstone;
    return rev >= 1 && rev <= INT64_MAX / 2 && sub <= UINT32_MAX;
}

static int add_version(struct importing *g, const struct bolt_entry *e)
{
    struct version v = {.bytes = e->value};
    struct field f;
    struct wire r = wire_of(e->value);
    if (e->is_bucket || !read_rev(e->key, &v.rev, &v.sub, &v.tombstone))
        return corrupt(g, "a revision that is none");
    while (next_field(&r, &f))
        if (f.id == 1 && f.is_bytes)
            v.key = f.bytes;
    if (r.bad || str_empty(v.key) || v.key.len > KV_KEY_MAX || e->value.len > COMMAND_BYTES_MAX)
        return corrupt(g, "a key that cannot be read or is too long");
    /* etcd's own revision 1 is an empty store; ours too. */
    if (v.rev < 2)
        return corrupt(g, "a change before the first revision");
    if (g->count == g->cap) {
        if (g->count >= VERSIONS_MAX)
            return error_set(g->err, E_TOO_LARGE, "the snapshot holds too many revisions");
        g->cap = g->cap != 0 ? g->cap * 2 : 1024;
        g->versions = xrealloc(g->versions, g->cap * sizeof(g->versions[0]));
    }
    g->versions[g->count++] = v;
    return 0;
}

static int by_key(const void *pa, const void *pb)
{
    const struct version *a = pa, *b = pb;
    int c = str_cmp(a->key, b->key);
    if (c != 0)
        return c;
    if (a->rev != b->rev)
        return a->rev < b->rev ? -1 : 1;
    return a->sub < b->sub ? -1 : a->sub > b->sub;
}

static int each(struct importing *g, const char *bucket,
                int (*fn)(struct importing *g, const struct bolt_entry *e))
{
    struct bolt_cursor c;
    struct bolt_entry e = {0};
    int rc = bolt_bucket(&c, &g->file, bucket, g->err);
    if (rc == E_NOT_FOUND && strcmp(bucket, "key") != 0) {
        error_clear(g->err);
        return 0; /* An older etcd, or one that never had any. */
    }
    if (rc < 0)
        return rc;
    while ((rc = bolt_next(&c, &e, g->err)) > 0) {
        rc = fn(g, &e);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int read_meta(struct importing *g, const struct bolt_entry *e)
{
    int64_t rev;
    uint32_t sub;
    bool tombstone;
    if (!str_eqc(e->key, "finishedCompactRev") && !str_eqc(e->key, "scheduledCompactRev"))
        return 0;
    if (!read_rev(e->value, &rev, &sub, &tombstone))
        return corrupt(g, "a compaction at a revision that is none");
    g->s.compacted = MAX_OF(g->s.compacted, rev);
    return 0;
}

/* --- leases, users, roles ------------------------------------------------------------------------
 */

static int read_lease(struct importing *g, const struct bolt_entry *e)
{
    int64_t id = 0, ttl_s = 0;
    struct field f;
    struct wire r = wire_of(e->value);
    while (next_field(&r, &f)) {
        if (f.id == 1)
            id = (int64_t)f.number;
        else if (f.id == 2)
            ttl_s = (int64_t)f.number;
    }
    if (r.bad || id == 0 || leases_get(&g->s.leases, id) != NULL)
        return corrupt(g, "a lease that cannot be read");
    lease_add(&g->s.leases, id, MIN_OF(MAX_OF(ttl_s, INT64_C(1)), LEASE_TTL_MAX_S), 0);
    g->im->leases++;
    return 0;
}

static int change(struct importing *g, const struct auth_change *c)
{
    struct auth_state *next;
    enum auth_refusal why = auth_apply(g->s.auth, c, &next);
    if (why != AUTH_REFUSED_NOT)
        return error_set(g->err, E_CORRUPT,
                         "the snapshot's users and roles do not fit together: %s",
                         auth_refusal_text(why));
    auth_state_unref(g->s.auth);
    g->s.auth = next;
    return 0;
}

static int read_permission(struct importing *g, struct str role, struct str bytes)
{
    struct auth_change c = {.type = AUTH_ROLE_GRANT, .role = role};
    struct field f;
    struct wire r = wire_of(bytes);
    while (next_field(&r, &f)) {
        if (f.id == 1 && f.number <= AUTH_READWRITE)
            c.access = (enum auth_access)f.number;
        else if (f.id == 2)
            c.key = f.bytes;
        else if (f.id == 3)
            c.range_end = f.bytes;
        else
            wire_fail(&r);
    }
    return r.bad ? corrupt(g, "a permission that cannot be read") : change(g, &c);
}

static int read_role(struct importing *g, const struct bolt_entry *e)
{
    struct auth_change c = {.type = AUTH_ROLE_ADD, .role = e->key};
    struct field f;
    struct wire r = wire_of(e->value);
    int rc = auth_role(g->s.auth, e->key) != NULL ? 0 : change(g, &c);
    while (rc == 0 && next_field(&r, &f))
        if (f.id == 2 && f.is_bytes)
            rc = read_permission(g, e->key, f.bytes);
    g->im->roles++;
    return rc == 0 && r.bad ? corrupt(g, "a role that cannot be read") : rc;
}

static int read_user(struct importing *g, const struct bolt_entry *e)
{
    struct auth_change c = {.type = AUTH_USER_ADD, .user = e->key};
    struct field f;
    struct wire r = wire_of(e->value);
    while (next_field(&r, &f)) {
        if (f.id == 2 && f.is_bytes)
            c.password_hash = f.bytes;
        else if (f.id == 4 && f.is_bytes)
            c.no_password = f.bytes.len == 2 && f.bytes.data[1] == 1;
    }
    if (r.bad)
        return corrupt(g, "a user that cannot be read");
    if (str_empty(c.password_hash))
        c.no_password = true;
    int rc = change(g, &c);
    r = wire_of(e->value);
    while (rc == 0 && next_field(&r, &f))
        if (f.id == 3 && f.is_bytes)
            rc = change(
                g, &(struct auth_change){.type = AUTH_USER_GRANT, .user = e->key, .role = f.bytes});
    g->im->users++;
    return rc;
}

static int read_auth(struct importing *g, const struct bolt_entry *e)
{
    if (str_eqc(e->key, "authEnabled") && e->value.len == 1 && e->value.data[0] == 1)
        return change(g, &(struct auth_change){.type = AUTH_ENABLE});
    if (str_eqc(e->key, "authRevision") && e->value.len == 8) {
        struct auth_state *next =
            auth_with_revision(g->s.auth, MAX_OF(be64(e->value.data), (uint64_t)1));
        auth_state_unref(g->s.auth);
        g->s.auth = next;
    }
    return 0;
}

/* --- the tree
 * ------------------------------------------------------------------------------------- */

static struct kv *make_kv(struct importing *g, const struct version *v, bool newest)
{
    struct str value = STR("");
    int64_t create_rev = 0, version = 0, lease = 0;
    struct field f;
    struct wire r = wire_of(v->bytes);
    while (!v->tombstone && next_field(&r, &f)) {
        if (f.id == 2)
            create_rev = (int64_t)f.number;
        else if (f.id == 4)
            version = (int64_t)f.number;
        else if (f.id == 5 && f.is_bytes)
            value = f.bytes;
        else if (f.id == 6)
            lease = (int64_t)f.number;
    }
    if (!v->tombstone && (version < 1 || create_rev < 2 || create_rev > v->rev))
        return NULL;
    if (newest && lease != 0 && leases_get(&g->s.leases, lease) == NULL) {
        g->im->loose++;
        lease = 0;
    }
    struct kv_numbers numbers = {v->rev, create_rev, version, lease, v->sub};
    return kv_new(tree_heap(g->s.tree), v->key, value.data != NULL ? value : STR(""), &numbers);
}

/* The versions [from, end) of one key. */
static int load_key(struct importing *g, size_t from, size_t end)
{
    const struct version *all = g->versions;
    /* What no read at or above the compacted revision can see. */
    while (from + 1 < end && all[from + 1].rev <= g->s.compacted)
        from++;
    while (from < end && all[from].tombstone && all[from].rev <= g->s.compacted)
        from++;
    /* A tombstone needs something that it deletes. */
    while (from < end && all[from].tombstone)
        from++;
    for (size_t i = from; i < end; i++) {
        struct kv *kv = make_kv(g, &all[i], i + 1 == end);
        if (kv == NULL || tree_load(g->s.tree, kv) != 0) {
            kv_unref(kv);
            return corrupt(g, "versions of a key that do not follow each other");
        }
        g->im->versions++;
        struct lease *l =
            i + 1 == end && kv_lease(kv) != 0 ? leases_get(&g->s.leases, kv_lease(kv)) : NULL;
        if (l != NULL)
            lease_attach(l, kv, tree_working(g->s.tree));
    }
    g->im->keys += from < end && !all[end - 1].tombstone;
    return 0;
}

static int load_tree(struct importing *g)
{
    if (g->count > 0)
        qsort(g->versions, g->count, sizeof(g->versions[0]), by_key);
    for (size_t from = 0, end; from < g->count; from = end) {
        for (end = from + 1; end < g->count && str_eq(g->versions[end].key, g->versions[from].key);)
            end++;
        int rc = load_key(g, from, end);
        if (rc < 0)
            return rc;
    }
    tree_set_rev(g->s.tree, g->s.rev);
    return 0;
}

static int import_all(struct importing *g)
{
    int rc = each(g, "meta", read_meta);
    if (rc == 0)
        rc = each(g, "key", add_version);
    if (rc == 0)
        rc = each(g, "lease", read_lease);
    if (rc == 0)
        rc = each(g, "authRoles", read_role);
    if (rc == 0)
        rc = each(g, "authUsers", read_user);
    if (rc == 0)
        rc = each(g, "auth", read_auth);
    if (rc < 0)
        return rc;
    g->s.rev = MAX_OF(g->s.rev, g->s.compacted);
    for (size_t i = 0; i < g->count; i++)
        g->s.rev = MAX_OF(g->s.rev, g->versions[i].rev);
    if (g->im->bump_revision > INT64_MAX / 4)
        return error_set(g->err, E_INVALID, "the revision cannot be raised that far");
    g->s.rev += (int64_t)g->im->bump_revision;
    if (g->im->mark_compacted)
        g->s.compacted = g->s.rev;
    g->s.applied = RESTORED_INDEX;
    g->im->rev = g->s.rev;
    g->im->compacted = g->s.compacted;
    return load_tree(g);
}

int bolt_import(struct bolt_import *im, struct str db, struct mvcc *m, struct error *err)
{
    struct error local = {0};
    struct importing g = {.im = im, .err = err != NULL ? err : &local};
    int rc = bolt_open(&g.file, db, g.err);
    if (rc < 0)
        return rc;
    mvcc_state_init(&g.s);
    rc = import_all(&g);
    free(g.versions);
    if (rc == 0) {
        mvcc_replace_state(m, &g.s, NULL, 0, 0);
        mvcc_state_init(&g.s);
    }
    mvcc_state_done(&g.s);
    tree_free(g.s.tree);
    return rc;
}

/* --- checksum and status
 * --------------------------------------------------------------------------- */

int bolt_checked(struct str file, struct str *ret_db, struct error *err)
{
    uint8_t sum[BOLT_SUM_BYTES];
    if (file.len % 512 != BOLT_SUM_BYTES)
        return error_set(err, E_NOT_FOUND, "there is no checksum behind the database");
    struct str db = str_sub(file, 0, file.len - BOLT_SUM_BYTES);
    net_sha256(db.data, db.len, sum);
    if (memcmp(sum, db.data + db.len, sizeof(sum)) != 0)
        return error_set(err, E_CORRUPT, "the checksum does not match: the snapshot is damaged");
    *ret_db = db;
    return 0;
}

static int add_bucket(struct bolt_status *s, const struct bolt_file *f, struct str name,
                      struct error *err)
{
    char text[256];
    struct bolt_cursor c;
    struct bolt_entry e = {0};
    if (name.len >= sizeof(text))
        return error_set(err, E_CORRUPT, "a bucket with a name of %zu bytes", name.len);
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    s->hash = crc32c(s->hash, name.data, name.len);
    int rc = bolt_bucket(&c, f, text, err);
    while (rc == 0 && (rc = bolt_next(&c, &e, err)) > 0) {
        s->hash = crc32c(crc32c(s->hash, e.key.data, e.key.len), e.value.data, e.value.len);
        s->keys++;
        if (strcmp(text, "key") == 0 && e.key.len >= BOLT_REV_BYTES)
            s->rev = (int64_t)be64(e.key.data);
        rc = 0;
    }
    return rc;
}

int bolt_status(struct str db, struct bolt_status *ret, struct error *err)
{
    struct bolt_file f;
    struct bolt_cursor c;
    struct bolt_entry e = {0};
    *ret = (struct bolt_status){0};
    int rc = bolt_open(&f, db, err);
    if (rc == 0)
        rc = bolt_root(&c, &f, err);
    while (rc == 0 && (rc = bolt_next(&c, &e, err)) > 0)
        rc = e.is_bucket ? add_bucket(ret, &f, e.key, err) : 0;
    return rc;
}

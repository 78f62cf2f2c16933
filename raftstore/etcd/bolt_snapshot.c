/* bolt_snapshot.c - see bolt_snapshot.h: the buckets of an etcd, out of a backup.
 *
 * The tree goes by key, etcd's main bucket by revision: the versions are listed
 * once, sorted in runs and merged, so that it can be done in slices. */
#include "raftstore/etcd/bolt_snapshot.h"

#include "lib/base/buf.h"
#include "raftstore/etcd/bolt_format.h"
#include "raftstore/etcd/bolt_write.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_snapshot.h"

#include <openssl/evp.h>

#define RUN 1024 /* Versions sorted at once, before the merging. */

enum stage { STAGE_LIST, STAGE_SORT, STAGE_MERGE, STAGE_LAYOUT, STAGE_READY, STAGE_SUM, STAGE_END };

/* A version by what it is ordered by. */
struct place {
    int64_t rev;
    uint32_t sub;
    const struct kv *kv;
};

/* Sorted versions [at, end) of the list. */
struct run {
    struct place first;
    size_t at, end;
};

struct bolt_snapshot {
    struct mvcc_snapshot *backup;
    struct mvcc_view *view; /* The backup's. */
    const struct auth_state *auth;
    enum stage stage;

    /* Versions by key, then by revision. */
    struct tree_iter it;
    struct kv_list list;
    size_t at; /* Sorting: the next run's beginning. Merging: the next place in sorted. */
    struct run *runs;
    size_t run_count;
    const struct kv **sorted;

    const struct auth_user *const *users;
    const struct auth_role *const *roles;
    size_t user_count, role_count;
    size_t negative_leases; /* They come first in the backup, last in the file. */

    struct bolt_writer *writer;
    EVP_MD_CTX *sum;
    uint8_t digest[BOLT_SUM_BYTES];
    size_t digest_given;
};

/* --- protobuf ------------------------------------------------------------------------------- */

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static size_t number_bytes(int64_t v)
{
    return v == 0 ? 0 : 1 + varint_bytes((uint64_t)v);
}

static size_t bytes_bytes(size_t len)
{
    return len == 0 ? 0 : 1 + varint_bytes(len) + len;
}

static void put_number(struct buf *b, unsigned field, int64_t v)
{
    if (v == 0)
        return;
    buf_putc(b, (char)(field << 3));
    buf_put_varint(b, (uint64_t)v);
}

static void put_present(struct buf *b, unsigned field, struct str s)
{
    buf_putc(b, (char)(field << 3 | 2));
    buf_put_varint(b, s.len);
    buf_append_str(b, s);
}

static void put_bytes(struct buf *b, unsigned field, struct str s)
{
    if (s.len > 0)
        put_present(b, field, s);
}

static void put_be64(struct buf *b, uint64_t v)
{
    buf_put_be32(b, (uint32_t)(v >> 32));
    buf_put_be32(b, (uint32_t)v);
}

/* --- the bucket "key" ------------------------------------------------------------------------ */

static void key_measure(void *arg, uint64_t i, size_t *ret_key, size_t *ret_value)
{
    const struct bolt_snapshot *s = arg;
    const struct kv *kv = s->list.items[i];
    *ret_key = BOLT_REV_BYTES + (!kv_live(kv));
    *ret_value = bytes_bytes(kv_key(kv).len);
    if (kv_live(kv))
        *ret_value += number_bytes(kv_create_rev(kv)) + number_bytes(kv->mod_rev) +
                      number_bytes(kv_version(kv)) + bytes_bytes(kv_value(kv).len) +
                      number_bytes(kv_lease(kv));
}

static void put_rev(struct buf *out, int64_t rev, uint32_t sub)
{
    put_be64(out, (uint64_t)rev);
    buf_putc(out, '_');
    put_be64(out, sub);
}

static void key_key(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    const struct kv *kv = s->list.items[i];
    put_rev(out, kv->mod_rev, kv_sub(kv));
    if (!kv_live(kv))
        buf_putc(out, 't');
}

static void key_value(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    const struct kv *kv = s->list.items[i];
    put_bytes(out, 1, kv_key(kv));
    if (!kv_live(kv))
        return;
    put_number(out, 2, kv_create_rev(kv));
    put_number(out, 3, kv->mod_rev);
    put_number(out, 4, kv_version(kv));
    put_bytes(out, 5, kv_value(kv));
    put_number(out, 6, kv_lease(kv));
}

/* --- the small buckets ----------------------------------------------------------------------- */

static int64_t lease_at(const struct bolt_snapshot *s, uint64_t i, int64_t *ret_ttl_s)
{
    int64_t id;
    size_t count = mvcc_snapshot_lease_count(s->backup);
    mvcc_snapshot_lease(s->backup, (size_t)((i + s->negative_leases) % count), &id, ret_ttl_s);
    return id;
}

static void lease_key(void *arg, uint64_t i, struct buf *out)
{
    int64_t ttl_s;
    put_be64(out, (uint64_t)lease_at(arg, i, &ttl_s));
}

static void lease_value(void *arg, uint64_t i, struct buf *out)
{
    int64_t ttl_s, id = lease_at(arg, i, &ttl_s);
    put_number(out, 1, id);
    put_number(out, 2, ttl_s);
}

static void user_key(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    buf_append_str(out, s->users[i]->name);
}

static void user_value(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    const struct auth_user *u = s->users[i];
    put_bytes(out, 1, u->name);
    put_bytes(out, 2, u->password_hash);
    for (size_t r = 0; r < u->role_count; r++)
        put_present(out, 3, u->roles[r]);
    put_present(out, 4, u->no_password ? STR("\x08\x01") : STR(""));
}

static void role_key(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    buf_append_str(out, s->roles[i]->name);
}

static void role_value(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    const struct auth_role *r = s->roles[i];
    put_bytes(out, 1, r->name);
    for (size_t p = 0; p < r->permission_count; p++) {
        const struct auth_permission *perm = &r->permissions[p];
        size_t n = number_bytes(perm->access) + bytes_bytes(perm->key.len) +
                   bytes_bytes(perm->range_end.len);
        buf_putc(out, 2 << 3 | 2);
        buf_put_varint(out, n);
        put_number(out, 1, perm->access);
        put_bytes(out, 2, perm->key);
        put_bytes(out, 3, perm->range_end);
    }
}

static void auth_key(void *arg, uint64_t i, struct buf *out)
{
    UNUSED(arg);
    buf_puts(out, i == 0 ? "authEnabled" : "authRevision");
}

static void auth_value(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    if (i == 0)
        buf_putc(out, auth_enabled(s->auth) ? 1 : 0);
    else
        put_be64(out, auth_revision(s->auth));
}

static void meta_key(void *arg, uint64_t i, struct buf *out)
{
    UNUSED(arg);
    buf_puts(out, i == 0 ? "finishedCompactRev" : "scheduledCompactRev");
}

static void meta_value(void *arg, uint64_t i, struct buf *out)
{
    const struct bolt_snapshot *s = arg;
    UNUSED(i);
    put_rev(out, mvcc_view_compacted(s->view), 0);
}

/* --- ordering --------------------------------------------------------------------------------- */

/* The versions lie all over the memory: looking at one costs more than all else here.
 * So each is looked at once for the sorting of its run and once for the merging. */
static struct place place_of(const struct kv *kv)
{
    return (struct place){kv->mod_rev, kv_sub(kv), kv};
}

static bool before(const struct place *a, const struct place *b)
{
    return a->rev != b->rev ? a->rev < b->rev : a->sub < b->sub;
}

static int compare(const void *a, const void *b)
{
    return before(a, b) ? -1 : before(b, a);
}

static void list_slice(struct bolt_snapshot *s, size_t budget)
{
    const struct kv *earlier;
    size_t until = s->list.count + budget;
    while (s->list.count < until) {
        if (!tree_iter_next_versions(&s->it, &s->list, &earlier)) {
            s->stage = STAGE_SORT;
            return;
        }
    }
}

static void sort_run(const struct kv **items, size_t n)
{
    struct place places[RUN];
    for (size_t i = 0; i < n; i++)
        places[i] = place_of(items[i]);
    qsort(places, n, sizeof(places[0]), compare);
    for (size_t i = 0; i < n; i++)
        items[i] = places[i].kv;
}

/* Sifts run i of the heap down to where it belongs. */
static void sift(struct run *runs, size_t count, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; child++)
            if (before(&runs[child].first, &runs[least].first))
                least = child;
        if (least == i)
            return;
        struct run swap = runs[i];
        runs[i] = runs[least];
        runs[least] = swap;
        i = least;
    }
}

static void start_merge(struct bolt_snapshot *s)
{
    size_t count = s->list.count;
    s->run_count = (count + RUN - 1) / RUN;
    s->runs = xmalloc((s->run_count + 1) * sizeof(s->runs[0]));
    for (size_t i = 0; i < s->run_count; i++)
        s->runs[i] =
            (struct run){place_of(s->list.items[i * RUN]), i * RUN, MIN_OF((i + 1) * RUN, count)};
    for (size_t i = s->run_count / 2; i-- > 0;)
        sift(s->runs, s->run_count, i);
    s->sorted = xmalloc((count + 1) * sizeof(s->sorted[0]));
    s->at = 0;
    s->stage = STAGE_MERGE;
}

static void sort_slice(struct bolt_snapshot *s, size_t budget)
{
    for (size_t done = 0; done < budget && s->at < s->list.count; done += RUN) {
        size_t n = MIN_OF((size_t)RUN, s->list.count - s->at);
        sort_run(s->list.items + s->at, n);
        s->at += n;
    }
    if (s->at == s->list.count)
        start_merge(s);
}

/* All runs at once, by a heap of their first versions. */
static void merge_slice(struct bolt_snapshot *s, size_t budget)
{
    for (; budget > 0 && s->run_count > 0; budget--) {
        struct run *r = &s->runs[0];
        s->sorted[s->at++] = r->first.kv;
        if (++r->at < r->end)
            r->first = place_of(s->list.items[r->at]);
        else
            *r = s->runs[--s->run_count];
        sift(s->runs, s->run_count, 0);
    }
    if (s->run_count > 0)
        return;
    free(s->runs);
    s->runs = NULL;
    free(s->list.items);
    s->list.items = s->sorted;
    s->sorted = NULL;
    s->stage = STAGE_LAYOUT;
}

/* --- the file --------------------------------------------------------------------------------- */

static void make_writer(struct bolt_snapshot *s)
{
    bool compacted = mvcc_view_compacted(s->view) > 0;
    mvcc_snapshot_sort_leases(s->backup);
    const struct bolt_source sources[] = {
        {.name = "alarm"},
        {"auth", 2, NULL, auth_key, auth_value, s},
        {"authRoles", s->role_count, NULL, role_key, role_value, s},
        {"authUsers", s->user_count, NULL, user_key, user_value, s},
        {.name = "cluster"},
        {"key", s->list.count, key_measure, key_key, key_value, s},
        {"lease", mvcc_snapshot_lease_count(s->backup), NULL, lease_key, lease_value, s},
        {.name = "members"},
        {.name = "members_removed"},
        {"meta", compacted ? 2 : 0, NULL, meta_key, meta_value, s},
    };
    s->writer = bolt_writer_new(sources, ARRAY_SIZE(sources));
}

struct bolt_snapshot *bolt_snapshot_new(struct store_backup *b)
{
    struct bolt_snapshot *s = xzalloc(sizeof(*s));
    s->backup = (struct mvcc_snapshot *)b;
    s->view = mvcc_snapshot_view(s->backup);
    s->auth = mvcc_view_auth(s->view);
    s->users = auth_users(s->auth, &s->user_count);
    s->roles = auth_roles(s->auth, &s->role_count);
    for (size_t i = 0; i < mvcc_snapshot_lease_count(s->backup); i++) {
        int64_t id, ttl_s;
        mvcc_snapshot_lease(s->backup, i, &id, &ttl_s);
        s->negative_leases += id < 0;
    }
    tree_iter_versions(&s->it, mvcc_view_root(s->view), 0);
    s->sum = EVP_MD_CTX_new();
    if (s->sum == NULL || EVP_DigestInit_ex(s->sum, EVP_sha256(), NULL) != 1)
        PANIC("SHA-256 is not available");
    return s;
}

void bolt_snapshot_free(struct bolt_snapshot *s)
{
    if (s == NULL)
        return;
    bolt_writer_free(s->writer);
    EVP_MD_CTX_free(s->sum);
    free(s->runs);
    free(s->sorted);
    kv_list_done(&s->list);
    mvcc_snapshot_free(s->backup);
    free(s);
}

bool bolt_snapshot_prepare(struct bolt_snapshot *s, size_t budget)
{
    switch (s->stage) {
    case STAGE_LIST:
        list_slice(s, budget);
        return true;
    case STAGE_SORT:
        sort_slice(s, budget);
        return true;
    case STAGE_MERGE:
        merge_slice(s, budget);
        return true;
    case STAGE_LAYOUT:
        if (s->writer == NULL)
            make_writer(s);
        if (bolt_writer_layout(s->writer, budget))
            return true;
        s->stage = STAGE_READY;
        return false;
    default:
        return false;
    }
}

uint64_t bolt_snapshot_size(const struct bolt_snapshot *s)
{
    ASSERT(s->stage >= STAGE_READY);
    return bolt_writer_size(s->writer);
}

int64_t bolt_snapshot_rev(const struct bolt_snapshot *s)
{
    return mvcc_snapshot_rev(s->backup);
}

size_t bolt_snapshot_read(struct bolt_snapshot *s, void *p, size_t cap)
{
    size_t done = 0;
    ASSERT(s->stage >= STAGE_READY);
    if (s->stage == STAGE_READY) {
        done = bolt_writer_read(s->writer, p, cap);
        if (EVP_DigestUpdate(s->sum, p, done) != 1)
            PANIC("SHA-256 failed");
        if (done == cap)
            return done;
        if (EVP_DigestFinal_ex(s->sum, s->digest, NULL) != 1)
            PANIC("SHA-256 failed");
        s->stage = STAGE_SUM;
    }
    size_t n = MIN_OF(cap - done, BOLT_SUM_BYTES - s->digest_given);
    memcpy((uint8_t *)p + done, s->digest + s->digest_given, n);
    s->digest_given += n;
    return done + n;
}

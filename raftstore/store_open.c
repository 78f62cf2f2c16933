/* store_open.c - who this member is, what its disk holds, and how it starts.
 *
 *   data there            recover: newest snapshot, then the log behind it
 *   none, no join         found the cluster that initial_members describes
 *   none, join            listen, until a member of the cluster says who we are
 *
 * A member that was told its id never founds a cluster, whatever its options
 * say later: the log remembers. */
#include "raftstore/store_internal.h"

#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/metrics.h"
#include "raftstore/disk.h"
#include "raftstore/failpoint.h"
#include "raftstore/log.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/snapshot_file.h"

#include <inttypes.h>
#include <string.h>

#define LOG_READ_BYTES (4u << 20)
#define PIECE_BYTES (256u << 10)
#define DISK_RESERVE_BYTES (64u << 20)

/* --- identity ------------------------------------------------------------------------------- */

static const uint64_t name_seed[2] = {0x7472697265 /* "trire" */, 0x6d65 /* "me" */};

/* Names a member by what its operator called it, as etcd does. */
static uint64_t member_id_of(const struct store_member *m)
{
    if (m->id != 0)
        return m->id;
    AUTO_FREE char *text = xasprintf("%s@%s", m->name != NULL ? m->name : "", m->address);
    uint64_t id = base_siphash(name_seed, text, strlen(text)) & INT64_MAX;
    return id != 0 ? id : 1;
}

static const struct store_member *find_self(const struct store_config *c)
{
    for (uint32_t i = 0; i < c->initial_member_count; i++)
        if (c->initial_members[i].name != NULL && c->name != NULL &&
            strcmp(c->initial_members[i].name, c->name) == 0)
            return &c->initial_members[i];
    const char *address = c->advertise_address != NULL ? c->advertise_address : c->listen_address;
    for (uint32_t i = 0; i < c->initial_member_count; i++)
        if (address != NULL && strcmp(c->initial_members[i].address, address) == 0)
            return &c->initial_members[i];
    return NULL;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct member *)a)->id, y = ((const struct member *)b)->id;
    return x < y ? -1 : x > y;
}

int store_founders(struct store *s, const struct store_config *c, struct members *ret,
                   uint64_t *ret_id, uint64_t *ret_cluster, struct error *err)
{
    *ret = (struct members){0};
    if (c->initial_member_count == 0) {
        *ret_id = env_random_below(s->env, INT64_MAX - 1) + 1;
        *ret_cluster = env_random_below(s->env, UINT64_MAX - 1) + 1;
        return 0; /* The list follows once the address is known. */
    }
    const struct store_member *self = find_self(c);
    if (self == NULL)
        return error_set(err, E_INVALID, "the initial members do not name this one (%s)",
                         c->name != NULL ? c->name : "it has no name");
    if (c->initial_member_count > MEMBERS_MAX)
        return error_set(err, E_INVALID, "%u initial members, at most %d are allowed",
                         c->initial_member_count, MEMBERS_MAX);
    for (uint32_t i = 0; i < c->initial_member_count; i++) {
        const struct store_member *m = &c->initial_members[i];
        if (members_get(ret, member_id_of(m)) != NULL)
            return error_set(err, E_INVALID, "two initial members have the id %" PRIx64,
                             member_id_of(m));
        members_add(ret, member_id_of(m), MEMBER_VOTER, m->address);
    }
    qsort(ret->items, ret->count, sizeof(*ret->items), by_id);
    AUTO_BUF text = BUF_INIT;
    for (uint32_t i = 0; i < ret->count; i++)
        buf_printf(&text, "%" PRIx64 "=%s\n", ret->items[i].id, ret->items[i].address);
    *ret_cluster = base_siphash(name_seed, text.data, text.len) | 1;
    *ret_id = member_id_of(self);
    return 0;
}

/* --- recovery ------------------------------------------------------------------------------- */

int store_log_open(struct store *s, const char *dir, uint64_t cluster_id, uint64_t member_id,
                   bool joined, struct log **ret, struct error *err)
{
    struct log_config config = {
        .disk = s->disk,
        .env = s->env,
        .dir = dir,
        .cluster_id = cluster_id,
        .member_id = member_id,
        .joined = joined,
        .segment_bytes = s->hooks.log_segment_bytes,
        .no_fsync = s->no_fsync,
    };
    return log_open(&config, ret, err);
}

int store_snapshots_open(struct store *s, uint64_t cluster_id, struct snapshot_dir **ret,
                         struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/snapshots", s->data_dir);
    struct snapshot_dir_config config = {
        .disk = s->disk,
        .dir = path,
        .cluster_id = cluster_id,
        .no_fsync = s->no_fsync,
        .in_parts = true,
    };
    return snapshot_dir_open(&config, ret, err);
}

static int restore_file(struct store *s, struct snapshot_file *f, struct error *err)
{
    struct mvcc_restore *restore = mvcc_restore_new();
    AUTO_FREE uint8_t *piece = xmalloc(PIECE_BYTES);
    uint64_t size = snapshot_file_info(f)->data_bytes;
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        size_t len = 0;
        rc = snapshot_file_read(f, at, piece, PIECE_BYTES, &len, err);
        if (rc == 0) {
            rc = mvcc_restore_feed(restore, str_n((char *)piece, len), err);
            if (rc < 0)
                error_prefix(err, "the snapshot %s cannot be used", snapshot_file_path(f));
        }
        at += len;
    }
    if (rc == 0) {
        rc = mvcc_restore_finish(restore, err);
        if (rc < 0)
            error_prefix(err, "the snapshot %s cannot be used", snapshot_file_path(f));
    }
    if (rc == 0)
        mvcc_restore_commit(restore, s->mvcc, store_now(s));
    else
        mvcc_restore_free(restore);
    return rc;
}

static int load_snapshot(struct store *s, struct snapshot_dir *dir, uint64_t index,
                         struct error *err)
{
    struct snapshot_file *f = NULL;
    int rc = snapshot_file_open(dir, index, &f, err);
    if (rc == 0)
        rc = restore_file(s, f, err);
    if (rc == 0) {
        const struct snapshot_info *info = snapshot_file_info(f);
        struct replica_snapshot snapshot = {info->index, info->term, info->meta};
        rc = replica_recover_snapshot(s->replica, &snapshot, err);
    }
    snapshot_file_close(f);
    return rc;
}

/* The newest snapshot that can be read and that the log continues. */
static int load_newest_snapshot(struct store *s, struct snapshot_dir *dir,
                                const struct log_state *state, struct error *err)
{
    uint64_t indexes[SNAPSHOT_KEEP + 2];
    size_t count = snapshot_dir_list(dir, indexes, ARRAY_SIZE(indexes));
    struct error first = {0}, why = {0};
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && indexes[i] + 1 < state->first_index)
            break; /* Entries between it and the log are gone. */
        int rc = load_snapshot(s, dir, indexes[i], &why);
        if (rc == 0)
            return 0;
        if (rc != E_CORRUPT && rc != E_NOT_FOUND) {
            *err = why;
            return rc;
        }
        log_error("%s", error_message(&why));
        if (i == 0)
            first = why;
    }
    if (count > 0)
        return error_set(err, E_CORRUPT,
                         "no snapshot in %s can be used (%.500s). In a cluster: remove this member "
                         "on a healthy one, "
                         "move %s away and join again as a new member.",
                         s->data_dir, error_message(&first), s->data_dir);
    if (state->first_index > 1)
        return error_set(err, E_CORRUPT,
                         "%s: the log starts at entry %" PRIu64
                         ", but the snapshot before it is missing",
                         s->data_dir, state->first_index);
    return 0;
}

static int load_entries(struct store *s, struct log *log, const struct log_state *state,
                        struct error *err)
{
    int rc = 0;
    for (uint64_t at = state->first_index; rc == 0 && at <= state->last_index;) {
        struct log_read got;
        rc = log_read(log, at, LOG_READ_BYTES, &got, err);
        if (rc < 0)
            return rc;
        for (uint32_t i = 0; rc == 0 && i < got.count; i++) {
            const struct log_entry *e = &got.entries[i];
            struct entry *entry = store_entry_of(e->index, e->term, e->kind, e->data, e->len);
            rc = entry == NULL ? error_set(err, E_NO_MEMORY, "no memory to read the log")
                               : replica_recover_entry(s->replica, entry, err);
            entry_unref(entry);
        }
        at += got.count;
        log_read_done(&got);
    }
    return rc;
}

static int new_replica(struct store *s, uint64_t boot, struct error *err)
{
    uint32_t seed = 0;
    s->env->random(s->env, &seed, sizeof(seed));
    struct replica_config config = {
        .id = atomic_load(&s->id),
        .seed = seed,
        .boot = boot,
        .heartbeat_ms = s->heartbeat_ms,
        .election_ms = s->election_ms,
        .proposal_timeout_ms = s->hooks.proposal_timeout_ms,
        .snapshot_log_bytes = s->snapshot_log_bytes,
        .trail_bytes = s->hooks.trail_bytes,
        .cache_bytes = s->hooks.cache_bytes,
        .snapshot_chunk_bytes = s->hooks.snapshot_chunk_bytes,
        .ops = &store_replica_ops,
        .arg = s,
    };
    return replica_new(&config, &s->replica, err);
}

int store_make_replica(struct store *s, uint64_t boot, struct error *err)
{
    int rc = new_replica(s, boot, err);
    return rc < 0 ? rc : replica_start(s->replica, store_now(s), NULL, NULL, err);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What was found on disk, or made there. */
struct opened {
    struct log *log;
    struct snapshot_dir *dir;
    struct log_state state;
    struct members founders;
    bool fresh;
};

static bool snapshots_without_log(struct store *s)
{
    struct snapshot_dir *dir = NULL;
    uint64_t any;
    if (store_snapshots_open(s, 0, &dir, NULL) < 0)
        return false;
    bool found = snapshot_dir_list(dir, &any, 1) > 0;
    snapshot_dir_close(dir);
    return found;
}

static int open_disk(struct store *s, const struct store_config *c, struct opened *o,
                     struct error *err)
{
    uint64_t id = 0, cluster_id = 0;
    int rc = store_log_open(s, s->data_dir, 0, 0, false, &o->log, err);
    if (rc == E_NOT_FOUND) {
        error_clear(err);
        if (snapshots_without_log(s))
            return error_set(err, E_CORRUPT, "%s holds snapshots, but its log is missing",
                             s->data_dir);
        if (c->join)
            return 0;
        rc = store_founders(s, c, &o->founders, &id, &cluster_id, err);
        if (rc == 0)
            rc = store_log_open(s, s->data_dir, cluster_id, id, false, &o->log, err);
    }
    if (rc < 0)
        return rc;
    log_state(o->log, &o->state);
    atomic_store(&s->id, o->state.member_id);
    atomic_store(&s->cluster_id, o->state.cluster_id);
    s->instance = o->state.instance;
    rc = store_snapshots_open(s, o->state.cluster_id, &o->dir, err);
    if (rc < 0)
        return rc;
    uint64_t any;
    o->fresh =
        o->state.last_index == 0 && o->state.term == 0 && snapshot_dir_list(o->dir, &any, 1) == 0;
    if (c->force_new_cluster && !o->fresh) {
        rc = store_force_alone(
            o->log, c->advertise_address != NULL ? c->advertise_address : c->listen_address, err);
        log_state(o->log, &o->state);
    }
    /* A founder that died before its first write founds again. */
    if (o->fresh && !o->state.joined && o->founders.count == 0 && c->initial_member_count > 0) {
        rc = store_founders(s, c, &o->founders, &id, &cluster_id, err);
        if (rc == 0 && (id != o->state.member_id || cluster_id != o->state.cluster_id))
            rc = error_set(err, E_INVALID, "%s was made for other initial members than those given",
                           s->data_dir);
    }
    return rc;
}

static int open_transport(struct store *s, const struct store_config *c, struct error *err)
{
    if (c->listen_address == NULL) {
        if (c->join || c->initial_member_count > 1)
            return error_set(err, E_INVALID, "a member among others needs an address to listen on");
        s->address = xstrdup(c->advertise_address != NULL ? c->advertise_address : "none");
        return 0;
    }
    struct transport_config config = {
        .loop = &s->loop,
        .env = s->env,
        .metrics = metrics_default(),
        .cluster_id = atomic_load(&s->cluster_id),
        .id = atomic_load(&s->id),
        .instance = s->instance,
        .name = s->name,
        .client_urls = s->client_urls,
        .format = s->own_format,
        .listen_address = c->listen_address,
        .advertise_address = c->advertise_address,
        .cert_file = c->cert_file,
        .key_file = c->key_file,
        .ca_file = c->ca_file,
        .any_organization = c->peers_any_organization,
        .common_name = c->peers_common_name,
        .plain = c->peers_plain,
        .message_max = REPLICA_MESSAGE_MAX,
        .stall_ms = 3 * s->election_ms,
        .ops = &store_transport_ops,
        .arg = s,
    };
    int rc = transport_new(&config, &s->transport, err);
    if (rc < 0)
        return rc;
    s->port = (uint16_t)transport_port(s->transport);
    s->address = xstrdup(transport_address(s->transport));
    return 0;
}

/* Recovers the replica from disk and starts it, if there is anything to start. */
static int start_replica(struct store *s, struct opened *o, struct error *err)
{
    if (o->log == NULL)
        return 0;
    int rc = new_replica(s, o->state.boot, err);
    if (rc == 0)
        rc = load_newest_snapshot(s, o->dir, &o->state, err);
    if (rc == 0)
        rc = load_entries(s, o->log, &o->state, err);
    if (rc < 0)
        return rc;
    if (o->fresh && !o->state.joined && o->founders.count == 0)
        members_add(&o->founders, atomic_load(&s->id), MEMBER_VOTER, s->address);
    struct replica_vote vote = {o->state.term, o->state.vote};
    return replica_start(s->replica, store_now(s),
                         o->state.term == 0 && o->state.vote == 0 ? NULL : &vote, &o->founders,
                         err);
}

struct store *store_new(const struct store_config *c, const struct store_hooks *hooks)
{
    struct store *s = xzalloc(sizeof(*s));
    s->hooks = *hooks;
    s->env = env_system();
    s->disk = hooks->disk != NULL ? hooks->disk : disk_system();
    s->data_dir = xstrdup(c->data_dir);
    s->name = xstrdup(c->name != NULL ? c->name : "");
    s->client_urls = xstrdup(c->client_urls != NULL ? c->client_urls : "");
    s->own_format = hooks->command_format != 0 ? hooks->command_format : COMMAND_FORMAT;
    s->format = COMMAND_FORMAT;
    s->heartbeat_ms = c->heartbeat_ms != 0 ? c->heartbeat_ms : 100;
    s->election_ms = c->election_ms != 0 ? c->election_ms : 600;
    s->history_ms = c->history_ms != 0 ? c->history_ms : 600000;
    s->quota_bytes = c->quota_bytes != 0 ? c->quota_bytes : UINT64_C(8) << 30;
    s->snapshot_log_bytes = c->snapshot_log_bytes;
    s->verify_ms = c->verify_ms;
    s->disk_reserve_bytes =
        hooks->disk_reserve_bytes != 0 ? hooks->disk_reserve_bytes : DISK_RESERVE_BYTES;
    s->no_fsync = c->unsafe_no_fsync;
    s->join = c->join;
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->log_queue);
    list_init(&s->answers);
    struct mvcc_config mvcc = {
        .history_bytes = c->history_bytes,
        .history_ms = c->history_ms,
        .quota_bytes = s->quota_bytes,
    };
    s->mvcc = mvcc_new(&mvcc);
    store_metrics_init(s);
    return s;
}

int store_open_hooked(const struct store_config *config, const struct store_hooks *hooks,
                      struct store **ret, struct error *err)
{
    struct error local = {0};
    err = err != NULL ? err : &local;
    struct store *s = store_new(config, hooks);
    struct opened o = {0};
    int rc = failpoint_setup(err);
    if (rc == 0 && strlen(s->client_urls) > TRANSPORT_URLS_MAX)
        rc = error_set(err, E_INVALID, "client URLs of %zu bytes: at most %d are allowed",
                       strlen(s->client_urls), TRANSPORT_URLS_MAX);
    if (rc == 0)
        rc = store_loop_init(s, err);
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    rc = open_disk(s, config, &o, err);
    if (rc == 0)
        rc = open_transport(s, config, err);
    /* From here on the threads own what was opened, also when starting fails. */
    store_log_start(s, o.log);
    store_bulk_start(s, o.dir);
    if (rc == 0)
        rc = start_replica(s, &o, err);
    members_done(&o.founders);
    if (rc < 0) {
        s->failed = true; /* The replica may be half made: nothing is to run it. */
        atomic_store(&s->killed, true);
    }
    store_kick(s);
    store_loop_start(s);
    if (rc < 0) {
        store_kill(s);
        return rc;
    }
    *ret = s;
    return 0;
}

int store_open(const struct store_config *config, struct store **ret, struct error *err)
{
    return store_open_hooked(config, &(struct store_hooks){0}, ret, err);
}

/* The thread has ended, or was never started. */
void store_free(struct store *s)
{
    if (s->thread_started && uv_loop_close(&s->loop) != 0)
        PANIC("the store's loop still has handles");
    replica_free(s->replica);
    mvcc_free(s->mvcc);
    members_done(&s->members);
    buf_done(&s->published);
    for (uint32_t i = 0; i < s->listed_count; i++)
        free(s->listed[i].address);
    free(s->listed);
    free(s->records);
    free(s->alarms);
    free(s->data_dir);
    free(s->name);
    free(s->client_urls);
    free(s->address);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* store.c - see store.h: requests from any thread and their answers.
 *
 * A request travels to the store thread as a mail, lives there as the replica's
 * cookie, and travels back as the same mail. */
#include "raftstore/store_internal.h"

#include "lib/base/env.h"
#include "raftstore/mvcc_snapshot.h"

#include <string.h>

/* --- answering ------------------------------------------------------------------ */

static void request_free(struct request *r)
{
    mvcc_result_done(&r->result);
    buf_done(&r->bytes);
    for (size_t i = 0; i < r->lease.key_count; i++)
        kv_unref(r->kvs[i]);
    free(r->kvs);
    free(r->ids);
    free(r->address);
    free(r);
}

static int by_key(const void *a, const void *b)
{
    return str_cmp(kv_key(*(const struct kv *const *)a), kv_key(*(const struct kv *const *)b));
}

/* The keys are put in order here, not on the store thread. */
static void deliver_lease(struct request *r)
{
    if (r->lease.key_count > 1)
        qsort(r->kvs, r->lease.key_count, sizeof(r->kvs[0]), by_key);
    r->lease.keys = r->kvs;
    r->on_lease(r->code, r->code < 0 ? NULL : &r->lease, r->arg);
}

static void deliver(struct mail *m)
{
    struct request *r = CONTAINER_OF(m, struct request, mail);
    if (r->on_txn != NULL)
        r->on_txn(r->code, r->result.txn, r->arg);
    else if (r->on_backup != NULL)
        r->on_backup(r->code, (struct store_backup *)r->backup, r->arg);
    else if (r->on_lease != NULL)
        deliver_lease(r);
    else if (r->on_ids != NULL)
        r->on_ids(r->code, r->ids, r->id_count, r->arg);
    else if (r->on_auth != NULL)
        r->on_auth(r->code, r->result.auth, r->rev, r->arg);
    else if (r->on_done != NULL)
        r->on_done(r->code, r->rev, r->arg);
    request_free(r);
}

void request_finish(struct request *r, int code)
{
    r->code = code;
    list_push_back(&r->s->answers, &r->node);
}

/* What this member knows of the lease, now that the read point is reached. */
static void look_up_lease(struct request *r)
{
    struct mvcc_lease l;
    uint64_t now = store_now(r->s);
    if (!mvcc_lease_get(r->s->mvcc, (int64_t)r->id, &l)) {
        r->code = E_NOT_FOUND;
        return;
    }
    uint64_t left_ms = l.deadline_ms > now ? l.deadline_ms - now : 0;
    r->lease =
        (struct store_lease){.id = l.id, .ttl_s = l.ttl_s, .left_s = (int64_t)(left_ms / 1000)};
    if (r->flag)
        r->lease.key_count = mvcc_lease_keys(r->s->mvcc, l.id, &r->kvs);
}

static void settle(struct request *r)
{
    if (r->code == 0 && r->type == REQUEST_LEASE)
        look_up_lease(r);
    if (r->code == 0 && r->type == REQUEST_LEASES)
        r->id_count = mvcc_lease_ids(r->s->mvcc, &r->ids);
    if (r->type == REQUEST_READ)
        r->rev = mvcc_rev(r->s->mvcc);
    if (r->type != REQUEST_COMMAND || r->code < 0)
        return;
    r->code = r->result.code;
    r->rev = r->rev_is == REQUEST_ID    ? r->result.id
             : r->rev_is == REQUEST_TTL ? r->result.ttl_s
                                        : r->result.rev;
}

void store_answer_all(struct store *s)
{
    struct list local;
    list_init(&local);
    list_splice(&local, &s->answers);
    for (struct list *n; (n = list_pop_front(&local)) != NULL;) {
        struct request *r = LIST_ENTRY(n, struct request, node);
        settle(r);
        if (r->reply_to != NULL) {
            r->mail.run = deliver;
            mailbox_post(r->reply_to, &r->mail);
            continue;
        }
        if (r->internal != NULL && !s->closed)
            r->internal(s, r);
        request_free(r);
    }
}

/* --- asking ------------------------------------------------------------------------ */

static struct request *request_new(struct store *s, enum request_type type, struct mailbox *mb)
{
    struct request *r = xzalloc(sizeof(*r));
    r->s = s;
    r->type = type;
    r->reply_to = mb;
    r->mail.run = store_on_request;
    list_init(&r->node);
    return r;
}

static void post(struct request *r)
{
    if (r->type == REQUEST_COMMAND && r->bytes.len > COMMAND_BYTES_MAX) {
        r->code = E_TOO_LARGE;
        r->mail.run = deliver;
        mailbox_post(r->reply_to, &r->mail);
        return;
    }
    mailbox_post(&r->s->mailbox, &r->mail);
}

void store_txn(struct store *s, const struct txn *t, struct mailbox *mb, store_txn_cb *cb,
               void *arg)
{
    struct request *r = request_new(s, REQUEST_COMMAND, mb);
    r->on_txn = cb;
    r->arg = arg;
    command_encode_txn(t, &r->bytes);
    post(r);
}

static void send_command(struct store *s, const struct command *c, enum request_rev rev_is,
                         struct mailbox *mb, store_done_cb *cb, void *arg)
{
    struct request *r = request_new(s, REQUEST_COMMAND, mb);
    r->on_done = cb;
    r->arg = arg;
    r->rev_is = rev_is;
    command_encode(c, &r->bytes);
    post(r);
}

void store_compact(struct store *s, int64_t rev, struct mailbox *mb, store_done_cb *cb, void *arg)
{
    send_command(s, &(struct command){.type = COMMAND_COMPACT, .rev = rev}, REQUEST_REV, mb, cb,
                 arg);
}

void store_lease_grant(struct store *s, int64_t id, int64_t ttl_s, struct mailbox *mb,
                       store_done_cb *cb, void *arg)
{
    if (id == 0) /* Positive, as etcd's. */
        id = (int64_t)env_random_below(s->env, INT64_MAX - 1) + 1;
    struct command c = {.type = COMMAND_LEASE_GRANT, .id = id, .ttl_s = ttl_s};
    send_command(s, &c, REQUEST_ID, mb, cb, arg);
}

void store_lease_revoke(struct store *s, int64_t id, struct mailbox *mb, store_done_cb *cb,
                        void *arg)
{
    send_command(s, &(struct command){.type = COMMAND_LEASE_REVOKE, .id = id}, REQUEST_REV, mb, cb,
                 arg);
}

void store_lease_keepalive(struct store *s, int64_t id, struct mailbox *mb, store_done_cb *cb,
                           void *arg)
{
    send_command(s, &(struct command){.type = COMMAND_LEASE_KEEPALIVE, .id = id}, REQUEST_TTL, mb,
                 cb, arg);
}

void store_lease_get(struct store *s, int64_t id, bool keys, struct mailbox *mb, store_lease_cb *cb,
                     void *arg)
{
    struct request *r = request_new(s, REQUEST_LEASE, mb);
    r->on_lease = cb;
    r->arg = arg;
    r->id = (uint64_t)id;
    r->flag = keys;
    post(r);
}

void store_lease_list(struct store *s, struct mailbox *mb, store_ids_cb *cb, void *arg)
{
    struct request *r = request_new(s, REQUEST_LEASES, mb);
    r->on_ids = cb;
    r->arg = arg;
    post(r);
}

void store_read_barrier(struct store *s, struct mailbox *mb, store_done_cb *cb, void *arg)
{
    struct request *r = request_new(s, REQUEST_READ, mb);
    r->on_done = cb;
    r->arg = arg;
    post(r);
}

static void send_change(struct store *s, enum replica_change_type change, uint64_t id,
                        const char *address, struct mailbox *mb, store_done_cb *cb, void *arg)
{
    struct request *r = request_new(s, REQUEST_CHANGE, mb);
    r->on_done = cb;
    r->arg = arg;
    r->change = change;
    r->id = id;
    r->rev = (int64_t)id;
    r->address = address != NULL ? xstrdup(address) : NULL;
    post(r);
}

void store_member_add(struct store *s, const char *name, const char *address, struct mailbox *mb,
                      store_done_cb *cb, void *arg)
{
    UNUSED(name); /* The member says it itself when it is met. */
    uint64_t id = env_random_below(s->env, INT64_MAX - 1) + 1;
    send_change(s, REPLICA_ADD, id, address, mb, cb, arg);
}

void store_member_remove(struct store *s, uint64_t id, struct mailbox *mb, store_done_cb *cb,
                         void *arg)
{
    send_change(s, REPLICA_REMOVE, id, NULL, mb, cb, arg);
}

void store_member_add_learner(struct store *s, const char *address, struct mailbox *mb,
                              store_done_cb *cb, void *arg)
{
    uint64_t id = env_random_below(s->env, INT64_MAX - 1) + 1;
    send_change(s, REPLICA_ADD_LEARNER, id, address, mb, cb, arg);
}

void store_member_promote(struct store *s, uint64_t id, struct mailbox *mb, store_done_cb *cb,
                          void *arg)
{
    send_change(s, REPLICA_PROMOTE, id, NULL, mb, cb, arg);
}

void store_member_update(struct store *s, uint64_t id, const char *address, struct mailbox *mb,
                         store_done_cb *cb, void *arg)
{
    send_change(s, REPLICA_UPDATE, id, address, mb, cb, arg);
}

void store_transfer_leader(struct store *s, uint64_t id, struct mailbox *mb, store_done_cb *cb,
                           void *arg)
{
    struct request *r = request_new(s, REQUEST_TRANSFER, mb);
    r->on_done = cb;
    r->arg = arg;
    r->id = id;
    r->rev = (int64_t)id;
    post(r);
}

void store_backup(struct store *s, struct mailbox *mb, store_backup_cb *cb, void *arg)
{
    struct request *r = request_new(s, REQUEST_BACKUP, mb);
    r->on_backup = cb;
    r->arg = arg;
    post(r);
}

size_t store_backup_read(struct store_backup *b, void *p, size_t cap)
{
    return mvcc_snapshot_read((struct mvcc_snapshot *)b, p, cap);
}

int64_t store_backup_rev(const struct store_backup *b)
{
    return mvcc_snapshot_rev((const struct mvcc_snapshot *)b);
}

void store_backup_free(struct store_backup *b)
{
    mvcc_snapshot_free((struct mvcc_snapshot *)b);
}

void store_propose_internal(struct store *s, const struct command *c,
                            void (*done)(struct store *s, const struct request *r))
{
    struct request *r = request_new(s, REQUEST_COMMAND, NULL);
    r->internal = done;
    command_encode(c, &r->bytes);
    store_on_request(&r->mail);
}

/* --- alarms ------------------------------------------------------------------------- */

void store_alarm_change(struct store *s, uint64_t member, uint32_t alarms, bool set,
                        struct mailbox *mb, store_done_cb *cb, void *arg)
{
    struct command c = {.type = COMMAND_ALARM_CHANGE, .alarms = alarms, .set = set};
    c.member = member == 0 && set ? store_id(s) : member;
    send_command(s, &c, REQUEST_REV, mb, cb, arg);
}

/* --- users and roles ------------------------------------------------------------------ */

void store_auth_change(struct store *s, const struct auth_change *c, struct mailbox *mb,
                       store_auth_cb *cb, void *arg)
{
    struct request *r = request_new(s, REQUEST_COMMAND, mb);
    AUTO_BUF bytes = BUF_INIT;
    r->on_auth = cb;
    r->arg = arg;
    auth_change_encode(c, &bytes);
    command_encode(&(struct command){.type = COMMAND_AUTH, .config = buf_str(&bytes)}, &r->bytes);
    post(r);
}

/* --- closing ------------------------------------------------------------------------ */

static void close_by(struct store *s, enum request_type type)
{
    if (s->thread_started) {
        struct request *r = request_new(s, type, NULL);
        mailbox_post(&s->mailbox, &r->mail);
        pthread_join(s->thread, NULL);
    }
    store_free(s);
}

void store_close(struct store *s)
{
    if (s != NULL)
        close_by(s, REQUEST_CLOSE);
}

void store_kill(struct store *s)
{
    atomic_store(&s->killed, true);
    close_by(s, REQUEST_KILL);
}

void store_limit_waits(struct store *s, uint32_t wait_ms)
{
    struct request *r = request_new(s, REQUEST_LIMIT, NULL);
    r->id = wait_ms;
    mailbox_post(&s->mailbox, &r->mail);
}

void store_block(struct store *s, uint64_t id, bool blocked)
{
    struct request *r = request_new(s, REQUEST_BLOCK, NULL);
    r->id = id;
    r->flag = blocked;
    mailbox_post(&s->mailbox, &r->mail);
}

/* --- looking ------------------------------------------------------------------------ */

void store_status(struct store *s, struct store_status *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->status;
    pthread_mutex_unlock(&s->lock);
}

struct store_alarm *store_alarms(struct store *s, uint32_t *ret_count)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->alarm_count;
    struct store_alarm *list = xzalloc((n + 1) * sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = (struct store_alarm){s->alarms[i].member, s->alarms[i].alarms & MVCC_ALARMS};
    pthread_mutex_unlock(&s->lock);
    *ret_count = (uint32_t)n;
    return list;
}

uint64_t store_id(const struct store *s)
{
    return atomic_load(&s->id);
}

uint64_t store_quota(const struct store *s)
{
    return s->quota_bytes;
}

uint16_t store_peer_port(const struct store *s)
{
    return s->port;
}

uint64_t store_sync_count(const struct store *s)
{
    return atomic_load(&s->log_io.syncs);
}

static const char *put_text(char **at, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = memcpy(*at, text, n);
    *at += n;
    return copy;
}

struct store_member *store_members(struct store *s, uint32_t *ret_count)
{
    pthread_mutex_lock(&s->lock);
    size_t bytes = 0;
    for (uint32_t i = 0; i < s->listed_count; i++)
        bytes += strlen(s->records[i].name) + strlen(s->records[i].client_urls) +
                 strlen(s->listed[i].address) + 3;
    uint32_t n = s->listed_count;
    struct store_member *list = xzalloc(n * sizeof(*list) + bytes + 1);
    char *at = (char *)(list + n);
    for (uint32_t i = 0; i < n; i++) {
        list[i].id = s->listed[i].id;
        list[i].is_voter = s->listed[i].role == MEMBER_VOTER;
        list[i].is_learner = s->listed[i].role == MEMBER_LEARNER;
        list[i].name = put_text(&at, s->records[i].name);
        list[i].client_urls = put_text(&at, s->records[i].client_urls);
        list[i].address = put_text(&at, s->listed[i].address);
    }
    pthread_mutex_unlock(&s->lock);
    *ret_count = n;
    return list;
}

/* replica_propose.c - proposals: their queue, the batches, the way to the leader.
 *
 * Every proposal has a number that rises within this start of this member, and
 * reaches the log in that order. Applying a number makes all lower ones that
 * were not applied before it dead: every member skips them (see
 * replica_apply.c). So whoever proposed knows of each proposal that is no longer
 * possible and proposes it again under a new number, and sending one twice is
 * harmless. What is left open when time runs out has an unknown outcome if it
 * was ever handed to a leader, and surely did not happen otherwise. */
#include "raftstore/replica_internal.h"

/* Entries not yet committed, at most: bounds what a leader sends ahead. */
#define UNCOMMITTED_MAX 64
#define BATCH_ROOM_BYTES 4096 /* For what stands between the commands. */

void propose_init(struct replica *r)
{
    list_init(&r->queued);
    list_init(&r->sent);
    list_init(&r->forwarded);
}

static struct proposal *first_of(struct list *l)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
    return list_empty(l) ? NULL : LIST_ENTRY(l->next, struct proposal, node);
}

int replica_propose(struct replica *r, uint64_t now_ms, struct str bytes, void *cookie)
{
    ASSERT(!r->in_op && cookie != NULL);
    if (!r->started || r->closed || r->failed || r->fatal_at_ms != 0)
        return E_UNAVAILABLE;
    if (r->was_member && members_get(&r->told, r->config.id) == NULL)
        return E_UNAVAILABLE;
    if (bytes.len > REPLICA_COMMAND_MAX)
        return E_TOO_LARGE;
    if (r->proposal_count >= r->config.queue_count ||
        r->proposal_bytes + bytes.len > r->config.queue_bytes)
        return E_TOO_MANY;
    struct proposal *p = malloc(sizeof(*p) + bytes.len);
    if (p == NULL)
        return E_NO_MEMORY;
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    *p = (struct proposal){
        .seq = ++r->next_seq,
        .deadline_ms = r->now_ms + r->config.proposal_timeout_ms,
        .cookie = cookie,
        .size = (uint32_t)bytes.len,
    };
    if (bytes.len > 0)
        memcpy(p->data, bytes.data, bytes.len);
    list_push_back(&r->queued, &p->node);
    r->queued_bytes += p->size;
    r->proposal_count++;
    r->proposal_bytes += p->size;
    return 0;
}

static void forget(struct replica *r, struct proposal *p)
{
    r->proposal_count--;
    r->proposal_bytes -= p->size;
    free(p);
}

static void fail(struct replica *r, struct proposal *p, int code)
{
    R_OP(r, propose_failed, p->cookie, code);
    forget(r, p);
}

/* --- taking from the queue --- */

/* Appends queued proposals to a batch while it stays below max_bytes, at least
 * one. They stay queued: *ret_count of them were taken. */
static void gather(struct replica *r, struct batch_writer *w, size_t max_bytes, uint32_t *ret_count)
{
    uint32_t n = 0;
    LIST_FOREACH (it, &r->queued) {
        struct proposal *p = LIST_ENTRY(it, struct proposal, node);
        if (n > 0 && w->out->len + p->size > max_bytes)
            break;
        struct batch_command c = {r->config.id, r->config.boot, p->seq,
                                  str_n((const char *)p->data, p->size)};
        batch_add(w, &c);
        n++;
    }
    *ret_count = n;
}

/* The first `count` queued ones went out. */
static void mark_sent(struct replica *r, uint32_t count)
{
    if (list_empty(&r->sent))
        r->progress_ms = r->now_ms;
    for (; count > 0; count--) {
        struct proposal *p = LIST_ENTRY(list_pop_front(&r->queued), struct proposal, node);
        p->maybe = true;
        list_push_back(&r->sent, &p->node);
        r->queued_bytes -= p->size;
        r->sent_bytes += p->size;
    }
}

/* Everything sent goes out again, before what was never sent. */
static void unsend(struct replica *r)
{
    list_splice(&r->sent, &r->queued);
    list_splice(&r->queued, &r->sent);
    r->queued_bytes += r->sent_bytes;
    r->sent_bytes = 0;
}

/* --- the leader --- */

static size_t gather_forwarded(struct replica *r, struct buf *out, uint32_t *ret_count)
{
    uint32_t n = 0;
    size_t bytes = 0;
    LIST_FOREACH (it, &r->forwarded) {
        struct forwarded *f = LIST_ENTRY(it, struct forwarded, node);
        if (out->len > 0 && out->len + f->size > r->config.entry_bytes)
            break;
        buf_append(out, f->data, f->size);
        bytes += f->size;
        n++;
    }
    *ret_count = n;
    return bytes;
}

static void pop_forwarded(struct replica *r, uint32_t count)
{
    for (; count > 0 && !list_empty(&r->forwarded); count--) {
        struct forwarded *f = LIST_ENTRY(list_pop_front(&r->forwarded), struct forwarded, node);
        r->forwarded_bytes -= f->size;
        free(f);
    }
}

/* One log entry out of what waits here. False: not now. */
static bool cut_batch(struct replica *r)
{
    AUTO_BUF bytes = BUF_INIT;
    struct batch_writer w;
    uint32_t own = 0, others = 0;
    batch_begin(&w, &bytes);
    buf_reserve(&bytes, MIN_OF(r->queued_bytes + r->forwarded_bytes, r->config.entry_bytes) +
                            BATCH_ROOM_BYTES);
    if (!list_empty(&r->queued)) /* Half, when others wait too. */
        gather(r, &w, list_empty(&r->forwarded) ? r->config.entry_bytes : r->config.entry_bytes / 2,
               &own);
    gather_forwarded(r, &bytes, &others);
    struct entry *e = entry_new(ENTRY_COMMANDS, 0, 0, (uint32_t)bytes.len);
    if (e == NULL)
        return false;
    memcpy(e->data, bytes.data, bytes.len);
    int rc = consensus_propose(r->consensus, r->now_ms, &e, 1);
    entry_unref(e);
    if (rc != 0)
        return false; /* A transfer runs: the next leader gets them. */
    mark_sent(r, own);
    pop_forwarded(r, others);
    return true;
}

/* While the disk writes, proposals gather: they share the next entry and sync. */
static void run_leader(struct replica *r)
{
    while (!list_empty(&r->queued) || !list_empty(&r->forwarded)) {
        uint64_t waiting = r->queued_bytes + r->forwarded_bytes;
        if (r->appends_pending > 0 && waiting < r->config.entry_bytes)
            return;
        if (tail_last(&r->tail) - r->commit >= UNCOMMITTED_MAX ||
            consensus_transferring(r->consensus))
            return;
        if (!cut_batch(r))
            return;
    }
}

/* --- the others --- */

static void run_follower(struct replica *r)
{
    if (r->leader == 0 || r->now_ms < r->forward_pause_ms)
        return;
    while (!list_empty(&r->queued) && r->sent_bytes < r->config.window_bytes) {
        AUTO_BUF bytes = BUF_INIT;
        struct batch_writer w;
        uint32_t count = 0;
        batch_begin(&w, &bytes);
        buf_reserve(&bytes, MIN_OF(r->queued_bytes, r->config.append_bytes) + BATCH_ROOM_BYTES);
        gather(r, &w, r->config.append_bytes, &count);
        struct peer_message m = {.type = PEER_FORWARD, .forward = {buf_str(&bytes)}};
        /* Also from a member whose disk is full: its alarm must get out. */
        replica_send_now(r, r->leader, &m);
        mark_sent(r, count);
    }
}

void propose_run(struct replica *r)
{
    if (is_leader(r))
        run_leader(r);
    else if (r->state == CONSENSUS_FOLLOWER)
        run_follower(r);
}

void propose_role_changed(struct replica *r)
{
    unsend(r);
    r->forward_pause_ms = 0;
    /* Their members send them again to whoever leads now. */
    pop_forwarded(r, UINT32_MAX);
}

/* What went to the leader before may be lost. */
void propose_connected(struct replica *r)
{
    unsend(r);
    r->forward_pause_ms = 0;
}

static void receive_forward(struct replica *r, uint64_t from, struct str batch)
{
    uint32_t count;
    if (!is_leader(r) || consensus_transferring(r->consensus)) {
        struct peer_message m = {.type = PEER_REFUSED, .refused = {r->config.boot, r->term}};
        replica_send(r, from, &m);
        return;
    }
    if (batch.len == 0 || batch.len > ENTRY_BYTES_MAX / 2 + REPLICA_COMMAND_MAX / 4 ||
        r->forwarded_bytes + batch.len > r->config.queue_bytes || !batch_valid(batch, from, &count))
        return;
    struct forwarded *f = malloc(sizeof(*f) + batch.len);
    if (f == NULL)
        return;
    f->size = (uint32_t)batch.len;
    memcpy(f->data, batch.data, batch.len);
    list_push_back(&r->forwarded, &f->node);
    r->forwarded_bytes += f->size;
}

void propose_receive(struct replica *r, uint64_t from, const struct peer_message *m)
{
    if (m->type == PEER_FORWARD) {
        receive_forward(r, from, m->forward.batch);
        return;
    }
    if (is_leader(r) || from != r->leader)
        return;
    unsend(r);
    r->forward_pause_ms = r->now_ms + r->config.heartbeat_ms;
}

/* --- outcomes --- */

/* It can never be applied under its number: a higher one was. */
static void propose_again(struct replica *r, struct proposal *p)
{
    p->seq = ++r->next_seq;
    p->maybe = false;
    list_push_back(&r->queued, &p->node);
    r->queued_bytes += p->size;
}

static void *reached_in(struct replica *r, struct list *l, uint64_t *bytes, uint64_t seq)
{
    struct proposal *p;
    while ((p = first_of(l)) != NULL && p->seq <= seq) {
        list_remove(&p->node);
        *bytes -= p->size;
        if (p->seq == seq) {
            void *cookie = p->cookie;
            forget(r, p);
            return cookie;
        }
        propose_again(r, p);
    }
    return NULL;
}

void *propose_reached(struct replica *r, uint64_t seq)
{
    r->progress_ms = r->now_ms;
    void *cookie = reached_in(r, &r->sent, &r->sent_bytes, seq);
    return cookie != NULL ? cookie : reached_in(r, &r->queued, &r->queued_bytes, seq);
}

static void covered_in(struct replica *r, struct list *l, uint64_t *bytes, uint64_t seq)
{
    struct proposal *p;
    while ((p = first_of(l)) != NULL && p->seq <= seq) {
        list_remove(&p->node);
        *bytes -= p->size;
        if (p->maybe)
            fail(r, p, E_UNKNOWN_OUTCOME);
        else
            propose_again(r, p);
    }
}

void propose_covered(struct replica *r, uint64_t seq)
{
    covered_in(r, &r->sent, &r->sent_bytes, seq);
    covered_in(r, &r->queued, &r->queued_bytes, seq);
}

static void expire(struct replica *r, struct list *l, uint64_t *bytes)
{
    LIST_FOREACH_SAFE (it, l) {
        struct proposal *p = LIST_ENTRY(it, struct proposal, node);
        if (!is_past(r, p->deadline_ms))
            continue;
        list_remove(&p->node);
        *bytes -= p->size;
        fail(r, p, p->maybe ? E_UNKNOWN_OUTCOME : E_UNAVAILABLE);
    }
}

void propose_tick(struct replica *r)
{
    if (r->now_ms >= r->expire_ms) {
        r->expire_ms = r->now_ms + r->config.heartbeat_ms;
        expire(r, &r->sent, &r->sent_bytes);
        expire(r, &r->queued, &r->queued_bytes);
    }
    /* Forwarded and not heard of since: the message or its leader may be lost. */
    if (!is_leader(r) && !list_empty(&r->sent) &&
        r->now_ms - r->progress_ms >= r->config.election_ms) {
        r->progress_ms = r->now_ms;
        unsend(r);
    }
}

static void close_in(struct replica *r, struct list *l, int code)
{
    struct proposal *p;
    while ((p = first_of(l)) != NULL) {
        list_remove(&p->node);
        fail(r, p, code);
    }
}

void propose_close(struct replica *r, int code)
{
    close_in(r, &r->sent, code);
    close_in(r, &r->queued, code);
    pop_forwarded(r, UINT32_MAX);
}

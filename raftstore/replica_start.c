/* replica_start.c - from what the disk holds to a running member.
 *
 * The owner feeds the snapshot and every entry of the log, then starts once. What
 * contradicts itself is refused: better a member that says so than one that
 * guesses. Two states are repaired, both left behind by a crash between two
 * writes: a snapshot just installed in front of the old log, and a first entry
 * without its term. */
#include "raftstore/replica_internal.h"

void start_free_recovered(struct replica *r)
{
    for (uint32_t i = 0; i < r->recovered_count; i++)
        entry_unref(r->recovered[i]);
    free(r->recovered);
    r->recovered = NULL;
    r->recovered_count = 0;
}

int replica_recover_snapshot(struct replica *r, const struct replica_snapshot *s, struct error *err)
{
    ASSERT(!r->started && r->tail.count == 0);
    int rc = applied_decode(s->meta, s->index, s->term, &r->applied, err);
    if (rc != 0)
        return error_set(err, E_CORRUPT, "snapshot %" PRIu64 ": its description does not decode",
                         s->index);
    replica_set_snapshot(r, snapshot_ref_new(s->index, s->term, s->meta), &r->applied.members,
                         r->applied.members_index);
    tail_reset(&r->tail, s->index, s->term);
    return 0;
}

int replica_recover_entry(struct replica *r, struct entry *e, struct error *err)
{
    struct tail *t = &r->tail;
    ASSERT(!r->started);
    if (t->count == 0) {
        if (e->index == 0 || e->index > t->base_index + 1)
            return error_set(err, E_CORRUPT,
                             "the log starts at %" PRIu64 ", the snapshot ends at %" PRIu64,
                             e->index, t->base_index);
        t->first = t->cached = e->index;
    } else if (e->index != tail_last(t) + 1 || e->term < tail_term(t, tail_last(t))) {
        return error_set(err, E_CORRUPT,
                         "log entry %" PRIu64 " of term %" PRIu64 " follows %" PRIu64
                         " of %" PRIu64,
                         e->index, e->term, tail_last(t), tail_term(t, tail_last(t)));
    }
    tail_append(t, e);
    tail_evict(t, r->config.cache_bytes, e->index - 1);
    if (e->type == ENTRY_MEMBERS) {
        r->recovered = xrealloc(r->recovered, (r->recovered_count + 1) * sizeof(r->recovered[0]));
        r->recovered[r->recovered_count++] = entry_ref(e);
    }
    return 0;
}

/* A crash during an install leaves the new snapshot with the old log, or with one
 * that is empty: whether that goes on behind the snapshot only the disk knows (a new
 * member's begins at 1), so it is told. */
static void drop_stale_log(struct replica *r)
{
    struct tail *t = &r->tail;
    uint64_t index = t->base_index, term = t->base_term;
    if (index == 0)
        return;
    if (t->count > 0 && tail_last(t) >= index &&
        (!tail_has(t, index) || tail_term(t, index) == term))
        return;
    tail_reset(t, index, term);
    struct write *w = replica_write(r, WRITE_RESET);
    R_OP(r, reset_log, w->seq, index, term);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = ((const struct member *)a)->id, y = ((const struct member *)b)->id;
    return x < y ? -1 : x > y;
}

/* The first entry of a new cluster, byte for byte the same on every member. */
static int found_cluster(struct replica *r, const struct members *initial, struct error *err)
{
    AUTO_BUF bytes = BUF_INIT;
    struct members m = {0};
    if (members_get(initial, r->config.id) == NULL || initial->count > MEMBERS_MAX)
        return error_set(err, E_INVALID,
                         "the members of the new cluster do not include this one (%" PRIu64 ")",
                         r->config.id);
    members_copy(&m, initial);
    qsort(m.items, m.count, sizeof(m.items[0]), compare_ids);
    for (uint32_t i = 0; i < m.count; i++)
        m.items[i].role = MEMBER_VOTER;
    members_encode(&m, &bytes);
    members_done(&m);
    struct entry *e = entry_new(ENTRY_MEMBERS, 1, 1, (uint32_t)bytes.len);
    if (e == NULL)
        return error_set(err, E_NO_MEMORY, "list of members: %zu bytes", bytes.len);
    memcpy(e->data, bytes.data, bytes.len);
    replica_append(r, 1, &e, 1);
    r->recovered = xmalloc(sizeof(r->recovered[0]));
    r->recovered[r->recovered_count++] = e;
    replica_save_vote(r, 1, 0);
    return 0;
}

static int start_core(struct replica *r, const struct replica_vote *vote, struct error *err)
{
    struct tail *t = &r->tail;
    struct consensus_entry_info *list = xzalloc((t->count + 1) * sizeof(*list));
    for (size_t i = 0; i < t->count; i++) {
        uint64_t index = t->first + i;
        list[i].term = tail_term(t, index);
        list[i].type = tail_type(t, index);
    }
    for (uint32_t i = 0; i < r->recovered_count; i++)
        if (tail_has(t, r->recovered[i]->index))
            list[r->recovered[i]->index - t->first].members = entry_str(r->recovered[i]);
    struct consensus_snapshot s = {
        .index = t->base_index,
        .term = t->base_term,
        .members = r->snapshot_members,
        .members_index = r->snapshot_members_index,
    };
    struct consensus_recovered rec = {
        .term = vote->term,
        .voted_for = vote->voted_for,
        .snapshot = r->snapshot != NULL ? &s : NULL,
        .first_index = t->count > 0 ? t->first : t->base_index + 1,
        .entries = list,
        .count = (uint32_t)t->count,
    };
    int rc = consensus_start(r->consensus, r->now_ms, &rec, err);
    free(list);
    start_free_recovered(r);
    return rc;
}

int replica_start(struct replica *r, uint64_t now_ms, const struct replica_vote *vote,
                  const struct members *initial_members, struct error *err)
{
    struct replica_vote v = vote != NULL ? *vote : (struct replica_vote){0};
    uint64_t last_term;
    ASSERT(!r->started);
    r->now_ms = now_ms;
    drop_stale_log(r);
    last_term = tail_term(&r->tail, tail_last(&r->tail));
    if (vote == NULL && r->tail.count == 0 && r->snapshot == NULL) {
        if (initial_members != NULL && initial_members->count > 0) {
            int rc = found_cluster(r, initial_members, err);
            if (rc != 0)
                return rc;
            v.term = 1;
        }
    } else if (vote == NULL && last_term == 1 && tail_last(&r->tail) == 1) {
        replica_save_vote(r, 1, 0); /* A crash between the two writes of found_cluster(). */
        v.term = 1;
    } else if (last_term > v.term && r->tail.count == 0) {
        /* A snapshot of what was committed may become durable before the term it
         * was committed in. Nothing was said in that term: messages wait. */
        replica_save_vote(r, last_term, 0);
        v = (struct replica_vote){last_term, 0};
    } else if (last_term > v.term) {
        return error_set(err, E_CORRUPT, "the log's last term is %" PRIu64 ", the vote's %" PRIu64,
                         last_term, v.term);
    }
    r->started = true;
    r->persisted = tail_last(&r->tail);
    int rc = start_core(r, &v, err);
    if (rc != 0)
        return rc;
    r->look_again = true;
    replica_look(r);
    return 0;
}

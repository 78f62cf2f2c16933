/* store_verify.c - do all members hold the same? Store and bulk thread.
 *
 * Now and then the leader hashes its state at a revision, in slices on the bulk
 * thread, and proposes the result. Whoever applies that hashes its own state at
 * the revision and, when it differs, raises the alarm about itself. A later
 * comparison that agrees takes the alarm back. A revision that was compacted
 * away meanwhile is not compared: the next round tries again.
 *
 *   leader: view --hash--> COMMAND_VERIFY --log--> each member: view --hash--> same? */
#include "raftstore/store_internal.h"

#include "lib/base/log.h"

#include <inttypes.h>

#define SLICE_KEYS 512

struct verify_job {
    struct work work;
    struct mail mail;
    struct store *s;
    struct mvcc_view *view;
    struct mvcc_hash hash;
    int64_t rev;
    bool compare; /* With `want`; else to be proposed. */
    uint64_t want;
    bool complete;
};

static void on_hashed(struct mail *m);

static void run_slice(struct work *w)
{
    struct verify_job *j = CONTAINER_OF(w, struct verify_job, work);
    struct worker *worker = &j->s->bulk_worker;
    bool more = mvcc_hash_step(&j->hash, SLICE_KEYS);
    if (more && !worker_stopping(worker)) {
        worker_post(worker, &j->work);
        return;
    }
    j->complete = !more;
    mvcc_view_unref(take(j->view));
    mailbox_post(&j->s->mailbox, &j->mail);
}

static void start(struct store *s, int64_t rev, bool compare, uint64_t want)
{
    struct verify_job *j = xzalloc(sizeof(*j));
    j->work.run = run_slice;
    j->mail.run = on_hashed;
    j->s = s;
    j->view = mvcc_view(s->mvcc);
    j->rev = rev;
    j->compare = compare;
    j->want = want;
    if (mvcc_hash_init(&j->hash, j->view, rev) != 0) {
        mvcc_view_unref(j->view);
        free(j);
        return;
    }
    s->verifying = true;
    worker_post(&s->bulk_worker, &j->work);
}

static void judge(struct store *s, const struct verify_job *j)
{
    bool same = j->hash.value == j->want;
    if (!same)
        log_error("the data of this member at revision %" PRId64
                  " is not that of the leader (hash %016" PRIx64 ", leader %016" PRIx64
                  "): it or the leader is corrupt",
                  j->rev, j->hash.value, j->want);
    s->verdict = same ? VERDICT_SAME : VERDICT_DIFFERENT;
}

static void on_hashed(struct mail *m)
{
    struct verify_job *j = CONTAINER_OF(m, struct verify_job, mail);
    struct store *s = j->s;
    s->verifying = false;
    if (j->complete && !s->closing && j->compare) {
        judge(s, j);
    } else if (j->complete && !s->closing && s->was_leader) {
        struct command c = {.type = COMMAND_VERIFY, .rev = j->rev, .hash = j->hash.value};
        store_propose_internal(s, &c, NULL);
    }
    free(j);
    store_kick(s);
}

void store_verify_chore(struct store *s, uint64_t now_ms)
{
    int64_t rev;
    uint64_t hash;
    if (s->bulk_io.dir == NULL || s->verifying)
        return;
    if (mvcc_take_verify(s->mvcc, &rev, &hash)) {
        start(s, rev, true, hash);
    } else if (s->was_leader && s->verify_ms > 0 && now_ms >= s->verify_at_ms) {
        s->verify_at_ms = now_ms + s->verify_ms;
        start(s, mvcc_rev(s->mvcc), false, 0);
    }
}

uint64_t store_verify_deadline(const struct store *s)
{
    bool due = s->was_leader && s->verify_ms > 0 && !s->verifying;
    return due ? s->verify_at_ms : UINT64_MAX;
}

/* store_restore.c - a data folder out of a backup, and going on alone.
 *
 * Both are for an operator whose majority, or all of whose data, is lost. Run
 * before the store's threads exist.
 *
 * Restore writes what a member would have that installed the backup as a
 * snapshot and then stopped: the snapshot at the backup's index in term 1, and a
 * log that goes on behind it. Members that do it from the same backup with the
 * same list of members agree on every byte that matters, so they are a cluster. */
#include "raftstore/store_internal.h"

#include "lib/base/log.h"
#include "raftstore/disk.h"
#include "raftstore/log.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/replica_internal.h"
#include "raftstore/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PIECE_BYTES (256u << 10)
#define FIRST_TERM 1
/* A log whose snapshot ends at 1 counts for the core as one that has its beginning:
 * it would never send that snapshot to a member that is added. */
#define FIRST_INDEX_MIN 2

/* Copies the backup into a snapshot and checks it on the way. */
static int copy_backup(int fd, const char *path, struct snapshot_writer *w,
                       struct mvcc_restore *verify, struct error *err)
{
    AUTO_FREE uint8_t *piece = xmalloc(PIECE_BYTES);
    for (;;) {
        ssize_t n = read(fd, piece, PIECE_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, E_IO, errno, "cannot read the backup %s", path);
        if (n == 0)
            break;
        int rc = mvcc_restore_feed(verify, str_n((char *)piece, (size_t)n), err);
        if (rc == 0)
            rc = snapshot_writer_append(w, piece, (size_t)n, err);
        if (rc < 0)
            return rc;
    }
    return mvcc_restore_finish(verify, err);
}

/* What the replica keeps with a snapshot, for a cluster that begins with it. */
static void founding_meta(const struct members *m, uint64_t index, struct buf *out)
{
    struct applied a = {.index = index, .term = FIRST_TERM, .members = *m, .members_index = index};
    applied_encode(&a, out);
}

static int write_snapshot(struct store *s, const char *path, uint64_t cluster_id,
                          const struct members *m, uint64_t *ret_index, struct error *err)
{
    struct snapshot_dir *dir = NULL;
    struct snapshot_writer *w = NULL;
    struct mvcc_restore *verify = mvcc_verify_new();
    AUTO_BUF meta = BUF_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc =
        fd < 0 ? error_set_errno(err, E_NOT_FOUND, errno, "cannot open the backup %s", path) : 0;
    if (rc == 0)
        rc = store_snapshots_open(s, cluster_id, &dir, err);
    if (rc == 0)
        rc = snapshot_writer_new(dir, 0, &w, err);
    if (rc == 0)
        rc = copy_backup(fd, path, w, verify, err);
    if (rc == 0 && mvcc_restore_index(verify) < FIRST_INDEX_MIN)
        rc = error_set(err, E_INVALID,
                       "it was made before the store's first write and holds nothing: start a new "
                       "cluster instead of restoring it");
    if (rc == 0) {
        *ret_index = mvcc_restore_index(verify);
        founding_meta(m, *ret_index, &meta);
        rc = snapshot_writer_commit(w, *ret_index, FIRST_TERM, buf_str(&meta), err);
    } else if (fd >= 0) {
        error_prefix(err, "the backup %s", path);
    }
    snapshot_writer_free(w);
    snapshot_dir_close(dir);
    mvcc_restore_free(verify);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int write_log(struct store *s, uint64_t cluster_id, uint64_t id, uint64_t index,
                     struct error *err)
{
    struct log *log = NULL;
    int rc = store_log_open(s, s->data_dir, cluster_id, id, false, &log, err);
    if (rc < 0)
        return rc;
    log_reset(log, index, FIRST_TERM);
    log_set_vote(log, FIRST_TERM, 0);
    rc = log_sync(log, err);
    log_close(log);
    return rc;
}

static int restore(struct store *s, const struct store_config *c, const char *path,
                   struct error *err)
{
    struct members m = {0};
    struct log *existing = NULL;
    uint64_t id, cluster_id, index = 0;
    int rc = store_log_open(s, s->data_dir, 0, 0, false, &existing, err);
    if (rc != E_NOT_FOUND) {
        log_close(existing);
        return rc < 0 ? rc
                      : error_set(err, E_EXISTS, "%s already holds a member's data", s->data_dir);
    }
    error_clear(err);
    rc = store_founders(s, c, &m, &id, &cluster_id, err);
    if (rc == 0 && m.count == 0) {
        const char *address =
            c->advertise_address != NULL ? c->advertise_address : c->listen_address;
        members_add(&m, id, MEMBER_VOTER, address != NULL ? address : "none");
    }
    /* The log comes last: a folder without one is no member's. */
    if (rc == 0)
        rc = write_snapshot(s, path, cluster_id, &m, &index, err);
    if (rc == 0)
        rc = write_log(s, cluster_id, id, index, err);
    members_done(&m);
    return rc;
}

int store_restore(const struct store_config *config, const char *backup_file, struct error *err)
{
    struct error local = {0};
    struct store *s = store_new(config, &(struct store_hooks){0});
    int rc = restore(s, config, backup_file, err != NULL ? err : &local);
    store_free(s);
    return rc;
}

int store_force_alone(struct log *log, const char *address, struct error *err)
{
    struct members m = {0};
    struct log_state state;
    AUTO_BUF bytes = BUF_INIT;
    log_state(log, &state);
    members_add(&m, state.member_id, MEMBER_VOTER, address != NULL ? address : "none");
    members_encode(&m, &bytes);
    members_done(&m);
    /* In a term that no other member can have used for an entry of its own. */
    uint64_t term = MAX_OF(state.term, state.last_term) + 1;
    log_warning("going on alone as asked: this is the only member of its cluster from now on");
    log_set_vote(log, term, state.member_id);
    log_append(log,
               &(struct log_entry){.index = state.last_index + 1,
                                   .term = term,
                                   .kind = ENTRY_MEMBERS,
                                   .data = bytes.data,
                                   .len = (uint32_t)bytes.len},
               1);
    return log_sync(log, err);
}

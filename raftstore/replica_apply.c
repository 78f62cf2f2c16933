/* replica_apply.c - applying in order and once, and the snapshots taken here.
 *
 * Against double application: a proposal is named (origin, boot, seq), and every
 * member keeps, per origin, the highest (boot, seq) it came across. A command at
 * or below that is skipped, everywhere alike, since all see the same log. The
 * table is part of the replicated state and travels in the snapshot's meta. */
#include "raftstore/replica_internal.h"

#define APPLY_COMMANDS_MAX 2048    /* Per run ... */
#define APPLY_BYTES_MAX (2u << 20) /* ... or so many. */
#define READ_AHEAD_ENTRIES 1024
#define READ_AHEAD_BYTES (1u << 20)
#define SNAPSHOT_ENTRIES_MAX (256u << 10) /* The index costs memory too. */
#define LARGE_STATE_BYTES (64u << 20)
#define META_VERSION 1

/* --- the replicated state of the replica itself --- */

void applied_done(struct applied *a)
{
    members_done(&a->members);
    *a = (struct applied){0};
}

void applied_encode(const struct applied *a, struct buf *out)
{
    AUTO_BUF members = BUF_INIT;
    members_encode(&a->members, &members);
    buf_putc(out, META_VERSION);
    buf_put_varint(out, a->members_index);
    wire_put_str(out, buf_str(&members));
    for (uint32_t i = 0; i < a->members.count; i++) {
        buf_put_varint(out, a->origins[i].boot);
        buf_put_varint(out, a->origins[i].seq);
    }
}

int applied_decode(struct str meta, uint64_t index, uint64_t term, struct applied *ret,
                   struct error *err)
{
    struct wire w = wire_of(meta);
    struct applied a = {.index = index, .term = term};
    uint8_t version = wire_u8(&w);
    a.members_index = wire_varint(&w);
    struct str members = wire_str(&w, REPLICA_META_MAX);
    if (w.bad || version != META_VERSION || a.members_index > index || index == 0 || term == 0)
        return error_set(err, E_INVALID, "snapshot description: not in the expected form");
    int rc = members_decode(members, &a.members, err);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < a.members.count; i++)
        a.origins[i] = (struct origin){a.members.items[i].id, wire_varint(&w), wire_varint(&w)};
    if (!wire_end(&w) || a.members.count == 0) {
        applied_done(&a);
        return error_set(err, E_INVALID, "snapshot description: not in the expected form");
    }
    *ret = a;
    return 0;
}

static struct origin *find_origin(struct applied *a, uint64_t id)
{
    for (uint32_t i = 0; i < a->members.count; i++)
        if (a->origins[i].id == id)
            return &a->origins[i];
    return NULL;
}

/* Those who stay keep their rows. Who left is forgotten: its commands are
 * skipped from here on, and its id never comes back. */
static void set_members(struct applied *a, const struct members *m, uint64_t index)
{
    struct origin rows[MEMBERS_MAX] = {0};
    for (uint32_t i = 0; i < m->count; i++) {
        const struct origin *old = find_origin(a, m->items[i].id);
        rows[i] = old != NULL ? *old : (struct origin){.id = m->items[i].id};
    }
    memcpy(a->origins, rows, sizeof(rows));
    members_done(&a->members);
    members_copy(&a->members, m);
    a->members_index = index;
}

/* --- applying --- */

static void apply_command(struct replica *r, const struct entry *e, const struct batch_command *c)
{
    struct origin *o = find_origin(&r->applied, c->origin);
    bool before = o == NULL || c->boot < o->boot || (c->boot == o->boot && c->seq <= o->seq);
    if (before && (o == NULL || !(r->config.drills & REPLICA_DRILL_APPLY_TWICE)))
        return;
    o->boot = c->boot;
    o->seq = c->seq;
    struct replica_command cmd = {.index = e->index, .term = e->term, .bytes = c->bytes};
    if (c->origin == r->config.id && c->boot == r->config.boot)
        cmd.cookie = propose_reached(r, c->seq);
    R_OP(r, apply, &cmd);
}

static uint32_t apply_commands(struct replica *r, const struct entry *e)
{
    struct batch_reader br;
    struct batch_command c;
    uint32_t n = 0;
    batch_open(&br, entry_str(e));
    while (batch_next(&br, &c)) {
        apply_command(r, e, &c);
        n++;
    }
    if (batch_failed(&br))
        replica_fatal(r, E_CORRUPT, "log entry %" PRIu64 ": its commands do not decode", e->index);
    return n;
}

static void apply_members(struct replica *r, const struct entry *e)
{
    struct members m = {0};
    if (members_decode(entry_str(e), &m, NULL) != 0) {
        replica_fatal(r, E_CORRUPT, "log entry %" PRIu64 ": its list of members does not decode",
                      e->index);
        return;
    }
    set_members(&r->applied, &m, e->index);
    members_done(&m);
}

static uint32_t apply_entry(struct replica *r, const struct entry *e)
{
    uint32_t n = 1;
    ASSERT_CMP(e->index, ==, r->applied.index + 1);
    ASSERT_CMP(e->term, ==, tail_term(&r->tail, e->index));
    if (e->type == ENTRY_COMMANDS)
        n += apply_commands(r, e);
    else if (e->type == ENTRY_MEMBERS)
        apply_members(r, e);
    r->applied.index = e->index;
    r->applied.term = e->term;
    r->bytes_since += e->size + sizeof(*e);
    r->entries_since++;
    change_applied(r, e->index, e->term);
    return n;
}

void apply_drop_ahead(struct replica *r)
{
    for (uint32_t i = r->apply_ahead_at; i < r->apply_ahead_count; i++)
        entry_unref(r->apply_ahead[i]);
    free(r->apply_ahead);
    r->apply_ahead = NULL;
    r->apply_ahead_at = r->apply_ahead_count = 0;
    r->apply_token = 0;
}

void apply_entries_read(struct replica *r, struct entry *const *entries, uint32_t count)
{
    if (count == 0 || entries[0]->index != r->applied.index + 1) {
        replica_fatal(r, E_CORRUPT, "log entry %" PRIu64 " was asked for, another one came",
                      r->applied.index + 1);
        return;
    }
    apply_drop_ahead(r);
    r->apply_ahead = xmalloc(count * sizeof(r->apply_ahead[0]));
    for (uint32_t i = 0; i < count; i++)
        r->apply_ahead[r->apply_ahead_count++] = entry_ref(entries[i]);
}

/* The next entry to apply, with a reference; NULL: it is being read back. */
static struct entry *next_entry(struct replica *r)
{
    uint64_t index = r->applied.index + 1;
    struct entry *e = tail_get(&r->tail, index);
    if (e != NULL)
        return entry_ref(e);
    if (r->apply_ahead_at < r->apply_ahead_count)
        return r->apply_ahead[r->apply_ahead_at++];
    if (r->apply_token == 0) {
        uint64_t last =
            MIN_OF(MIN_OF(r->commit, r->tail.cached - 1), index + READ_AHEAD_ENTRIES - 1);
        r->apply_token = replica_token(r);
        R_OP(r, read_entries, r->apply_token, index, last, READ_AHEAD_BYTES);
    }
    return NULL;
}

bool apply_run(struct replica *r)
{
    uint64_t before = r->applied.index;
    uint64_t bytes = 0, commands = 0;
    while (r->applied.index < r->commit && r->installing_seq == 0 && !r->failed) {
        if (bytes > APPLY_BYTES_MAX || commands > APPLY_COMMANDS_MAX)
            break;
        struct entry *e = next_entry(r);
        if (e == NULL)
            break;
        bytes += e->size;
        commands += apply_entry(r, e);
        entry_unref(e);
    }
    if (r->applied.index == before || r->failed)
        return false;
    r->status_dirty = true;
    R_OP(r, applied, r->applied.index);
    return r->applied.index < r->commit && r->apply_token == 0;
}

/* --- snapshots --- */

struct snapshot_ref *snapshot_ref_new(uint64_t index, uint64_t term, struct str meta)
{
    struct snapshot_ref *s = xmalloc(sizeof(*s) + meta.len);
    *s = (struct snapshot_ref){.refs = 1, .index = index, .term = term};
    memcpy(s->bytes, meta.data, meta.len);
    s->meta = str_n((const char *)s->bytes, meta.len);
    return s;
}

struct snapshot_ref *snapshot_ref_take(struct snapshot_ref *s)
{
    s->refs++;
    return s;
}

void snapshot_ref_drop(struct snapshot_ref *s)
{
    if (s != NULL && --s->refs == 0)
        free(s);
}

/* Takes over the reference. */
void replica_set_snapshot(struct replica *r, struct snapshot_ref *s, const struct members *m,
                          uint64_t members_index)
{
    struct members copy;
    members_copy(&copy, m);
    snapshot_ref_drop(r->snapshot);
    members_done(&r->snapshot_members);
    r->snapshot = s;
    r->snapshot_members = copy;
    r->snapshot_members_index = members_index;
}

void replica_set_state_bytes(struct replica *r, uint64_t bytes)
{
    r->state_bytes = bytes;
}

/* A snapshot writes the whole state: a large one is worth more log, or snapshots
 * would be most of what is written. */
static uint64_t snapshot_log_bytes(const struct replica *r)
{
    uint64_t large = r->state_bytes > LARGE_STATE_BYTES ? r->state_bytes - LARGE_STATE_BYTES : 0;
    return r->config.snapshot_log_bytes + large / 2;
}

void apply_maybe_snapshot(struct replica *r)
{
    uint64_t log_bytes = snapshot_log_bytes(r);
    bool due = r->bytes_since >= log_bytes || r->entries_since >= SNAPSHOT_ENTRIES_MAX;
    /* A member that is being sent one needs the log behind it: wait, but not
     * for ever. */
    if (transfer_active(r) && r->bytes_since < 4 * log_bytes)
        return;
    if (!due || r->taking != NULL || r->installing_seq != 0 || r->failed ||
        !tail_has(&r->tail, r->applied.index))
        return;
    AUTO_BUF meta = BUF_INIT;
    applied_encode(&r->applied, &meta);
    r->taking = snapshot_ref_new(r->applied.index, r->applied.term, buf_str(&meta));
    members_copy(&r->taking_members, &r->applied.members);
    r->taking_members_index = r->applied.members_index;
    r->taken = false;
    r->bytes_since = 0;
    r->entries_since = 0;
    struct replica_snapshot s = {r->taking->index, r->taking->term, r->taking->meta};
    R_OP(r, take_snapshot, &s);
}

static void drop_taking(struct replica *r)
{
    snapshot_ref_drop(r->taking);
    members_done(&r->taking_members);
    r->taking = NULL;
    r->taken = false;
}

/* How many entries up to index stay for members that lag a little. */
static uint32_t trailing(const struct replica *r, uint64_t index)
{
    uint64_t bytes = 0;
    uint32_t n = 0;
    while (index - n >= r->tail.first && n < index && bytes < r->config.trail_bytes) {
        bytes += tail_size(&r->tail, index - n) + sizeof(struct entry);
        n++;
    }
    return n;
}

void apply_finish_snapshot(struct replica *r)
{
    /* The core wants to hear of a snapshot only once the log up to it is
     * durable; applying may run ahead of that. */
    if (!r->taken || r->taking->index > r->persisted || r->installing_seq != 0 || r->failed)
        return;
    if (r->snapshot != NULL && r->snapshot->index >= r->taking->index) {
        drop_taking(r); /* While it waited, one came from the leader. */
        return;
    }
    uint64_t index = r->taking->index;
    uint32_t keep = trailing(r, index);
    struct consensus_snapshot s = {index, r->taking->term, r->taking_members,
                                   r->taking_members_index};
    consensus_snapshot_taken(r->consensus, r->now_ms, &s, keep);
    replica_set_snapshot(r, snapshot_ref_take(r->taking), &r->taking_members,
                         r->taking_members_index);
    tail_set_base(&r->tail, index, r->taking->term);
    drop_taking(r);
    tail_trim(&r->tail, index - keep + 1);
    R_OP(r, trim, r->tail.first);
}

void replica_snapshot_taken(struct replica *r, uint64_t now_ms, uint64_t index, int code)
{
    ASSERT(!r->in_op);
    if (r->closed || r->failed || r->taking == NULL || r->taking->index != index)
        return;
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    /* A leader's snapshot that came in meanwhile is the newer one. A failed one
     * is tried again after as much log. */
    if (code != 0 || (r->snapshot != NULL && r->snapshot->index >= index) ||
        r->installing_seq != 0) {
        drop_taking(r);
        return;
    }
    r->taken = true;
    apply_finish_snapshot(r);
}

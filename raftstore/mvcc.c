/* mvcc.c - the state and its life: writing versions, publishing, upkeep. */
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/store.h"

#include <stdatomic.h>

#define QUOTA_BYTES_DEFAULT (UINT64_C(8) << 30)

/* --- life --- */

void mvcc_state_init(struct mvcc_state *s)
{
    *s = (struct mvcc_state){.tree = tree_new(), .rev = 1};
    tree_set_rev(s->tree, 1);
    leases_init(&s->leases);
    buf_init(&s->config);
    s->auth = auth_state_new();
}

void mvcc_state_done(struct mvcc_state *s)
{
    leases_done(&s->leases);
    buf_done(&s->config);
    free(s->alarms);
    auth_state_unref(s->auth);
}

static void publish_view(struct mvcc *m)
{
    struct mvcc_view *v = xzalloc(sizeof(*v));
    v->refs = 1;
    v->tree = tree_publish(m->s.tree);
    v->rev = m->s.rev;
    v->compacted = m->s.compacted;
    v->applied = m->s.applied;
    v->auth = auth_state_ref(m->s.auth);
    m->changed = false;
    pthread_mutex_lock(&m->view_lock);
    struct mvcc_view *last = m->current;
    m->current = v;
    pthread_mutex_unlock(&m->view_lock);
    mvcc_view_unref(last);
}

struct mvcc *mvcc_new(const struct mvcc_config *config)
{
    struct mvcc *m = xzalloc(sizeof(*m));
    m->options = *config;
    if (m->options.quota_bytes == 0)
        m->options.quota_bytes = QUOTA_BYTES_DEFAULT;
    mvcc_state_init(&m->s);
    m->arena = arena_new(0);
    list_init(&m->zombies);
    struct event_log_config log = {.bytes_max = config->history_bytes,
                                   .age_ms = config->history_ms};
    m->log = event_log_new(&log, m->s.rev);
    pthread_mutex_init(&m->view_lock, NULL);
    publish_view(m);
    return m;
}

void mvcc_free(struct mvcc *m)
{
    if (m == NULL)
        return;
    mvcc_view_unref(m->current);
    event_log_free(m->log);
    tree_trim_done(&m->trim);
    mvcc_state_done(&m->s);
    tree_free(m->s.tree);
    LIST_FOREACH_SAFE (l, &m->zombies) {
        struct zombie *z = LIST_ENTRY(l, struct zombie, link);
        tree_free(z->tree);
        free(z);
    }
    free(m->events);
    arena_free(m->arena);
    pthread_mutex_destroy(&m->view_lock);
    free(m);
}

/* --- writing --- */

const struct kv *mvcc_current_kv(const struct mvcc *m, struct str key)
{
    return tree_get(tree_working(m->s.tree), key, 0);
}

static void add_event(struct mvcc *m, const struct kv *kv, const struct kv *prev)
{
    if (m->event_count == m->event_cap) {
        m->event_cap = m->event_cap > 0 ? m->event_cap * 2 : 16;
        m->events = xrealloc(m->events, m->event_cap * sizeof(m->events[0]));
    }
    m->events[m->event_count++] = (struct event){kv_ref(kv), prev ? kv_ref(prev) : NULL};
}

static void detach(struct mvcc *m, const struct kv *kv)
{
    int64_t lease = kv != NULL ? kv_lease(kv) : 0;
    if (lease != 0)
        lease_detach(leases_get(&m->s.leases, lease));
}

void mvcc_put(struct mvcc *m, struct str key, struct str value, int64_t lease)
{
    const struct kv *prev = mvcc_current_kv(m, key);
    struct kv_numbers n = {.mod_rev = mvcc_write_rev(m),
                           .create_rev = mvcc_write_rev(m),
                           .version = 1,
                           .lease = lease,
                           .sub = (uint32_t)m->event_count};
    if (prev != NULL) {
        struct kv_numbers before = kv_numbers(prev);
        n.create_rev = before.create_rev;
        n.version = before.version + 1;
    }
    struct kv *kv = kv_new(tree_heap(m->s.tree), key, value, &n);
    detach(m, prev);
    add_event(m, kv, prev);
    tree_put(m->s.tree, kv);
    if (lease != 0)
        lease_attach(leases_get(&m->s.leases, lease), kv, tree_working(m->s.tree));
}

void mvcc_delete(struct mvcc *m, const struct kv *kv)
{
    struct kv_numbers n = {.mod_rev = mvcc_write_rev(m), .sub = (uint32_t)m->event_count};
    struct kv *tombstone = kv_new(tree_heap(m->s.tree), kv_key(kv), STR_NULL, &n);
    detach(m, kv);
    add_event(m, tombstone, kv);
    tree_put(m->s.tree, tombstone);
}

void mvcc_end_write(struct mvcc *m)
{
    if (m->event_count == 0)
        return;
    m->s.rev++;
    event_log_append(m->log, m->s.rev, m->events, (uint32_t)m->event_count);
    m->event_count = 0;
}

/* --- publishing and upkeep --- */

void mvcc_applied(struct mvcc *m, uint64_t index)
{
    ASSERT_CMP(index, >=, m->s.applied);
    m->changed |= index > m->s.applied;
    m->s.applied = index;
}

void mvcc_publish(struct mvcc *m, uint64_t now_ms)
{
    if (m->changed)
        publish_view(m);
    event_log_publish(m->log, now_ms);
}

void mvcc_replace_state(struct mvcc *m, const struct mvcc_state *next,
                        struct event_batch *const *history, size_t history_count, uint64_t now_ms)
{
    mvcc_publish(m, now_ms); /* What was applied before still reaches its cursors. */
    struct zombie *z = xzalloc(sizeof(*z));
    z->tree = m->s.tree;
    list_push_back(&m->zombies, &z->link);
    mvcc_state_done(&m->s);
    tree_trim_done(&m->trim);
    m->trim = (struct tree_trim){0};
    m->trimming = m->verify = m->history_due = false;
    m->s = *next;
    mvcc_leases_extend(m, now_ms);
    publish_view(m);
    event_log_reset(m->log, m->s.rev, history, history_count, now_ms);
}

static void free_zombies(struct mvcc *m, size_t budget, bool *more)
{
    LIST_FOREACH_SAFE (l, &m->zombies) {
        struct zombie *z = LIST_ENTRY(l, struct zombie, link);
        struct tree_stats stats;
        *more |= tree_reclaim(z->tree, budget);
        tree_stats(z->tree, &stats);
        if (stats.views > 0)
            continue;
        if (tree_free_slice(z->tree, budget)) {
            *more = true;
            continue;
        }
        list_remove(&z->link);
        free(z);
    }
}

/* What a slice drops is seen by the current view: without a new one nothing of
 * it would be freed before the next write. Between applies and their publishing,
 * that one does it. */
static bool trim_slice(struct mvcc *m, size_t budget)
{
    if (!m->trimming && m->trim.rev < m->s.compacted) {
        m->trim = (struct tree_trim){.rev = m->s.compacted};
        m->trimming = true;
    }
    if (!m->trimming)
        return false;
    m->trimming = tree_trim(m->s.tree, &m->trim, budget);
    if (!m->changed)
        publish_view(m);
    return m->trimming || m->trim.rev < m->s.compacted;
}

/* As with a slice of trimming. Moving one takes as long as visiting some. Not while
 * events of compacted revisions still hold versions: copies would come on top. */
#define TIDY_COST 4

static bool tidy_slice(struct mvcc *m, size_t budget)
{
    if (m->history_due)
        return false;
    bool moved, more = tree_tidy(m->s.tree, budget, &moved);
    if (moved && !m->changed)
        publish_view(m);
    return more;
}

bool mvcc_trim_history(struct mvcc *m, uint64_t now_ms)
{
    event_log_compact(m->log, m->s.compacted);
    tree_tidy_again(m->s.tree);
    m->history_due = event_log_trim(m->log, now_ms);
    return m->history_due;
}

bool mvcc_work(struct mvcc *m, size_t budget)
{
    bool more = trim_slice(m, budget);
    more |= tree_reclaim(m->s.tree, budget);
    free_zombies(m, budget, &more);
    return more || tidy_slice(m, budget / TIDY_COST);
}

/* --- what the state says --- */

uint64_t mvcc_applied_index(const struct mvcc *m)
{
    return m->s.applied;
}

int64_t mvcc_rev(const struct mvcc *m)
{
    return m->s.rev;
}

int64_t mvcc_compacted(const struct mvcc *m)
{
    return m->s.compacted;
}

bool mvcc_take_verify(struct mvcc *m, int64_t *ret_rev, uint64_t *ret_hash)
{
    bool any = m->verify;
    m->verify = false;
    *ret_rev = m->verify_rev;
    *ret_hash = m->verify_hash;
    return any;
}

struct str mvcc_config_record(const struct mvcc *m)
{
    return buf_str(&m->s.config);
}

void mvcc_stats(const struct mvcc *m, struct mvcc_stats *ret)
{
    struct tree_stats tree;
    struct event_log_stats log;
    tree_stats(m->s.tree, &tree);
    event_log_stats(m->log, &log);
    *ret = (struct mvcc_stats){
        .tree_bytes = tree.bytes,
        .dead_bytes = tree.dead_bytes,
        .lost_bytes = tree.lost_bytes,
        .history_bytes = log.bytes,
        .keys = tree.keys,
        .versions = tree.versions,
        .leases = leases_count(&m->s.leases),
        .views = tree.views,
        .cursors = log.cursors,
        .history_first_rev = log.first_rev,
    };
    LIST_FOREACH (l, &m->zombies) {
        tree_stats(LIST_ENTRY(l, struct zombie, link)->tree, &tree);
        ret->dead_bytes += tree.bytes + tree.dead_bytes;
        ret->views += tree.views;
    }
}

/* --- alarms --- */

static size_t alarm_place(const struct mvcc_state *s, uint64_t member)
{
    size_t i = 0;
    while (i < s->alarm_count && s->alarms[i].member < member)
        i++;
    return i;
}

void mvcc_state_set_alarms(struct mvcc_state *s, uint64_t member, uint32_t alarms)
{
    size_t i = alarm_place(s, member);
    bool there = i < s->alarm_count && s->alarms[i].member == member;
    if (there && alarms != 0) {
        s->alarms[i].alarms = alarms;
    } else if (there) {
        s->alarm_count--;
        memmove(&s->alarms[i], &s->alarms[i + 1], (s->alarm_count - i) * sizeof(s->alarms[0]));
    } else if (alarms != 0 && s->alarm_count < ALARM_MEMBERS_MAX) {
        s->alarms = xrealloc(s->alarms, (s->alarm_count + 1) * sizeof(s->alarms[0]));
        memmove(&s->alarms[i + 1], &s->alarms[i], (s->alarm_count - i) * sizeof(s->alarms[0]));
        s->alarms[i] = (struct mvcc_alarm){member, alarms};
        s->alarm_count++;
    }
}

uint32_t mvcc_alarms(const struct mvcc *m)
{
    uint32_t all = 0;
    for (size_t i = 0; i < m->s.alarm_count; i++)
        all |= m->s.alarms[i].alarms & MVCC_ALARMS;
    return all;
}

static uint32_t stored_alarms(const struct mvcc *m, uint64_t member)
{
    size_t i = alarm_place(&m->s, member);
    bool there = i < m->s.alarm_count && m->s.alarms[i].member == member;
    return there ? m->s.alarms[i].alarms : 0;
}

uint32_t mvcc_member_alarms(const struct mvcc *m, uint64_t member)
{
    return stored_alarms(m, member) & MVCC_ALARMS;
}

uint32_t mvcc_held_alarms(const struct mvcc *m, uint64_t member)
{
    return stored_alarms(m, member) >> MVCC_ALARMS_HELD_SHIFT;
}

const struct mvcc_alarm *mvcc_alarm_list(const struct mvcc *m, size_t *ret_count)
{
    *ret_count = m->s.alarm_count;
    return m->s.alarms;
}

bool mvcc_wants_no_space(const struct mvcc *m, uint64_t member)
{
    struct tree_stats tree;
    tree_stats(m->s.tree, &tree);
    uint64_t quota = m->options.quota_bytes;
    bool set = mvcc_member_alarms(m, member) & STORE_ALARM_NO_SPACE;
    return tree.bytes > (set ? quota - quota / 10 : quota);
}

/* kernel.c - see kernel.h. */
#include "kubelet/proxy/kernel.h"

#include "kubelet/job.h"
#include "kubelet/netlink.h"
#include "kubelet/nft_batch.h"
#include "kubelet/proxy/stale.h"

#include "lib/base/log.h"

#include <linux/netfilter.h>

#define CLEAN_SHARE 9u /* It rests so many times as long as it took. */

static const char *const old_table = "trireme-proxy";

static struct nft_set_name set_name(const struct proxy_kernel *k, enum proxy_family f,
                                    enum proxy_set s)
{
    return (struct nft_set_name){.family = proxy_family_number(f),
                                 .table = k->table,
                                 .set = proxy_set_name(s),
                                 .verdicts = proxy_set_has_verdicts(s)};
}

void kernel_init(struct proxy_kernel *k, uv_loop_t *loop,
                 void (*done)(struct kernel_result *r, void *arg), void (*cleaned)(void *arg),
                 void *arg)
{
    *k = (struct proxy_kernel){
        .loop = loop, .done = done, .cleaned = cleaned, .arg = arg, .clean = true};
    uv_timer_init(loop, &k->rest);
    k->rest.data = k;
}

void kernel_stop(struct proxy_kernel *k)
{
    uv_timer_stop(&k->rest);
}

bool kernel_is_cleaning(const struct proxy_kernel *k)
{
    return k->cleaning;
}

void kernel_done(struct proxy_kernel *k)
{
    ASSERT(!k->busy);
    ASSERT(!k->cleaning);
    buf_done(&k->text);
    buf_done(&k->rules);
    buf_done(&k->changes);
    buf_done(&k->stale);
    buf_done(&k->result.found);
}

static void begin(struct proxy_kernel *k)
{
    ASSERT(!k->busy);
    k->busy = true;
    k->result.code = 0;
    k->result.there = false;
    k->result.spent_ns = 0;
    buf_done(&k->result.found);
}

static void end(void *arg)
{
    struct proxy_kernel *k = arg;
    k->busy = false;
    k->done(&k->result, k->arg);
}

/* --- how the tables stand ------------------------------------------------------------------ */

static int look(struct proxy_kernel *k, struct error *err)
{
    int rc = netlink_nft_generation(&k->generation, err);
    for (enum proxy_family f = 0; rc == 0 && f < PROXY_FAMILY_COUNT; f++)
        rc = netlink_nft_table(proxy_family_number(f), k->table, &k->handles[f], &k->uses[f], err);
    return rc;
}

bool kernel_stands(struct proxy_kernel *k)
{
    struct error err;
    uint32_t generation;
    ASSERT(!k->busy);
    if (netlink_nft_generation(&generation, &err) != 0 || generation == k->generation)
        return true;
    k->foreign = true;
    uint64_t handles[PROXY_FAMILY_COUNT];
    uint32_t uses[PROXY_FAMILY_COUNT];
    memcpy(handles, k->handles, sizeof(handles));
    memcpy(uses, k->uses, sizeof(uses));
    int rc = look(k, &err);
    if (rc == 0)
        return memcmp(handles, k->handles, sizeof(handles)) == 0 &&
               memcmp(uses, k->uses, sizeof(uses)) == 0;
    return rc != E_NOT_FOUND;
}

/* --- adopt ----------------------------------------------------------------------------------- */

struct reading {
    struct buf *to;
    enum proxy_family family;
    enum proxy_set set;
};

static void on_element(const struct nft_element *e, void *arg)
{
    const struct reading *r = arg;
    char key[PROXY_KEY_MAX];
    struct proxy_element found = {
        .family = r->family, .set = r->set, .key = e->key, .data = e->data};
    if (e->key.len + e->end.len > sizeof(key) || e->data.len > PROXY_DATA_MAX)
        return; /* Nobody of ours has written it. */
    if (!str_empty(e->end)) {
        memcpy(key, e->key.data, e->key.len);
        memcpy(key + e->key.len, e->end.data, e->end.len);
        found.key = str_n(key, e->key.len + e->end.len);
    }
    proxy_element_pack(r->to, &found);
}

static void run_adopt(void *arg)
{
    struct proxy_kernel *k = arg;
    struct kernel_result *r = &k->result;
    uint64_t began_ns = uv_hrtime();
    r->code = look(k, &r->err);
    for (enum proxy_family f = 0; f < PROXY_FAMILY_COUNT; f++)
        for (enum proxy_set s = 0; r->code == 0 && s < PROXY_SET_COUNT; s++) {
            struct reading reading = {&r->found, f, s};
            struct nft_set_name name = set_name(k, f, s);
            r->code = netlink_nft_dump(&name, on_element, &reading, &r->err);
        }
    r->there = r->code == 0;
    if (r->code == E_NOT_FOUND)
        r->code = 0;
    r->spent_ns = uv_hrtime() - began_ns;
}

void kernel_adopt(struct proxy_kernel *k, const char *table)
{
    begin(k);
    snprintf(k->table, sizeof(k->table), "%s", table);
    job_start(k->loop, run_adopt, end, k);
}

/* --- load ------------------------------------------------------------------------------------- */

static void run_look(void *arg)
{
    struct proxy_kernel *k = arg;
    if (k->rules.len > 0)
        k->result.code = netlink_nft_commit(buf_str(&k->rules), &k->result.err);
    if (k->result.code == 0)
        k->result.code = look(k, &k->result.err);
}

static void on_loaded(const char *error, void *arg)
{
    struct proxy_kernel *k = arg;
    if (error == NULL) {
        job_start(k->loop, run_look, end, k);
        return;
    }
    k->result.code = error_set(&k->result.err, E_IO, "nft: %s", error);
    end(k);
}

void kernel_load(struct proxy_kernel *k)
{
    begin(k);
    nft_load_start(&k->nft, k->loop, buf_str(&k->text), on_loaded, k);
}

/* --- commit ------------------------------------------------------------------------------------
 */

static void put(struct nft_batch *b, const struct nft_set_name *sets, bool add,
                const struct proxy_element *e)
{
    struct nft_element el = {.key = e->key, .data = e->data};
    if (e->set == PROXY_ALLOWED) {
        el.key = str_sub(e->key, 0, e->key.len / 2);
        el.end = str_sub(e->key, e->key.len / 2, e->key.len / 2);
    }
    nft_batch_put(b, add, &sets[(size_t)e->family * PROXY_SET_COUNT + e->set], &el);
}

static int send_changes(struct proxy_kernel *k, struct error *err)
{
    struct nft_set_name sets[PROXY_FAMILY_COUNT * PROXY_SET_COUNT];
    struct nft_batch b;
    AUTO_BUF out = BUF_INIT;
    struct str rest = buf_str(&k->changes);
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        sets[i] = set_name(k, (enum proxy_family)(i / PROXY_SET_COUNT),
                           (enum proxy_set)(i % PROXY_SET_COUNT));
    nft_batch_begin(&b, &out);
    while (rest.len > 0) {
        struct proxy_element e;
        bool add = rest.data[0] != 0;
        size_t pos = 1;
        if (!proxy_element_next(rest, &pos, &e))
            break;
        put(&b, sets, add, &e);
        rest = str_n(rest.data + pos, rest.len - pos);
    }
    nft_batch_end(&b);
    return netlink_nft_commit(buf_str(&out), err);
}

struct others {
    struct proxy_kernel *k;
    struct buf *text;
};

static void on_table(uint8_t family, const char *table, void *arg)
{
    const struct others *o = arg;
    bool ours =
        str_has_prefix(str_of(table), STR(PROXY_TABLE_PREFIX)) || strcmp(table, old_table) == 0;
    for (enum proxy_family f = 0; f < PROXY_FAMILY_COUNT; f++)
        if (ours && family == proxy_family_number(f) && strcmp(table, o->k->table) != 0)
            buf_printf(o->text, "delete table %s %s\n", proxy_family_name(f), table);
}

/* Each transaction of anybody's raises the number by one. */
static void note_own_change(struct proxy_kernel *k)
{
    struct error err;
    uint32_t generation;
    if (netlink_nft_generation(&generation, &err) != 0)
        return;
    k->foreign = k->foreign || generation != k->generation + 1;
    k->generation = generation;
}

static void run_commit(void *arg)
{
    struct proxy_kernel *k = arg;
    struct kernel_result *r = &k->result;
    struct error err;
    uint64_t began_ns = uv_hrtime();
    r->code = k->changes.len > 0 ? send_changes(k, &r->err) : 0;
    if (k->changes.len > 0 && r->code == 0)
        note_own_change(k);
    r->spent_ns = uv_hrtime() - began_ns;
    buf_clear(&k->text);
    struct others o = {k, &k->text};
    if (r->code == 0 && k->clean && netlink_nft_tables(on_table, &o, &err) != 0)
        log_warning("services: looking for tables of other versions: %s", error_message(&err));
}

static void on_others_gone(const char *error, void *arg)
{
    struct proxy_kernel *k = arg;
    if (error != NULL)
        log_warning("services: removing tables of other versions: nft: %s", error);
    end(k);
}

static void run_clean(void *arg)
{
    struct proxy_kernel *k = arg;
    struct error err;
    uint64_t began_ns = uv_hrtime();
    if (stale_clean(k->table, buf_str(&k->stale), &err) != 0)
        log_warning("services: ending what has become stale: %s", error_message(&err));
    k->cleaning_ns = uv_hrtime() - began_ns;
}

static void on_rested(uv_timer_t *t)
{
    struct proxy_kernel *k = t->data;
    k->clean_later = false;
    k->cleaned(k->arg);
}

static void on_cleaned(void *arg)
{
    struct proxy_kernel *k = arg;
    buf_done(&k->stale);
    k->cleaning = false;
    uv_timer_start(&k->rest, on_rested, CLEAN_SHARE * k->cleaning_ns / 1000000u, 0);
}

void kernel_clean(struct proxy_kernel *k)
{
    ASSERT(!k->clean_later);
    if (k->stale.len == 0)
        return;
    k->cleaning = k->clean_later = true;
    job_start(k->loop, run_clean, on_cleaned, k);
}

static void on_committed(void *arg)
{
    struct proxy_kernel *k = arg;
    buf_done(&k->changes);
    if (k->result.code == 0 && !k->clean_later)
        kernel_clean(k);
    else if (!k->clean_later)
        buf_done(&k->stale);
    if (k->result.code != 0 || !k->clean) {
        end(k);
        return;
    }
    k->clean = false;
    if (k->text.len > 0)
        nft_load_start(&k->nft, k->loop, buf_str(&k->text), on_others_gone, k);
    else
        end(k);
}

void kernel_commit(struct proxy_kernel *k)
{
    begin(k);
    job_start(k->loop, run_commit, on_committed, k);
}

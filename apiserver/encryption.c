/* encryption.c - see encryption.h. */
#include "apiserver/encryption.h"

#include "apiserver/encryption_config.h"
#include "apiserver/kms.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"

#include <openssl/crypto.h>
#include <pthread.h>

#define ROOT "/registry/"
#define NO_MATCH "no matching prefix found"

static pthread_rwlock_t config_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct encryption *current; /* NULL: nothing is encrypted. */

/* What was opened, by the version's address. Goes with the version. */
struct opened {
    struct opened *next;
    const struct kv *kv;
    size_t len;
    char text[];
};
static struct {
    pthread_mutex_t lock;
    struct opened **buckets;
    size_t size, count; /* size: a power of two, or 0. */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

atomic_bool encryption_plain_refused;

static bool takes_plain(const struct encryption_rule *rule)
{
    for (size_t i = 0; i < rule->provider_count; i++)
        if (rule->providers[i].prefix == NULL)
            return true;
    return false;
}

void encryption_use(struct encryption *e)
{
    bool refused = false;
    for (size_t i = 0; e != NULL && i < e->rule_count; i++)
        refused |= !takes_plain(&e->rules[i]);
    pthread_rwlock_wrlock(&config_lock);
    struct encryption *old = current;
    current = e;
    atomic_store(&encryption_plain_refused, refused);
    pthread_rwlock_unlock(&config_lock);
    encryption_free(old);
}

int encryption_health(bool *ret_any, struct error *err)
{
    int code = 0;
    *ret_any = false;
    pthread_rwlock_rdlock(&config_lock);
    for (size_t i = 0; current != NULL && i < current->rule_count; i++)
        for (size_t k = 0; k < current->rules[i].provider_count; k++) {
            struct kms *kms = current->rules[i].providers[k].kms;
            *ret_any |= kms != NULL;
            if (kms != NULL && code == 0)
                code = kms_health(kms, err);
        }
    pthread_rwlock_unlock(&config_lock);
    return code;
}

/* --- which providers ----------------------------------------------------------------------------
 */
/* Of custom kinds the key says it, on threads that do not know them as well. */
static bool resource_of(struct str key, struct str *ret_group, struct str *ret_resource)
{
    struct str ns, name, rest;
    const struct resource *r = registry_by_key(key, &ns, &name);
    if (r != NULL) {
        *ret_group = str_of(r->kind->group);
        *ret_resource = str_of(r->kind->resource);
        return true;
    }
    return str_has_prefix(key, STR(ROOT)) &&
           str_cut(str_sub(key, sizeof(ROOT) - 1, key.len), '/', ret_group, &rest) &&
           str_find(*ret_group, '.', 0) >= 0 && str_cut(rest, '/', ret_resource, &name);
}

enum { BY_RESOURCE, BY_GROUP, BY_ANY, LEVELS };

static bool is_of(const struct encryption_rule *rule, int level, struct str group,
                  struct str resource)
{
    return str_eq(rule->group, level == BY_ANY ? STR("*") : group) &&
           str_eq(rule->resource, level == BY_RESOURCE ? resource : STR("*"));
}

/* The rules that count for a key are those of the narrowest kind, in order. */
struct providers {
    const struct encryption *e;
    struct str group, resource;
    int level;
    size_t rule, index; /* The next. */
};

static bool find_providers(struct str key, struct providers *ret)
{
    *ret = (struct providers){.e = current};
    if (current == NULL || !resource_of(key, &ret->group, &ret->resource))
        return false;
    for (ret->level = 0; ret->level < LEVELS; ret->level++)
        for (size_t i = 0; i < current->rule_count; i++)
            if (is_of(&current->rules[i], ret->level, ret->group, ret->resource))
                return true;
    return false;
}

static const struct encryption_provider *next_provider(struct providers *p)
{
    for (; p->rule < p->e->rule_count; p->rule++, p->index = 0) {
        const struct encryption_rule *rule = &p->e->rules[p->rule];
        if (is_of(rule, p->level, p->group, p->resource) && p->index < rule->provider_count)
            return &rule->providers[p->index++];
    }
    return NULL;
}

/* --- metrics
 * -------------------------------------------------------------------------------------- */
static void count(struct str resource, bool ok, const char *way, const char *prefix)
{
    static const char *const labels[] = {"resource", "status", "transformation_type",
                                         "transformer_prefix", NULL};
    metric_inc(METRIC_OF(metric_counter(metrics_default(),
                                        "apiserver_storage_transformation_operations_total",
                                        "Objects encrypted and decrypted, by the outcome.", labels),
                         resource, ok ? STR("OK") : STR("Internal"), str_of(way), str_of(prefix)));
}

/* --- writing
 * --------------------------------------------------------------------------------------- */
int encryption_seal(struct arena *a, struct str key, struct str value, struct str *ret,
                    struct error *err)
{
    struct providers all;
    AUTO_BUF out = BUF_INIT;
    int code = 0;
    pthread_rwlock_rdlock(&config_lock);
    const struct encryption_provider *p = find_providers(key, &all) ? next_provider(&all) : NULL;
    if (p != NULL && p->prefix != NULL) {
        buf_puts(&out, p->prefix);
        if (p->kms != NULL) {
            code = kms_seal(p->kms, value, key, &out, err);
        } else {
            buf_printf(&out, STR_FMT ":", STR_ARG(p->keys[0].name));
            seal(p->form, p->keys[0].secret, value, key, &out);
        }
        count(all.resource, code == 0, "to_storage", p->prefix);
    }
    pthread_rwlock_unlock(&config_lock);
    if (code == 0)
        *ret = out.len != 0 ? arena_str(a, buf_str(&out)) : value;
    return code;
}

/* --- reading
 * ----------------------------------------------------------------------------------------- */
static bool cut_prefix(struct str *s, struct str prefix)
{
    if (!str_has_prefix(*s, prefix))
        return false;
    *s = str_sub(*s, prefix.len, s->len);
    return true;
}

/* With one of the provider's keys; *ret_first: the one that is written with. */
static bool open_with(const struct encryption_provider *p, struct str key, struct str value,
                      struct buf *out, bool *ret_first, struct error *err)
{
    for (size_t i = 0; i < p->key_count; i++) {
        struct str sealed = value;
        if (!cut_prefix(&sealed, p->keys[i].name) || !cut_prefix(&sealed, STR(":")) ||
            unseal(p->form, p->keys[i].secret, sealed, key, out, err) != 0)
            continue;
        *ret_first = i == 0;
        return true;
    }
    return false;
}

/* Under the lock of the configuration. */
static bool open_value(struct str key, struct str value, struct buf *out, bool *ret_first,
                       struct error *err)
{
    struct providers all;
    const struct encryption_provider *p;
    bool first = true;
    error_set(err, E_INTERNAL, NO_MATCH);
    if (!find_providers(key, &all)) {
        error_set(err, E_INTERNAL, "identity transformer tried to read encrypted data");
        return false;
    }
    for (; (p = next_provider(&all)) != NULL; first = false) {
        struct str sealed = value;
        if (p->prefix == NULL || !cut_prefix(&sealed, str_of(p->prefix)))
            continue;
        bool ok = p->kms != NULL ? kms_open(p->kms, sealed, key, out, ret_first, err) == 0
                                 : open_with(p, key, sealed, out, ret_first, err);
        count(all.resource, ok, "from_storage", p->prefix);
        *ret_first = *ret_first && first;
        if (ok)
            return true;
    }
    return false;
}

static struct opened **bucket_of(const struct kv *kv)
{
    uint64_t h = (uint64_t)(uintptr_t)kv * UINT64_C(0x9e3779b97f4a7c15);
    return &table.buckets[(h >> 32) & (table.size - 1)];
}

static struct opened **find(const struct kv *kv)
{
    struct opened **at = bucket_of(kv);
    while (*at != NULL && (*at)->kv != kv)
        at = &(*at)->next;
    return at;
}

static void drop(const struct kv *kv)
{
    if (!encryption_is_sealed(kv_value(kv)))
        return;
    pthread_mutex_lock(&table.lock);
    struct opened **at = table.size != 0 ? find(kv) : NULL, *o = at != NULL ? *at : NULL;
    if (o != NULL) {
        *at = o->next;
        table.count--;
    }
    pthread_mutex_unlock(&table.lock);
    if (o == NULL)
        return;
    OPENSSL_cleanse(o->text, o->len);
    free(o);
}

static void grow(void)
{
    size_t old_size = table.size;
    struct opened **old = table.buckets;
    if (table.count < table.size)
        return;
    table.size = old_size != 0 ? old_size * 2 : 256;
    table.buckets = xzalloc(table.size * sizeof(struct opened *));
    for (size_t i = 0; i < old_size; i++)
        for (struct opened *o = old[i], *next; o != NULL; o = next) {
            next = o->next;
            struct opened **at = bucket_of(o->kv);
            o->next = *at;
            *at = o;
        }
    free(old);
}

/* Another thread may have been faster: its text stays. */
static struct str keep(const struct kv *kv, struct str text)
{
    struct opened *o = xmalloc(sizeof(*o) + text.len + 1);
    *o = (struct opened){.kv = kv, .len = text.len};
    memcpy(o->text, text.data != NULL ? text.data : "", text.len);
    o->text[text.len] = '\0';
    kv_on_gone(drop);
    pthread_mutex_lock(&table.lock);
    grow();
    struct opened **at = find(kv), *there = *at;
    if (there == NULL) {
        *at = o;
        table.count++;
    }
    pthread_mutex_unlock(&table.lock);
    if (there == NULL)
        return str_n(o->text, o->len);
    OPENSSL_cleanse(o->text, o->len);
    free(o);
    return str_n(there->text, there->len);
}

/* What is plain, as it is if that is allowed: else something that cannot be opened. */
static struct str plain(const struct kv *kv)
{
    struct providers all;
    const struct encryption_provider *p;
    pthread_rwlock_rdlock(&config_lock);
    bool allowed = !find_providers(kv_key(kv), &all);
    while (!allowed && (p = next_provider(&all)) != NULL)
        allowed = p->prefix == NULL;
    pthread_rwlock_unlock(&config_lock);
    return allowed ? kv_value(kv) : STR(ENCRYPTION_PREFIX);
}

struct str encryption_open(const struct kv *kv)
{
    AUTO_BUF out = BUF_INIT;
    struct error err = {0};
    bool first;
    if (!encryption_is_sealed(kv_value(kv)))
        return plain(kv);
    pthread_mutex_lock(&table.lock);
    const struct opened *o = table.size != 0 ? *find(kv) : NULL;
    pthread_mutex_unlock(&table.lock);
    if (o != NULL)
        return str_n(o->text, o->len);
    pthread_rwlock_rdlock(&config_lock);
    bool ok = open_value(kv_key(kv), kv_value(kv), &out, &first, &err);
    pthread_rwlock_unlock(&config_lock);
    if (!ok) {
        log_warning("unable to transform key \"" STR_FMT "\": %s", STR_ARG(kv_key(kv)),
                    error_message(&err));
        return kv_value(kv);
    }
    struct str text = keep(kv, buf_str(&out));
    OPENSSL_cleanse(out.data, out.len);
    return text;
}

int encryption_check(struct str value, struct error *err)
{
    return encryption_is_sealed(value)
               ? error_set(err, E_INTERNAL, "unable to transform the stored object: " NO_MATCH)
               : 0;
}

bool encryption_is_stale(const struct kv *kv)
{
    struct str value = kv_value(kv);
    struct providers all;
    AUTO_BUF out = BUF_INIT;
    struct error err = {0};
    bool first = false, stale = false;
    pthread_rwlock_rdlock(&config_lock);
    if (encryption_is_sealed(value)) {
        stale = open_value(kv_key(kv), value, &out, &first, &err) && !first;
    } else if (find_providers(kv_key(kv), &all)) {
        const struct encryption_provider *p = next_provider(&all);
        stale = p != NULL && p->prefix != NULL;
    }
    pthread_rwlock_unlock(&config_lock);
    if (out.len != 0)
        OPENSSL_cleanse(out.data, out.len);
    return stale;
}

size_t encryption_open_count(void)
{
    pthread_mutex_lock(&table.lock);
    size_t n = table.count;
    pthread_mutex_unlock(&table.lock);
    return n;
}

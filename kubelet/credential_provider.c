/* credential_provider.c - see credential_provider.h.
 *
 *   question -> each provider that serves the image: cached? -> a run of it, joined by all who ask
 *   the same meanwhile -> the answer, kept and given to all of them */
#include "kubelet/credential_provider_internal.h"

#include "kubelet/exec_uv.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"

#include <uv.h>

#define OUTPUT_BYTES_MAX (1u << 20)
#define TIMEOUT_MS 60000u /* As upstream's. */
#define RUNS_MAX 4u       /* Processes of one provider at once. */
#define CACHE_MAX 1000u
#define SWEEP_MS 900000u

/* What a provider answered, under what it is for. */
struct cached {
    char *auth; /* JSON of the auth map. */
    uint64_t until_ms;
};

/* One process that is asked, or is to be asked, about one image. */
struct run {
    struct list link; /* In its provider's running or waiting. */
    struct credential_providers *p;
    struct provider *provider;
    char *image;
    struct exec *exec;  /* NULL while waiting. */
    struct list askers; /* struct credential_question */
};

struct credential_question {
    struct list link; /* In the askers of a run. */
    struct run *run;
    struct credential_providers *p;
    size_t next;
    struct arena *arena;
    struct str image; /* As image_repository() has it. */
    struct pull_auth_list *list;
    void (*done)(void *arg);
    void *arg;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* --- cache ----------------------------------------------------------------------------- */

static struct str cache_key(struct arena *a, struct str image, const struct provider *p,
                            const char *type)
{
    struct str what = strcmp(type, "Image") == 0      ? image
                      : strcmp(type, "Registry") == 0 ? image_registry(image)
                                                      : STR("");
    return arena_printf(a, "%s %s " STR_FMT, p->name, type, STR_ARG(what));
}

static void forget(struct credential_providers *p, struct str key)
{
    struct cached *c = map_remove(&p->cache, key);
    if (c == NULL)
        return;
    explicit_bzero(c->auth, strlen(c->auth));
    free(c->auth);
    free(c);
}

/* Drops what is over; of a cache that is full, also what is over soonest. */
static void sweep(struct credential_providers *p, uint64_t now)
{
    struct str key, soonest = STR_NULL;
    uint64_t soonest_ms = UINT64_MAX;
    void *value;
    if (now - p->swept_ms < SWEEP_MS && p->cache.count < CACHE_MAX)
        return;
    p->swept_ms = now;
    for (size_t pos = 0; map_next(&p->cache, &pos, &key, &value);)
        if (((const struct cached *)value)->until_ms <= now)
            forget(p, key);
    if (p->cache.count < CACHE_MAX)
        return;
    for (size_t pos = 0; map_next(&p->cache, &pos, &key, &value);) {
        if (((const struct cached *)value)->until_ms < soonest_ms) {
            soonest_ms = ((const struct cached *)value)->until_ms;
            soonest = key;
        }
    }
    forget(p, soonest);
}

static void keep(struct credential_providers *p, struct str key, struct str auth, int64_t ns)
{
    uint64_t now = now_ms();
    sweep(p, now);
    forget(p, key);
    struct cached *c = xzalloc(sizeof(*c));
    c->auth = xstrndup(auth.data, auth.len);
    c->until_ms = now + (uint64_t)ns / 1000000;
    map_set(&p->cache, key, c);
}

static bool take_cached(struct credential_question *q, const struct provider *p)
{
    static const char *const types[] = {"Image", "Registry", "Global"};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        const struct cached *c = map_get(&q->p->cache, cache_key(q->arena, q->image, p, types[i]));
        if (c != NULL && c->until_ms > now_ms()) {
            pull_auths_add(q->arena, q->list, arena_str(q->arena, str_of(c->auth)), q->image);
            return true;
        }
    }
    return false;
}

void credential_providers_free(struct credential_providers *p)
{
    struct str key;
    if (p == NULL)
        return;
    for (size_t pos = 0; map_next(&p->cache, &pos, &key, NULL);)
        forget(p, key);
    map_done(&p->cache);
    arena_free(p->arena);
    free(p);
}

/* --- runs ------------------------------------------------------------------------------ */

/* NULL and the auth map in ret_auth, or what is wrong with the response. */
static const char *read_response(struct arena *a, const struct run *r, struct str output,
                                 struct buf *ret_auth)
{
    struct json *j = NULL;
    if (json_parse(a, output, &j, NULL) != 0 ||
        !str_eqc(json_get_str(j, "kind"), "CredentialProviderResponse") ||
        !str_eqc(json_get_str(j, "apiVersion"), CREDENTIAL_API_VERSION))
        return "its output is no CredentialProviderResponse of " CREDENTIAL_API_VERSION;
    const char *type = str_c(arena_str(a, json_get_str(j, "cacheKeyType")));
    if (strcmp(type, "Image") != 0 && strcmp(type, "Registry") != 0 && strcmp(type, "Global") != 0)
        return "cacheKeyType is neither Image, Registry nor Global";
    struct str text = json_get_str(j, "cacheDuration");
    int64_t ns = r->provider->cache_ns;
    if (!str_empty(text) && (duration_parse(text, &ns) != 0 || ns < 0))
        return "cacheDuration is no duration";
    const struct json *auth = json_getc(j, "auth");
    if (auth != NULL)
        json_write(auth, false, ret_auth);
    if (ret_auth->len == 0)
        buf_puts(ret_auth, "{}");
    if (ns > 0)
        keep(r->p, cache_key(a, str_of(r->image), r->provider, type), buf_str(ret_auth), ns);
    return NULL;
}

static void ask_next(struct credential_question *q);
static void start_waiting(struct provider *p);

static void run_free(struct run *r)
{
    list_remove(&r->link);
    free(r->image);
    free(r);
}

static void on_answer(const char *why, struct str output, void *arg)
{
    struct run *r = arg;
    struct provider *p = r->provider;
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF auth = BUF_INIT;
    struct list askers;
    if (why == NULL)
        why = read_response(a, r, arena_str(a, output), &auth);
    if (why != NULL)
        log_warning("credential provider %s, for image %s: %s", p->name, r->image, why);
    list_init(&askers);
    list_splice(&askers, &r->askers);
    p->running_count--;
    run_free(r);
    LIST_FOREACH (it, &askers)
        LIST_ENTRY(it, struct credential_question, link)->run = NULL;
    /* Each may cancel others. */
    while (!list_empty(&askers)) {
        struct credential_question *q = LIST_ENTRY(askers.next, struct credential_question, link);
        list_remove(&q->link);
        list_init(&q->link);
        if (why == NULL)
            pull_auths_add(q->arena, q->list, arena_str(q->arena, buf_str(&auth)), q->image);
        q->next++;
        ask_next(q);
    }
    start_waiting(p);
}

static void run_start(struct run *r)
{
    struct provider *p = r->provider;
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"" CREDENTIAL_API_VERSION
                 "\",\"image\":");
    json_write_string(str_of(r->image), &b);
    buf_puts(&b, "}\n");
    struct exec_config config = {.path = p->path,
                                 .args = p->args,
                                 .env = p->env,
                                 .input = buf_str(&b),
                                 .timeout_ms = TIMEOUT_MS,
                                 .output_max = OUTPUT_BYTES_MAX,
                                 .done = on_answer,
                                 .arg = r};
    list_remove(&r->link);
    list_push_back(&p->running, &r->link);
    p->running_count++;
    r->exec = exec_run(r->p->loop, &config);
}

static void start_waiting(struct provider *p)
{
    while (!list_empty(&p->waiting) && p->running_count < RUNS_MAX)
        run_start(LIST_ENTRY(p->waiting.next, struct run, link));
}

static struct run *find_run(struct list *runs, struct str image)
{
    LIST_FOREACH (it, runs) {
        struct run *r = LIST_ENTRY(it, struct run, link);
        if (str_eqc(image, r->image))
            return r;
    }
    return NULL;
}

static void join(struct credential_question *q, struct provider *p)
{
    struct run *r = find_run(&p->running, q->image);
    if (r == NULL)
        r = find_run(&p->waiting, q->image);
    if (r == NULL) {
        r = xzalloc(sizeof(*r));
        r->p = q->p;
        r->provider = p;
        r->image = xstrndup(q->image.data, q->image.len);
        list_init(&r->askers);
        list_push_back(&p->waiting, &r->link);
    }
    q->run = r;
    list_push_back(&r->askers, &q->link);
    start_waiting(p);
}

/* --- questions ------------------------------------------------------------------------- */

static bool serves(struct credential_question *q, const struct provider *p)
{
    for (size_t i = 0; i < p->pattern_count; i++)
        if (image_matches(q->arena, p->patterns[i], q->image))
            return true;
    return false;
}

static void ask_next(struct credential_question *q)
{
    while (q->next < q->p->count &&
           (!serves(q, &q->p->items[q->next]) || take_cached(q, &q->p->items[q->next])))
        q->next++;
    if (q->next < q->p->count) {
        join(q, &q->p->items[q->next]);
        return;
    }
    void (*done)(void *) = q->done;
    void *arg = q->arg;
    free(q);
    done(arg);
}

struct credential_question *credential_providers_ask(struct credential_providers *p,
                                                     struct arena *a, struct str image,
                                                     struct pull_auth_list *list,
                                                     void (*done)(void *arg), void *arg)
{
    struct credential_question *q;
    bool any = false;
    if (p == NULL)
        return NULL;
    q = xzalloc(sizeof(*q));
    *q = (struct credential_question){.p = p,
                                      .arena = a,
                                      .image = image_repository(a, image),
                                      .list = list,
                                      .done = done,
                                      .arg = arg};
    list_init(&q->link);
    for (; q->next < p->count && !any; q->next++)
        any = serves(q, &p->items[q->next]) && !take_cached(q, &p->items[q->next]);
    if (!any) {
        free(q);
        return NULL;
    }
    q->next--;
    join(q, &p->items[q->next]);
    return q;
}

void credential_question_cancel(struct credential_question *q)
{
    struct run *r = q->run;
    list_remove(&q->link);
    free(q);
    if (r == NULL || !list_empty(&r->askers))
        return;
    struct provider *p = r->provider;
    if (r->exec != NULL) {
        exec_cancel(take(r->exec));
        p->running_count--;
    }
    run_free(r);
    start_waiting(p);
}

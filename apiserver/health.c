/* health.c - /healthz, /livez and /readyz, whole or check by check. */
#include "apiserver/discovery.h"
#include "apiserver/encryption.h"
#include "apiserver/monitor.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"
#include "lib/net/url.h"
#include "raftstore/store.h"

enum { HEALTHZ = 1, LIVEZ = 2, READYZ = 4, BOOT = 8 }; /* BOOT: what a server begins with. */

static bool check_ping(const struct apiserver *s)
{
    UNUSED(s);
    return true;
}

/* A leader, so that writes and linearizable reads are possible. */
static bool check_store(const struct apiserver *s)
{
    struct store_status st;
    store_status(s->store, &st);
    return st.has_leader && !st.failed;
}

/* Alive, unless only a restart helps. */
static bool check_alive(const struct apiserver *s)
{
    struct store_status st;
    store_status(s->store, &st);
    return !st.failed;
}

static bool check_ready(const struct apiserver *s)
{
    return atomic_load(&s->ready);
}

static bool check_registered(const struct apiserver *s)
{
    return atomic_load(&s->registered);
}

static bool check_shutdown(const struct apiserver *s)
{
    return !atomic_load(&s->stopping) && !atomic_load(&s->leaving);
}

static bool check_kms(const struct apiserver *s)
{
    UNUSED(s);
    struct error err = {0};
    bool any;
    return encryption_health(&any, &err) == 0;
}

/* Under the names that upstream's monitoring knows. */
static const struct {
    const char *name;
    unsigned where;
    bool (*check)(const struct apiserver *s);
} checks[] = {
    {"ping", HEALTHZ | LIVEZ | READYZ, check_alive},
    {"log", HEALTHZ | LIVEZ | READYZ, check_ping},
    {"etcd", HEALTHZ | READYZ, check_store},
    {"etcd-readiness", READYZ, check_store},
    {"kms-providers", HEALTHZ | LIVEZ | READYZ, check_kms},
    {"informer-sync", READYZ, check_ready},
    {"poststarthook/start-apiserver-admission-initializer", HEALTHZ | LIVEZ | READYZ, check_ping},
    {"poststarthook/storage-readiness", HEALTHZ | READYZ, check_store},
    {"poststarthook/start-system-namespaces-controller", HEALTHZ | LIVEZ | READYZ | BOOT,
     check_ready},
    {"poststarthook/start-kubernetes-service-cidr-controller", HEALTHZ | LIVEZ | READYZ | BOOT,
     check_ready},
    {"poststarthook/rbac/bootstrap-roles", HEALTHZ | LIVEZ | READYZ | BOOT, check_ready},
    {"poststarthook/scheduling/bootstrap-system-priority-classes", HEALTHZ | LIVEZ | READYZ | BOOT,
     check_ready},
    {"poststarthook/bootstrap-controller", HEALTHZ | LIVEZ | READYZ | BOOT, check_ready},
    {"poststarthook/start-cluster-authentication-info-controller", HEALTHZ | LIVEZ | READYZ | BOOT,
     check_ready},
    {"poststarthook/kube-apiserver-autoregistration", HEALTHZ | LIVEZ | READYZ | BOOT,
     check_registered},
    {"autoregister-completion", HEALTHZ | LIVEZ | READYZ | BOOT, check_registered},
    {"shutdown", READYZ, check_shutdown},
};

/* Is it one of those that a path asks for? */
static bool applies(size_t i, unsigned where)
{
    struct error err = {0};
    bool any = true;
    if (checks[i].check == check_kms)
        (void)encryption_health(&any, &err);
    return any && (checks[i].where & where) != 0;
}

static bool excluded(struct req *r, const char *name)
{
    struct str rest = r->http->query, key, value, v;
    while (url_query_next(&rest, &key, &value))
        if (str_eqc(key, "exclude") && url_unescape_query(r->arena, value, &v) == 0 &&
            str_eqc(v, name))
            return true;
    return false;
}

/* What a server begins with has its time before it makes it less alive. */
static bool in_grace(const struct apiserver *s)
{
    uint64_t grace_ms = (uint64_t)s->config.serving.livez_grace_ns / 1000000;
    return env_now_ms(s->env) - s->started_ms < grace_ms;
}

static bool run_check(struct req *r, size_t i, const char *title)
{
    bool excused =
        (checks[i].where & BOOT) != 0 && strcmp(title, "livez") == 0 && in_grace(r->server);
    bool ok = excused || checks[i].check(r->server);
    monitor_checked(checks[i].name, title, ok);
    return ok;
}

static void serve_one(struct req *r, unsigned where, const char *title, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (!str_eqc(name, checks[i].name) || !applies(i, where))
            continue;
        if (run_check(r, i, title))
            req_text(r, 200, "text/plain; charset=utf-8", STR("ok"));
        else
            req_text(r, 500, "text/plain; charset=utf-8",
                     arena_printf(r->arena, "internal server error: %s failed\n", checks[i].name));
        return;
    }
    req_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
}

static void serve_all(struct req *r, unsigned where, const char *title)
{
    AUTO_BUF b = BUF_INIT;
    bool good = true;
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (!applies(i, where))
            continue;
        if (excluded(r, checks[i].name)) {
            buf_printf(&b, "[+]%s excluded: ok\n", checks[i].name);
        } else if (run_check(r, i, title)) {
            buf_printf(&b, "[+]%s ok\n", checks[i].name);
        } else {
            buf_printf(&b, "[-]%s failed: reason withheld\n", checks[i].name);
            good = false;
        }
    }
    buf_printf(&b, "%s check %s\n", title, good ? "passed" : "failed");
    if (good && !req_query_has(r, "verbose"))
        req_text(r, 200, "text/plain; charset=utf-8", STR("ok"));
    else
        req_text(r, good ? 200 : 500, "text/plain; charset=utf-8", buf_str(&b));
}

bool health_serve(struct req *r)
{
    static const struct {
        const char *path, *title;
        unsigned where;
    } ends[] = {{"/healthz", "healthz", HEALTHZ},
                {"/livez", "livez", LIVEZ},
                {"/readyz", "readyz", READYZ}};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        struct str p = str_of(ends[i].path);
        if (!str_has_prefix(r->info.path, p))
            continue;
        struct str rest = str_sub(r->info.path, p.len, r->info.path.len);
        if (rest.len <= 1) {
            serve_all(r, ends[i].where, ends[i].title);
            return true;
        }
        if (rest.data[0] != '/')
            continue;
        serve_one(r, ends[i].where, ends[i].title, str_sub(rest, 1, rest.len));
        return true;
    }
    return false;
}

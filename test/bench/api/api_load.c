/* api_load.c - load on API servers over TLS, as client-go makes it: one HTTP/2
 * connection per client, objects of core kinds in protobuf.
 *
 *   api_load --kubeconfigs A[,B,...] --pids P[,Q,...] [options] MODE...
 *
 *   setup      the namespace, its service account, the object that is watched
 *   create     pods --first .. --first + --count - 1 (about 2.2 KB as stored)
 *   get        gets of those pods at random, for --seconds
 *   patch      strategic merge patches of their status (JSON), for --seconds
 *   delete     deletes them all
 *   list-pb, list-json          --lists lists of the whole namespace
 *   list-json-fresh             one pod changes before each list
 *   watch-pb, watch-json        --watchers watches of ConfigMaps while one is updated --updates
 * times
 *   watch-one                   the same in protobuf, but each watches an object of its own and one
 * watches the one that is updated
 *   page-small                  lists of 500 from a random place on, for --seconds
 *
 * create-small, get-small, patch-small, delete-small and list-pb-small do the same to ConfigMaps
 * of some 190 bytes as stored.
 *
 * Modes run in the order given; each prints one line of name=value pairs. CPU is
 * that of the processes in --pids. Exit code 1 when an answer was an error. */
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/client/client.h"
#include "lib/client/kubeconfig.h"
#include "test/bench/load_stats.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define CLIENTS_MAX 1024
#define WATCHERS_MAX 20000
#define WATCHERS_PER_CONN 100
#define SERVERS_MAX 8
#define NAMESPACE "bench"
#define NAME_DIGITS 8
#define NAME_FORMAT "web-7d4b9c6f5-%08lu"
#define NAME_HOLDER "web-7d4b9c6f5-########"
#define PROTOBUF "application/vnd.kubernetes.protobuf"
#define JSON "application/json"

/* About 2.2 KB in protobuf and 3.2 KB in JSON once it is stored, managedFields and all. */
static const char POD[] =
    "{\"metadata\":{\"name\":\"" NAME_HOLDER "\",\"generateName\":\"web-7d4b9c6f5-\","
    "\"namespace\":\"" NAMESPACE
    "\",\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"7d4b9c6f5\"},"
    "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":"
    "\"web-7d4b9c6f5\",\"uid\":\"5a7e2f52-0c1f-4b51-a3f5-b4d5a1c0d111\",\"controller\":true,"
    "\"blockOwnerDeletion\":true}]},"
    "\"spec\":{\"volumes\":[{\"name\":\"config\",\"configMap\":{\"name\":\"web\"}}],"
    "\"containers\":[{\"name\":\"web\",\"image\":\"registry.example.com/shop/web:1.42.0\","
    "\"args\":[\"--listen=:8080\",\"--log=json\"],"
    "\"ports\":[{\"name\":\"http\",\"containerPort\":8080}],"
    "\"env\":[{\"name\":\"REGION\",\"value\":\"eu-1\"},{\"name\":\"POD_NAME\",\"valueFrom\":{"
    "\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}],"
    "\"resources\":{\"limits\":{\"memory\":\"256Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":"
    "\"128Mi\"}},"
    "\"volumeMounts\":[{\"name\":\"config\",\"readOnly\":true,\"mountPath\":\"/etc/web\"}]}]}}";

static const char SMALL[] = "{\"metadata\":{\"name\":\"cm-########\",\"namespace\":\"" NAMESPACE
                            "\"},\"data\":{\"key\":\"value\"}}";

/* What the objects are. */
struct sort {
    const char *resource, *name_format;
};
static const struct sort PODS = {"pods", NAME_FORMAT};
static const struct sort SMALL_ONES = {"configmaps", "cm-%08lu"};

struct options {
    const char *kubeconfigs[SERVERS_MAX];
    size_t server_count;
    const char *pids;
    unsigned clients, watchers;
    unsigned long first, count, lists, updates;
    double seconds;
};

struct worker;
/* How one request of a mode is made; false: there is nothing left to do. */
typedef bool (*next_fn)(struct worker *w, struct client_raw *raw);

struct load {
    struct options o;
    uv_loop_t *loop;
    struct client *clients[CLIENTS_MAX];
    struct buf pod, small; /* Enveloped, with a place for the number in their names. */
    const struct sort *sort;
    /* Of this run. */
    next_fn next;
    unsigned long made, limit;
    uint64_t end_ns, random;
    unsigned busy;
    uint64_t done, failed, bytes;
    struct load_times times;
};

struct worker {
    struct load *load;
    struct client *client;
    uint64_t start_ns;
    char path[256];
    struct buf body;
    unsigned long n;
};

static void complain(const char *what, const struct client_result *r)
{
    static unsigned said;
    if (said++ < 5)
        fprintf(stderr, "api_load: %s: HTTP %d: %s\n", what, r->http_status, r->message);
}

static uint64_t next_random(struct load *l)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return l->random >> 11;
}

/* --- the requests ---------------------------------------------------------------------------- */

static void object_path(struct worker *w, unsigned long n, const char *rest)
{
    char name[64];
    const struct sort *sort = w->load->sort;
    snprintf(name, sizeof(name), sort->name_format, n); /* NOLINT: one of two constants. */
    snprintf(w->path, sizeof(w->path), "/api/v1/namespaces/" NAMESPACE "/%s/%s%s", sort->resource,
             name, rest);
}

static void collection_path(struct worker *w, const char *rest)
{
    snprintf(w->path, sizeof(w->path), "/api/v1/namespaces/" NAMESPACE "/%s%s",
             w->load->sort->resource, rest);
}

/* The name stands more than once in the bytes when defaults copy it; all are set. */
static void set_names(struct buf *body, unsigned long n)
{
    char digits[NAME_DIGITS + 1];
    uint8_t *p = body->data, *end = body->data + body->len;
    snprintf(digits, sizeof(digits), "%08lu", n);
    while ((p = memmem(p, (size_t)(end - p), "########", NAME_DIGITS)) != NULL)
        memcpy(p, digits, NAME_DIGITS);
}

static bool counted(struct worker *w)
{
    struct load *l = w->load;
    if (l->made >= l->limit)
        return false;
    w->n = l->made++;
    return true;
}

static bool timed(struct worker *w)
{
    struct load *l = w->load;
    w->n = next_random(l) % l->o.count;
    return uv_hrtime() < l->end_ns;
}

static bool next_create(struct worker *w, struct client_raw *raw)
{
    if (!counted(w))
        return false;
    buf_clear(&w->body);
    buf_append_str(&w->body, buf_str(w->load->sort == &PODS ? &w->load->pod : &w->load->small));
    set_names(&w->body, w->load->o.first + w->n);
    collection_path(w, "");
    raw->method = "POST";
    raw->body = buf_str(&w->body);
    raw->content_type = PROTOBUF;
    return true;
}

static bool next_get(struct worker *w, struct client_raw *raw)
{
    if (!timed(w))
        return false;
    object_path(w, w->load->o.first + w->n, "");
    raw->method = "GET";
    return true;
}

static void status_patch(struct worker *w, struct client_raw *raw)
{
    buf_clear(&w->body);
    buf_printf(&w->body,
               "{\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"Ready\"}],\"conditions\":"
               "[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":"
               "\"2026-01-01T00:%02u:%02uZ\"}],\"phase\":\"Running\",\"hostIP\":\"10.0.0.17\","
               "\"podIP\":\"10.244.%u.%u\",\"startTime\":\"2026-01-01T00:00:00Z\"}}",
               (unsigned)(next_random(w->load) % 60), (unsigned)(next_random(w->load) % 60),
               (unsigned)(next_random(w->load) % 250), (unsigned)(next_random(w->load) % 250));
    object_path(w, w->load->o.first + w->n, "/status");
    raw->method = "PATCH";
    raw->body = buf_str(&w->body);
    raw->content_type = CLIENT_PATCH_STRATEGIC;
}

static void data_patch(struct worker *w, struct client_raw *raw)
{
    buf_clear(&w->body);
    buf_printf(&w->body, "{\"data\":{\"key\":\"%05u\"}}",
               (unsigned)(next_random(w->load) % 100000));
    object_path(w, w->load->o.first + w->n, "");
    raw->method = "PATCH";
    raw->body = buf_str(&w->body);
    raw->content_type = CLIENT_PATCH_MERGE;
}

static bool next_patch(struct worker *w, struct client_raw *raw)
{
    if (!timed(w))
        return false;
    if (w->load->sort == &PODS)
        status_patch(w, raw);
    else
        data_patch(w, raw);
    return true;
}

static bool next_delete(struct worker *w, struct client_raw *raw)
{
    if (!counted(w))
        return false;
    object_path(w, w->load->o.first + w->n, "");
    raw->method = "DELETE";
    return true;
}

static bool next_list(struct worker *w, struct client_raw *raw)
{
    if (!counted(w))
        return false;
    collection_path(w, "");
    raw->method = "GET";
    return true;
}

/* A page as of now, from behind some object. */
static bool next_page(struct worker *w, struct client_raw *raw)
{
    char token[128];
    AUTO_BUF text = BUF_INIT;
    if (!timed(w))
        return false;
    char name[64];
    snprintf(name, sizeof(name), w->load->sort->name_format, w->n); /* NOLINT: as above. */
    buf_printf(&text, "{\"v\":\"meta.k8s.io/v1\",\"rv\":-1,\"start\":\"%s\\u0000\"}", name);
    size_t n = base64_len(BASE64_RAW_URL, text.len);
    base64_encode_to(BASE64_RAW_URL, text.data, text.len, token);
    token[n] = '\0';
    snprintf(w->path, sizeof(w->path), "/api/v1/namespaces/" NAMESPACE "/%s?limit=500&continue=%s",
             w->load->sort->resource, token);
    raw->method = "GET";
    return true;
}

/* --- running them ---------------------------------------------------------------------------- */

static const char *accept_now = PROTOBUF;

static void on_piece(struct client_request *r, struct str piece, void *arg)
{
    struct worker *w = arg;
    (void)r;
    w->load->bytes += piece.len;
}

static void worker_go(struct worker *w);

static void on_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct worker *w = arg;
    struct load *l = w->load;
    (void)r;
    if (result->code == 0) {
        l->done++;
        load_times_add(&l->times, uv_hrtime() - w->start_ns);
    } else {
        l->failed++;
        complain(w->path, result);
    }
    worker_go(w);
}

static void start(struct worker *w, struct client_raw *raw)
{
    struct error err;
    raw->path = str_of(w->path);
    raw->accept = accept_now;
    raw->on_data = on_piece;
    raw->done = on_done;
    raw->arg = w;
    if (client_raw_start(w->client, raw, NULL, &err) != 0) {
        fprintf(stderr, "api_load: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
}

static void worker_go(struct worker *w)
{
    struct client_raw raw = {.method = NULL};
    w->start_ns = uv_hrtime();
    if (w->load->next(w, &raw)) {
        start(w, &raw);
        return;
    }
    buf_done(&w->body);
    w->load->busy--;
    free(w);
}

static void drive(struct load *l, next_fn next, unsigned clients, unsigned long limit)
{
    l->next = next;
    l->made = 0;
    l->limit = limit;
    l->end_ns = uv_hrtime() + (uint64_t)(l->o.seconds * 1e9);
    for (unsigned i = 0; i < clients; i++) {
        struct worker *w = xzalloc(sizeof(*w));
        w->load = l;
        w->client = l->clients[i];
        l->busy++;
        worker_go(w);
    }
    while (l->busy > 0)
        uv_run(l->loop, UV_RUN_ONCE);
}

static void forget(struct load *l)
{
    load_times_done(&l->times);
    l->times = (struct load_times){0};
    l->done = l->bytes = 0;
}

static void report(struct load *l, const char *mode, double seconds, double cpu_s)
{
    struct load_usage now = load_usage_of(l->o.pids);
    double done = (double)MAX_OF(l->done, (uint64_t)1);
    printf("mode=%s ops=%lu errors=%lu rate=%.0f p50_ms=%.2f p99_ms=%.2f cpu_us_per_op=%.1f "
           "kb_per_op=%.1f rss_max_mb=%.1f\n",
           mode, (unsigned long)l->done, (unsigned long)l->failed, (double)l->done / seconds,
           load_times_ms(&l->times, 500), load_times_ms(&l->times, 990), cpu_s * 1e6 / done,
           (double)l->bytes / 1e3 / done, (double)now.rss_max_kib / 1024);
    fflush(stdout);
    forget(l);
}

static void measure(struct load *l, const char *mode, next_fn next, unsigned clients,
                    unsigned long limit)
{
    double before = load_usage_of(l->o.pids).cpu_s;
    uint64_t from = uv_hrtime();
    drive(l, next, clients, limit);
    double seconds = (double)(uv_hrtime() - from) / 1e9;
    report(l, mode, seconds, load_usage_of(l->o.pids).cpu_s - before);
}

/* --- lists ----------------------------------------------------------------------------------- */

static bool next_touch(struct worker *w, struct client_raw *raw)
{
    if (!counted(w))
        return false;
    status_patch(w, raw);
    return true;
}

/* CPU of the lists alone: the changes between them are not counted. */
static void lists_after_changes(struct load *l)
{
    double cpu = 0, seconds = 0;
    for (unsigned long i = 0; i < l->o.lists; i++) {
        struct load_times kept = l->times;
        uint64_t done = l->done, bytes = l->bytes;
        l->times = (struct load_times){0};
        drive(l, next_touch, 1, 1);
        load_times_done(&l->times);
        l->times = kept;
        l->done = done;
        l->bytes = bytes;
        double before = load_usage_of(l->o.pids).cpu_s;
        uint64_t from = uv_hrtime();
        drive(l, next_list, 1, 1);
        seconds += (double)(uv_hrtime() - from) / 1e9;
        cpu += load_usage_of(l->o.pids).cpu_s - before;
    }
    report(l, "list-json-fresh", seconds, cpu);
}

/* --- watches --------------------------------------------------------------------------------- */

struct watching {
    struct load *load;
    uint64_t events, bytes;
};

static struct watching watching;

/* Events in JSON end with the one newline that they hold. */
static void on_watch_piece(struct client_request *r, struct str piece, void *arg)
{
    (void)r;
    (void)arg;
    watching.bytes += piece.len;
    for (size_t i = 0; i < piece.len; i++)
        watching.events += piece.data[i] == '\n';
}

static void on_watch_done(struct client_request *r, const struct client_result *result, void *arg)
{
    (void)r;
    (void)arg;
    complain("watch", result);
    watching.load->failed++;
}

static bool next_update(struct worker *w, struct client_raw *raw)
{
    if (!counted(w))
        return false;
    buf_clear(&w->body);
    buf_printf(&w->body, "{\"data\":{\"n\":\"%lu-%u\"}}", w->n,
               (unsigned)(next_random(w->load) % 1000000));
    snprintf(w->path, sizeof(w->path),
             "/api/v1/namespaces/" NAMESPACE "/configmaps/watched?fieldManager=bench");
    raw->method = "PATCH";
    raw->body = buf_str(&w->body);
    raw->content_type = CLIENT_PATCH_MERGE;
    return true;
}

static void settle(struct load *l, unsigned ms)
{
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000u;
    while (uv_hrtime() < end) {
        uv_run(l->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

/* Waits until nothing has come for a while. */
static void drain(struct load *l)
{
    for (uint64_t last = UINT64_MAX; last != watching.bytes;) {
        last = watching.bytes;
        settle(l, 300);
    }
}

static struct client *connect_client(struct load *l, size_t i);

/* Watches begin where the object that is watched is now: no initial state, however large. */
static char watch_rev[32];

static void on_rev_piece(struct client_request *r, struct str piece, void *arg)
{
    static const char key[] = "\"resourceVersion\":\"";
    (void)r;
    (void)arg;
    const char *at = memmem(piece.data, piece.len, key, sizeof(key) - 1);
    if (at != NULL)
        snprintf(watch_rev, sizeof(watch_rev), "%.*s",
                 (int)strspn(at + sizeof(key) - 1, "0123456789"), at + sizeof(key) - 1);
}

static void on_rev_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct load *l = arg;
    (void)r;
    if (result->code != 0)
        complain("watched", result);
    l->busy--;
}

static void find_rev(struct load *l)
{
    struct client_raw raw = {.method = "GET",
                             .path = STR("/api/v1/namespaces/" NAMESPACE "/configmaps/watched"),
                             .accept = JSON,
                             .on_data = on_rev_piece,
                             .done = on_rev_done,
                             .arg = l};
    l->busy++;
    if (client_raw_start(l->clients[0], &raw, NULL, NULL) != 0)
        exit(EXIT_FAILURE);
    while (l->busy > 0)
        uv_run(l->loop, UV_RUN_ONCE);
}

static void watch_mode(struct load *l, const char *mode, const char *accept, bool one)
{
    unsigned conns = (l->o.watchers + WATCHERS_PER_CONN - 1) / WATCHERS_PER_CONN;
    struct client **clients = xzalloc(conns * sizeof(struct client *));
    struct client_raw raw = {.accept = accept,
                             .timeout_ms = UINT32_MAX,
                             .on_data = on_watch_piece,
                             .done = on_watch_done};
    watching = (struct watching){.load = l};
    find_rev(l);
    for (unsigned i = 0; i < conns; i++)
        clients[i] = connect_client(l, i);
    uint64_t rss = load_usage_of(l->o.pids).rss_kib;
    for (unsigned i = 0; i < l->o.watchers; i++) {
        char path[256], name[64] = "watched";
        if (i != 0)
            snprintf(name, sizeof(name), SMALL_ONES.name_format, (unsigned long)i);
        snprintf(path, sizeof(path),
                 "/api/v1/namespaces/" NAMESPACE "/configmaps?watch=true&resourceVersion=%s%s%s",
                 watch_rev, one ? "&fieldSelector=metadata.name%3D" : "", one ? name : "");
        raw.path = str_of(path);
        if (client_raw_start(clients[i / WATCHERS_PER_CONN], &raw, NULL, NULL) != 0)
            exit(EXIT_FAILURE);
    }
    drain(l);
    drain(l);
    printf("watchers=%u kb_per_watcher=%.2f\n", l->o.watchers,
           (double)(int64_t)(load_usage_of(l->o.pids).rss_kib - rss) / l->o.watchers);
    watching.bytes = watching.events = 0;
    double before = load_usage_of(l->o.pids).cpu_s;
    uint64_t from = uv_hrtime();
    drive(l, next_update, 1, l->o.updates);
    drain(l);
    double cpu = load_usage_of(l->o.pids).cpu_s - before;
    double seconds = (double)(uv_hrtime() - from) / 1e9 - 0.3;
    /* Every watcher gets the same bytes: of protobuf, where events are not told apart here, that
     * their sum can be divided. */
    uint64_t seeing = one ? 1 : l->o.watchers, expected = seeing * l->o.updates;
    bool json = strcmp(accept, JSON) == 0;
    if (watching.bytes == 0 || watching.bytes % seeing != 0 ||
        (json && watching.events != expected)) {
        fprintf(stderr, "api_load: %s: %lu events came, %lu were wanted\n", mode,
                (unsigned long)watching.events, (unsigned long)expected);
        l->failed++;
    }
    l->bytes = watching.bytes;
    report(l, mode, seconds, cpu);
    for (unsigned i = 0; i < conns; i++)
        client_close(clients[i], NULL, NULL);
    free(clients);
}

/* --- setting up ------------------------------------------------------------------------------ */

static struct client *connect_client(struct load *l, size_t i)
{
    struct kubeconfig *k;
    struct client *c;
    struct error err;
    struct client_options options = {.user_agent = "api-load/1"};
    if (kubeconfig_load(l->o.kubeconfigs[i % l->o.server_count], NULL, &k, &err) != 0 ||
        client_new(l->loop, k, &options, &c, &err) != 0) {
        fprintf(stderr, "api_load: %s\n", error_message(&err));
        exit(EXIT_FAILURE);
    }
    return c;
}

static const char *const SETUP[][2] = {
    {"/api/v1/namespaces", "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
                           "\"" NAMESPACE "\"}}"},
    {"/api/v1/namespaces/" NAMESPACE "/serviceaccounts",
     "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"default\"},"
     "\"automountServiceAccountToken\":false}"},
    {"/api/v1/namespaces/" NAMESPACE "/configmaps",
     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"watched\"},\"data\":{"
     "\"text\":\"something like five hundred bytes are what a small object takes, and this text is "
     "there to make that many of them: it says nothing and goes on for a while, so that the cost "
     "of encoding, compressing, encrypting and copying an event is that of an ordinary one and not "
     "that of an empty one, which would flatter whoever is measured\"}}"},
};

static bool next_setup(struct worker *w, struct client_raw *raw)
{
    if (!counted(w))
        return false;
    snprintf(w->path, sizeof(w->path), "%s", SETUP[w->n][0]);
    raw->method = "POST";
    raw->body = str_of(SETUP[w->n][1]);
    raw->content_type = JSON;
    return true;
}

static void make_body(const struct api_msg *msg, const char *kind, const char *json,
                      struct buf *ret)
{
    AUTO_ARENA *a = arena_new(0);
    void *object = api_msg_new(a, msg);
    struct error err;
    if (api_json_decode(a, msg, str_of(json), API_STRICT, NULL, object, &err) != 0) {
        fprintf(stderr, "api_load: the %s: %s\n", kind, error_message(&err));
        exit(EXIT_FAILURE);
    }
    api_envelope_encode(msg, object, STR("v1"), str_of(kind), ret);
}

static bool run_mode(struct load *l, const char *mode)
{
    char verb[32];
    const char *suffix = strstr(mode, "-small");
    accept_now = PROTOBUF;
    l->sort = suffix != NULL ? &SMALL_ONES : &PODS;
    snprintf(verb, sizeof(verb), "%.*s", (int)(suffix != NULL ? suffix - mode : 31), mode);
    if (strcmp(mode, "setup") == 0)
        drive(l, next_setup, 1, ARRAY_SIZE(SETUP));
    else if (strcmp(verb, "create") == 0)
        measure(l, mode, next_create, l->o.clients, l->o.count);
    else if (strcmp(verb, "get") == 0)
        measure(l, mode, next_get, l->o.clients, 0);
    else if (strcmp(verb, "patch") == 0)
        measure(l, mode, next_patch, l->o.clients, 0);
    else if (strcmp(verb, "delete") == 0)
        measure(l, mode, next_delete, l->o.clients, l->o.count);
    else if (strcmp(verb, "list-pb") == 0)
        measure(l, mode, next_list, 1, l->o.lists);
    else if (strcmp(mode, "watch-pb") == 0)
        watch_mode(l, mode, PROTOBUF ";stream=watch", false);
    else if (strcmp(mode, "watch-one") == 0)
        watch_mode(l, mode, PROTOBUF ";stream=watch", true);
    else if (strcmp(verb, "page") == 0)
        measure(l, mode, next_page, 1, 0);
    else {
        accept_now = JSON;
        if (strcmp(mode, "list-json") == 0) {
            drive(l, next_list, 1, 1); /* "Nothing changed since the last": this is the last. */
            forget(l);
            measure(l, mode, next_list, 1, l->o.lists);
        } else if (strcmp(mode, "list-json-fresh") == 0)
            lists_after_changes(l);
        else if (strcmp(mode, "watch-json") == 0)
            watch_mode(l, mode, JSON, false);
        else
            return false;
    }
    return true;
}

static void split(const char *text, const char **ret, size_t *count)
{
    char *copy = xstrdup(text);
    for (char *p = strtok(copy, ","); p != NULL && *count < SERVERS_MAX; p = strtok(NULL, ","))
        ret[(*count)++] = p;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"kubeconfigs", 1, NULL, 'k'}, {"pids", 1, NULL, 'p'},
                                          {"clients", 1, NULL, 'c'},     {"first", 1, NULL, 'f'},
                                          {"count", 1, NULL, 'n'},       {"seconds", 1, NULL, 's'},
                                          {"lists", 1, NULL, 'l'},       {"updates", 1, NULL, 'u'},
                                          {"watchers", 1, NULL, 'w'},    {0}};
    static struct load l = {.random = 88172645463325252u, .pod = BUF_INIT, .small = BUF_INIT};
    int c;
    l.o = (struct options){.pids = "",
                           .clients = 32,
                           .watchers = 100,
                           .count = 5000,
                           .lists = 60,
                           .updates = 200,
                           .seconds = 4};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        unsigned long n = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'k':
            split(optarg, l.o.kubeconfigs, &l.o.server_count);
            break;
        case 'p':
            l.o.pids = optarg;
            break;
        case 'c':
            l.o.clients = (unsigned)n;
            break;
        case 'f':
            l.o.first = n;
            break;
        case 'n':
            l.o.count = n;
            break;
        case 's':
            l.o.seconds = strtod(optarg, NULL);
            break;
        case 'l':
            l.o.lists = n;
            break;
        case 'u':
            l.o.updates = n;
            break;
        case 'w':
            l.o.watchers = (unsigned)n;
            break;
        default:
            return 2;
        }
    }
    if (l.o.server_count == 0 || l.o.clients == 0 || l.o.clients > CLIENTS_MAX || l.o.count == 0 ||
        l.o.watchers == 0 || l.o.watchers > WATCHERS_MAX || optind == argc) {
        fprintf(stderr,
                "usage: api_load --kubeconfigs A[,B...] [--pids P,...] [options] MODE...\n");
        return 2;
    }
    l.loop = uv_default_loop();
    make_body(&core_v1_pod_msg, "Pod", POD, &l.pod);
    make_body(&core_v1_config_map_msg, "ConfigMap", SMALL, &l.small);
    for (unsigned i = 0; i < l.o.clients; i++)
        l.clients[i] = connect_client(&l, i);
    for (; optind < argc; optind++)
        if (!run_mode(&l, argv[optind])) {
            fprintf(stderr, "api_load: unknown mode %s\n", argv[optind]);
            return 2;
        }
    return l.failed == 0 ? 0 : 1;
}

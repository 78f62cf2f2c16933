/* openapi_serve.c - /openapi/v2 and /openapi/v3.
 *
 * A document is written when somebody asks for it, on a thread that lives as
 * long as there is work, and kept gzipped: that is what clients take anyway.
 * The index of v3 needs the hash of every document, so its first reader causes
 * all of them to be written once; only those that are asked for are kept.
 *
 *   request -> kept already, and gzip will do: answer
 *           \-> task -> builder thread -> mail -> answer, on the request's loop */
#include "apiserver/openapi.h"

#include "apiserver/aggregation/documents.h"
#include "apiserver/apiserver.h"
#include "apiserver/content.h"
#include "apiserver/discovery.h"
#include "apiserver/openapi_merge.h"
#include "apiserver/request.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/pki.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#define V3_PREFIX "/openapi/v3/"
#define GZIP_LEVEL 6
#define DOCUMENT_BYTES_MAX (256u << 20)
#define YEAR_S (365 * 24 * 3600)

enum form { FORM_JSON, FORM_PROTOBUF, FORM_COUNT };

struct document {
    struct str name;                      /* "api/v1"; empty: v2. Owned. */
    struct net_bytes *packed[FORM_COUNT]; /* NULL until asked for. */
    char hash[65];                        /* Of the JSON; "" until known. */
    uint64_t v2_serial;                   /* v2: of the other servers' documents in it. */
    time_t made;
};

/* The documents of one state of the sources. All but the constant members is
 * guarded by the lock; only the builder thread writes it. */
struct document_set {
    atomic_uint refs;
    struct openapi_sources sources; /* Constant. */
    void (*release)(struct openapi_sources *s);
    struct document *documents; /* [0] is v2. Constant but for what stands in them. */
    size_t count;
    struct map by_name;
    struct net_bytes *index; /* JSON, as it is; NULL until asked for. */
    uint64_t index_serial;   /* Of the other servers' documents in it. */
    char index_hash[65];
    time_t made; /* The index. */
};

/* One request that waits; lives in its arena. */
struct task {
    struct mail mail;
    struct list link;
    struct req *r;
    struct document_set *set;  /* Counted. */
    struct document *document; /* NULL: the index. */
    enum form form;
    bool wants_plain;        /* The client takes no gzip. */
    time_t made;             /* What is answered. */
    struct net_bytes *plain; /* Inflated for it, by the builder thread: it takes some ms. */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct document_set *current;
static struct list tasks;
static struct openapi_sources built_in; /* Constant from the start. */
static bool building;                   /* The thread is there and looks at the tasks again. */

/* --- sets ----------------------------------------------------------------------------------------
 */
static void set_unref(struct document_set *set)
{
    if (atomic_fetch_sub(&set->refs, 1) != 1)
        return;
    for (size_t i = 0; i < set->count; i++) {
        for (size_t f = 0; f < FORM_COUNT; f++)
            net_bytes_unref(set->documents[i].packed[f]);
        free((char *)(uintptr_t)set->documents[i].name.data);
    }
    net_bytes_unref(set->index);
    map_done(&set->by_name);
    free(set->documents);
    if (set->release != NULL)
        set->release(&set->sources);
    free(set);
}

static void add_document(struct str name, void *arg)
{
    struct document_set *set = arg;
    set->documents = xrealloc(set->documents, sizeof(*set->documents) * (set->count + 1));
    struct document *d = &set->documents[set->count++];
    *d =
        (struct document){.name = {xasprintf(STR_FMT, STR_ARG(name)), name.len}, .made = set->made};
}

static const struct openapi_group_version *find_source(const struct openapi_sources *s,
                                                       const struct openapi_group_version *gv)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->versions[i].group, gv->group) == 0 &&
            strcmp(s->versions[i].version, gv->version) == 0)
            return &s->versions[i];
    return NULL;
}

/* Under the lock. What has not changed need not be written again. */
static void keep_documents(struct document_set *set, const struct document_set *old)
{
    char name[512];
    for (size_t i = 0; i < set->sources.count; i++) {
        const struct openapi_group_version *gv = &set->sources.versions[i],
                                           *was = find_source(&old->sources, gv);
        if (was == NULL || was->resources != gv->resources || was->count != gv->count)
            continue;
        snprintf(name, sizeof(name), "%s%s/%s", gv->group[0] == '\0' ? "api" : "apis/", gv->group,
                 gv->version);
        struct document *to = map_get(&set->by_name, str_of(name));
        const struct document *from = map_get(&old->by_name, str_of(name));
        ASSERT(to != NULL && from != NULL);
        memcpy(to->hash, from->hash, sizeof(to->hash));
        to->made = from->made;
        for (size_t f = 0; f < FORM_COUNT; f++)
            to->packed[f] = from->packed[f] != NULL ? net_bytes_ref(from->packed[f]) : NULL;
    }
}

void openapi_publish(const struct openapi_sources *s, void (*release)(struct openapi_sources *s))
{
    struct document_set *set = xzalloc(sizeof(*set));
    atomic_init(&set->refs, 1);
    set->sources = *s;
    set->release = release;
    set->made = time(NULL);
    map_init(&set->by_name);
    add_document(STR_NULL, set);
    openapi_v3_names(s, add_document, set);
    for (size_t i = 0; i < set->count; i++)
        map_set(&set->by_name, set->documents[i].name, &set->documents[i]);
    pthread_mutex_lock(&lock);
    struct document_set *old = current;
    if (old != NULL)
        keep_documents(set, old);
    current = set;
    pthread_mutex_unlock(&lock);
    if (old != NULL)
        set_unref(old);
}

static size_t fill_resources(struct openapi_resource *list, const char *group, const char *version)
{
    size_t n = 0, pos = 0;
    const struct resource *r;
    while ((r = registry_next(str_of(group), str_of(version), &pos)) != NULL) {
        /* A namespace stays for a while and is the answer, but upstream's document says Status. */
        bool object = (r->ops->flags & KIND_RETURN_DELETED) != 0 &&
                      strcmp(r->kind->resource, "namespaces") != 0;
        list[n++] = (struct openapi_resource){.kind = r->kind, .returns_deleted = object};
    }
    return n;
}

/* The built-in kinds: for ever. */
void openapi_init(void)
{
    size_t groups, n = 0;
    const struct registry_group *g = registry_groups(&groups);
    struct openapi_resource *list = xzalloc(sizeof(*list) * registry_count());
    struct openapi_group_version *versions =
        xzalloc(sizeof(*versions) * (ARRAY_SIZE(g->versions) * groups + 1));
    list_init(&tasks);
    versions[n++] = (struct openapi_group_version){"", "v1", list, fill_resources(list, "", "v1")};
    for (size_t i = 0; i < groups; i++)
        for (size_t j = 0; g[i].versions[j] != NULL; j++) {
            list += versions[n - 1].count;
            versions[n++] =
                (struct openapi_group_version){g[i].name, g[i].versions[j], list,
                                               fill_resources(list, g[i].name, g[i].versions[j])};
        }
    built_in = (struct openapi_sources){versions, n};
    openapi_publish(&built_in, NULL);
}

const struct openapi_sources *openapi_built_in(void)
{
    return &built_in;
}

/* --- building: on the builder thread
 * ----------------------------------------------------------------- */
/* v2 with what other servers have in it. */
static void write_joined(const struct document_set *set, const struct aggregated_v2 *others,
                         size_t count, enum form form, struct buf *out)
{
    struct error err = {0};
    struct openapi_merge *m = openapi_merge_new();
    openapi_v2_items(&set->sources, m);
    for (size_t i = 0; i < count; i++)
        if (openapi_merge_add(m, others[i].text, others[i].prefix, &err) != 0)
            log_warning("OpenAPI v2 of " STR_FMT ": %s", STR_ARG(others[i].name),
                        error_message(&err));
    openapi_merge_write(m, form == FORM_PROTOBUF, out);
    openapi_merge_free(m);
}

static void write_document(const struct document_set *set, const struct document *d, enum form form,
                           struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    size_t count = 0;
    uint64_t serial;
    struct aggregated_v2 *others = NULL;
    if (d->name.len == 0 && d->v2_serial != 0)
        others = aggregated_documents_v2(a, &count, &serial);
    if (count != 0)
        write_joined(set, others, count, form, out);
    else if (d->name.len == 0)
        openapi_v2_document(&set->sources, form == FORM_PROTOBUF, out);
    else if (!openapi_v3_document(&set->sources, d->name, form == FORM_PROTOBUF, out))
        PANIC("no document " STR_FMT, STR_ARG(d->name));
}

static void hash_text(const struct buf *b, char ret[65])
{
    uint8_t sum[32];
    net_sha256(b->data, b->len, sum);
    hex_encode_to(sum, sizeof(sum), ret);
    for (size_t i = 0; i < 64; i++)
        if (ret[i] >= 'a')
            ret[i] = (char)(ret[i] - 'a' + 'A');
    ret[64] = '\0';
}

static struct net_bytes *pack(const struct buf *b)
{
    struct net_bytes *packed = http_gzip(b->data, b->len, GZIP_LEVEL);
    if (packed == NULL)
        PANIC("no memory for an OpenAPI document");
    return packed;
}

/* All forms of v2 that are kept or wanted, anew, when others' documents have changed. */
static void rebuild_v2(struct document_set *set, struct document *d, enum form form)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF out = BUF_INIT;
    size_t count;
    uint64_t serial;
    char hash[65];
    struct net_bytes *packed[FORM_COUNT] = {NULL};
    struct aggregated_v2 *others = aggregated_documents_v2(a, &count, &serial);
    if (d->v2_serial == serial) /* Nobody else writes it. */
        return;
    for (enum form f = FORM_JSON; f < FORM_COUNT; f++) {
        if (f != FORM_JSON && f != form && d->packed[f] == NULL)
            continue;
        buf_clear(&out);
        write_joined(set, others, count, f, &out);
        if (f == FORM_JSON)
            hash_text(&out, hash);
        packed[f] = pack(&out);
    }
    pthread_mutex_lock(&lock);
    d->v2_serial = serial;
    d->made = strcmp(d->hash, hash) != 0 ? time(NULL) : d->made;
    memcpy(d->hash, hash, sizeof(d->hash));
    for (enum form f = FORM_JSON; f < FORM_COUNT; f++) {
        net_bytes_unref(d->packed[f]);
        d->packed[f] = packed[f];
    }
    pthread_mutex_unlock(&lock);
}

/* The hash, and the document in that form if keep is set, unless they are there. */
static void build_document(struct document_set *set, struct document *d, enum form form, bool keep)
{
    AUTO_BUF out = BUF_INIT;
    char hash[65] = "";
    struct net_bytes *packed = NULL;
    if (d->name.len == 0 && aggregated_documents_v2_serial() != 0)
        rebuild_v2(set, d, form);
    pthread_mutex_lock(&lock);
    bool hashed = d->hash[0] != '\0', kept = !keep || d->packed[form] != NULL;
    pthread_mutex_unlock(&lock);
    if (!hashed) {
        write_document(set, d, FORM_JSON, &out);
        hash_text(&out, hash);
    }
    if (!kept) {
        if (hashed || form != FORM_JSON) {
            buf_clear(&out);
            write_document(set, d, form, &out);
        }
        packed = pack(&out);
    }
    pthread_mutex_lock(&lock);
    if (!hashed)
        memcpy(d->hash, hash, sizeof(d->hash));
    if (!kept)
        d->packed[form] = packed;
    pthread_mutex_unlock(&lock);
}

struct index_entry {
    struct str name, url;
};

struct index_list {
    struct arena *arena;
    struct index_entry *items;
    size_t count, cap;
};

static void add_to_index(struct str name, struct str url, void *arg)
{
    struct index_list *l = arg;
    l->items = arena_grow(l->arena, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] =
        (struct index_entry){arena_str(l->arena, name), arena_str(l->arena, url)};
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct index_entry *)x)->name, ((const struct index_entry *)y)->name);
}

/* Our documents, and those of the servers behind APIServices. */
static void build_index(struct document_set *set)
{
    AUTO_ARENA *a = arena_new(0);
    struct index_list l = {.arena = a};
    struct buf b = BUF_INIT;
    char hash[65];
    uint64_t serial = aggregated_documents_serial();
    if (set->index != NULL && set->index_serial == serial) /* Nobody else writes it. */
        return;
    for (size_t i = 1; i < set->count; i++) {
        struct document *d = &set->documents[i];
        build_document(set, d, FORM_JSON, false);
        add_to_index(d->name,
                     arena_printf(a, V3_PREFIX STR_FMT "?hash=%s", STR_ARG(d->name), d->hash), &l);
    }
    aggregated_documents_openapi(add_to_index, &l);
    qsort(l.items, l.count, sizeof(*l.items), by_name);
    buf_puts(&b, "{\"paths\":{");
    for (size_t i = 0; i < l.count; i++) {
        if (i != 0 && str_eq(l.items[i].name, l.items[i - 1].name))
            continue;
        buf_puts(&b, i == 0 ? "" : ",");
        json_write_string(l.items[i].name, &b);
        buf_puts(&b, ":{\"serverRelativeURL\":");
        json_write_string(l.items[i].url, &b);
        buf_putc(&b, '}');
    }
    buf_puts(&b, "}}\n");
    hash_text(&b, hash);
    pthread_mutex_lock(&lock);
    memcpy(set->index_hash, hash, sizeof(hash));
    net_bytes_unref(set->index);
    set->index = net_bytes_steal(&b);
    set->index_serial = serial;
    pthread_mutex_unlock(&lock);
}

static void inflate_document(struct task *t)
{
    pthread_mutex_lock(&lock);
    struct net_bytes *packed = net_bytes_ref(t->document->packed[t->form]);
    pthread_mutex_unlock(&lock);
    if (http_gunzip(packed->data, packed->len, DOCUMENT_BYTES_MAX, &t->plain) != 0)
        PANIC("a kept document does not inflate");
    net_bytes_unref(packed);
}

static void *builder_main(void *arg)
{
    UNUSED(arg);
    for (;;) {
        pthread_mutex_lock(&lock);
        struct list *link = list_pop_front(&tasks);
        building = link != NULL;
        pthread_mutex_unlock(&lock);
        if (link == NULL)
            break;
        struct task *t = LIST_ENTRY(link, struct task, link);
        if (t->document == NULL)
            build_index(t->set);
        else
            build_document(t->set, t->document, t->form, true);
        if (t->wants_plain)
            inflate_document(t);
        mailbox_post(&t->r->thread->mailbox, &t->mail);
    }
    malloc_trim(0); /* Writing took some MB, and is over. */
    return NULL;
}

/* --- answers
 * ------------------------------------------------------------------------------------------ */
static const char *const types[2][4] = {
    {TYPE_JSON, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
     "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", NULL},
    {TYPE_JSON, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
     "application/com.github.proto-openapi.spec.v3.v1.0+protobuf", NULL},
};

/* '@' is no character of a media type: answers are named without it, since Go's
 * parser refuses them else. */
static const char *content_type(const struct task *t)
{
    if (t->form == FORM_JSON)
        return TYPE_JSON;
    return types[t->document->name.len == 0 ? OPENAPI_V2 : OPENAPI_V3][2];
}

static void http_time(time_t at, char ret[32])
{
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(ret, 32, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/* As req_headers(), but for what may be cached. */
static void answer_headers(struct req *r, const char *cache_control)
{
    char audit[37];
    env_uuid(r->server->env, audit);
    http_response_header(r->http, "Audit-Id", audit);
    http_response_header(r->http, "Cache-Control", cache_control);
}

static void answer_empty(struct req *r, int status)
{
    req_headers(r, NULL);
    req_done(r, status);
    http_respond(r->http, status, STR_NULL);
}

/* Does the client have it already? */
static bool not_modified(const struct task *t, struct str etag)
{
    struct str match = http_request_header(t->r->http, "if-none-match");
    struct str since = http_request_header(t->r->http, "if-modified-since");
    struct tm tm = {0};
    if (match.len != 0)
        return str_eqc(str_trim(match), "*") || str_find_str(match, etag) >= 0;
    return since.len != 0 && strptime(str_c(since), "%a, %d %b %Y %H:%M:%S GMT", &tm) != NULL &&
           timegm(&tm) >= t->made;
}

static void answer_bytes(struct task *t, struct net_bytes *bytes, const char *cache_control)
{
    struct req *r = t->r;
    answer_headers(r, cache_control);
    req_done(r, 200);
    if (t->document == NULL) {
        http_respond_typed(r->http, 200, TYPE_JSON, bytes);
        return;
    }
    http_response_header(r->http, "Content-Type", content_type(t));
    if (!t->wants_plain)
        http_response_header(r->http, "Content-Encoding", "gzip");
    http_respond_bytes(r->http, 200, t->wants_plain ? t->plain : bytes);
}

/* The document is there. Its hash in the URL makes it immutable, another one is
 * that of a document that has gone. */
static void answer(struct task *t, struct net_bytes *bytes, const char *hash)
{
    struct req *r = t->r;
    struct str wanted = req_query(r, "hash");
    struct str etag = arena_printf(r->arena, "\"%s\"", hash);
    bool v3 = t->document != NULL && t->document->name.len != 0;
    const char *cache_control = "no-cache, private";
    char date[32];
    if (t->document != NULL)
        http_response_header(r->http, "Vary", "Accept, Accept-Encoding");
    http_response_header_str(r->http, STR("ETag"), etag);
    if (v3 && wanted.len != 0 && !str_eqc(wanted, hash)) {
        struct str url =
            arena_printf(r->arena, V3_PREFIX STR_FMT "?hash=%s", STR_ARG(t->document->name), hash);
        http_response_header_str(r->http, STR("Location"), url);
        answer_empty(r, 301);
        return;
    }
    if (v3 && wanted.len != 0) {
        http_time(time(NULL) + YEAR_S, date);
        http_response_header(r->http, "Expires", date);
        cache_control = "public, immutable";
    }
    http_time(t->made, date);
    http_response_header(r->http, "Last-Modified", date);
    if (not_modified(t, etag)) {
        answer_headers(r, cache_control);
        req_done(r, 304);
        http_respond(r->http, 304, STR_NULL);
        return;
    }
    answer_bytes(t, bytes, cache_control);
}

/* True when all that the task wants is there; fresh: and nothing newer is to be had. */
static bool ready(struct task *t, bool fresh, struct net_bytes **ret_bytes, char ret_hash[65])
{
    pthread_mutex_lock(&lock);
    struct net_bytes *b = t->document == NULL ? t->set->index : t->document->packed[t->form];
    if (fresh && t->document == NULL && t->set->index_serial != aggregated_documents_serial())
        b = NULL;
    if (fresh && t->document != NULL && t->document->name.len == 0 &&
        t->document->v2_serial != aggregated_documents_v2_serial())
        b = NULL;
    if (b != NULL) {
        *ret_bytes = net_bytes_ref(b);
        t->made = t->document == NULL ? t->set->made : t->document->made;
        memcpy(ret_hash, t->document == NULL ? t->set->index_hash : t->document->hash, 65);
    }
    pthread_mutex_unlock(&lock);
    return b != NULL;
}

static void finish(struct task *t)
{
    struct net_bytes *bytes = NULL, *plain = t->plain;
    char hash[65];
    struct document_set *set = t->set;
    bool there = ready(t, false, &bytes, hash);
    ASSERT(there);
    answer(t, bytes, hash); /* The task goes with the request. */
    net_bytes_unref(bytes);
    net_bytes_unref(plain);
    set_unref(set);
}

static void on_built(struct mail *m)
{
    LOOP_CALLBACK("answer OpenAPI");
    finish(CONTAINER_OF(m, struct task, mail));
}

static void start_task(struct task *t)
{
    struct net_bytes *bytes = NULL;
    char hash[65];
    if (!t->wants_plain && ready(t, true, &bytes, hash)) {
        net_bytes_unref(bytes);
        finish(t);
        return;
    }
    pthread_t thread;
    pthread_attr_t attr;
    t->mail.run = on_built;
    pthread_mutex_lock(&lock);
    list_push_back(&tasks, &t->link);
    bool start = !building;
    building = true;
    pthread_mutex_unlock(&lock);
    if (!start)
        return;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, builder_main, NULL) != 0)
        builder_main(NULL); /* No thread to be had: the loop waits this once. */
    pthread_attr_destroy(&attr);
}

bool openapi_serve(struct req *r)
{
    struct str path = r->info.path, prefix = STR(V3_PREFIX);
    bool v2 = str_eqc(path, "/openapi/v2");
    bool index = str_eqc(path, "/openapi/v3") || str_eqc(path, V3_PREFIX);
    if (!v2 && !index && !str_has_prefix(path, prefix))
        return false;
    struct task *t = ARENA_NEW(r->arena, struct task);
    pthread_mutex_lock(&lock);
    t->set = current;
    atomic_fetch_add(&t->set->refs, 1);
    pthread_mutex_unlock(&lock);
    t->r = r;
    struct str name = v2 ? STR_NULL : str_sub(path, prefix.len, path.len);
    if (!index)
        t->document = map_get(&t->set->by_name, name);
    if (!index && (t->document == NULL || (!v2 && name.len == 0))) {
        set_unref(t->set);
        return false;
    }
    int type = index ? 0
                     : accept_choose(http_request_header(r->http, "accept"),
                                     types[v2 ? OPENAPI_V2 : OPENAPI_V3], 3);
    if (type < 0) {
        set_unref(t->set);
        answer_empty(r, 406);
        return true;
    }
    t->form = type == 0 ? FORM_JSON : FORM_PROTOBUF;
    t->wants_plain = !index && !http_accepts_gzip(http_request_header(r->http, "accept-encoding"));
    start_task(t);
    return true;
}

/* list.c - LIST, streamed from one immutable view.
 *
 * First pass: which objects and how many bytes, in slices between other work of the
 * loop. Second pass: their bytes, chunk by chunk, as fast as the client reads them.
 * Between the two a pointer is kept for each of the first FOUND_MAX objects (of all,
 * with selectors); the rest is looked up again. Memory is that and what the socket
 * has not taken yet; a list never delays a write. Short lists are answered whole. */
#include "apiserver/custom/conversion.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/stored.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/json_cache.h"
#include "apiserver/list_options.h"
#include "apiserver/list_token.h"
#include "apiserver/node_pods.h"
#include "apiserver/request.h"
#include "apiserver/table.h"
#include "apiserver/wire.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define SLICE_NS (2u * 1000u * 1000u)
#define SLICE_OBJECTS 256u
#define SLICE_BYTES (32u << 10) /* How much is written, and */
#define SLICE_ITEMS 16u         /* how many objects, between looks at the clock. */
#define CHUNK_BYTES (4 * HTTP_FRAME_BYTES)
/* With the object that goes beyond. */
#define CHUNK_ROOM (CHUNK_BYTES + HTTP_FRAME_HEADROOM + (16u << 10))
#define WINDOW_BYTES (256u << 10)
#define FOUND_MAX (16u << 10)
#define AHEAD_FAR 8u
#define AHEAD_NEAR 3u
#define AHEAD_BYTES (4u << 10) /* Of each object. */
#define CACHE_LINE_BYTES 64u
#define RUN_BYTES (64u << 10)    /* Of stored objects in one run of JSON. */
#define RUN_REF_MIN (8u << 10)   /* Runs from here on are sent without a copy. */
#define WHOLE_BYTES (256u << 10) /* Up to this much stored data the answer is not streamed. */
#define GZIP_BYTES (128u << 10)
#define GZIP_LEVEL 1

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

struct listing {
    struct req *r;
    struct list_options o;
    enum include_object include;
    struct store_view *view;
    int64_t rev;
    struct str from, end;
    struct deferred again;
    struct store_iter it;
    bool iterating;
    bool limited;
    bool everything;         /* Every object of the range is listed. */
    const struct kv **found; /* Borrowed from the view. */
    size_t found_count, found_cap;
    size_t count;
    const struct kv *last;
    size_t stored_bytes, protobuf_bytes;
    const struct kv *uncounted[4]; /* Not in protobuf_bytes yet. */
    bool more;                     /* The limit cut it short. */
    /* Second pass. */
    size_t at;
    const struct kv *next; /* The object at `at`, if looked up already. */
    bool again_iterating;
    unsigned items_since;
    size_t bytes_since;
    bool whole;
    struct buf out;
    struct arena *scratch;
    struct http_gzip_stream *gzip;
    bool opened;
    /* Custom objects that a webhook converts, so many at a time. */
    struct conversions conversions;
    bool converts;     /* There may be some. */
    bool looks_inside; /* They are filtered by what the webhook makes of them. */
    size_t batch_from; /* found[batch_from, converted_to) can be written. */
    size_t converted_to;
    const struct kv *batch[CONVERSION_OBJECTS_MAX]; /* To be filtered. */
    size_t batch_count;
};

static void free_scratch(void *arg)
{
    struct listing *l = arg;
    conversions_drop(&l->conversions);
    arena_free(l->scratch);
    free(l->found);
    buf_done(&l->out);
    http_gzip_stream_free(l->gzip);
    deferred_cancel(&l->again);
}

static struct arena *scratch(struct listing *l)
{
    if (l->scratch == NULL)
        l->scratch = arena_new(0);
    return l->scratch;
}

/* Between two objects: nothing of the last one is needed any more. */
static void recycle(struct listing *l)
{
    if (l->scratch != NULL && arena_bytes(l->scratch) > CHUNK_BYTES * 4) {
        arena_free(l->scratch);
        l->scratch = NULL;
    }
}

/* --- conversions -------------------------------------------------------------------------- */
static void resume(void *arg);

/* True: the objects can be read and written. False: resume() comes, or the
 * request is answered. */
static bool convert(struct listing *l, const struct kv *const *kvs, size_t count)
{
    struct req *r = l->r;
    void *ignored;
    conversions_enter(&l->conversions);
    for (size_t i = 0; i < count; i++)
        if (custom_stored_converts(r->res, stored_value(kvs[i])))
            (void)stored_decode(scratch(l), r->res, stored_value(kvs[i]), 0, &ignored, NULL);
    conversions_leave();
    recycle(l);
    if (conversions_ask(&l->conversions, resume, l))
        return false;
    struct meta_v1_status *s = conversions_failure(&l->conversions, r->arena);
    if (s == NULL)
        return true;
    if (l->opened && !l->whole) {
        req_done(r, 500);
        http_response_abort(r->http);
    } else {
        req_status(r, s);
    }
    return false;
}

/* The next ones of those that were found. */
static bool convert_next(struct listing *l)
{
    size_t n = 0, bytes = 0;
    if (l->batch_from != l->at) {
        conversions_drop(&l->conversions);
        l->batch_from = l->at;
    }
    while (l->at + n < l->count && n < CONVERSION_OBJECTS_MAX && bytes < CONVERSION_BYTES_MAX)
        bytes += kv_value(l->found[l->at + n++]).len;
    if (!convert(l, &l->found[l->at], n))
        return false;
    l->converted_to = l->at + n;
    return true;
}

/* --- the answer's frame
 * ---------------------------------------------------------------------------- */
static bool unfiltered(const struct listing *l)
{
    return l->o.labels.count == 0 && !l->o.field_selector;
}

static void list_metadata(struct listing *l, struct meta_v1_list_meta *m)
{
    m->resource_version = arena_printf(l->r->arena, "%" PRId64, l->rev);
    if (!l->more)
        return;
    m->continue_ = list_token_make(l->r->arena, l->from, l->rev, kv_key(l->last));
    if (unfiltered(l)) {
        m->has_remaining_item_count = true;
        /* arena_str() puts a NUL behind the key: the next possible one. */
        struct str last = arena_str(l->r->arena, kv_key(l->last)),
                   behind = str_n(last.data, last.len + 1);
        m->remaining_item_count = store_view_count(l->view, behind, l->end, l->rev);
    }
}

static bool is_table(const struct listing *l)
{
    return l->r->accept.transform == AS_TABLE;
}

/* Envelope and list metadata; the length of what follows is known beforehand. */
static void open_protobuf(struct listing *l, struct str api_version, struct str kind)
{
    AUTO_BUF meta = BUF_INIT;
    AUTO_BUF type = BUF_INIT;
    struct meta_v1_list_meta m = {0};
    list_metadata(l, &m);
    api_pb_encode(&meta_v1_list_meta_msg, &m, &meta);
    size_t bytes = 1 + varint_bytes(meta.len) + meta.len + l->protobuf_bytes;
    /* Unknown{typeMeta=1{apiVersion=1,kind=2}, raw=2, contentEncoding=3, contentType=4} */
    buf_putc(&type, (1 << 3) | 2);
    buf_put_varint(&type, api_version.len);
    buf_append_str(&type, api_version);
    buf_putc(&type, (2 << 3) | 2);
    buf_put_varint(&type, kind.len);
    buf_append_str(&type, kind);
    buf_append(&l->out, API_ENVELOPE_MAGIC, 4);
    buf_putc(&l->out, (1 << 3) | 2);
    buf_put_varint(&l->out, type.len);
    buf_append_str(&l->out, buf_str(&type));
    buf_putc(&l->out, (2 << 3) | 2);
    buf_put_varint(&l->out, bytes);
    buf_putc(&l->out, (1 << 3) | 2);
    buf_put_varint(&l->out, meta.len);
    buf_append_str(&l->out, buf_str(&meta));
}

static void open_answer(struct listing *l)
{
    struct req *r = l->r;
    struct meta_v1_list_meta m = {0};
    const struct api_kind *k = r->res->kind;
    bool partial = r->accept.transform == AS_PARTIAL_LIST;
    struct str api_version = partial ? arena_printf(r->arena, "meta.k8s.io/%s", r->accept.version)
                                     : str_of(k->api_version);
    struct str kind = partial ? STR("PartialObjectMetadataList") : str_of(k->list_kind);
    if (r->accept.media == MEDIA_PROTOBUF) {
        open_protobuf(l, api_version, kind);
        return;
    }
    list_metadata(l, &m);
    if (is_table(l))
        table_open(&r->accept, &l->out);
    else
        buf_printf(&l->out, "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT "\"",
                   STR_ARG(kind), STR_ARG(api_version));
    buf_puts(&l->out, ",\"metadata\":");
    if (r->res->custom != NULL && r->accept.transform == AS_OBJECT && m.continue_.len == 0)
        /* Lists of custom objects say that there is no more. */
        buf_printf(&l->out, "{\"continue\":\"\",\"resourceVersion\":\"" STR_FMT "\"}",
                   STR_ARG(m.resource_version));
    else
        api_json_encode(&meta_v1_list_meta_msg, &m, STR_NULL, STR_NULL, &l->out);
    if (is_table(l)) {
        buf_putc(&l->out, ',');
        table_columns(r->res, &l->out);
        buf_puts(&l->out, ",\"rows\":[");
    } else {
        buf_puts(&l->out, ",\"items\":[");
    }
}

static void close_answer(struct listing *l)
{
    if (l->r->accept.media == MEDIA_PROTOBUF)
        buf_append(&l->out, "\x1a\x00\x22\x00", 4);
    else
        buf_puts(&l->out, "]}");
}

/* --- what is written, on its way ------------------------------------------------------------- */

/* Room for what comes next, if there is none. */
static void open_chunk(struct listing *l)
{
    if (l->whole || l->out.data != NULL)
        return;
    buf_reserve(&l->out, CHUNK_ROOM);
    buf_commit(&l->out, HTTP_FRAME_HEADROOM + 1);
    buf_consume(&l->out, HTTP_FRAME_HEADROOM);
    buf_truncate(&l->out, 0);
}

static void pass_on(struct listing *l, struct net_bytes *b)
{
    if (b != NULL)
        http_response_write(l->r->http, b);
    net_bytes_unref(b);
}

static void flush_all(struct listing *l)
{
    if (l->out.len != 0)
        pass_on(l, net_bytes_steal_private(&l->out));
}

/* All but what fills no frame. */
static void flush(struct listing *l)
{
    if (l->gzip != NULL) {
        pass_on(l, http_gzip_stream_push(l->gzip, l->out.data, l->out.len, false, false));
        buf_clear(&l->out);
        return;
    }
    struct buf full = l->out;
    size_t rest = full.len % HTTP_FRAME_BYTES;
    l->out = BUF_INIT;
    open_chunk(l);
    buf_append(&l->out, full.data + (full.len - rest), rest);
    buf_truncate(&full, full.len - rest);
    pass_on(l, net_bytes_steal_private(&full));
}

static void finish(struct listing *l)
{
    if (l->gzip != NULL)
        pass_on(l, http_gzip_stream_push(l->gzip, l->out.data, l->out.len, false, true));
    else
        flush_all(l);
}

/* --- items ----------------------------------------------------------------------------------- */

static size_t protobuf_item_bytes(const struct kv *kv)
{
    struct str raw;
    if (stored_raw(stored_value(kv), &raw, NULL) != 0)
        return 0;
    size_t n = raw.len + wire_rev_bytes(kv->mod_rev);
    return 1 + varint_bytes(n) + n;
}

/* Whatever stands in the range of a resource is an object of it, if its key has the right form. */
static bool listed(struct listing *l, const struct kv *kv)
{
    const struct resource *res = l->r->res;
    struct str key = kv_key(kv), ns = STR_NULL, name = str_sub(key, res->prefix.len, key.len);
    if (res->kind->namespaced && !str_cut(name, '/', &ns, &name))
        return false;
    if (l->everything)
        return true;
    recycle(l);
    return list_options_match(&l->o, scratch(l), res, stored_value(kv), ns, name);
}

/* The object at l->at. */
static const struct kv *next_item(struct listing *l)
{
    if (l->at < l->found_count)
        return l->found[l->at];
    if (l->next != NULL)
        return l->next;
    if (!l->again_iterating) {
        struct str last = arena_str(l->r->arena, kv_key(l->found[l->found_count - 1]));
        int code = store_iter_init(&l->it, l->view, str_n(last.data, last.len + 1), l->end, l->rev);
        ASSERT(code == 0); /* The first pass read the same view. */
        l->again_iterating = true;
    }
    do {
        l->next = store_iter_next(&l->it);
        ASSERT(l->next != NULL);
    } while (!listed(l, l->next));
    return l->next;
}

/* Objects lie all over memory, and to read one is mostly to wait for it: those ahead are fetched
 * meanwhile, first what tells where the value ends, then the value. */
static void fetch_ahead(const struct listing *l)
{
    if (l->at + AHEAD_FAR < l->found_count) {
        const char *far = (const char *)l->found[l->at + AHEAD_FAR];
        __builtin_prefetch(far);
        __builtin_prefetch(far + 64);
    }
    if (l->at + AHEAD_NEAR < l->found_count && l->r->accept.media == MEDIA_PROTOBUF) {
        struct str near = kv_value(l->found[l->at + AHEAD_NEAR]);
        size_t len = MIN_OF(near.len, (size_t)AHEAD_BYTES);
        for (size_t i = 0; i < len; i += CACHE_LINE_BYTES)
            __builtin_prefetch(near.data + i);
        __builtin_prefetch(near.data + near.len);
    }
}

static void pass_item(struct listing *l)
{
    l->at++;
    fetch_ahead(l);
    l->items_since++;
    l->next = NULL;
}

static int write_protobuf(struct listing *l, struct error *err)
{
    const struct kv *kv = next_item(l);
    struct str raw;
    int code = stored_raw(stored_value(kv), &raw, err);
    if (code != 0)
        return code;
    open_chunk(l);
    buf_putc(&l->out, (2 << 3) | 2);
    buf_put_varint(&l->out, raw.len + wire_rev_bytes(kv->mod_rev));
    buf_append_str(&l->out, raw);
    wire_append_rev(&l->out, kv->mod_rev);
    pass_item(l);
    return 0;
}

static int encode_json(const struct kv *kv, struct buf *out, void *arg, struct error *err)
{
    struct listing *l = arg;
    recycle(l);
    return encode_stored(scratch(l), &l->r->accept, l->r->res, stored_value(kv), kv->mod_rev, true,
                         out, err);
}

/* The run's first len bytes, whose first one is a comma. */
static void append_run(struct listing *l, struct json_run *run, size_t len, bool first)
{
    size_t from = first ? 1 : 0;
    if (l->whole || l->gzip != NULL || len < RUN_REF_MIN) {
        open_chunk(l);
        buf_append(&l->out, run->text.data + from, len - from);
        return;
    }
    flush_all(l);
    http_response_write_part(l->r->http, &run->text, from, len - from);
}

/* Whole objects in JSON: from the cache and into it, some at a time. */
static int write_run(struct listing *l, struct error *err)
{
    const struct custom_version *custom = l->r->res->custom;
    const struct json_form form = {.kind = l->r->res->kind,
                                   .since_rev = custom != NULL ? custom->definition->since_rev : 0,
                                   .use = l->everything ? JSON_LIST : JSON_SELECTED};
    struct json_cache *cache = l->r->server->json_cache;
    const struct kv *items[JSON_RUN_MAX];
    bool first = l->at == 0;
    size_t count = 0, bytes = 0;
    do {
        items[count] = next_item(l);
        bytes += kv_value(items[count++]).len;
        pass_item(l);
    } while (l->at < l->count && l->everything && count < JSON_RUN_MAX && bytes < RUN_BYTES &&
             !json_run_starts(kv_key(items[count - 1]), kv_key(next_item(l))));
    struct json_run *run = json_cache_get(cache, &form, kv_key(items[0]));
    size_t len = run != NULL ? json_run_match(run, items, count) : 0;
    if (len == 0) {
        struct json_run *old = run;
        int code = json_run_new(old, items, count, encode_json, l, &run, err);
        json_run_unref(old);
        if (code != 0)
            return code;
        json_cache_put(cache, &form, kv_key(items[0]), run);
        len = run->text.len;
    }
    append_run(l, run, len, first);
    l->bytes_since += len;
    json_run_unref(run);
    return 0;
}

static int write_other(struct listing *l, struct error *err)
{
    struct req *r = l->r;
    const struct kv *kv = next_item(l);
    void *msg;
    open_chunk(l);
    if (l->at != 0)
        buf_putc(&l->out, ',');
    pass_item(l);
    if (!is_table(l) && (r->res->ops->flags & KIND_DEFAULT_ON_READ) == 0)
        return encode_json(kv, &l->out, l, err);
    int code = stored_decode(scratch(l), r->res, stored_value(kv), kv->mod_rev, &msg, err);
    if (code != 0)
        return code;
    if (r->res->ops->default_ != NULL && (r->res->ops->flags & KIND_DEFAULT_ON_READ) != 0) {
        struct kind_ctx ctx;
        req_ctx(r, l->view, &ctx);
        ctx.arena = scratch(l);
        r->res->ops->default_(&ctx, msg);
    }
    if (is_table(l))
        table_row_write(scratch(l), &r->accept, r->res, msg, l->include, r->now_ns, &l->out);
    else
        api_json_encode(r->res->kind->msg, registry_from_storage(scratch(l), r->res, msg), STR_NULL,
                        STR_NULL, &l->out);
    return 0;
}

/* One object or more. */
static int write_some(struct listing *l, struct error *err)
{
    const struct accepted *f = &l->r->accept;
    size_t before = l->out.len;
    int code;
    if (f->media == MEDIA_PROTOBUF)
        code = write_protobuf(l, err);
    else if (f->media == MEDIA_JSON && f->transform == AS_OBJECT &&
             (l->r->res->ops->flags & KIND_DEFAULT_ON_READ) == 0)
        code = write_run(l, err);
    else
        code = write_other(l, err);
    l->bytes_since += l->out.len > before ? l->out.len - before : 0;
    return code;
}

/* --- second pass
 * -------------------------------------------------------------------------------------- */
static void answer_whole(struct listing *l)
{
    struct req *r = l->r;
    struct buf out = BUF_INIT;
    if (r->accept.media == MEDIA_YAML || (r->accept.media == MEDIA_JSON && r->accept.pretty)) {
        if (encode_reformat(r->arena, &r->accept, buf_str(&l->out), &out, NULL) != 0) {
            buf_done(&out);
            out = l->out;
            l->out = BUF_INIT;
        }
    } else {
        out = l->out;
        l->out = BUF_INIT;
    }
    if (r->accept.media == MEDIA_JSON)
        buf_putc(&out, '\n');
    req_bytes(r, 200, media_type(r->accept.media), net_bytes_steal(&out));
}

static void start_stream(struct listing *l)
{
    struct req *r = l->r;
    req_headers(r, media_type(r->accept.media));
    if (l->stored_bytes >= GZIP_BYTES &&
        http_accepts_gzip(http_request_header(r->http, "accept-encoding"))) {
        http_response_header(r->http, "Content-Encoding", "gzip");
        http_response_header(r->http, "Vary", "Accept-Encoding");
        l->gzip = http_gzip_stream_new(GZIP_LEVEL);
    }
    http_response_start(r->http, 200, -1);
}

static void on_drain(struct http_request *http, void *arg);

static void fail(struct listing *l, const struct error *err)
{
    log_error("list of %s: %s", l->r->res->kind->resource, error_message(err));
    if (l->whole) {
        req_status(l->r, status_internal(l->r->arena, "%s", error_message(err)));
    } else {
        req_done(l->r, 500);
        http_response_abort(l->r->http);
    }
}

/* The clock is not asked for each object. */
static bool slice_over(struct listing *l, uint64_t start)
{
    if (l->items_since < SLICE_ITEMS && l->bytes_since < SLICE_BYTES)
        return false;
    l->items_since = 0;
    l->bytes_since = 0;
    return uv_hrtime() - start > SLICE_NS;
}

static void emit(struct listing *l)
{
    LOOP_CALLBACK("list");
    struct req *r = l->r;
    struct error err = {0};
    uint64_t start = uv_hrtime();
    if (l->converts && l->at == l->converted_to && l->at < l->count && !convert_next(l))
        return;
    if (!l->opened) {
        l->opened = true;
        open_answer(l);
        if (!l->whole)
            start_stream(l);
    }
    while (l->at < l->count) {
        if (r->http->aborted)
            break;
        recycle(l);
        if (l->converts && l->at == l->converted_to && !convert_next(l))
            return;
        conversions_enter(&l->conversions);
        int code = write_some(l, &err);
        conversions_leave();
        if (code != 0) {
            fail(l, &err);
            return;
        }
        if (!l->whole && l->out.len >= CHUNK_BYTES)
            flush(l);
        if (!l->whole && http_response_pending(r->http) >= WINDOW_BYTES) {
            http_response_on_drain(r->http, WINDOW_BYTES / 2, on_drain, l);
            http_request_on_abort(r->http, on_drain, l);
            return;
        }
        if (l->at < l->count && slice_over(l, start)) {
            deferred_post(&r->thread->defer, &l->again);
            return;
        }
    }
    close_answer(l);
    if (l->whole) {
        answer_whole(l);
        return;
    }
    if (r->accept.media == MEDIA_JSON)
        buf_putc(&l->out, '\n');
    finish(l);
    req_done(r, 200);
    http_response_end(r->http);
}

static void on_drain(struct http_request *http, void *arg)
{
    struct listing *l = arg;
    http_response_on_drain(http, 0, NULL, NULL);
    http_request_on_abort(http, NULL, NULL);
    emit(l);
}

/* --- first pass
 * ------------------------------------------------------------------------------------------ */
/* A few objects later, when the end of its value has been fetched; NULL: all that are left. */
static void count_protobuf(struct listing *l, const struct kv *kv)
{
    const struct kv **at = &l->uncounted[l->count % ARRAY_SIZE(l->uncounted)];
    if (kv != NULL) {
        struct str value = kv_value(kv);
        __builtin_prefetch(value.data + value.len);
        if (*at != NULL)
            l->protobuf_bytes += protobuf_item_bytes(*at);
        *at = kv;
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(l->uncounted); i++)
        if (l->uncounted[i] != NULL)
            l->protobuf_bytes += protobuf_item_bytes(l->uncounted[i]);
}

static void keep(struct listing *l, const struct kv *kv)
{
    if (!l->everything || l->found_count < FOUND_MAX) {
        if (l->found_count == l->found_cap) {
            l->found_cap = l->found_cap != 0 ? l->found_cap * 2 : 64;
            l->found = xrealloc(l->found, l->found_cap * sizeof(struct kv *));
        }
        l->found[l->found_count++] = kv;
    }
    l->count++;
    l->last = kv;
    l->stored_bytes += kv_value(kv).len;
    if (l->r->accept.media == MEDIA_PROTOBUF)
        count_protobuf(l, kv);
}

static void collected(struct listing *l)
{
    const struct accepted *f = &l->r->accept;
    count_protobuf(l, NULL);
    bool buffered = f->media == MEDIA_YAML || f->pretty;
    if (f->media == MEDIA_PROTOBUF &&
        (f->transform == AS_PARTIAL_LIST || l->r->res->kind != l->r->res->storage)) {
        /* Sizes are not known beforehand: as JSON, which every client reads. */
        l->r->accept.media = MEDIA_JSON;
    }
    l->whole = buffered || l->stored_bytes <= WHOLE_BYTES;
    emit(l);
}

/* False: it is one more than the limit. */
static bool judge(struct listing *l, const struct kv *kv)
{
    if (!listed(l, kv))
        return true;
    if (l->limited && (int64_t)l->count >= l->o.limit) {
        l->more = true;
        return false;
    }
    keep(l, kv);
    return true;
}

enum judged { JUDGED_ALL, JUDGED_ENOUGH, JUDGED_LATER };

/* What is to be converted first is looked at together. LATER: not now, or the
 * request is answered. */
static enum judged judge_batch(struct listing *l)
{
    bool room = true;
    if (!convert(l, l->batch, l->batch_count))
        return JUDGED_LATER;
    conversions_enter(&l->conversions);
    for (size_t i = 0; i < l->batch_count && room; i++)
        room = judge(l, l->batch[i]);
    conversions_leave();
    conversions_drop(&l->conversions);
    l->batch_count = 0;
    return room ? JUDGED_ALL : JUDGED_ENOUGH;
}

static void collect(struct listing *l)
{
    LOOP_CALLBACK("list: collect");
    uint64_t start = uv_hrtime();
    enum judged judged = JUDGED_ALL;
    for (unsigned n = 1; judged == JUDGED_ALL; n++) {
        if (l->batch_count == ARRAY_SIZE(l->batch)) {
            judged = judge_batch(l);
            if (judged == JUDGED_LATER)
                return;
        }
        const struct kv *kv = store_iter_next(&l->it);
        if (kv == NULL)
            break;
        if (l->looks_inside)
            l->batch[l->batch_count++] = kv;
        else if (!judge(l, kv))
            break;
        if (n % SLICE_OBJECTS == 0 && uv_hrtime() - start > SLICE_NS) {
            if (l->r->http->aborted)
                break;
            deferred_post(&l->r->thread->defer, &l->again);
            return;
        }
    }
    if (l->batch_count != 0 && !l->more && judge_batch(l) == JUDGED_LATER)
        return; /* The iterator stays at its end. */
    l->iterating = false;
    collected(l);
}

static void go_on(struct listing *l)
{
    if (l->iterating)
        collect(l);
    else
        emit(l);
}

static void resume(void *arg)
{
    go_on(arg);
}

static void again(struct deferred *d)
{
    go_on(CONTAINER_OF(d, struct listing, again));
}

static struct meta_v1_status *expired(struct listing *l, struct str start_key)
{
    struct req *r = l->r;
    if (l->o.continue_.len == 0)
        return status_expired(r->arena, "The resourceVersion for the provided list is too old.");
    struct meta_v1_status *s =
        status_expired(r->arena, "The provided continue parameter is too old to display a "
                                 "consistent list result. You can start a new "
                                 "list without the continue parameter, or use the continue token "
                                 "in this response to retrieve the "
                                 "remainder of the results. Continuing with the provided token "
                                 "results in an inconsistent list - "
                                 "objects that were created, modified, or deleted between the time "
                                 "the first chunk was returned and "
                                 "now may show up in the list.");
    s->metadata.continue_ =
        list_token_make(r->arena, l->from, -1, str_sub(start_key, 0, start_key.len - 1));
    return s;
}

static struct meta_v1_status *choose_revision(struct listing *l, struct str *ret_start)
{
    struct req *r = l->r;
    int64_t newest = store_view_rev(l->view), token_rv = 0;
    l->rev = newest;
    *ret_start = l->from;
    if (l->o.continue_.len != 0) {
        if (l->o.has_rv && l->o.rv != 0)
            return status_bad_request(
                r->arena, "specifying resource version is not allowed when using continue");
        struct meta_v1_status *s =
            list_token_read(r->arena, l->from, l->o.continue_, &token_rv, ret_start);
        if (s != NULL)
            return s;
        if (token_rv > 0)
            l->rev = token_rv;
        return NULL;
    }
    if (!l->o.has_rv)
        return NULL;
    if (l->o.rv > newest)
        return status_rv_too_large(r->arena, l->o.rv, newest);
    if (l->o.match == MATCH_EXACT || (l->o.match == MATCH_UNSET && l->o.limit > 0 && l->o.rv > 0))
        l->rev = l->o.rv;
    return NULL;
}

/* --- the pods of a node ----------------------------------------------------------------------- */

static void scan(struct listing *l, struct str start_key)
{
    struct req *r = l->r;
    struct meta_v1_status *s = NULL;
    int code = store_iter_init(&l->it, l->view, start_key, l->end, l->rev);
    if (code == E_EXPIRED)
        s = expired(l, start_key);
    else if (code != 0)
        s = status_from_code(r->arena, code, error_text(code));
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    l->iterating = true;
    collect(l);
}

static void list_of_node(struct listing *l, struct str node);

static void list_of_node_again(void *arg)
{
    struct listing *l = arg;
    l->view = req_view(l->r);
    list_of_node(l, node_pods_selected(l->r->res, &l->o));
}

/* At l->rev or later. */
static void list_of_node(struct listing *l, struct str node)
{
    struct req *r = l->r;
    struct node_pods pods;
    switch (node_pods_find(r, r->arena, l->view, node, l->rev, list_of_node_again, l, &pods)) {
    case NODE_PODS_LATER:
        return;
    case NODE_PODS_UNKNOWN:
        l->rev = store_view_rev(l->view);
        scan(l, l->from);
        return;
    case NODE_PODS_FOUND:
        break;
    }
    l->rev = pods.rev;
    for (size_t i = 0; i < pods.count && judge(l, pods.kvs[i]); i++)
        ;
    collected(l);
}

static void start(struct req *r)
{
    struct listing *l = r->http->user != r ? r->http->user : NULL;
    ASSERT(l != NULL);
    struct str start_key;
    l->view = req_view(r);
    list_options_range(r->arena, &l->o, r->res, r->info.ns, &l->from, &l->end);
    l->everything = unfiltered(l) && !l->converts && !l->o.nothing && l->o.excluded_count == 0 &&
                    (!l->o.has_name || l->o.has_ns || !r->res->kind->namespaced);
    struct meta_v1_status *s = choose_revision(l, &start_key);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    /* A cache-like read at version 0 ignores the limit, as upstream does. */
    l->limited = l->o.limit > 0 && !(l->o.has_rv && l->o.rv == 0 && l->o.continue_.len == 0);
    struct str node = node_pods_selected(r->res, &l->o);
    bool newest =
        l->o.continue_.len == 0 && l->o.match != MATCH_EXACT && l->rev == store_view_rev(l->view);
    if (newest && node.len != 0)
        list_of_node(l, node);
    else
        scan(l, start_key);
}

void list_handle(struct req *r)
{
    struct listing *l = ARENA_NEW(r->arena, struct listing);
    l->r = r;
    l->conversions.thread = r->thread;
    l->converts = conversions_needed(r->res);
    deferred_init(&l->again, again);
    struct meta_v1_status *s = list_options_parse(r, false, &l->o);
    if (s == NULL && is_table(l) &&
        !table_include_parse(req_query(r, "includeObject"), &l->include))
        s = status_bad_request(
            r->arena,
            "Unable to convert to Table as requested: includeObject: Invalid value: \"" STR_FMT
            "\": must be 'Metadata', 'Object', 'None', or empty",
            STR_ARG(req_query(r, "includeObject")));
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    l->looks_inside = l->converts && (l->o.labels.count != 0 || l->o.fields.count != 0);
    arena_hold(r->arena, l, free_scratch);
    r->http->user = l;
    struct store_view *v = req_view(r);
    bool fresh_enough = l->o.has_rv && l->o.rv <= store_view_rev(v);
    if (fresh_enough && l->o.continue_.len == 0)
        start(r);
    else
        req_barrier(r, start);
}

/* list.c - LIST, streamed from one immutable view.
 *
 * First pass: which objects (pointers into the view), in slices between other
 * work of the loop. Second pass: their bytes, chunk by chunk, as fast as the
 * client reads them. Memory is a pointer per object and one chunk; a list
 * never delays a write. Short lists are answered whole. */
#include "apiserver/custom/conversion.h"
#include "apiserver/custom/stored.h"
#include "apiserver/encode.h"
#include "apiserver/json_cache.h"
#include "apiserver/list_options.h"
#include "apiserver/request.h"
#include "apiserver/table.h"
#include "apiserver/wire.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define SLICE_NS (2u * 1000u * 1000u)
#define SLICE_OBJECTS 256u
#define CHUNK_BYTES (64u << 10)
#define CHUNK_ROOM (CHUNK_BYTES + (16u << 10)) /* With the object that goes beyond. */
#define WINDOW_BYTES (256u << 10)
#define WHOLE_BYTES (256u << 10) /* Up to this much stored data the answer is not streamed. */
#define GZIP_BYTES (128u << 10)
#define GZIP_LEVEL 1

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
    const struct kv **found; /* Borrowed from the view. */
    size_t count, cap;
    size_t stored_bytes;
    bool more; /* The limit cut it short. */
    size_t at; /* Second pass. */
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
        if (custom_stored_converts(r->res, kv_value(kvs[i])))
            (void)stored_decode(scratch(l), r->res, kv_value(kvs[i]), 0, &ignored, NULL);
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

/* --- continue tokens: base64url of {"v":"meta.k8s.io/v1","rv":N,"start":"name\u0000"}
 * ------------- */
static struct str make_token(struct listing *l, int64_t rv, struct str key)
{
    AUTO_BUF b = BUF_INIT;
    AUTO_BUF t = BUF_INIT;
    struct str prefix = l->from;
    buf_printf(&b, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", rv);
    struct str rest = str_sub(key, prefix.len, key.len);
    AUTO_BUF start = BUF_INIT;
    buf_append_str(&start, rest);
    buf_putc(&start, '\0');
    json_write_string(buf_str(&start), &b);
    buf_putc(&b, '}');
    base64_encode(BASE64_RAW_URL, b.data, b.len, &t);
    return arena_str(l->r->arena, buf_str(&t));
}

/* The bits of the last character that no byte is made of: Go does not look at
 * them. */
static struct str without_spare_bits(struct arena *a, struct str token)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t spare = token.len % 4 == 2 ? 16 : token.len % 4 == 3 ? 4 : 1;
    const char *at = token.len != 0 ? strchr(digits, token.data[token.len - 1]) : NULL;
    if (at == NULL || *at == '\0')
        return token;
    size_t value = (size_t)(at - digits);
    return arena_printf(a, "%.*s%c", (int)token.len - 1, token.data, digits[value - value % spare]);
}

static struct meta_v1_status *read_token(struct listing *l, int64_t *ret_rv, struct str *ret_start)
{
    struct arena *a = l->r->arena;
    AUTO_BUF b = BUF_INIT;
    struct json *j;
    struct error err = {0};
    if (base64_decode(BASE64_RAW_URL, without_spare_bits(a, l->o.continue_), &b) != 0)
        return status_bad_request(
            a, "invalid continue token: continue key is not valid: illegal base64 data");
    if (json_parse(a, arena_str(a, buf_str(&b)), &j, &err) != 0)
        return status_bad_request(a, "invalid continue token: continue key is not valid: %s",
                                  error_message(&err));
    struct str start = json_get_str(j, "start");
    int64_t rv = json_get_int(j, "rv", 0);
    if (!str_eqc(json_get_str(j, "v"), "meta.k8s.io/v1") || rv == 0 || start.len == 0)
        return status_bad_request(
            a, "invalid continue token: continue key is not valid: incorrect encoded start "
               "resourceVersion (version meta.k8s.io/v1)");
    if (str_find_str(start, STR("../")) >= 0)
        return status_bad_request(a, "invalid continue token: continue key is not valid: " STR_FMT,
                                  STR_ARG(start));
    *ret_rv = rv;
    /* start holds a NUL, which printf would stop at. */
    char *p = arena_alloc(a, l->from.len + start.len + 1);
    memcpy(p, l->from.data, l->from.len);
    memcpy(p + l->from.len, start.data, start.len);
    *ret_start = str_n(p, l->from.len + start.len);
    return NULL;
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
    m->continue_ = make_token(l, l->rev, kv_key(l->found[l->count - 1]));
    if (unfiltered(l)) {
        m->has_remaining_item_count = true;
        /* arena_str() puts a NUL behind the key: the next possible one. */
        struct str last = arena_str(l->r->arena, kv_key(l->found[l->count - 1])),
                   behind = str_n(last.data, last.len + 1);
        m->remaining_item_count = store_view_count(l->view, behind, l->end, l->rev);
    }
}

static bool is_table(const struct listing *l)
{
    return l->r->accept.transform == AS_TABLE;
}

static size_t pb_item_bytes(const struct kv *kv)
{
    struct str raw;
    if (stored_raw(kv_value(kv), &raw, NULL) != 0)
        return 0;
    return raw.len + wire_rev_bytes(kv->mod_rev);
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

/* Envelope and list metadata; the length of what follows is known beforehand. */
static void open_protobuf(struct listing *l, struct str api_version, struct str kind)
{
    AUTO_BUF meta = BUF_INIT;
    AUTO_BUF type = BUF_INIT;
    struct meta_v1_list_meta m = {0};
    list_metadata(l, &m);
    api_pb_encode(&meta_v1_list_meta_msg, &m, &meta);
    size_t bytes = 1 + varint_bytes(meta.len) + meta.len;
    for (size_t i = 0; i < l->count; i++) {
        size_t n = pb_item_bytes(l->found[i]);
        bytes += 1 + varint_bytes(n) + n;
    }
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

/* As encode_stored(); whole objects in JSON are kept for whoever lists them next. */
static int write_stored(struct listing *l, const struct kv *kv, struct error *err)
{
    struct req *r = l->r;
    struct json_cache *cache = r->server->json_cache;
    bool shared = r->accept.media == MEDIA_JSON && r->accept.transform == AS_OBJECT;
    size_t mark = l->out.len;
    if (shared && json_cache_append(cache, r->res->kind, kv_key(kv), kv->mod_rev, &l->out))
        return 0;
    int code = encode_stored(scratch(l), &r->accept, r->res, kv_value(kv), kv->mod_rev, true,
                             &l->out, err);
    if (shared && code == 0)
        json_cache_put(cache, r->res->kind, kv_key(kv), kv->mod_rev,
                       str_sub(buf_str(&l->out), mark, l->out.len - mark));
    return code;
}

static int write_item(struct listing *l, size_t i, struct error *err)
{
    struct req *r = l->r;
    const struct kv *kv = l->found[i];
    if (r->accept.media == MEDIA_PROTOBUF) {
        struct str raw;
        int code = stored_raw(kv_value(kv), &raw, err);
        if (code != 0)
            return code;
        buf_putc(&l->out, (2 << 3) | 2);
        buf_put_varint(&l->out, raw.len + wire_rev_bytes(kv->mod_rev));
        buf_append_str(&l->out, raw);
        wire_append_rev(&l->out, kv->mod_rev);
        return 0;
    }
    if (i != 0)
        buf_putc(&l->out, ',');
    if (!is_table(l) && (r->res->ops->flags & KIND_DEFAULT_ON_READ) == 0)
        return write_stored(l, kv, err);
    void *msg;
    int code = stored_decode(scratch(l), r->res, kv_value(kv), kv->mod_rev, &msg, err);
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

static void flush(struct listing *l, bool end)
{
    struct req *r = l->r;
    if (l->gzip != NULL) {
        struct net_bytes *z = http_gzip_stream_push(l->gzip, l->out.data, l->out.len, false, end);
        if (z != NULL) {
            http_response_write(r->http, z);
            net_bytes_unref(z);
        }
        buf_clear(&l->out);
    } else if (l->out.len != 0) {
        struct net_bytes *b = net_bytes_steal(&l->out);
        http_response_write(r->http, b);
        net_bytes_unref(b);
    }
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
        if (!l->whole && l->out.len == 0)
            buf_reserve(&l->out, CHUNK_ROOM);
        conversions_enter(&l->conversions);
        int code = write_item(l, l->at, &err);
        conversions_leave();
        if (code != 0) {
            fail(l, &err);
            return;
        }
        l->at++;
        if (!l->whole && l->out.len >= CHUNK_BYTES) {
            flush(l, false);
            if (http_response_pending(r->http) >= WINDOW_BYTES) {
                http_response_on_drain(r->http, WINDOW_BYTES / 2, on_drain, l);
                return;
            }
        }
        if (uv_hrtime() - start > SLICE_NS && l->at < l->count) {
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
    flush(l, true);
    req_done(r, 200);
    http_response_end(r->http);
}

static void on_drain(struct http_request *http, void *arg)
{
    struct listing *l = arg;
    http_response_on_drain(http, 0, NULL, NULL);
    emit(l);
}

/* --- first pass
 * ------------------------------------------------------------------------------------------ */
static void keep(struct listing *l, const struct kv *kv)
{
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 64;
        l->found = xrealloc(l->found, l->cap * sizeof(struct kv *));
    }
    l->found[l->count++] = kv;
    l->stored_bytes += kv_value(kv).len;
}

static void collected(struct listing *l)
{
    const struct accepted *f = &l->r->accept;
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
    struct str ns, name;
    recycle(l);
    if (registry_by_key(kv_key(kv), &ns, &name) == NULL ||
        !list_options_match(&l->o, scratch(l), l->r->res, kv_value(kv), ns, name))
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
    s->metadata.continue_ = make_token(l, -1, str_sub(start_key, 0, start_key.len - 1));
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
        struct meta_v1_status *s = read_token(l, &token_rv, ret_start);
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

static void start(struct req *r)
{
    struct listing *l = r->http->user != r ? r->http->user : NULL;
    ASSERT(l != NULL);
    struct str start_key;
    l->view = req_view(r);
    list_options_range(r->arena, &l->o, r->res, r->info.ns, &l->from, &l->end);
    struct meta_v1_status *s = choose_revision(l, &start_key);
    if (s == NULL) {
        /* A cache-like read at version 0 ignores the limit, as upstream does. */
        l->limited = l->o.limit > 0 && !(l->o.has_rv && l->o.rv == 0 && l->o.continue_.len == 0);
        int code = store_iter_init(&l->it, l->view, start_key, l->end, l->rev);
        if (code == E_EXPIRED)
            s = expired(l, start_key);
        else if (code != 0)
            s = status_from_code(r->arena, code, error_text(code));
    }
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    l->iterating = true;
    collect(l);
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

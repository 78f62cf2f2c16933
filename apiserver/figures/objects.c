/* objects.c - see objects.h. */
#include "apiserver/figures/objects.h"

#include "api/metrics_v1beta1.h"
#include "apiserver/content.h"
#include "apiserver/encode.h"
#include "lib/api/codec.h"
#include "lib/api/json_text.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

/* --- objects ------------------------------------------------------------------------------- */
static struct quantity cpu_quantity(const struct figure *f)
{
    return (struct quantity){.mantissa = f->nano_cores, .scale = -9, .format = QUANTITY_DECIMAL_SI};
}

static struct quantity memory_quantity(const struct figure *f)
{
    return (struct quantity){.mantissa = f->memory_bytes, .format = QUANTITY_BINARY_SI};
}

static struct api_quantity_entry *usage(struct arena *a, const struct figure *f, size_t *ret_count)
{
    struct api_quantity_entry *e = ARENA_ARRAY(a, struct api_quantity_entry, 2);
    struct quantity cpu = cpu_quantity(f), memory = memory_quantity(f);
    e[0].key = STR("cpu");
    quantity_store(a, &cpu, &e[0].value);
    e[1].key = STR("memory");
    quantity_store(a, &memory, &e[1].value);
    *ret_count = 2;
    return e;
}

static void set_meta(struct meta_v1_object_meta *m, const struct figure_subject *s)
{
    m->name = s->name;
    m->namespace = s->ns;
    m->labels = s->labels;
    m->labels_count = s->label_count;
    m->creation_timestamp.seconds = s->now_s;
}

static void set_time(struct meta_v1_time *t, struct meta_v1_duration *window,
                     const struct figure *f)
{
    t->seconds = f->time_ms / 1000;
    window->duration = f->window_ms * 1000000;
}

void *figure_node_object(struct arena *a, const struct figure_subject *s, const struct figures *f)
{
    if (!f->has_node || f->node.window_ms == 0 || f->node.broken)
        return NULL;
    struct metrics_v1beta1_node_metrics *m = ARENA_NEW(a, struct metrics_v1beta1_node_metrics);
    set_meta(&m->metadata, s);
    set_time(&m->timestamp, &m->window, &f->node);
    m->usage = usage(a, &f->node, &m->usage_count);
    return m;
}

void *figure_pod_object(struct arena *a, const struct figure_subject *s, const struct figure_pod *p)
{
    const struct figure *first = NULL;
    if (!p->shown)
        return NULL;
    struct metrics_v1beta1_pod_metrics *m = ARENA_NEW(a, struct metrics_v1beta1_pod_metrics);
    set_meta(&m->metadata, s);
    m->containers = ARENA_ARRAY(a, struct metrics_v1beta1_container_metrics, p->count);
    for (size_t i = 0; i < p->count; i++) {
        const struct figure *f = &p->containers[i].f;
        if (f->broken)
            continue;
        struct metrics_v1beta1_container_metrics *c = &m->containers[m->containers_count++];
        c->name = p->containers[i].name;
        c->usage = usage(a, f, &c->usage_count);
        if (first == NULL || f->time_ms < first->time_ms)
            first = f;
    }
    if (first != NULL)
        set_time(&m->timestamp, &m->window, first);
    return m;
}

/* --- tables ---------------------------------------------------------------------------------- */
static void put_columns(struct figure_writer *w)
{
    static const char *const columns[][3] = {{"Name", "name", "Name of the resource"},
                                             {"cpu", "quantity", ""},
                                             {"memory", "quantity", ""},
                                             {"Window", "duration", ""}};
    buf_puts(&w->out, "\"columnDefinitions\":[");
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        buf_printf(
            &w->out,
            "%s{\"name\":\"%s\",\"type\":\"string\",\"format\":\"%s\",\"description\":\"%s\","
            "\"priority\":0}",
            i != 0 ? "," : "", columns[i][0], columns[i][1], columns[i][2]);
    buf_puts(&w->out, "],\"rows\":[");
}

static void put_quantity(struct buf *b, const struct quantity *q)
{
    char text[QUANTITY_TEXT_MAX];
    size_t n = quantity_format(q, text);
    buf_printf(b, ",\"%.*s\"", (int)n, text);
}

static void add_up(const struct api_quantity_entry *e, size_t count, struct quantity sums[2])
{
    for (size_t i = 0; i < count && i < 2; i++) {
        struct quantity q = quantity_of(&e[i].value);
        quantity_add(&sums[i], &q);
    }
}

static void put_row(struct figure_writer *w, void *object)
{
    const struct metrics_v1beta1_node_metrics *node = object;
    const struct metrics_v1beta1_pod_metrics *pod = object;
    const struct meta_v1_object_meta *m = api_meta_of(w->kind, object);
    struct quantity sums[2] = {{.format = QUANTITY_DECIMAL_SI}, {.format = QUANTITY_BINARY_SI}};
    if (w->nodes)
        add_up(node->usage, node->usage_count, sums);
    for (size_t i = 0; !w->nodes && i < pod->containers_count; i++)
        add_up(pod->containers[i].usage, pod->containers[i].usage_count, sums);
    buf_printf(&w->out, "{\"cells\":[\"" STR_FMT "\"", STR_ARG(m->name));
    put_quantity(&w->out, &sums[0]);
    put_quantity(&w->out, &sums[1]);
    buf_putc(&w->out, ',');
    json_text_duration(w->nodes ? node->window.duration : pod->window.duration, &w->out);
    buf_puts(&w->out, "],\"object\":");
    if (w->include == INCLUDE_NONE)
        buf_puts(&w->out, "null");
    else if (w->include == INCLUDE_METADATA)
        encode_partial_json(w->accept, m, &w->out);
    else
        api_json_encode(w->kind->msg, object, str_of(w->kind->api_version), str_of(w->kind->kind),
                        &w->out);
    buf_putc(&w->out, '}');
}

/* --- lists ------------------------------------------------------------------------------------ */
static bool is_partial(const struct figure_writer *w)
{
    return w->accept->transform == AS_PARTIAL_LIST;
}

static const char *list_version(const struct figure_writer *w)
{
    if (!is_partial(w))
        return w->kind->api_version;
    return strcmp(w->accept->version, "v1") == 0 ? "meta.k8s.io/v1" : "meta.k8s.io/v1beta1";
}

static const char *list_kind(const struct figure_writer *w)
{
    return is_partial(w) ? "PartialObjectMetadataList" : w->kind->list_kind;
}

void figure_writer_open(struct figure_writer *w)
{
    struct meta_v1_list_meta none = {0};
    if (w->accept->transform == AS_TABLE) {
        table_open(w->accept, &w->out);
        buf_puts(&w->out, ",\"metadata\":{},");
    } else if (w->accept->media == MEDIA_PROTOBUF) {
        AUTO_BUF meta = BUF_INIT;
        api_pb_encode(&meta_v1_list_meta_msg, &none, &meta);
        buf_putc(&w->out, (1 << 3) | 2);
        buf_put_varint(&w->out, meta.len);
        buf_append_str(&w->out, buf_str(&meta));
    } else {
        buf_printf(&w->out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{},\"items\":[",
                   list_kind(w), list_version(w));
    }
}

static void put_protobuf(struct figure_writer *w, void *object)
{
    AUTO_BUF item = BUF_INIT;
    if (is_partial(w)) {
        AUTO_BUF meta = BUF_INIT;
        api_pb_encode(&meta_v1_object_meta_msg, api_meta_of(w->kind, object), &meta);
        buf_putc(&item, (1 << 3) | 2);
        buf_put_varint(&item, meta.len);
        buf_append_str(&item, buf_str(&meta));
    } else {
        api_pb_encode(w->kind->msg, object, &item);
    }
    buf_putc(&w->out, (2 << 3) | 2);
    buf_put_varint(&w->out, item.len);
    buf_append_str(&w->out, buf_str(&item));
}

void figure_writer_add(struct figure_writer *w, void *object)
{
    bool table = w->accept->transform == AS_TABLE;
    if (w->accept->media == MEDIA_PROTOBUF && !table) {
        put_protobuf(w, object);
        w->count++;
        return;
    }
    if (w->count++ != 0)
        buf_putc(&w->out, ',');
    else if (table)
        put_columns(w);
    if (table) {
        put_row(w, object);
    } else if (is_partial(w)) {
        buf_puts(&w->out, "{\"metadata\":");
        api_json_encode(&meta_v1_object_meta_msg, api_meta_of(w->kind, object), STR_NULL, STR_NULL,
                        &w->out);
        buf_putc(&w->out, '}');
    } else {
        api_json_encode(w->kind->msg, object, STR_NULL, STR_NULL, &w->out);
    }
}

void figure_writer_close(struct figure_writer *w)
{
    AUTO_ARENA *a = arena_new(0);
    bool table = w->accept->transform == AS_TABLE;
    struct buf out = BUF_INIT;
    if (w->accept->media == MEDIA_PROTOBUF && !table) {
        api_envelope_write(str_of(list_version(w)), str_of(list_kind(w)), buf_str(&w->out), &out);
        buf_done(&w->out);
        w->out = out;
        return;
    }
    /* A table of nothing has no columns there either. */
    buf_puts(&w->out, table && w->count == 0 ? "\"columnDefinitions\":null,\"rows\":null}" : "]}");
    if ((w->accept->media == MEDIA_YAML || w->accept->pretty) &&
        encode_reformat(a, w->accept, buf_str(&w->out), &out, NULL) == 0) {
        buf_done(&w->out);
        w->out = out;
    }
    if (w->accept->media == MEDIA_JSON)
        buf_putc(&w->out, '\n');
}

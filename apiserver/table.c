/* table.c - see table.h. */
#include "apiserver/table.h"

#include "api/meta_v1.h"
#include "apiserver/encode.h"
#include "apiserver/selector.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const struct table_column default_columns[] = {
    {"Name", "string", "name", "Name of the object, unique within its namespace.", 0},
    {"Created At", "date", "", "When the object was created.", 0},
    {0},
};

static const struct table_column *columns_of(const struct resource *r)
{
    return r->ops->columns != NULL ? r->ops->columns : default_columns;
}

bool table_include_parse(struct str text, enum include_object *ret)
{
    if (text.len == 0 || str_eqc(text, "Metadata"))
        *ret = INCLUDE_METADATA;
    else if (str_eqc(text, "None"))
        *ret = INCLUDE_NONE;
    else if (str_eqc(text, "Object"))
        *ret = INCLUDE_OBJECT;
    else
        return false;
    return true;
}

void table_open(const struct accepted *f, struct buf *out)
{
    buf_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/%s\"", f->version);
}

void table_columns(const struct resource *r, struct buf *out)
{
    buf_puts(out, "\"columnDefinitions\":[");
    for (const struct table_column *c = columns_of(r); c->name != NULL; c++) {
        buf_puts(out, c == columns_of(r) ? "{\"name\":" : ",{\"name\":");
        json_write_string(str_of(c->name), out);
        buf_printf(out, ",\"type\":\"%s\",\"format\":\"%s\",\"description\":", c->type, c->format);
        json_write_string(str_of(c->description), out);
        buf_printf(out, ",\"priority\":%" PRId32 "}", c->priority);
    }
    buf_putc(out, ']');
}

static void next_cell(struct table_row *r)
{
    if (r->cells++ != 0)
        buf_putc(r->out, ',');
}

void cell_str(struct table_row *r, struct str s)
{
    next_cell(r);
    json_write_string(s, r->out);
}

void cell_strc(struct table_row *r, const char *s)
{
    cell_str(r, str_of(s));
}

void cell_printf(struct table_row *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cell_str(r, str_n(text, n < 0 ? 0 : MIN_OF((size_t)n, sizeof(text) - 1)));
}

void cell_int(struct table_row *r, int64_t v)
{
    next_cell(r);
    buf_printf(r->out, "%" PRId64, v);
}

void cell_bool(struct table_row *r, bool v)
{
    next_cell(r);
    buf_puts(r->out, v ? "true" : "false");
}

void cell_null(struct table_row *r)
{
    next_cell(r);
    buf_puts(r->out, "null");
}

void cell_json(struct table_row *r, const struct json *j)
{
    next_cell(r);
    json_write(j, true, r->out);
}

void cell_duration(struct table_row *r, int64_t seconds)
{
    char text[AGE_TEXT_MAX];
    cell_str(r, str_n(text, age_format(seconds, text)));
}

void cell_age(struct table_row *r, const struct meta_v1_time *t)
{
    if (t == NULL || time_is_zero(t))
        cell_strc(r, "<unknown>");
    else
        cell_duration(r, r->now_ns / 1000000000 - t->seconds);
}

void cell_join(struct table_row *r, const struct str *items, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        if (i != 0)
            buf_putc(&b, ',');
        buf_append_str(&b, items[i]);
    }
    cell_str(r, count != 0 ? buf_str(&b) : STR("<none>"));
}

void cell_labels(struct table_row *r, const struct api_str_entry *e, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s" STR_FMT "=" STR_FMT, i == 0 ? "" : ",", STR_ARG(e[i].key),
                   STR_ARG(e[i].value));
    cell_str(r, count != 0 ? buf_str(&b) : STR("<none>"));
}

void cell_selector(struct table_row *r, const struct meta_v1_label_selector *s)
{
    struct api_label_selector parsed;
    struct str text = STR_NULL;
    if (s != NULL)
        text = api_label_selector_from(r->arena, s, &parsed, NULL) == 0
                   ? api_label_selector_text(r->arena, &parsed)
                   : STR("<error>");
    cell_str(r, text.len != 0 ? text : STR("<none>"));
}

void row_condition(struct table_row *r, const char *type, const char *status, const char *reason,
                   const char *message)
{
    if (r->conditions->len != 0)
        buf_putc(r->conditions, ',');
    buf_printf(r->conditions, "{\"type\":\"%s\",\"status\":\"%s\"", type, status);
    if (reason != NULL && reason[0] != '\0') {
        buf_puts(r->conditions, ",\"reason\":");
        json_write_string(str_of(reason), r->conditions);
    }
    if (message != NULL && message[0] != '\0') {
        buf_puts(r->conditions, ",\"message\":");
        json_write_string(str_of(message), r->conditions);
    }
    buf_putc(r->conditions, '}');
}

struct arena *row_arena(struct table_row *r)
{
    return r->arena;
}

int64_t row_now_ns(const struct table_row *r)
{
    return r->now_ns;
}

static void default_row(struct table_row *r, const struct meta_v1_object_meta *m)
{
    AUTO_BUF b = BUF_INIT;
    cell_str(r, m->name);
    api_json_encode(&meta_v1_time_msg, &m->creation_timestamp, STR_NULL, STR_NULL, &b);
    next_cell(r);
    buf_append_str(r->out, buf_str(&b));
}

static void write_object(struct arena *a, const struct accepted *f, const struct resource *r,
                         void *msg, enum include_object include, struct buf *out)
{
    const struct meta_v1_object_meta *m = api_meta_of(r->storage, msg);
    if (include == INCLUDE_NONE) {
        buf_puts(out, "null");
    } else if (include == INCLUDE_METADATA) {
        encode_partial_json(f, m, out);
    } else {
        api_json_encode(r->kind->msg, registry_from_storage(a, r, msg),
                        str_of(r->kind->api_version), str_of(r->kind->kind), out);
    }
}

void table_row_write(struct arena *a, const struct accepted *f, const struct resource *r, void *msg,
                     enum include_object include, int64_t now_ns, struct buf *out)
{
    AUTO_BUF conditions = BUF_INIT;
    struct table_row row = {
        .arena = a, .out = out, .conditions = &conditions, .now_ns = now_ns, .res = r};
    buf_puts(out, "{\"cells\":[");
    if (r->ops->row != NULL)
        r->ops->row(&row, msg);
    else
        default_row(&row, api_meta_of(r->storage, msg));
    buf_putc(out, ']');
    if (conditions.len != 0) {
        buf_puts(out, ",\"conditions\":[");
        buf_append_str(out, buf_str(&conditions));
        buf_putc(out, ']');
    }
    buf_puts(out, ",\"object\":");
    write_object(a, f, r, msg, include, out);
    buf_putc(out, '}');
}

/* json_decode_special.c - values whose JSON is not the object of their fields:
 * what Go's UnmarshalJSON methods do. */
#include "lib/api/json_decode.h"

#include "api/apiextensions_v1.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "api/runtime.h"
#include "lib/api/quantity.h"
#include "lib/api/time.h"
#include "lib/api/walk.h"
#include "lib/base/arena.h"
#include "lib/base/flags.h"

/* Remembers what a parser of ours said. */
static int remember(struct json_decoder *d, const struct error *err)
{
    return json_decode_wrong(d, "%s", error_message(err));
}

/* A string on its own, as json.Unmarshal(b, &str) reads one: 1 when read. */
static int lone_string(struct json_decoder *d, struct str *ret)
{
    int r;
    if (json_lex_peek(&d->lex) != '"')
        r = json_decode_mismatch(d, NULL, "string");
    else
        r = (r = json_lex_string(&d->lex, ret)) == 0 ? 1 : r;
    return r;
}

static int decode_time(struct json_decoder *d, struct meta_v1_time *t)
{
    struct error err = {0};
    struct str text = STR_NULL;
    int r = lone_string(d, &text);
    if (r == 1 && time_parse(text, t, &err) != 0)
        return remember(d, &err);
    return r < 0 ? r : 0;
}

static int decode_micro_time(struct json_decoder *d, struct meta_v1_micro_time *t)
{
    struct error err = {0};
    struct str text = STR_NULL;
    int r = lone_string(d, &text);
    if (r == 1 && micro_time_parse(text, t, &err) != 0)
        return remember(d, &err);
    return r < 0 ? r : 0;
}

static int decode_duration(struct json_decoder *d, struct meta_v1_duration *t)
{
    struct str text = STR_NULL;
    int r = lone_string(d, &text);
    if (r == 1 && duration_parse(text, &t->duration) != 0)
        return json_decode_wrong(d, "time: invalid duration \"" STR_FMT "\"", STR_ARG(text));
    return r < 0 ? r : 0;
}

static struct str trim_quotes(struct str s)
{
    if (s.len >= 2 && s.data[0] == '"' && s.data[s.len - 1] == '"')
        s = str_sub(s, 1, s.len - 2);
    return str_trim(s);
}

static int decode_quantity(struct json_decoder *d, struct resource_quantity *q)
{
    struct error err = {0};
    struct str raw, canonical;
    int r = json_lex_skip(&d->lex, 0, &raw);
    if (r != 0)
        return r;
    /* Numbers are welcome, and escapes are not looked at. */
    if (quantity_canonical(d->lex.arena, trim_quotes(raw), &canonical, &err) != 0)
        return remember(d, &err);
    q->string = json_lex_copy(&d->lex, canonical);
    return 0;
}

static int decode_int_or_string(struct json_decoder *d, struct intstr_int_or_string *x)
{
    int64_t v = 0;
    *x = (struct intstr_int_or_string){0};
    if (json_lex_peek(&d->lex) == '"') {
        x->type = 1;
        return json_lex_string(&d->lex, &x->str_val);
    }
    int r = json_decode_int(d, NULL, 32, &v);
    x->int_val = (int32_t)v;
    return r < 0 ? r : 0;
}

static int decode_raw(struct json_decoder *d, unsigned depth, struct str *ret)
{
    struct str raw;
    int r = json_lex_skip(&d->lex, depth, &raw);
    if (r == 0)
        *ret = json_lex_copy(&d->lex, raw);
    return r;
}

/* Nested documents report no unknown fields, and their paths start anew. */
static int decode_schema(struct json_decoder *d, unsigned depth,
                         struct apiextensions_v1_json_schema_props **ret)
{
    struct api_warnings *warnings = d->warnings;
    d->warnings = NULL;
    *ret = api_msg_new(d->lex.arena, &apiextensions_v1_json_schema_props_msg);
    int r = json_decode_message(d, &apiextensions_v1_json_schema_props_msg, NULL, depth + 1, *ret);
    d->warnings = warnings;
    return r;
}

static int decode_schema_or_bool(struct json_decoder *d, unsigned depth,
                                 struct apiextensions_v1_json_schema_props_or_bool *x)
{
    int c = json_lex_peek(&d->lex);
    struct str ignored;
    *x = (struct apiextensions_v1_json_schema_props_or_bool){0};
    if (c == '{') {
        x->allows = true;
        return decode_schema(d, depth, &x->schema);
    }
    x->allows = c == 't';
    int r = json_lex_skip(&d->lex, depth, &ignored);
    if (r == 0 && c != 't' && c != 'f')
        return json_decode_wrong(d, "boolean or JSON schema expected");
    return r;
}

/* The list of a message's own first repeated field, decoded as an array. */
static int decode_list_field(struct json_decoder *d, const struct api_msg *m,
                             const struct json_frame *frame, unsigned depth, void *base)
{
    const struct api_field *f = NULL;
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].label == API_REPEATED)
            f = &m->fields[i];
    ASSERT(f != NULL);
    return json_decode_list(d, f, frame, depth, base);
}

static int decode_schema_or_array(struct json_decoder *d, const struct api_msg *m, unsigned depth,
                                  struct apiextensions_v1_json_schema_props_or_array *x)
{
    struct str ignored;
    int c = json_lex_peek(&d->lex);
    *x = (struct apiextensions_v1_json_schema_props_or_array){0};
    if (c == '{')
        return decode_schema(d, depth, &x->schema);
    if (c != '[')
        return json_lex_skip(&d->lex, depth, &ignored);
    struct api_warnings *warnings = d->warnings;
    d->warnings = NULL;
    int r = decode_list_field(d, m, NULL, depth, x);
    d->warnings = warnings;
    return r;
}

static int decode_schema_or_strings(struct json_decoder *d, const struct api_msg *m, unsigned depth,
                                    struct apiextensions_v1_json_schema_props_or_string_array *x)
{
    struct str ignored;
    int c = json_lex_peek(&d->lex);
    *x = (struct apiextensions_v1_json_schema_props_or_string_array){0};
    if (c == '{')
        return decode_schema(d, depth, &x->schema);
    if (c == '[')
        return decode_list_field(d, m, NULL, depth, x);
    return json_lex_skip(&d->lex, depth, &ignored);
}

static int decode_group_version(struct json_decoder *d, struct meta_v1_group_version *x)
{
    struct str text = STR_NULL;
    int r = lone_string(d, &text);
    if (r == 1 && !str_cut(text, '/', &x->group, &x->version)) {
        x->version = x->group;
        x->group = STR_NULL;
    }
    return r < 0 ? r : 0;
}

int json_decode_special(struct json_decoder *d, const struct api_msg *m,
                        const struct json_frame *frame, unsigned depth, void *base)
{
    if (json_lex_peek(&d->lex) == 'n') {
        memset(base, 0, m->size);
        return json_lex_literal(&d->lex, "null");
    }
    switch ((enum api_special)m->special) {
    case API_PLAIN:
        break;
    case API_TIME:
        return decode_time(d, base);
    case API_MICRO_TIME:
        return decode_micro_time(d, base);
    case API_DURATION:
        return decode_duration(d, base);
    case API_QUANTITY:
        return decode_quantity(d, base);
    case API_INT_OR_STRING:
        return decode_int_or_string(d, base);
    case API_FIELDS_V1:
        return decode_raw(d, depth, &((struct meta_v1_fields_v1 *)base)->raw);
    case API_RAW_EXTENSION:
        return decode_raw(d, depth, &((struct runtime_raw_extension *)base)->raw);
    case API_UNKNOWN:
        return decode_raw(d, depth, &((struct runtime_unknown *)base)->raw);
    case API_JSON:
        return decode_raw(d, depth, &((struct apiextensions_v1_json *)base)->raw);
    case API_SCHEMA_OR_BOOL:
        return decode_schema_or_bool(d, depth, base);
    case API_SCHEMA_OR_ARRAY:
        return decode_schema_or_array(d, m, depth, base);
    case API_SCHEMA_OR_STRING_ARRAY:
        return decode_schema_or_strings(d, m, depth, base);
    case API_STRING_LIST:
        return decode_list_field(d, m, frame, depth, base);
    case API_GROUP_VERSION:
        return decode_group_version(d, base);
    case API_CUSTOM:
        return json_decode_custom(d, m, frame, depth, base);
    }
    PANIC("message %s has no special form", m->full_name);
}

/* openapi_writer.c - see openapi_writer.h. */
#include "apiserver/openapi_writer.h"

#include "lib/api/json.h"
#include "lib/api/json_write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define TITLE "Kubernetes"
#define RELEASE "v1.36.2"

/* Where a section stands: its name in JSON, and the fields that lead to an
 * item's name and value in protobuf. */
struct place {
    const char *name;
    uint8_t outer;  /* v3: Document.components; 0: none. */
    uint8_t member; /* The section. */
    uint8_t item;   /* The repeated pair {name = 1, value = 2}. */
};

static const struct place places[2][4] = {
    [OPENAPI_V2] = {{"paths", 0, 8, 2},
                    {"definitions", 0, 9, 1},
                    {"parameters", 0, 10, 1},
                    {"securityDefinitions", 0, 13, 1}},
    [OPENAPI_V3] = {{"paths", 0, 4, 1},
                    {"schemas", 5, 1, 1},
                    {NULL, 0, 0, 0},
                    {"securitySchemes", 5, 7, 1}},
};

static const struct place *place_of(const struct openapi_writer *w)
{
    return &places[w->version][w->section];
}

static void put_bytes(struct buf *b, uint32_t number, const void *p, size_t n)
{
    buf_put_varint(b, (number << 3) | 2);
    buf_put_varint(b, n);
    buf_append(b, p, n);
}

void openapi_writer_open(struct openapi_writer *w, enum openapi_version version, bool protobuf,
                         struct buf *out)
{
    *w = (struct openapi_writer){
        .version = version, .protobuf = protobuf, .out = out, .scratch = arena_new(64 << 10)};
    const char *number = version == OPENAPI_V2 ? "2.0" : "3.0.0";
    if (!protobuf) {
        buf_printf(out,
                   "{\"%s\":\"%s\",\"info\":{\"title\":\"" TITLE "\",\"version\":\"" RELEASE "\"}",
                   version == OPENAPI_V2 ? "swagger" : "openapi", number);
        return;
    }
    put_bytes(out, 1, number, strlen(number));
    size_t from = out->len;
    put_bytes(out, 1, TITLE, sizeof(TITLE) - 1);
    put_bytes(out, version == OPENAPI_V2 ? 2 : 6, RELEASE, sizeof(RELEASE) - 1);
    openapi_proto_wrap(out, from, 2);
}

static void end_section(struct openapi_writer *w)
{
    if (w->any_section && !w->protobuf)
        buf_putc(w->out, '}');
}

void openapi_writer_section(struct openapi_writer *w, enum openapi_section section)
{
    end_section(w);
    w->section = section;
    w->any_section = true;
    w->any_item = false;
    const struct place *p = place_of(w);
    ASSERT(p->name != NULL);
    if (w->protobuf || w->divert != NULL)
        return;
    if (p->outer != 0 && !w->in_components) {
        buf_puts(w->out, ",\"components\":{");
        w->in_components = true;
    } else
        buf_putc(w->out, ',');
    buf_printf(w->out, "\"%s\":{", p->name);
}

void openapi_writer_item(struct openapi_writer *w, struct str name, struct str json)
{
    if (w->divert != NULL) {
        w->divert(w->divert_arg, w->section, name, json);
        return;
    }
    if (!w->protobuf) {
        if (w->any_item)
            buf_putc(w->out, ',');
        json_write_string(name, w->out);
        buf_putc(w->out, ':');
        buf_append_str(w->out, json);
        w->any_item = true;
        return;
    }
    const struct place *p = place_of(w);
    size_t from = w->out->len;
    put_bytes(w->out, 1, name.data, name.len);
    size_t value = w->out->len;
    openapi_proto_item(w->version, w->section, json_parse_own(w->scratch, json), w->out);
    openapi_proto_wrap(w->out, value, 2);
    openapi_proto_wrap(w->out, from, p->item);
    openapi_proto_wrap(w->out, from, p->member);
    if (p->outer != 0)
        openapi_proto_wrap(w->out, from, p->outer);
    arena_clear(w->scratch);
}

void openapi_writer_close(struct openapi_writer *w)
{
    openapi_writer_section(w, OPENAPI_SECURITY_SCHEMES);
    openapi_writer_item(w, STR("BearerToken"),
                        STR("{\"description\":\"A bearer token\",\"in\":\"header\",\"name\":"
                            "\"authorization\",\"type\":\"apiKey\"}"));
    end_section(w);
    if (!w->protobuf) {
        if (w->in_components)
            buf_putc(w->out, '}');
        buf_puts(w->out, w->version == OPENAPI_V2 ? ",\"security\":[{\"BearerToken\":[]}]}" : "}");
    } else if (w->version == OPENAPI_V2) {
        size_t from = w->out->len; /* security { {"BearerToken", {}} } */
        put_bytes(w->out, 1, "BearerToken", 11);
        put_bytes(w->out, 2, "", 0);
        openapi_proto_wrap(w->out, from, 1);
        openapi_proto_wrap(w->out, from, 12);
    }
    arena_free(w->scratch);
    w->scratch = NULL;
}

/* openapi_writer.h - one document on its way out, section by section and item
 * by item, as JSON or as the protobuf of it.
 *
 * Each item comes as JSON text; for protobuf it is parsed and turned into the
 * messages of openapi.v2 or openapi.v3 by itself. That works without knowing
 * the document's length, since a message field that occurs several times is
 * merged by who reads it. */
#ifndef APISERVER_OPENAPI_WRITER_H
#define APISERVER_OPENAPI_WRITER_H

#include "apiserver/openapi.h"

struct arena;
struct json;

enum openapi_section {
    OPENAPI_PATHS,
    OPENAPI_SCHEMAS,          /* definitions; components.schemas */
    OPENAPI_PARAMETERS,       /* v2 only */
    OPENAPI_SECURITY_SCHEMES, /* securityDefinitions; components.securitySchemes */
};

struct openapi_writer {
    enum openapi_version version;
    bool protobuf;
    struct buf *out;       /* Borrowed. */
    struct arena *scratch; /* Owned; of one item. */
    enum openapi_section section;
    bool any_section, any_item, in_components;
    /* Set after open: items go there, and nothing is written. */
    void (*divert)(void *arg, enum openapi_section section, struct str name, struct str json);
    void *divert_arg;
};

void openapi_writer_open(struct openapi_writer *w, enum openapi_version version, bool protobuf,
                         struct buf *out);
/* Ends the section before. v3: paths first, then the components together. */
void openapi_writer_section(struct openapi_writer *w, enum openapi_section section);
void openapi_writer_item(struct openapi_writer *w, struct str name, struct str json);
/* Ends the document: every request carries a token. */
void openapi_writer_close(struct openapi_writer *w);

/* --- openapi_proto.c --------------------------------------------------------------------------
 * Appends the message that says what the JSON says. What the format has no
 * place for is left out, as upstream's conversion does. */
void openapi_proto_item(enum openapi_version version, enum openapi_section section,
                        const struct json *j, struct buf *out);
/* The bytes in b from position `from` on become the content of a field. */
void openapi_proto_wrap(struct buf *b, size_t from, uint32_t number);

#endif

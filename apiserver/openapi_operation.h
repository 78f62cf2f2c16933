/* openapi_operation.h - one path with its operations, and its JSON. */
#ifndef APISERVER_OPENAPI_OPERATION_H
#define APISERVER_OPENAPI_OPERATION_H

#include "apiserver/openapi_params.h"

/* What an operation answers: bits. */
enum {
    ANSWER_CREATED = 1 << 0,  /* 201 too */
    ANSWER_ACCEPTED = 1 << 1, /* 202 too */
    ANSWER_STREAM = 1 << 2,   /* Watch streams are offered */
    ANSWER_TEXT = 1 << 3,     /* A string, as plain text or whatever the other side says */
    ANSWER_ANY = 1 << 4,      /* Of any media type */
    ANSWER_KEYS = 1 << 5,     /* Of the type of key sets */
    ANSWER_JSON = 1 << 6,     /* As JSON only */
    ANSWER_SAME = 1 << 7,     /* Consumes what it answers in (v2, and of no meaning) */
};

struct openapi_operation {
    const char *method; /* "get" */
    const char *action; /* x-kubernetes-action; NULL: none, nor a kind */
    struct str id;      /* operationId */
    struct str text;    /* description */
    openapi_params params;
    struct str body;                    /* Definition's name; empty: none */
    struct str answer;                  /* Definition's name; empty: a string */
    unsigned flags;                     /* ANSWER_* */
    const char *group, *version, *kind; /* x-kubernetes-group-version-kind */
};

enum { OPENAPI_OPERATIONS_MAX = 8 };

struct openapi_item {
    struct str path;
    struct openapi_operation operations[OPENAPI_OPERATIONS_MAX]; /* By method. */
    size_t count;
    const char *kind; /* For the text of {name}. */
    bool protobuf;    /* What the resource is offered in: custom ones only as text. */
};

/* Writes the item and returns the parameters that its operations take. */
openapi_params openapi_item_write(struct openapi_writer *w, const struct openapi_item *it,
                                  struct str tag);

#endif

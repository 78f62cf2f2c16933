/* review.h - what a conversion webhook is asked and what it may answer: the
 * ConversionReview of apiextensions.k8s.io. Pure.
 *
 * A webhook changes everything of an object but its metadata, of which labels
 * and annotations are its own; what it returns is checked object by object. */
#ifndef APISERVER_CUSTOM_REVIEW_H
#define APISERVER_CUSTOM_REVIEW_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct json;
struct meta_v1_object_meta;

struct review {
    struct str version; /* "v1" or "v1beta1". */
    struct str uid;
    struct str from;    /* "group/v1, Kind=Foo", for messages. */
    struct str kind;    /* That all objects are of. */
    struct str desired; /* "group/v2" */
};

struct review_item {
    struct str sent;                            /* JSON, in the version that it is in. */
    const struct meta_v1_object_meta *metadata; /* Of what was sent. */
    struct json *converted;                     /* Out: what came back, metadata and all. */
};

/* What kind of failure it was, as upstream's metrics tell them apart. */
enum review_fault {
    REVIEW_CALL,
    REVIEW_MALFORMED,
    REVIEW_PARTIAL,
    REVIEW_INVALID_OBJECT,
};

/* The first of the versions that we know; empty: none. */
struct str review_version(const struct str *versions, size_t count);
void review_write(const struct review *r, const struct review_item *items, size_t count,
                  struct buf *out);
/* Fills in converted. False: *ret_why is the whole message. */
bool review_read(struct arena *a, const struct review *r, struct str answer,
                 struct review_item *items, size_t count, struct str *ret_why,
                 enum review_fault *ret_fault);

#endif

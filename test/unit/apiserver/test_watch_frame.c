/* test_watch_frame.c - frames are in the form that the watcher asked for. */
#include "apiserver/watch_frame.h"

#include "lib/net/bytes.h"
#include "test/unit/unit.h"

#include <string.h>

static const struct api_kind kind = {.kind = "PartialObjectMetadata"};
static const struct resource res = {.kind = &kind};

/* A watcher of metadata that asked for protobuf gets bookmarks in protobuf: a
 * length in front, an envelope inside. */
START_TEST(bookmark_of_metadata_in_protobuf)
{
    struct watch_form f = {
        .res = &res, .accept = {.media = MEDIA_PROTOBUF, .transform = AS_PARTIAL, .version = "v1"}};
    struct net_bytes *b = frame_bookmark(&f, 4711, true, false);
    ck_assert_uint_gt(b->len, 4);
    size_t len = (size_t)b->data[0] << 24 | (size_t)b->data[1] << 16 | (size_t)b->data[2] << 8 |
                 (size_t)b->data[3];
    ck_assert_uint_eq(len, b->len - 4);
    ck_assert_ptr_nonnull(memmem(b->data, b->len, "k8s\0", 4));
    ck_assert_ptr_nonnull(memmem(b->data, b->len, "4711", 4));
    ck_assert_ptr_nonnull(memmem(b->data, b->len, "initial-events-end", 18));
    net_bytes_unref(b);
}
END_TEST

/* One that asked for JSON gets a line of JSON. */
START_TEST(bookmark_of_metadata_in_json)
{
    struct watch_form f = {
        .res = &res, .accept = {.media = MEDIA_JSON, .transform = AS_PARTIAL, .version = "v1"}};
    struct net_bytes *b = frame_bookmark(&f, 4711, false, false);
    ck_assert_int_eq(b->data[0], '{');
    ck_assert_int_eq(b->data[b->len - 1], '\n');
    ck_assert_ptr_nonnull(memmem(b->data, b->len, "\"type\":\"BOOKMARK\"", 17));
    net_bytes_unref(b);
}
END_TEST

UNIT_MAIN("watch frames", {
    UNIT_TEST(bookmark_of_metadata_in_protobuf);
    UNIT_TEST(bookmark_of_metadata_in_json);
})

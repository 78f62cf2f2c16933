/* test_content.c - which form an answer takes. */
#include "apiserver/content.h"

#include "lib/base/arena.h"
#include "test/unit/unit.h"

static struct accepted negotiate(const char *accept, bool *ret_found)
{
    struct accepted out;
    bool bad;
    *ret_found = accept_negotiate(str_of(accept), 0, &out, &bad);
    return out;
}

/* The first form that can be served, by quality and then by order. */
START_TEST(media)
{
    static const struct {
        const char *accept;
        bool found;
        enum media media;
    } cases[] = {
        {"", true, MEDIA_JSON},
        {"*/*", true, MEDIA_JSON},
        {"application/yaml", true, MEDIA_YAML},
        {"application/vnd.kubernetes.protobuf,application/json", true, MEDIA_PROTOBUF},
        {"application/cbor,application/json", true, MEDIA_JSON},
        {"application/yaml;q=0.1,application/json;q=0.9", true, MEDIA_JSON},
        {"text/html;q=0.9,application/json;q=0.1", true, MEDIA_JSON},
        {"text/html", false, MEDIA_JSON},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool found;
        struct accepted out = negotiate(cases[i].accept, &found);
        ck_assert_int_eq(found, cases[i].found);
        if (found)
            ck_assert_int_eq(out.media, cases[i].media);
    }
}
END_TEST

/* Tables and metadata; what is unknown falls back to the next clause. */
START_TEST(transforms)
{
    bool found;
    struct accepted out =
        negotiate("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", &found);
    ck_assert_int_eq(out.transform, AS_TABLE);
    out = negotiate("application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io", &found);
    ck_assert_int_eq(out.transform, AS_PARTIAL);
    ck_assert_str_eq(out.version, "v1beta1");
    out = negotiate("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", &found);
    ck_assert(found);
    ck_assert_int_eq(out.transform, AS_OBJECT);
    /* A table has no protobuf form. */
    out = negotiate(
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", &found);
    ck_assert_int_eq(out.media, MEDIA_JSON);
    ck_assert_int_eq(out.transform, AS_OBJECT);
    /* What nobody shows in columns is refused, unless something else will do. */
    static const char table[] = "application/json;as=Table;v=v1;g=meta.k8s.io";
    bool bad;
    ck_assert(!accept_negotiate(STR(table), ACCEPT_NO_TABLE, &out, &bad));
    ck_assert(bad);
    ck_assert(accept_negotiate(STR("application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml"),
                               ACCEPT_NO_TABLE, &out, &bad));
    ck_assert_int_eq(out.media, MEDIA_YAML);
    ck_assert_int_eq(out.transform, AS_OBJECT);
    /* A custom object has no protobuf form, its metadata has. */
    ck_assert(!accept_negotiate(STR(TYPE_PROTOBUF), ACCEPT_NO_PROTOBUF, &out, &bad));
    ck_assert(accept_negotiate(STR(TYPE_PROTOBUF ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
                               ACCEPT_NO_PROTOBUF, &out, &bad));
    ck_assert_int_eq(out.transform, AS_PARTIAL);
}
END_TEST

/* Aggregated discovery only when it is asked for before plain JSON. */
START_TEST(aggregated)
{
    const char *type;
    bool beta;
    ck_assert(accept_aggregated(
        STR("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/"
            "json"),
        &type, &beta));
    ck_assert(!beta);
    ck_assert(!accept_aggregated(STR("application/json"), &type, &beta));
    ck_assert(!accept_aggregated(STR("*/*"), &type, &beta));
}
END_TEST

START_TEST(bodies)
{
    ck_assert_int_eq(body_type_of(STR("")), BODY_JSON);
    ck_assert_int_eq(body_type_of(STR("application/json; charset=utf-8")), BODY_JSON);
    ck_assert_int_eq(body_type_of(STR("application/strategic-merge-patch+json")),
                     BODY_STRATEGIC_PATCH);
    ck_assert_int_eq(body_type_of(STR("text/plain")), BODY_UNKNOWN);
}
END_TEST

UNIT_MAIN("content", {
    UNIT_TEST(media);
    UNIT_TEST(transforms);
    UNIT_TEST(aggregated);
    UNIT_TEST(bodies);
})

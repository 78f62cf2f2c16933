/* openapi.c - /openapi/v2 and /openapi/v3.
 *
 * What clients need in order to write: that each kind's patch takes
 * fieldValidation, so that they leave validation to the server. The types
 * themselves follow with the full documents. */
#include "apiserver/discovery.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/map.h"
#include "lib/base/version.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/pki.h"

#include <stdio.h>

/* Clients ask for spec.v2@v1.0, but '@' is no token of a media type: Go's
 * parser refuses it in an answer. */
#define V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#define TITLE "Kubernetes"

static struct map documents; /* "api/v1" -> struct str * */
static struct str index_json;

static void put_patch(struct buf *b, const struct api_kind *k, bool first)
{
    buf_printf(
        b, "%s\"/%s%s/%s%s/%s/{name}\":{\"patch\":{\"operationId\":\"patch%s%s\",\"parameters\":[",
        first ? "" : ",", k->group[0] != '\0' ? "apis/" : "api", k->group, k->version,
        k->namespaced ? "/namespaces/{namespace}" : "", k->resource,
        k->namespaced ? "Namespaced" : "", k->kind);
    static const char *const names[] = {"dryRun", "fieldManager", "fieldValidation"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        buf_printf(b,
                   "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"string\","
                   "\"uniqueItems\":true}}",
                   i == 0 ? "" : ",", names[i]);
    buf_printf(
        b,
        "],\"responses\":{\"200\":{\"description\":\"OK\"}},\"x-kubernetes-action\":\"patch\","
        "\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}}"
        "}",
        k->group, k->version, k->kind);
}

static void make_version(struct buf *index, const char *path, struct str group, struct str version)
{
    struct buf b = BUF_INIT;
    size_t pos = 0, len;
    bool first = true;
    const struct resource *r;
    buf_puts(&b, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"" TITLE
                 "\",\"version\":\"" KUBERNETES_VERSION "\"},\"paths\":{");
    while ((r = registry_next(group, version, &pos)) != NULL) {
        if (!api_list_has(r->kind->verbs, STR("patch")))
            continue;
        put_patch(&b, r->kind, first);
        first = false;
    }
    buf_puts(&b, "},\"components\":{\"schemas\":{}}}\n");
    struct str *doc = xzalloc(sizeof(*doc));
    char *text = buf_steal(&b, &len);
    *doc = str_n(text, len);
    map_set(&documents, str_of(path), doc);
    uint8_t sum[32];
    char hex[65];
    net_sha256(text, len, sum);
    hex_encode_to(sum, sizeof(sum), hex);
    hex[64] = '\0';
    buf_printf(index, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%.64s\"}",
               index->data[index->len - 1] == '{' ? "" : ",", path, path, hex);
}

void openapi_init(void)
{
    struct buf index = BUF_INIT;
    char path[128];
    size_t n, len;
    const struct registry_group *g = registry_groups(&n);
    map_init(&documents);
    buf_puts(&index, "{\"paths\":{");
    make_version(&index, "api/v1", STR(""), STR("v1"));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; g[i].versions[j] != NULL; j++) {
            snprintf(path, sizeof(path), "apis/%s/%s", g[i].name, g[i].versions[j]);
            make_version(&index, path, str_of(g[i].name), str_of(g[i].versions[j]));
        }
    buf_puts(&index, "}}\n");
    char *text = buf_steal(&index, &len);
    index_json = str_n(text, len);
}

static void put_bytes(struct buf *b, uint32_t number, const void *p, size_t n)
{
    buf_put_varint(b, (number << 3) | 2);
    buf_put_varint(b, n);
    buf_append(b, p, n);
}

/* gnostic's openapi.v2.Document: swagger = 1, info = 2 {title, version}, paths = 8. */
static void serve_v2(struct req *r)
{
    if (str_find_str(http_request_header(r->http, "accept"), STR("proto-openapi.spec.v2")) < 0) {
        req_text(r, 200, TYPE_JSON,
                 STR("{\"swagger\":\"2.0\",\"info\":{\"title\":\"" TITLE
                     "\",\"version\":\"" KUBERNETES_VERSION
                     "\"},\"paths\":{},\"definitions\":{}}\n"));
        return;
    }
    struct buf b = BUF_INIT;
    AUTO_BUF info = BUF_INIT;
    put_bytes(&info, 1, TITLE, sizeof(TITLE) - 1);
    put_bytes(&info, 2, KUBERNETES_VERSION, sizeof(KUBERNETES_VERSION) - 1);
    put_bytes(&b, 1, "2.0", 3);
    put_bytes(&b, 2, info.data, info.len);
    put_bytes(&b, 8, "", 0);
    req_bytes(r, 200, V2_PROTOBUF, net_bytes_steal(&b));
}

bool openapi_serve(struct req *r)
{
    struct str path = r->info.path, prefix = STR("/openapi/v3/");
    if (str_eqc(path, "/openapi/v2")) {
        serve_v2(r);
        return true;
    }
    if (str_eqc(path, "/openapi/v3") || str_eqc(path, "/openapi/v3/")) {
        req_text(r, 200, TYPE_JSON, index_json);
        return true;
    }
    if (!str_has_prefix(path, prefix))
        return false;
    const struct str *doc = map_get(&documents, str_sub(path, prefix.len, path.len));
    if (doc == NULL)
        return false;
    if (str_find_str(http_request_header(r->http, "accept"), STR("proto-openapi")) >= 0 &&
        str_find_str(http_request_header(r->http, "accept"), STR("json")) < 0)
        req_status(
            r, status_new(r->arena, 406, "NotAcceptable", STR("only application/json is served")));
    else
        req_text(r, 200, TYPE_JSON, *doc);
    return true;
}

/* test_etcd_gateway_http.c - JSON over HTTP through a server: unary calls, streams, clients that
 * leave, and what is refused. */
#include "test/unit/raftstore/etcd_rig.h"

static struct etcd_rig er;

static void begin(void)
{
    memset(&er, 0, sizeof(er));
    er.config.bcrypt_cost = 4;
    er_begin(&er);
}

struct post {
    struct http_call *call;
    struct buf body;
    int status;
    bool done;
};

static void on_headers(struct http_call *call, void *arg)
{
    struct post *p = arg;
    p->status = http_call_status(call);
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(call);
    struct post *p = arg;
    buf_append(&p->body, data, len);
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    UNUSED(call);
    UNUSED(err);
    struct post *p = arg;
    p->call = NULL;
    p->done = true;
}

static struct post *post_start(const char *method, const char *path, const char *token,
                               struct str json)
{
    struct post *p = xzalloc(sizeof(*p));
    const struct http_header headers[] = {{STR("content-type"), STR("application/json")},
                                          {STR("authorization"), str_of(token)}};
    struct net_bytes *body = net_bytes_copy(json.data, json.len);
    const struct http_call_config config = {.method = method,
                                            .target = path,
                                            .headers = headers,
                                            .header_count = token != NULL ? 2 : 1,
                                            .body = body,
                                            .on_headers = on_headers,
                                            .on_data = on_data,
                                            .on_end = on_end,
                                            .arg = p};
    ck_assert_int_eq(http_call_start(er.client, &config, &p->call, NULL), 0);
    net_bytes_unref(body);
    return p;
}

static void post_free(struct post *p)
{
    if (!p->done) {
        http_call_cancel(p->call);
        rig_wait(&er.rig, &p->done, 10000);
    }
    buf_done(&p->body);
    free(p);
}

static const char *text(struct post *p)
{
    buf_putc(&p->body, '\0');
    p->body.len--;
    return (const char *)p->body.data;
}

static char answer[4096];

/* The status; the body is in `answer`. */
static int post_as(const char *path, const char *token, const char *json)
{
    struct post *p = post_start("POST", path, token, str_of(json));
    ck_assert(rig_wait(&er.rig, &p->done, 20000));
    int status = p->status;
    snprintf(answer, sizeof(answer), "%s", text(p));
    post_free(p);
    return status;
}

static int post(const char *path, const char *json)
{
    return post_as(path, NULL, json);
}

static void wait_text(struct post *p, const char *want)
{
    for (int i = 0; i < 2000 && strstr(text(p), want) == NULL; i++)
        rig_sleep(&er.rig, 5);
    ck_assert_msg(strstr(text(p), want) != NULL, "%s in %s", want, text(p));
}

/* Calls answer in JSON, faults with code and status. */
START_TEST(unary)
{
    begin();
    ck_assert_int_eq(post("/v3/kv/put", "{\"key\":\"Zm9v\",\"value\":\"YmFy\"}"), 200);
    ck_assert_int_eq(post("/v3/kv/range", "{\"key\":\"Zm9v\"}"), 200);
    ck_assert_ptr_nonnull(strstr(
        answer, "\"kvs\":[{\"key\":\"Zm9v\",\"create_revision\":\"2\",\"mod_revision\":\"2\","
                "\"version\":\"1\",\"value\":\"YmFy\"}],\"count\":\"1\"}"));
    ck_assert_int_eq(post("/v3beta/kv/range", "{\"key\":\"Zm9v\"}"), 200);
    ck_assert_int_eq(post("/v3/maintenance/defragment", "{}"), 200); /* An empty message. */
    ck_assert_str_eq(answer, "{}");
    ck_assert_int_eq(post("/v3/kv/range", ""), 400);
    ck_assert_str_eq(answer, "{\"error\":\"etcdserver: key is not provided\",\"message\":"
                             "\"etcdserver: key is not provided\",\"code\":3}");
    ck_assert_int_eq(post("/v3/kv/range", "{"), 400);
    ck_assert_int_eq(post("/v3/kv/range", "{\"key\":5}"), 400);
    ck_assert_int_eq(post("/v3/kv/nonsense", "{}"), 404);
    ck_assert_int_eq(post("/v3/cluster/member/remove", "{\"ID\":\"5\"}"), 404);
    struct post *p = post_start("GET", "/v3/kv/range", NULL, STR("{}"));
    ck_assert(rig_wait(&er.rig, &p->done, 10000) && p->status == 405);
    post_free(p);
    er_end(&er);
}
END_TEST

/* A value as large as a request may be fits, though base64 makes it larger. */
START_TEST(large)
{
    begin();
    AUTO_BUF json = BUF_INIT;
    buf_puts(&json, "{\"key\":\"YQ==\",\"value\":\"");
    for (int i = 0; i < 1900000 / 4; i++)
        buf_puts(&json, "YWFh");
    buf_puts(&json, "\"}");
    struct post *p = post_start("POST", "/v3/kv/put", NULL, buf_str(&json));
    ck_assert(rig_wait(&er.rig, &p->done, 20000));
    ck_assert_int_eq(p->status, 200);
    post_free(p);
    p = post_start("POST", "/v3/kv/range", NULL, STR("{\"key\":\"YQ==\"}"));
    ck_assert(rig_wait(&er.rig, &p->done, 20000));
    ck_assert(p->status == 200 && p->body.len > 1900000);
    post_free(p);
    er_end(&er);
}
END_TEST

/* Streams go on after the request's end, a line for each answer. */
START_TEST(streams)
{
    begin();
    er_put(&er, "foo", "1");
    struct post *watch =
        post_start("POST", "/v3/watch", NULL,
                   STR("{\"create_request\":{\"key\":\"Zm9v\",\"start_revision\":\"1\"}}"));
    wait_text(watch, "\"created\":true}}\n");
    wait_text(watch, "\"value\":\"MQ==\"");
    er_put(&er, "foo", "2");
    wait_text(watch, "\"value\":\"Mg==\"");
    ck_assert(!watch->done && watch->status == 200);
    post_free(watch);
    ck_assert_int_eq(post("/v3/lease/grant", "{\"ID\":7,\"TTL\":100}"), 200);
    ck_assert_int_eq(post("/v3/lease/keepalive", "{\"ID\":7} {\"ID\":\"8\"}"), 200);
    ck_assert_ptr_nonnull(strstr(answer, "\"ID\":\"7\",\"TTL\":\"100\"}}\n{\"result\":"));
    ck_assert_int_eq(post("/v3/maintenance/snapshot", "{}"), 200);
    ck_assert_ptr_nonnull(strstr(answer, "\"blob\":\""));
    er_end(&er);
}
END_TEST

/* Asks until the key is there, or is not. The other side has threads of its own, which may be slow.
 */
static bool waits(const char *range, bool there)
{
    for (int i = 0; i < 6000; i++) {
        ck_assert_int_eq(post("/v3/kv/range", range), 200);
        if ((strstr(answer, "count") != NULL) == there)
            return true;
        rig_sleep(&er.rig, 5);
    }
    return false;
}

/* Who leaves while it waits for a lock waits no more. */
START_TEST(leaving)
{
    begin();
    for (int i = 1; i <= 2; i++) {
        char json[64];
        snprintf(json, sizeof(json), "{\"ID\":%d,\"TTL\":100}", i);
        ck_assert_int_eq(post("/v3/lease/grant", json), 200);
    }
    ck_assert_int_eq(post("/v3/lock/lock", "{\"name\":\"bA==\",\"lease\":1}"), 200);
    struct post *second =
        post_start("POST", "/v3/lock/lock", NULL, STR("{\"name\":\"bA==\",\"lease\":2}"));
    const char *waiting = "{\"key\":\"bC8y\"}"; /* l/2 */
    ck_assert(waits(waiting, true));
    post_free(second);
    ck_assert(waits(waiting, false));
    er_end(&er);
}
END_TEST

/* The token comes in the field Authorization. */
START_TEST(tokens)
{
    begin();
    ck_assert_int_eq(post("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"pw\"}"), 200);
    ck_assert_int_eq(post("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}"), 200);
    ck_assert_int_eq(post("/v3/auth/enable", "{}"), 200);
    ck_assert_int_eq(post("/v3/kv/range", "{\"key\":\"YQ==\"}"), 400);
    ck_assert_int_eq(post_as("/v3/kv/range", "x.y", "{\"key\":\"YQ==\"}"), 401);
    ck_assert_int_eq(post("/v3/auth/authenticate", "{\"name\":\"root\",\"password\":\"no\"}"), 400);
    ck_assert_int_eq(post("/v3/auth/authenticate", "{\"name\":\"root\",\"password\":\"pw\"}"), 200);
    char *token = strstr(answer, "\"token\":\"");
    ck_assert_ptr_nonnull(token);
    token = xstrdup(token + strlen("\"token\":\""));
    *strchr(token, '"') = '\0';
    ck_assert_int_eq(post_as("/v3/kv/range", token, "{\"key\":\"YQ==\"}"), 200);
    free(token);
    er_end(&er);
}
END_TEST

UNIT_MAIN("etcd gateway over HTTP", {
    UNIT_TEST(unary);
    UNIT_TEST(large);
    UNIT_TEST(streams);
    UNIT_TEST(leaving);
    UNIT_TEST(tokens);
})

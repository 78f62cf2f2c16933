/* gateway.c - the API as JSON over plain HTTP, under the paths and in the forms of
 * etcd's grpc-gateway. Calls run as gRPC calls do; only what goes in and comes
 * out is JSON. A stream's answers are {"result": ...}, one to a line. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/tls.h"
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/gateway_json.h"
#include "raftstore/etcd/json.h"

#include "etcd/v3election.pb-c.h"
#include "etcd/v3lock.pb-c.h"

#define MESSAGES_MAX 1024 /* In one request of a client stream. */
#define ANSWER_BYTES_MAX (256u << 20)
#define CONVERT_BYTES (256u << 10) /* Larger answers become JSON off the loop. */
#define CONVERSIONS_MAX 8          /* That many at a time. */

struct gateway_path {
    const char *path; /* Behind "/v3/". */
    const ProtobufCServiceDescriptor *service;
    const char *method;
    bool streams; /* The answer is a stream. */
};

#define KV &etcdserverpb__kv__descriptor
#define WATCH &etcdserverpb__watch__descriptor
#define LEASE &etcdserverpb__lease__descriptor
#define CLUSTER &etcdserverpb__cluster__descriptor
#define MAINTENANCE &etcdserverpb__maintenance__descriptor
#define AUTH &etcdserverpb__auth__descriptor
#define LOCK &v3lockpb__lock__descriptor
#define ELECTION &v3electionpb__election__descriptor

static const struct gateway_path PATHS[] = {
    {"kv/range", KV, "Range", false},
    {"kv/put", KV, "Put", false},
    {"kv/deleterange", KV, "DeleteRange", false},
    {"kv/txn", KV, "Txn", false},
    {"kv/compaction", KV, "Compact", false},
    {"watch", WATCH, "Watch", true},
    {"lease/grant", LEASE, "LeaseGrant", false},
    {"lease/revoke", LEASE, "LeaseRevoke", false},
    {"kv/lease/revoke", LEASE, "LeaseRevoke", false},
    {"lease/keepalive", LEASE, "LeaseKeepAlive", true},
    {"lease/timetolive", LEASE, "LeaseTimeToLive", false},
    {"kv/lease/timetolive", LEASE, "LeaseTimeToLive", false},
    {"lease/leases", LEASE, "LeaseLeases", false},
    {"kv/lease/leases", LEASE, "LeaseLeases", false},
    {"cluster/member/add", CLUSTER, "MemberAdd", false},
    {"cluster/member/remove", CLUSTER, "MemberRemove", false},
    {"cluster/member/update", CLUSTER, "MemberUpdate", false},
    {"cluster/member/list", CLUSTER, "MemberList", false},
    {"cluster/member/promote", CLUSTER, "MemberPromote", false},
    {"maintenance/alarm", MAINTENANCE, "Alarm", false},
    {"maintenance/status", MAINTENANCE, "Status", false},
    {"maintenance/defragment", MAINTENANCE, "Defragment", false},
    {"maintenance/hash", MAINTENANCE, "Hash", false},
    {"maintenance/hashkv", MAINTENANCE, "HashKV", false},
    {"maintenance/snapshot", MAINTENANCE, "Snapshot", true},
    {"maintenance/transfer-leadership", MAINTENANCE, "MoveLeader", false},
    {"maintenance/downgrade", MAINTENANCE, "Downgrade", false},
    {"auth/enable", AUTH, "AuthEnable", false},
    {"auth/disable", AUTH, "AuthDisable", false},
    {"auth/status", AUTH, "AuthStatus", false},
    {"auth/authenticate", AUTH, "Authenticate", false},
    {"auth/user/add", AUTH, "UserAdd", false},
    {"auth/user/get", AUTH, "UserGet", false},
    {"auth/user/list", AUTH, "UserList", false},
    {"auth/user/delete", AUTH, "UserDelete", false},
    {"auth/user/changepw", AUTH, "UserChangePassword", false},
    {"auth/user/grant", AUTH, "UserGrantRole", false},
    {"auth/user/revoke", AUTH, "UserRevokeRole", false},
    {"auth/role/add", AUTH, "RoleAdd", false},
    {"auth/role/get", AUTH, "RoleGet", false},
    {"auth/role/list", AUTH, "RoleList", false},
    {"auth/role/delete", AUTH, "RoleDelete", false},
    {"auth/role/grant", AUTH, "RoleGrantPermission", false},
    {"auth/role/revoke", AUTH, "RoleRevokePermission", false},
    {"lock/lock", LOCK, "Lock", false},
    {"lock/unlock", LOCK, "Unlock", false},
    {"election/campaign", ELECTION, "Campaign", false},
    {"election/proclaim", ELECTION, "Proclaim", false},
    {"election/leader", ELECTION, "Leader", false},
    {"election/observe", ELECTION, "Observe", true},
    {"election/resign", ELECTION, "Resign", false},
};

/* --- answers --- */

static int http_status_of(enum grpc_status s)
{
    switch (s) {
    case GRPC_OK:
        return 200;
    case GRPC_CANCELLED:
        return 408;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_OUT_OF_RANGE:
        return 400;
    case GRPC_DEADLINE_EXCEEDED:
        return 504;
    case GRPC_NOT_FOUND:
        return 404;
    case GRPC_ALREADY_EXISTS:
    case GRPC_ABORTED:
        return 409;
    case GRPC_PERMISSION_DENIED:
        return 403;
    case GRPC_UNAUTHENTICATED:
        return 401;
    case GRPC_RESOURCE_EXHAUSTED:
        return 429;
    case GRPC_FAILED_PRECONDITION:
        return 412;
    case GRPC_UNIMPLEMENTED:
        return 501;
    case GRPC_UNAVAILABLE:
        return 503;
    case GRPC_UNKNOWN:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        return 500;
    }
    return 500;
}

/* As etcd lets any site's pages ask, unless told otherwise. */
static void put_common_fields(struct http_request *r)
{
    http_response_header(r, "Access-Control-Allow-Headers", "accept, content-type, authorization");
    http_response_header(r, "Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
    http_response_header(r, "Access-Control-Allow-Origin", "*");
}

static void respond_text(struct http_request *r, int status, const char *text)
{
    put_common_fields(r);
    http_response_header(r, "Content-Type", "text/plain; charset=utf-8");
    http_response_header(r, "X-Content-Type-Options", "nosniff");
    http_respond(r, status, str_of(text));
}

static void respond_json(struct http_request *r, int status, struct buf *body)
{
    struct net_bytes *b = net_bytes_steal(body);
    put_common_fields(r);
    http_response_header(r, "Content-Type", "application/json");
    http_respond_bytes(r, status, b);
    net_bytes_unref(b);
}

static void respond_error(struct http_request *r, enum grpc_status status, const char *text)
{
    struct buf body = BUF_INIT;
    buf_puts(&body, "{\"error\":");
    json_put_string(&body, str_of(text));
    buf_puts(&body, ",\"message\":");
    json_put_string(&body, str_of(text));
    buf_printf(&body, ",\"code\":%d}", (int)status);
    respond_json(r, http_status_of(status), &body);
}

/* --- calls --- */

/* Lies in the request's arena. */
struct gateway_call {
    struct etcd_thread *thread;
    const ProtobufCMethodDescriptor *method;
    bool streams;
    struct grpc_sink sink;
    struct buf answer; /* Of a unary call: the message. */
};

/* Appends a message as JSON. False: it is not what the method answers. */
static bool put_message(const struct gateway_call *g, struct str message, struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    ProtobufCMessage *m;
    if (proto_unpack(a, g->method->output, message, &m, NULL) < 0)
        return false;
    gateway_write(m, out);
    return true;
}

static void respond_message(struct http_request *r, struct buf *json)
{
    http_response_header(r, "Grpc-Metadata-Content-Type", "application/grpc");
    respond_json(r, 200, json);
}

/* A large answer becomes JSON on a thread of its own, so that others have the loop. */
struct conversion {
    uv_thread_t thread;
    struct mail mail;
    struct http_request *request;
    struct gateway_call *call;
    struct buf message, json; /* Owned. */
    bool good;
};

static atomic_int conversions; /* Under way, of all servers. */

static void converted(struct mail *m)
{
    struct conversion *v = CONTAINER_OF(m, struct conversion, mail);
    uv_thread_join(&v->thread); /* Posting was the last it did. */
    if (v->good)
        respond_message(v->request, &v->json);
    else
        respond_error(v->request, GRPC_INTERNAL, "the answer is malformed");
    buf_done(&v->json);
    free(v);
}

static void convert_main(void *arg)
{
    struct conversion *v = arg;
    struct mailbox *mb = etcd_thread_mailbox(v->call->thread);
    v->good = put_message(v->call, buf_str(&v->message), &v->json);
    buf_done(&v->message);
    atomic_fetch_sub(&conversions, 1);
    mailbox_post(mb, &v->mail);
}

static void convert(struct http_request *r, struct gateway_call *g)
{
    struct conversion *v = xzalloc(sizeof(*v));
    v->mail.run = converted;
    v->request = r;
    v->call = g;
    v->message = g->answer;
    g->answer = BUF_INIT;
    if (atomic_fetch_add(&conversions, 1) < CONVERSIONS_MAX &&
        uv_thread_create(&v->thread, convert_main, v) == 0)
        return;
    atomic_fetch_sub(&conversions, 1);
    buf_done(&v->message);
    free(v);
    respond_error(r, etcd_err_too_many_requests.status, etcd_err_too_many_requests.text);
}

static void respond_answer(struct http_request *r, struct gateway_call *g)
{
    struct buf json = BUF_INIT;
    if (g->answer.len > CONVERT_BYTES)
        convert(r, g);
    else if (put_message(g, buf_str(&g->answer), &json))
        respond_message(r, &json);
    else
        respond_error(r, GRPC_INTERNAL, "the answer is malformed");
    buf_done(&json);
    buf_done(&g->answer);
}

static void stream_begin(struct http_request *r)
{
    if (http_response_started(r))
        return;
    put_common_fields(r);
    http_response_header(r, "Content-Type", "application/json");
    http_response_start(r, 200, -1);
}

static void on_message(struct http_request *r, struct buf *message, void *arg)
{
    struct gateway_call *g = arg;
    if (!g->streams) {
        buf_done(&g->answer);
        g->answer = *message;
        *message = BUF_INIT;
        return;
    }
    struct buf out = BUF_INIT;
    buf_puts(&out, "{\"result\":");
    if (!put_message(g, buf_str(message), &out)) {
        buf_done(&out);
        return;
    }
    buf_puts(&out, "}\n");
    struct net_bytes *b = net_bytes_steal(&out);
    stream_begin(r);
    http_response_write(r, b);
    net_bytes_unref(b);
}

static void finish_stream(struct http_request *r, enum grpc_status status, const char *text)
{
    AUTO_BUF out = BUF_INIT;
    int http = http_status_of(status);
    if (status != GRPC_OK) {
        buf_printf(&out, "{\"error\":{\"grpc_code\":%d,\"http_code\":%d,\"message\":", (int)status,
                   http);
        json_put_string(&out, str_of(text));
        buf_puts(&out, ",\"http_status\":");
        json_put_string(&out, str_of(http_status_text(http)));
        buf_puts(&out, "}}\n");
    }
    if (status != GRPC_OK && !http_response_started(r)) {
        struct buf body = out;
        out = BUF_INIT;
        respond_json(r, http, &body);
        return;
    }
    stream_begin(r);
    if (out.len > 0)
        http_response_write_copy(r, out.data, out.len);
    http_response_end(r);
}

static void on_finish(struct http_request *r, enum grpc_status status, const char *text, void *arg)
{
    struct gateway_call *g = arg;
    text = text != NULL ? text : "";
    if (g->streams) {
        finish_stream(r, status, text);
    } else if (status == GRPC_OK) {
        respond_answer(r, g);
    } else {
        buf_done(&g->answer);
        respond_error(r, status, text);
    }
}

/* The body's JSON as messages of the method's type; an empty body is an empty message. */
static int read_messages(struct http_request *r, const ProtobufCMethodDescriptor *method, bool many,
                         struct str **ret, size_t *ret_count, struct error *err)
{
    struct str rest = str_trim(r->body), *list = NULL;
    size_t cap = 0, count = 0;
    if (str_empty(rest))
        rest = STR("{}");
    do {
        struct json_value v;
        ProtobufCMessage *m;
        int rc = json_read_next(r->arena, &rest, &v, err);
        if (rc == 0)
            rc = gateway_read(r->arena, method->input, &v, &m, err);
        if (rc != 0)
            return rc;
        if (count >= MESSAGES_MAX)
            return error_set(err, E_INVALID, "more than %d messages", MESSAGES_MAX);
        list = arena_grow(r->arena, list, count, &cap, sizeof(*list));
        list[count++] = proto_pack_arena(r->arena, m);
    } while (many && !str_empty(rest));
    *ret = list;
    *ret_count = count;
    return 0;
}

static const struct gateway_path *find_path(struct str path)
{
    for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++) {
        if (str_eqc(path, PATHS[i].path))
            return &PATHS[i];
    }
    return NULL;
}

/* A name in a certificate is no proof here: etcd's gateway would show its own. */
static bool is_named_by_certificate(struct etcd_thread *t, const struct http_request *r)
{
    if (!etcd_thread_config(t)->client_cert_auth || r->peer == NULL ||
        str_empty(r->peer->common_name))
        return false;
    struct store_view *v = store_view(etcd_thread_store(t));
    bool enabled = auth_enabled(store_view_auth(v));
    store_view_unref(v);
    return enabled;
}

static void run(struct etcd_thread *t, struct http_request *r, const struct gateway_path *p)
{
    const ProtobufCMethodDescriptor *method =
        protobuf_c_service_descriptor_get_method_by_name(p->service, p->method);
    ASSERT(method != NULL);
    struct error err = {0};
    struct str *messages = NULL;
    size_t count = 0;
    /* Of the methods whose answer is a stream, these two take one, too. */
    bool many = str_eqc(str_of(p->path), "watch") || str_eqc(str_of(p->path), "lease/keepalive");
    if (read_messages(r, method, many, &messages, &count, &err) < 0) {
        respond_error(r, GRPC_INVALID_ARGUMENT, error_message(&err));
        return;
    }
    struct gateway_call *g = ARENA_NEW(r->arena, struct gateway_call);
    g->thread = t;
    g->method = method;
    g->streams = p->streams;
    g->sink = (struct grpc_sink){on_message, on_finish, g, ANSWER_BYTES_MAX};
    struct str path = arena_printf(r->arena, "/%s/%s", p->service->name, p->method);
    grpc_server_call(t->grpc, r, path, messages, count, &g->sink);
}

static void handle(struct etcd_thread *t, struct http_request *r)
{
    struct str prefix = str_has_prefix(r->path, STR("/v3/")) ? STR("/v3/") : STR("/v3beta/");
    const struct gateway_path *p = find_path(str_sub(r->path, prefix.len, r->path.len));
    if (str_eqc(r->method, "OPTIONS")) {
        put_common_fields(r);
        http_respond(r, 200, STR_NULL);
    } else if (p == NULL) {
        respond_text(r, 404, "Not Found\n");
    } else if (!str_eqc(r->method, "POST")) {
        respond_text(r, 405, "Method Not Allowed\n");
    } else if (is_named_by_certificate(t, r)) {
        respond_text(r, 400,
                     "CommonName of client sending a request against gateway will be ignored and "
                     "not used as expected\n");
    } else {
        run(t, r, p);
    }
}

static const struct etcd_route routes[] = {
    {.path = "/v3/", .handle = handle},
    {.path = "/v3beta/", .handle = handle},
};
const struct etcd_route_list etcd_gateway_routes = {routes, ARRAY_SIZE(routes)};

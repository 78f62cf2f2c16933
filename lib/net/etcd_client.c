/* etcd_client.c - see etcd_client.h. */
#include "lib/net/etcd_client.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_sync_internal.h"
#include "lib/net/proto.h"
#include "lib/net/tls.h"

#include "etcd/rpc.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#define ENDPOINTS_MAX 64
#define TIMEOUT_DEFAULT_MS 10000
#define MESSAGE_MAX (1u << 30)
#define SUM_BYTES 32

struct etcd_client {
    struct http_sync *http;
    uint64_t timeout_ms;
    char *token; /* NULL: none. */
};

/* --- flags --------------------------------------------------------------------------------------
 */

static const char *variable(const char *name)
{
    const char *v = getenv(name);
    return v != NULL && *v != '\0' ? v : NULL;
}

void etcd_client_flags_for(struct etcd_client_config *c, struct flag_set *flags, const char *prefix)
{
    const struct {
        const char **at;
        const char *name, *help;
    } strings[] = {
        {&c->ca_file, "cacert", "`File` with the CAs of the server."},
        {&c->cert_file, "cert", "`File` with a client certificate."},
        {&c->key_file, "key", "`File` with its key."},
        {&c->user, "user", "`name[:password]` to authenticate as."},
        {&c->password, "password", "Password, if not behind the name."},
    };
    char name[64];
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        snprintf(name, sizeof(name), "%s%s", prefix, strings[i].name);
        flag_string(flags, strings[i].at, name, strings[i].help);
    }
    snprintf(name, sizeof(name), "%sinsecure-skip-tls-verify", prefix);
    flag_bool(flags, &c->skip_verify, name, "Take any certificate of the server.");
    snprintf(name, sizeof(name), "%scommand-timeout", prefix);
    flag_duration(flags, &c->timeout_ns, name, "Time for one call.");
}

void etcd_client_flags(struct etcd_client_config *c, struct flag_set *flags)
{
    c->endpoints = variable("ETCDCTL_ENDPOINTS");
    c->ca_file = variable("ETCDCTL_CACERT");
    c->cert_file = variable("ETCDCTL_CERT");
    c->key_file = variable("ETCDCTL_KEY");
    c->user = variable("ETCDCTL_USER");
    c->password = variable("ETCDCTL_PASSWORD");
    flag_string(flags, &c->endpoints, "endpoints", "`URLs` of the store's members.");
    etcd_client_flags_for(c, flags, "");
}

/* --- connecting ----------------------------------------------------------------------------------
 */

/* "http://h:p" without its scheme; *tls says which it was, false when there was none. */
static struct str strip_scheme(struct str url, bool *tls, bool *plain)
{
    *tls = str_has_prefix(url, STR("https://"));
    *plain = str_has_prefix(url, STR("http://"));
    size_t skip = *tls ? 8 : *plain ? 7 : str_has_prefix(url, STR("unix://")) ? 7 : 0;
    struct str rest = str_sub(url, skip, url.len);
    if (str_has_suffix(rest, STR("/")))
        rest.len--;
    return rest;
}

static int split_endpoints(struct arena *a, const char *list, const char **ret, size_t *ret_count,
                           bool *ret_tls, struct error *err)
{
    struct str item, rest = str_of(list);
    bool any_tls = false, any_plain = false;
    *ret_count = 0;
    while (!str_empty(rest)) {
        bool tls, plain;
        str_cut(rest, ',', &item, &rest);
        item = str_trim(item);
        if (str_empty(item))
            continue;
        if (*ret_count == ENDPOINTS_MAX)
            return error_set(err, E_INVALID, "more than %d endpoints", ENDPOINTS_MAX);
        ret[(*ret_count)++] = str_c(arena_str(a, strip_scheme(item, &tls, &plain)));
        any_tls |= tls;
        any_plain |= plain;
    }
    if (*ret_count == 0)
        return error_set(err, E_INVALID, "no endpoint was given");
    if (any_tls && any_plain)
        return error_set(err, E_INVALID, "endpoints %s: some with TLS and some without", list);
    *ret_tls = any_tls || (*ret_tls && !any_plain);
    return 0;
}

static int make_tls(const struct etcd_client_config *c, struct tls_context **ret, struct error *err)
{
    struct tls_config tls = {
        .cert.file = c->cert_file,
        .key.file = c->key_file,
        .ca.file = c->ca_file,
        .alpn = TLS_ALPN_H2,
        .skip_verify = c->skip_verify,
    };
    return tls_context_new(&tls, ret, err);
}

static int connect_http(struct etcd_client *c, const struct etcd_client_config *config,
                        struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    const char *endpoints[ENDPOINTS_MAX];
    size_t count;
    struct tls_context *tls = NULL;
    bool use_tls = config->ca_file != NULL || config->cert_file != NULL || config->skip_verify;
    int rc = split_endpoints(a, config->endpoints != NULL ? config->endpoints : "127.0.0.1:2379",
                             endpoints, &count, &use_tls, err);
    if (rc == 0 && use_tls)
        rc = make_tls(config, &tls, err);
    if (rc < 0)
        return rc;
    struct http_client_config http = {
        .endpoints = endpoints,
        .endpoint_count = count,
        .tls = tls,
        .protocol = HTTP_CLIENT_H2,
        .connect_timeout_ms = 5000,
        .connect_rounds = 2,
    };
    rc = http_sync_new(&http, &c->http, err);
    tls_context_unref(tls);
    return rc;
}

static int authenticate(struct etcd_client *c, const struct etcd_client_config *config,
                        struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct str name, password;
    str_cut(str_of(config->user), ':', &name, &password);
    if (config->password != NULL) {
        name = str_of(config->user);
        password = str_of(config->password);
    }
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    ProtobufCMessage *response;
    request.name =
        arena_str(a, name).len > 0 ? arena_strdup(a, str_c(arena_str(a, name))) : request.name;
    request.password = arena_strdup(a, str_c(arena_str(a, password)));
    int rc = etcd_client_call(c, "/etcdserverpb.Auth/Authenticate", &request.base,
                              &etcdserverpb__authenticate_response__descriptor, a, &response, err);
    if (rc == 0)
        c->token = xstrdup(((Etcdserverpb__AuthenticateResponse *)response)->token);
    return rc;
}

int etcd_client_new(const struct etcd_client_config *config, struct etcd_client **ret,
                    struct error *err)
{
    struct etcd_client *c = xzalloc(sizeof(*c));
    c->timeout_ms =
        config->timeout_ns > 0 ? (uint64_t)config->timeout_ns / 1000000 : TIMEOUT_DEFAULT_MS;
    int rc = connect_http(c, config, err);
    if (rc == 0 && config->user != NULL)
        rc = authenticate(c, config, err);
    if (rc < 0) {
        etcd_client_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void etcd_client_free(struct etcd_client *c)
{
    if (c == NULL)
        return;
    http_sync_free(c->http);
    free(c->token);
    free(c);
}

/* --- calls
 * ---------------------------------------------------------------------------------------- */

int etcd_client_call(struct etcd_client *c, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, struct arena *a,
                     ProtobufCMessage **ret, struct error *err)
{
    struct http_header token = {STR("token"), str_of(c->token)};
    struct net_bytes *bytes = proto_pack(request), *answer = NULL;
    struct grpc_call_config call = {
        .method = method,
        .metadata = c->token != NULL ? &token : NULL,
        .metadata_count = c->token != NULL,
        .request = bytes,
        .timeout_ms = c->timeout_ms,
        .message_max = MESSAGE_MAX,
    };
    int rc = grpc_sync_call(c->http, &call, &answer, NULL, err);
    net_bytes_unref(bytes);
    if (rc < 0)
        return rc;
    rc = proto_unpack(a, response, net_bytes_str(answer), ret, err);
    net_bytes_unref(answer);
    return rc;
}

struct streaming {
    int (*on_message)(struct str message, void *arg, struct error *err);
    void *arg;
    struct error *err;
    int code;
    bool done;
};

static void stream_on_message(struct grpc_call *call, struct str message, void *arg)
{
    struct streaming *s = arg;
    if (s->code == 0)
        s->code = s->on_message(message, s->arg, s->err);
    if (s->code < 0)
        grpc_call_cancel(call);
}

static void stream_on_end(struct grpc_call *call, enum grpc_status status, struct str message,
                          void *arg)
{
    struct streaming *s = arg;
    UNUSED(call);
    s->done = true;
    if (s->code == 0 && status != GRPC_OK)
        s->code =
            error_set(s->err, grpc_status_to_error(status), "rpc error: code = %s desc = " STR_FMT,
                      grpc_status_text(status), STR_ARG(message));
}

int etcd_client_stream(struct etcd_client *c, const char *method, const ProtobufCMessage *request,
                       int (*on_message)(struct str message, void *arg, struct error *err),
                       void *arg, struct error *err)
{
    struct http_header token = {STR("token"), str_of(c->token)};
    struct streaming s = {.on_message = on_message, .arg = arg, .err = err};
    struct net_bytes *bytes = proto_pack(request);
    struct grpc_call_config call = {
        .method = method,
        .metadata = c->token != NULL ? &token : NULL,
        .metadata_count = c->token != NULL,
        .request = bytes,
        .message_max = MESSAGE_MAX,
        .on_message = stream_on_message,
        .on_end = stream_on_end,
        .arg = &s,
    };
    int rc = grpc_call_start(c->http->client, &call, NULL, err);
    net_bytes_unref(bytes);
    if (rc < 0)
        return rc;
    while (!s.done)
        uv_run(&c->http->loop, UV_RUN_ONCE);
    return s.code;
}

/* --- snapshot save
 * ---------------------------------------------------------------------------------- */

struct saving {
    int fd;
    const char *path;
    uint64_t bytes;
    EVP_MD_CTX *sum;
    uint8_t tail[SUM_BYTES]; /* The last bytes so far: the checksum, at the end. */
};

static int write_all(const struct saving *s, const uint8_t *p, size_t n, struct error *err)
{
    while (n > 0) {
        ssize_t done = write(s->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return error_set_errno(err, errno == ENOSPC ? E_NO_SPACE : E_IO, errno,
                                   "cannot write %s", s->path);
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* All but the newest 32 bytes go into the sum. */
static void add_to_sum(struct saving *s, const uint8_t *p, size_t n)
{
    size_t held = (size_t)MIN_OF(s->bytes, (uint64_t)SUM_BYTES);
    size_t total = held + n, out = total > SUM_BYTES ? total - SUM_BYTES : 0;
    size_t from_tail = MIN_OF(out, held);
    EVP_DigestUpdate(s->sum, s->tail, from_tail);
    EVP_DigestUpdate(s->sum, p, out - from_tail);
    memmove(s->tail, s->tail + from_tail, held - from_tail);
    memcpy(s->tail + held - from_tail, p + (out - from_tail), n - (out - from_tail));
    s->bytes += n;
}

static int on_piece(struct str message, void *arg, struct error *err)
{
    struct saving *s = arg;
    AUTO_ARENA *a = arena_new(0);
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__snapshot_response__descriptor, message, &m, err);
    if (rc < 0)
        return rc;
    const ProtobufCBinaryData *blob = &((Etcdserverpb__SnapshotResponse *)m)->blob;
    if (blob->len == 0)
        return 0;
    add_to_sum(s, blob->data, blob->len);
    return write_all(s, blob->data, blob->len, err);
}

static int check_sum(struct saving *s, struct error *err)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    if (s->bytes % 512 != SUM_BYTES)
        return error_set(err, E_CORRUPT, "sha256 checksum not found [bytes: %llu]",
                         (unsigned long long)s->bytes);
    if (EVP_DigestFinal_ex(s->sum, sum, NULL) != 1 || memcmp(sum, s->tail, SUM_BYTES) != 0)
        return error_set(err, E_CORRUPT, "the snapshot's checksum does not match");
    return 0;
}

static int save_into(struct etcd_client *c, struct saving *s, struct error *err)
{
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    s->sum = EVP_MD_CTX_new();
    if (s->sum == NULL || EVP_DigestInit_ex(s->sum, EVP_sha256(), NULL) != 1)
        PANIC("SHA-256 is not available");
    int rc = etcd_client_stream(c, "/etcdserverpb.Maintenance/Snapshot", &request.base, on_piece, s,
                                err);
    if (rc == 0)
        rc = check_sum(s, err);
    if (rc == 0 && fsync(s->fd) != 0)
        rc = error_set_errno(err, E_IO, errno, "cannot write %s", s->path);
    EVP_MD_CTX_free(s->sum);
    return rc;
}

int etcd_client_save(const struct etcd_client_config *config, const char *path, struct error *err)
{
    AUTO_FREE char *part = xasprintf("%s.part", path);
    struct etcd_client *c = NULL;
    int rc = etcd_client_new(config, &c, err);
    if (rc < 0)
        return rc;
    struct saving s = {.path = part};
    s.fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s.fd < 0)
        rc = error_set_errno(err, E_IO, errno, "cannot make %s", part);
    else
        rc = save_into(c, &s, err);
    if (s.fd >= 0)
        close(s.fd);
    if (rc == 0 && rename(part, path) != 0)
        rc = error_set_errno(err, E_IO, errno, "cannot rename %s", part);
    if (rc < 0 && s.fd >= 0)
        unlink(part);
    etcd_client_free(c);
    if (rc == 0)
        printf("Snapshot saved at %s\n", path);
    return rc;
}

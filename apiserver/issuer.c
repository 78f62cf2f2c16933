/* issuer.c - see issuer.h. What is served is constant while the server runs: it
 * may be kept by those who ask, and is told apart by its hash. */
#include "apiserver/issuer.h"

#include "apiserver/authn.h"
#include "apiserver/request.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/http_server.h"
#include "lib/net/pki.h"
#include "lib/net/url.h"

#define CACHE_CONTROL "public, max-age=3600"

static struct str hash_of(struct arena *a, struct str text)
{
    uint8_t hash[32];
    AUTO_BUF b = BUF_INIT;
    net_sha256(text.data, text.len, hash);
    buf_putc(&b, '"');
    base64_encode(BASE64_RAW_URL, hash, 12, &b);
    buf_putc(&b, '"');
    return arena_str(a, buf_str(&b));
}

static void serve(struct req *r, const char *type, struct str text)
{
    struct str tag = hash_of(r->arena, text);
    http_response_header_str(r->http, STR("ETag"), tag);
    r->cache_control = CACHE_CONTROL;
    if (str_eq(http_request_header(r->http, "if-none-match"), tag))
        req_text(r, 304, type, STR_NULL);
    else
        req_text(r, 200, type, text);
}

static void write_configuration(struct req *r, struct buf *b)
{
    const struct apiserver_config *c = &r->server->config;
    const struct authn *n = r->server->authn;
    buf_puts(b, "{\"issuer\":");
    json_write_string(authn_issuer(n), b);
    buf_puts(b, ",\"jwks_uri\":");
    json_write_string(c->service_account_jwks_uri != NULL
                          ? str_of(c->service_account_jwks_uri)
                          : arena_printf(r->arena, "https://" STR_FMT "/openid/v1/jwks",
                                         STR_ARG(url_host_port(r->arena, str_of(r->server->address),
                                                               r->server->port))),
                      b);
    buf_puts(b, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":"
                "[\"public\"],\"id_token_signing_alg_values_supported\":[");
    authn_algorithms(n, b);
    buf_puts(b, "]}");
}

bool issuer_serve(struct req *r)
{
    AUTO_BUF b = BUF_INIT;
    struct error err = {0};
    struct url u;
    bool keys = str_eqc(r->info.path, "/openid/v1/jwks");
    if (!keys && !str_eqc(r->info.path, "/.well-known/openid-configuration"))
        return false;
    /* An issuer that is no address cannot be asked by anybody: upstream serves nothing then. */
    if (url_parse(authn_issuer(r->server->authn), &u, NULL) != 0 || !str_eqc(u.scheme, "https")) {
        req_status(r, status_path_not_found(r->arena));
        return true;
    }
    if (!keys) {
        write_configuration(r, &b);
        serve(r, TYPE_JSON, buf_str(&b));
    } else if (authn_jwks(r->server->authn, &b, &err) != 0) {
        req_status(r, status_internal(r->arena, "%s", error_message(&err)));
    } else {
        serve(r, "application/jwk-set+json", buf_str(&b));
    }
    return true;
}

/* serving_flags.c - see serving_flags.h. Names and texts are upstream's. */
#include "apiserver/serving_flags.h"

#include "apiserver/apiserver.h"
#include "apiserver/runtime_config.h"
#include "apiserver/features.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"
#include "lib/net/tls.h"

#include <openssl/tls1.h>

#define SECOND_NS INT64_C(1000000000)
#define GOAWAY_CHANCE_MAX 0.02
#define CORS_METHODS "POST, GET, OPTIONS, PUT, DELETE, PATCH"
#define CORS_HEADERS                                                                               \
    "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, "                 \
    "X-Requested-With, If-Modified-Since"

void serving_flags_default(struct serving_flags *s)
{
    s->event_ttl_ns = 3600 * SECOND_NS;
    s->request_timeout_ns = 60 * SECOND_NS;
}

void serving_flags_add(struct serving_flags *s, struct flag_set *f)
{
    flag_strings(f, &s->cors_origins, "cors-allowed-origins",
                 "Regular `expressions` of origins whose pages may call this server.");
    flag_strings(f, &s->hsts, "strict-transport-security-directives",
                 "Directives of that header: max-age=`seconds`, includeSubDomains, preload.");
    flag_float(f, &s->goaway_chance, "goaway-chance",
               "`Chance`, 0 to 0.02, that a request has its HTTP/2 connection replaced.");
    flag_int(f, &s->streams_max, "http2-max-streams-per-connection",
             "Streams of a client's connection; 0: 250.");
    flag_string(f, &s->tls_min_version, "tls-min-version",
                "Lowest `version`: VersionTLS12 or VersionTLS13.");
    flag_strings(f, &s->cipher_suites, "tls-cipher-suites",
                 "Cipher `suites` of TLS 1.2 by their IANA names.");
    flag_string_array(f, &s->sni, "tls-sni-cert-key",
                      "Another certificate for some names, `cert,key[:name,...]`; may be "
                      "repeated.");
    flag_duration(f, &s->shutdown_delay_ns, "shutdown-delay-duration",
                  "`Time` for which an ending server still answers, while /readyz fails.");
    flag_duration(
        f, &s->livez_grace_ns, "livez-grace-period",
        "`Time` after the start for which /livez does not fail for what a server begins with.");
    flag_duration(f, &s->request_timeout_ns, "request-timeout",
                  "`Time` for a request; a quarter of it may pass before it has a seat.");
    flag_duration(f, &s->event_ttl_ns, "event-ttl", "How long events are kept.");
    flag_strings(f, &s->runtime_config, "runtime-config",
                 "Which APIs are served: `GROUP/VERSION[/RESOURCE]=true|false`, api/all, api/ga.");
    flag_strings(f, &s->feature_gates, "feature-gates",
                 "`Name=true|false`,...; ClusterTrustBundle, ClusterTrustBundleProjection and "
                 "PodCertificateRequest switch something, what others switch stays as it is by "
                 "default in 1.36.");
}

/* --- checks ----------------------------------------------------------------------------------- */
static int check_numbers(const struct serving_flags *s, struct error *err)
{
    if (s->livez_grace_ns < 0)
        return error_set(err, E_INVALID, "--livez-grace-period can not be a negative value");
    if (s->goaway_chance < 0 || s->goaway_chance > GOAWAY_CHANCE_MAX)
        return error_set(err, E_INVALID,
                         "--goaway-chance can not be less than 0 or greater than 0.02");
    if (s->shutdown_delay_ns < 0)
        return error_set(err, E_INVALID, "--shutdown-delay-duration can not be negative value");
    if (s->streams_max < 0 || s->streams_max > INT32_MAX)
        return error_set(err, E_INVALID,
                         "--http2-max-streams-per-connection can not be negative value");
    if (s->request_timeout_ns < 0)
        return error_set(err, E_INVALID, "--request-timeout can not be negative value");
    if (s->event_ttl_ns < SECOND_NS)
        return error_set(err, E_INVALID, "--event-ttl: must be a second at least");
    return 0;
}

static int check_hsts(struct serving_flags *s, struct arena *a, struct error *err)
{
    AUTO_BUF header = BUF_INIT;
    for (size_t i = 0; i < s->hsts.count; i++) {
        struct str d = str_of(s->hsts.items[i]), name, value;
        if (str_trim(d).len == 0)
            return error_set(err, E_INVALID, "empty value in strict-transport-security-directives");
        bool plain = str_eqc(d, "includeSubDomains") || str_eqc(d, "preload");
        if (!plain && (!str_cut(d, '=', &name, &value) || !str_eqc(name, "max-age") ||
                       str_find(value, '=', 0) >= 0))
            return error_set(
                err, E_INVALID,
                "--strict-transport-security-directives invalid, allowed values: "
                "max-age=expireTime, includeSubDomains, preload. see "
                "https://tools.ietf.org/html/rfc6797#section-6.1 for more information");
        buf_printf(&header, "%s" STR_FMT, i != 0 ? "; " : "", STR_ARG(d));
    }
    if (header.len != 0)
        s->hsts_header = arena_str(a, buf_str(&header)).data;
    return 0;
}

static void release_pattern(void *p)
{
    pattern_free(p);
}

static int check_cors(struct serving_flags *s, struct arena *a, struct error *err)
{
    s->cors = ARENA_ARRAY(a, struct pattern *, s->cors_origins.count + 1);
    for (size_t i = 0; i < s->cors_origins.count; i++) {
        struct str text = str_of(s->cors_origins.items[i]);
        s->cors[i] = text.len != 0 ? pattern_new(text, err) : NULL;
        if (s->cors[i] == NULL)
            return text.len == 0
                       ? error_set(err, E_INVALID, "empty value in --cors-allowed-origins")
                       : error_prefix(err,
                                      "--cors-allowed-origins has an invalid regular expression");
        arena_hold(a, s->cors[i], release_pattern);
    }
    return 0;
}

int serving_flags_check(struct serving_flags *s, struct arena *a, struct error *err)
{
    AUTO_ARENA *scratch = arena_new(0);
    struct tls_config tls = {0};
    int code = check_numbers(s, err);
    if (code == 0)
        code = check_hsts(s, a, err);
    if (code == 0)
        code = check_cors(s, a, err);
    if (code == 0)
        code = features_set(&s->feature_gates, err);
    if (code == 0)
        code = runtime_config_check(&s->runtime_config, err);
    return code != 0 ? code : serving_flags_tls(s, scratch, &tls, err);
}

/* --- TLS ----------------------------------------------------------------------------------------
 */
/* "cert,key" or "cert,key:name,name" */
static int read_sni(struct arena *a, const char *text, struct tls_sni_cert *ret, struct error *err)
{
    struct str files, names, cert, key, name;
    size_t cap = 0;
    str_cut(str_of(text), ':', &files, &names);
    if (!str_cut(files, ',', &cert, &key) || cert.len == 0 || key.len == 0 ||
        str_find(key, ',', 0) >= 0)
        return error_set(err, E_INVALID,
                         "--tls-sni-cert-key: expected comma separated certificate and key file "
                         "paths, found \"%s\"",
                         text);
    *ret = (struct tls_sni_cert){.cert.file = arena_str(a, str_trim(cert)).data,
                                 .key.file = arena_str(a, str_trim(key)).data};
    for (bool more = names.len != 0; more;) {
        more = str_cut(names, ',', &name, &names);
        const char **list =
            arena_grow(a, (void *)(uintptr_t)ret->names, ret->name_count, &cap, sizeof(*list));
        list[ret->name_count++] = arena_str(a, str_trim(name)).data;
        ret->names = list;
    }
    return 0;
}

int serving_flags_tls(const struct serving_flags *s, struct arena *a, struct tls_config *tls,
                      struct error *err)
{
    static const char *const versions[] = {"VersionTLS10", "VersionTLS11", "VersionTLS12"};
    struct tls_sni_cert *sni = ARENA_ARRAY(a, struct tls_sni_cert, s->sni.count + 1);
    AUTO_BUF suites = BUF_INIT;
    const char *v = s->tls_min_version;
    bool known = v == NULL || v[0] == '\0' || strcmp(v, "VersionTLS13") == 0;
    tls->version_min = known && v != NULL && v[0] != '\0' ? TLS1_3_VERSION : TLS1_2_VERSION;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) /* Below 1.2 there is nothing here. */
        known |= v != NULL && strcmp(v, versions[i]) == 0;
    if (!known)
        return error_set(err, E_INVALID,
                         "--tls-min-version: unknown tls version \"%s\": want VersionTLS12 or "
                         "VersionTLS13",
                         v);
    for (size_t i = 0; i < s->sni.count; i++)
        if (read_sni(a, s->sni.items[i], &sni[i], err) != 0)
            return E_INVALID;
    for (size_t i = 0; i < s->cipher_suites.count; i++)
        buf_printf(&suites, "%s%s", i != 0 ? "," : "", s->cipher_suites.items[i]);
    tls->sni = sni;
    tls->sni_count = s->sni.count;
    if (suites.len != 0)
        tls->cipher_suites = arena_str(a, buf_str(&suites)).data;
    return 0;
}

/* --- requests
 * -------------------------------------------------------------------------------------- */
static bool may_call(const struct serving_flags *s, struct str origin)
{
    for (size_t i = 0; i < s->cors_origins.count; i++)
        if (pattern_matches(s->cors[i], origin))
            return true;
    return false;
}

static bool begin_cors(const struct serving_flags *s, struct http_request *http)
{
    struct str origin = http_request_header(http, "origin");
    if (origin.len == 0 || !may_call(s, origin))
        return false;
    http_response_header_str(http, STR("Access-Control-Allow-Origin"), origin);
    http_response_header(http, "Access-Control-Allow-Methods", CORS_METHODS);
    http_response_header(http, "Access-Control-Allow-Headers", CORS_HEADERS);
    http_response_header(http, "Access-Control-Expose-Headers", "Date");
    http_response_header(http, "Access-Control-Allow-Credentials", "true");
    if (!str_eqc(http->method, "OPTIONS"))
        return false;
    http_respond(http, 204, STR_NULL);
    return true;
}

bool serving_begin(const struct server_thread *t, struct http_request *http)
{
    const struct serving_flags *s = &t->server->config.serving;
    if (s->goaway_chance > 0 && http->version == HTTP_2 &&
        (double)env_random_below(t->server->env, 1u << 30) < s->goaway_chance * (1u << 30))
        http_request_go_away(http);
    if (s->hsts_header != NULL)
        http_response_header(http, "Strict-Transport-Security", s->hsts_header);
    return s->cors_origins.count != 0 && begin_cors(s, http);
}

/* serving_flags.h - flags about how the server answers at all: TLS, headers that
 * browsers ask for, connections that move on, how it ends. */
#ifndef APISERVER_SERVING_FLAGS_H
#define APISERVER_SERVING_FLAGS_H

#include "lib/base/flags.h"

struct arena;
struct http_request;
struct pattern;
struct server_thread;
struct tls_config;

struct serving_flags {
    /* As given. */
    struct flag_list cors_origins, hsts, sni, cipher_suites, feature_gates, runtime_config;
    const char *tls_min_version;
    double goaway_chance;
    int64_t streams_max; /* HTTP/2 streams of a connection; 0: the default. */
    int64_t shutdown_delay_ns, livez_grace_ns, event_ttl_ns, request_timeout_ns;
    /* Made of them. */
    struct pattern **cors;
    const char *hsts_header; /* NULL: none. */
};

void serving_flags_default(struct serving_flags *s);
void serving_flags_add(struct serving_flags *s, struct flag_set *f);
/* E_INVALID: names the flag. What it makes lives in a, for ever. */
int serving_flags_check(struct serving_flags *s, struct arena *a, struct error *err);
/* What the flags say of TLS; in a. */
int serving_flags_tls(const struct serving_flags *s, struct arena *a, struct tls_config *tls,
                      struct error *err);

/* Headers of every answer. True: it is answered (a browser that asks first). */
bool serving_begin(const struct server_thread *t, struct http_request *http);

#endif

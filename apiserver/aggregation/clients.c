/* clients.c - see clients.h. */
#include "apiserver/aggregation/clients.h"

#include "apiserver/aggregation/set.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "lib/net/http_client.h"
#include "lib/net/tls.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uv.h>

#define CLIENTS_MAX 256u
#define CONNECTIONS_MAX 4096u /* To one address: over HTTP/1.1 each watch holds one. */

struct aggregated_clients {
    struct uv_loop_s *loop;
    struct map clients; /* "backend endpoint" -> struct aggregated_client */
};

struct aggregated_clients *aggregated_clients_new(struct uv_loop_s *loop)
{
    struct aggregated_clients *c = xzalloc(sizeof(*c));
    c->loop = loop;
    map_init(&c->clients);
    return c;
}

void aggregated_clients_close(struct aggregated_clients *c)
{
    size_t pos = 0;
    void *value;
    if (c == NULL)
        return;
    while (map_next(&c->clients, &pos, NULL, &value)) {
        struct aggregated_client *k = value;
        http_client_close(k->http, NULL, NULL);
        k->http = NULL;
        k->pool = NULL;
        if (k->calls == 0)
            free(k);
    }
    map_done(&c->clients);
    free(c);
}

static void make_room(struct aggregated_clients *c)
{
    struct str key, oldest_key = STR_NULL;
    struct aggregated_client *oldest = NULL;
    size_t pos = 0;
    void *value;
    while (map_next(&c->clients, &pos, &key, &value)) {
        struct aggregated_client *k = value;
        if (k->calls == 0 && (oldest == NULL || k->used_ms < oldest->used_ms)) {
            oldest = k;
            oldest_key = key;
        }
    }
    if (oldest == NULL)
        return; /* All in use: one more. */
    map_remove(&c->clients, oldest_key);
    http_client_close(oldest->http, NULL, NULL);
    free(oldest);
}

const char *aggregated_server_name(struct arena *a, const struct aggregated_service *s)
{
    return str_c(arena_printf(a, STR_FMT "." STR_FMT ".svc", STR_ARG(s->service_name),
                              STR_ARG(s->service_ns)));
}

int aggregated_clients_take(struct aggregated_clients *c, const struct aggregated_service *s,
                            const char *endpoint, struct aggregated_client **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct str key = arena_printf(a, "%" PRIu64 " %s", s->backend->id, endpoint);
    struct aggregated_client *k = map_get(&c->clients, key);
    if (s->backend->tls == NULL)
        return error_set(err, E_TLS, "%s", s->backend->problem);
    if (k == NULL) {
        struct http_client_config config = {.endpoints = &endpoint,
                                            .endpoint_count = 1,
                                            .tls = s->backend->tls,
                                            .server_name = aggregated_server_name(a, s),
                                            .connections_max = CONNECTIONS_MAX};
        struct http_client *http;
        int code = http_client_new(c->loop, &config, &http, err);
        if (code != 0)
            return code;
        if (c->clients.count >= CLIENTS_MAX)
            make_room(c);
        k = xzalloc(sizeof(*k));
        k->http = http;
        k->pool = c;
        map_set(&c->clients, key, k);
    }
    k->calls++;
    *ret = k;
    return 0;
}

void aggregated_client_give(void *client)
{
    struct aggregated_client *k = client;
    k->calls--;
    if (k->pool != NULL)
        k->used_ms = uv_now(k->pool->loop);
    else if (k->calls == 0)
        free(k);
}

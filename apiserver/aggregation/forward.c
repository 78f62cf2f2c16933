/* forward.c - see forward.h. The texts are upstream's. */
#include "apiserver/aggregation/forward.h"

#include "apiserver/aggregation/clients.h"
#include "apiserver/aggregation/resolve.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/connect.h"
#include "apiserver/proxy.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/net/http_server.h"
#include "lib/net/upgrade.h"

#define TEXT_TYPE "text/plain; charset=utf-8"

/* A key of the user's extra fields as the name of a field: what no such name
 * may hold is written as %XX. Names are in lower case here as everywhere. */
static struct str extra_name(struct arena *a, struct str key)
{
    static const char others[] = "!#$&'*+-.^_`|~";
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "x-remote-extra-");
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.data[i];
        bool upper = c >= 'A' && c <= 'Z';
        if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
            (c != '\0' && strchr(others, c) != NULL))
            buf_putc(&b, upper ? (char)(c - 'A' + 'a') : (char)c);
        else
            buf_printf(&b, "%%%02X", c);
    }
    return arena_str(a, buf_str(&b));
}

static size_t identity_count(const struct user *u)
{
    size_t n = 2 + u->group_count;
    for (size_t i = 0; i < u->extra_count; i++)
        n += u->extra[i].count;
    return n;
}

static size_t add_identity(struct req *r, struct http_header *h, size_t n)
{
    const struct user *u = r->user;
    h[n++] = (struct http_header){STR("x-remote-user"), u->name};
    if (!str_empty(u->uid))
        h[n++] = (struct http_header){STR("x-remote-uid"), u->uid};
    for (size_t i = 0; i < u->group_count; i++)
        h[n++] = (struct http_header){STR("x-remote-group"), u->groups[i]};
    for (size_t i = 0; i < u->extra_count; i++) {
        struct str name = extra_name(r->arena, u->extra[i].key);
        for (size_t k = 0; k < u->extra[i].count; k++)
            h[n++] = (struct http_header){name, u->extra[i].values[k]};
    }
    return n;
}

const struct http_header *aggregated_headers(struct req *r, const struct http_header *more,
                                             size_t *ret_count)
{
    static const char *const dropped[] = {"audit-id", "x-forwarded-for", "x-forwarded-host",
                                          "x-forwarded-proto", "x-forwarded-uri"};
    const char *drop[24];
    size_t n = 0, count;
    for (size_t i = 0; connect_private_headers[i] != NULL; i++)
        drop[n++] = connect_private_headers[i];
    for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
        drop[n++] = dropped[i];
    drop[n] = NULL;
    struct http_header *h = connect_headers(r, drop, 6 + identity_count(r->user), &count);
    h[count++] = (struct http_header){STR("audit-id"), req_audit_id(r)};
    h[count++] = (struct http_header){STR("x-forwarded-for"), proxy_forwarded_for(r)};
    h[count++] = (struct http_header){STR("x-forwarded-host"), r->http->authority};
    h[count++] = (struct http_header){STR("x-forwarded-proto"), STR("https")};
    h[count++] = (struct http_header){STR("x-forwarded-uri"), r->http->path};
    if (more != NULL)
        h[count++] = *more;
    *ret_count = add_identity(r, h, count);
    return h;
}

static void unavailable(struct req *r)
{
    req_text(r, 503, TEXT_TYPE, STR("service unavailable\n"));
}

static void forward_upgrade(struct req *r, const char *endpoint)
{
    struct upgrade_config c = {.kind = UPGRADE_PLAIN,
                               .tls = r->aggregated->backend->tls,
                               .endpoint = endpoint,
                               .server_name = aggregated_server_name(r->arena, r->aggregated),
                               .target = str_c(r->http->target)};
    c.headers = aggregated_headers(r, NULL, &c.header_count);
    connect_upgrade(r, &c);
}

void aggregated_forward(struct req *r)
{
    const struct aggregated_service *s = r->aggregated;
    struct aggregated_client *client;
    struct aggregated_place place;
    struct error err = {0};
    if (!s->available) {
        unavailable(r);
        return;
    }
    if (s->backend->tls == NULL) {
        req_text(r, 500, TEXT_TYPE, arena_printf(r->arena, "%s\n", s->backend->problem));
        return;
    }
    struct kind_ctx ctx = {.arena = r->arena,
                           .view = req_view(r),
                           .server = r->server,
                           .env = r->server->env,
                           .subresource = ""};
    aggregated_resolve(&ctx, s, &place);
    if (place.endpoint.len == 0) {
        unavailable(r);
        return;
    }
    const char *endpoint = str_c(place.endpoint);
    if (upgrade_wanted(r->http)) {
        forward_upgrade(r, endpoint);
        return;
    }
    if (aggregated_clients_take(r->thread->aggregated, s, endpoint, &client, &err) != 0) {
        req_text(r, 503, TEXT_TYPE, arena_printf(r->arena, "%s\n", error_message(&err)));
        return;
    }
    struct proxy_route route = {.http = client->http,
                                .done = aggregated_client_give,
                                .arg = client,
                                .target = str_c(r->http->target),
                                .plain_text_errors = true};
    route.headers = aggregated_headers(r, NULL, &route.header_count);
    proxy_forward(r, &route);
}

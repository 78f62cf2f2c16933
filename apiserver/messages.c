/* messages.c - see messages.h. */
#include "apiserver/messages.h"

#include "apiserver/connect.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/net/http_server.h"

/* ret_offered: subprotocols that the client offers beside a token. */
static struct meta_v1_status *begin(struct req *r, struct messages *ret, struct str *ret_offered)
{
    struct error err = {0};
    *ret = (struct messages){.wanted = http_request_wants_messages(r->http)};
    if (!ret->wanted)
        return NULL;
    *ret_offered = connect_protocols_without_token(
        r->arena, http_header_join(r->arena, r->http->headers, r->http->header_count,
                                   "sec-websocket-protocol"));
    if (http_request_check_messages(r->http, &err) != 0)
        return status_bad_request(r->arena, "%s", error_message(&err));
    return NULL;
}

struct meta_v1_status *messages_for_watch(struct req *r, bool text, struct messages *ret)
{
    struct str list, first;
    struct meta_v1_status *s = begin(r, ret, &list);
    if (s != NULL || !ret->wanted)
        return s;
    ret->opcode = text ? WS_TEXT : WS_BINARY;
    str_cut(list, ',', &first, &list);
    if (first.len != 0)
        ret->subprotocol = str_c(arena_str(r->arena, first));
    return NULL;
}

struct meta_v1_status *messages_for_log(struct req *r, struct messages *ret)
{
    struct str all, list, part;
    struct meta_v1_status *s = begin(r, ret, &all);
    if (s != NULL || !ret->wanted)
        return s;
    ret->opcode = WS_BINARY;
    list = all;
    for (bool more = all.len != 0; more && ret->subprotocol == NULL;) {
        more = str_cut(list, ',', &part, &list);
        part = str_trim(part);
        ret->base64 = str_eqc(part, "base64.binary.k8s.io");
        if (ret->base64)
            ret->opcode = WS_TEXT;
        if (ret->base64 || str_eqc(part, "binary.k8s.io"))
            ret->subprotocol = str_c(arena_str(r->arena, part));
    }
    if (all.len == 0 || ret->subprotocol != NULL)
        return NULL;
    return status_bad_request(r->arena,
                              "requested protocol(s) are not supported: [" STR_FMT
                              "]; supports [binary.k8s.io base64.binary.k8s.io]",
                              STR_ARG(all));
}

void messages_start(struct req *r, const struct messages *m, int status)
{
    if (m->wanted)
        http_response_start_messages(r->http, m->opcode, m->subprotocol);
    else
        http_response_start(r->http, status, -1);
}

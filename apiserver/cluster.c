/* cluster.c - see cluster.h. */
#include "apiserver/cluster.h"

#include "apiserver/authz.h"
#include "apiserver/request.h"
#include "apiserver/user.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <string.h>

#define MEMBERS_PATH "/trireme/v1/members"
#define GROUP_JOIN_CONTROL_PLANE "system:bootstrappers:trireme:control-plane"
#define JOIN_SECRET_PREFIX "trireme-join-"
#define NAME_MAX_BYTES 253
#define ADDRESS_MAX_BYTES 255

bool cluster_join_allows(const struct authz_attributes *at)
{
    if (!user_in_group(at->user, GROUP_JOIN_CONTROL_PLANE))
        return false;
    if (!at->resource_request)
        return str_eqc(at->path, MEMBERS_PATH) &&
               (strcmp(at->verb, "post") == 0 || strcmp(at->verb, "get") == 0);
    return strcmp(at->verb, "get") == 0 && str_eqc(at->group, "") &&
           str_eqc(at->resource, "secrets") && str_empty(at->subresource) &&
           str_eqc(at->ns, "kube-system") && str_has_prefix(at->name, STR(JOIN_SECRET_PREFIX));
}

/* The members as JSON, and as the flag that a joining member starts with. */
static void answer_members(struct req *r, int http_status)
{
    struct arena *a = r->arena;
    struct store_status status;
    uint32_t count = 0;
    AUTO_FREE struct store_member *members = store_members(r->server->store, &count);
    store_status(r->server->store, &status);
    struct json *j = json_object(a), *list = json_array(a);
    AUTO_BUF flag = BUF_INIT;
    for (uint32_t i = 0; i < count; i++) {
        struct json *m = json_object(a);
        json_setc(a, m, "id", json_stringf(a, "%016" PRIx64, members[i].id));
        json_setc(a, m, "name", json_string(a, str_of(members[i].name)));
        json_setc(a, m, "address", json_string(a, str_of(members[i].address)));
        json_setc(a, m, "role",
                  json_string(a, members[i].id == status.leader_id ? STR("leader")
                                 : members[i].is_voter             ? STR("voter")
                                                                   : STR("joining")));
        json_append(a, list, m);
        const char *name = members[i].name[0] != '\0' ? members[i].name : "member";
        buf_printf(&flag, "%s%s=%s", i != 0 ? "," : "", name, members[i].address);
    }
    json_setc(a, j, "members", list);
    json_setc(a, j, "initialCluster", json_string(a, buf_str(&flag)));
    AUTO_BUF body = BUF_INIT;
    json_write(j, false, &body);
    buf_putc(&body, '\n');
    req_text(r, http_status, "application/json", arena_str(a, buf_str(&body)));
}

static void on_added(int code, int64_t rev, void *arg)
{
    struct req *r = arg;
    UNUSED(rev);
    /* A join that is repeated finds itself in the list. */
    if (code == 0 || code == E_EXISTS)
        answer_members(r, code == 0 ? 201 : 200);
    else
        req_status(r, status_from_code(r->arena, code, error_text(code)));
}

static void on_changed(int code, int64_t rev, void *arg)
{
    struct req *r = arg;
    UNUSED(rev);
    if (code == 0)
        answer_members(r, 200);
    else
        req_status(r, status_from_code(r->arena, code, error_text(code)));
}

static void add_member(struct req *r)
{
    struct error err = {0};
    struct json *j = NULL;
    if (json_parse(r->arena, r->http->body, &j, &err) != 0) {
        req_status(
            r, status_bad_request(r->arena, "the body is no JSON object: %s", error_message(&err)));
        return;
    }
    struct str name = arena_str(r->arena, json_get_str(j, "name"));
    struct str address = arena_str(r->arena, json_get_str(j, "address"));
    if (str_empty(name) || name.len > NAME_MAX_BYTES) {
        req_status(r, status_bad_request(r->arena, "name: want the name of the joining host"));
        return;
    }
    if (address.len > ADDRESS_MAX_BYTES || str_find(address, ':', 0) < 0) {
        req_status(
            r, status_bad_request(
                   r->arena, "address: want HOST:PORT, where the other members reach this one"));
        return;
    }
    store_member_add(r->server->store, name.data, address.data, &r->thread->mailbox, on_added, r);
}

/* By name, or by id in hexadecimal; 0 when there is none. */
static uint64_t find_member(struct req *r, struct str which)
{
    uint32_t count = 0;
    uint64_t found = 0;
    AUTO_FREE struct store_member *members = store_members(r->server->store, &count);
    for (uint32_t i = 0; i < count; i++) {
        char id[24];
        snprintf(id, sizeof(id), "%016" PRIx64, members[i].id);
        if (str_eqc(which, members[i].name) || str_eqc(which, id))
            found = members[i].id;
    }
    return found;
}

static void act_on_member(struct req *r, struct str rest, bool is_delete)
{
    struct str which, verb;
    str_cut(rest, '/', &which, &verb);
    uint64_t id = find_member(r, which);
    if (id == 0) {
        req_status(r, status_printf(r->arena, 404, "NotFound", "no member \"" STR_FMT "\"",
                                    STR_ARG(which)));
    } else if (is_delete && str_empty(verb)) {
        store_member_remove(r->server->store, id, &r->thread->mailbox, on_changed, r);
    } else if (!is_delete && str_eqc(verb, "lead")) {
        store_transfer_leader(r->server->store, id, &r->thread->mailbox, on_changed, r);
    } else {
        req_status(r, status_path_not_found(r->arena));
    }
}

bool cluster_serve(struct req *r)
{
    struct str base = STR(MEMBERS_PATH), path = r->info.path;
    if (!str_has_prefix(path, base) || (path.len > base.len && path.data[base.len] != '/'))
        return false;
    struct str rest = str_sub(path, base.len + 1, path.len);
    bool get = str_eqc(r->http->method, "GET"), post = str_eqc(r->http->method, "POST");
    bool is_delete = str_eqc(r->http->method, "DELETE");
    if (str_empty(rest) && get)
        answer_members(r, 200);
    else if (str_empty(rest) && post)
        add_member(r);
    else if (!str_empty(rest) && (post || is_delete))
        act_on_member(r, rest, is_delete);
    else
        req_status(r, status_method(r->arena));
    return true;
}

/* admin.c - see admin.h. */
#include "test/e2e/kvload/admin.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "lib/net/proto.h"

#include "etcd/rpc.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CALL_MS 5000

/* The first of the endpoints that answers; NULL: none, err says why of the last. */
static const void *ask(struct arena *a, const char *const *endpoints, size_t count,
                       const char *method, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *reply, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct http_client_config config = {.endpoints = &endpoints[i],
                                            .endpoint_count = 1,
                                            .protocol = HTTP_CLIENT_H2,
                                            .connect_timeout_ms = 1000};
        struct http_sync *s = NULL;
        struct net_bytes *message = proto_pack(request), *bytes = NULL;
        struct grpc_call_config call = {
            .method = method, .request = message, .timeout_ms = CALL_MS};
        ProtobufCMessage *m = NULL;
        error_clear(err);
        int rc = http_sync_new(&config, &s, err);
        if (rc == 0)
            rc = grpc_sync_call(s, &call, &bytes, NULL, err);
        if (rc == 0)
            rc = proto_unpack(a, reply, net_bytes_str(bytes), &m, err);
        net_bytes_unref(message);
        net_bytes_unref(bytes);
        http_sync_free(s);
        if (rc == 0)
            return m;
    }
    return NULL;
}

static void print_alarms(struct arena *a, const char *endpoint)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct error err = {0};
    const Etcdserverpb__AlarmResponse *r =
        ask(a, &endpoint, 1, "/etcdserverpb.Maintenance/Alarm", &request.base,
            &etcdserverpb__alarm_response__descriptor, &err);
    printf(",\"alarms\":[");
    for (size_t i = 0; r != NULL && i < r->n_alarms; i++)
        printf("%s\"%" PRIx64 ":%s\"", i > 0 ? "," : "", r->alarms[i]->memberid,
               r->alarms[i]->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE" : "CORRUPT");
    printf("]");
}

static void print_status(struct arena *a, const char *endpoint)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct error err = {0};
    const Etcdserverpb__StatusResponse *r =
        ask(a, &endpoint, 1, "/etcdserverpb.Maintenance/Status", &request.base,
            &etcdserverpb__status_response__descriptor, &err);
    if (r == NULL || r->header == NULL) {
        printf("{\"endpoint\":\"%s\",\"ok\":false}\n", endpoint);
        return;
    }
    printf("{\"endpoint\":\"%s\",\"ok\":true,\"id\":\"%" PRIx64 "\",\"leader\":\"%" PRIx64
           "\",\"term\":%" PRIu64 ",\"index\":%" PRIu64 ",\"applied\":%" PRIu64 ",\"rev\":%" PRId64
           ",\"learner\":%s",
           endpoint, r->header->member_id, r->leader, r->raftterm, r->raftindex,
           r->raftappliedindex, r->header->revision, r->islearner ? "true" : "false");
    print_alarms(a, endpoint);
    printf("}\n");
}

static int print_hashes(struct arena *a, const char *const *endpoints, size_t count,
                        struct error *err)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "k"};
    int64_t rev = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__RangeResponse *r =
            ask(a, &endpoints[i], 1, "/etcdserverpb.KV/Range", &range.base,
                &etcdserverpb__range_response__descriptor, err);
        if (r == NULL)
            return err->code;
        rev = MIN_OF(rev, r->header->revision);
    }
    for (size_t i = 0; i < count; i++) {
        Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
        request.revision = rev;
        const Etcdserverpb__HashKVResponse *r =
            ask(a, &endpoints[i], 1, "/etcdserverpb.Maintenance/HashKV", &request.base,
                &etcdserverpb__hash_kvresponse__descriptor, err);
        if (r == NULL)
            return err->code;
        printf("{\"endpoint\":\"%s\",\"rev\":%" PRId64 ",\"hash\":%" PRIu32 "}\n", endpoints[i],
               rev, r->hash);
    }
    return 0;
}

static int member_list(struct arena *a, const char *const *endpoints, size_t count,
                       struct error *err)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    request.linearizable = true;
    const Etcdserverpb__MemberListResponse *r =
        ask(a, endpoints, count, "/etcdserverpb.Cluster/MemberList", &request.base,
            &etcdserverpb__member_list_response__descriptor, err);
    if (r == NULL)
        return err->code;
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        printf("{\"id\":\"%" PRIx64 "\",\"name\":\"%s\",\"peer\":\"%s\",\"learner\":%s}\n", m->id,
               m->name, m->n_peerurls > 0 ? m->peerurls[0] : "", m->islearner ? "true" : "false");
    }
    return 0;
}

static int member_add(struct arena *a, const char *const *endpoints, size_t count, const char *url,
                      struct error *err)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    char *urls[] = {(char *)(uintptr_t)url};
    request.peerurls = urls;
    request.n_peerurls = 1;
    const Etcdserverpb__MemberAddResponse *r =
        ask(a, endpoints, count, "/etcdserverpb.Cluster/MemberAdd", &request.base,
            &etcdserverpb__member_add_response__descriptor, err);
    if (r == NULL || r->member == NULL)
        return r == NULL ? err->code : error_set(err, E_INTERNAL, "no member in the answer");
    printf("%" PRIx64 "\n", r->member->id);
    return 0;
}

static int member_remove(struct arena *a, const char *const *endpoints, size_t count,
                         const char *id, struct error *err)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    request.id = strtoull(id, NULL, 16);
    return ask(a, endpoints, count, "/etcdserverpb.Cluster/MemberRemove", &request.base,
               &etcdserverpb__member_remove_response__descriptor, err) == NULL
               ? err->code
               : 0;
}

int admin_run(const char *const *endpoints, size_t endpoint_count, const char *const *args,
              size_t arg_count, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    if (strcmp(args[0], "status") == 0) {
        for (size_t i = 0; i < endpoint_count; i++)
            print_status(a, endpoints[i]);
        return 0;
    }
    if (strcmp(args[0], "hash") == 0)
        return print_hashes(a, endpoints, endpoint_count, err);
    if (strcmp(args[0], "member-list") == 0)
        return member_list(a, endpoints, endpoint_count, err);
    if (strcmp(args[0], "member-add") == 0 && arg_count == 2)
        return member_add(a, endpoints, endpoint_count, args[1], err);
    if (strcmp(args[0], "member-remove") == 0 && arg_count == 2)
        return member_remove(a, endpoints, endpoint_count, args[1], err);
    return error_set(err, E_INVALID, "there is no verb %s", args[0]);
}

/* flow_objects.c - see flow_objects.h. Names and numbers are upstream's. */
#include "apiserver/flow_objects.h"

#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
#include "apiserver/bootstrap_objects.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define GROUP "flowcontrol.apiserver.k8s.io"
#define CONSUMER "api-priority-and-fairness-config-consumer-v1"
#define QUEUE_LENGTH 50
#define CHANGES_PER_TXN 50u

static const struct {
    const char *name;
    int shares, lendable;
    int queues, hand; /* 0: what does not run at once is refused. */
} levels[] = {{"catch-all", 5, 0, 0, 0},         {"system", 30, 33, 64, 6},
              {"node-high", 40, 25, 64, 6},      {"leader-election", 10, 0, 16, 4},
              {"workload-high", 40, 50, 128, 6}, {"workload-low", 100, 90, 128, 6},
              {"global-default", 20, 50, 128, 6}};

/* Rules of schemas, as JSON. */
#define STRS(x) "[\"" x "\"]"
#define ANY STRS("*")
#define RESOURCES(verbs, groups, resources, more)                                                  \
    "{\"verbs\":" verbs ",\"apiGroups\":" groups ",\"resources\":" resources more                  \
    ",\"namespaces\":" ANY "}"
#define CLUSTER ",\"clusterScope\":true"
#define KEEP "[\"get\",\"create\",\"update\"]"
#define ALL                                                                                        \
    "\"resourceRules\":[" RESOURCES(ANY, ANY, ANY, CLUSTER) "],\"nonResourceRules\":[{"            \
                                                            "\"verbs\":" ANY                       \
                                                            ",\"nonResourceURLs\":" ANY "}]"
#define NODES_AND_LEASES                                                                           \
    "\"resourceRules\":[" RESOURCES(ANY, STRS(""), "[\"nodes\",\"nodes/status\"]",                 \
                                    CLUSTER) "," RESOURCES(ANY, STRS("coordination.k8s.io"),       \
                                                           STRS("leases"), "") "]"
#define LEASES                                                                                     \
    "\"resourceRules\":[" RESOURCES(KEEP, STRS("coordination.k8s.io"), STRS("leases"), "") "]"
#define PROBES                                                                                     \
    "\"nonResourceRules\":[{\"verbs\":" STRS(                                                      \
        "get") ",\"nonResourceURLs\":[\"/healthz\",\"/readyz\",\"/livez\"]}]"

#define GROUP_SUBJECT(n) "{\"kind\":\"Group\",\"group\":{\"name\":\"" n "\"}}"
#define USER_SUBJECT(n) "{\"kind\":\"User\",\"user\":{\"name\":\"" n "\"}}"
#define SYSTEM_ACCOUNT(n)                                                                          \
    "{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"namespace\":\"kube-system\",\"name\":\"" n \
    "\"}}"
#define EVERYONE GROUP_SUBJECT("system:unauthenticated") "," GROUP_SUBJECT("system:authenticated")
#define MANAGER USER_SUBJECT("system:kube-controller-manager")
#define SCHEDULER USER_SUBJECT("system:kube-scheduler")

static const struct {
    const char *name, *level;
    int precedence;
    const char *method; /* NULL: all requests are one flow. */
    const char *subjects, *rules;
} schemas[] = {
    {"exempt", "exempt", 1, NULL, GROUP_SUBJECT("system:masters"), ALL},
    {"probes", "exempt", 2, NULL, EVERYONE, PROBES},
    {"system-leader-election", "leader-election", 100, "ByUser",
     MANAGER "," SCHEDULER "," SYSTEM_ACCOUNT("*"), LEASES},
    {"system-node-high", "node-high", 400, "ByUser", GROUP_SUBJECT("system:nodes"),
     NODES_AND_LEASES},
    {"system-nodes", "system", 500, "ByUser", GROUP_SUBJECT("system:nodes"), ALL},
    {"kube-controller-manager", "workload-high", 800, "ByNamespace", MANAGER, ALL},
    {"kube-scheduler", "workload-high", 800, "ByNamespace", SCHEDULER, ALL},
    {"kube-system-service-accounts", "workload-high", 900, "ByNamespace", SYSTEM_ACCOUNT("*"), ALL},
    {"service-accounts", "workload-low", 9000, "ByUser", GROUP_SUBJECT("system:serviceaccounts"),
     ALL},
    {"global-default", "global-default", 9900, "ByUser", EVERYONE, ALL},
    {"catch-all", "catch-all", 10000, "ByUser", EVERYONE, ALL},
};

static void level_spec(size_t i, struct buf *b)
{
    buf_printf(b,
               "\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":%d,"
               "\"lendablePercent\":%d,\"limitResponse\":{\"type\":\"%s\"",
               levels[i].shares, levels[i].lendable, levels[i].queues != 0 ? "Queue" : "Reject");
    if (levels[i].queues != 0)
        buf_printf(b, ",\"queuing\":{\"queues\":%d,\"handSize\":%d,\"queueLengthLimit\":%d}",
                   levels[i].queues, levels[i].hand, QUEUE_LENGTH);
    buf_puts(b, "}}");
}

static void schema_spec(size_t i, struct buf *b)
{
    buf_printf(b,
               "\"priorityLevelConfiguration\":{\"name\":\"%s\"},\"matchingPrecedence\":%d,"
               "\"rules\":[{\"subjects\":[%s],%s}]",
               schemas[i].level, schemas[i].precedence, schemas[i].subjects, schemas[i].rules);
    if (schemas[i].method != NULL)
        buf_printf(b, ",\"distinguisherMethod\":{\"type\":\"%s\"}", schemas[i].method);
}

#define EXEMPT_SPEC                                                                                \
    "\"type\":\"Exempt\",\"exempt\":{\"nominalConcurrencyShares\":0,\"lendablePercent\":0}"

const void *flow_mandatory_object(struct arena *a, const struct api_msg *m, bool level,
                                  struct str name)
{
    AUTO_BUF text = BUF_INIT;
    struct error err = {0};
    buf_puts(&text, "{\"spec\":{");
    if (level && str_eqc(name, "exempt"))
        buf_puts(&text, EXEMPT_SPEC);
    else if (level && str_eqc(name, levels[0].name))
        level_spec(0, &text);
    else if (!level && str_eqc(name, schemas[0].name))
        schema_spec(0, &text);
    else if (!level && str_eqc(name, schemas[ARRAY_SIZE(schemas) - 1].name))
        schema_spec(ARRAY_SIZE(schemas) - 1, &text);
    else
        return NULL;
    buf_puts(&text, "}}");
    void *obj = api_msg_new(a, m);
    int code = api_json_decode(a, m, arena_str(a, buf_str(&text)), API_STRICT, NULL, obj, &err);
    ASSERT(code == 0);
    UNUSED(code);
    return obj;
}

bool flow_builtin_make(const struct kind_ctx *ctx, size_t index, struct builtin *ret)
{
    AUTO_BUF spec = BUF_INIT;
    struct error err = {0};
    bool level = index <= ARRAY_SIZE(levels);
    const char *name = "exempt";
    char uid[37];
    if (index == 0) {
        buf_puts(&spec, EXEMPT_SPEC);
    } else if (level) {
        name = levels[index - 1].name;
        level_spec(index - 1, &spec);
    } else {
        index -= ARRAY_SIZE(levels) + 1;
        if (index >= ARRAY_SIZE(schemas))
            return false;
        name = schemas[index].name;
        schema_spec(index, &spec);
    }
    env_uuid(ctx->env, uid);
    struct str text = arena_printf(
        ctx->arena,
        "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"generation\":1,\"annotations\":{"
        "\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},\"spec\":{" STR_FMT "}}",
        name, uid, STR_ARG(buf_str(&spec)));
    const struct resource *r = registry_storage(
        STR(GROUP), level ? STR("prioritylevelconfigurations") : STR("flowschemas"));
    void *obj = arena_zalloc(ctx->arena, r->storage->msg->size);
    int code = api_json_decode(ctx->arena, r->storage->msg, text, API_STRICT, NULL, obj, &err);
    ASSERT(code == 0);
    UNUSED(code);
    api_meta_of(r->storage, obj)->creation_timestamp.seconds = ctx->now_ns / 1000000000;
    *ret = (struct builtin){r, STR_NULL, str_of(name), obj, STR_NULL};
    return true;
}

bool flow_mandatory_missing(const struct kind_ctx *ctx)
{
    static const char *const resources[] = {"prioritylevelconfigurations", "flowschemas"};
    static const char *const names[] = {"exempt", "catch-all"};
    for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
        const struct resource *r = registry_storage(STR(GROUP), str_of(resources[i]));
        for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
            struct str key = registry_key(ctx->arena, r, STR_NULL, str_of(names[j]));
            if (store_view_get(ctx->view, key, 0) == NULL)
                return true;
        }
    }
    return false;
}

/* --- conditions ---------------------------------------------------------------------------- */

static struct meta_v1_status *set_condition(const struct kind_ctx *ctx, const struct resource *r,
                                            const struct flowcontrol_v1_flow_schema *f, bool found,
                                            void **ret)
{
    struct arena *a = ctx->arena;
    struct str level = f->spec.priority_level_configuration.name, now;
    struct json *config;
    struct error err = {0};
    char text[TIME_TEXT_MAX];
    struct meta_v1_time t = {.seconds = ctx->now_ns / 1000000000};
    now = str_n(text, time_format(&t, text));
    struct str json = arena_printf(
        a,
        "{\"apiVersion\":\"" GROUP "/v1\",\"kind\":\"FlowSchema\",\"metadata\":{\"name\":\"" STR_FMT
        "\"},\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"%s\","
        "\"lastTransitionTime\":\"" STR_FMT "\",\"reason\":\"%s\",\"message\":\"This FlowSchema "
        "references the PriorityLevelConfiguration object named \\\"" STR_FMT "\\\" %s\"}]}}",
        STR_ARG(f->metadata.name), found ? "False" : "True", STR_ARG(now),
        found ? "Found" : "NotFound", STR_ARG(level),
        found ? "and it exists" : "but there is no such object");
    if (json_parse(a, json, &config, &err) != 0)
        return status_internal(a, "%s", error_message(&err));
    struct field_manager fm = {.arena = a,
                               .res = r,
                               .kind = r->storage,
                               .api_version = STR(GROUP "/v1"),
                               .subresource = "status",
                               .manager = STR(CONSUMER),
                               .now_s = t.seconds};
    return field_manager_apply(&fm, f, config, true, ret);
}

/* Does the condition say otherwise, or of another level? */
static bool is_outdated(const struct flowcontrol_v1_flow_schema *f, bool found)
{
    struct str level = f->spec.priority_level_configuration.name;
    for (size_t i = 0; i < f->status.conditions_count; i++) {
        const struct flowcontrol_v1_flow_schema_condition *c = &f->status.conditions[i];
        if (str_eqc(c->type, "Dangling"))
            return !str_eqc(c->status, found ? "False" : "True") ||
                   str_find_str(c->message, level) < 0;
    }
    return true;
}

bool flow_conditions_plan(const struct kind_ctx *ctx, struct txn_build *t)
{
    struct arena *a = ctx->arena;
    const struct resource *r = registry_storage(STR(GROUP), STR("flowschemas"));
    const struct resource *l = registry_storage(STR(GROUP), STR("prioritylevelconfigurations"));
    struct store_iter it;
    struct str end = arena_str(a, r->prefix);
    ((char *)(uintptr_t)end.data)[end.len - 1] = '/' + 1;
    if (store_iter_init(&it, ctx->view, r->prefix, end, 0) != 0)
        return false;
    for (const struct kv *kv;
         t->op_count < CHANGES_PER_TXN && (kv = store_iter_next(&it)) != NULL;) {
        void *msg, *obj;
        AUTO_BUF value = BUF_INIT;
        if (stored_decode(a, r, stored_value(kv), 0, &msg, NULL) != 0)
            continue;
        const struct flowcontrol_v1_flow_schema *f = msg;
        struct str level = registry_key(a, l, STR_NULL, f->spec.priority_level_configuration.name);
        bool found = store_view_get(ctx->view, level, 0) != NULL;
        if (!is_outdated(f, found) || set_condition(ctx, r, f, found, &obj) != NULL)
            continue;
        stored_encode(r, obj, &value);
        struct str key = arena_str(a, kv_key(kv));
        txn_build_expect(t, key, kv->mod_rev);
        txn_build_put(t, key, arena_str(a, buf_str(&value)));
    }
    return t->op_count != 0;
}

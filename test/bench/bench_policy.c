/* bench_policy.c - network policies and isolation: what computing costs the agent, and what is to
 * stand in the kernel.
 *
 * usage: bench_policy policies|isolation PODS OTHERS
 *
 * PODS pods of this node (10.60.0.0/16), each with a policy of its own that lets it get something
 * from one label and send to another, or with a declaration of its own; OTHERS pods elsewhere
 * (10.70.0.0/16). The text for nft goes to stdout, figures to stderr. policy.sh loads it and
 * measures packets. */
#include "kubelet/isolation/rules.h"
#include "kubelet/policy/rules.h"

#include "lib/api/codec.h"
#include "lib/api/depends.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"

#include <malloc.h>
#include <stdio.h>
#include <uv.h>

#define LABELS 100 /* So many different ones do pods elsewhere have. */

struct world {
    struct policy_local *locals;
    const struct core_v1_pod **pods;
    const struct networking_v1_network_policy **policies;
    size_t local_count, pod_count, policy_count;
};

static const void *decode(const char *api_version, const char *kind, char *json)
{
    const struct api_kind *k = api_kind_by_api_version(str_of(api_version), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err;
    if (api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err) != 0)
        PANIC("%s", error_message(&err));
    return o->msg; /* Kept, and its text with it, until the end. */
}

static const struct core_v1_pod *make_pod(size_t i, const char *name, const char *label,
                                          const char *net)
{
    char *json = xasprintf(
        "{\"metadata\":{\"namespace\":\"x\",\"name\":\"%s%zu\",\"labels\":{\"app\":\"%s%zu\"},"
        "\"annotations\":{\"" DEPENDS_ON "\":\"10.70.0.0/%zu:%zu, internet:443\"}},"
        "\"spec\":{\"containers\":[{\"name\":\"c\"}]},\"status\":{\"phase\":\"Running\","
        "\"podIP\":\"%s.%zu.%zu\"}}",
        name, i, label, i % LABELS, 16 + i % 8, 1000 + i, net, i >> 8, i & 255);
    return decode("v1", "Pod", json);
}

static const struct networking_v1_network_policy *make_policy(size_t i)
{
    char *json = xasprintf(
        "{\"metadata\":{\"namespace\":\"x\",\"name\":\"p%zu\"},\"spec\":{\"podSelector\":{"
        "\"matchLabels\":{\"app\":\"l%zu\"}},\"policyTypes\":[\"Ingress\",\"Egress\"],"
        "\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":{\"app\":\"o%zu\"}}}],"
        "\"ports\":[{\"port\":%zu}]}],\"egress\":[{\"to\":[{\"podSelector\":{\"matchLabels\":{"
        "\"app\":\"o%zu\"}}},{\"ipBlock\":{\"cidr\":\"10.70.0.0/16\"}}]}]}}",
        i, i % LABELS, i % LABELS, 1000 + i, (i + 1) % LABELS);
    return decode("networking.k8s.io/v1", "NetworkPolicy", json);
}

static void make(struct world *w, size_t locals, size_t others)
{
    *w = (struct world){.locals = xzalloc(sizeof(*w->locals) * locals),
                        .pods = xzalloc(sizeof(*w->pods) * (locals + others)),
                        .policies = xzalloc(sizeof(*w->policies) * locals)};
    for (size_t i = 0; i < locals; i++) {
        const char **ip = xzalloc(sizeof(*ip));
        *ip = xasprintf("10.60.%zu.%zu", i >> 8, i & 255);
        w->pods[w->pod_count++] = make_pod(i, "local", "l", "10.60");
        w->locals[w->local_count++] =
            (struct policy_local){.pod = w->pods[i], .ips = ip, .ip_count = 1};
        w->policies[w->policy_count++] = make_policy(i);
    }
    for (size_t i = 0; i < others; i++)
        w->pods[w->pod_count++] = make_pod(i, "other", "o", "10.70");
}

static struct policy_state *compute(const struct world *w, bool policies)
{
    struct map nothing;
    struct policy_needs needs;
    map_init(&nothing);
    if (policies)
        return policy_rules(&(struct policy_inputs){.policies = w->policies,
                                                    .policy_count = w->policy_count,
                                                    .pods = w->pods,
                                                    .pod_count = w->pod_count,
                                                    .locals = w->locals,
                                                    .local_count = w->local_count,
                                                    .seed = {1, 2}},
                            &needs);
    return isolation_rules(&(struct isolation_inputs){.locals = w->locals,
                                                      .local_count = w->local_count,
                                                      .namespaces = &nothing,
                                                      .services = &nothing,
                                                      .seed = {1, 2}});
}

int main(int argc, char **argv)
{
    struct world w;
    if (argc != 4) {
        fprintf(stderr, "usage: bench_policy policies|isolation PODS OTHERS\n");
        return 2;
    }
    bool policies = strcmp(argv[1], "policies") == 0;
    make(&w, strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    size_t before = mallinfo2().uordblks;
    uint64_t began_ns = uv_hrtime();
    struct policy_state *s = compute(&w, policies);
    uint64_t took_ns = uv_hrtime() - began_ns;
    size_t bytes = mallinfo2().uordblks - before;
    AUTO_BUF out = BUF_INIT;
    policy_state_write(s, &out);
    fwrite(out.data, 1, out.len, stdout);
    fprintf(stderr, "compute_ms=%.2f state_bytes_per_pod=%.0f text_kb=%zu\n", (double)took_ns / 1e6,
            (double)bytes / (double)w.local_count, out.len / 1024);
    policy_state_free(s);
    return 0;
}

/* test_policy_rules.c - NetworkPolicies to sets, chains and nftables text, and
 * the way from one state to the next. That the kernel enforces it is shown end
 * to end. */
#include "kubelet/policy/rules.h"

#include "kubelet/policy/guard.h"

#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"
#include "test/unit/unit.h"

#define ITEMS_MAX 8

/* Three pods: a and b in namespace x, c in y; those named in locals are this node's. */
struct world {
    struct api_object *objects[4 * ITEMS_MAX];
    size_t object_count;
    const void *pods[ITEMS_MAX], *policies[ITEMS_MAX], *namespaces[ITEMS_MAX];
    struct policy_local locals[ITEMS_MAX];
    struct policy_inputs in;
};

static const void *add(struct world *w, const char *api_version, const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_api_version(str_of(api_version), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    w->objects[w->object_count++] = o;
    return o->msg;
}

static void add_pod(struct world *w, const char *ns, const char *name, const char *label,
                    const char *ip)
{
    AUTO_FREE char *json = xasprintf(
        "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},"
        "\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{\"name\":\"web\","
        "\"containerPort\":8080,\"protocol\":\"TCP\"}]}]},"
        "\"status\":{\"phase\":\"Running\",\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"},"
        "{\"ip\":\"fd00::%s\"}]}}",
        ns, name, label, ip, ip, ip + strlen(ip) - 1);
    w->pods[w->in.pod_count++] = add(w, "v1", "Pod", json);
}

static void add_policy(struct world *w, const char *name, const char *spec)
{
    AUTO_FREE char *json =
        xasprintf("{\"metadata\":{\"namespace\":\"x\",\"name\":\"%s\"},\"spec\":%s}", name, spec);
    w->policies[w->in.policy_count++] = add(w, "networking.k8s.io/v1", "NetworkPolicy", json);
}

static void make(struct world *w)
{
    static const char *const ips[] = {"10.0.0.1"};
    *w = (struct world){.in.seed = {1, 2}};
    add_pod(w, "x", "a", "server", "10.0.0.1");
    add_pod(w, "x", "b", "client", "10.0.0.2");
    add_pod(w, "y", "c", "client", "10.0.1.3");
    w->namespaces[0] = add(w, "v1", "Namespace", "{\"metadata\":{\"name\":\"x\"}}");
    w->namespaces[1] =
        add(w, "v1", "Namespace", "{\"metadata\":{\"name\":\"y\",\"labels\":{\"team\":\"t\"}}}");
    w->locals[0] = (struct policy_local){.pod = w->pods[0], .ips = ips, .ip_count = 1};
    w->in.policies = (const struct networking_v1_network_policy *const *)w->policies;
    w->in.pods = (const struct core_v1_pod *const *)w->pods;
    w->in.namespaces = (const struct core_v1_namespace *const *)w->namespaces;
    w->in.namespace_count = 2;
    w->in.locals = w->locals;
    w->in.local_count = 1;
}

static void done(struct world *w)
{
    for (size_t i = 0; i < w->object_count; i++)
        api_object_unref(w->objects[i]);
}

static char *render(struct world *w)
{
    struct policy_needs needs;
    AUTO_BUF b = BUF_INIT;
    struct policy_state *s = policy_rules(&w->in, &needs);
    policy_state_write(s, &b);
    policy_state_free(s);
    return buf_steal(&b, NULL);
}

static void expect(struct world *w, const char *text, bool there, int line)
{
    AUTO_FREE char *r = render(w);
    ck_assert_msg((strstr(r, text) != NULL) == there, "line %d: %s '%s' in\n%s", line,
                  there ? "no" : "there is", text, r);
}
#define HAS(w, text) expect(w, text, true, __LINE__)
#define HAS_NOT(w, text) expect(w, text, false, __LINE__)

/* A pod that no policy selects has no entry, and nothing is asked about other pods. */
START_TEST(free_pods_are_left_alone)
{
    struct world w;
    struct policy_needs needs;
    make(&w);
    add_policy(&w, "p",
               "{\"podSelector\":{\"matchLabels\":{\"app\":\"other\"}},\"ingress\":[{"
               "\"from\":[{\"podSelector\":{}}]}]}");
    struct policy_state *s = policy_rules(&w.in, &needs);
    ck_assert_uint_eq(s->chain_count, 0);
    ck_assert(!needs.pods && !w.locals[0].selected);
    policy_state_free(s);
    done(&w);
}
END_TEST

/* Default deny: a chain that only drops; without policyTypes egress stays free. */
START_TEST(default_deny)
{
    struct world w;
    make(&w);
    add_policy(&w, "p", "{\"podSelector\":{}}");
    HAS(&w, "add element inet trireme-policy in4 { 10.0.0.1 : jump i-");
    HAS(&w, "add element inet trireme-policy self4 { 10.0.0.1 . 10.0.0.1 }");
    HAS(&w, " drop\n");
    HAS_NOT(&w, " return\n");
    HAS_NOT(&w, "jump e-");
    add_policy(&w, "q", "{\"podSelector\":{},\"policyTypes\":[\"Egress\"]}");
    HAS(&w, "add element inet trireme-policy out4 { 10.0.0.1 : jump e-");
    done(&w);
}
END_TEST

/* Rules for egress make a policy one of egress, too. */
START_TEST(types_follow_from_rules)
{
    struct world w;
    make(&w);
    add_policy(&w, "p", "{\"podSelector\":{},\"egress\":[{}]}");
    HAS(&w, "jump i-");
    HAS(&w, "jump e-");
    HAS(&w, " return\n");
    done(&w);
}
END_TEST

/* Pods of the own namespace, of others, and of both selectors together. */
START_TEST(peers)
{
    struct world w;
    struct policy_needs needs;
    make(&w);
    add_policy(&w, "p",
               "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":{"
               "\"app\":\"client\"}}}]}]}");
    HAS(&w, "{ 10.0.0.2 }");
    HAS(&w, "{ fd00::2 }");
    HAS(&w, "ip saddr @p4-");
    HAS(&w, "ip6 saddr @p6-");
    HAS_NOT(&w, "10.0.1.3");
    policy_state_free(policy_rules(&w.in, &needs));
    ck_assert(needs.pods && !needs.namespaces);
    add_policy(&w, "q",
               "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\""
               ":{\"team\":\"t\"}}}]}]}");
    HAS(&w, "{ 10.0.1.3 }");
    policy_state_free(policy_rules(&w.in, &needs));
    ck_assert(needs.namespaces);
    add_policy(&w, "r",
               "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"namespaceSelector\":{},"
               "\"podSelector\":{\"matchLabels\":{\"app\":\"client\"}}}]}]}");
    HAS(&w, "{ 10.0.0.2, 10.0.1.3 }");
    done(&w);
}
END_TEST

/* Ranges with exceptions; everything; what is no range allows nothing. */
START_TEST(blocks)
{
    struct world w;
    make(&w);
    add_policy(&w, "p",
               "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.1.2.3/8\","
               "\"except\":[\"10.1.0.0/16\",\"10.1.2.0/24\"]}},{\"ipBlock\":{\"cidr\":\"::/0\"}},"
               "{\"ipBlock\":{\"cidr\":\"1.2.3.4; drop\"}}]}]}");
    HAS(&w, "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 return\n");
    HAS(&w, "meta nfproto ipv6 return\n");
    HAS_NOT(&w, "1.2.3.4");
    done(&w);
}
END_TEST

/* Numbers, ranges, whole protocols and names: for ingress the pod's own, for egress those of
 * others. */
START_TEST(ports)
{
    struct world w;
    make(&w);
    add_policy(&w, "p",
               "{\"podSelector\":{},\"ingress\":[{\"ports\":[{\"port\":80},{\"protocol\":\"UDP\","
               "\"port\":53,\"endPort\":60},{\"protocol\":\"SCTP\"},{\"port\":\"web\"}]}],"
               "\"egress\":[{\"to\":[{\"podSelector\":{}}],\"ports\":[{\"port\":\"web\"}]}]}");
    HAS(&w, " tcp dport { 80, 8080 } return\n");
    HAS(&w, " udp dport 53-60 return\n");
    HAS(&w, " meta l4proto sctp return\n");
    HAS(&w, " ip daddr . meta l4proto . th dport @n4-");
    HAS(&w, "10.0.1.3 . tcp . 8080");
    done(&w);
}
END_TEST

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

/* Peers and ports are gathered, so that a rule with many of both stays few rules: their pairs
 * would be without bound. What lies in another is dropped, since sets of ranges must not overlap.
 */
START_TEST(many_peers_and_ports)
{
    struct world w;
    AUTO_BUF spec = BUF_INIT;
    make(&w);
    buf_puts(&spec, "{\"podSelector\":{},\"policyTypes\":[\"Egress\"],\"egress\":[{\"to\":[");
    for (int i = 0; i < 200; i++)
        buf_printf(
            &spec,
            "{\"ipBlock\":{\"cidr\":\"10.%d.0.0/16\"}},{\"ipBlock\":{\"cidr\":\"10.%d.1.0/24\"}},"
            "{\"ipBlock\":{\"cidr\":\"fd00:%x::/32\"}},{\"podSelector\":{\"matchLabels\":{\"a\":"
            "\"%d\"}}},",
            i, i, i, i);
    buf_puts(&spec, "{\"ipBlock\":{\"cidr\":\"172.16.0.0/12\",\"except\":[\"172.16.1.0/24\"");
    for (int i = 2; i < 200; i++)
        buf_printf(&spec, ",\"172.16.%d.0/24\"", i);
    buf_puts(&spec, "]}}],\"ports\":[{\"port\":\"web\"}");
    for (int i = 0; i < 200; i++)
        buf_printf(
            &spec,
            ",{\"port\":%d},{\"protocol\":\"UDP\",\"port\":%d,\"endPort\":%d},{\"port\":\"n%d\"}",
            1000 + 2 * i, 53 + i, 60 + i, i);
    buf_puts(&spec, "]}]}");
    buf_putc(&spec, '\0');
    add_policy(&w, "p", (const char *)spec.data);
    struct policy_needs needs;
    struct policy_state *s = policy_rules(&w.in, &needs);
    AUTO_BUF out = BUF_INIT;
    policy_state_write(s, &out);
    buf_putc(&out, '\0');
    const char *text = (const char *)out.data;
    ck_assert_uint_le(count_of(text, " return\n"), 20);
    ck_assert_ptr_nonnull(strstr(text, "10.7.0.0/16"));
    ck_assert_ptr_null(strstr(text, "10.7.1.0/24"));
    ck_assert_ptr_nonnull(strstr(text, "ip daddr 172.16.0.0/12 ip daddr != @b4-"));
    ck_assert_ptr_nonnull(strstr(text, " udp dport 53-259 return\n"));
    ck_assert_ptr_nonnull(strstr(text, " tcp dport { 1000, 1002, "));
    policy_state_free(s);
    done(&w);
}
END_TEST

/* A name that the pod has not allows nothing, rather than every port. */
START_TEST(unknown_port_names)
{
    struct world w;
    make(&w);
    add_policy(&w, "p", "{\"podSelector\":{},\"ingress\":[{\"ports\":[{\"port\":\"none\"}]}]}");
    HAS_NOT(&w, " return\n");
    done(&w);
}
END_TEST

/* Pods on the host's network and those that have ended are nobody's peers. */
START_TEST(pods_that_count)
{
    struct world w;
    make(&w);
    struct core_v1_pod *b = w.objects[1]->msg, *c = w.objects[2]->msg;
    add_policy(&w, "p",
               "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"namespaceSelector\":{}}]}]}");
    HAS(&w, "10.0.0.1, 10.0.0.2, 10.0.1.3 }");
    b->spec.host_network = true;
    c->status.phase = STR("Succeeded");
    HAS(&w, "{ 10.0.0.1 }");
    HAS_NOT(&w, "10.0.0.2");
    HAS_NOT(&w, "10.0.1.3");
    done(&w);
}
END_TEST

static char *difference(const struct policy_state *have, const struct policy_state *want)
{
    AUTO_BUF b = BUF_INIT;
    policy_state_diff(have, want, &b);
    buf_putc(&b, '\n');
    return buf_steal(&b, NULL);
}

/* One pod more is one element more; equal states differ in nothing; what goes is taken apart in
 * an order that nft accepts. */
START_TEST(differences)
{
    struct world w;
    struct policy_needs needs;
    make(&w);
    add_policy(&w, "p", "{\"podSelector\":{},\"ingress\":[{\"from\":[{\"podSelector\":{}}]}]}");
    struct policy_state *one = policy_rules(&w.in, &needs);
    struct policy_state *same = policy_rules(&w.in, &needs);
    AUTO_FREE char *nothing = difference(one, same);
    ck_assert_str_eq(nothing, "\n");
    add_pod(&w, "x", "d", "client", "10.0.0.9");
    struct policy_state *more = policy_rules(&w.in, &needs);
    AUTO_FREE char *come = difference(one, more);
    ck_assert_ptr_nonnull(strstr(come, "{ 10.0.0.9 }\n"));
    ck_assert_ptr_null(strstr(come, "chain"));
    ck_assert_ptr_null(strstr(come, "10.0.0.2"));
    w.in.policy_count = 0;
    struct policy_state *none = policy_rules(&w.in, &needs);
    AUTO_FREE char *gone = difference(more, none);
    const char *verdict = strstr(gone, "delete element inet trireme-policy in4");
    const char *chain = strstr(gone, "flush chain"), *set = strstr(gone, "delete set");
    ck_assert(verdict != NULL && chain != NULL && set != NULL);
    ck_assert(verdict < chain && chain < set);
    policy_state_free(one);
    policy_state_free(same);
    policy_state_free(more);
    policy_state_free(none);
    done(&w);
}
END_TEST

/* What is let through without a lookup is discovery on the link, which nothing routed can be. */
START_TEST(neighbours_on_the_link_alone)
{
    AUTO_BUF b = BUF_INIT;
    policy_table.write_hooks(&b);
    buf_putc(&b, '\0');
    const char *discovery = strstr((const char *)b.data, "nd-neighbor-solicit");
    ck_assert_ptr_nonnull(discovery);
    const char *line = discovery;
    while (line > (const char *)b.data && line[-1] != '\n')
        line--;
    const char *limit = strstr(line, "ip6 hoplimit 255 ");
    ck_assert(limit != NULL && limit < discovery);
}
END_TEST

/* A port lets out its pod's own addresses alone, of either family. */
START_TEST(guarded_ports)
{
    static const char *const one[] = {"10.0.0.1", "fd00::1"}, *const two[] = {"10.0.0.2"};
    const struct guard_port list[] = {{7, one, 2}, {9, two, 1}};
    AUTO_BUF b = BUF_INIT, none = BUF_INIT;
    guard_text(list, 2, &b);
    buf_putc(&b, '\0');
    const char *text = (const char *)b.data;
    ck_assert_ptr_nonnull(strstr(text, "elements = { 7, 9 }"));
    ck_assert_ptr_nonnull(strstr(text, "elements = { 7 . 10.0.0.1, 9 . 10.0.0.2 }"));
    ck_assert_ptr_nonnull(strstr(text, "elements = { 7 . fd00::1 }"));
    ck_assert_ptr_nonnull(strstr(text, "iif @ports jump from"));
    ck_assert_ptr_nonnull(strstr(text, "oif @ports jump to"));
    guard_text(list, 0, &none);
    buf_putc(&none, '\0');
    ck_assert_ptr_null(strstr((const char *)none.data, "chain"));
    ck_assert_ptr_nonnull(strstr((const char *)none.data, "delete table bridge trireme-ports"));
}
END_TEST

UNIT_MAIN("network policies", {
    UNIT_TEST(free_pods_are_left_alone);
    UNIT_TEST(default_deny);
    UNIT_TEST(types_follow_from_rules);
    UNIT_TEST(peers);
    UNIT_TEST(blocks);
    UNIT_TEST(ports);
    UNIT_TEST(many_peers_and_ports);
    UNIT_TEST(unknown_port_names);
    UNIT_TEST(pods_that_count);
    UNIT_TEST(differences);
    UNIT_TEST(neighbours_on_the_link_alone);
    UNIT_TEST(guarded_ports);
})

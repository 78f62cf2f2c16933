/* test_pod_spec.c - from a pod's spec to variables, volumes, CRI messages and
 * its status; pods are written as manifests. */
#include "kubelet/atomic_writer.h"
#include "kubelet/container_env.h"
#include "kubelet/cri_config.h"
#include "kubelet/hosts_file.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_status.h"
#include "kubelet/resources.h"
#include "kubelet/static_pods.h"
#include "kubelet/volumes.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "test/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#define ASSERT_STR(s, expected)                                                                    \
    do {                                                                                           \
        struct str s_ = (s);                                                                       \
        ck_assert_msg(str_eqc(s_, expected), "'" STR_FMT "' != '%s'", STR_ARG(s_), expected);      \
    } while (0)

static struct api_object *parse(const char *spec)
{
    AUTO_FREE char *text = xasprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: "
                                     "ns, labels: {b: '2', a: 'x\"y'}}\n"
                                     "spec: %s\n",
                                     spec);
    struct api_object *o;
    struct error err;
    int rc = static_pod_parse(str_of(text), "node1", "/m/p.yaml", &o, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    return o;
}

static struct field_context context(const struct core_v1_pod *pod)
{
    static const char *const pod_ips[] = {"10.0.0.5", "fd00::5"}, *const host_ips[] = {
                                                                      "192.168.0.1"};
    return (struct field_context){.pod = pod,
                                  .node_name = "node1",
                                  .cluster_domain = "cluster.local",
                                  .pod_ips = pod_ips,
                                  .pod_ip_count = 2,
                                  .host_ips = host_ips,
                                  .host_ip_count = 1};
}

/* A manifest becomes a pod of this node, with all defaults and a stable uid. */
START_TEST(test_manifest)
{
    struct api_object *x = parse("{containers: [{name: c, image: busybox}]}");
    struct api_object *y = parse("{containers: [{name: c, image: busybox}]}");
    struct api_object *z = parse("{containers: [{name: c, image: 'busybox:1'}]}");
    const struct core_v1_pod *p = x->msg;
    ASSERT_STR(p->metadata.name, "p-node1");
    ASSERT_STR(p->spec.restart_policy, "Always");
    ASSERT_STR(p->spec.containers[0].image_pull_policy, "Always");
    ASSERT_STR(((struct core_v1_pod *)z->msg)->spec.containers[0].image_pull_policy,
               "IfNotPresent");
    ASSERT_STR(p->spec.containers[0].termination_message_path, "/dev/termination-log");
    ck_assert(str_eq(p->metadata.uid, ((struct core_v1_pod *)y->msg)->metadata.uid));
    ck_assert(!str_eq(p->metadata.uid, ((struct core_v1_pod *)z->msg)->metadata.uid));
    struct api_object *bad;
    struct error err;
    ck_assert_int_ne(static_pod_parse(STR("kind: Service\napiVersion: v1\n"), "n", "f", &bad, &err),
                     0);
    ck_assert_int_ne(static_pod_parse(STR("{"), "n", "f", &bad, &err), 0);
    ck_assert_int_ne(static_pod_parse(STR("kind: Pod\napiVersion: v1\nspec: {bogus: 1}\n"), "n",
                                      "f", &bad, &err),
                     0);
    api_object_unref(x);
    api_object_unref(y);
    api_object_unref(z);
}
END_TEST

/* QoS classes, as documented. */
START_TEST(test_qos)
{
    static const struct {
        const char *resources;
        enum qos_class qos;
    } cases[] = {
        {"{}", QOS_BEST_EFFORT},
        {"{requests: {cpu: 1}}", QOS_BURSTABLE},
        {"{limits: {cpu: 1}}", QOS_BURSTABLE},
        {"{limits: {cpu: 1, memory: 1Gi}}", QOS_GUARANTEED},
        {"{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}", QOS_BURSTABLE},
        {"{limits: {cpu: 1000m, memory: 1Gi}, requests: {cpu: 1, memory: 1024Mi}}", QOS_GUARANTEED},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *spec =
            xasprintf("{containers: [{name: c, image: x, resources: %s}]}", cases[i].resources);
        struct api_object *o = parse(spec);
        ck_assert_int_eq(pod_qos_class(o->msg), cases[i].qos);
        api_object_unref(o);
    }
}
END_TEST

/* A pod's cgroup: sums, the larger of init and app, limits only if all have them. */
START_TEST(test_pod_limits)
{
    struct cgroup_limits l;
    struct api_object *o =
        parse("{initContainers: [{name: i, image: x, resources: {limits: {cpu: 2, memory: 10Mi}}}],"
              "containers: [{name: a, image: x, resources: {limits: {cpu: 500m, memory: 64Mi}}},"
              "{name: b, image: x, resources: {limits: {cpu: 500m, memory: 64Mi}}}]}");
    pod_cgroup_limits(o->msg, &l);
    ck_assert_int_eq(l.cpu_shares, 2048);
    ck_assert_int_eq(l.cpu_quota_us, 200000);
    ck_assert_int_eq(l.memory_bytes, 128 << 20);
    ck_assert_int_eq(pod_request_milli_cpu(o->msg), 2000);
    api_object_unref(o);
    o = parse("{containers: [{name: a, image: x, resources: {limits: {memory: 64Mi}}}, {name: b, "
              "image: x}]}");
    pod_cgroup_limits(o->msg, &l);
    ck_assert_int_eq(l.memory_bytes, 0);
    const struct core_v1_pod *p = o->msg;
    ck_assert_int_eq(oom_score_adj(p, &p->spec.containers[0], 640 << 20), 900);
    ck_assert_int_eq(oom_score_adj(p, &p->spec.containers[1], 640 << 20), 999);
    api_object_unref(o);
}
END_TEST

/* Variables: sources in order, references, services, and what is missing. */
START_TEST(test_environment)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o =
        parse("{serviceAccountName: sa, containers: [{name: c, image: x, resources: {limits: "
              "{memory: 65Mi}}, env: ["
              "{name: A, value: one}, {name: B, value: '$(A) $(KUBERNETES_SERVICE_HOST) $$(A)'},"
              "{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}},"
              "{name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}},"
              "{name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['b']\"}}},"
              "{name: M, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}},"
              "{name: R, valueFrom: {resourceFieldRef: {resource: requests.memory, divisor: 1Gi}}},"
              "{name: O, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}]}]}");
    const struct core_v1_pod *pod = o->msg;
    struct field_context ctx = context(pod);
    struct source_set *sources = source_set_new(pod);
    struct core_v1_service_port ports[] = {
        {.name = STR("https"), .protocol = STR("TCP"), .port = 443}};
    struct core_v1_service svc = {
        .metadata = {.name = STR("kubernetes")},
        .spec = {.cluster_ip = STR("10.96.0.1"), .ports = ports, .ports_count = 1}};
    const struct core_v1_service *services[] = {&svc};
    struct env_list env;
    struct error err;
    int rc = container_env(a, &ctx, &pod->spec.containers[0], sources, services, 1, &env, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    ASSERT_STR(*env_list_get(&env, STR("B")), "one 10.96.0.1 $(A)");
    ASSERT_STR(*env_list_get(&env, STR("IP")), "10.0.0.5");
    ASSERT_STR(*env_list_get(&env, STR("IPS")), "10.0.0.5,fd00::5");
    ASSERT_STR(*env_list_get(&env, STR("L")), "2");
    ASSERT_STR(*env_list_get(&env, STR("M")), "65");
    ASSERT_STR(*env_list_get(&env, STR("R")), "1");
    ck_assert_ptr_null(env_list_get(&env, STR("O")));
    ASSERT_STR(*env_list_get(&env, STR("KUBERNETES_PORT_443_TCP")), "tcp://10.96.0.1:443");
    ASSERT_STR(*env_list_get(&env, STR("KUBERNETES_SERVICE_PORT_HTTPS")), "443");
    source_set_free(sources);
    api_object_unref(o);
    o = parse("{containers: [{name: c, image: x, env: [{name: S, valueFrom: {secretKeyRef: {name: "
              "s, key: k}}}]}]}");
    sources = source_set_new(o->msg);
    ctx = context(o->msg);
    rc = container_env(a, &ctx, &((struct core_v1_pod *)o->msg)->spec.containers[0], sources, NULL,
                       0, &env, &err);
    ck_assert_int_eq(rc, E_NOT_FOUND);
    ck_assert_str_eq(error_message(&err), "secret \"s\" not found");
    source_set_free(sources);
    api_object_unref(o);
}
END_TEST

/* resolv.conf of pods by policy. */
START_TEST(test_dns)
{
    AUTO_ARENA *a = arena_new(0);
    struct dns_settings node, d;
    const char *const cluster[] = {"10.96.0.10"};
    dns_parse(a, STR("# x\nnameserver 1.1.1.1\nsearch a b.\noptions timeout:1\n"), &node);
    ck_assert_uint_eq(node.search_count, 2);
    ck_assert_str_eq(node.searches[1], "b");
    struct api_object *o = parse(
        "{containers: [{name: c, image: x}], dnsConfig: {options: [{name: ndots, value: '2'}]}}");
    dns_for_pod(a, o->msg, &node, cluster, 1, "cluster.local", &d);
    ck_assert_str_eq(d.servers[0], "10.96.0.10");
    ck_assert_str_eq(d.searches[0], "ns.svc.cluster.local");
    ck_assert_uint_eq(d.search_count, 5);
    ck_assert_str_eq(d.options[0], "ndots:2");
    api_object_unref(o);
    o = parse("{hostNetwork: true, containers: [{name: c, image: x}]}");
    dns_for_pod(a, o->msg, &node, cluster, 1, "cluster.local", &d);
    ck_assert_str_eq(d.servers[0], "1.1.1.1");
    api_object_unref(o);
    o = parse("{dnsPolicy: None, dnsConfig: {nameservers: [9.9.9.9]}, containers: [{name: c, "
              "image: x}]}");
    dns_for_pod(a, o->msg, &node, cluster, 1, "cluster.local", &d);
    ck_assert_uint_eq(d.server_count, 1);
    ck_assert_str_eq(d.servers[0], "9.9.9.9");
    ck_assert_uint_eq(d.search_count, 0);
    api_object_unref(o);
}
END_TEST

START_TEST(test_hosts)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = parse("{hostname: h, subdomain: s, containers: [{name: c, image: x}],"
                                 "hostAliases: [{ip: 1.2.3.4, hostnames: [foo, bar]}]}");
    struct field_context ctx = context(o->msg);
    const char *text = hosts_file_content(a, &ctx);
    ck_assert_ptr_nonnull(strstr(text, "10.0.0.5\th.s.ns.svc.cluster.local\th\n"));
    ck_assert_ptr_nonnull(strstr(text, "1.2.3.4\tfoo\tbar\n"));
    api_object_unref(o);
}
END_TEST

/* What the runtime is told: user, capabilities, resources, and refusals. */
START_TEST(test_container_config)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o =
        parse("{securityContext: {runAsUser: 1000, runAsNonRoot: true, fsGroup: 2000, "
              "supplementalGroups: [3]},"
              "containers: [{name: c, image: x, command: ['$(A)'], args: ['b'], resources: "
              "{limits: {cpu: 200m, memory: 64Mi}},"
              "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true,"
              "capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, seccompProfile: {type: "
              "RuntimeDefault}}}]}");
    struct env_list env = {0};
    CRI(ContainerConfig) * c;
    struct error err;
    env_list_set(a, &env, STR("A"), STR("run"));
    struct core_v1_pod *pod = o->msg;
    struct container_inputs in = {.pod = pod,
                                  .container = &pod->spec.containers[0],
                                  .attempt = 2,
                                  .hash = 255,
                                  .image_ref = "sha256:1",
                                  .env = &env,
                                  .image_uid = -1,
                                  .image_user = "",
                                  .seccomp_root = "/s",
                                  .memory_capacity = 1 << 30,
                                  .cdi_devices = (const char *const[]){"x.io/dev=1", "x.io/dev=2"},
                                  .cdi_device_count = 2};
    /* A block volume's device and a plugin's; the agent's own annotations are not the plugin's. */
    const struct container_device devices[] = {{.container_path = "/a", .host_path = "/b"},
                                               {"/c", "/d", .permissions = "rw"}};
    struct env_list annotations = {0};
    env_list_set(a, &annotations, STR("x.io/id"), STR("1"));
    env_list_set(a, &annotations, STR("io.kubernetes.container.hash"), STR("forged"));
    in.devices = devices;
    in.device_count = 2;
    in.annotations = &annotations;
    ck_assert_int_eq(container_config(a, &in, &c, &err), 0);
    ck_assert_str_eq(c->devices[0]->permissions, "mrw");
    ck_assert_str_eq(c->devices[1]->permissions, "rw");
    ck_assert_str_eq(cri_map_get(c->annotations, c->n_annotations, "x.io/id"), "1");
    ck_assert_uint_eq(c->n_cdi_devices, 2);
    ck_assert_str_eq(c->cdi_devices[1]->name, "x.io/dev=2");
    ck_assert_str_eq(c->command[0], "run");
    ck_assert_str_eq(c->log_path, "c/2.log");
    ck_assert_str_eq(cri_map_get(c->annotations, c->n_annotations, "io.kubernetes.container.hash"),
                     "ff");
    ck_assert_str_eq(cri_map_get(c->labels, c->n_labels, "io.kubernetes.container.name"), "c");
    ck_assert_int_eq(c->linux->resources->cpu_quota, 20000);
    ck_assert_int_eq(c->linux->resources->memory_limit_in_bytes, 64 << 20);
    ck_assert_int_eq(c->linux->resources->oom_score_adj, -997);
    CRI(LinuxContainerSecurityContext) *s = c->linux->security_context;
    ck_assert_int_eq(s->run_as_user->value, 1000);
    ck_assert(s->no_new_privs && s->readonly_rootfs && !s->privileged);
    ck_assert_uint_eq(s->n_supplemental_groups, 2);
    ck_assert_int_eq(s->supplemental_groups[1], 2000);
    ck_assert_str_eq(s->capabilities->drop_capabilities[0], "ALL");
    ck_assert_int_eq(s->seccomp->profile_type,
                     CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault));
    ck_assert_uint_gt(s->n_masked_paths, 0);
    pod->spec.security_context->has_run_as_user = false;
    ck_assert_int_eq(container_config(a, &in, &c, &err), E_INVALID);
    ck_assert_ptr_nonnull(
        strstr(error_message(&err), "container has runAsNonRoot and image will run as root"));
    api_object_unref(o);
}
END_TEST

static CRI(ContainerConfig) * config_of(struct arena *a, const struct core_v1_pod *pod)
{
    static const int64_t sizes[] = {2 << 20, 1 << 30};
    static struct env_list env;
    CRI(ContainerConfig) * c;
    struct error err;
    struct container_inputs in = {.pod = pod,
                                  .container = &pod->spec.containers[0],
                                  .image_ref = "x",
                                  .env = &env,
                                  .image_uid = -1,
                                  .image_user = "",
                                  .seccomp_root = "/s",
                                  .hugepage_sizes = sizes,
                                  .hugepage_size_count = ARRAY_SIZE(sizes)};
    ck_assert_msg(container_config(a, &in, &c, &err) == 0, "%s", error_message(&err));
    return c;
}

/* Each size of huge pages that the node has is limited: those that nobody asked for to nothing. */
START_TEST(test_hugepage_limits)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = parse("{containers: [{name: c, image: x, resources: {limits: "
                                 "{hugepages-2Mi: 4Mi, memory: 1Gi}}}]}");
    const CRI(LinuxContainerResources) *r = config_of(a, o->msg)->linux->resources;
    ck_assert_uint_eq(r->n_hugepage_limits, 2);
    ck_assert_str_eq(r->hugepage_limits[0]->page_size, "2MB");
    ck_assert_uint_eq(r->hugepage_limits[0]->limit, 4 << 20);
    ck_assert_str_eq(r->hugepage_limits[1]->page_size, "1GB");
    ck_assert_uint_eq(r->hugepage_limits[1]->limit, 0);
    api_object_unref(o);
}
END_TEST

/* The runtime is told lifecycle.stopSignal by CRI's names. */
START_TEST(test_stop_signal)
{
    static const struct {
        const char *name;
        CRI(Signal) signal;
    } cases[] = {{"SIGUSR1", CRI_ENUM(SIGNAL__SIGUSR1)},
                 {"SIGRTMIN", CRI_ENUM(SIGNAL__SIGRTMIN)},
                 {"SIGRTMIN+3", CRI_ENUM(SIGNAL__SIGRTMINPLUS3)},
                 {"SIGRTMAX-14", CRI_ENUM(SIGNAL__SIGRTMAXMINUS14)},
                 {"SIGNONE", CRI_ENUM(SIGNAL__RUNTIME_DEFAULT)}};
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = parse("{containers: [{name: c, image: x}]}");
    ck_assert_int_eq(config_of(a, o->msg)->stop_signal, CRI_ENUM(SIGNAL__RUNTIME_DEFAULT));
    struct core_v1_pod *pod = o->msg;
    struct core_v1_lifecycle life = {.has_stop_signal = true};
    pod->spec.containers[0].lifecycle = &life;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        life.stop_signal = str_of(cases[i].name);
        ck_assert_int_eq(config_of(a, pod)->stop_signal, cases[i].signal);
    }
    api_object_unref(o);
}
END_TEST

/* Strict groups: neither the sandbox nor the container takes those of the image. */
START_TEST(test_strict_groups)
{
    AUTO_ARENA *a = arena_new(0);
    struct dns_settings dns = {0};
    struct api_object *o =
        parse("{securityContext: {supplementalGroups: [7], "
              "supplementalGroupsPolicy: Strict}, containers: [{name: c, image: x}]}");
    struct sandbox_inputs in = {.pod = o->msg,
                                .hostname = "h",
                                .log_dir = "/l",
                                .cgroup_parent = "",
                                .dns = &dns,
                                .seccomp_root = "/s"};
    const CRI(LinuxSandboxSecurityContext) *s = sandbox_config(a, &in)->linux->security_context;
    ck_assert_int_eq(s->supplemental_groups_policy, CRI_ENUM(SUPPLEMENTAL_GROUPS_POLICY__Strict));
    const CRI(LinuxContainerSecurityContext) *c = config_of(a, o->msg)->linux->security_context;
    ck_assert_int_eq(c->supplemental_groups_policy, CRI_ENUM(SUPPLEMENTAL_GROUPS_POLICY__Strict));
    ck_assert_int_eq(c->supplemental_groups[0], 7);
    api_object_unref(o);
}
END_TEST

/* Tokens are renewed by the life that the API gave them, not by the one that was asked for. */
START_TEST(test_token_use)
{
    struct authentication_v1_token_request r = {0};
    const struct api_object o = {.msg = &r};
    ck_assert_uint_eq(source_token_use_ms(&o, 3600, 1000), 2880000);
    ck_assert_uint_eq(source_token_use_ms(&o, 0, 1000), 480000);
    r.status.expiration_timestamp.seconds = 1000 + 600; /* Shorter than asked for, */
    ck_assert_uint_eq(source_token_use_ms(&o, 3600, 1000), 480000);
    r.status.expiration_timestamp.seconds = 1000 + 365 * 86400; /* much longer, */
    ck_assert_uint_eq(source_token_use_ms(&o, 3607, 1000), 86400000);
    r.status.expiration_timestamp.seconds = 900; /* and over. */
    ck_assert_uint_eq(source_token_use_ms(&o, 3600, 1000), 0);
}
END_TEST

/* --- volumes: on a temporary folder ------------------------------------------------ */

static char *temp_dir(void)
{
    char *dir = xstrdup("/tmp/trireme-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

static char *slurp(const char *dir, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    AUTO_BUF b = BUF_INIT;
    if (file_read(path, 65536, &b, NULL) != 0)
        return xstrdup("<none>");
    return buf_steal(&b, NULL);
}

#define ASSERT_FILE(dir, name, expected)                                                           \
    do {                                                                                           \
        AUTO_FREE char *f_ = slurp(dir, name);                                                     \
        ck_assert_str_eq(f_, expected);                                                            \
    } while (0)

/* Files appear, change and vanish all at once; equal content is left alone. */
START_TEST(test_atomic_writer)
{
    AUTO_FREE char *dir = temp_dir();
    struct payload_file first[] = {{"a", STR("1"), 0644, -1}, {"sub/b", STR("2"), 0600, -1}};
    struct payload_file second[] = {{"a", STR("3"), 0644, -1}, {"c", STR(""), 0644, -1}};
    struct payload p = {.files = first, .count = 2, .gid = -1};
    bool changed;
    struct error err;
    struct stat st;
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ck_assert(changed);
    ASSERT_FILE(dir, "a", "1");
    ASSERT_FILE(dir, "sub/b", "2");
    AUTO_FREE char *b = xasprintf("%s/sub/b", dir);
    ck_assert_int_eq(stat(b, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ck_assert(!changed);
    p = (struct payload){.files = second, .count = 2, .gid = -1};
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ck_assert(changed);
    ASSERT_FILE(dir, "a", "3");
    ASSERT_FILE(dir, "c", "");
    ASSERT_FILE(dir, "sub/b", "<none>");
    /* A crash between rename and links: the next write mends it. */
    AUTO_FREE char *c = xasprintf("%s/c", dir);
    unlink(c);
    second[0].data = STR("4");
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), 0);
    ASSERT_FILE(dir, "c", "");
    first[0].path = "../escape";
    p.files = first;
    ck_assert_int_eq(atomic_writer_write(dir, &p, &changed, &err), E_INVALID);
    file_remove_tree(dir, NULL);
}
END_TEST

/* ConfigMaps and downward API become files; a missing ConfigMap is an error that
 * says so; emptyDir is open to all. */
START_TEST(test_volumes)
{
    AUTO_FREE char *dir = temp_dir();
    struct api_object *o = parse(
        "{containers: [{name: c, image: x}], volumes: [{name: e, emptyDir: {}},"
        "{name: d, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}},"
        "{name: m, configMap: {name: cm, items: [{key: k, path: x/y, mode: 0400}]}}]}");
    struct source_set *sources = source_set_new(o->msg);
    struct field_context ctx = context(o->msg);
    struct volume_config config = {.root_dir = dir, .pod_logs_dir = dir};
    struct volume_set *set;
    struct error err;
    ck_assert_int_eq(volume_plan(&config, &ctx, sources, &set, &err), E_NOT_FOUND);
    ck_assert_str_eq(error_message(&err),
                     "MountVolume.SetUp failed for volume \"m\" : configmap \"cm\" not found");
    struct api_object *cm = api_object_new(api_kind_by_api_version(STR("v1"), STR("ConfigMap")));
    static struct api_str_entry data[] = {{STR("k"), STR("v")}};
    ((struct core_v1_config_map *)cm->msg)->data = data;
    ((struct core_v1_config_map *)cm->msg)->data_count = 1;
    source_set_find(sources, SOURCE_CONFIG_MAP, STR("cm"), 0)->object = cm;
    ck_assert_int_eq(volume_plan(&config, &ctx, sources, &set, &err), 0);
    ck_assert_msg(volumes_apply(set, &err) == 0, "%s", error_message(&err));
    ASSERT_FILE(volume_set_find(set, STR("m"))->path, "x/y", "v");
    ASSERT_FILE(volume_set_find(set, STR("d"))->path, "l", "a=\"x\\\"y\"\nb=\"2\"");
    struct stat st;
    ck_assert_int_eq(stat(volume_set_find(set, STR("e"))->path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0777);
    ck_assert_int_eq(volumes_remove(set->pod_dir, &err), 0);
    ck_assert_int_ne(stat(set->pod_dir, &st), 0);
    volume_set_free(set);
    source_set_free(sources);
    api_object_unref(o);
    file_remove_tree(dir, NULL);
}
END_TEST

/* --- status ---------------------------------------------------------------------------- */

static struct core_v1_pod_status *status_of(struct arena *a, const struct core_v1_pod *pod,
                                            struct rt_container *list, size_t count,
                                            const struct container_facts *facts, size_t fact_count,
                                            bool finished)
{
    static struct rt_sandbox sandbox = {.id = "s", .ready = true};
    struct rt_pod *rt = ARENA_NEW(a, struct rt_pod);
    rt->sandboxes = &sandbox;
    rt->sandbox_count = 1;
    rt->containers = list;
    rt->container_count = count;
    struct pod_status_inputs in = {.pod = pod,
                                   .runtime = rt,
                                   .facts = facts,
                                   .fact_count = fact_count,
                                   .runtime_name = "containerd",
                                   .sandbox_ready = !finished,
                                   .finished = finished,
                                   .now_s = 1000};
    return pod_status_compute(a, &in);
}

static struct rt_container container(const char *name, enum rt_state state, int exit_code)
{
    return (struct rt_container){.id = "abc",
                                 .sandbox_id = "s",
                                 .name = name,
                                 .image = "x",
                                 .image_ref = "y",
                                 .reason = "",
                                 .message = "",
                                 .log_path = "",
                                 .term_path = "",
                                 .term_policy = "",
                                 .state = state,
                                 .exit_code = exit_code,
                                 .has_status = true};
}

START_TEST(test_status_phases)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = parse("{restartPolicy: OnFailure, initContainers: [{name: i, image: "
                                 "x}], containers: [{name: c, image: x}]}");
    struct core_v1_pod *pod = o->msg;
    struct container_facts facts[] = {{.name = STR("i"), .started = true, .ready = true},
                                      {.name = STR("c"), .started = true, .ready = true}};
    struct core_v1_pod_status *s = status_of(a, pod, NULL, 0, facts, 2, false);
    ASSERT_STR(s->phase, "Pending");
    ASSERT_STR(s->container_statuses[0].state.waiting->reason, "PodInitializing");
    ASSERT_STR(s->conditions[1].type, "Initialized");
    ASSERT_STR(s->conditions[1].message, "containers with incomplete status: [i]");
    struct rt_container list[] = {container("c", RT_RUNNING, 0), container("i", RT_EXITED, 0)};
    s = status_of(a, pod, list, 2, facts, 2, false);
    ASSERT_STR(s->phase, "Running");
    ASSERT_STR(s->conditions[2].status, "True");
    ASSERT_STR(s->container_statuses[0].container_id, "containerd://abc");
    list[0] = container("c", RT_EXITED, 0);
    s = status_of(a, pod, list, 2, facts, 2, true);
    ASSERT_STR(s->phase, "Succeeded");
    ASSERT_STR(s->conditions[2].reason, "PodCompleted");
    list[0].exit_code = 1;
    s = status_of(a, pod, list, 2, facts, 2, true);
    ASSERT_STR(s->phase, "Failed");
    ASSERT_STR(s->container_statuses[0].state.terminated->reason, "Error");
    api_object_unref(o);
}
END_TEST

/* What the runtime says that it stops a container with is told; where it says nothing, nothing. */
START_TEST(test_status_stop_signal)
{
    static const struct {
        int signal;
        const char *name;
    } cases[] = {{CRI_ENUM(SIGNAL__SIGTERM), "SIGTERM"},
                 {CRI_ENUM(SIGNAL__SIGRTMIN), "SIGRTMIN"},
                 {CRI_ENUM(SIGNAL__SIGRTMINPLUS3), "SIGRTMIN+3"},
                 {CRI_ENUM(SIGNAL__SIGRTMAXMINUS14), "SIGRTMAX-14"},
                 {CRI_ENUM(SIGNAL__RUNTIME_DEFAULT), NULL},
                 {12345, NULL}};
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = parse("{containers: [{name: c, image: x}]}");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rt_pod rt = {.arena = a};
        struct rt_container list[] = {container("c", RT_RUNNING, 0)}, kept = list[0];
        CRI(ContainerStatus) status;
        CRI(ContainerStatusResponse) response;
        runtime__v1__container_status__init(&status);
        runtime__v1__container_status_response__init(&response);
        status.state = CRI_ENUM(CONTAINER_STATE__CONTAINER_RUNNING);
        status.stop_signal = (CRI(Signal))cases[i].signal;
        response.status = &status;
        rt_container_set_status(&rt, &kept, &response);
        rt_container_copy_status(&rt, &list[0], &kept); /* As the next look does. */
        const struct core_v1_container_status *s =
            &status_of(a, o->msg, list, 1, NULL, 0, false)->container_statuses[0];
        ck_assert_int_eq(s->has_stop_signal, cases[i].name != NULL);
        if (cases[i].name != NULL)
            ASSERT_STR(s->stop_signal, cases[i].name);
    }
    api_object_unref(o);
}
END_TEST

/* What IfPossible came to is what the sandbox's handler can. */
START_TEST(test_status_mounts)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o =
        parse("{containers: [{name: c, image: x, volumeMounts: [{name: v, mountPath: /v, readOnly: "
              "true, recursiveReadOnly: IfPossible}]}], volumes: [{name: v, emptyDir: {}}]}");
    for (int can = 0; can < 2; can++) {
        struct pod_status_inputs in = {
            .pod = o->msg, .runtime_name = "containerd", .recursive_read_only = can};
        const struct core_v1_pod_status *s = pod_status_compute(a, &in);
        ASSERT_STR(s->container_statuses[0].volume_mounts[0].recursive_read_only,
                   can ? "Enabled" : "Disabled");
    }
    api_object_unref(o);
}
END_TEST

/* A container in a crash loop waits, and its end is the last state. */
START_TEST(test_status_crash_loop)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_object *o = parse("{containers: [{name: c, image: x}]}");
    struct rt_container list[] = {container("c", RT_EXITED, 3)};
    list[0].attempt = 4;
    struct container_facts facts[] = {{.name = STR("c"),
                                       .wait_reason = "CrashLoopBackOff",
                                       .wait_message = "m",
                                       .restarts = true}};
    struct core_v1_pod_status *s = status_of(a, o->msg, list, 1, facts, 1, false);
    ASSERT_STR(s->phase, "Running");
    ASSERT_STR(s->container_statuses[0].state.waiting->reason, "CrashLoopBackOff");
    ck_assert_int_eq(s->container_statuses[0].last_state.terminated->exit_code, 3);
    ck_assert_int_eq(s->container_statuses[0].restart_count, 4);
    ASSERT_STR(s->conditions[2].message, "containers with unready status: [c]");
    api_object_unref(o);
}
END_TEST

UNIT_MAIN("kubelet pods", {
    UNIT_TEST(test_manifest);
    UNIT_TEST(test_qos);
    UNIT_TEST(test_pod_limits);
    UNIT_TEST(test_environment);
    UNIT_TEST(test_dns);
    UNIT_TEST(test_hosts);
    UNIT_TEST(test_container_config);
    UNIT_TEST(test_hugepage_limits);
    UNIT_TEST(test_stop_signal);
    UNIT_TEST(test_strict_groups);
    UNIT_TEST(test_token_use);
    UNIT_TEST(test_atomic_writer);
    UNIT_TEST(test_volumes);
    UNIT_TEST(test_status_phases);
    UNIT_TEST(test_status_crash_loop);
    UNIT_TEST(test_status_stop_signal);
    UNIT_TEST(test_status_mounts);
})

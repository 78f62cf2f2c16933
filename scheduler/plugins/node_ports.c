/* node_ports.c - host ports are there once per node, address and protocol. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

static bool wants_host_port(const struct core_v1_container_port *p)
{
    return p->host_port > 0;
}

static bool is_any(struct str ip)
{
    return str_empty(ip) || str_eqc(ip, "0.0.0.0") || str_eqc(ip, "::");
}

static bool collide(const struct core_v1_container_port *x, const struct core_v1_container_port *y)
{
    struct str px = str_empty(x->protocol) ? STR("TCP") : x->protocol;
    struct str py = str_empty(y->protocol) ? STR("TCP") : y->protocol;
    if (x->host_port != y->host_port || !str_eq(px, py))
        return false;
    return is_any(x->host_ip) || is_any(y->host_ip) || str_eq(x->host_ip, y->host_ip);
}

/* Containers and sidecars hold their ports as long as the pod runs; so do, for
 * placement, all other init containers' not. */
static bool counts(const struct core_v1_container *c, bool init)
{
    return !init || (c->has_restart_policy && str_eqc(c->restart_policy, "Always"));
}

static bool any_port(const struct core_v1_pod_spec *spec,
                     bool (*test)(const struct core_v1_container_port *p, const void *arg),
                     const void *arg)
{
    for (size_t list = 0; list < 2; list++) {
        const struct core_v1_container *cs = list == 0 ? spec->containers : spec->init_containers;
        size_t count = list == 0 ? spec->containers_count : spec->init_containers_count;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; counts(&cs[i], list == 1) && k < cs[i].ports_count; k++)
                if (wants_host_port(&cs[i].ports[k]) && test(&cs[i].ports[k], arg))
                    return true;
    }
    return false;
}

static bool always(const struct core_v1_container_port *p, const void *arg)
{
    (void)p, (void)arg;
    return true;
}

static bool collides_with(const struct core_v1_container_port *p, const void *arg)
{
    return collide(p, arg);
}

static bool taken_on(const struct core_v1_container_port *p, const void *arg)
{
    const struct node_info *n = arg;
    for (size_t i = 0; i < n->pod_count; i++)
        if (any_port(&n->pods[i]->pod->spec, collides_with, p))
            return true;
    return false;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    return any_port(&c->pod->pod->spec, always, NULL) ? FIT : SKIP;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    if (!any_port(&c->pod->pod->spec, taken_on, n))
        return FIT;
    refusal_add(r, STR("node(s) didn't have free ports for the requested pod ports"));
    return UNFIT;
}

const struct plugin plugin_node_ports = {
    .name = "NodePorts",
    .wakes = EVENT_NODE_ADD | EVENT_POD_DELETE,
    .prefilter = prefilter,
    .filter = filter,
};

/* rules_internal.h - what rules.c (pods, their chains, the table) and matches.c (what a rule's
 * peers and ports demand) share. */
#ifndef KUBELET_POLICY_RULES_INTERNAL_H
#define KUBELET_POLICY_RULES_INTERNAL_H

#include "kubelet/policy/rules.h"

#include "lib/base/buf.h"

struct networking_v1_network_policy_peer;
struct networking_v1_network_policy_port;

enum family { ANY, V4, V6 };

/* A piece of a rule: what a peer or a port demands. */
struct match {
    struct str text; /* Ends in a space unless empty. */
    enum family family;
};

struct matches {
    struct match *items;
    size_t count, cap;
};

/* Pods that no selector can tell apart: of one namespace, with the same labels. */
struct pod_group {
    const struct core_v1_pod *const *pods;
    size_t count;
};

struct builder {
    const struct policy_inputs *in;
    struct pod_group *groups; /* Of those that count; NULL until a selector asks. */
    size_t group_count;
    struct arena *a;
    struct policy_state *state;
    struct policy_needs needs;
};

/* One direction of one pod. */
struct side {
    struct builder *b;
    const struct policy_local *local;
    bool egress;
    struct buf rules;
};

void matches_add(struct arena *a, struct matches *l, struct str text, enum family f);
/* ANY: it is no address. */
enum family matches_family_of(struct str s, unsigned char ret[16]);
uint64_t matches_name_hash(const struct builder *b, struct str s);

/* Each adds what may match; nothing when nothing can. own: the policy's namespace. Few for many:
 * what a policy lists is bounded by an object's size, all pairs of its peers and ports are not. */
void match_blocks(struct side *s, const struct networking_v1_network_policy_peer *peers,
                  size_t count, struct matches *ret);
void match_pods(struct side *s, struct str own,
                const struct networking_v1_network_policy_peer *peers, size_t count,
                struct matches *ret);
void match_ports(struct side *s, const struct networking_v1_network_policy_port *ports,
                 size_t count, struct matches *ret);

#endif

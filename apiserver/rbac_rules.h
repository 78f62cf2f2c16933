/* rbac_rules.h - what one RBAC rule allows, and whether rules hold others.
 * Pure. */
#ifndef APISERVER_RBAC_RULES_H
#define APISERVER_RBAC_RULES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct authz_attributes;
struct rbac_v1_policy_rule;

/* A rule with what makes most comparisons unnecessary: one bit for each string
 * of a list, all bits for "*". A question whose bit is missing is not answered
 * by the rule. */
struct rbac_rule {
    const struct rbac_v1_policy_rule *rule;
    uint64_t verbs, groups, resources;
};

/* A question with its bits. */
struct rbac_question {
    const struct authz_attributes *at;
    struct str verb, resource; /* With the subresource. */
    uint64_t verb_bit, group_bit;
    uint64_t resource_bits; /* Of the resource, and of any resource with its subresource. */
    char text[256];         /* Holds the resource's name when it has a subresource. */
};

void rbac_rule_compile(const struct rbac_v1_policy_rule *rule, struct rbac_rule *ret);
/* q must stay where it is: resource points into it. False: a name too long to
 * be any rule's. */
bool rbac_question_init(struct rbac_question *q, const struct authz_attributes *at);
bool rbac_rule_allows(const struct rbac_rule *r, const struct rbac_question *q);
/* The same without preparation. */
bool rbac_rules_allow(const struct rbac_v1_policy_rule *rules, size_t count,
                      const struct authz_attributes *at);

/* What of wanted is not held by held, in upstream's form: rules of one verb and
 * one resource each, those of one resource joined. 0: everything is held. */
size_t rbac_rules_missing(struct arena *a, const struct rbac_v1_policy_rule *held,
                          size_t held_count, const struct rbac_v1_policy_rule *wanted,
                          size_t wanted_count, struct rbac_v1_policy_rule **ret);
/* {APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]} */
struct str rbac_rule_text(struct arena *a, const struct rbac_v1_policy_rule *r);

#endif

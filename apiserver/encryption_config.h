/* encryption_config.h - what an EncryptionConfiguration says. Immutable once read. */
#ifndef APISERVER_ENCRYPTION_CONFIG_H
#define APISERVER_ENCRYPTION_CONFIG_H

#include "lib/base/str.h"
#include "lib/net/seal.h"

struct arena;
struct kms;

struct encryption_key {
    struct str name, secret;
};

struct encryption_provider {
    const char *name;   /* "aesgcm" */
    const char *prefix; /* "k8s:enc:aesgcm:v1:"; NULL: identity, as it is. */
    struct kms *kms;    /* "k8s:enc:kms:v2:NAME:"; NULL: the keys are here. Owned. */
    enum seal_form form;
    const struct encryption_key *keys;
    size_t key_count;
};

/* One resource, all of a group or all, and how they are written. "*": any. */
struct encryption_rule {
    struct str group, resource;
    const struct encryption_provider *providers;
    size_t provider_count;
};

struct encryption {
    struct arena *arena;
    struct encryption_rule *rules;
    size_t rule_count, rule_cap;
};

#endif

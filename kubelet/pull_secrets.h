/* pull_secrets.h - registry credentials out of imagePullSecrets. Pure. */
#ifndef KUBELET_PULL_SECRETS_H
#define KUBELET_PULL_SECRETS_H

#include "lib/base/str.h"

struct arena;

struct pull_auth {
    const char *username; /* "" when unset. */
    const char *password;
    const char *auth; /* base64 of "user:password". */
    const char *identity_token;
    const char *registry_token;
    /* The secret of the pod that it stands in; all NULL: the node's own. */
    const char *secret_uid, *secret_namespace, *secret_name, *secret_hash;
};

/* The registry an image name points at: "docker.io" without one. */
struct str image_registry(struct str image);
/* What registries, pull secrets and credential providers know it by: with its registry, without tag
 * and digest; "busybox:1" -> "docker.io/library/busybox". */
struct str image_repository(struct arena *a, struct str image);
/* "busybox" -> "busybox:latest"; names with a tag or digest stay. */
struct str image_with_tag(struct arena *a, struct str image);
/* True when the tag is (or defaults to) latest. */
bool image_is_latest(struct str image);

struct pull_auth_list {
    struct pull_auth *items;
    size_t count, cap;
};

/* Does a key of a pull secret, or a pattern of a credential provider, stand for the image? Host and
 * port must match, where '*' stands for one part of a host's name or some of it, and a path must
 * begin the image's: "*.example.com/team". "https://index.docker.io/v1/" is docker.io. */
bool image_matches(struct arena *a, struct str pattern, struct str image);

/* Adds what a .dockerconfigjson (or the older .dockercfg) has for the image, those with the longest
 * names first: each is to be tried. The strings are in a. */
void pull_auths_add(struct arena *a, struct pull_auth_list *list, struct str config_json,
                    struct str image);
void pull_auths_push(struct arena *a, struct pull_auth_list *list, const struct pull_auth *auth);

#endif

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
    const char *server;
};

/* The registry an image name points at: "docker.io" without one. */
struct str image_registry(struct str image);
/* "busybox" -> "busybox:latest"; names with a tag or digest stay. */
struct str image_with_tag(struct arena *a, struct str image);
/* True when the tag is (or defaults to) latest. */
bool image_is_latest(struct str image);

/* Looks an image up in a .dockerconfigjson (or the older .dockercfg). */
bool pull_auth_find(struct arena *a, struct str config_json, struct str image,
                    struct pull_auth *ret);

#endif

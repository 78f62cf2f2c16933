/* pull_secrets.c - see pull_secrets.h. */
#include "kubelet/pull_secrets.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"

struct str image_registry(struct str image)
{
    struct str head, tail;
    /* Before the first slash stands a registry if it looks like a host. */
    if (!str_cut(image, '/', &head, &tail))
        return STR("docker.io");
    if (str_find(head, '.', 0) >= 0 || str_find(head, ':', 0) >= 0 || str_eqc(head, "localhost"))
        return head;
    return STR("docker.io");
}

static ptrdiff_t tag_at(struct str image)
{
    ptrdiff_t slash = -1, colon = -1;
    for (size_t i = 0; i < image.len; i++) {
        if (image.data[i] == '/')
            slash = (ptrdiff_t)i;
        if (image.data[i] == ':')
            colon = (ptrdiff_t)i;
    }
    return colon > slash ? colon : -1;
}

struct str image_with_tag(struct arena *a, struct str image)
{
    if (str_find(image, '@', 0) >= 0 || tag_at(image) >= 0)
        return image;
    return arena_printf(a, STR_FMT ":latest", STR_ARG(image));
}

bool image_is_latest(struct str image)
{
    if (str_find(image, '@', 0) >= 0)
        return false;
    ptrdiff_t at = tag_at(image);
    return at < 0 || str_eqc(str_sub(image, (size_t)at + 1, image.len), "latest");
}

/* "https://index.docker.io/v1/" and "docker.io" name the same registry. */
static struct str registry_of_key(struct str key)
{
    ptrdiff_t scheme = str_find_str(key, STR("://"));
    if (scheme >= 0)
        key = str_sub(key, (size_t)scheme + 3, key.len);
    struct str host, path;
    str_cut(key, '/', &host, &path);
    return str_eqc(host, "index.docker.io") || str_eqc(host, "registry-1.docker.io")
               ? STR("docker.io")
               : host;
}

static const char *member(struct arena *a, const struct json *j, const char *key)
{
    return str_c(arena_str(a, json_get_str(j, key)));
}

bool pull_auth_find(struct arena *a, struct str config_json, struct str image,
                    struct pull_auth *ret)
{
    struct json *j;
    if (json_parse(a, config_json, &j, NULL) != 0 || j->type != JSON_OBJECT)
        return false;
    const struct json *auths = json_getc(j, "auths");
    if (auths == NULL)
        auths = j;
    struct str registry = image_registry(image);
    for (size_t i = 0; auths->type == JSON_OBJECT && i < auths->object.count; i++) {
        const struct json_member *m = &auths->object.members[i];
        if (!str_eq(registry_of_key(m->key), registry) || m->value->type != JSON_OBJECT)
            continue;
        *ret = (struct pull_auth){
            .username = member(a, m->value, "username"),
            .password = member(a, m->value, "password"),
            .auth = member(a, m->value, "auth"),
            .identity_token = member(a, m->value, "identitytoken"),
            .registry_token = member(a, m->value, "registrytoken"),
            .server = str_c(arena_str(a, registry)),
        };
        return true;
    }
    return false;
}

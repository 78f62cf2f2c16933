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

struct str image_repository(struct arena *a, struct str image)
{
    ptrdiff_t at = str_find(image, '@', 0);
    struct str name = at >= 0 ? str_sub(image, 0, (size_t)at) : image, head, rest;
    at = tag_at(name);
    if (at >= 0)
        name.len = (size_t)at;
    struct str registry = image_registry(name);
    if (str_has_prefix(name, registry) && name.len > registry.len && name.data[registry.len] == '/')
        str_cut(name, '/', &head, &rest);
    else
        rest = name;
    if (str_eqc(registry, "index.docker.io"))
        registry = STR("docker.io");
    bool official = str_eqc(registry, "docker.io") && str_find(rest, '/', 0) < 0;
    return arena_printf(a, STR_FMT "/%s" STR_FMT, STR_ARG(registry), official ? "library/" : "",
                        STR_ARG(rest));
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

/* --- matching ---------------------------------------------------------------------- */

/* Without scheme, and with the one name that Docker's registry goes by. */
static void split_key(struct str key, struct str *ret_host, struct str *ret_path)
{
    ptrdiff_t scheme = str_find_str(key, STR("://"));
    if (scheme >= 0)
        key = str_sub(key, (size_t)scheme + 3, key.len);
    str_cut(key, '/', ret_host, ret_path);
    if (str_has_suffix(*ret_path, STR("/")))
        ret_path->len--;
    if (!str_eqc(*ret_host, "index.docker.io") && !str_eqc(*ret_host, "registry-1.docker.io"))
        return;
    *ret_host = STR("docker.io");
    if (str_eqc(*ret_path, "v1") || str_eqc(*ret_path, "v2"))
        *ret_path = STR("");
}

/* One part of a host's name; '*' stands for any characters. */
static bool part_matches(struct str pattern, struct str s)
{
    size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
    while (i < s.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            mark = i;
        } else if (p < pattern.len && pattern.data[p] == s.data[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

static bool host_matches(struct str pattern, struct str host)
{
    struct str pattern_name, pattern_port, name, port;
    str_cut(pattern, ':', &pattern_name, &pattern_port);
    str_cut(host, ':', &name, &port);
    if (!str_eq(pattern_port, port))
        return false;
    for (;;) {
        struct str p, n;
        bool more_p = str_cut(pattern_name, '.', &p, &pattern_name);
        bool more_n = str_cut(name, '.', &n, &name);
        if (!part_matches(p, n) || more_p != more_n)
            return false;
        if (!more_p)
            return true;
    }
}

bool image_matches(struct arena *a, struct str pattern, struct str image)
{
    struct str host, path, registry, rest;
    split_key(pattern, &host, &path);
    str_cut(image_repository(a, image), '/', &registry, &rest);
    return host_matches(host, registry) && str_has_prefix(rest, path);
}

/* --- credentials --------------------------------------------------------------------- */

static const char *member(struct arena *a, const struct json *j, const char *key)
{
    return str_c(arena_str(a, json_get_str(j, key)));
}

void pull_auths_push(struct arena *a, struct pull_auth_list *list, const struct pull_auth *auth)
{
    list->items = arena_grow(a, list->items, list->count, &list->cap, sizeof(*list->items));
    list->items[list->count++] = *auth;
}

static int by_length(const void *x, const void *y)
{
    const struct json_member *const *p = x, *const *q = y;
    if ((*p)->key.len != (*q)->key.len)
        return (*p)->key.len > (*q)->key.len ? -1 : 1;
    return str_cmp((*p)->key, (*q)->key);
}

void pull_auths_add(struct arena *a, struct pull_auth_list *list, struct str config_json,
                    struct str image)
{
    struct json *j;
    if (json_parse(a, config_json, &j, NULL) != 0 || j->type != JSON_OBJECT)
        return;
    const struct json *auths = json_getc(j, "auths");
    if (auths == NULL)
        auths = j;
    if (auths->type != JSON_OBJECT || auths->object.count == 0)
        return;
    const struct json_member **sorted =
        ARENA_ARRAY(a, const struct json_member *, auths->object.count);
    for (size_t i = 0; i < auths->object.count; i++)
        sorted[i] = &auths->object.members[i];
    qsort(sorted, auths->object.count, sizeof(struct json_member *), by_length);
    for (size_t i = 0; i < auths->object.count; i++) {
        const struct json_member *m = sorted[i];
        if (m->value->type != JSON_OBJECT || !image_matches(a, m->key, image))
            continue;
        struct pull_auth auth = {
            .username = member(a, m->value, "username"),
            .password = member(a, m->value, "password"),
            .auth = member(a, m->value, "auth"),
            .identity_token = member(a, m->value, "identitytoken"),
            .registry_token = member(a, m->value, "registrytoken"),
        };
        pull_auths_push(a, list, &auth);
    }
}

/* pod_annotations.c - annotations that mean something in pods and templates. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"

#define MIRROR "kubernetes.io/config.mirror"
#define DELETION_COST "controller.kubernetes.io/pod-deletion-cost"
#define ARMOR "container.apparmor.security.beta.kubernetes.io/"
#define SECCOMP "container.seccomp.security.alpha.kubernetes.io/"
#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"
#define LOCALHOST "localhost/"

static const struct str *get(const struct meta_v1_object_meta *m, struct str key)
{
    return api_str_map_get(m->annotations, m->annotations_count, key);
}

/* A number of 32 bits without '+' and leading zeros. */
static bool is_cost(struct str s)
{
    int64_t v;
    bool first = !str_empty(s) &&
                 (s.data[0] == '-' || str_eqc(s, "0") || (s.data[0] >= '1' && s.data[0] <= '9'));
    return first && str_to_i64(s, &v) && v >= INT32_MIN && v <= INT32_MAX;
}

static void check_seccomp_text(struct field_errors *errs, const struct field_path *path,
                               struct str s)
{
    if (str_eqc(s, "runtime/default") || str_eqc(s, "docker/default") || str_eqc(s, "unconfined"))
        return;
    if (str_has_prefix(s, STR(LOCALHOST)))
        validate_descending_path(errs, path, str_sub(s, sizeof(LOCALHOST) - 1, s.len));
    else
        field_invalid(errs, path, s, "must be a valid seccomp profile");
}

static void check_armor_text(struct field_errors *errs, const struct field_path *at,
                             struct str name, struct str profile, const struct core_v1_pod_spec *s)
{
    if (!pod_has_container(s, name))
        field_invalid(errs, at, name, "container not found");
    if (!str_empty(profile) && !str_eqc(profile, "runtime/default") &&
        !str_eqc(profile, "unconfined") && !str_has_prefix(profile, STR(LOCALHOST)))
        field_invalid(errs, at, profile, "invalid AppArmor profile name: \"" STR_FMT "\"",
                      STR_ARG(profile));
}

void check_pod_annotations(struct field_errors *errs, const struct field_path *path,
                           const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s)
{
    const struct str *mirror = get(m, STR(MIRROR)), *cost = get(m, STR(DELETION_COST));
    const struct str *seccomp = get(m, STR(SECCOMP_POD));
    if (mirror != NULL && str_empty(s->node_name))
        field_invalid(errs, PATH_KEY(path, STR(MIRROR)), *mirror,
                      "must set spec.nodeName if mirror pod annotation is set");
    if (cost != NULL && !is_cost(*cost))
        field_invalid(errs, PATH_KEY(path, STR(DELETION_COST)), *cost, "must be a 32bit integer");
    if (seccomp != NULL)
        check_seccomp_text(errs, PATH(path, SECCOMP_POD), *seccomp);
    for (size_t i = 0; i < m->annotations_count; i++)
        if (str_has_prefix(m->annotations[i].key, STR(SECCOMP)))
            check_seccomp_text(errs, PATH(path, str_c(m->annotations[i].key)),
                               m->annotations[i].value);
    for (size_t i = 0; i < m->annotations_count; i++) {
        struct str key = m->annotations[i].key;
        if (str_has_prefix(key, STR(ARMOR)))
            check_armor_text(errs, PATH_KEY(path, key), str_sub(key, sizeof(ARMOR) - 1, key.len),
                             m->annotations[i].value, s);
    }
    check_pod_depends(errs, path, m, s);
}

/* --- updates -------------------------------------------------------------------------------- */

static bool is_fixed(struct str key)
{
    return str_has_prefix(key, STR(ARMOR)) || str_eqc(key, MIRROR) || is_depends_annotation(key);
}

static const char *fixed_name(struct str key)
{
    if (is_depends_annotation(key))
        return "what a pod depends on: change the template of its workload, which makes new pods";
    return str_eqc(key, MIRROR) ? "mirror pod annotation" : "AppArmor annotations";
}

void check_pod_annotation_changes(struct field_errors *errs, const struct field_path *path,
                                  const struct meta_v1_object_meta *now,
                                  const struct meta_v1_object_meta *was)
{
    for (size_t i = 0; i < was->annotations_count; i++) {
        struct str key = was->annotations[i].key;
        const struct str *value = get(now, key);
        if (is_fixed(key) && (value == NULL || !str_eq(*value, was->annotations[i].value)))
            field_forbidden(errs, PATH_KEY(path, key), "may not remove or update %s",
                            fixed_name(key));
    }
    for (size_t i = 0; i < now->annotations_count; i++) {
        struct str key = now->annotations[i].key;
        if (is_fixed(key) && get(was, key) == NULL)
            field_forbidden(errs, PATH_KEY(path, key), "may not add %s", fixed_name(key));
    }
}

bool is_mirror_pod(const struct meta_v1_object_meta *m)
{
    return get(m, STR(MIRROR)) != NULL;
}

/* --- annotations beside fields --------------------------------------------------------------- */

/* What both say must be the same: kind is "seccomp" or "apparmor". */
static void check_match(struct field_errors *errs, const struct field_path *path, const char *kind,
                        struct str text, struct str type, bool has_local, struct str local)
{
    bool same = true;
    if (str_eqc(type, "Unconfined"))
        same = str_eqc(text, "unconfined");
    else if (str_eqc(type, "RuntimeDefault"))
        same =
            str_eqc(text, "runtime/default") || (kind[0] == 's' && str_eqc(text, "docker/default"));
    else if (str_eqc(type, "Localhost"))
        same = str_has_prefix(text, STR(LOCALHOST));
    if (!same)
        field_forbidden(errs, PATH(path, "type"), "%s type in annotation and field must match",
                        kind);
    else if (str_eqc(type, "Localhost") &&
             (!has_local || !str_eq(str_sub(text, sizeof(LOCALHOST) - 1, text.len), local)))
        field_forbidden(errs, PATH(path, "localhostProfile"),
                        "%s profile in annotation and field must match", kind);
}

static void match_seccomp(struct field_errors *errs, const struct field_path *path,
                          const struct str *text, const struct core_v1_seccomp_profile *p)
{
    if (text != NULL && p != NULL)
        check_match(errs, PATH(path, "seccompProfile"), "seccomp", *text, p->type,
                    p->has_localhost_profile, p->localhost_profile);
}

static void match_container(struct field_errors *errs, const struct field_path *at,
                            const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s,
                            const struct core_v1_container *c, bool armor)
{
    const struct field_path *path = PATH(at, "securityContext");
    const struct core_v1_security_context *own = c->security_context;
    if (!armor) {
        struct str key = arena_printf(errs->arena, SECCOMP STR_FMT, STR_ARG(c->name));
        match_seccomp(errs, path, get(m, key), own != NULL ? own->seccomp_profile : NULL);
        return;
    }
    struct str key = arena_printf(errs->arena, ARMOR STR_FMT, STR_ARG(c->name));
    const struct str *text = get(m, key);
    const struct core_v1_app_armor_profile *p =
        own != NULL && own->app_armor_profile != NULL ? own->app_armor_profile
        : s->security_context != NULL                 ? s->security_context->app_armor_profile
                                                      : NULL;
    if (text != NULL && p != NULL)
        check_match(errs, PATH(path, "appArmorProfile"), "apparmor", *text, p->type,
                    p->has_localhost_profile, p->localhost_profile);
}

void check_pod_profiles(struct field_errors *errs, const struct field_path *spec,
                        const struct meta_v1_object_meta *m, const struct core_v1_pod_spec *s,
                        bool armor)
{
    if (!armor && s->security_context != NULL)
        match_seccomp(errs, PATH(spec, "securityContext"), get(m, STR(SECCOMP_POD)),
                      s->security_context->seccomp_profile);
    if (armor && s->os != NULL && str_eqc(s->os->name, "windows"))
        return;
    for (size_t i = 0; i < s->init_containers_count; i++)
        match_container(errs, PATH_INDEX(PATH(spec, "initContainers"), i), m, s,
                        &s->init_containers[i], armor);
    for (size_t i = 0; i < s->containers_count; i++)
        match_container(errs, PATH_INDEX(PATH(spec, "containers"), i), m, s, &s->containers[i],
                        armor);
}

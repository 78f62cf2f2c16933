/* legacytoken_plan.c - see legacytoken_plan.h. */
#include "controllers/legacytoken_plan.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

#define DAY_CHARS 10 /* 2006-01-02 */

struct str legacy_token_day(struct arena *a, int64_t s)
{
    char text[TIME_TEXT_MAX];
    time_format(&(struct meta_v1_time){.seconds = s}, text);
    return arena_str(a, str_n(text, DAY_CHARS));
}

bool legacy_token_parse_day(struct str text, int64_t *ret_s)
{
    AUTO_ARENA *a = arena_new(256);
    struct meta_v1_time t;
    if (text.len != DAY_CHARS ||
        time_parse(arena_printf(a, STR_FMT "T00:00:00Z", STR_ARG(text)), &t, NULL) != 0)
        return false;
    *ret_s = t.seconds;
    return true;
}

static bool account_names(const struct core_v1_service_account *sa, struct str secret)
{
    for (size_t i = 0; i < sa->secrets_count; i++)
        if (str_eq(sa->secrets[i].name, secret))
            return true;
    return false;
}

/* Was it made, or used, since then? Uses count by the day. */
static bool is_recent(const struct core_v1_secret *s, int64_t since_s, struct str since_day)
{
    int64_t day_s;
    if (s->metadata.creation_timestamp.seconds >= since_s)
        return true;
    const struct str *used = label_get(&s->metadata, TOKEN_LAST_USED);
    /* One that cannot be read proves nothing. */
    return used != NULL &&
           (!legacy_token_parse_day(*used, &day_s) || str_cmp(*used, since_day) >= 0);
}

enum legacy_token legacy_token_judge(const struct core_v1_secret *s,
                                     const struct core_v1_service_account *account, bool mounted,
                                     int64_t now_s, int64_t period_s)
{
    AUTO_ARENA *a = arena_new(256);
    struct str since_day = legacy_token_day(a, now_s - period_s);
    int64_t day_s;
    if (!str_eqc(s->type, TOKEN_SECRET_TYPE) || s->metadata.deletion_timestamp != NULL ||
        is_recent(s, now_s - period_s, since_day) || account == NULL ||
        !account_names(account, s->metadata.name) || mounted)
        return LEGACY_TOKEN_KEEP;
    const struct str *invalid = label_get(&s->metadata, TOKEN_INVALID_SINCE);
    if (invalid == NULL || !legacy_token_parse_day(*invalid, &day_s))
        return LEGACY_TOKEN_INVALIDATE;
    return str_cmp(*invalid, since_day) >= 0 ? LEGACY_TOKEN_KEEP : LEGACY_TOKEN_DELETE;
}

/* --- pods --------------------------------------------------------------------------------- */

static bool containers_name(const struct core_v1_container *c, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < c[i].env_from_count; k++)
            if (c[i].env_from[k].secret_ref != NULL &&
                str_eq(c[i].env_from[k].secret_ref->local_object_reference.name, name))
                return true;
        for (size_t k = 0; k < c[i].env_count; k++) {
            const struct core_v1_env_var_source *v = c[i].env[k].value_from;
            if (v != NULL && v->secret_key_ref != NULL &&
                str_eq(v->secret_key_ref->local_object_reference.name, name))
                return true;
        }
    }
    return false;
}

static bool volume_names(const struct core_v1_volume_source *v, struct str name)
{
    if (v->secret != NULL && str_eq(v->secret->secret_name, name))
        return true;
    for (size_t i = 0; v->projected != NULL && i < v->projected->sources_count; i++) {
        const struct core_v1_secret_projection *s = v->projected->sources[i].secret;
        if (s != NULL && str_eq(s->local_object_reference.name, name))
            return true;
    }
    return v->csi != NULL && v->csi->node_publish_secret_ref != NULL &&
           str_eq(v->csi->node_publish_secret_ref->name, name);
}

bool pod_names_secret(const struct core_v1_pod *p, struct str name)
{
    bool any = containers_name(p->spec.init_containers, p->spec.init_containers_count, name) ||
               containers_name(p->spec.containers, p->spec.containers_count, name);
    for (size_t i = 0; i < p->spec.image_pull_secrets_count && !any; i++)
        any = str_eq(p->spec.image_pull_secrets[i].name, name);
    for (size_t i = 0; i < p->spec.volumes_count && !any; i++)
        any = volume_names(&p->spec.volumes[i].volume_source, name);
    return any;
}

/* authn_config.c - see authn_config.h. */
#include "apiserver/authn_config.h"

#include "apiserver/authn_jwt.h"
#include "apiserver/config_file.h"
#include "apiserver/hook.h"
#include "lib/api/json.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/net/pki.h"
#include "lib/net/url.h"

#define ISSUERS_MAX 64u
#define RULES_MAX 64u
#define CA_BYTES_MAX (1u << 20)
#define WELL_KNOWN "/.well-known/openid-configuration"

struct reader {
    struct field_errors errs;
    struct jwt_set *set;
    const struct str *own;
    size_t own_count;
};

/* --- common to both -----------------------------------------------------------------------------
 */
static void check_url(struct reader *r, const struct field_path *at, struct str text)
{
    struct url u;
    if (text.len == 0)
        field_required(&r->errs, at, "URL is required");
    else if (url_parse(text, &u, NULL) != 0 || u.host.len == 0)
        field_invalid(&r->errs, at, text, "must be an https:// address");
    else if (!str_eqc(u.scheme, "https"))
        field_invalid(&r->errs, at, text, "URL scheme must be https");
    else if (str_find(u.authority, '@', 0) >= 0)
        field_invalid(&r->errs, at, text, "URL must not contain a username or password");
    else if (u.query.len != 0 || str_find(text, '?', 0) >= 0)
        field_invalid(&r->errs, at, text, "URL must not contain a query");
    else if (str_find(text, '#', 0) >= 0)
        field_invalid(&r->errs, at, text, "URL must not contain a fragment");
}

static void check_issuer(struct reader *r, const struct field_path *at, struct str url)
{
    check_url(r, at, url);
    for (size_t i = 0; i < r->own_count; i++)
        if (url.len != 0 && str_eq(r->own[i], url))
            field_invalid(&r->errs, at, url,
                          "URL must not overlap with disallowed issuers: [" STR_FMT "]",
                          STR_ARG(r->own[i]));
    for (size_t i = 0; i < r->set->count; i++)
        if (url.len != 0 && str_eq(r->set->issuers[i].url, url))
            field_duplicate(&r->errs, at, url);
}

/* Where its discovery document is. */
static void set_discovery(struct reader *r, struct jwt_issuer *i, const struct field_path *at,
                          struct str url, struct str ca)
{
    struct arena *a = r->set->arena;
    struct error err = {0};
    struct str base = i->url;
    struct pki_pool *pool;
    while (base.len != 0 && base.data[base.len - 1] == '/')
        base.len--;
    i->discovery_url =
        url.len != 0 ? arena_str(a, url) : arena_printf(a, STR_FMT WELL_KNOWN, STR_ARG(base));
    i->discovery.ca_bundle = arena_str(a, ca);
    if (r->errs.count == 0 && hook_target_of_url(a, i->discovery_url, &i->discovery, &err) != 0)
        field_invalid(&r->errs, PATH(at, "url"), i->url, "%s", error_message(&err));
    if (ca.len != 0 && pki_pool_new(ca, &pool, &err) != 0)
        field_invalid(&r->errs, PATH(at, "certificateAuthority"), STR("<omitted>"), "%s",
                      error_message(&err));
    else if (ca.len != 0)
        pki_pool_unref(pool);
}

static struct jwt_issuer *add_issuer(struct jwt_set *s)
{
    struct jwt_issuer *i = &s->issuers[s->count++];
    pthread_mutex_init(&i->lock, NULL);
    return i;
}

/* --- expressions --------------------------------------------------------------------------------
 */
static struct cel_program *compile(struct reader *r, const struct field_path *at, struct str text,
                                   const struct cel_env *env, bool want_bool)
{
    struct arena *a = r->set->arena;
    struct cel_program *p = NULL;
    struct str why;
    if (cel_compile(a, env, arena_str(a, text), &p, &why) != 0) {
        field_invalid(&r->errs, at, text, "compilation failed: " STR_FMT, STR_ARG(why));
        return NULL;
    }
    const struct cel_type *t = cel_program_type(p);
    if (want_bool && t->kind != CEL_BOOL)
        field_invalid(&r->errs, at, text, "must evaluate to bool");
    return p;
}

/* claim and prefix, or an expression. prefix: it is for this mapping. */
static bool read_mapping(struct reader *r, const struct field_path *at, const struct json *j,
                         bool with_prefix, struct jwt_mapping *m)
{
    static const char *const known[] = {"claim", "prefix", "expression", NULL};
    static const char *const known_plain[] = {"claim", "expression", NULL};
    struct field_errors *errs = &r->errs;
    struct arena *a = r->set->arena;
    bool has_prefix;
    config_known(errs, at, j, with_prefix ? known : known_plain);
    m->claim = arena_str(a, config_str(errs, at, j, "claim", NULL));
    m->expression = arena_str(a, config_str(errs, at, j, "expression", NULL));
    m->prefix = arena_str(a, config_str(errs, at, j, "prefix", &has_prefix));
    if (m->claim.len != 0 && m->expression.len != 0)
        field_invalid(errs, at, STR(""), "claim and expression can't both be set");
    if (m->expression.len != 0 && has_prefix)
        field_invalid(errs, PATH(at, "prefix"), m->prefix,
                      "prefix can't be set when expression is set");
    if (with_prefix && m->claim.len != 0 && !has_prefix)
        field_required(errs, PATH(at, "prefix"),
                       "prefix is required when claim is set. It can be set to an empty string to "
                       "disable prefixing");
    if (m->claim.len == 0 && m->expression.len == 0 && has_prefix)
        field_invalid(errs, PATH(at, "prefix"), m->prefix,
                      "prefix can't be set when claim is not set");
    if (m->expression.len != 0)
        m->program = compile(r, PATH(at, "expression"), m->expression, &jwt_claims_env, false);
    return m->claim.len != 0 || m->expression.len != 0;
}

/* --- claim mappings -----------------------------------------------------------------------------
 */
static bool reserved_key(struct str key)
{
    static const char *const domains[] = {"kubernetes.io", "k8s.io"};
    struct str domain, rest;
    if (!str_cut(key, '/', &domain, &rest))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(domains); i++) {
        size_t n = strlen(domains[i]);
        if (str_eqc(domain, domains[i]) ||
            (domain.len > n && domain.data[domain.len - n - 1] == '.' &&
             str_has_suffix(domain, str_of(domains[i]))))
            return true;
    }
    return false;
}

static bool has_upper(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] >= 'A' && s.data[i] <= 'Z')
            return true;
    return false;
}

static void read_extra(struct reader *r, struct jwt_issuer *i, const struct field_path *mappings,
                       const struct json *j)
{
    static const char *const known[] = {"key", "valueExpression", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *path = PATH(mappings, "extra");
    size_t n;
    const struct json *list = config_list(errs, mappings, j, "extra", &n);
    i->extra = ARENA_ARRAY(r->set->arena, struct jwt_extra, n + 1);
    for (size_t k = 0; k < n; k++) {
        const struct field_path *at = PATH_INDEX(path, k);
        const struct json *m = config_item(errs, path, list, k);
        struct jwt_extra *e = &i->extra[i->extra_count];
        struct str domain, rest;
        config_known(errs, at, m, known);
        e->key = arena_str(r->set->arena, config_str(errs, at, m, "key", NULL));
        e->value.expression =
            arena_str(r->set->arena, config_str(errs, at, m, "valueExpression", NULL));
        if (e->key.len == 0)
            field_required(errs, PATH(at, "key"), NULL);
        else if (!str_cut(e->key, '/', &domain, &rest) || rest.len == 0 ||
                 api_check_dns_subdomain(domain).count != 0)
            field_invalid(errs, PATH(at, "key"), e->key,
                          "must be a domain-prefixed path (such as \"acme.io/foo\")");
        else if (has_upper(e->key))
            field_invalid(errs, PATH(at, "key"), e->key, "must be lowercase");
        else if (reserved_key(e->key))
            field_invalid(errs, PATH(at, "key"), e->key,
                          "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes "
                          "use");
        for (size_t x = 0; x < i->extra_count; x++)
            if (str_eq(i->extra[x].key, e->key))
                field_duplicate(errs, PATH(at, "key"), e->key);
        if (e->value.expression.len == 0)
            field_required(errs, PATH(at, "valueExpression"), NULL);
        else
            e->value.program = compile(r, PATH(at, "valueExpression"), e->value.expression,
                                       &jwt_claims_env, false);
        i->extra_count++;
    }
}

static void read_mappings(struct reader *r, struct jwt_issuer *i, const struct field_path *jwt,
                          const struct json *j)
{
    static const char *const known[] = {"username", "groups", "uid", "extra", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *at = PATH(jwt, "claimMappings");
    const struct json *m = config_object(errs, jwt, j, "claimMappings");
    config_known(errs, at, m, known);
    if (!read_mapping(r, PATH(at, "username"), config_object(errs, at, m, "username"), true,
                      &i->username))
        field_required(errs, PATH(at, "username"), "claim or expression is required");
    read_mapping(r, PATH(at, "groups"), config_object(errs, at, m, "groups"), true, &i->groups);
    read_mapping(r, PATH(at, "uid"), config_object(errs, at, m, "uid"), false, &i->uid);
    read_extra(r, i, at, m);
}

/* Whoever names people by a mail address must look whether it is theirs. */
static void check_email(struct reader *r, const struct jwt_issuer *i, const struct field_path *jwt)
{
    struct str all = i->username.expression;
    if (str_find_str(all, STR("claims.email")) < 0)
        return;
    for (size_t k = 0; k < i->extra_count; k++)
        all = arena_printf(r->errs.arena, STR_FMT "\n" STR_FMT, STR_ARG(all),
                           STR_ARG(i->extra[k].value.expression));
    for (size_t k = 0; k < i->claim_rule_count; k++)
        all = arena_printf(r->errs.arena, STR_FMT "\n" STR_FMT, STR_ARG(all),
                           STR_ARG(i->claim_rules[k].expression));
    if (str_find_str(all, STR("claims.email_verified")) >= 0 ||
        str_find_str(all, STR("claims.?email_verified")) >= 0)
        return;
    const struct field_path *mappings = PATH(jwt, "claimMappings"),
                            *username = PATH(mappings, "username");
    field_invalid(&r->errs, PATH(username, "expression"), i->username.expression,
                  "claims.email_verified must be used in claimMappings.username.expression or "
                  "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression "
                  "when claims.email is used in claimMappings.username.expression");
}

/* --- rules ---------------------------------------------------------------------------------------
 */
static const struct json *rule_list(struct reader *r, const struct field_path *jwt,
                                    const struct json *j, const char *name,
                                    struct jwt_rule **ret_rules, size_t *ret_count)
{
    const struct json *list = config_list(&r->errs, jwt, j, name, ret_count);
    if (*ret_count > RULES_MAX) {
        field_too_many(&r->errs, PATH(jwt, name), (int64_t)*ret_count, RULES_MAX);
        *ret_count = 0;
    }
    *ret_rules = ARENA_ARRAY(r->set->arena, struct jwt_rule, *ret_count + 1);
    return list;
}

static void read_claim_rules(struct reader *r, struct jwt_issuer *i, const struct field_path *jwt,
                             const struct json *j)
{
    static const char *const known[] = {"claim", "requiredValue", "expression", "message", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *path = PATH(jwt, "claimValidationRules");
    struct arena *a = r->set->arena;
    const struct json *list =
        rule_list(r, jwt, j, "claimValidationRules", &i->claim_rules, &i->claim_rule_count);
    for (size_t k = 0; k < i->claim_rule_count; k++) {
        const struct field_path *at = PATH_INDEX(path, k);
        const struct json *m = config_item(errs, path, list, k);
        struct jwt_rule *rule = &i->claim_rules[k];
        config_known(errs, at, m, known);
        rule->claim = arena_str(a, config_str(errs, at, m, "claim", NULL));
        rule->value = arena_str(a, config_str(errs, at, m, "requiredValue", NULL));
        rule->expression = arena_str(a, config_str(errs, at, m, "expression", NULL));
        rule->message = arena_str(a, config_str(errs, at, m, "message", NULL));
        if (rule->claim.len != 0 && rule->expression.len != 0)
            field_invalid(errs, at, STR(""), "claim and expression can't both be set");
        else if (rule->claim.len == 0 && rule->expression.len == 0)
            field_required(errs, at, "claim or expression is required");
        else if (rule->claim.len != 0 && rule->message.len != 0)
            field_invalid(errs, PATH(at, "message"), rule->message,
                          "message can't be set when claim is set");
        else if (rule->expression.len != 0 && rule->value.len != 0)
            field_invalid(errs, PATH(at, "requiredValue"), rule->value,
                          "requiredValue can't be set when expression is set");
        else if (rule->expression.len != 0)
            rule->program =
                compile(r, PATH(at, "expression"), rule->expression, &jwt_claims_env, true);
        for (size_t x = 0; x < k; x++) {
            if (rule->claim.len != 0 && str_eq(i->claim_rules[x].claim, rule->claim))
                field_duplicate(errs, PATH(at, "claim"), rule->claim);
            if (rule->expression.len != 0 && str_eq(i->claim_rules[x].expression, rule->expression))
                field_duplicate(errs, PATH(at, "expression"), rule->expression);
        }
    }
}

static void read_user_rules(struct reader *r, struct jwt_issuer *i, const struct field_path *jwt,
                            const struct json *j)
{
    static const char *const known[] = {"expression", "message", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *path = PATH(jwt, "userValidationRules");
    struct arena *a = r->set->arena;
    const struct json *list =
        rule_list(r, jwt, j, "userValidationRules", &i->user_rules, &i->user_rule_count);
    for (size_t k = 0; k < i->user_rule_count; k++) {
        const struct field_path *at = PATH_INDEX(path, k);
        const struct json *m = config_item(errs, path, list, k);
        struct jwt_rule *rule = &i->user_rules[k];
        config_known(errs, at, m, known);
        rule->expression = arena_str(a, config_str(errs, at, m, "expression", NULL));
        rule->message = arena_str(a, config_str(errs, at, m, "message", NULL));
        if (rule->expression.len == 0)
            field_required(errs, PATH(at, "expression"), NULL);
        else
            rule->program =
                compile(r, PATH(at, "expression"), rule->expression, &jwt_user_env, true);
        for (size_t x = 0; x < k; x++)
            if (rule->expression.len != 0 && str_eq(i->user_rules[x].expression, rule->expression))
                field_duplicate(errs, PATH(at, "expression"), rule->expression);
    }
}

/* --- issuers ------------------------------------------------------------------------------------
 */
static void read_audiences(struct reader *r, struct jwt_issuer *i, const struct field_path *at,
                           const struct json *j)
{
    struct field_errors *errs = &r->errs;
    struct str *list;
    const struct field_path *path = PATH(at, "audiences"),
                            *policy_at = PATH(at, "audienceMatchPolicy");
    static const char *const policies[] = {"MatchAny", NULL};
    size_t n = config_strings(errs, at, j, "audiences", &list);
    i->audiences = ARENA_ARRAY(r->set->arena, struct str, n + 1);
    for (size_t k = 0; k < n; k++) {
        if (list[k].len == 0)
            field_required(errs, PATH_INDEX(path, k), "audience can't be empty");
        for (size_t x = 0; x < k; x++)
            if (str_eq(list[x], list[k]))
                field_duplicate(errs, PATH_INDEX(path, k), list[k]);
        i->audiences[i->audience_count++] = arena_str(r->set->arena, list[k]);
    }
    if (n == 0)
        field_required(errs, path, "at least one jwt[].issuer.audiences is required");
    struct str policy = config_str(errs, at, j, "audienceMatchPolicy", NULL);
    if (n > 1 && !str_eqc(policy, "MatchAny"))
        field_invalid(errs, policy_at, policy,
                      "audienceMatchPolicy must be MatchAny for multiple audiences");
    else if (policy.len != 0 && !str_eqc(policy, "MatchAny"))
        field_not_supported(errs, policy_at, policy, policies);
}

static void read_issuer(struct reader *r, struct jwt_issuer *i, const struct field_path *jwt,
                        const struct json *j)
{
    static const char *const known[] = {"url",       "discoveryURL",        "certificateAuthority",
                                        "audiences", "audienceMatchPolicy", "egressSelectorType",
                                        NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *at = PATH(jwt, "issuer");
    const struct json *m = config_object(errs, jwt, j, "issuer");
    config_known(errs, at, m, known);
    struct str url = config_str(errs, at, m, "url", NULL);
    struct str discovery = config_str(errs, at, m, "discoveryURL", NULL);
    struct str selector = config_str(errs, at, m, "egressSelectorType", NULL);
    r->set->count--; /* Compared with those before it. */
    check_issuer(r, PATH(at, "url"), url);
    r->set->count++;
    i->url = arena_str(r->set->arena, url);
    if (discovery.len != 0) {
        check_url(r, PATH(at, "discoveryURL"), discovery);
        if (str_eq(discovery, url))
            field_invalid(errs, PATH(at, "discoveryURL"), discovery,
                          "discoveryURL must be different from URL");
    }
    if (selector.len != 0)
        field_invalid(errs, PATH(at, "egressSelectorType"), selector,
                      "this server has no egress selectors");
    set_discovery(r, i, at, discovery, config_str(errs, at, m, "certificateAuthority", NULL));
    read_audiences(r, i, at, m);
}

static void read_jwt(struct reader *r, const struct field_path *at, const struct json *j)
{
    static const char *const known[] = {"issuer", "claimValidationRules", "claimMappings",
                                        "userValidationRules", NULL};
    struct jwt_issuer *i = add_issuer(r->set);
    config_known(&r->errs, at, j, known);
    read_issuer(r, i, at, j);
    read_claim_rules(r, i, at, j);
    read_mappings(r, i, at, j);
    read_user_rules(r, i, at, j);
    check_email(r, i, at);
}

static void read_anonymous(struct reader *r, const struct json *j)
{
    static const char *const known[] = {"enabled", "conditions", NULL};
    static const char *const known_condition[] = {"path", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *at = PATH(PATH_ROOT, "anonymous"), *path = PATH(at, "conditions");
    const struct json *m = config_object(errs, PATH_ROOT, j, "anonymous");
    struct jwt_set *s = r->set;
    size_t n;
    if (m == NULL)
        return;
    config_known(errs, at, m, known);
    s->says_anonymous = true;
    s->anonymous = config_bool(errs, at, m, "enabled", false);
    const struct json *list = config_list(errs, at, m, "conditions", &n);
    s->anonymous_paths = ARENA_ARRAY(s->arena, struct str, n + 1);
    for (size_t k = 0; k < n; k++) {
        const struct json *c = config_item(errs, path, list, k);
        config_known(errs, PATH_INDEX(path, k), c, known_condition);
        struct str p = config_str(errs, PATH_INDEX(path, k), c, "path", NULL);
        if (p.len == 0)
            field_required(errs, PATH(PATH_INDEX(path, k), "path"), NULL);
        s->anonymous_paths[s->anonymous_path_count++] = arena_str(s->arena, p);
    }
    if (!s->anonymous && n != 0)
        field_invalid(errs, path, STR("value"),
                      "enabled should be set to true when conditions are defined");
}

int authn_config_parse(struct str text, const struct str *own, size_t own_count,
                       struct jwt_set **ret, struct error *err)
{
    static const char *const versions[] = {"v1", "v1beta1", "v1alpha1", NULL};
    static const char *const known[] = {"apiVersion", "kind", "jwt", "anonymous", NULL};
    AUTO_ARENA *a = arena_new(0);
    struct reader r = {.errs.arena = a, .own = own, .own_count = own_count};
    struct json *j;
    size_t n;
    int code = config_parse(a, text, "AuthenticationConfiguration", versions, &j, err);
    if (code != 0)
        return code;
    r.set = jwt_set_new();
    config_known(&r.errs, PATH_ROOT, j, known);
    const struct field_path *at = PATH(PATH_ROOT, "jwt");
    const struct json *list = config_list(&r.errs, PATH_ROOT, j, "jwt", &n);
    if (n > ISSUERS_MAX)
        field_too_many(&r.errs, at, (int64_t)n, ISSUERS_MAX);
    r.set->issuers = ARENA_ARRAY(r.set->arena, struct jwt_issuer, n + 1);
    for (size_t i = 0; i < n && n <= ISSUERS_MAX; i++)
        read_jwt(&r, PATH_INDEX(at, i), config_item(&r.errs, at, list, i));
    read_anonymous(&r, j);
    code = config_result(&r.errs, err);
    if (code != 0)
        jwt_set_unref(r.set);
    else
        *ret = r.set;
    return code;
}

/* --- flags ---------------------------------------------------------------------------------------
 */
static int check_algorithms(struct jwt_set *s, struct jwt_issuer *i, const struct flag_list *l,
                            struct error *err)
{
    static const char *const supported[] = {"RS256", "RS384", "RS512", "ES256", "ES384",
                                            "ES512", "PS256", "PS384", "PS512"};
    const char **list = ARENA_ARRAY(s->arena, const char *, l->count + 2);
    size_t n = 0;
    for (size_t k = 0; k < l->count; k++) {
        bool good = false;
        for (size_t x = 0; x < ARRAY_SIZE(supported); x++)
            good = good || strcmp(l->items[k], supported[x]) == 0;
        if (!good)
            return error_set(
                err, E_INVALID,
                "--oidc-signing-algs: \"%s\" is not one of RS256, RS384, RS512, ES256, "
                "ES384, ES512, PS256, PS384, PS512",
                l->items[k]);
        list[n++] = arena_strdup(s->arena, l->items[k]);
    }
    if (n == 0)
        list[n++] = "RS256";
    i->algorithms = list;
    return 0;
}

static int take_required_claims(struct jwt_set *s, struct jwt_issuer *i, const struct flag_list *l)
{
    i->claim_rules = ARENA_ARRAY(s->arena, struct jwt_rule, l->count + 1);
    for (size_t k = 0; k < l->count; k++) {
        struct str key, value;
        str_cut(str_of(l->items[k]), '=', &key, &value);
        i->claim_rules[i->claim_rule_count++] = (struct jwt_rule){
            .claim = arena_str(s->arena, key), .value = arena_str(s->arena, value)};
    }
    return 0;
}

static int read_flags(struct reader *r, const struct oidc_flags *f, struct error *err)
{
    struct jwt_set *s = r->set;
    struct arena *a = s->arena;
    AUTO_BUF ca = BUF_INIT;
    struct error why = {0};
    s->issuers = ARENA_ARRAY(a, struct jwt_issuer, 1);
    if (f->client_id == NULL || *f->client_id == '\0')
        return error_set(
            err, E_INVALID,
            "--oidc-client-id: --oidc-issuer-url and --oidc-client-id must be specified "
            "together");
    if (f->ca_file != NULL && file_read(f->ca_file, CA_BYTES_MAX, &ca, &why) != 0)
        return error_set(err, E_INVALID, "--oidc-ca-file: %s", error_message(&why));
    check_issuer(r, PATH(PATH_ROOT, "--oidc-issuer-url"), str_of(f->issuer_url));
    struct jwt_issuer *i = add_issuer(s);
    i->url = arena_strc(a, f->issuer_url);
    struct str audience = arena_strc(a, f->client_id);
    i->audiences = arena_memdup(a, &audience, sizeof(audience));
    i->audience_count = 1;
    i->username.claim = arena_strc(a, f->username_claim);
    i->groups.claim = str_of(f->groups_claim != NULL ? arena_strdup(a, f->groups_claim) : NULL);
    i->groups.prefix = str_of(f->groups_prefix != NULL ? arena_strdup(a, f->groups_prefix) : NULL);
    if (f->username_prefix == NULL || *f->username_prefix == '\0')
        i->username.prefix = strcmp(f->username_claim, "email") == 0
                                 ? STR_NULL
                                 : arena_printf(a, "%s#", f->issuer_url);
    else if (strcmp(f->username_prefix, "-") != 0)
        i->username.prefix = arena_strc(a, f->username_prefix);
    set_discovery(r, i, PATH(PATH_ROOT, "--oidc-ca-file"), STR_NULL, buf_str(&ca));
    int code = config_result(&r->errs, err);
    if (code == 0)
        code = check_algorithms(s, i, &f->signing_algs, err);
    return code == 0 ? take_required_claims(s, i, &f->required_claims) : code;
}

int authn_config_of_flags(const struct oidc_flags *f, const struct str *own, size_t own_count,
                          struct jwt_set **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct reader r = {.errs.arena = a, .own = own, .own_count = own_count};
    bool any = f->client_id != NULL || f->ca_file != NULL || f->groups_claim != NULL;
    r.set = jwt_set_new();
    int code = 0;
    if (f->issuer_url != NULL && *f->issuer_url != '\0')
        code = read_flags(&r, f, err);
    else if (any)
        code = error_set(err, E_INVALID,
                         "--oidc-issuer-url: --oidc-issuer-url and --oidc-client-id must be "
                         "specified together");
    if (code != 0)
        jwt_set_unref(r.set);
    else
        *ret = r.set;
    return code;
}

/* encryption_config.c - reads an EncryptionConfiguration; texts are upstream's. */
#include "apiserver/encryption_config.h"

#include "apiserver/config_file.h"
#include "apiserver/encryption.h"
#include "apiserver/kms.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#include <openssl/crypto.h>

static const struct encryption_provider forms[] = {
    {.name = "aesgcm", .prefix = ENCRYPTION_PREFIX "aesgcm:v1:", .form = SEAL_AES_GCM},
    {.name = "aescbc", .prefix = ENCRYPTION_PREFIX "aescbc:v1:", .form = SEAL_AES_CBC},
    {.name = "secretbox", .prefix = ENCRYPTION_PREFIX "secretbox:v1:", .form = SEAL_SECRETBOX},
    {.name = "identity"},
};

#define KMS_TIMEOUT_NS INT64_C(3000000000)

struct reader {
    struct encryption *e;
    struct str *names; /* Of KMS providers. */
    size_t name_count, name_cap;
    struct field_errors errs;
};

/* --- resources ----------------------------------------------------------------------------- */
static void split(struct str text, struct encryption_rule *ret)
{
    str_cut(text, '.', &ret->resource, &ret->group);
}

static bool overlap(const struct encryption_rule *x, const struct encryption_rule *y)
{
    if (str_eqc(x->group, "*") && str_eqc(x->resource, "*"))
        return true;
    return str_eq(x->group, y->group) && (str_eqc(x->resource, "*") || str_eqc(y->resource, "*"));
}

static struct str shown(struct arena *a, const struct str *names, size_t count)
{
    struct json *j = json_array(a);
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        json_append(a, j, json_string(a, names[i]));
    json_write(j, false, &b);
    return arena_str(a, buf_str(&b));
}

static void check_overlaps(struct reader *r, const struct field_path *at, const struct str *names,
                           size_t count)
{
    bool twice = false, masked = false;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++) {
            struct encryption_rule x, y;
            split(names[i], &x);
            split(names[k], &y);
            if (i == k)
                continue;
            if (str_eq(x.group, y.group) && str_eq(x.resource, y.resource))
                twice = true;
            else if (overlap(&x, &y))
                masked = true;
        }
    if (twice)
        field_invalid_raw(&r->errs, at, shown(r->errs.arena, names, count),
                          "the same resource cannot be specified multiple times");
    if (masked)
        field_invalid_raw(&r->errs, at, shown(r->errs.arena, names, count),
                          "using overlapping resources such as 'secrets' and '*.' in the same "
                          "resource list is not allowed as they will be masked");
}

static const char *wrong_name(struct str name)
{
    static const char *const unserved[] = {"apiserveripinfo", "serviceipallocations",
                                           "servicenodeportallocations"};
    struct encryption_rule rule;
    split(name, &rule);
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] >= 'A' && name.data[i] <= 'Z')
            return "resource name should not contain capital letters";
    if (str_eqc(name, "*"))
        return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all "
               "resources";
    for (size_t i = 0; i < ARRAY_SIZE(unserved); i++)
        if (str_eqc(name, unserved[i]))
            return "resources which do not have REST API/s cannot be encrypted";
    if (str_eqc(rule.group, "events.k8s.io"))
        return "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use "
               "'events' instead in the config file";
    if (str_eqc(rule.group, "extensions"))
        return "'extensions' group has been removed and cannot be used for encryption";
    if (str_eqc(rule.group, "*") && !str_eqc(rule.resource, "*"))
        return "encrypting the same resource across groups is not supported";
    return NULL;
}

/* --- keys ------------------------------------------------------------------------------------- */
static void read_secret(struct reader *r, const struct field_path *at, enum seal_form form,
                        struct str text, struct encryption_key *k)
{
    const struct field_path *secret = PATH(at, "secret");
    AUTO_BUF raw = BUF_INIT;
    if (text.len == 0) {
        field_required(&r->errs, secret, "secret is a mandatory field for a key");
        return;
    }
    if (base64_decode(BASE64_STD, text, &raw) != 0) {
        field_invalid(&r->errs, secret, STR("REDACTED"), "secrets must be base64 encoded");
        return;
    }
    if (!seal_key_fits(form, raw.len))
        field_invalid(&r->errs, secret, STR("REDACTED"),
                      "secret is not of the expected length, got %zu, expected one of %s", raw.len,
                      form == SEAL_SECRETBOX ? "[32]" : "[16 24 32]");
    k->secret = arena_str(r->e->arena, buf_str(&raw));
    OPENSSL_cleanse(raw.data, raw.len);
}

static void read_keys(struct reader *r, const struct field_path *at, const struct json *j,
                      struct encryption_provider *p)
{
    static const char *const known[] = {"keys", NULL}, *const of_key[] = {"name", "secret", NULL};
    const struct field_path *keys = PATH(at, "keys");
    size_t n;
    const struct json *list = config_list(&r->errs, at, j, "keys", &n);
    struct encryption_key *all = ARENA_ARRAY(r->e->arena, struct encryption_key, n + 1);
    config_known(&r->errs, at, j, known);
    if (n == 0)
        field_required(&r->errs, keys, "at least one keys is required");
    for (size_t i = 0; i < n; i++) {
        const struct field_path *one = PATH_INDEX(keys, i);
        const struct json *k = config_item(&r->errs, one, list, i);
        config_known(&r->errs, one, k, of_key);
        all[i].name = arena_str(r->e->arena, config_str(&r->errs, one, k, "name", NULL));
        if (all[i].name.len == 0)
            field_required(&r->errs, PATH(one, "name"), "name is a mandatory field for a key");
        read_secret(r, one, p->form, config_str(&r->errs, one, k, "secret", NULL), &all[i]);
    }
    p->keys = all;
    p->key_count = n;
}

/* --- plugins --------------------------------------------------------------------------------- */
static bool name_taken(const struct reader *r, struct str name)
{
    for (size_t i = 0; i < r->name_count; i++)
        if (str_eq(r->names[i], name))
            return true;
    return false;
}

static void check_kms_name(struct reader *r, const struct field_path *at, struct str name)
{
    if (name.len == 0)
        field_required(&r->errs, at, "name is a mandatory field for a provider");
    if (str_find(name, ':', 0) >= 0)
        field_invalid(&r->errs, at, name,
                      "invalid KMS provider name " STR_FMT ", must not contain ':'", STR_ARG(name));
    if (name_taken(r, name))
        field_invalid(&r->errs, at, name,
                      "duplicate KMS provider name " STR_FMT ", names must be unique",
                      STR_ARG(name));
    r->names = arena_grow(r->errs.arena, r->names, r->name_count, &r->name_cap, sizeof(*r->names));
    r->names[r->name_count++] = name;
}

/* "unix:///run/kms.sock" and "unix:@name" become what we connect to. */
static struct str read_endpoint(struct reader *r, const struct field_path *at, struct str url)
{
    struct str scheme, rest;
    if (url.len == 0) {
        field_invalid(&r->errs, at, url, "endpoint is a mandatory field for a kms");
        return STR_NULL;
    }
    if (!str_cut(url, ':', &scheme, &rest) || !str_eqc(scheme, "unix")) {
        field_invalid(&r->errs, at, url,
                      "unsupported scheme \"" STR_FMT "\" for KMS provider, only unix is supported",
                      STR_ARG(str_find(url, ':', 0) >= 0 ? scheme : STR("")));
        return STR_NULL;
    }
    if (str_has_prefix(rest, STR("//")))
        rest = str_sub(rest, 2, rest.len);
    return arena_printf(r->errs.arena, "unix:" STR_FMT, STR_ARG(rest));
}

static void read_kms(struct reader *r, const struct field_path *at, const struct json *j,
                     struct encryption_provider *ret)
{
    static const char *const known[] = {"apiVersion", "name",    "cachesize",
                                        "endpoint",   "timeout", NULL};
    int64_t timeout_ns = KMS_TIMEOUT_NS;
    bool versioned;
    config_known(&r->errs, at, j, known);
    struct str version = config_str(&r->errs, at, j, "apiVersion", &versioned),
               name = config_str(&r->errs, at, j, "name", NULL),
               timeout = config_str(&r->errs, at, j, "timeout", NULL);
    if (!versioned)
        version = STR("v1");
    check_kms_name(r, PATH(at, "name"), name);
    if (timeout.len != 0 && duration_parse(timeout, &timeout_ns) != 0)
        field_invalid(&r->errs, PATH(at, "timeout"), timeout, "time: invalid duration");
    else if (timeout_ns <= 0)
        field_invalid(&r->errs, PATH(at, "timeout"), timeout, "timeout should be a positive value");
    struct str socket =
        read_endpoint(r, PATH(at, "endpoint"), config_str(&r->errs, at, j, "endpoint", NULL));
    if (str_eqc(version, "v1"))
        field_forbidden(&r->errs, PATH(at, "apiVersion"),
                        "KMSv1 is deprecated and will only receive security updates going forward. "
                        "Use KMSv2 instead.");
    else if (!str_eqc(version, "v2"))
        field_invalid(&r->errs, PATH(at, "apiVersion"), version,
                      "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are "
                      "supported");
    if (!str_eqc(version, "v1") && json_getc(j, "cachesize") != NULL)
        field_invalid_raw(&r->errs, PATH(at, "cachesize"), STR("0"),
                          "cachesize is not supported in v2");
    if (r->errs.count != 0)
        return;
    *ret = (struct encryption_provider){
        .name = "kms",
        .prefix = str_c(
            arena_printf(r->e->arena, ENCRYPTION_PREFIX "kms:v2:" STR_FMT ":", STR_ARG(name))),
        .kms = kms_new(name, socket, (uint64_t)(timeout_ns / 1000000)),
    };
}

/* --- providers ---------------------------------------------------------------------------------
 */
static void read_provider(struct reader *r, const struct field_path *at, const struct json *j,
                          struct encryption_provider *ret)
{
    static const char *const known[] = {"aesgcm", "aescbc", "secretbox", "identity", "kms", NULL};
    size_t found = 0;
    config_known(&r->errs, at, j, known);
    for (size_t i = 0; j != NULL && i < ARRAY_SIZE(forms); i++) {
        const struct json *of = config_object(&r->errs, at, j, forms[i].name);
        if (of == NULL)
            continue;
        found++;
        *ret = forms[i];
        if (ret->prefix != NULL)
            read_keys(r, PATH(at, ret->name), of, ret);
    }
    const struct json *kms = config_object(&r->errs, at, j, "kms");
    if (kms != NULL) {
        found++;
        read_kms(r, PATH(at, "kms"), kms, ret);
    }
    if (found == 0)
        field_invalid_raw(&r->errs, at, STR("{}"),
                          "provider does not contain any of the expected providers: KMS, AESGCM, "
                          "AESCBC, Secretbox, Identity");
    if (found > 1)
        field_invalid_raw(&r->errs, at, STR("{}"),
                          "more than one provider specified in a single element, should split into "
                          "different list elements");
}

static void add_rule(struct encryption *e, struct str name,
                     const struct encryption_provider *providers, size_t count)
{
    e->rules = arena_grow(e->arena, e->rules, e->rule_count, &e->rule_cap, sizeof(*e->rules));
    struct encryption_rule *rule = &e->rules[e->rule_count++];
    *rule = (struct encryption_rule){.providers = providers, .provider_count = count};
    split(arena_str(e->arena, name), rule);
}

static void want_one(struct reader *r, const struct field_path *at)
{
    AUTO_BUF path = BUF_INIT;
    field_path_write(at, &path);
    field_required(&r->errs, at, "at least one " STR_FMT " is required", STR_ARG(buf_str(&path)));
}

static void read_entry(struct reader *r, const struct field_path *at, const struct json *j)
{
    static const char *const known[] = {"resources", "providers", NULL};
    const struct field_path *resources = PATH(at, "resources"), *providers = PATH(at, "providers");
    struct str *names;
    size_t n;
    config_known(&r->errs, at, j, known);
    size_t count = config_strings(&r->errs, at, j, "resources", &names);
    const struct json *list = config_list(&r->errs, at, j, "providers", &n);
    struct encryption_provider *all = ARENA_ARRAY(r->e->arena, struct encryption_provider, n + 1);
    if (count == 0)
        want_one(r, resources);
    check_overlaps(r, resources, names, count);
    for (size_t i = 0; i < count; i++) {
        const char *why = wrong_name(names[i]);
        if (why != NULL)
            field_invalid(&r->errs, PATH_INDEX(resources, i), names[i], "%s", why);
    }
    if (n == 0)
        want_one(r, providers);
    for (size_t i = 0; i < n; i++) {
        const struct field_path *one = PATH_INDEX(providers, i);
        read_provider(r, one, config_item(&r->errs, one, list, i), &all[i]);
    }
    for (size_t i = 0; i < count; i++)
        add_rule(r->e, names[i], all, n);
}

int encryption_parse(struct str text, struct encryption **ret, struct error *err)
{
    static const char *const versions[] = {"v1", NULL}, *const known[] = {"apiVersion", "kind",
                                                                          "resources", NULL};
    AUTO_ARENA *scratch = arena_new(0);
    struct reader r = {.errs = {.arena = scratch}};
    struct json *j;
    size_t n;
    int code = config_parse(scratch, text, "EncryptionConfiguration", versions, &j, err);
    if (code != 0)
        return code;
    r.e = xzalloc(sizeof(*r.e));
    r.e->arena = arena_new(0);
    config_known(&r.errs, PATH_ROOT, j, known);
    const struct field_path *at = PATH(PATH_ROOT, "resources");
    const struct json *list = config_list(&r.errs, PATH_ROOT, j, "resources", &n);
    if (n == 0)
        field_required(&r.errs, at, "at least one resources is required");
    for (size_t i = 0; i < n; i++)
        read_entry(&r, PATH_INDEX(at, i), config_item(&r.errs, PATH_INDEX(at, i), list, i));
    code = config_result(&r.errs, err);
    if (code != 0)
        encryption_free(r.e);
    else
        *ret = r.e;
    return code;
}

/* Rules of one entry share their providers. */
static bool shared_before(const struct encryption *e, size_t rule,
                          const struct encryption_provider *p)
{
    for (size_t i = 0; i < rule; i++)
        if (p >= e->rules[i].providers && p < e->rules[i].providers + e->rules[i].provider_count)
            return true;
    return false;
}

void encryption_start(struct encryption *e)
{
    for (size_t i = 0; i < e->rule_count; i++)
        for (size_t k = 0; k < e->rules[i].provider_count; k++) {
            const struct encryption_provider *p = &e->rules[i].providers[k];
            if (p->kms != NULL && !shared_before(e, i, p))
                kms_start(p->kms);
        }
}

void encryption_free(struct encryption *e)
{
    if (e == NULL)
        return;
    for (size_t i = 0; i < e->rule_count; i++)
        for (size_t k = 0; k < e->rules[i].provider_count; k++) {
            const struct encryption_provider *p = &e->rules[i].providers[k];
            if (p->kms != NULL && !shared_before(e, i, p))
                kms_free(p->kms);
            for (size_t n = 0; n < p->key_count; n++)
                OPENSSL_cleanse((char *)(uintptr_t)p->keys[n].secret.data, p->keys[n].secret.len);
        }
    arena_free(e->arena);
    free(e);
}

/* config_extenders.c - see config_extenders.h. Rules and texts are upstream's. */
#include "scheduler/config_extenders.h"

#include "lib/base/arena.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/net/url.h"
#include "scheduler/config.h"
#include "scheduler/config_reader.h"

#include <string.h>

#define TIMEOUT_MS 5000u

struct reader {
    struct config_reader *r;
    struct sched_config *config;
    const char **managed; /* Of all extenders. */
    size_t managed_count;
    const char **ignored;
    size_t ignored_count;
    unsigned binders;
};

/* "" counts as absent, as in Go. */
static const char *filled(struct config_reader *r, const char *path, const struct json *j,
                          const char *name)
{
    const char *text = config_text(r, path, j, name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static struct str read_pem(struct config_reader *r, const char *path, const struct json *j,
                           const char *name)
{
    const char *text = filled(r, path, j, name);
    AUTO_BUF b = BUF_INIT;
    if (text == NULL)
        return STR_NULL;
    if (base64_decode(BASE64_STD, str_of(text), &b) != 0)
        config_wrong(r, "%s: Invalid value: illegal base64 data", config_at(r, path, name));
    return arena_str(r->arena, buf_str(&b));
}

static void read_tls(struct config_reader *r, const char *path, const struct json *j,
                     struct extender_config *e)
{
    CONFIG_KNOWN(r, path, j, "insecure", "serverName", "certFile", "keyFile", "caFile", "certData",
                 "keyData", "caData");
    e->insecure = config_bool(r, path, j, "insecure", false);
    e->server_name = filled(r, path, j, "serverName");
    e->cert_file = filled(r, path, j, "certFile");
    e->key_file = filled(r, path, j, "keyFile");
    e->ca_file = filled(r, path, j, "caFile");
    e->cert_pem = read_pem(r, path, j, "certData");
    e->key_pem = read_pem(r, path, j, "keyData");
    e->ca_pem = read_pem(r, path, j, "caData");
    bool ca = e->ca_file != NULL || e->ca_pem.len != 0;
    bool cert = e->cert_file != NULL || e->cert_pem.len != 0;
    bool key = e->key_file != NULL || e->key_pem.len != 0;
    if (e->insecure && ca)
        config_wrong(r,
                     "%s: Invalid value: specifying a root certificates file with the insecure "
                     "flag is not allowed",
                     path);
    if (cert != key)
        config_wrong(r, "%s: Invalid value: certificate and key are needed together", path);
}

static void read_url(struct config_reader *r, const char *path, const struct json *j,
                     struct extender_config *e)
{
    const char *text = filled(r, path, j, "urlPrefix"), *at = config_at(r, path, "urlPrefix");
    struct url u;
    struct error err = {0};
    if (text == NULL) {
        config_wrong(r, "%s: Required value", at);
        return;
    }
    e->url = text;
    if (url_parse(str_of(text), &u, &err) != 0)
        config_wrong(r, "%s: Invalid value: \"%s\": %s", at, text, error_message(&err));
    else if (!str_eqc(u.scheme, "http") && !str_eqc(u.scheme, "https"))
        config_wrong(r, "%s: Invalid value: \"%s\": the scheme must be http or https", at, text);
    else
        e->https = str_eqc(u.scheme, "https");
}

static void read_timeout(struct config_reader *r, const char *path, const struct json *j,
                         struct extender_config *e)
{
    const char *text = filled(r, path, j, "httpTimeout");
    int64_t ns = 0;
    e->timeout_ms = TIMEOUT_MS;
    if (text == NULL)
        return;
    if (duration_parse(str_of(text), &ns) != 0 || ns < 0)
        config_wrong(r, "%s: Invalid value: \"%s\": a duration such as 5s is expected",
                     config_at(r, path, "httpTimeout"), text);
    else if (ns != 0)
        e->timeout_ms = ((uint64_t)ns + 999999) / 1000000;
}

/* A resource that is nobody else's: with a domain, and not one of Kubernetes' own. */
static bool is_extended_resource(struct str name)
{
    struct str domain, rest;
    if (!str_cut(name, '/', &domain, &rest) || str_eqc(domain, "kubernetes.io") ||
        str_has_suffix(domain, STR(".kubernetes.io")) || str_has_prefix(name, STR("requests.")))
        return false;
    return true;
}

static void read_resource(struct reader *x, const char *path, const struct json *j)
{
    struct config_reader *r = x->r;
    CONFIG_KNOWN(r, path, j, "name", "ignoredByScheduler");
    const char *name = config_text(r, path, j, "name"), *at = config_at(r, path, "name");
    bool ignored = config_bool(r, path, j, "ignoredByScheduler", false);
    if (name == NULL)
        name = "";
    if (!is_extended_resource(str_of(name)))
        config_wrong(r, "%s: Invalid value: \"%s\": is an invalid extended resource name", at,
                     name);
    for (size_t i = 0; i < x->managed_count; i++)
        if (strcmp(x->managed[i], name) == 0)
            config_wrong(r, "%s: Invalid value: \"%s\": duplicate extender managed resource name",
                         at, name);
    x->managed[x->managed_count++] = name;
    if (ignored)
        x->ignored[x->ignored_count++] = name;
}

static void read_extender(struct reader *x, const char *path, const struct json *j,
                          struct extender_config *e)
{
    struct config_reader *r = x->r;
    CONFIG_KNOWN(r, path, j, "urlPrefix", "filterVerb", "preemptVerb", "prioritizeVerb", "weight",
                 "bindVerb", "enableHTTPS", "tlsConfig", "httpTimeout", "nodeCacheCapable",
                 "managedResources", "ignorable");
    read_url(r, path, j, e);
    e->filter = filled(r, path, j, "filterVerb");
    e->preempt = filled(r, path, j, "preemptVerb");
    e->prioritize = filled(r, path, j, "prioritizeVerb");
    e->bind = filled(r, path, j, "bindVerb");
    e->weight = config_int(r, path, j, "weight", 0);
    e->node_cache_capable = config_bool(r, path, j, "nodeCacheCapable", false);
    e->ignorable = config_bool(r, path, j, "ignorable", false);
    /* Without a CA an https extender is trusted as it is, as upstream does when this says so. */
    bool enable_https = config_bool(r, path, j, "enableHTTPS", false);
    read_timeout(r, path, j, e);
    const struct json *tls = config_member(r, path, j, "tlsConfig", JSON_OBJECT);
    if (tls != NULL)
        read_tls(r, config_at(r, path, "tlsConfig"), tls, e);
    e->insecure |= enable_https && e->ca_file == NULL && e->ca_pem.len == 0;
    if (e->prioritize != NULL && e->weight <= 0)
        config_invalid(r, config_at(r, path, "weight"), e->weight,
                       "must have a positive weight applied to it");
    x->binders += e->bind != NULL;
    const struct json *list = config_member(r, path, j, "managedResources", JSON_ARRAY);
    const char *at = config_at(r, path, "managedResources");
    e->managed = x->managed + x->managed_count;
    for (size_t i = 0; list != NULL && i < list->array.count; i++)
        read_resource(x, config_item(r, at, i), list->array.items[i]);
    e->managed_count = (size_t)(x->managed + x->managed_count - (const char **)e->managed);
}

/* Added to what the profile's own arguments ignore. */
static void ignore(const struct reader *x, struct profile *p)
{
    size_t count = p->ignored_resource_count;
    const char **all = ARENA_ARRAY(x->config->arena, const char *, count + x->ignored_count + 1);
    for (size_t i = 0; i < count; i++)
        all[i] = p->ignored_resources[i];
    for (size_t i = 0; i < x->ignored_count; i++)
        all[count++] = x->ignored[i];
    p->ignored_resources = all;
    p->ignored_resource_count = count;
}

static size_t resources_in(const struct json *list)
{
    size_t count = 0;
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *m = json_getc(list->array.items[i], "managedResources");
        count += m != NULL && m->type == JSON_ARRAY ? m->array.count : 0;
    }
    return count;
}

void config_extenders(struct config_reader *r, struct sched_config *c, const struct json *document)
{
    const struct json *list = config_member(r, "", document, "extenders", JSON_ARRAY);
    if (list == NULL || list->array.count == 0)
        return;
    size_t most = resources_in(list) + 1;
    struct reader x = {.r = r,
                       .config = c,
                       .managed = ARENA_ARRAY(c->arena, const char *, most),
                       .ignored = ARENA_ARRAY(c->arena, const char *, most)};
    c->extender_count = list->array.count;
    c->extenders = ARENA_ARRAY(c->arena, struct extender_config, c->extender_count);
    for (size_t i = 0; i < c->extender_count; i++)
        read_extender(&x, config_item(r, "extenders", i), list->array.items[i], &c->extenders[i]);
    if (x.binders > 1)
        config_wrong(r,
                     "extenders: Invalid value: \"found %u extenders implementing bind\": only one "
                     "extender can implement bind",
                     x.binders);
    for (size_t i = 0; x.ignored_count != 0 && i < c->profile_count; i++)
        ignore(&x, &c->profiles[i]);
}

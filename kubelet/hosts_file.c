/* hosts_file.c - see hosts_file.h. */
#include "kubelet/hosts_file.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"

#define HOSTNAME_MAX 63
#define DNS_SERVERS_MAX 3
#define DNS_SEARCHES_MAX 32

void pod_hostname(struct arena *a, const struct core_v1_pod *pod, const char *node_name,
                  const char *cluster_domain, const char **ret_hostname, const char **ret_domain)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    struct str name = !str_empty(spec->hostname) ? spec->hostname : pod->metadata.name;
    *ret_domain = "";
    if (spec->has_hostname_override) {
        *ret_hostname = str_c(arena_str(a, spec->hostname_override));
        return;
    }
    if (spec->host_network) {
        *ret_hostname = node_name;
        return;
    }
    if (name.len > HOSTNAME_MAX) {
        name.len = HOSTNAME_MAX;
        while (name.len > 0 && (name.data[name.len - 1] == '-' || name.data[name.len - 1] == '.'))
            name.len--;
    }
    *ret_hostname = str_c(arena_str(a, name));
    if (!str_empty(spec->subdomain))
        *ret_domain = str_c(arena_printf(a, STR_FMT "." STR_FMT ".svc.%s", STR_ARG(spec->subdomain),
                                         STR_ARG(pod->metadata.namespace), cluster_domain));
    if (spec->set_hostname_as_fqdn && (*ret_domain)[0] != '\0')
        *ret_hostname = str_c(arena_printf(a, "%s.%s", *ret_hostname, *ret_domain));
}

static void add_aliases(struct buf *b, const struct core_v1_pod_spec *spec)
{
    if (spec->host_aliases_count == 0)
        return;
    buf_puts(b, "\n# Entries added by HostAliases.\n");
    for (size_t i = 0; i < spec->host_aliases_count; i++) {
        const struct core_v1_host_alias *h = &spec->host_aliases[i];
        buf_append_str(b, h->ip);
        for (size_t k = 0; k < h->hostnames_count; k++)
            buf_printf(b, "\t" STR_FMT, STR_ARG(h->hostnames[k]));
        buf_putc(b, '\n');
    }
}

const char *hosts_file_content(struct arena *a, const struct field_context *ctx)
{
    const char *hostname, *domain;
    if (ctx->pod->spec.host_network || ctx->pod_ip_count == 0)
        return NULL;
    pod_hostname(a, ctx->pod, ctx->node_name, ctx->cluster_domain, &hostname, &domain);
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "# Kubernetes-managed hosts file.\n"
                 "127.0.0.1\tlocalhost\n"
                 "::1\tlocalhost ip6-localhost ip6-loopback\n"
                 "fe00::0\tip6-localnet\n"
                 "fe00::0\tip6-mcastprefix\n"
                 "fe00::1\tip6-allnodes\n"
                 "fe00::2\tip6-allrouters\n");
    for (size_t i = 0; i < ctx->pod_ip_count; i++) {
        buf_puts(&b, ctx->pod_ips[i]);
        if (domain[0] != '\0' && !ctx->pod->spec.set_hostname_as_fqdn)
            buf_printf(&b, "\t%s.%s", hostname, domain);
        buf_printf(&b, "\t%s\n", hostname);
    }
    add_aliases(&b, &ctx->pod->spec);
    return str_c(arena_str(a, buf_str(&b)));
}

const char *hosts_file_of_node(struct arena *a, const struct core_v1_pod *pod, struct str node_file)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "# Kubernetes-managed hosts file (host network).\n");
    buf_append_str(&b, node_file);
    add_aliases(&b, &pod->spec);
    return str_c(arena_str(a, buf_str(&b)));
}

/* --- resolver --------------------------------------------------------------- */

static void push(struct arena *a, const char ***list, size_t *count, struct str s, bool unique)
{
    for (size_t i = 0; unique && i < *count; i++) {
        if (str_eqc(s, (*list)[i]))
            return;
    }
    const char **grown = ARENA_ARRAY(a, const char *, *count + 1);
    if (*count > 0)
        memcpy(grown, *list, *count * sizeof(*grown));
    grown[(*count)++] = str_c(arena_str(a, s));
    *list = grown;
}

static bool next_word(struct str *rest, struct str *ret)
{
    size_t i = 0;
    while (i < rest->len && (rest->data[i] == ' ' || rest->data[i] == '\t'))
        i++;
    size_t start = i;
    while (i < rest->len && rest->data[i] != ' ' && rest->data[i] != '\t')
        i++;
    *ret = str_sub(*rest, start, i - start);
    *rest = str_sub(*rest, i, rest->len - i);
    return ret->len > 0;
}

void dns_parse(struct arena *a, struct str text, struct dns_settings *ret)
{
    struct str line, word;
    *ret = (struct dns_settings){0};
    for (bool more = true; more;) {
        more = str_cut(text, '\n', &line, &text);
        line = str_trim(line);
        if (!next_word(&line, &word) || word.data[0] == '#' || word.data[0] == ';')
            continue;
        if (str_eqc(word, "nameserver")) {
            if (next_word(&line, &word))
                push(a, &ret->servers, &ret->server_count, word, true);
        } else if (str_eqc(word, "search")) {
            ret->searches = NULL; /* The last line counts. */
            ret->search_count = 0;
            while (next_word(&line, &word)) {
                if (word.len > 1 && word.data[word.len - 1] == '.')
                    word.len--;
                push(a, &ret->searches, &ret->search_count, word, true);
            }
        } else if (str_eqc(word, "options")) {
            while (next_word(&line, &word))
                push(a, &ret->options, &ret->option_count, word, true);
        }
    }
}

static void add_cluster(struct arena *a, const struct core_v1_pod *pod,
                        const char *const *cluster_dns, size_t count, const char *domain,
                        const struct dns_settings *node, struct dns_settings *d)
{
    for (size_t i = 0; i < count; i++)
        push(a, &d->servers, &d->server_count, str_of(cluster_dns[i]), true);
    if (domain[0] != '\0') {
        push(a, &d->searches, &d->search_count,
             arena_printf(a, STR_FMT ".svc.%s", STR_ARG(pod->metadata.namespace), domain), true);
        push(a, &d->searches, &d->search_count, arena_printf(a, "svc.%s", domain), true);
        push(a, &d->searches, &d->search_count, str_of(domain), true);
    }
    for (size_t i = 0; i < node->search_count; i++)
        push(a, &d->searches, &d->search_count, str_of(node->searches[i]), true);
    push(a, &d->options, &d->option_count, STR("ndots:5"), true);
}

/* An option of dnsConfig replaces one of the same name. */
static void set_option(struct arena *a, struct dns_settings *d, struct str name, struct str value)
{
    struct str text =
        value.len > 0 ? arena_printf(a, STR_FMT ":" STR_FMT, STR_ARG(name), STR_ARG(value)) : name;
    for (size_t i = 0; i < d->option_count; i++) {
        struct str have, rest;
        str_cut(str_of(d->options[i]), ':', &have, &rest);
        if (str_eq(have, name)) {
            d->options[i] = str_c(arena_str(a, text));
            return;
        }
    }
    push(a, &d->options, &d->option_count, text, false);
}

void dns_for_pod(struct arena *a, const struct core_v1_pod *pod, const struct dns_settings *node,
                 const char *const *cluster_dns, size_t cluster_dns_count,
                 const char *cluster_domain, struct dns_settings *ret)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    bool none = str_eqc(spec->dns_policy, "None");
    bool cluster = str_eqc(spec->dns_policy, "ClusterFirstWithHostNet") ||
                   ((str_eqc(spec->dns_policy, "ClusterFirst") || str_empty(spec->dns_policy)) &&
                    !spec->host_network);
    *ret = (struct dns_settings){0};
    if (cluster && cluster_dns_count > 0) {
        add_cluster(a, pod, cluster_dns, cluster_dns_count, cluster_domain, node, ret);
    } else if (!none) {
        for (size_t i = 0; i < node->server_count; i++)
            push(a, &ret->servers, &ret->server_count, str_of(node->servers[i]), true);
        for (size_t i = 0; i < node->search_count; i++)
            push(a, &ret->searches, &ret->search_count, str_of(node->searches[i]), true);
        for (size_t i = 0; i < node->option_count; i++)
            push(a, &ret->options, &ret->option_count, str_of(node->options[i]), true);
    }
    const struct core_v1_pod_dns_config *c = spec->dns_config;
    for (size_t i = 0; c != NULL && i < c->nameservers_count; i++)
        push(a, &ret->servers, &ret->server_count, c->nameservers[i], true);
    for (size_t i = 0; c != NULL && i < c->searches_count; i++)
        push(a, &ret->searches, &ret->search_count, c->searches[i], true);
    for (size_t i = 0; c != NULL && i < c->options_count; i++)
        set_option(a, ret, c->options[i].name, c->options[i].value);
    ret->server_count = MIN_OF(ret->server_count, (size_t)DNS_SERVERS_MAX);
    ret->search_count = MIN_OF(ret->search_count, (size_t)DNS_SEARCHES_MAX);
}

/* edges_read.c - reads from the kernel what was counted, and answers who asks for it. */
#include "kubelet/isolation/edges.h"
#include "kubelet/isolation/isolation_internal.h"

#include "kubelet/kubelet.h"
#include "kubelet/nft.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"
#include "lib/net/http_server.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <strings.h>

#define EDGES_AGE_MS 5000u /* What was read is told again for so long. */

struct addresses {
    struct isolation *i;
    struct map services; /* address -> core_v1_service */
};

static void index_services(struct isolation *i, struct map *m)
{
    size_t pos = 0;
    for (struct api_object *o; (o = informer_next(i->k->services, &pos)) != NULL;) {
        const struct core_v1_service *s = o->msg;
        map_set(m, s->spec.cluster_ip, o);
        for (size_t k = 0; k < s->spec.cluster_ips_count; k++)
            map_set(m, s->spec.cluster_ips[k], o);
    }
}

/* The Service's own port for the one that its endpoints have; "" when none fits. */
static struct str port_text(struct isolation *i, struct arena *a, const struct core_v1_service *s,
                            struct str protocol, int port)
{
    struct str key = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(s->metadata.namespace),
                                  STR_ARG(s->metadata.name));
    const struct isolation_service *x = isolation_find_service(i, a, key);
    for (size_t n = 0; n < x->slice_count; n++)
        for (size_t m = 0; m < x->slices[n]->ports_count; m++) {
            const struct discovery_v1_endpoint_port *p = &x->slices[n]->ports[m];
            if (p->port != port || p->protocol.len != protocol.len ||
                strncasecmp(str_c(p->protocol), str_c(protocol), protocol.len) != 0)
                continue;
            for (size_t q = 0; q < s->spec.ports_count; q++)
                if (str_eq(s->spec.ports[q].name, p->name))
                    return arena_printf(a, ":%d", s->spec.ports[q].port);
        }
    return arena_printf(a, ":%d", port);
}

static struct str name_of(void *arg, struct arena *a, struct str ip, struct str protocol, int port)
{
    struct addresses *x = arg;
    if (x->services.count == 0)
        index_services(x->i, &x->services);
    struct api_object *o = map_get(&x->services, ip);
    if (o == NULL)
        return STR_NULL;
    const struct core_v1_service *s = o->msg;
    return arena_printf(a, STR_FMT "/" STR_FMT STR_FMT, STR_ARG(s->metadata.namespace),
                        STR_ARG(s->metadata.name), STR_ARG(port_text(x->i, a, s, protocol, port)));
}

static void answer(struct isolation *i, const char *error)
{
    size_t count = i->asking_count;
    struct http_request *asking[ISOLATION_ASKING_MAX];
    memcpy(asking, i->asking, sizeof(asking));
    i->asking_count = 0;
    for (size_t n = 0; n < count; n++) {
        http_response_header(asking[n], "content-type",
                             error == NULL ? "application/json" : "text/plain; charset=utf-8");
        http_respond(asking[n], error == NULL ? 200 : 500,
                     error == NULL ? arena_str(asking[n]->arena, buf_str(&i->edges))
                                   : arena_printf(asking[n]->arena, "edges: %s\n", error));
    }
}

static void write_edges(struct isolation *i, struct str listed, const char *error)
{
    struct error err = {0};
    struct addresses x = {.i = i};
    struct edges_inputs in = {.node = i->k->node_name,
                              .since_s = i->k->started_ns / 1000000000,
                              .now_s = kubelet_wall_s(i->k),
                              .plan = isolation_plan_of(keeper_state(i->keeper)),
                              .listed = listed,
                              .name_of = name_of,
                              .arg = &x};
    map_init(&x.services);
    buf_clear(&i->edges);
    buf_clear(&i->metrics);
    if (error == NULL && edges_write(&in, &i->edges, &i->metrics, &err) != 0)
        error = error_message(&err);
    map_done(&x.services);
    if (error == NULL)
        i->edges_ms = kubelet_now_ms(i->k);
    else
        log_warning("edges: %s", error);
    answer(i, error);
}

static void read_next(struct isolation *i);

static void on_listed(struct str text, const char *error, void *arg)
{
    struct isolation *i = arg;
    buf_append_str(&i->listed, text);
    buf_putc(&i->listed, '\n');
    if (error == NULL && edges_commands[++i->reading_index] != NULL) {
        read_next(i);
        return;
    }
    i->reading = false;
    write_edges(i, buf_str(&i->listed), error);
    buf_done(&i->listed);
}

static void read_next(struct isolation *i)
{
    nft_list_start(i->k->loop, edges_commands[i->reading_index], on_listed, i);
}

/* False: what was read last is new enough. Otherwise whoever asks is answered, maybe at once. */
static bool read_if_old(struct isolation *i)
{
    if (i->reading)
        return true;
    if (i->edges.len > 0 && kubelet_now_ms(i->k) - i->edges_ms < EDGES_AGE_MS)
        return false;
    if (keeper_state(i->keeper) == NULL) {
        write_edges(i, STR_NULL, NULL);
        return true;
    }
    i->reading = true;
    i->reading_index = 0;
    read_next(i);
    return true;
}

void isolation_serve_edges(struct isolation *i, struct http_request *r)
{
    if (i == NULL || i->asking_count == ISOLATION_ASKING_MAX) {
        http_response_header(r, "content-type", "text/plain; charset=utf-8");
        http_respond(r, i == NULL ? 404 : 429,
                     i == NULL ? STR("this node does not isolate: --isolation=false\n")
                               : STR("too many requests\n"));
        return;
    }
    i->asking[i->asking_count++] = r;
    if (!read_if_old(i))
        answer(i, NULL);
}

void isolation_metrics(struct isolation *i, struct buf *out)
{
    if (i == NULL)
        return;
    buf_append_str(out, buf_str(&i->metrics));
    (void)read_if_old(i);
}

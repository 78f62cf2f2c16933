/* figures.c - see figures.h. */
#include "apiserver/figures/figures.h"

#include "lib/base/arena.h"
#include "lib/base/map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define YOUNG_MS 10000
#define NUMBER_BYTES_MAX 63u
#define NS_MAX 1.8e19

/* --- lines --------------------------------------------------------------------------------- */
struct line {
    struct str name, container, pod, ns;
    double value;
    int64_t time_ms;
};

static bool read_number(struct str s, double *ret)
{
    char text[NUMBER_BYTES_MAX + 1], *end;
    if (s.len == 0 || s.len > NUMBER_BYTES_MAX)
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    *ret = strtod(text, &end);
    return end == text + s.len;
}

/* The labels between the braces; names of Kubernetes' objects hold nothing that needs escapes.
 * Returns what stands behind the closing brace; data NULL: malformed. */
static struct str read_labels(struct str s, struct line *l)
{
    for (;;) {
        struct str name, rest;
        while (s.len != 0 && (s.data[0] == ',' || s.data[0] == ' '))
            s = str_sub(s, 1, s.len);
        if (s.len != 0 && s.data[0] == '}')
            return str_sub(s, 1, s.len);
        if (!str_cut(s, '=', &name, &rest) || rest.len == 0 || rest.data[0] != '"')
            return STR_NULL;
        size_t end = 1;
        while (end < rest.len && rest.data[end] != '"')
            end += rest.data[end] == '\\' ? 2 : 1;
        if (end >= rest.len)
            return STR_NULL;
        struct str value = str_sub(rest, 1, end - 1);
        if (str_eqc(name, "container"))
            l->container = value;
        else if (str_eqc(name, "pod"))
            l->pod = value;
        else if (str_eqc(name, "namespace"))
            l->ns = value;
        s = str_sub(rest, end + 1, rest.len);
    }
}

/* name{labels} value [time in ms] */
static bool read_line(struct str s, int64_t received_ms, struct line *l)
{
    size_t n = 0;
    struct str value, time;
    *l = (struct line){.time_ms = received_ms};
    while (n < s.len && s.data[n] != '{' && s.data[n] != ' ')
        n++;
    if (n == 0 || n == s.len || s.data[0] == '#')
        return false;
    l->name = str_sub(s, 0, n);
    s = s.data[n] == '{' ? read_labels(str_sub(s, n + 1, s.len), l) : str_sub(s, n, s.len);
    if (s.data == NULL)
        return false;
    (void)str_cut(str_trim(s), ' ', &value, &time);
    if (!read_number(value, &l->value) || !isfinite(l->value) || l->value < 0)
        return false;
    if (time.len != 0 && !str_to_i64(str_trim(time), &l->time_ms))
        return false;
    return l->time_ms > 0 && l->time_ms < INT64_MAX / 1000000;
}

/* --- records: one for each container, as its lines come
 * -------------------------------------------
 */
struct record {
    struct str ns, pod, container;
    struct figure f;
};

struct family;
struct reading {
    struct arena *arena;
    struct figures *out;
    struct record *items;
    size_t count, cap;
    const struct family *first; /* The one that names them all, mostly, */
    size_t next;                /* and the others have them in the same order. */
    struct map *byid;           /* Once that has failed. */
};

static bool is(const struct record *r, const struct line *l)
{
    return str_eq(r->pod, l->pod) && str_eq(r->container, l->container) && str_eq(r->ns, l->ns);
}

static struct str id_of(struct arena *a, struct str ns, struct str pod, struct str container)
{
    return arena_printf(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(pod),
                        STR_ARG(container));
}

/* Values are indexes, plus one. */
static void index_all(struct reading *d, struct arena *scratch)
{
    d->byid = ARENA_NEW(d->arena, struct map);
    map_init(d->byid);
    for (size_t i = 0; i < d->count; i++)
        map_set(d->byid, id_of(scratch, d->items[i].ns, d->items[i].pod, d->items[i].container),
                (void *)(uintptr_t)(i + 1));
}

static struct record *add(struct reading *d, const struct line *l)
{
    if (d->count >= FIGURES_CONTAINERS_MAX)
        return NULL;
    d->items = arena_grow(d->arena, d->items, d->count, &d->cap, sizeof(*d->items));
    d->items[d->count] = (struct record){l->ns, l->pod, l->container, {0}};
    return &d->items[d->count++];
}

static struct record *record_of(struct reading *d, const struct family *family,
                                const struct line *l)
{
    if (l->pod.len == 0 || l->ns.len == 0 || l->container.len == 0)
        return NULL;
    if (d->first == NULL)
        d->first = family;
    if (d->first == family && d->byid == NULL)
        return add(d, l); /* One told twice is left out later. */
    if (d->next < d->count && is(&d->items[d->next], l))
        return &d->items[d->next++];
    AUTO_ARENA *scratch = arena_new(0);
    if (d->byid == NULL)
        index_all(d, scratch);
    struct str id = id_of(scratch, l->ns, l->pod, l->container);
    size_t at = (size_t)(uintptr_t)map_get(d->byid, id);
    if (at != 0) {
        d->next = at;
        return &d->items[at - 1];
    }
    struct record *r = add(d, l);
    if (r != NULL)
        map_set(d->byid, id, (void *)(uintptr_t)d->count);
    return r;
}

static uint64_t nanoseconds(double seconds)
{
    double ns = seconds * 1e9 + 0.5;
    return ns < NS_MAX ? (uint64_t)ns : 0;
}

static void set_cpu(struct figure *f, const struct line *l)
{
    f->cpu_ns = nanoseconds(l->value);
    f->time_ms = l->time_ms;
}

static void set_memory(struct figure *f, const struct line *l)
{
    f->memory_bytes = l->value < NS_MAX ? (uint64_t)l->value : 0;
    if (f->time_ms == 0)
        f->time_ms = l->time_ms;
}

static void set_start(struct figure *f, const struct line *l)
{
    f->start_ms = l->value < 1e14 ? (int64_t)(l->value * 1000) : 0;
}

static const struct family {
    const char *name;
    bool of_node;
    void (*set)(struct figure *f, const struct line *l);
} families[] = {
    {"container_cpu_usage_seconds_total", false, set_cpu},
    {"container_memory_working_set_bytes", false, set_memory},
    {"container_start_time_seconds", false, set_start},
    {"node_cpu_usage_seconds_total", true, set_cpu},
    {"node_memory_working_set_bytes", true, set_memory},
};

static void read_all(struct reading *d, struct str text, int64_t received_ms)
{
    struct str rest = text, one;
    const struct family *last = NULL;
    for (bool more = true; more;) {
        struct line l;
        const struct family *family = NULL;
        more = str_cut(rest, '\n', &one, &rest);
        if (!read_line(one, received_ms, &l))
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(families) && family == NULL; i++)
            if (str_eqc(l.name, families[i].name))
                family = &families[i];
        if (family == NULL)
            continue;
        if (family != last && last != NULL)
            d->next = 0;
        last = family;
        struct record *r = family->of_node ? NULL : record_of(d, family, &l);
        if (family->of_node)
            family->set(&d->out->node, &l);
        else if (r != NULL)
            family->set(&r->f, &l);
    }
    d->out->has_node = d->out->node.cpu_ns != 0 && d->out->node.memory_bytes != 0;
}

/* --- rates --------------------------------------------------------------------------------------
 */
static void since(struct figure *f, int64_t time_ms, int64_t start_ms, uint64_t cpu_ns)
{
    f->window_ms = f->time_ms - time_ms;
    f->broken = f->cpu_ns < cpu_ns || f->start_ms < start_ms;
    f->nano_cores =
        f->broken ? 0 : (uint64_t)((double)(f->cpu_ns - cpu_ns) / ((double)f->window_ms / 1000));
}

static void rate(struct figure *f, const struct figure *before, int64_t period_ms)
{
    int64_t age = f->time_ms - f->start_ms;
    if (f->start_ms > 0 && age >= YOUNG_MS && age < period_ms) {
        since(f, f->start_ms, f->start_ms, 0);
    } else if (before == NULL || f->start_ms >= before->time_ms) {
        return; /* New, or another life. */
    } else if (f->time_ms > before->time_ms) {
        since(f, before->time_ms, before->start_ms, before->cpu_ns);
    } else {
        *f = *before; /* The same sample once more. */
    }
}

/* --- the result
 * -----------------------------------------------------------------------------------
 */
static int by_place(const void *x, const void *y)
{
    const struct record *a = x, *b = y;
    int c = str_cmp(a->ns, b->ns);
    c = c != 0 ? c : str_cmp(a->pod, b->pod);
    return c != 0 ? c : str_cmp(a->container, b->container);
}

static const struct figure *container_before(const struct figure_pod *p, struct str name)
{
    for (size_t i = 0; p != NULL && i < p->count; i++)
        if (str_eq(p->containers[i].name, name))
            return &p->containers[i].f;
    return NULL;
}

/* items[0, n): one pod's. */
static void add_pod(struct figures *f, const struct record *items, size_t n, int64_t period_ms,
                    const struct figures *before)
{
    struct arena *a = f->arena;
    struct figure_pod *p = &f->pods[f->count];
    const struct figure_pod *last = f->count != 0 ? p - 1 : NULL;
    *p = (struct figure_pod){.shown = true};
    for (size_t i = 0; i < n; i++)
        if (items[i].f.cpu_ns == 0 || items[i].f.memory_bytes == 0)
            return; /* Not complete, so not counted. */
    p->ns = last != NULL && str_eq(last->ns, items->ns) ? last->ns : arena_str(a, items->ns);
    p->name = arena_str(a, items->pod);
    p->containers = ARENA_ARRAY(a, struct figure_container, n);
    const struct figure_pod *old = before != NULL ? figures_find(before, p->ns, p->name) : NULL;
    for (size_t i = 0; i < n; i++) {
        if (i != 0 && str_eq(items[i].container, items[i - 1].container))
            continue;
        struct figure_container *c = &p->containers[p->count++];
        c->name =
            last != NULL && last->count != 0 && str_eq(last->containers[0].name, items[i].container)
                ? last->containers[0].name
                : arena_str(a, items[i].container);
        c->f = items[i].f;
        rate(&c->f, container_before(old, c->name), period_ms);
        p->shown &= c->f.window_ms != 0;
    }
    f->count++;
}

static void add_pods(struct figures *f, struct reading *d, int64_t period_ms,
                     const struct figures *before)
{
    if (d->count != 0)
        qsort(d->items, d->count, sizeof(*d->items), by_place);
    size_t pods = 0;
    for (size_t i = 0; i < d->count; i++)
        pods += i == 0 || !str_eq(d->items[i].pod, d->items[i - 1].pod) ||
                !str_eq(d->items[i].ns, d->items[i - 1].ns);
    f->pods = ARENA_ARRAY(f->arena, struct figure_pod, pods + 1);
    for (size_t i = 0, n; i < d->count; i += n) {
        for (n = 1; i + n < d->count && str_eq(d->items[i + n].pod, d->items[i].pod) &&
                    str_eq(d->items[i + n].ns, d->items[i].ns);)
            n++;
        add_pod(f, &d->items[i], n, period_ms, before);
    }
}

struct figures *figures_parse(struct str text, int64_t received_ms, int64_t period_ms,
                              const struct figures *before)
{
    AUTO_ARENA *scratch = arena_new(64u << 10);
    struct arena *a = arena_new(0);
    struct figures *f = ARENA_NEW(a, struct figures);
    struct reading d = {.arena = scratch, .out = f};
    f->arena = a;
    atomic_init(&f->refs, 1);
    read_all(&d, text, received_ms);
    if (d.byid != NULL)
        map_done(d.byid);
    add_pods(f, &d, period_ms, before);
    if (f->has_node && before != NULL && before->has_node) {
        const struct figure *old = &before->node;
        if (f->node.time_ms > old->time_ms)
            since(&f->node, old->time_ms, 0, old->cpu_ns);
        else
            f->node = *old;
    }
    return f;
}

struct figures *figures_ref(struct figures *f)
{
    atomic_fetch_add(&f->refs, 1);
    return f;
}

void figures_unref(struct figures *f)
{
    if (f != NULL && atomic_fetch_sub(&f->refs, 1) == 1)
        arena_free(f->arena);
}

const struct figure_pod *figures_find(const struct figures *f, struct str ns, struct str name)
{
    size_t from = 0, to = f->count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int c = str_cmp(f->pods[mid].ns, ns);
        c = c != 0 ? c : str_cmp(f->pods[mid].name, name);
        if (c == 0)
            return &f->pods[mid];
        if (c < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

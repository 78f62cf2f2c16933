/* metrics.c - see metrics.h. Series live in a hash map per family, under the
 * family's lock; their values are atomics that need none. */
#include "lib/base/metrics.h"

#include "lib/base/buf.h"
#include "lib/base/map.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define METRIC_SERIES_MAX 20000
#define LABELS_BYTES 256u /* Enough for the usual ones. */
#define METRIC_LABELS_MAX 16

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    struct metric_family *family;
    char *labels;                   /* 'a="x",b="y"', escaped; "" without labels. */
    _Atomic double value;           /* Or a histogram's sum. */
    atomic_uint_fast64_t buckets[]; /* Histograms: one per bound and one beyond; not cumulative. */
};

struct metric_family {
    struct metrics *registry;
    const char *name;
    const char *help;
    enum metric_type type;
    const char **labels;
    size_t label_count;
    const double *bounds;
    size_t bound_count;
    pthread_mutex_t lock;
    struct map series; /* By labels text. Guarded by lock. */
    struct metric *single;
    struct metric *overflow;
};

struct metric_hook {
    void (*cb)(void *arg);
    void *arg;
    struct metric_hook *next;
};

struct metrics {
    pthread_mutex_t lock;
    struct metric_family **families; /* Sorted by name. Guarded by lock. */
    size_t count, cap;
    struct metric_hook *hooks;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = xzalloc(sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

static struct metrics *metrics_global;
static pthread_once_t metrics_once = PTHREAD_ONCE_INIT;

static void metrics_init_global(void)
{
    metrics_global = metrics_new();
}

struct metrics *metrics_default(void)
{
    pthread_once(&metrics_once, metrics_init_global);
    return metrics_global;
}

static void metric_free(struct metric *s)
{
    free(s->labels);
    free(s);
}

static void metric_family_free(struct metric_family *f)
{
    size_t pos = 0;
    void *series;
    while (map_next(&f->series, &pos, NULL, &series))
        metric_free(series);
    map_done(&f->series);
    pthread_mutex_destroy(&f->lock);
    free(f->labels);
    free(f);
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        metric_family_free(m->families[i]);
    while (m->hooks != NULL) {
        struct metric_hook *next = m->hooks->next;
        free(m->hooks);
        m->hooks = next;
    }
    free(m->families);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* --- families --- */

static bool metric_family_same(const struct metric_family *f, enum metric_type type,
                               const char *const *labels)
{
    size_t count = 0;
    for (; labels != NULL && labels[count] != NULL; count++)
        if (count >= f->label_count || strcmp(labels[count], f->labels[count]) != 0)
            return false;
    return type == f->type && count == f->label_count;
}

/* Where name is, or belongs. Registry locked. */
static size_t metrics_place(const struct metrics *m, const char *name, bool *ret_found)
{
    size_t low = 0, high = m->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, m->families[middle]->name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct metric_family *metric_family_new(struct metrics *m, enum metric_type type,
                                               const char *name, const char *help,
                                               const char *const *labels)
{
    struct metric_family *f = xzalloc(sizeof(*f));
    f->registry = m;
    f->name = name;
    f->help = help;
    f->type = type;
    while (labels != NULL && labels[f->label_count] != NULL)
        f->label_count++;
    ASSERT_CMP(f->label_count, <=, METRIC_LABELS_MAX);
    if (f->label_count > 0)
        f->labels = xmemdup(labels, f->label_count * sizeof(*labels));
    pthread_mutex_init(&f->lock, NULL);
    map_init(&f->series);
    return f;
}

static struct metric_family *metric_family_get(struct metrics *m, enum metric_type type,
                                               const char *name, const char *help,
                                               const char *const *labels, const double *bounds,
                                               size_t bound_count)
{
    pthread_mutex_lock(&m->lock);
    bool found;
    size_t place = metrics_place(m, name, &found);
    if (!found) {
        if (m->count == m->cap) {
            m->cap = m->cap == 0 ? 32 : m->cap * 2;
            m->families = xrealloc(m->families, m->cap * sizeof(struct metric_family *));
        }
        memmove(m->families + place + 1, m->families + place,
                (m->count - place) * sizeof(struct metric_family *));
        struct metric_family *f = metric_family_new(m, type, name, help, labels);
        f->bounds = bounds;
        f->bound_count = bound_count;
        m->families[place] = f;
        m->count++;
    }
    struct metric_family *f = m->families[place];
    pthread_mutex_unlock(&m->lock);
    if (!metric_family_same(f, type, labels))
        PANIC("metric %s registered with another type or other labels", name);
    return f;
}

struct metric_family *metric_counter(struct metrics *m, const char *name, const char *help,
                                     const char *const *labels)
{
    return metric_family_get(m, METRIC_COUNTER, name, help, labels, NULL, 0);
}

struct metric_family *metric_gauge(struct metrics *m, const char *name, const char *help,
                                   const char *const *labels)
{
    return metric_family_get(m, METRIC_GAUGE, name, help, labels, NULL, 0);
}

struct metric_family *metric_histogram(struct metrics *m, const char *name, const char *help,
                                       const char *const *labels, const double *bounds,
                                       size_t bound_count)
{
    return metric_family_get(m, METRIC_HISTOGRAM, name, help, labels, bounds, bound_count);
}

/* --- series --- */

static void metric_escape(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '\\' || c == '"')
            buf_putc(b, '\\');
        if (c == '\n')
            buf_puts(b, "\\n");
        else
            buf_putc(b, c);
    }
}

static void metric_labels_text(const struct metric_family *f, const struct str *values,
                               struct buf *b)
{
    for (size_t i = 0; i < f->label_count; i++) {
        if (i != 0)
            buf_putc(b, ',');
        buf_puts(b, f->labels[i]);
        buf_append(b, "=\"", 2);
        metric_escape(b, values != NULL ? values[i] : STR("overflow"));
        buf_putc(b, '"');
    }
}

/* Family locked. */
static struct metric *metric_new(struct metric_family *f, struct str labels)
{
    size_t buckets = f->type == METRIC_HISTOGRAM ? f->bound_count + 1 : 0;
    struct metric *s = xzalloc(sizeof(*s) + buckets * sizeof(s->buckets[0]));
    s->family = f;
    s->labels = xstrndup(str_c(labels), labels.len);
    map_set(&f->series, labels, s);
    return s;
}

struct metric *metric_of(struct metric_family *f, const struct str *values)
{
    AUTO_BUF labels = BUF_INIT;
    buf_reserve(&labels, LABELS_BYTES);
    metric_labels_text(f, values, &labels);
    pthread_mutex_lock(&f->lock);
    struct metric *s = map_get(&f->series, buf_str(&labels));
    if (s == NULL && f->series.count >= METRIC_SERIES_MAX) {
        if (f->overflow == NULL) {
            AUTO_BUF overflow = BUF_INIT;
            metric_labels_text(f, NULL, &overflow);
            f->overflow = metric_new(f, buf_str(&overflow));
        }
        s = f->overflow;
    } else if (s == NULL) {
        s = metric_new(f, buf_str(&labels));
    }
    pthread_mutex_unlock(&f->lock);
    return s;
}

struct metric *metric_single(struct metric_family *f)
{
    ASSERT(f->label_count == 0);
    pthread_mutex_lock(&f->lock);
    if (f->single == NULL)
        f->single = metric_new(f, STR(""));
    struct metric *s = f->single;
    pthread_mutex_unlock(&f->lock);
    return s;
}

void metric_remove(struct metric_family *f, const struct str *values)
{
    AUTO_BUF labels = BUF_INIT;
    metric_labels_text(f, values, &labels);
    pthread_mutex_lock(&f->lock);
    struct metric *s = map_remove(&f->series, buf_str(&labels));
    if (s != NULL && s == f->overflow)
        f->overflow = NULL;
    if (s != NULL && s == f->single)
        f->single = NULL;
    pthread_mutex_unlock(&f->lock);
    if (s != NULL)
        metric_free(s);
}

void metric_add(struct metric *m, double v)
{
    ASSERT(m->family->type != METRIC_COUNTER || v >= 0);
    double old = atomic_load_explicit(&m->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&m->value, &old, old + v, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void metric_set(struct metric *m, double v)
{
    ASSERT(m->family->type == METRIC_GAUGE);
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

void metric_observe(struct metric *m, double v)
{
    const struct metric_family *f = m->family;
    ASSERT(f->type == METRIC_HISTOGRAM);
    size_t low = 0, high = f->bound_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (v <= f->bounds[middle])
            high = middle;
        else
            low = middle + 1;
    }
    atomic_fetch_add_explicit(&m->buckets[low], 1, memory_order_relaxed);
    metric_add(m, v);
}

void metric_set_histogram(struct metric *m, const uint64_t *buckets, double sum)
{
    ASSERT(m->family->type == METRIC_HISTOGRAM);
    for (size_t i = 0; i <= m->family->bound_count; i++)
        atomic_store_explicit(&m->buckets[i], buckets[i], memory_order_relaxed);
    atomic_store_explicit(&m->value, sum, memory_order_relaxed);
}

double metric_value(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

uint64_t metric_count(const struct metric *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= m->family->bound_count; i++)
        sum += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
    return sum;
}

void metrics_on_render(struct metrics *m, void (*cb)(void *arg), void *arg)
{
    struct metric_hook *hook = xmalloc(sizeof(*hook));
    *hook = (struct metric_hook){cb, arg, NULL};
    pthread_mutex_lock(&m->lock);
    struct metric_hook **tail = &m->hooks;
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = hook;
    pthread_mutex_unlock(&m->lock);
}

/* --- rendering --- */

static void metric_print_number(double v, struct buf *b)
{
    if (isnan(v)) {
        buf_puts(b, "NaN");
    } else if (isinf(v)) {
        buf_puts(b, v > 0 ? "+Inf" : "-Inf");
    } else if (v >= -1e15 && v <= 1e15 && !(v < trunc(v)) && !(v > trunc(v))) {
        buf_printf(b, "%.0f", v);
    } else {
        /* The shortest text that reads back as the same number. */
        char text[40];
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, v);
            double back = strtod(text, NULL);
            if (!(back < v) && !(back > v))
                break;
        }
        buf_puts(b, text);
    }
}

/* name[suffix]{labels[,le="bound"]} value */
static void metric_print_line(const struct metric *s, const char *suffix, const char *le, double v,
                              struct buf *b)
{
    buf_printf(b, "%s%s", s->family->name, suffix);
    bool comma = s->labels[0] != '\0' && le != NULL;
    if (s->labels[0] != '\0' || le != NULL)
        buf_printf(b, "{%s%s%s%s%s}", s->labels, comma ? "," : "", le != NULL ? "le=\"" : "",
                   le != NULL ? le : "", le != NULL ? "\"" : "");
    buf_putc(b, ' ');
    metric_print_number(v, b);
    buf_putc(b, '\n');
}

static void metric_print_histogram(const struct metric *s, struct buf *b)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->family->bound_count; i++) {
        AUTO_BUF bound = BUF_INIT;
        metric_print_number(s->family->bounds[i], &bound);
        buf_putc(&bound, '\0');
        sum += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        metric_print_line(s, "_bucket", (const char *)bound.data, (double)sum, b);
    }
    sum += atomic_load_explicit(&s->buckets[s->family->bound_count], memory_order_relaxed);
    metric_print_line(s, "_bucket", "+Inf", (double)sum, b);
    metric_print_line(s, "_sum", NULL, metric_value(s), b);
    metric_print_line(s, "_count", NULL, (double)sum, b);
}

static int metric_order(const void *a, const void *b)
{
    return strcmp((*(struct metric *const *)a)->labels, (*(struct metric *const *)b)->labels);
}

static void metric_family_render(struct metric_family *f, struct buf *b)
{
    static const char *const TYPE[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&f->lock);
    size_t count = 0, pos = 0;
    struct metric **sorted = xmalloc((f->series.count + 1) * sizeof(struct metric *));
    void *series;
    while (map_next(&f->series, &pos, NULL, &series))
        sorted[count++] = series;
    qsort(sorted, count, sizeof(struct metric *), metric_order);
    if (count > 0)
        buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, TYPE[f->type]);
    for (size_t i = 0; i < count; i++) {
        if (f->type == METRIC_HISTOGRAM)
            metric_print_histogram(sorted[i], b);
        else
            metric_print_line(sorted[i], "", NULL, metric_value(sorted[i]), b);
    }
    free(sorted);
    pthread_mutex_unlock(&f->lock);
}

void metrics_render(struct metrics *m, struct buf *b)
{
    /* Hooks and families are only ever added: a snapshot of the list is enough. */
    pthread_mutex_lock(&m->lock);
    struct metric_hook *hooks = m->hooks;
    pthread_mutex_unlock(&m->lock);
    for (struct metric_hook *h = hooks; h != NULL;) {
        h->cb(h->arg);
        pthread_mutex_lock(&m->lock);
        h = h->next;
        pthread_mutex_unlock(&m->lock);
    }
    pthread_mutex_lock(&m->lock);
    size_t count = m->count;
    struct metric_family **families = xmalloc((count + 1) * sizeof(struct metric_family *));
    if (count > 0)
        memcpy(families, m->families, count * sizeof(struct metric_family *));
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < count; i++)
        metric_family_render(families[i], b);
    free(families);
}

/* What nodes say of their use, and the rates that come of it. */
#include "apiserver/content.h"
#include "apiserver/figures/board.h"
#include "apiserver/figures/figures.h"
#include "apiserver/figures/objects.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "test/unit/unit.h"

#include "api/metrics_v1beta1.h"

#define PERIOD_MS 15000
#define T0 1700000000000

/* One container "c" of pod "p" in "ns", and the node. */
static struct figures *one(const struct figures *before, int64_t at_ms, double start_s,
                           double cpu_s, long long memory)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "# TYPE container_cpu_usage_seconds_total counter\n"
             "container_cpu_usage_seconds_total{container=\"c\",namespace=\"ns\",pod=\"p\"} %.9f "
             "%lld\n"
             "container_memory_working_set_bytes{container=\"c\",namespace=\"ns\",pod=\"p\"} %lld "
             "%lld\n"
             "container_start_time_seconds{container=\"c\",namespace=\"ns\",pod=\"p\"} %.3f\n"
             "node_cpu_usage_seconds_total %.9f %lld\n"
             "node_memory_working_set_bytes 1.048576e+06 %lld\n",
             cpu_s, (long long)at_ms, memory, (long long)at_ms, start_s, cpu_s + 100,
             (long long)at_ms, (long long)at_ms);
    return figures_parse(str_of(text), at_ms, PERIOD_MS, before);
}

static const struct figure *of(const struct figures *f)
{
    const struct figure_pod *p = figures_find(f, STR("ns"), STR("p"));
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(p->count, 1);
    return &p->containers[0].f;
}

/* Two samples 15 s apart: half a core. The first alone shows nothing. */
START_TEST(two_samples_make_a_rate)
{
    double start = (double)T0 / 1000 - 1000;
    struct figures *a = one(NULL, T0, start, 10, 4096), *b = one(a, T0 + 15000, start, 17.5, 8192);
    ck_assert(!figures_find(a, STR("ns"), STR("p"))->shown);
    ck_assert(a->has_node);
    ck_assert_int_eq(a->node.window_ms, 0);
    ck_assert(figures_find(b, STR("ns"), STR("p"))->shown);
    ck_assert_uint_eq(of(b)->nano_cores, 500000000);
    ck_assert_int_eq(of(b)->window_ms, 15000);
    ck_assert_uint_eq(of(b)->memory_bytes, 8192);
    ck_assert_int_eq(of(b)->time_ms, T0 + 15000);
    ck_assert_uint_eq(b->node.nano_cores, 500000000);
    ck_assert_uint_eq(b->node.memory_bytes, 1048576);
    /* The same sample again changes nothing. */
    struct figures *c = one(b, T0 + 15000, start, 17.5, 8192);
    ck_assert_uint_eq(of(c)->nano_cores, 500000000);
    ck_assert_int_eq(of(c)->window_ms, 15000);
    figures_unref(a);
    figures_unref(b);
    figures_unref(c);
}
END_TEST

/* Between 10 s and a period old: measured from its start. Younger: not yet. */
START_TEST(young_containers)
{
    struct figures *a = one(NULL, T0, (double)T0 / 1000 - 12, 6, 4096);
    ck_assert(figures_find(a, STR("ns"), STR("p"))->shown);
    ck_assert_uint_eq(of(a)->nano_cores, 500000000);
    ck_assert_int_eq(of(a)->window_ms, 12000);
    struct figures *b = one(NULL, T0, (double)T0 / 1000 - 9, 6, 4096);
    ck_assert(!figures_find(b, STR("ns"), STR("p"))->shown);
    figures_unref(a);
    figures_unref(b);
}
END_TEST

/* A container that was started anew has no earlier sample; a counter that went back says nothing.
 */
START_TEST(restarts)
{
    double start = (double)T0 / 1000 - 1000;
    struct figures *a = one(NULL, T0, start, 10, 4096);
    struct figures *b = one(a, T0 + 15000, (double)T0 / 1000 + 9, 0.5, 4096);
    ck_assert(!figures_find(b, STR("ns"), STR("p"))->shown);
    struct figures *c = one(a, T0 + 15000, start, 9, 4096);
    ck_assert(figures_find(c, STR("ns"), STR("p"))->shown);
    ck_assert(of(c)->broken);
    figures_unref(a);
    figures_unref(b);
    figures_unref(c);
}
END_TEST

/* A pod counts once all its containers do, and not at all while one has no memory. */
START_TEST(all_containers_or_none)
{
    static const char text[] =
        "container_cpu_usage_seconds_total{container=\"a\",namespace=\"ns\",pod=\"p\"} 1 1000\n"
        "container_cpu_usage_seconds_total{container=\"b\",namespace=\"ns\",pod=\"p\"} 1 1000\n"
        "container_cpu_usage_seconds_total{container=\"a\",namespace=\"ns\",pod=\"q\"} 1 1000\n"
        /* In another order, so that they must be looked for. */
        "container_memory_working_set_bytes{pod=\"q\",namespace=\"ns\",container=\"a\"} 5 1000\n"
        "container_memory_working_set_bytes{pod=\"p\",namespace=\"ns\",container=\"b\"} 7 1000\n"
        "container_memory_working_set_bytes{pod=\"r\",namespace=\"ns\",container=\"b\"} 7 1000\n";
    struct figures *f = figures_parse(STR(text), 1, PERIOD_MS, NULL);
    ck_assert(!f->has_node);
    ck_assert_ptr_null(figures_find(f, STR("ns"), STR("p")));
    ck_assert_ptr_null(figures_find(f, STR("ns"), STR("r")));
    const struct figure_pod *q = figures_find(f, STR("ns"), STR("q"));
    ck_assert_ptr_nonnull(q);
    ck_assert_uint_eq(q->containers[0].f.memory_bytes, 5);
    figures_unref(f);
}
END_TEST

/* Without a time of its own a line is of the time it came; nonsense is passed over. */
START_TEST(odd_lines)
{
    static const char text[] =
        "\n#\n{}\nx\nx{\nx{a=\n"
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} NaN 1\n"
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} -1 1\n"
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p} 1 1\n"
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"}\n"
        "container_cpu_usage_seconds_total{container=\"\",namespace=\"n\",pod=\"p\"} 1\n"
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\",} 2.5e0\n"
        "container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 1e3";
    struct figures *f = figures_parse(STR(text), 777, PERIOD_MS, NULL);
    ck_assert_uint_eq(f->count, 1);
    ck_assert_uint_eq(f->pods[0].containers[0].f.cpu_ns, 2500000000);
    ck_assert_uint_eq(f->pods[0].containers[0].f.memory_bytes, 1000);
    ck_assert_int_eq(f->pods[0].containers[0].f.time_ms, 777);
    figures_unref(f);
}
END_TEST

static struct accepted json = {.media = MEDIA_JSON, .version = "v1"};

static const struct api_kind *kind_of(const char *kind)
{
    return api_kind_by_gvk(STR("metrics.k8s.io"), STR("v1beta1"), str_of(kind));
}

/* As metrics-server writes them, to the letter. */
START_TEST(objects_and_tables)
{
    AUTO_ARENA *a = arena_new(0);
    double start = (double)T0 / 1000 - 1000;
    struct figures *x = one(NULL, T0, start, 10, 4096),
                   *y = one(x, T0 + 15008, start, 10.125, 8192);
    struct figure_subject s = {.ns = STR("ns"), .name = STR("p"), .now_s = T0 / 1000 + 20};
    void *pod = figure_pod_object(a, &s, figures_find(y, STR("ns"), STR("p")));
    struct figure_writer w = {.accept = &json, .kind = kind_of("PodMetrics"), .list = true};
    figure_writer_open(&w);
    figure_writer_add(&w, pod);
    figure_writer_close(&w);
    buf_putc(&w.out, '\0');
    ck_assert_str_eq(
        (const char *)w.out.data,
        "{\"kind\":\"PodMetricsList\",\"apiVersion\":\"metrics.k8s.io/v1beta1\",\"metadata\":{},"
        "\"items\":[{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"creationTimestamp\":"
        "\"2023-11-14T22:13:40Z\"},\"timestamp\":\"2023-11-14T22:13:35Z\",\"window\":\"15.008s\","
        "\"containers\":[{\"name\":\"c\",\"usage\":{\"cpu\":\"8328891n\",\"memory\":\"8Ki\"}}]}]}"
        "\n");
    buf_done(&w.out);
    struct accepted table = {.media = MEDIA_JSON, .version = "v1", .transform = AS_TABLE};
    struct figure_subject n = {.name = STR("n"), .now_s = T0 / 1000};
    w = (struct figure_writer){
        .accept = &table, .kind = kind_of("NodeMetrics"), .nodes = true, .include = INCLUDE_NONE};
    figure_writer_open(&w);
    figure_writer_add(&w, figure_node_object(a, &n, y));
    figure_writer_close(&w);
    buf_putc(&w.out, '\0');
    ck_assert_str_eq(
        (const char *)w.out.data,
        "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},"
        "\"columnDefinitions\":[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
        "\"description\":\"Name of the resource\",\"priority\":0},{\"name\":\"cpu\",\"type\":"
        "\"string\",\"format\":\"quantity\",\"description\":\"\",\"priority\":0},{\"name\":"
        "\"memory\",\"type\":\"string\",\"format\":\"quantity\",\"description\":\"\",\"priority\":0"
        "},{\"name\":\"Window\",\"type\":\"string\",\"format\":\"duration\",\"description\":\"\","
        "\"priority\":0}],\"rows\":[{\"cells\":[\"n\",\"8328891n\",\"1Mi\",\"15.008s\"],\"object\":"
        "null}]}\n");
    buf_done(&w.out);
    ck_assert_ptr_null(figure_node_object(a, &n, x));
    ck_assert_ptr_null(figure_pod_object(a, &s, figures_find(x, STR("ns"), STR("p"))));
    figures_unref(x);
    figures_unref(y);
}
END_TEST

/* What is older than asked for is not given; putting up anew takes the old one down. */
START_TEST(board)
{
    struct figure_board *b = figure_board_new();
    struct figures *f = one(NULL, T0, 1, 1, 1);
    figure_board_put(b, STR("n"), figures_ref(f), 100);
    ck_assert_ptr_null(figure_board_get(b, STR("m"), 0));
    ck_assert_ptr_null(figure_board_get(b, STR("n"), 101));
    struct figures *got = figure_board_get(b, STR("n"), 100);
    ck_assert_ptr_eq(got, f);
    figure_board_put(b, STR("n"), figures_ref(f), 200);
    figures_unref(got);
    figure_board_drop(b, STR("n"));
    ck_assert_ptr_null(figure_board_get(b, STR("n"), 0));
    figure_board_put(b, STR("n"), f, 300);
    figure_board_free(b);
}
END_TEST

UNIT_MAIN("figures", {
    UNIT_TEST(two_samples_make_a_rate);
    UNIT_TEST(young_containers);
    UNIT_TEST(restarts);
    UNIT_TEST(all_containers_or_none);
    UNIT_TEST(odd_lines);
    UNIT_TEST(objects_and_tables);
    UNIT_TEST(board);
})

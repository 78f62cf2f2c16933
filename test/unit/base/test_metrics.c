/* test_metrics.c - values, labels and the text format. */
#include "lib/base/metrics.h"

#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <pthread.h>
#include <string.h>

/* The whole format: sorted families and series, escaped labels, cumulative buckets. */
START_TEST(text_format)
{
    static const double BOUNDS[] = {0.1, 1, 10};
    struct metrics *m = metrics_new();
    struct metric_family *requests =
        metric_counter(m, "requests_total", "Requests.", METRIC_LABELS("verb", "code"));
    metric_inc(METRIC_OF(requests, STR("get"), STR("200")));
    metric_add(METRIC_OF(requests, STR("get"), STR("200")), 2);
    metric_inc(METRIC_OF(requests, STR("a\"b\\c\nd"), STR("500")));
    metric_set(metric_single(metric_gauge(m, "depth", "Depth.", NULL)), -1.5);
    struct metric *h = METRIC_OF(
        metric_histogram(m, "took_seconds", "Took.", METRIC_LABELS("op"), BOUNDS, 3), STR("x"));
    metric_observe(h, 0.1);
    metric_observe(h, 5);
    metric_observe(h, 100);
    ck_assert_uint_eq(metric_count(h), 3);
    AUTO_BUF b = BUF_INIT;
    metrics_render(m, &b);
    buf_putc(&b, '\0');
    ck_assert_str_eq((const char *)b.data,
                     "# HELP depth Depth.\n"
                     "# TYPE depth gauge\n"
                     "depth -1.5\n"
                     "# HELP requests_total Requests.\n"
                     "# TYPE requests_total counter\n"
                     "requests_total{verb=\"a\\\"b\\\\c\\nd\",code=\"500\"} 1\n"
                     "requests_total{verb=\"get\",code=\"200\"} 3\n"
                     "# HELP took_seconds Took.\n"
                     "# TYPE took_seconds histogram\n"
                     "took_seconds_bucket{op=\"x\",le=\"0.1\"} 1\n"
                     "took_seconds_bucket{op=\"x\",le=\"1\"} 1\n"
                     "took_seconds_bucket{op=\"x\",le=\"10\"} 2\n"
                     "took_seconds_bucket{op=\"x\",le=\"+Inf\"} 3\n"
                     "took_seconds_sum{op=\"x\"} 105.1\n"
                     "took_seconds_count{op=\"x\"} 3\n");
    metrics_free(m);
}
END_TEST

static void *add_many(void *arg)
{
    struct metric_family *f = arg;
    for (int i = 0; i < 20000; i++)
        metric_inc(METRIC_OF(f, i % 2 == 0 ? STR("a") : STR("b")));
    return NULL;
}

/* No increment is lost between threads. */
START_TEST(no_lost_increments)
{
    struct metrics *m = metrics_new();
    struct metric_family *f = metric_counter(m, "n", "N.", METRIC_LABELS("l"));
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, f), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_double_eq(metric_value(METRIC_OF(f, STR("a"))), 40000);
    ck_assert_double_eq(metric_value(METRIC_OF(f, STR("b"))), 40000);
    metrics_free(m);
}
END_TEST

/* Values from outside cannot grow a family without limit. */
START_TEST(overflow)
{
    struct metrics *m = metrics_new();
    struct metric_family *f = metric_counter(m, "n", "N.", METRIC_LABELS("l"));
    struct metric *first = METRIC_OF(f, STR("0"));
    for (int i = 0; i < 20010; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        metric_inc(METRIC_OF(f, str_of(text)));
    }
    ck_assert_double_eq(metric_value(METRIC_OF(f, STR("overflow"))), 10);
    ck_assert_ptr_eq(METRIC_OF(f, STR("0")), first);
    metric_remove(f, (const struct str[]){STR("5")});
    metrics_free(m);
}
END_TEST

/* Process metrics have plausible values. */
START_TEST(process)
{
    struct metrics *m = metrics_new();
    metrics_add_process(m);
    AUTO_BUF b = BUF_INIT;
    metrics_render(m, &b);
    buf_putc(&b, '\0');
    ck_assert_ptr_nonnull(strstr((const char *)b.data, "process_resident_memory_bytes "));
    ck_assert_ptr_null(strstr((const char *)b.data, "process_resident_memory_bytes 0\n"));
    ck_assert_ptr_null(strstr((const char *)b.data, "process_open_fds 0\n"));
    metrics_free(m);
}
END_TEST

UNIT_MAIN("metrics", UNIT_TEST(text_format); UNIT_TEST(no_lost_increments); UNIT_TEST(overflow);
          UNIT_TEST(process))

/* fuzz_text.c - the small languages: quantities, times, selectors, names, cron schedules. */
#include "test/fuzz/api/seeds.h"

#include "api/meta_v1.h"
#include "lib/api/cron.h"
#include "lib/api/names.h"
#include "lib/api/quantity.h"
#include "lib/api/selector.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("1.5Gi"),
    FUZZ_TEXT("-12345678901234567890123456.123456789e-7"),
    FUZZ_TEXT("999999999999999999999999999999999999E"),
    FUZZ_TEXT("0.1Ki"),
    FUZZ_TEXT("2024-02-29T23:59:59.123456+01:30"),
    FUZZ_TEXT("a=b,c!=d,example.com/e in (f,,g),h notin (),!i,j,k>1,l<-2"),
    FUZZ_TEXT("metadata.name=a\\,b,status.phase!=Running,x==\\="),
    FUZZ_TEXT("*.example.com"),
    FUZZ_TEXT("*/5 1-3,7 * jan-mar mon"),
    FUZZ_TEXT("@every 1h30m"),
};
FUZZ_SEEDS(seeds)

static void check_quantity(struct arena *a, struct str s)
{
    struct quantity x, y, sum;
    struct str canonical, again;
    if (quantity_parse(s, &x, NULL) != 0)
        return;
    ASSERT(quantity_canonical(a, s, &canonical, NULL) == 0);
    ASSERT(quantity_parse(canonical, &y, NULL) == 0);
    ASSERT(quantity_cmp(&x, &y) == 0);
    ASSERT(quantity_canonical(a, canonical, &again, NULL) == 0);
    ASSERT(str_eq(canonical, again));
    sum = x;
    quantity_add(&sum, &y);
    ASSERT(quantity_sign(&sum) == quantity_sign(&x));
    quantity_sub(&sum, &y);
    (void)quantity_value(&sum);
    (void)quantity_milli_value(&sum);
    (void)quantity_to_double(&sum);
    quantity_str(a, &sum);
}

static void check_time(struct str s)
{
    struct meta_v1_time t, again;
    struct meta_v1_micro_time m, m_again;
    char text[TIME_TEXT_MAX];
    /* A zone can push the first or last days of the calendar beyond it. */
    if (time_parse(s, &t, NULL) == 0 && !time_is_zero(&t) && t.seconds >= -62135596800 &&
        t.seconds < 253402300800) {
        size_t n = time_format(&t, text);
        ASSERT(time_parse(str_n(text, n), &again, NULL) == 0 && again.seconds == t.seconds);
    }
    if (micro_time_parse(s, &m, NULL) == 0 && !micro_time_is_zero(&m) &&
        m.seconds >= -62135596800 && m.seconds < 253402300800) {
        size_t n = micro_time_format(&m, text);
        ASSERT(micro_time_parse(str_n(text, n), &m_again, NULL) == 0 &&
               micro_time_cmp(&m, &m_again) == 0);
    }
}

static void check_selectors(struct arena *a, struct str s)
{
    struct api_label_selector l, again;
    struct api_field_selector f;
    if (api_label_selector_parse(a, s, &l, NULL) == 0) {
        struct str text = api_label_selector_text(a, &l);
        ASSERT(api_label_selector_parse(a, text, &again, NULL) == 0);
        ASSERT(str_eq(api_label_selector_text(a, &again), text));
        (void)api_label_selector_matches(&l, NULL, 0);
    }
    (void)api_field_selector_parse(a, s, &f, NULL);
}

static void check_schedule(struct str s)
{
    struct cron c;
    if (cron_parse(s, &c, NULL) == 0)
        (void)cron_next(&c, 1767225600, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str s = str_n((const char *)data, size);
    check_quantity(a, s);
    check_time(s);
    check_selectors(a, s);
    check_schedule(s);
    struct api_faults (*const checks[])(struct str) = {
        api_check_dns_label,     api_check_dns_subdomain,
        api_check_dns1035_label, api_check_wildcard_subdomain,
        api_check_label_value,   api_check_config_key,
        api_check_env_name,      api_check_qualified_name,
        api_check_port_name,     api_check_percent,
        api_check_path_segment,
    };
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        (void)checks[i](s);
    return 0;
}

/* load_store.c - one load for every server that speaks etcd's v3 API.
 *
 *   load_store --endpoints 127.0.0.1:2379[,...] [options] MODE
 *
 *   put       puts; with --sequential --count N: fills keys 0 .. N - 1
 *   get       linearizable gets of keys that are there, answers checked
 *   sget      serializable gets
 *   watch     --watchers watchers of everything while puts run
 *   list      --count lists of all keys, one after another
 *   snapshot  --count snapshots
 *   mixed     puts before, during and after lists or snapshots (--disturb)
 *   ready     exit code 0 when a linearizable get is answered
 *
 * One line of name=value pairs per measurement; exit code 1 when any answer was
 * wrong. Everything is plain HTTP/2, as etcd on loopback. */
#include "test/bench/load_store.h"

#include "lib/base/base.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WARM_UP_S 1.0

void load_complain(const char *what, int status, const char *text)
{
    static unsigned said;
    if (__atomic_fetch_add(&said, 1, __ATOMIC_RELAXED) < 5)
        fprintf(stderr, "load: %s: status %d %s%s\n", what, status, text,
                status == 0 ? "the answer is wrong" : "");
}

static int point_main(const struct load_config *config, const char *mode, enum pump_kind kind)
{
    struct pump *p = pump_new(config, kind);
    struct pump_result r;
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "mode=%s clients=%u conns=%u", mode, config->clients,
             config->conns);
    if (config->count == 0) {
        pump_run(p, WARM_UP_S, 0, &r);
        load_times_done(&r.times);
    }
    pump_run(p, config->seconds, config->count, &r);
    pump_print(prefix, &r);
    bool good = r.failed == 0;
    if (kind == PUMP_PUT && config->sequential && config->count >= config->keys) {
        int64_t keys = bulk_count_keys(config);
        if (keys != (int64_t)config->keys) {
            fprintf(stderr, "load: %ld keys are there instead of %lu\n", (long)keys,
                    (unsigned long)config->keys);
            good = false;
        }
    }
    load_times_done(&r.times);
    pump_free(p);
    return good ? 0 : 1;
}

static void bulk_print(const char *what, struct bulk_result *r)
{
    printf("mode=%s done=%lu errors=%lu mb=%.1f seconds=%.2f mb_per_s=%.1f p50_ms=%.1f "
           "max_ms=%.1f\n",
           what, (unsigned long)r->done, (unsigned long)r->failed, (double)r->bytes / 1e6,
           r->seconds, (double)r->bytes / 1e6 / r->seconds, load_times_ms(&r->times, 500),
           r->times.max_us / 1e3);
    fflush(stdout);
    load_times_done(&r->times);
}

static int bulk_main(const struct load_config *config, const char *mode)
{
    struct bulk_result r;
    bool never = false;
    bulk_run(config, mode, config->count != 0 ? config->count : 5, &never, &r);
    bulk_print(mode, &r);
    return r.failed == 0 ? 0 : 1;
}

/* --- mixed --- */

struct disturber {
    const struct load_config *config;
    bool stop;
    struct bulk_result result;
};

static void *disturber_main(void *arg)
{
    struct disturber *d = arg;
    bulk_run(d->config, d->config->disturb, 0, &d->stop, &d->result);
    return NULL;
}

static int mixed_main(const struct load_config *config)
{
    struct pump *p = pump_new(config, PUMP_PUT);
    struct disturber d = {.config = config};
    struct pump_result r;
    pthread_t thread;
    uint64_t failed;
    pump_run(p, WARM_UP_S, 0, &r);
    load_times_done(&r.times);
    pump_run(p, config->seconds, 0, &r);
    double before = load_times_ms(&r.times, 990);
    pump_print("mode=before", &r);
    failed = r.failed;
    load_times_done(&r.times);
    if (pthread_create(&thread, NULL, disturber_main, &d) != 0)
        return 1;
    pump_run(p, config->seconds, 0, &r);
    __atomic_store_n(&d.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    double during = load_times_ms(&r.times, 990);
    pump_print("mode=during", &r);
    failed += r.failed;
    load_times_done(&r.times);
    bulk_print(config->disturb, &d.result);
    printf("mode=mixed p99_ratio=%.2f\n", before > 0 ? during / before : 0);
    pump_free(p);
    return failed + d.result.failed == 0 && d.result.done > 0 ? 0 : 1;
}

static void not_ready(int signal_number)
{
    UNUSED(signal_number);
    _exit(1);
}

static int ready_main(struct load_config *config)
{
    for (size_t i = 0; i < config->endpoint_count; i++)
        if (!load_can_connect(config->endpoints[i]))
            return 1;
    signal(SIGALRM, not_ready);
    alarm(2);
    for (size_t i = 0; i < config->endpoint_count; i++) {
        struct load_config one = *config;
        one.endpoints[0] = config->endpoints[i];
        one.endpoint_count = 1;
        if (bulk_count_keys(&one) < 0)
            return 1;
    }
    return 0;
}

static int run(struct load_config *config, const char *mode)
{
    if (strcmp(mode, "put") == 0)
        return point_main(config, mode, PUMP_PUT);
    if (strcmp(mode, "get") == 0)
        return point_main(config, mode, PUMP_GET);
    if (strcmp(mode, "sget") == 0)
        return point_main(config, mode, PUMP_GET_SERIALIZABLE);
    if (strcmp(mode, "watch") == 0)
        return watch_main(config);
    if (strcmp(mode, "list") == 0 || strcmp(mode, "snapshot") == 0)
        return bulk_main(config, mode);
    if (strcmp(mode, "mixed") == 0)
        return mixed_main(config);
    if (strcmp(mode, "ready") == 0)
        return ready_main(config);
    fprintf(stderr, "load: unknown mode %s\n", mode);
    return 2;
}

static bool parse_option(struct load_config *config, int option, char *value)
{
    switch (option) {
    case 'e':
        for (char *s = strtok(value, ","); s != NULL; s = strtok(NULL, ","))
            if (config->endpoint_count < ENDPOINTS_MAX)
                config->endpoints[config->endpoint_count++] = s;
        return true;
    case 'o':
        config->conns = (unsigned)MIN_OF(strtoul(value, NULL, 10), (unsigned long)CONNS_MAX);
        return config->conns > 0;
    case 'c':
        config->clients = (unsigned)strtoul(value, NULL, 10);
        return config->clients > 0;
    case 's':
        config->seconds = strtod(value, NULL);
        return config->seconds > 0;
    case 'n':
        config->count = strtoull(value, NULL, 10);
        return true;
    case 'r':
        config->rate = strtoull(value, NULL, 10);
        return true;
    case 'k':
        config->keys = strtoull(value, NULL, 10);
        return config->keys > 0;
    case 'q':
        config->sequential = true;
        return true;
    case 'v':
        config->value_bytes = strtoull(value, NULL, 10);
        return config->value_bytes >= VALUE_MIN && config->value_bytes <= VALUE_MAX;
    case 'w':
        config->watchers = (unsigned)strtoul(value, NULL, 10);
        return true;
    case 'd':
        config->disturb = value;
        return true;
    case 'p':
        config->pids = value;
        return true;
    case 't':
        config->timeline = value;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"endpoints", required_argument, NULL, 'e'},   {"conns", required_argument, NULL, 'o'},
        {"clients", required_argument, NULL, 'c'},     {"seconds", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'n'},       {"rate", required_argument, NULL, 'r'},
        {"keys", required_argument, NULL, 'k'},        {"sequential", no_argument, NULL, 'q'},
        {"value-bytes", required_argument, NULL, 'v'}, {"watchers", required_argument, NULL, 'w'},
        {"disturb", required_argument, NULL, 'd'},     {"pids", required_argument, NULL, 'p'},
        {"timeline", required_argument, NULL, 't'},    {0},
    };
    struct load_config config = {.conns = 12,
                                 .clients = 128,
                                 .seconds = 10,
                                 .keys = 100000,
                                 .value_bytes = 1024,
                                 .watchers = 100,
                                 .disturb = "list",
                                 .pids = ""};
    for (int o; (o = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;)
        if (!parse_option(&config, o, optarg)) {
            fprintf(stderr, "load: bad option before %s\n", argv[optind]);
            return 2;
        }
    if (optind + 1 != argc || config.endpoint_count == 0) {
        fprintf(stderr, "usage: load_store --endpoints HOST:PORT[,...] [options] MODE\n");
        return 2;
    }
    if (strcmp(argv[optind], "ready") != 0)
        wire_init();
    return run(&config, argv[optind]);
}

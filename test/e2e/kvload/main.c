/* main.c - kvload: load and proof for a store that speaks etcd v3.
 *
 *   kvload run --endpoints http://127.0.0.1:2379,... [flags]   until SIGTERM
 *   kvload status --endpoints ...                              one JSON line for each
 *   kvload member-list|member-add|member-remove ...            see admin.h */
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "test/e2e/kvload/admin.h"
#include "test/e2e/kvload/load.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct load_config c = {0};
    struct flag_list endpoints = {0};
    int64_t writers = 8, readers = 4, watchers = 3, rate = 400, value = 120, big = 2, keep = 20000,
            seconds = 0, seed = 1;
    struct flag_set *f =
        flag_set_new("kvload run|status|member-list|member-add URL|member-remove ID [flags]");
    flag_strings(f, &endpoints, "endpoints", "Client URLs of the members.");
    flag_int(f, &writers, "writers", "Clients that write, each its own keys and some shared ones.");
    flag_int(f, &readers, "readers", "Clients that read.");
    flag_int(f, &watchers, "watchers", "Watch streams of three watches each.");
    flag_int(f, &rate, "rate", "Operations per second, 0 for as many as possible.");
    flag_int(f, &value, "value-bytes", "Bytes of a value.");
    flag_int(f, &big, "big-percent", "Share of values of 16 to 64 KiB.");
    flag_int(f, &keep, "keep-revs", "Revisions that compaction keeps, 0 for no compaction.");
    flag_int(f, &seconds, "seconds", "Ends by itself; 0: on SIGTERM.");
    flag_int(f, &seed, "seed", "Of what is written and read.");
    flag_string(f, &c.status_file, "status-file", "Where it stands, four times a second.");
    flag_string(f, &c.record_file, "record-file", "A line for each write.");
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_setup("kvload", LOG_ERROR);
    struct error err = {0};
    int rc = flag_set_parse(f, argc, argv, &err);
    if (rc == E_EOF) {
        flag_set_print_help(f);
        flag_set_free(f);
        return 0;
    }
    for (size_t i = 0; i < endpoints.count; i++) /* http_client wants host:port. */
        if (strncmp(endpoints.items[i], "http://", 7) == 0)
            endpoints.items[i] += 7;
    size_t count = 0;
    const char *const *args = flag_set_args(f, &count);
    if (rc == 0 && (count == 0 || endpoints.count == 0 || writers < 1 || writers > 900))
        rc = error_set(&err, E_INVALID, "want a verb and --endpoints; see --help");
    if (rc == 0 && strcmp(args[0], "run") == 0) {
        c.endpoints = endpoints.items;
        c.endpoint_count = endpoints.count;
        c.writers = (uint32_t)writers;
        c.readers = (uint32_t)readers;
        c.watchers = (uint32_t)watchers;
        c.rate = (uint32_t)rate;
        c.value_bytes = (uint32_t)value;
        c.big_percent = (uint32_t)big;
        c.keep_revs = keep;
        c.seconds = (uint64_t)seconds;
        c.seed = (uint64_t)seed;
        rc = load_run(&c, &err);
    } else if (rc == 0) {
        rc = admin_run(endpoints.items, endpoints.count, args, count, &err);
    }
    if (rc < 0)
        fprintf(stderr, "kvload: %s\n", error_message(&err));
    flag_set_free(f);
    return rc == 0 ? 0 : 1;
}

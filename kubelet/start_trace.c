/* start_trace.c - see start_trace.h. */
#include "kubelet/start_trace.h"

#include "lib/base/buf.h"

static const char *const names[START_PARTS] = {
    [START_VOLUMES] = "volumes", [START_TURN] = "turn", [START_SANDBOX] = "sandbox",
    [START_IMAGE] = "image",     [START_PULL] = "pull", [START_CREATE] = "create",
    [START_START] = "start",     [START_LOOK] = "look",
};

void start_trace_begin(struct start_trace *t, uint64_t now_ns)
{
    *t = (struct start_trace){.begin_ns = now_ns};
}

void start_trace_add(struct start_trace *t, enum start_part part, uint64_t ns)
{
    if (!t->over)
        t->spent_ns[part] += ns;
}

static void print_seconds(struct buf *b, uint64_t ns)
{
    buf_printf(b, "%llu.%03llus", (unsigned long long)(ns / 1000000000),
               (unsigned long long)(ns / 1000000 % 1000));
}

void start_trace_print(const struct start_trace *t, uint64_t now_ns, struct buf *b)
{
    uint64_t total = now_ns - t->begin_ns, sum = 0;
    print_seconds(b, total);
    buf_append_str(b, STR(" ("));
    for (int i = 0; i < START_PARTS; i++) {
        sum += t->spent_ns[i];
        if (t->spent_ns[i] < 1000000)
            continue;
        buf_printf(b, "%s ", names[i]);
        print_seconds(b, t->spent_ns[i]);
        buf_append_str(b, STR(", "));
    }
    buf_append_str(b, STR("other "));
    print_seconds(b, total > sum ? total - sum : 0);
    buf_putc(b, ')');
}

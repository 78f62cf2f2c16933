/* fuzz_extender.c - answers of extenders. */
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/error.h"
#include "scheduler/extender_wire.h"

#include <stddef.h>
#include <string.h>

static volatile size_t sink;

static void touch(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        sink += (unsigned char)s.data[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AUTO_ARENA *a = arena_new(0);
    struct str body = str_n((const char *)data + 1, size - 1);
    struct error err = {0};
    struct extender_filtered f;
    const struct extender_score *scores;
    const struct str *uids;
    size_t count = 0;
    bool accepted = false;
    switch (data[0] & 3) {
    case 0:
        if (extender_read_filtered(a, body, (data[0] & 4) != 0, &f, &err) != 0)
            break;
        for (size_t i = 0; i < f.name_count; i++)
            touch(f.names[i]);
        for (size_t i = 0; i < f.failed_count; i++)
            touch(f.failed[i].node), touch(f.failed[i].reason);
        break;
    case 1:
        if (extender_read_scores(a, body, &scores, &count, &err) == 0)
            for (size_t i = 0; i < count; i++)
                touch(scores[i].node);
        break;
    case 2:
        if (extender_read_preemption(a, body, STR("n1"), &accepted, &uids, &count, &err) == 0)
            for (size_t i = 0; i < count; i++)
                touch(uids[i]);
        break;
    default:
        (void)extender_read_binding(a, body, &err);
        break;
    }
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    /* The first byte chooses the reader. */
    static const char *const seeds[] = {
        "\4{\"NodeNames\":[\"n1\",\"n2\"],\"FailedNodes\":{\"n3\":\"no\"},"
        "\"FailedAndUnresolvableNodes\":{\"n4\":\"never\"},\"Error\":\"\"}",
        "\10{\"Nodes\":{\"items\":[{\"metadata\":{\"name\":\"n1\"}}]}}",
        "\1[{\"Host\":\"n1\",\"Score\":10},{\"host\":\"n2\",\"score\":0}]",
        "\2{\"NodeNameToMetaVictims\":{\"n1\":{\"Pods\":[{\"UID\":\"7\"}],\"NumPDBViolations\":1}}"
        "}",
        "\3{\"Error\":\"no\"}",
    };
    if (i >= ARRAY_SIZE(seeds))
        return 0;
    size_t n = MIN_OF(strlen(seeds[i]), cap);
    memcpy(p, seeds[i], n);
    return n;
}

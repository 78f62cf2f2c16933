/* fuzz_depends.c - the text in which a pod declares what it depends on. Whatever is understood is
 * understood alike when it is written once more. */
#include "lib/api/depends.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct dependencies d, again;
    struct error err;
    int rc = depends_parse(a, str_n((const char *)data, size), &d, &err);
    ASSERT(d.count <= DEPENDS_MAX);
    for (size_t i = 0; i < d.count; i++)
        buf_printf(&b, STR_FMT ", ", STR_ARG(d.items[i].text));
    if (rc != 0)
        return 0;
    ASSERT(depends_parse(a, buf_str(&b), &again, &err) == 0);
    ASSERT(again.count == d.count);
    for (size_t i = 0; i < d.count; i++) {
        const struct dependency *x = &d.items[i], *y = &again.items[i];
        ASSERT(x->type == y->type && x->port == y->port && x->v6 == y->v6);
        ASSERT(str_eq(x->name, y->name) && str_eq(x->namespace_, y->namespace_));
        ASSERT(str_eq(x->range, y->range) && str_eq(x->port_name, y->port_name));
        ASSERT(x->protocol == y->protocol);
        ASSERT(x->type != DEPEND_SERVICE || !str_empty(x->name));
        ASSERT(x->type != DEPEND_RANGE || !str_empty(x->range));
    }
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {"db, payments/ledger:https",
                                        "10.20.0.0/16:5432/udp fd00:1::/32:53",
                                        "internet internet:443/sctp\ndefault/kubernetes:443",
                                        "a/b/c",
                                        "::1/128",
                                        "0.0.0.0/0,,::/0"};
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}

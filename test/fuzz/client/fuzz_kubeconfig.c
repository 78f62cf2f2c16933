/* fuzz_kubeconfig.c - kubeconfig text. */
#include "lib/base/base.h"
#include "lib/client/kubeconfig.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kubeconfig *k;
    /* No folder: files that the text names are not there. */
    if (kubeconfig_parse(str_n((const char *)data, size), "/nonexistent", NULL, &k, NULL) == 0)
        kubeconfig_free(k);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str seeds[] = {
        {"current-context: b\nclusters: [{name: k, cluster: {server: \"https://a:1,https://b:2\", "
         "certificate-authority-data: Q0E=}}]\ncontexts: [{name: b, context: {cluster: k, user: "
         "u}}]\nusers: [{name: u, user: {token: t, as: j, as-groups: [x]}}]\n",
         sizeof("current-context: b\nclusters: [{name: k, cluster: {server: "
                "\"https://a:1,https://b:2\", certificate-authority-data: Q0E=}}]\ncontexts: "
                "[{name: b, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {token: t, "
                "as: j, as-groups: [x]}}]\n") -
             1},
    };
    if (i >= ARRAY_SIZE(seeds) || seeds[i].len > cap)
        return 0;
    memcpy(p, seeds[i].data, seeds[i].len);
    return seeds[i].len;
}

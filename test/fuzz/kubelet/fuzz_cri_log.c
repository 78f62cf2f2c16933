/* fuzz_cri_log.c - log lines, resolv.conf, $(VAR), pull secrets and patterns of images: text from
 * containers and users. */
#include "kubelet/cri_log.h"
#include "kubelet/env_expand.h"
#include "kubelet/hosts_file.h"
#include "kubelet/pull_secrets.h"
#include "kubelet/runtime_state.h"

#include "lib/base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_n((const char *)data, size);
    AUTO_ARENA *a = arena_new(0);
    struct cri_log_line line;
    struct dns_settings dns;
    struct env_list env = {0};
    struct pull_auth_list auths = {0};
    uint64_t found = 0;
    if (cri_log_parse(s, &line))
        ASSERT(line.text.len <= size);
    ptrdiff_t at = cri_log_tail(s, 3, &found);
    ASSERT(at < 0 || (size_t)at <= size);
    dns_parse(a, s, &dns);
    env_list_set(a, &env, STR("A"), STR("$(A)"));
    env_expand(a, s, &env, NULL);
    pull_auths_add(a, &auths, s, STR("busybox"));
    for (size_t i = 0; i < auths.count; i++)
        ASSERT(auths.items[i].username != NULL && auths.items[i].password != NULL);
    image_matches(a, s, STR("registry.example.com:5000/team/app:v1"));
    image_matches(a, STR("*.example.com:5000/team"), s);
    rt_info_pid(s);
    return 0;
}

static const char *const seeds[] = {
    "2016-10-06T00:17:09.669794202Z stdout F hello\n2016-10-06T00:17:10Z stderr P part\n",
    "nameserver 10.0.0.1\nsearch a b\noptions ndots:5\n",
    "$(A) $$(A) $(B $(",
    "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dTpw\"}}}",
    "*.example.com:5000/team",
    "{\"pid\":17}",
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}

/* fuzz_answers.c - what a server sends: answers, lists, watch frames. */
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/client_internal.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static void drop_item(struct api_object *o, void *arg)
{
    UNUSED(arg);
    api_object_unref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n((const char *)data, size);
    const struct api_kind *pod = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
    AUTO_ARENA *a = arena_new(0);
    struct client_result r = {0};
    struct str x, y;
    struct api_object *o = NULL;
    client_decode_answer(a, pod, true, 200, STR("application/vnd.kubernetes.protobuf"), bytes, &r);
    r = (struct client_result){0};
    client_decode_answer(a, pod, true, 500, STR("application/json"), bytes, &r);
    (void)client_list_walk(a, pod, bytes, drop_item, NULL, &x, &y, NULL);
    if (client_decode_frame(bytes, &x, &y, NULL) == 0 &&
        client_decode_object(pod, y, &o, NULL) == 0)
        api_object_unref(o);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str seeds[] = {
        {"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"message\":\"m\",\"reason\":\"NotFound\","
         "\"code\":404}",
         sizeof("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"message\":\"m\",\"reason\":"
                "\"NotFound\",\"code\":404}") -
             1},
        {"{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[{\"metadata\":{"
         "\"name\":\"x\"}}]}",
         sizeof("{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[{"
                "\"metadata\":{\"name\":\"x\"}}]}") -
             1},
        {"k8s\0\n\r\n\002v1\022\007PodList\022\027\n\005\022\001"
         "7\032\001c\022\016\n\014\n\001x\032\001n*\004uuid",
         sizeof("k8s\0\n\r\n\002v1\022\007PodList\022\027\n\005\022\001"
                "7\032\001c\022\016\n\014\n\001x\032\001n*\004uuid") -
             1},
        {"\n\005ADDED\022\024\n\022k8s\0\n\t\n\002v1\022\003Pod\022\001\n",
         sizeof("\n\005ADDED\022\024\n\022k8s\0\n\t\n\002v1\022\003Pod\022\001\n") - 1},
    };
    if (i >= ARRAY_SIZE(seeds) || seeds[i].len > cap)
        return 0;
    memcpy(p, seeds[i].data, seeds[i].len);
    return seeds[i].len;
}

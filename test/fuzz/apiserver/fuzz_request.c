/* fuzz_request.c - what a client may put into a request line, an Accept header
 * or a selector; and damaged stored bytes. The first byte picks the decoder. */
#include "test/fuzz/api/seeds.h"

#include "apiserver/content.h"
#include "apiserver/request_info.h"
#include "apiserver/selector.h"
#include "apiserver/wire.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("\0/apis/apps/v1/namespaces/n/deployments/d/scale"),
    FUZZ_TEXT("\0/api/v1/watch/namespaces/%6e/pods?fieldSelector=metadata.name%3Dx"),
    FUZZ_TEXT("\1application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml;q=0.5,*/*"),
    FUZZ_TEXT("\2app in (a,b,),!x,y!=z,n>4"),
    FUZZ_TEXT("\3metadata.name=a\\,b,spec.nodeName!=c"),
    FUZZ_TEXT("\4\x0a\x0e\x0a\x01p\x5a\x06\x0a\x01"
              "a\x12\x01"
              "b\x32\x01"
              "7"),
};
FUZZ_SEEDS(seeds)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AUTO_ARENA *a = arena_new(0);
    struct str text = arena_str(a, str_n((const char *)data + 1, size - 1));
    struct request_info info;
    struct accepted accepted;
    struct api_label_selector labels;
    struct api_field_selector fields;
    struct api_str_entry found[8];
    const char *type;
    bool flag;
    switch (data[0] % 5) {
    case 0:
        (void)request_info_parse(a, STR("GET"), text, text, &info);
        break;
    case 1:
        (void)accept_negotiate(text, data[0] / 5 % 4, &accepted, &flag);
        (void)accept_aggregated(text, &type, &flag);
        (void)body_type_of(text);
        break;
    case 2:
        if (api_label_selector_parse(a, text, &labels, NULL) == 0)
            (void)selector_matches_stored(&labels, text);
        break;
    case 3:
        (void)api_field_selector_parse(a, text, &fields, NULL);
        break;
    default:
        (void)wire_labels(text, found, 8);
        (void)wire_bytes(text, 2);
        break;
    }
    return 0;
}

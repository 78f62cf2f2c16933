/* fuzz_auth_config.c - key sets of issuers, which come from outside, and the server's own
 * files that say who authenticates and who decides. */
#include "apiserver/authn_config.h"
#include "apiserver/authn_jwt.h"
#include "lib/base/arena.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str text = str_n((const char *)data, size);
    struct jwt_key *keys;
    struct jwt_set *set;
    size_t count;
    if (jwt_keys_parse(a, text, &keys, &count, NULL) == 0)
        ASSERT(count != 0);
    if (authn_config_parse(text, NULL, 0, &set, NULL) == 0)
        jwt_set_unref(set);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const SEEDS[] = {
        "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"a\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"use\":\"sig\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
        "- issuer: {url: 'https://a.example', audiences: [a]}\n"
        "  claimMappings: {username: {claim: sub, prefix: ''}, uid: {expression: claims.u}}\n"
        "  claimValidationRules: [{expression: 'claims.x == 1', message: m}]\n"
        "anonymous: {enabled: true}\n",
    };
    struct str s = i < ARRAY_SIZE(SEEDS) ? str_of(SEEDS[i]) : STR_NULL;
    memcpy(p, str_c(s), MIN_OF(s.len, cap));
    return MIN_OF(s.len, cap);
}

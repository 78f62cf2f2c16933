/* fuzz_jwt.c - tokens from outside: parsing, and verifying with both key types. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"

#include <string.h>

static struct pki_key *ec_key, *rsa_key;
static struct buf good; /* A valid token of ec_key. */

static void make_keys(void)
{
    if (pki_key_generate(PKI_KEY_P256, &ec_key, NULL) != 0 ||
        pki_key_generate(PKI_KEY_RSA2048, &rsa_key, NULL) != 0 ||
        jwt_sign(ec_key, STR("{\"sub\":\"x\"}"), &good, NULL) != 0)
        PANIC("no keys");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ec_key == NULL)
        make_keys();
    AUTO_ARENA *a = arena_new(0);
    struct jwt t;
    struct str token = str_n((const char *)data, size);
    if (jwt_parse(a, token, &t, NULL) != 0)
        return 0;
    ASSERT(jwt_verify(&t, rsa_key, NULL) != 0);
    /* Whatever else verifies must be the very text that was signed. */
    if (jwt_verify(&t, ec_key, NULL) == 0) {
        struct jwt original;
        ASSERT(jwt_parse(a, buf_str(&good), &original, NULL) == 0);
        ASSERT(str_eq(t.signed_part, original.signed_part));
    }
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const SEEDS[] = {
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.e30.AAAA",
        "eyJhbGciOiJub25lIn0.e30.",
        "eyJhbGciOiJSUzI1NiIsIngiOlsxLHsiYSI6Im5cIiJ9XX0.e30.AAAA",
    };
    if (ec_key == NULL)
        make_keys();
    struct str s = i == ARRAY_SIZE(SEEDS)  ? buf_str(&good)
                   : i < ARRAY_SIZE(SEEDS) ? str_of(SEEDS[i])
                                           : STR_NULL;
    memcpy(p, str_c(s), MIN_OF(s.len, cap));
    return MIN_OF(s.len, cap);
}

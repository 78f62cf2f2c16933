/* fuzz_kms.c - any bytes as an EncryptedObject of KMS v2 and as answers of a
 * plugin; what is read and written again reads the same. */
#include "apiserver/kms_wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char note[] = {0x0a, 3, 'a', '.', 'b', 0x12, 1, '1'};
    struct str annotations[] = {{note, sizeof(note)}};
    AUTO_BUF b = BUF_INIT;
    struct kms_wrapped w = {.type = i == 0 ? KMS_HKDF_SEED : KMS_AES_GCM_KEY,
                            .key_id = STR("key"),
                            .source = STR("wrapped"),
                            .annotations = annotations,
                            .annotation_count = 1};
    if (i > 1)
        return 0;
    kms_object_write(&w, STR("data"), &b);
    if (b.len > cap)
        return 0;
    memcpy(p, b.data, b.len);
    return b.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct error err = {0};
    struct str in = str_n((const char *)data, size), text, again;
    struct kms_wrapped w, other;
    struct kms_status status;
    (void)kms_status_read(in, &status, &err);
    (void)kms_decrypt_read(in, &text, &err);
    if (kms_encrypt_read(a, in, &w, &err) == 0)
        kms_decrypt_write(&w, STR("uid"), &b);
    if (kms_object_read(a, in, &w, &text, &err) != 0)
        return 0;
    buf_clear(&b);
    kms_object_write(&w, text, &b);
    ASSERT(kms_object_read(a, buf_str(&b), &other, &again, &err) == 0);
    ASSERT(str_eq(text, again));
    ASSERT(str_eq(kms_cache_key(a, &w), kms_cache_key(a, &other)));
    return 0;
}

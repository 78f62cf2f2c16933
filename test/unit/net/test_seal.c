/* test_seal.c - encryption of bytes: known answers, and what was changed is noticed. */
#include "lib/net/seal.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static void from_hex(const char *hex, struct buf *b)
{
    ck_assert_int_eq(hex_decode(str_of(hex), b), 0);
}

/* The example of NaCl's documentation of crypto_secretbox. */
START_TEST(secretbox_as_nacl)
{
    AUTO_BUF key = BUF_INIT, nonce = BUF_INIT, text = BUF_INIT, want = BUF_INIT, got = BUF_INIT;
    from_hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", &key);
    from_hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37", &nonce);
    from_hex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a"
             "1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057"
             "e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040"
             "e082f937763848645e0705",
             &text);
    from_hex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4"
             "476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738"
             "b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de"
             "56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
             &want);
    seal_secretbox(key.data, nonce.data, buf_str(&text), &got);
    ck_assert_uint_eq(got.len, want.len + 24);
    ck_assert_mem_eq(got.data + 24, want.data, want.len);
    AUTO_BUF back = BUF_INIT;
    ck_assert_int_eq(unseal(SEAL_SECRETBOX, buf_str(&key), buf_str(&got), STR(""), &back, NULL), 0);
    ck_assert_mem_eq(back.data, text.data, text.len);
}
END_TEST

/* McGrew and Viega's 16th case for AES-GCM, which has bytes beside the text. */
START_TEST(gcm_opens_a_known_answer)
{
    AUTO_BUF key = BUF_INIT, sealed = BUF_INIT, bound = BUF_INIT, want = BUF_INIT, got = BUF_INIT;
    from_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", &key);
    from_hex("cafebabefacedbaddecaf888522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555"
             "d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf88"
             "53bb2d551b",
             &sealed);
    from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2", &bound);
    from_hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf"
             "0e2449a6b525b16aedf5aa0de657ba637b39",
             &want);
    ck_assert_int_eq(
        unseal(SEAL_AES_GCM, buf_str(&key), buf_str(&sealed), buf_str(&bound), &got, NULL), 0);
    ck_assert_uint_eq(got.len, want.len);
    ck_assert_mem_eq(got.data, want.data, want.len);
    ck_assert_int_eq(
        unseal(SEAL_AES_GCM, buf_str(&key), buf_str(&sealed), STR("other"), &got, NULL), E_INVALID);
}
END_TEST

/* Any length comes back; a byte that is changed, lost or of another key is noticed. */
START_TEST(round_trips)
{
    static const char keys[2][33] = {"0123456789abcdef0123456789abcdef",
                                     "0123456789abcdef0123456789abcdeg"};
    for (int form = SEAL_AES_CBC; form <= SEAL_SECRETBOX; form++)
        for (size_t len = 0; len < 200; len += len < 70 ? 1 : 13) {
            AUTO_BUF text = BUF_INIT, sealed = BUF_INIT, back = BUF_INIT;
            struct str key = str_n(keys[0], form == SEAL_SECRETBOX ? 32 : 16 + 8 * (len % 3));
            for (size_t i = 0; i < len; i++)
                buf_putc(&text, (char)(i * 7));
            seal((enum seal_form)form, key, buf_str(&text), STR("/registry/x"), &sealed);
            ck_assert_int_eq(unseal((enum seal_form)form, key, buf_str(&sealed), STR("/registry/x"),
                                    &back, NULL),
                             0);
            ck_assert_uint_eq(back.len, len);
            ck_assert(len == 0 || memcmp(back.data, text.data, len) == 0);
            if (form == SEAL_AES_CBC)
                continue; /* Padding alone tells little. */
            sealed.data[sealed.len - 1] ^= 1;
            buf_clear(&back);
            ck_assert_int_eq(unseal((enum seal_form)form, key, buf_str(&sealed), STR("/registry/x"),
                                    &back, NULL),
                             E_INVALID);
            sealed.data[sealed.len - 1] ^= 1;
            ck_assert_int_eq(unseal((enum seal_form)form, str_n(keys[1], 32), buf_str(&sealed),
                                    STR("/registry/x"), &back, NULL),
                             E_INVALID);
            ck_assert_uint_eq(back.len, 0);
        }
}
END_TEST

/* Too short for its form. */
START_TEST(short_ones_are_refused)
{
    static const char zeros[40] = {0};
    AUTO_BUF out = BUF_INIT;
    struct str key = STR("0123456789abcdef0123456789abcdef");
    for (size_t len = 0; len < 28; len++) {
        for (int form = SEAL_AES_CBC; form <= SEAL_SECRETBOX; form++)
            ck_assert_int_eq(
                unseal((enum seal_form)form, key, str_n(zeros, len), STR(""), &out, NULL),
                E_INVALID);
        ck_assert_uint_eq(out.len, 0);
    }
    ck_assert(seal_key_fits(SEAL_AES_GCM, 24) && !seal_key_fits(SEAL_SECRETBOX, 16));
}
END_TEST

UNIT_MAIN("seal", {
    UNIT_TEST(secretbox_as_nacl);
    UNIT_TEST(gcm_opens_a_known_answer);
    UNIT_TEST(round_trips);
    UNIT_TEST(short_ones_are_refused);
})

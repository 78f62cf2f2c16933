/* test_encode.c - base64 and hex against RFC 4648's vectors, and strictness. */
#include "lib/base/encode.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static void check_both_ways(enum base64_form form, struct str plain, const char *text)
{
    AUTO_BUF b = BUF_INIT;
    base64_encode(form, plain.data, plain.len, &b);
    ck_assert(str_eqc(buf_str(&b), text));
    ck_assert_uint_eq(b.len, base64_len(form, plain.len));
    buf_clear(&b);
    ck_assert_int_eq(base64_decode(form, str_of(text), &b), 0);
    ck_assert(str_eq(buf_str(&b), plain));
}

/* RFC 4648 section 10. */
START_TEST(base64_vectors)
{
    check_both_ways(BASE64_STD, STR(""), "");
    check_both_ways(BASE64_STD, STR("f"), "Zg==");
    check_both_ways(BASE64_STD, STR("fo"), "Zm8=");
    check_both_ways(BASE64_STD, STR("foo"), "Zm9v");
    check_both_ways(BASE64_STD, STR("foobar"), "Zm9vYmFy");
    check_both_ways(BASE64_RAW_STD, STR("foob"), "Zm9vYg");
    check_both_ways(BASE64_STD, STR("\xfb\xff\xbf"), "+/+/");
    check_both_ways(BASE64_URL, STR("\xfb\xff\xbf\xff"), "-_-__w==");
    check_both_ways(BASE64_RAW_URL, STR("\xfb\xff\xbf\xff"), "-_-__w");
}
END_TEST

/* Wrong characters, padding and spare bits are refused; line breaks are not. */
START_TEST(base64_strict)
{
    static const char *const BAD[] = {"Zg",    "Zg=",   "Zg===", "Zh==", "Zm9",      "Zm8", "Z",
                                      "Zm9v=", "Zm 9v", "-_-_",  "=",    "Zg==Zg==", "Z=g="};
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        ck_assert_msg(base64_decode(BASE64_STD, str_of(BAD[i]), &b) == E_INVALID, "%s", BAD[i]);
        ck_assert_uint_eq(b.len, 0);
    }
    ck_assert_int_eq(base64_decode(BASE64_RAW_URL, STR("Zg=="), &b), E_INVALID);
    ck_assert_int_eq(base64_decode(BASE64_STD, STR("Zm9v\r\nYmFy\n"), &b), 0);
    ck_assert(str_eqc(buf_str(&b), "foobar"));
}
END_TEST

START_TEST(hex)
{
    AUTO_BUF b = BUF_INIT;
    hex_encode("\x00\xab\xff", 3, &b);
    ck_assert(str_eqc(buf_str(&b), "00abff"));
    buf_clear(&b);
    ck_assert_int_eq(hex_decode(STR("00aBFf"), &b), 0);
    ck_assert(str_eq(buf_str(&b), STR("\x00\xab\xff")));
    ck_assert_int_eq(hex_decode(STR("0"), &b), E_INVALID);
    ck_assert_int_eq(hex_decode(STR("0g"), &b), E_INVALID);
}
END_TEST

UNIT_MAIN("encode", UNIT_TEST(base64_vectors); UNIT_TEST(base64_strict); UNIT_TEST(hex))

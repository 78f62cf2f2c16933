/* fuzz_etcd_json.c - arbitrary bytes as a JSON document; what is read is written and read again. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "raftstore/etcd/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

/* Recurses to JSON_DEPTH_MAX. */
static void write_value(const struct json_value *v, struct buf *out)
{
    switch (v->type) {
    case JSON_NULL:
        buf_puts(out, "null");
        break;
    case JSON_BOOL:
        buf_puts(out, v->boolean ? "true" : "false");
        break;
    case JSON_NUMBER:
        buf_append_str(out, v->text);
        break;
    case JSON_STRING:
        json_put_string(out, v->text);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        buf_putc(out, v->type == JSON_ARRAY ? '[' : '{');
        for (size_t i = 0; i < v->count; i++) {
            if (i > 0)
                buf_putc(out, ',');
            if (v->type == JSON_OBJECT) {
                json_put_string(out, v->names[i]);
                buf_putc(out, ':');
            }
            write_value(&v->items[i], out);
        }
        buf_putc(out, v->type == JSON_ARRAY ? ']' : '}');
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF one = BUF_INIT, two = BUF_INIT;
    struct json_value v, again;
    int64_t n;
    if (json_read(a, str_n((const char *)data, size), &v, NULL) != 0)
        return 0;
    if (v.type == JSON_NUMBER)
        json_to_i64(v.text, &n);
    write_value(&v, &one);
    int rc = json_read(a, buf_str(&one), &again, NULL);
    ASSERT_CMP(rc, ==, 0);
    write_value(&again, &two);
    ASSERT(str_eq(buf_str(&one), buf_str(&two)));
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {
        "{\"a\":[1,-2.5e+3,true,null,{\"b\":\"\\u00e9\\ud83d\\ude00\\n\"}],\"c\":false}",
        "\"\xc3\xa9\\ud800\"",
        "[[[[[]]]]]",
    };
    if (i >= ARRAY_SIZE(seeds))
        return 0;
    size_t n = strlen(seeds[i]);
    memcpy(p, seeds[i], MIN_OF(n, cap));
    return n;
}

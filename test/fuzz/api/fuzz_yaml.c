/* fuzz_yaml.c - YAML texts: what parses is written as YAML that reads back as
 * the same document. */
#include "test/fuzz/api/seeds.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: {a: \"b\", c: "
              "'d'}\nspec:\n  containers:\n"
              "  - name: c\n    args: [x, 1, yes, ~]\n    command:\n    - |\n      a\n       b\n   "
              " - >-\n      x\n      y\n"),
    FUZZ_TEXT("a: &x {k: v}\nb: *x\nc: {<<: *x, l: 0x1F}\n? [q]\n: 1\n"),
    FUZZ_TEXT("---\n# words\n---\n- - 1\n  - 2\n- !!str 3\n- !!binary aGk=\n- "
              "\"\\u263A\\n\\x01\"\n--- # next\n1e3\n"),
    FUZZ_TEXT("- |+2\n    a\n\n\n- 2024-01-01\n- 1:30\n- .inf\n- 'it''s'\n"),
};
FUZZ_SEEDS(seeds)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_n((const char *)data, size);
    for (int documents = 0; documents < 20; documents++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF out = BUF_INIT;
        struct json *tree, *again;
        size_t consumed;
        if (api_yaml_parse(a, rest, &consumed, &tree, NULL) != 0)
            return 0;
        ASSERT(consumed > 0 && consumed <= rest.len);
        api_yaml_write(tree, &out);
        ASSERT(api_yaml_parse(a, buf_str(&out), &consumed, &again, NULL) == 0);
        ASSERT(json_equal(tree, again));
        rest = str_sub(rest, consumed, rest.len);
    }
    return 0;
}

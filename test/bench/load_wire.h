/* load_wire.h - the etcd messages that the load generator speaks, and the keys
 * and values it writes: a value says by itself what it must be. */
#ifndef BENCH_LOAD_WIRE_H
#define BENCH_LOAD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES 24
#define VALUE_MIN 32
#define VALUE_MAX 8192
#define MESSAGE_MAX (VALUE_MAX + 256)

extern const char PATH_PUT[], PATH_RANGE[], PATH_WATCH[], PATH_SNAPSHOT[];

void wire_init(void); /* Draws the bytes that values are made of: takes a moment. */
/* "/bench/keys/000000000042", without a NUL. */
void wire_key(uint8_t ret[KEY_BYTES], uint64_t number);
/* Random ASCII that hardly compresses, drawn by seed, with the time in it. */
void wire_value(uint8_t *ret, size_t len, uint32_t seed, uint64_t now_ns);
bool wire_value_ok(const uint8_t *p, size_t len);
uint64_t wire_value_time(const uint8_t *p);

/* All return the message's length; the room is MESSAGE_MAX. */
size_t wire_put(uint8_t *ret, uint64_t key, size_t value_len, uint32_t seed, uint64_t now_ns);
struct wire_range {
    uint64_t key;
    bool all; /* Every key of ours instead. */
    bool serializable, count_only;
    int64_t limit;
};
size_t wire_range(uint8_t *ret, const struct wire_range *r);
size_t wire_watch(uint8_t *ret); /* All keys, from now on. */

struct wire_kv {
    const uint8_t *key, *value;
    size_t key_len, value_len;
    int64_t mod_rev;
};
/* What a message holds that is of interest. */
struct wire_answer {
    int64_t rev; /* Of the header. */
    int64_t count;
    const uint8_t *body; /* Where key-values may stand. */
};
/* Reads a Put or Range response; false if it is malformed. */
bool wire_answer(const uint8_t *p, size_t len, struct wire_answer *ret);
/* Reading a response as it comes, without putting it together first: the size of
 * the top-level field that begins at p, 0 if len bytes do not tell. */
size_t wire_field_size(const uint8_t *p, size_t len);
struct wire_event {
    uint32_t
        field; /* Of a Watch response: 3 created, 4 canceled, 11 an event; else of no interest. */
    struct wire_kv kv;
};
/* p .. p + len is one whole field. False if it is malformed. */
bool wire_watch_field(const uint8_t *p, size_t len, struct wire_event *ret);
/* The next key-value of a Range response (field 2) or event of a Watch response
 * (field 11): moves *p on; false at the end. */
bool wire_next_kv(const uint8_t **p, const uint8_t *end, uint32_t field, struct wire_kv *ret);

#endif

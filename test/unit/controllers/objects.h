/* objects.h - API objects from JSON, for the controllers' tests. */
#ifndef TEST_CONTROLLERS_OBJECTS_H
#define TEST_CONTROLLERS_OBJECTS_H

#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static inline void *decoded(struct arena *a, const struct api_msg *m, const char *json)
{
    struct error err = {0};
    void *msg = api_msg_new(a, m);
    int rc = api_json_decode(a, m, str_of(json), API_STRICT, NULL, msg, &err);
    ck_assert_msg(rc == 0, "%s: %s", json, error_message(&err));
    return msg;
}

#endif

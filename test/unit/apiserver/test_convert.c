/* test_convert.c - autoscalers through autoscaling/v1 and back. */
#include "apiserver/convert.h"

#include "api/autoscaling_v2.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static const char FULL[] =
    "{\"metadata\":{\"name\":\"h\",\"annotations\":{\"x\":\"y\"}},\"spec\":{\"scaleTargetRef\":{"
    "\"kind\":\"Deployment\",\"name\":\"d\"},\"maxReplicas\":3,\"metrics\":["
    "{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","
    "\"averageUtilization\":70}}},"
    "{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"target\":{\"type\":"
    "\"AverageValue\","
    "\"averageValue\":\"1Gi\"}}},"
    "{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"container\":\"c\","
    "\"target\":{\"type\":\"Utilization\",\"averageUtilization\":5}}},"
    "{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"rps\"},\"target\":{\"type\":"
    "\"AverageValue\",\"averageValue\":\"1k\"}}},"
    "{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"q\",\"selector\":{\"matchLabels\":"
    "{\"a\":\"b\"}}},\"target\":{\"type\":\"Value\",\"value\":\"30\"}}},"
    "{\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"Service\",\"name\":\"s\","
    "\"apiVersion\":\"v1\"},\"target\":{\"type\":\"Value\",\"value\":\"5\"},\"metric\":{\"name\":"
    "\"o\"}}}],"
    "\"behavior\":{\"scaleUp\":{\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\","
    "\"policies\":[{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":15}],\"tolerance\":\"100m\"}}},"
    "\"status\":{\"desiredReplicas\":1,\"conditions\":[{\"type\":\"AbleToScale\",\"status\":"
    "\"True\",\"lastTransitionTime\":\"2026-01-02T03:04:05Z\",\"reason\":\"r\"}]}}";

/* What autoscaling/v1 cannot say survives a client that reads and writes it. */
START_TEST(autoscaler_there_and_back)
{
    AUTO_ARENA *a = arena_new(0);
    const struct api_kind *v1 = api_kind_by_api_version(STR("autoscaling/v1"),
                                                        STR("HorizontalPodAutoscaler")),
                          *v2 = api_kind_by_api_version(STR("autoscaling/v2"),
                                                        STR("HorizontalPodAutoscaler"));
    struct error err = {0};
    void *before = api_msg_new(a, v2->msg);
    ck_assert_msg(api_json_decode(a, v2->msg, str_of(FULL), API_STRICT, NULL, before, &err) == 0,
                  "%s", error_message(&err));
    void *after = convert_object(a, v1, v2, convert_object(a, v2, v1, before));
    AUTO_BUF x = BUF_INIT;
    AUTO_BUF y = BUF_INIT;
    api_json_encode(v2->msg, before, STR_NULL, STR_NULL, &x);
    api_json_encode(v2->msg, after, STR_NULL, STR_NULL, &y);
    buf_putc(&x, '\0');
    buf_putc(&y, '\0');
    ck_assert_str_eq((const char *)x.data, (const char *)y.data);
}
END_TEST

UNIT_MAIN("convert", { UNIT_TEST(autoscaler_there_and_back); })

/* podgroup_definition.c - the definition of PodGroups, as the scheduler-plugins project has it.
 * Pure. */
#include "controllers/podgroup_plan.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"

/* Zero has a meaning in the spec: a group that does not wait, the default time to wait. */
#define COUNT "{\"type\":\"integer\",\"format\":\"int32\",\"minimum\":0}"
#define TEXT "{\"type\":\"string\"}"
#define DIGITS "(([0-9]+(\\\\.[0-9]*)?)|(\\\\.[0-9]+))"
#define QUANTITY "^(\\\\+|-)?" DIGITS "(([KMGTPE]i)|[numkMGTPE]|([eE](\\\\+|-)?" DIGITS "))?$"

struct field {
    const char *name, *schema;
};

static const struct field spec_fields[] = {
    {"minMember", COUNT},
    {"minResources",
     "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{\"type\":\"integer\"}," TEXT
     "],\"pattern\":\"" QUANTITY "\",\"x-kubernetes-int-or-string\":true}}"},
    {"scheduleTimeoutSeconds", COUNT},
};

static const struct field status_fields[] = {
    {"phase", TEXT},
    {"occupiedBy", TEXT},
    {"scheduled", COUNT},
    {"running", COUNT},
    {"succeeded", COUNT},
    {"failed", COUNT},
    {"scheduleStartTime", "{\"type\":\"string\",\"format\":\"date-time\"}"},
};

static const struct {
    const char *name, *type, *path;
} columns[] = {
    {"Phase", "string", ".status.phase"},      {"MinMember", "integer", ".spec.minMember"},
    {"Running", "integer", ".status.running"}, {"Succeeded", "integer", ".status.succeeded"},
    {"Failed", "integer", ".status.failed"},   {"Age", "date", ".metadata.creationTimestamp"},
};

static void put_fields(struct buf *b, const struct field *fields, size_t count)
{
    buf_puts(b, "{\"type\":\"object\",\"properties\":{");
    for (size_t i = 0; i < count; i++)
        buf_printf(b, "%s\"%s\":%s", i != 0 ? "," : "", fields[i].name, fields[i].schema);
    buf_puts(b, "}}");
}

static void put_schema(struct buf *b)
{
    buf_puts(b, "{\"type\":\"object\",\"properties\":{\"apiVersion\":" TEXT ",\"kind\":" TEXT
                ",\"metadata\":{\"type\":\"object\"},\"spec\":");
    put_fields(b, spec_fields, ARRAY_SIZE(spec_fields));
    buf_puts(b, ",\"status\":");
    put_fields(b, status_fields, ARRAY_SIZE(status_fields));
    buf_puts(b, "}}");
}

void podgroup_definition(struct buf *b)
{
    buf_puts(b, "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\","
                "\"metadata\":{\"name\":\"" PODGROUP_DEFINITION
                "\"},\"spec\":{\"group\":\"" PODGROUP_API
                "\",\"scope\":\"Namespaced\",\"names\":{\"kind\":\"PodGroup\","
                "\"listKind\":\"PodGroupList\",\"plural\":\"podgroups\",\"singular\":\"podgroup\","
                "\"shortNames\":[\"pg\",\"pgs\"]},\"versions\":[{\"name\":\"v1alpha1\",");
    buf_puts(b, "\"served\":true,\"storage\":true,\"subresources\":{\"status\":{}},"
                "\"additionalPrinterColumns\":[");
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        buf_printf(b, "%s{\"name\":\"%s\",\"type\":\"%s\",\"jsonPath\":\"%s\"}", i != 0 ? "," : "",
                   columns[i].name, columns[i].type, columns[i].path);
    buf_puts(b, "],\"schema\":{\"openAPIV3Schema\":");
    put_schema(b);
    buf_puts(b, "}}]}}");
}

/* device_claim.c - see device_claim.h. Pure. */
#include "apiserver/kinds/device_claim.h"

#include "apiserver/kinds/rules.h"
#include "api/resource_v1.h"

#define REQUESTS_MAX 32
#define ALTERNATIVES_MAX 8

static void default_mode(struct str *mode, int64_t *count)
{
    if (str_empty(*mode))
        *mode = STR("ExactCount");
    if (str_eqc(*mode, "ExactCount") && *count == 0)
        *count = 1;
}

void default_device_claim(struct resource_v1_device_claim *c)
{
    for (size_t i = 0; i < c->requests_count; i++) {
        struct resource_v1_device_request *r = &c->requests[i];
        if (r->exactly != NULL)
            default_mode(&r->exactly->allocation_mode, &r->exactly->count);
        for (size_t j = 0; j < r->first_available_count; j++)
            default_mode(&r->first_available[j].allocation_mode, &r->first_available[j].count);
    }
}

static void check_devices(struct field_errors *errs, const struct field_path *path,
                          struct str class_name, struct str mode, int64_t count)
{
    static const char *const modes[] = {"All", "ExactCount", NULL};
    require_form(errs, PATH(path, "deviceClassName"), class_name, api_check_dns_subdomain);
    if (str_eqc(mode, "All")) {
        if (count != 0)
            field_invalid_int(errs, PATH(path, "count"), count,
                              "must not be specified when allocationMode is 'All'");
    } else if (str_eqc(mode, "ExactCount")) {
        if (count <= 0)
            field_invalid_int(errs, PATH(path, "count"), count, "must be greater than zero");
    } else {
        field_not_supported(errs, PATH(path, "allocationMode"), mode, modes);
    }
}

static void check_request(struct field_errors *errs, const struct field_path *at,
                          const struct resource_v1_device_request *r)
{
    const struct field_path *list = PATH(at, "firstAvailable");
    require_form(errs, PATH(at, "name"), r->name, api_check_dns_label);
    if (r->exactly == NULL && r->first_available_count == 0)
        field_required(errs, at, "exactly one of `exactly` or `firstAvailable` is required");
    else if (r->exactly != NULL && r->first_available_count != 0)
        field_invalid_msg(errs, at, &resource_v1_device_request_msg, r,
                          "exactly one of `exactly` or `firstAvailable` is required, but multiple "
                          "fields are set");
    if (r->exactly != NULL)
        check_devices(errs, PATH(at, "exactly"), r->exactly->device_class_name,
                      r->exactly->allocation_mode, r->exactly->count);
    if (r->first_available_count > ALTERNATIVES_MAX)
        field_too_many(errs, list, (int64_t)r->first_available_count, ALTERNATIVES_MAX);
    for (size_t i = 0; i < r->first_available_count; i++) {
        const struct resource_v1_device_sub_request *s = &r->first_available[i];
        const struct field_path *sub = PATH_INDEX(list, i);
        require_form(errs, PATH(sub, "name"), s->name, api_check_dns_label);
        for (size_t j = 0; j < i; j++)
            if (str_eq(r->first_available[j].name, s->name)) {
                field_duplicate(errs, PATH(sub, "name"), s->name);
                break;
            }
        check_devices(errs, sub, s->device_class_name, s->allocation_mode, s->count);
    }
}

void validate_device_claim(struct field_errors *errs, const struct field_path *path,
                           const struct resource_v1_device_claim *c)
{
    const struct field_path *list = PATH(path, "requests");
    if (c->requests_count > REQUESTS_MAX)
        field_too_many(errs, list, (int64_t)c->requests_count, REQUESTS_MAX);
    for (size_t i = 0; i < c->requests_count; i++) {
        check_request(errs, PATH_INDEX(list, i), &c->requests[i]);
        for (size_t j = 0; j < i; j++)
            if (str_eq(c->requests[j].name, c->requests[i].name)) {
                field_duplicate(errs, PATH(PATH_INDEX(list, i), "name"), c->requests[i].name);
                break;
            }
    }
}

/* claim_status.c - see claim_status.h. Pure. */
#include "apiserver/kinds/claim_status.h"

#include "apiserver/kind.h"
#include "apiserver/kinds/claim_access.h"
#include "apiserver/kinds/device_claim.h"
#include "apiserver/kinds/device_rules.h"
#include "apiserver/kinds/node_selector.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "api/runtime.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

#define RESERVED_MAX 256
#define RESULTS_MAX 32
#define CONDITIONS_MAX 8
#define DATA_BYTES_MAX ((size_t)10 * 1024)
#define ADDRESSES_MAX 16
#define INTERFACE_BYTES_MAX 256
#define HARDWARE_BYTES_MAX 128

#define claim_object struct resource_v1_resource_claim
#define device_status struct resource_v1_allocated_device_status
#define device_result struct resource_v1_device_request_allocation_result

static struct str share_of(bool has, struct str id)
{
    return has ? id : STR_NULL;
}

static bool is_result(const device_result *r, const device_status *d)
{
    return str_eq(r->driver, d->driver) && str_eq(r->pool, d->pool) &&
           str_eq(r->device, d->device) &&
           str_eq(share_of(r->has_share_id, r->share_id), share_of(d->has_share_id, d->share_id));
}

static bool is_allocated(const struct resource_v1_allocation_result *a, const device_status *d)
{
    for (size_t i = 0; a != NULL && i < a->devices.results_count; i++)
        if (is_result(&a->devices.results[i], d))
            return true;
    return false;
}

/* What was said of devices that are given back is forgotten. */
void prepare_claim_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    claim_object *c = obj;
    const claim_object *o = old;
    size_t n = 0;
    c->spec = o->spec;
    device_status *kept = ARENA_ARRAY(ctx->arena, device_status, c->status.devices_count);
    for (size_t i = 0; i < c->status.devices_count; i++)
        if (is_allocated(c->status.allocation, &c->status.devices[i]) ||
            !is_allocated(o->status.allocation, &c->status.devices[i]))
            kept[n++] = c->status.devices[i];
    c->status.devices = n != 0 ? kept : NULL;
    c->status.devices_count = n;
}

/* --- users ------------------------------------------------------------------------------------ */

static bool same_user(const struct resource_v1_resource_claim_consumer_reference *x,
                      const struct resource_v1_resource_claim_consumer_reference *y)
{
    return api_msg_equal(&resource_v1_resource_claim_consumer_reference_msg, x, y);
}

static void check_users(struct field_errors *errs, const struct field_path *path,
                        const struct resource_v1_resource_claim_status *s)
{
    if (!check_device_count(errs, path, s->reserved_for_count, RESERVED_MAX))
        return;
    struct str *uids = ARENA_ARRAY(errs->arena, struct str, s->reserved_for_count);
    for (size_t i = 0; i < s->reserved_for_count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        uids[i] = s->reserved_for[i].uid;
        check_given(errs, PATH(at, "resource"), s->reserved_for[i].resource);
        check_given(errs, PATH(at, "name"), s->reserved_for[i].name);
        check_given(errs, PATH(at, "uid"), s->reserved_for[i].uid);
    }
    check_device_doubles(errs, path, uids, s->reserved_for_count);
}

static void check_reserved(struct field_errors *errs, const struct field_path *path,
                           const claim_object *c, const claim_object *old)
{
    if (c->status.reserved_for_count == 0)
        return;
    if (c->status.allocation == NULL) {
        field_forbidden(errs, path, "may not be specified when `allocated` is not set");
        return;
    }
    for (size_t i = 0; c->metadata.deletion_timestamp != NULL && i < c->status.reserved_for_count;
         i++) {
        bool was = false;
        for (size_t k = 0; k < old->status.reserved_for_count; k++)
            was = was || same_user(&c->status.reserved_for[i], &old->status.reserved_for[k]);
        if (was)
            continue;
        field_forbidden(errs, path,
                        "new entries may not be added while `deallocationRequested` or "
                        "`deletionTimestamp` are set");
        return;
    }
}

/* --- devices ------------------------------------------------------------------------------------
 */

static struct str shown_device(struct arena *a, const device_status *d)
{
    struct str share = share_of(d->has_share_id, d->share_id);
    return arena_printf(a,
                        "{\"Driver\":\"" STR_FMT "\",\"Pool\":\"" STR_FMT "\",\"Device\":\"" STR_FMT
                        "\",\"ShareID\":\"" STR_FMT "\"}",
                        STR_ARG(d->driver), STR_ARG(d->pool), STR_ARG(d->device), STR_ARG(share));
}

static void check_network(struct field_errors *errs, const struct field_path *at,
                          const struct resource_v1_network_device_data *n)
{
    const struct field_path *ips = PATH(at, "ips");
    if (n->interface_name.len > INTERFACE_BYTES_MAX)
        field_too_long(errs, PATH(at, "interfaceName"), INTERFACE_BYTES_MAX);
    if (n->hardware_address.len > HARDWARE_BYTES_MAX)
        field_too_long(errs, PATH(at, "hardwareAddress"), HARDWARE_BYTES_MAX);
    if (!check_device_count(errs, ips, n->ips_count, ADDRESSES_MAX))
        return;
    for (size_t i = 0; i < n->ips_count; i++) {
        uint8_t address[16];
        bool v4;
        unsigned prefix;
        if (!cidr_parse(n->ips[i], address, &v4, &prefix))
            field_invalid(errs, PATH_INDEX(ips, i), n->ips[i],
                          "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or "
                          "2001:db8::1/64)");
    }
    check_device_doubles(errs, ips, n->ips, n->ips_count);
}

static void check_device(struct field_errors *errs, const struct field_path *at,
                         const device_status *d, const struct resource_v1_allocation_result *a)
{
    const struct field_path *conditions = PATH(at, "conditions");
    check_csi_driver_name(errs, PATH(at, "driver"), d->driver);
    check_pool_name(errs, PATH(at, "pool"), d->pool);
    validate_form(errs, PATH(at, "device"), d->device, api_check_dns_label);
    if (d->has_share_id)
        check_share_id(errs, PATH(at, "shareID"), d->share_id);
    if (!is_allocated(a, d))
        field_invalid_raw(errs, at, shown_device(errs->arena, d),
                          "must be an allocated device in the claim");
    check_device_count(errs, conditions, d->conditions_count, CONDITIONS_MAX);
    validate_conditions(errs, conditions, d->conditions, d->conditions_count);
    if (d->data != NULL && !str_empty(d->data->raw))
        check_raw_object(errs, PATH(at, "data"), d->data, DATA_BYTES_MAX);
    if (d->network_data != NULL)
        check_network(errs, PATH(at, "networkData"), d->network_data);
}

static void check_devices(struct field_errors *errs, const struct field_path *path,
                          const struct resource_v1_resource_claim_status *s)
{
    for (size_t i = 0; i < s->devices_count; i++)
        check_device(errs, PATH_INDEX(path, i), &s->devices[i], s->allocation);
    for (size_t i = 0; i < s->devices_count; i++)
        for (size_t k = 0; k < i; k++) {
            const device_status *x = &s->devices[i];
            if (same_claim_device(x, &s->devices[k])) {
                field_duplicate_raw(errs, PATH_INDEX(path, i), shown_device(errs->arena, x));
                break;
            }
        }
}

/* --- allocation
 * ------------------------------------------------------------------------------------ */

static void check_result(struct field_errors *errs, const struct field_path *at,
                         const struct resource_v1_device_claim *c, const device_result *r)
{
    check_device_request_ref(errs, PATH(at, "request"), c, r->request);
    check_csi_driver_name(errs, PATH(at, "driver"), r->driver);
    check_pool_name(errs, PATH(at, "pool"), r->pool);
    validate_form(errs, PATH(at, "device"), r->device, api_check_dns_label);
    check_binding_conditions(errs, at, r->binding_conditions, r->binding_conditions_count,
                             r->binding_failure_conditions, r->binding_failure_conditions_count);
    if (r->has_share_id)
        check_share_id(errs, PATH(at, "shareID"), r->share_id);
}

static void check_allocation(struct field_errors *errs, const struct field_path *path,
                             const struct resource_v1_device_claim *c,
                             const struct resource_v1_allocation_result *a)
{
    static const char *const sources[] = {"FromClaim", "FromClass", NULL};
    const struct field_path *devices = PATH(path, "devices"), *results = PATH(devices, "results"),
                            *config = PATH(devices, "config");
    if (check_device_count(errs, results, a->devices.results_count, RESULTS_MAX))
        for (size_t i = 0; i < a->devices.results_count; i++)
            check_result(errs, PATH_INDEX(results, i), c, &a->devices.results[i]);
    if (check_device_count(errs, config, a->devices.config_count, 2 * (size_t)DEVICE_CONFIG_MAX))
        for (size_t i = 0; i < a->devices.config_count; i++) {
            const struct resource_v1_device_allocation_configuration *x = &a->devices.config[i];
            const struct field_path *at = PATH_INDEX(config, i);
            require_listed(errs, PATH(at, "source"), x->source, sources);
            check_device_request_refs(errs, PATH(at, "requests"), c, x->requests,
                                      x->requests_count);
            check_device_configuration(errs, at, &x->device_configuration);
        }
    if (a->node_selector != NULL)
        validate_node_selector(errs, PATH(path, "nodeSelector"), a->node_selector);
}

/* The first device given for administration, when there was none. */
static void check_admin(const struct kind_ctx *ctx, struct field_errors *errs,
                        const struct field_path *results, const claim_object *c,
                        const claim_object *old)
{
    const struct resource_v1_allocation_result *now = c->status.allocation,
                                               *was = old->status.allocation;
    for (size_t i = 0; was != NULL && i < was->devices.results_count; i++)
        if (was->devices.results[i].has_admin_access && was->devices.results[i].admin_access)
            return;
    for (size_t i = 0; now != NULL && i < now->devices.results_count; i++)
        if (now->devices.results[i].has_admin_access && now->devices.results[i].admin_access) {
            check_admin_namespace(ctx, errs, PATH(PATH_INDEX(results, i), "adminAccess"));
            return;
        }
}

void validate_claim_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                           struct field_errors *errs)
{
    const claim_object *c = obj, *o = old;
    const struct field_path *status = PATH(PATH_ROOT, "status"),
                            *allocation = PATH(status, "allocation");
    check_admin(ctx, errs, PATH(PATH(allocation, "devices"), "results"), c, o);
    check_claim_access(ctx, errs, c, o);
    check_users(errs, PATH(status, "reservedFor"), &c->status);
    check_devices(errs, PATH(status, "devices"), &c->status);
    check_reserved(errs, PATH(status, "reservedFor"), c, o);
    if (c->status.allocation == NULL)
        return;
    if (o->status.allocation != NULL)
        validate_immutable(errs, allocation, &resource_v1_allocation_result_msg,
                           c->status.allocation, o->status.allocation);
    else
        check_allocation(errs, allocation, &c->spec.devices, c->status.allocation);
}

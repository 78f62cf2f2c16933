/* binding.c - a scheduler's decision: pods/NAME/binding and bindings.
 *
 * The decision stands or falls with the pod's revision: a pod that is bound,
 * gated or going is refused, whoever decided first. */
#include "api/core_v1.h"
#include "apiserver/body.h"
#include "apiserver/subresource.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

static const struct group_resource pods_binding = {{"", 0},
                                                   {"pods/binding", sizeof("pods/binding") - 1}};

static struct meta_v1_status *validate(struct req *r, const struct core_v1_binding *b)
{
    static const char *const kinds[] = {"Node", "<empty>", NULL};
    struct field_errors errs = {.arena = r->arena};
    const struct field_path *target = PATH(PATH_ROOT, "target");
    if (b->target.kind.len != 0 && !str_eqc(b->target.kind, "Node"))
        field_not_supported(&errs, PATH(target, "kind"), b->target.kind, kinds);
    if (b->target.name.len == 0)
        field_required(&errs, PATH(target, "name"), NULL);
    return errs.count == 0
               ? NULL
               : status_plain(r->arena, STR_FMT, STR_ARG(field_errors_text(r->arena, &errs)));
}

static void set_scheduled(struct write *w, struct core_v1_pod *pod)
{
    struct arena *a = w->req->arena;
    struct core_v1_pod_status *s = &pod->status;
    struct core_v1_pod_condition *c =
        ARENA_ARRAY(a, struct core_v1_pod_condition, s->conditions_count + 1);
    size_t at = s->conditions_count;
    for (size_t i = 0; i < s->conditions_count; i++) {
        c[i] = s->conditions[i];
        if (str_eqc(c[i].type, "PodScheduled"))
            at = i;
    }
    if (at == s->conditions_count)
        s->conditions_count++;
    if (!str_eqc(c[at].status, "True"))
        c[at].last_transition_time = (struct meta_v1_time){.seconds = w->ctx.now_ns / 1000000000};
    c[at].type = STR("PodScheduled");
    c[at].status = STR("True");
    c[at].reason = STR_NULL;
    c[at].message = STR_NULL;
    s->conditions = c;
}

static void merge_map(struct arena *a, struct api_str_entry **to, size_t *count,
                      const struct api_str_entry *from, size_t from_count)
{
    struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, *count + from_count + 1);
    size_t n = 0, i = 0, j = 0;
    while (i < *count || j < from_count) {
        int c = i >= *count ? 1 : j >= from_count ? -1 : str_cmp((*to)[i].key, from[j].key);
        if (c < 0) {
            e[n++] = (*to)[i++];
        } else {
            e[n++] = from[j++];
            i += c == 0;
        }
    }
    *to = e;
    *count = n;
}

static struct meta_v1_status *check_pod(struct write *w, const struct core_v1_pod *pod,
                                        const struct core_v1_binding *b)
{
    struct arena *a = w->req->arena;
    if (b->metadata.uid.len != 0 && !str_eq(b->metadata.uid, pod->metadata.uid))
        return status_conflict(a, pods_binding, w->name,
                               "Precondition failed: UID in precondition: " STR_FMT
                               ", UID in object meta: " STR_FMT,
                               STR_ARG(b->metadata.uid), STR_ARG(pod->metadata.uid));
    if (pod->metadata.deletion_timestamp != NULL)
        return status_conflict(a, pods_binding, w->name,
                               "pod " STR_FMT " is being deleted, cannot be assigned to a host",
                               STR_ARG(w->name));
    if (pod->spec.node_name.len != 0)
        return status_conflict(a, pods_binding, w->name,
                               "pod " STR_FMT " is already assigned to node \"" STR_FMT "\"",
                               STR_ARG(w->name), STR_ARG(pod->spec.node_name));
    if (pod->spec.scheduling_gates_count != 0)
        return status_conflict(a, pods_binding, w->name,
                               "pod " STR_FMT " has non-empty .spec.schedulingGates",
                               STR_ARG(w->name));
    return NULL;
}

static struct meta_v1_status *attempt(struct write *w)
{
    struct req *r = w->req;
    struct core_v1_binding *b = arena_memdup(r->arena, w->arg, sizeof(*b));
    const struct kv *kv;
    void *old;
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL)
        return status_not_found(r->arena, w->res->gr, w->name);
    s = write_admit(w, ADMIT_CREATE, "binding", api_kind_by_gvk(STR(""), STR("v1"), STR("Binding")),
                    b, NULL);
    if (s == NULL)
        s = check_pod(w, old, b);
    if (s != NULL)
        return s;
    struct core_v1_pod *pod = api_msg_clone(r->arena, w->res->storage->msg, old);
    pod->spec.node_name = b->target.name;
    merge_map(r->arena, &pod->metadata.annotations, &pod->metadata.annotations_count,
              b->metadata.annotations, b->metadata.annotations_count);
    merge_map(r->arena, &pod->metadata.labels, &pod->metadata.labels_count, b->metadata.labels,
              b->metadata.labels_count);
    set_scheduled(w, pod);
    s = write_plan_update(w, kv, old, pod, "binding");
    w->success = status_new(r->arena, 201, "", STR_NULL);
    w->success->status = STR("Success");
    return s;
}

void binding_handle(struct req *r)
{
    void *msg;
    struct meta_v1_status *s = body_check_options(r, "CreateOptions");
    if (s == NULL)
        s = body_decode(r, api_kind_by_gvk(STR(""), STR("v1"), STR("Binding")), &msg);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    struct core_v1_binding *b = msg;
    struct str name = r->sub != NULL ? r->info.name : b->metadata.name;
    if (b->metadata.namespace.len != 0 && !str_eq(b->metadata.namespace, r->info.ns))
        s = status_bad_request(r->arena, "the namespace of the provided object does not match the "
                                         "namespace sent on the request");
    else if (r->sub != NULL && b->metadata.name.len != 0 && !str_eq(b->metadata.name, name))
        s = status_bad_request(r->arena, "name in URL does not match name in Binding object");
    else
        s = validate(r, b);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    struct write *w =
        write_new_for(r, registry_storage(STR(""), STR("pods")), r->info.ns, name, attempt);
    w->arg = b;
    w->fields = WRITE_FIELDS_KEEP; /* A decision about the pod, not a wish of its owner. */
    write_run(w);
}

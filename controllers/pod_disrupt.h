/* pod_disrupt.h - deletes a pod for a reason that its condition DisruptionTarget tells first. */
#ifndef CONTROLLERS_POD_DISRUPT_H
#define CONTROLLERS_POD_DISRUPT_H

struct api_object;
struct reconcile;

void pod_disrupt(struct reconcile *c, const struct api_object *pod, const char *reason,
                 const char *message);

#endif

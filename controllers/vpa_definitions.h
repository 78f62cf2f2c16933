/* vpa_definitions.h - the definitions of VerticalPodAutoscaler and its checkpoints, as the
 * autoscaler project has them; made where none is there, and never changed. */
#ifndef CONTROLLERS_VPA_DEFINITIONS_H
#define CONTROLLERS_VPA_DEFINITIONS_H

struct vpa_definition {
    const char *name;
    const char *json; /* A CustomResourceDefinition of apiextensions.k8s.io/v1. */
};
#define VPA_DEFINITIONS 2
extern const struct vpa_definition vpa_definitions[VPA_DEFINITIONS];

#endif

/* device_names.h - names that objects have for extended resources which are devices (KEP-5004). */
#ifndef API_DEVICE_NAMES_H
#define API_DEVICE_NAMES_H

/* "true" on a ResourceClaim that the scheduler has made for what a pod asks for by such names. */
#define EXTENDED_CLAIM_ANNOTATION "resource.kubernetes.io/extended-resource-claim"
/* And the DeviceClass: a resource that every class has, whatever it says of itself. */
#define DEVICE_CLASS_RESOURCE_PREFIX "deviceclass.resource.kubernetes.io/"

#endif

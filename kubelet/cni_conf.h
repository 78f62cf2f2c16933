/* cni_conf.h - the default network of a node: a bridge with host-local
 * addresses out of the node's pod CIDR, and portmap for host ports. */
#ifndef KUBELET_CNI_CONF_H
#define KUBELET_CNI_CONF_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct buf;

/* The text of the network configuration list; data_dir: where host-local keeps
 * the addresses it gave out, for this node alone. masquerade: the plugin is to do it, for
 * want of masquerade.h. Pure. */
void cni_conf_text(const struct str *pod_cidrs, size_t count, const char *data_dir, bool masquerade,
                   struct buf *out);
/* Writes it into dir unless it is there already, or another configuration is:
 * a network plugin of the user's own is never overridden. ret_ours: it stands, alone. Blocking. */
int cni_conf_write(const char *dir, struct str text, bool *ret_written, bool *ret_ours,
                   struct error *err);

#endif

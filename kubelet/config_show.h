/* config_show.h - the configuration that holds, for /configz: flags, the file below them, defaults,
 * as a KubeletConfiguration. */
#ifndef KUBELET_CONFIG_SHOW_H
#define KUBELET_CONFIG_SHOW_H

struct buf;
struct flag_set;

/* Appends {"kubeletconfig": {...}}, the form in which upstream tells it: each field that is a flag,
 * or that says what is done anyway; what --config would have to say for the same. Read again by
 * kubelet_config_read(), within apiVersion and kind, it leads to the same. */
void kubelet_config_show(const struct flag_set *f, struct buf *b);

#endif

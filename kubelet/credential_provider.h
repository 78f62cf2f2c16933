/* credential_provider.h - programs that know credentials of registries
 * (--image-credential-provider-config).
 *
 * A CredentialProviderConfig lists them; each gets a CredentialProviderRequest of
 * credentialprovider.kubelet.k8s.io/v1 on standard input and answers with a
 * CredentialProviderResponse, kept for the time that it says. Loop-confined. Providers that fail
 * are logged and passed over. */
#ifndef KUBELET_CREDENTIAL_PROVIDER_H
#define KUBELET_CREDENTIAL_PROVIDER_H

#include "kubelet/pull_secrets.h"

struct credential_providers;
struct error;
struct uv_loop_s;

/* E_INVALID names the file, the provider and the field. Blocking, once at start. */
int credential_providers_load(struct uv_loop_s *loop, const char *config_file, const char *bin_dir,
                              struct credential_providers **ret, struct error *err);

/* Adds to list, in a, what the providers have for the image; done runs once, later or, where none
 * has to be asked, within the call. p may be NULL. */
void credential_providers_ask(struct credential_providers *p, struct arena *a, struct str image,
                              struct pull_auth_list *list, void (*done)(void *arg), void *arg);

#endif

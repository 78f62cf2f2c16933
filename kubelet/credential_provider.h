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
struct credential_question;
struct error;
struct uv_loop_s;

/* E_INVALID names the file, the provider and the field. Blocking, once at start. */
int credential_providers_load(struct uv_loop_s *loop, const char *config_file, const char *bin_dir,
                              struct credential_providers **ret, struct error *err);

/* Every question must have ended. NULL is a no-op. */
void credential_providers_free(struct credential_providers *p);

/* Adds to list, in a, what the providers have for the image, whose name they are told without tag
 * and digest. NULL: none has to be asked, list is complete, done never runs. Else done runs once,
 * later, and the handle lives until then. A provider has four processes at most; who asks what one
 * of them is being asked shares its answer. p may be NULL. */
struct credential_question *credential_providers_ask(struct credential_providers *p,
                                                     struct arena *a, struct str image,
                                                     struct pull_auth_list *list,
                                                     void (*done)(void *arg), void *arg);
/* done never runs; a process that nobody else waits for is killed. */
void credential_question_cancel(struct credential_question *q);

#endif

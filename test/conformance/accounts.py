#!/usr/bin/python3
"""Names a Secret in every namespace's default account, for tests of a time when each had one.

usage: accounts.py KUBECONFIG
"""
import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
while True:
    for event in watch.Watch().stream(core.list_service_account_for_all_namespaces, timeout_seconds=600):
        account = event["object"]
        if event["type"] != "ADDED" or account.metadata.name != "default" or account.secrets:
            continue
        try:
            core.patch_namespaced_service_account("default", account.metadata.namespace, {"secrets": [{"name": "none"}]})
        except ApiException as e:
            if e.status not in (404, 409):  # Its namespace may be going.
                raise

#!/usr/bin/python3
"""Asks the node agent's pod resources API, with stubs made at run time from proto/.

usage: pod_resources.py SOCKET FOLDER list|allocatable|get NAMESPACE NAME|flood COUNT

Prints one line for each thing: "NAMESPACE/POD CONTAINER RESOURCE ID NUMA_NODES", of claims
"NAMESPACE/POD CONTAINER claim NAME DRIVER POOL DEVICE CDI", of processors "... cpus 0,1". flood makes
COUNT calls as fast as it can and prints how many were let through and how many were not.
"""
import importlib
import os
import subprocess
import sys

import grpc
from google.protobuf import message_factory

PROTO = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "proto")
SERVICE = "/v1.PodResourcesLister/"


def messages(folder):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["protoc", "-I", PROTO, "--python_out=" + folder, "csi/podresources_v1.proto"], check=True)
    sys.path.insert(0, folder)
    module = importlib.import_module("csi.podresources_v1_pb2")
    make = message_factory.MessageFactory().GetPrototype
    return {name: make(d) for name, d in module.DESCRIPTOR.message_types_by_name.items()}


def nodes(topology):
    return ",".join(str(n.ID) for n in topology.nodes)


def say_container(where, c):
    for d in c.devices:
        for i in d.device_ids:
            print(where, d.resource_name, i, nodes(d.topology))
    for d in c.dynamic_resources:
        for r in d.claim_resources:
            print(where, "claim", d.claim_name, r.driver_name, r.pool_name, r.device_name,
                  ",".join(x.name for x in r.cdi_devices), r.share_id)
    if c.cpu_ids:
        print(where, "cpus", ",".join(map(str, c.cpu_ids)))
    for m in c.memory:
        print(where, "memory", m.memory_type, m.size, nodes(m.topology))


def say_pod(p):
    print("%s/%s" % (p.namespace, p.name))
    for c in p.containers:
        say_container("%s/%s %s" % (p.namespace, p.name, c.name), c)


def main():
    socket, folder, what = sys.argv[1:4]
    m = messages(folder)
    channel = grpc.insecure_channel("unix://" + socket)

    def call(method, request, response):
        stub = channel.unary_unary(SERVICE + method, request_serializer=lambda x: x.SerializeToString(),
                                   response_deserializer=m[response].FromString)
        return stub(request, timeout=10)

    try:
        if what == "list":
            for p in call("List", m["ListPodResourcesRequest"](), "ListPodResourcesResponse").pod_resources:
                say_pod(p)
        elif what == "allocatable":
            say_container("allocatable", AllocatableView(
                call("GetAllocatableResources", m["AllocatableResourcesRequest"](), "AllocatableResourcesResponse")))
        elif what == "get":
            say_pod(call("Get", m["GetPodResourcesRequest"](pod_namespace=sys.argv[4], pod_name=sys.argv[5]),
                         "GetPodResourcesResponse").pod_resources)
        else:
            stub = channel.unary_unary(SERVICE + "List", request_serializer=lambda x: x.SerializeToString(),
                                       response_deserializer=m["ListPodResourcesResponse"].FromString)
            calls = [stub.future(m["ListPodResourcesRequest"](), timeout=30) for _ in range(int(sys.argv[4]))]
            refused = [c for c in calls if c.exception() is not None]
            print("some refused:", bool(refused), "some answered:", len(refused) < len(calls))
            for c in refused[:1]:
                print(c.code().name, c.details())
    except grpc.RpcError as e:
        print(e.code().name, e.details())
        sys.exit(1)


class AllocatableView:
    """The same fields as a container has."""

    def __init__(self, r):
        self.devices, self.cpu_ids, self.memory, self.dynamic_resources = r.devices, r.cpu_ids, r.memory, []


main()

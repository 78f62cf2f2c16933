#!/usr/bin/python3
"""A server of grpc.health.v1.Health that knows one service.

usage: grpc_health.py PORT SERVICE
"""
import sys
from concurrent import futures

import grpc


def check(request, context):
    """Messages by hand: a request is field 1, a string; an answer field 1, where 1 is SERVING."""
    name = request[2:].decode() if request else ""
    if name not in ("", sys.argv[2]):
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x01"


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    method = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    server.add_insecure_port("0.0.0.0:" + sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()

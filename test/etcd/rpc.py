"""A gRPC client of the etcd services, from proto/etcd, with stubs made at run time.

Calls are by name: channel.call("KV.Range", key=b"a"). Messages are built from
keyword arguments; nested messages are dicts or lists of dicts.
"""
import os
import queue
import subprocess
import sys
import threading

import grpc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = {}  # "KV" -> (full name, {method: descriptor})
MESSAGES = {}  # "RangeRequest" -> class
TIMEOUT_S = 10.0


def build_stubs(folder):
    """Runs protoc into folder and loads what it made."""
    out = os.path.join(folder, "stubs")
    os.makedirs(out, exist_ok=True)
    names = ["etcd/%s.proto" % n for n in ("auth", "kv", "rpc", "v3election", "v3lock")]
    subprocess.run(["protoc", "-I", os.path.join(ROOT, "proto"), "--python_out=" + out] + names, check=True)
    sys.path.insert(0, out)
    import importlib
    from google.protobuf import message_factory
    for name in names:
        module = importlib.import_module(name[:-6].replace("/", ".") + "_pb2")
        for message, descriptor in module.DESCRIPTOR.message_types_by_name.items():
            MESSAGES[message] = message_factory.MessageFactory().GetPrototype(descriptor)
        for service, descriptor in module.DESCRIPTOR.services_by_name.items():
            SERVICES[service] = (descriptor.full_name, descriptor.methods_by_name)


def scalar(field, value):
    if isinstance(value, str):
        if field.enum_type:
            return field.enum_type.values_by_name[value].number
        if field.type == field.TYPE_BYTES:
            return value.encode()
    return value


def fill(message, values):
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if isinstance(value, dict):
            sub = getattr(message, name)
            sub.SetInParent()
            fill(sub, value)
        elif isinstance(value, (list, tuple)):
            items = getattr(message, name)
            for item in value:
                if isinstance(item, dict):
                    fill(items.add(), item)
                else:
                    items.append(scalar(field, item))
        else:
            setattr(message, name, scalar(field, value))
    return message


def message(name, /, **values):
    return fill(MESSAGES[name](), values)


class Failure:
    """A gRPC status that is not OK."""

    def __init__(self, code, text):
        self.code, self.text = code, text

    def __str__(self):
        return "%s: %s" % (self.code, self.text)

    def __bool__(self):
        return False


def failure(error):
    return Failure(error.code().name, error.details())


class Stream:
    """A call that streams both ways. Requests go with send(), answers come with next()."""

    def __init__(self, channel, path, request_class, response_class, metadata, check):
        self.check = check
        self.requests = queue.SimpleQueue()
        self.request_class = request_class
        self.answers = queue.Queue()
        call = channel.stream_stream(path, request_serializer=request_class.SerializeToString,
                                     response_deserializer=response_class.FromString)
        self.call = call(iter(self.requests.get, None), metadata=metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for answer in self.call:
                self.answers.put(answer)
            self.answers.put(Failure("OK", ""))
        except grpc.RpcError as e:
            self.answers.put(failure(e))

    def send(self, **values):
        self.requests.put(fill(self.request_class(), values))

    def next(self, timeout=TIMEOUT_S):
        """The next answer, a Failure at the end, None when nothing came in time."""
        self.check()
        try:
            return self.answers.get(timeout=timeout)
        except queue.Empty:
            return None

    def end_requests(self):
        self.requests.put(None)

    def cancel(self):
        self.call.cancel()
        self.requests.put(None)


class Channel:
    """check is run before each call, and may raise to end a case."""

    def __init__(self, address, check=lambda: None):
        self.check = check
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)])

    def method(self, name):
        self.check()
        service, method = name.split(".")
        full, methods = SERVICES[service]
        d = methods[method]
        return "/%s/%s" % (full, method), MESSAGES[d.input_type.name], MESSAGES[d.output_type.name], d

    def call(self, name, /, metadata=(), timeout=TIMEOUT_S, **values):
        """A unary call: the response message, or a Failure."""
        path, request, response, _ = self.method(name)
        try:
            return self.channel.unary_unary(path, request_serializer=request.SerializeToString,
                                            response_deserializer=response.FromString)(
                fill(request(), values), timeout=timeout, metadata=metadata)
        except grpc.RpcError as e:
            return failure(e)

    def raw(self, path, data=b"", metadata=(), timeout=TIMEOUT_S):
        """A unary call of bytes: for methods and messages that are not in the schema."""
        try:
            return self.channel.unary_unary(path)(data, timeout=timeout, metadata=metadata)
        except grpc.RpcError as e:
            return failure(e)

    def future(self, name, /, metadata=(), timeout=TIMEOUT_S, **values):
        path, request, response, _ = self.method(name)
        return self.channel.unary_unary(path, request_serializer=request.SerializeToString,
                                        response_deserializer=response.FromString).future(
            fill(request(), values), timeout=timeout, metadata=metadata)

    def read(self, name, /, metadata=(), timeout=TIMEOUT_S, **values):
        """A call that streams answers: all of them and how it ended."""
        path, request, response, _ = self.method(name)
        answers = []
        try:
            for a in self.channel.unary_stream(path, request_serializer=request.SerializeToString,
                                               response_deserializer=response.FromString)(
                    fill(request(), values), timeout=timeout, metadata=metadata):
                answers.append(a)
        except grpc.RpcError as e:
            return answers, failure(e)
        return answers, None

    def observe(self, name, /, metadata=(), timeout=None, **values):
        """A call that streams answers, as an iterator that can be cancelled."""
        path, request, response, _ = self.method(name)
        return self.channel.unary_stream(path, request_serializer=request.SerializeToString,
                                         response_deserializer=response.FromString)(
            fill(request(), values), timeout=timeout, metadata=metadata)

    def stream(self, name, metadata=()):
        path, request, response, _ = self.method(name)
        return Stream(self.channel, path, request, response, metadata, self.check)

    def close(self):
        self.channel.close()

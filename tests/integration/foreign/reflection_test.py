# SPDX-License-Identifier: Apache-2.0
"""A client that has no .proto of ours: it asks the daemon's reflection service what there is, builds the messages from the
answer, and calls by name. Only gRPC's own standard protocols (package grpc-proto) are known to it."""
import json

import grpc
import host
import stubs
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

# Their folders are called grpc, as the module is: they are read by path.
stubs.generate("/usr/share/grpc-proto/grpc/reflection/v1alpha", "reflection.proto")
stubs.generate("/usr/share/grpc-proto/grpc/health/v1", "health.proto")
import health_pb2  # noqa: E402
import health_pb2_grpc  # noqa: E402
import reflection_pb2 as rpb  # noqa: E402
import reflection_pb2_grpc  # noqa: E402


class Reflection:
    """What grpcurl and its like do."""

    def __init__(self, channel):
        self.channel = channel
        self.stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        self.pool = descriptor_pool.DescriptorPool()
        self.known = set()

    def ask(self, **request):
        return next(self.stub.ServerReflectionInfo(iter([rpb.ServerReflectionRequest(**request)]), timeout=host.PATIENCE))

    def services(self):
        return [s.name for s in self.ask(list_services="").list_services_response.service]

    def learn(self, **request):
        for raw in self.ask(**request).file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(raw)
            if file.name in self.known:
                continue
            self.known.add(file.name)
            for needed in file.dependency:
                self.learn(file_by_filename=needed)
            self.pool.Add(file)

    def method(self, service, name):
        self.learn(file_containing_symbol=service)
        method = self.pool.FindServiceByName(service).methods_by_name[name]
        request, response = (message_factory.MessageFactory(self.pool).GetPrototype(t) for t in (method.input_type, method.output_type))
        kind = self.channel.unary_stream if method.containing_service.name and self._streams(service, name) else self.channel.unary_unary
        call = kind(f"/{service}/{name}", request_serializer=request.SerializeToString, response_deserializer=response.FromString)
        return lambda arguments: call(json_format.ParseDict(arguments, request()), timeout=host.PATIENCE)

    def _streams(self, service, name):
        proto = descriptor_pb2.ServiceDescriptorProto()
        self.pool.FindServiceByName(service).CopyToProto(proto)
        return next(m.server_streaming for m in proto.method if m.name == name)


class KnowsNothing(host.HostTest):
    def setUp(self):
        super().setUp()
        self.channel = grpc.insecure_channel("unix:" + self.address)
        self.addCleanup(self.channel.close)
        self.reflection = Reflection(self.channel)

    def call(self, name, **arguments):
        return json_format.MessageToDict(self.reflection.method("mrlease.admin.v1.Admin", name)(arguments))

    def test_finds_the_services(self):
        self.assertLessEqual({"mrlease.admin.v1.Admin", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"},
                             set(self.reflection.services()))
        health = health_pb2_grpc.HealthStub(self.channel)
        for service in ("", "mrlease.admin.v1.Admin"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=host.PATIENCE)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)

    def test_lists_freezes_and_thaws(self):
        _, lease = self.lease()
        self.assertEqual([x["id"] for x in self.call("ListLeases")["leases"]], [str(lease)])
        freeze = self.call("Freeze", file={"path": self.path}, holdMs=30000)["freeze"]
        phases = [b["phase"] for b in self.call("ListFiles")["files"][0]["breaks"]]
        self.assertEqual(phases, ["BREAK_PHASE_HOLDING"])
        self.call("Thaw", freeze=freeze)
        self.assertNotIn("breaks", self.call("ListFiles")["files"][0])

    def test_watches(self):
        stream = self.reflection.method("mrlease.admin.v1.Admin", "WatchEvents")({"types": ["lease_granted"]})
        self.assertIn("epoch", json_format.MessageToDict(next(stream)))
        _, lease = self.lease()
        self.assertEqual(json_format.MessageToDict(next(stream))["event"]["leaseGranted"]["id"], str(lease))
        stream.cancel()

    def test_its_json_is_mrleasectls(self):
        self.lease()
        mine = self.call("ListLeases")["leases"][0]
        theirs = json.loads(self.ctl("--json", "leases"))["leases"][0]
        for key in ("id", "range", "backing", "state", "guard", "session"):
            self.assertEqual(mine[key], {k: v for k, v in theirs[key].items() if v != "0"} if isinstance(mine[key], dict) else theirs[key])


if __name__ == "__main__":
    host.main()

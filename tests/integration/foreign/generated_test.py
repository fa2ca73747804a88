# SPDX-License-Identifier: Apache-2.0
"""A client in Python, made from admin.proto and nothing else: lists, watches, syncs, freezes, thaws; cancels and times out."""
import os
import queue
import threading

import grpc
import host
import stubs

stubs.generate(os.environ["PROTO"], "admin.proto")
import admin_pb2 as pb  # noqa: E402
import admin_pb2_grpc  # noqa: E402


class Generated(host.HostTest):
    def setUp(self):
        super().setUp()
        channel = grpc.insecure_channel("unix:" + self.address)
        self.addCleanup(channel.close)
        self.stub = admin_pb2_grpc.AdminStub(channel)

    def refused(self, code, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, timeout=host.PATIENCE, **options)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception.details()

    def holding(self):
        files = self.stub.ListFiles(pb.ListFilesRequest(), timeout=host.PATIENCE).files
        return [b.id for f in files for b in f.breaks if b.phase == pb.BREAK_PHASE_HOLDING]

    def test_lists(self):
        leases = [self.lease(self.make_file(f"f{i}"))[1] for i in range(5)]
        seen, request = [], pb.ListLeasesRequest(page_size=2)
        while True:
            page = self.stub.ListLeases(request, timeout=host.PATIENCE)
            self.assertLessEqual(len(page.leases), 2)
            self.assertEqual(page.total, 5)
            seen += [lease.id for lease in page.leases]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        self.assertEqual(seen, leases)
        one = self.stub.GetLease(pb.GetLeaseRequest(id=leases[2]), timeout=host.PATIENCE)
        self.assertEqual((one.file.path, one.backing, one.client.uid), (self.directory + "/f2", pb.BACKING_BOUNCE, host.NOBODY))
        self.refused(grpc.StatusCode.NOT_FOUND, self.stub.GetLease, pb.GetLeaseRequest(id=4711))
        self.assertTrue(self.refused(grpc.StatusCode.INVALID_ARGUMENT, self.stub.ListLeases, pb.ListLeasesRequest(page_size=1001)).startswith("page_size"))

    def test_watches(self):
        events = queue.Queue()
        stream = self.stub.WatchEvents(pb.WatchEventsRequest())

        def read():
            try:
                for response in stream:
                    events.put(response)
            except grpc.RpcError as e:
                events.put(e.code())
        threading.Thread(target=read, daemon=True).start()
        self.assertFalse(events.get(timeout=host.PATIENCE).HasField("event"))  # the head: it listens
        client, lease = self.lease()
        names = []
        while "lease_granted" not in names:
            names.append(events.get(timeout=host.PATIENCE).event.WhichOneof("what"))
        client.stop()
        while not {"session_ended", "lease_ended"} <= set(names):
            names.append(events.get(timeout=host.PATIENCE).event.WhichOneof("what"))
        self.assertIn("session_begun", names)
        self.assertGreater(lease, 0)
        stream.cancel()
        self.assertEqual(events.get(timeout=host.PATIENCE), grpc.StatusCode.CANCELLED)

    def test_syncs_freezes_and_thaws(self):
        client, _ = self.lease()
        file = pb.FileId(path=self.path)
        frozen = self.stub.Freeze(pb.FreezeRequest(file=file, hold_ms=30000), timeout=host.PATIENCE)
        self.assertEqual((frozen.leases, self.holding()), (1, [frozen.freeze]))
        client.say("write 0 NEW")
        client.out.wait("written")
        with open(self.path, "rb") as f:
            self.assertEqual(f.read(3), b"aaa")
        thawed = self.stub.Thaw(pb.ThawRequest(freeze=frozen.freeze), timeout=host.PATIENCE)
        self.assertEqual((thawed.expired, self.holding()), (False, []))
        self.stub.Sync(pb.SyncRequest(file=file), timeout=host.PATIENCE)
        with open(self.path, "rb") as f:
            self.assertEqual(f.read(3), b"NEW")
        self.refused(grpc.StatusCode.NOT_FOUND, self.stub.Thaw, pb.ThawRequest(freeze=frozen.freeze))

    def test_a_cancelled_hold_thaws(self):
        self.lease()
        hold = self.stub.HoldFreeze(pb.FreezeRequest(file=pb.FileId(path=self.path), hold_ms=60000))
        self.assertTrue(next(hold).HasField("holds"))
        self.assertEqual(len(self.holding()), 1)
        hold.cancel()
        other = self.foreign("import os, sys; os.truncate(sys.argv[1], 0)", self.path)
        self.assertEqual(other.wait(), 0)
        self.assertEqual(self.holding(), [])

    def test_a_deadline_ends_the_waiting(self):
        self.lease()
        self.stub.Freeze(pb.FreezeRequest(file=pb.FileId(path=self.path), hold_ms=60000), timeout=host.PATIENCE)
        with self.assertRaises(grpc.RpcError) as caught:  # a frozen lease's sync waits for its thaw
            self.stub.Sync(pb.SyncRequest(file=pb.FileId(path=self.path)), timeout=0.3)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


if __name__ == "__main__":
    host.main()

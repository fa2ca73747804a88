// SPDX-License-Identifier: Apache-2.0
// The real daemon, asked through its admin socket by gRPC's own client.
#pragma once

#include <grpcpp/grpcpp.h>

#include <future>

#include "admin.grpc.pb.h"
#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

namespace adm = mrlease::admin::v1;
using std::chrono::milliseconds;

class AdminTest : public DaemonTest {
 protected:
  void serve(std::vector<std::string> options = {}) {
    start(std::move(options));
    stub = adm::Admin::NewStub(connect("unix:" + directory->path("admin.sock"), grpc::InsecureChannelCredentials()));
  }
  // Channels of one process would share a connection, and with it what another one's credentials have shown.
  static std::shared_ptr<grpc::Channel> connect(const std::string& target, std::shared_ptr<grpc::ChannelCredentials> credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(target, credentials, arguments);
  }
  static std::unique_ptr<grpc::ClientContext> until(milliseconds timeout = milliseconds(15000)) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + timeout);
    return context;
  }
  // call(&adm::Admin::Stub::GetLease, request): the answer; a call that fails is a failed test.
  template <typename Request, typename Response>
  Response call(grpc::Status (adm::Admin::Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request) {
    Response response;
    const auto status = (stub.get()->*method)(until().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_code() << ": " << status.error_message();
    return response;
  }
  template <typename Request, typename Response>
  grpc::Status failure(grpc::Status (adm::Admin::Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request,
                       milliseconds timeout = milliseconds(15000)) {
    Response response;
    return (stub.get()->*method)(until(timeout).get(), request, &response);
  }
  template <typename Request, typename Response>
  std::future<std::pair<grpc::Status, Response>> later(grpc::Status (adm::Admin::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                                       Request request, milliseconds timeout = milliseconds(15000)) {
    return std::async(std::launch::async, [this, method, request = std::move(request), timeout] {
      Response response;
      auto status = (stub.get()->*method)(until(timeout).get(), request, &response);
      return std::pair(status, response);
    });
  }
  std::uint64_t lease(v1::Backing backing = v1::BACKING_ODP_TRANSPARENT, std::uint64_t offset = 0, std::uint64_t length = kSize, bool share = false) {
    return client->lease(fd.get(), backing, offset, length, true, share).frame.granted().lease();
  }
  adm::FileId by_path() const {
    adm::FileId id;
    id.set_path(path);
    return id;
  }
  adm::FileId by_key() const {
    struct stat st {};
    ::fstat(fd.get(), &st);
    adm::FileId id;
    id.set_device(st.st_dev);
    id.set_inode(st.st_ino);
    return id;
  }
  template <typename Request>
  Request of_file(adm::FileId id = {}) const {
    Request request;
    *request.mutable_file() = id.path().empty() && id.inode() == 0 ? by_path() : id;
    return request;
  }
  // The client's next recall, which must be this one; complied with.
  Message comply_with(v1::Action action) {
    Message next = client->recall();
    EXPECT_EQ(next.frame.recall().action(), action);
    client->comply(next.frame.recall());
    return next;
  }

  std::unique_ptr<adm::Admin::Stub> stub;
};

}  // namespace mrlease::test

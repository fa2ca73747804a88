// SPDX-License-Identifier: Apache-2.0
// Who may ask: root by the socket, the holder of a certificate by TCP, nobody else. Health and reflection.
#include <grpcpp/generic/generic_stub.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "tests/integration/admin/fixture.h"

namespace mrlease::test {

using Stub = adm::Admin::Stub;

class AdminAccess : public AdminTest {
 protected:
  // A certificate authority, and certificates that it has signed, by the openssl of the system.
  void openssl(const std::string& arguments) {
    ASSERT_EQ(std::system(("openssl " + arguments + " > " + directory->path("openssl.log") + " 2>&1").c_str()), 0) << arguments;
  }
  std::string file(const std::string& name) { return directory->path(name); }
  void make_ca(const std::string& name) {
    openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=" + name + " -keyout " + file(name + ".key") +
            " -out " + file(name + ".crt"));
  }
  void make_certificate(const std::string& name, const std::string& ca) {
    std::ofstream(file("san")) << "subjectAltName=IP:127.0.0.1,DNS:localhost\n";
    openssl("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + name + " -keyout " + file(name + ".key") + " -out " +
            file(name + ".csr"));
    openssl("x509 -req -days 2 -in " + file(name + ".csr") + " -CA " + file(ca + ".crt") + " -CAkey " + file(ca + ".key") +
            " -CAcreateserial -extfile " + file("san") + " -out " + file(name + ".crt"));
  }
  static std::string slurp(const std::string& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  // name "": no certificate of the client's own.
  std::shared_ptr<grpc::ChannelCredentials> credentials(const std::string& name, const std::string& ca) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = slurp(file(ca + ".crt"));
    if (!name.empty()) {
      options.pem_private_key = slurp(file(name + ".key"));
      options.pem_cert_chain = slurp(file(name + ".crt"));
    }
    return grpc::SslCredentials(options);
  }
  void serve_tls() {
    make_ca("ca");
    make_ca("stranger");
    make_certificate("server", "ca");
    make_certificate("alice", "ca");
    make_certificate("mallory", "stranger");
    serve({"--admin-listen", "127.0.0.1:0", "--admin-tls-cert", file("server.crt"), "--admin-tls-key", file("server.key"), "--admin-tls-client-ca",
           file("ca.crt")});
    std::smatch match;
    EXPECT_TRUE(daemon->says("mutual TLS"));
    const std::string log = daemon->log();
    ASSERT_TRUE(std::regex_search(log, match, std::regex("admin: serving (127\\.0\\.0\\.1:[0-9]+) \\(mutual TLS\\)"))) << log;
    address = match[1];
  }
  grpc::Status ask(std::shared_ptr<grpc::ChannelCredentials> with) {
    auto remote = adm::Admin::NewStub(connect(address, with));
    adm::ListLeasesResponse response;
    return remote->ListLeases(until(milliseconds(5000)).get(), adm::ListLeasesRequest(), &response);
  }
  std::string address;
};

TEST_F(AdminAccess, TheSocketIsRootsAlone) {
  serve();
  struct stat st {};
  ASSERT_EQ(::stat(directory->path("admin.sock").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(st.st_uid, 0u);
  Child nobody([p = directory->path("admin.sock")] {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strcpy(to.sun_path, p.c_str());
    const int s = ::socket(AF_UNIX, SOCK_STREAM, 0);
    return ::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
  });
  EXPECT_EQ(nobody.wait(), EACCES);
  daemon->stop(SIGTERM);
  EXPECT_NE(::access(directory->path("admin.sock").c_str(), F_OK), 0);
  daemon.reset();
}

TEST_F(AdminAccess, NoSocketWhereNoneIsWanted) {
  start({"--admin-socket", "none"});
  EXPECT_NE(::access(directory->path("admin.sock").c_str(), F_OK), 0);
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
}

TEST_F(AdminAccess, ACertificateOfTheRightAuthorityAndNoOther) {
  serve_tls();
  EXPECT_TRUE(ask(credentials("alice", "ca")).ok()) << ask(credentials("alice", "ca")).error_message();
  EXPECT_EQ(ask(credentials("", "ca")).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ask(credentials("mallory", "ca")).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ask(grpc::InsecureChannelCredentials()).error_code(), grpc::StatusCode::UNAVAILABLE);
  // And the daemon has shown a certificate itself.
  EXPECT_EQ(ask(credentials("alice", "stranger")).error_code(), grpc::StatusCode::UNAVAILABLE);
  // Who it was is in the audit log.
  auto remote = adm::Admin::NewStub(connect(address, credentials("alice", "ca")));
  adm::SyncResponse response;
  EXPECT_TRUE(remote->Sync(until().get(), of_file<adm::SyncRequest>(), &response).ok());
  EXPECT_TRUE(daemon->says("sync by the administrator alice")) << daemon->log();
}

TEST_F(AdminAccess, ARenewedCertificateIsTakenOver) {
  serve_tls();
  EXPECT_TRUE(ask(credentials("alice", "ca")).ok());
  // Another authority for both sides, under the same names.
  make_ca("ca2");
  make_certificate("server2", "ca2");
  make_certificate("bob", "ca2");
  EXPECT_FALSE(ask(credentials("bob", "ca2")).ok());
  ASSERT_EQ(::rename(file("server2.crt").c_str(), file("server.crt").c_str()), 0);
  ASSERT_EQ(::rename(file("server2.key").c_str(), file("server.key").c_str()), 0);
  ASSERT_EQ(::rename(file("ca.crt").c_str(), file("old.crt").c_str()), 0);
  ASSERT_EQ(std::system(("cp " + file("ca2.crt") + " " + file("ca.crt")).c_str()), 0);
  // There is no event for it on our side: asked again until it is so, or the test's time is over.
  grpc::Status status;
  for (const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20); std::chrono::steady_clock::now() < deadline;)
    if ((status = ask(credentials("bob", "ca2"))).ok()) break;
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(ask(credentials("alice", "old")).ok());
  EXPECT_FALSE(ask(credentials("alice", "ca2")).ok());
}

TEST_F(AdminAccess, TcpWithoutCertificatesIsRefused) {
  const std::string bare = refused({"--admin-listen", "127.0.0.1:0"});
  EXPECT_NE(bare.find("admin-listen wants admin-tls-cert"), std::string::npos) << bare;
  const std::string unread = refused({"--admin-listen", "127.0.0.1:0", "--admin-tls-cert", "/nonexistent", "--admin-tls-key", "/nonexistent",
                                      "--admin-tls-client-ca", "/nonexistent"});
  EXPECT_NE(unread.find("--admin-tls-cert /nonexistent cannot be read"), std::string::npos) << unread;
  const std::string useless = refused({"--admin-tls-cert", "/etc/hostname"});
  EXPECT_NE(useless.find("of no use without admin-listen"), std::string::npos) << useless;
  const std::string address_wrong = refused({"--metrics-listen", "9464"});
  EXPECT_NE(address_wrong.find("is not allowed: HOST:PORT"), std::string::npos) << address_wrong;
}

TEST_F(AdminAccess, ASocketThatIsTakenIsLeftAlone) {
  serve();
  const TestDirectory second;
  try {
    DaemonProcess thief(second, {"--admin-socket", directory->path("admin.sock")});
    ADD_FAILURE() << "it started";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("another mrleased serves " + directory->path("admin.sock")), std::string::npos) << e.what();
  }
  call(&Stub::ListLeases, adm::ListLeasesRequest());
}

// What grpc.health.v1 and reflection say, without their .proto: both are asked by hand, as bytes.
std::string raw_call(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  grpc::Slice slice(request);
  grpc::ByteBuffer in(&slice, 1), out;
  std::promise<grpc::Status> answered;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &in, &out, [&](grpc::Status status) { answered.set_value(std::move(status)); });
  const auto status = answered.get_future().get();
  if (!status.ok()) return "status " + std::to_string(status.error_code());
  std::vector<grpc::Slice> parts;
  std::string text;
  if (out.Dump(&parts).ok())
    for (const auto& part : parts) text.append(reinterpret_cast<const char*>(part.begin()), part.size());
  return text;
}

TEST_F(AdminAccess, HealthIsServedWhileTheGuardWorks) {
  serve();
  const auto channel = connect("unix:" + directory->path("admin.sock"), grpc::InsecureChannelCredentials());
  // HealthCheckResponse { status = 1 (SERVING) } and HealthCheckRequest { service }.
  EXPECT_EQ(raw_call(channel, "/grpc.health.v1.Health/Check", ""), std::string("\x08\x01"));
  EXPECT_EQ(raw_call(channel, "/grpc.health.v1.Health/Check", "\x0a\x16mrlease.admin.v1.Admin"), std::string("\x08\x01"));
  EXPECT_EQ(raw_call(channel, "/grpc.health.v1.Health/Check", "\x0a\x04none"), "status 5");
}

TEST_F(AdminAccess, HealthIsRefusedWhereTheGuardRecallsNobody) {
  serve({"--break-something"});
  const auto channel = connect("unix:" + directory->path("admin.sock"), grpc::InsecureChannelCredentials());
  EXPECT_EQ(raw_call(channel, "/grpc.health.v1.Health/Check", ""), std::string("\x08\x02"));
}

}  // namespace mrlease::test

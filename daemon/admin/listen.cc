// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/listen.h"

#include <fcntl.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "daemon/sys/fail.h"
#include "daemon/sys/fd.h"
#include "daemon/sys/unix_socket.h"

namespace mrlease::admin {

namespace {

// A certificate that was renewed is taken over so soon.
constexpr unsigned kRefreshSeconds = 1;

void must_be_readable(const std::string& option, const std::string& path) {
  const sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) sys::fail(errno, "--" + option + " " + path + " cannot be read");
}

}  // namespace

bool prepare_socket(const std::string& path) {
  if (path.empty() || path == "none") return false;
  if (path[0] != '/') sys::fail(EINVAL, "--admin-socket must be an absolute path: " + path);
  const auto address = sys::unix_address(path);
  if (!address) sys::fail(ENAMETOOLONG, "the admin socket's path is longer than 107 bytes: " + path);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (!std::filesystem::exists(path)) return true;
  if (!std::filesystem::is_socket(path)) sys::fail(EEXIST, path + " exists and is not a socket; choose another with --admin-socket");
  if (sys::connect_to(*address, SOCK_STREAM))
    sys::fail(EADDRINUSE, "another mrleased serves " + path + "; stop it, or choose another with --admin-socket");
  ::unlink(path.c_str());
  return true;
}

std::shared_ptr<grpc::ServerCredentials> tls_credentials(const Options& o) {
  if (o.tls_cert.empty() || o.tls_key.empty() || o.tls_client_ca.empty())
    sys::fail(EINVAL, "--admin-listen needs --admin-tls-cert, --admin-tls-key and --admin-tls-client-ca: administrators are told "
                 "from others by their certificates, so TCP is not served without");
  must_be_readable("admin-tls-cert", o.tls_cert);
  must_be_readable("admin-tls-key", o.tls_key);
  must_be_readable("admin-tls-client-ca", o.tls_client_ca);
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(o.tls_key, o.tls_cert, o.tls_client_ca, kRefreshSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

void check_address(const std::string& option, const std::string& address) {
  const auto colon = address.rfind(':');
  unsigned port = 0;
  const char* end = address.data() + address.size();
  const bool bare_v6 = address.find(':') != colon && address.front() != '[';
  if (colon == std::string::npos || colon == 0 || bare_v6 || std::from_chars(address.data() + colon + 1, end, port).ptr != end || port > 65535 ||
      colon + 1 == address.size())
    sys::fail(EINVAL, "--" + option + " must be HOST:PORT (an IPv6 address in brackets): " + address);
}

}  // namespace mrlease::admin

// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/client.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "daemon/sys/unix_socket.h"

namespace mrlease::ctl {
namespace {

bool is_path(const std::string& address) { return address.find('/') != std::string::npos; }

Failed unreachable(const std::string& address, const std::string& why) {
  return {kNoDaemon, "cannot connect to " + address + ": " + why};
}

// gRPC tells little of why it cannot connect.
void try_path(const std::string& path) {
  const auto address = sys::unix_address(path);
  if (!address) throw Failed{kUsage, "the socket's path is longer than 107 bytes: " + path};
  if (sys::connect_to(*address, SOCK_STREAM)) return;
  const int error = errno;
  if (error == EACCES || error == EPERM) throw unreachable(path, "permission denied: run this as root (sudo mrleasectl ...)");
  if (error == ENOENT || error == ECONNREFUSED)
    throw unreachable(path, "is mrleased running? systemctl status mrleased");
  throw unreachable(path, std::strerror(error));
}

std::string content(const std::string& option, const std::string& path) {
  if (path.empty()) return {};
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in.is_open() || in.bad()) throw Failed{kUsage, option + ": cannot read " + path + ": " + std::strerror(errno)};
  return text.str();
}

std::shared_ptr<grpc::ChannelCredentials> credentials(const Target& target) {
  if (is_path(target.address)) return grpc::InsecureChannelCredentials();
  if (target.certificate.empty() || target.key.empty() || target.ca.empty())
    throw Failed{kUsage, "a daemon over TCP wants certificates: --ca FILE --certificate FILE --key FILE"};
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = content("--ca", target.ca);
  options.pem_cert_chain = content("--certificate", target.certificate);
  options.pem_private_key = content("--key", target.key);
  return grpc::SslCredentials(options);
}

}  // namespace

Client::Client(Target target) : target_(std::move(target)) {
  if (is_path(target_.address)) try_path(target_.address);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // pages are bounded by the daemon
  if (is_path(target_.address)) arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  const std::string address = (is_path(target_.address) ? "unix:" : "") + target_.address;
  stub_ = v1::Admin::NewStub(grpc::CreateCustomChannel(address, credentials(target_), arguments));
}

std::unique_ptr<grpc::ClientContext> Client::context(std::chrono::milliseconds without_timeout) const {
  auto c = std::make_unique<grpc::ClientContext>();
  c->set_deadline(std::chrono::system_clock::now() + target_.timeout.value_or(without_timeout));
  return c;
}

std::unique_ptr<grpc::ClientContext> Client::unbounded() const {
  auto c = std::make_unique<grpc::ClientContext>();
  if (target_.timeout) c->set_deadline(std::chrono::system_clock::now() + *target_.timeout);
  return c;
}

Failed Client::failure(const grpc::Status& status) const {
  const std::string& text = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT: return {kUsage, text};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {kDeadline, "no answer in time (" + text + "); --timeout gives more. If the daemon is wedged and holds up others: mrleasectl disarm"};
    case grpc::StatusCode::UNAVAILABLE:
      return unreachable(target_.address, text + "; is mrleased running? systemctl status mrleased");
    case grpc::StatusCode::UNIMPLEMENTED: return {kRefused, "the daemon does not know this call; it is older than mrleasectl"};
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED: return {kRefused, "not allowed: " + text};
    default: return {kRefused, text.empty() ? "the call failed with gRPC code " + std::to_string(status.error_code()) : text};
  }
}

}  // namespace mrlease::ctl

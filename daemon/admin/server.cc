// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <prometheus/exposer.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "daemon/admin/listen.h"
#include "daemon/sys/fail.h"

namespace mrlease::admin {

namespace {

// Lists of leases and files are paged; nothing larger is sent to us.
constexpr int kRequestBytesMax = 1 << 20;

}  // namespace

Server::Server(asio::io_context& loop, session::Broker& broker, const Options& options, Configuration configuration,
               std::vector<std::string> roots, Drains* drains, Log log, bool in_any_case)
    : view_(broker),
      log_(std::move(log)),
      events_(office_, options.events_max),
      audit_(std::make_unique<Audit>(make_audit_sink(log_))),
      service_({loop, view_, office_, events_, metrics_, std::move(configuration), std::move(roots), drains}) {
  events_.consume([this](const session::Happening& h) { metrics_.see(h); });
  events_.consume([this](const session::Happening& h) { audit_->see(h); });
  metrics_.found(view_.chronicle());  // what was taken over from a predecessor
  view_.chronicle().tell([this](session::Chronicle::Batch batch) { events_.push(std::move(batch)); });
  for (const auto part : {&Server::listen, &Server::expose}) {
    try {
      (this->*part)(options);
    } catch (const std::system_error& e) {
      if (!in_any_case) throw;
      log_(3, std::string(e.what()) + "; goes on without it: restart mrleased when that is mended");
    }
  }
}

Server::~Server() { stop(); }

void Server::listen(const Options& options) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kRequestBytesMax);
  // A caller whose host is gone is found, and its freeze thawed, before its hold has passed.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a port that is taken is a mistake, not something to be shared
  builder.RegisterService(&service_);
  const bool local = prepare_socket(options.socket);
  int port = 0;
  if (local) builder.AddListeningPort("unix:" + options.socket, grpc::InsecureServerCredentials());
  if (!options.listen.empty()) {
    check_address("admin-listen", options.listen);
    builder.AddListeningPort(options.listen, tls_credentials(options), &port);
  } else if (!options.tls_cert.empty() || !options.tls_key.empty() || !options.tls_client_ca.empty()) {
    sys::fail(EINVAL, "--admin-tls-cert, --admin-tls-key and --admin-tls-client-ca are of no use without --admin-listen");
  }
  if (!local && options.listen.empty()) return;
  // The socket is root's alone from its first moment.
  const mode_t before = ::umask(0177);
  server_ = builder.BuildAndStart();
  ::umask(before);
  if (!server_) sys::fail(EADDRNOTAVAIL, "the admin service cannot listen on " + (options.listen.empty() ? options.socket : options.listen));
  if (local) socket_ = options.socket;
  auto* health = server_->GetHealthCheckService();
  health->SetServingStatus(options.healthy);
  health->SetServingStatus("mrlease.admin.v1.Admin", options.healthy);
  if (local) log_(1, "admin: serving " + options.socket);
  if (port != 0) log_(1, "admin: serving " + options.listen.substr(0, options.listen.rfind(':')) + ":" + std::to_string(port) + " (mutual TLS)");
}

void Server::expose(const Options& options) {
  if (options.metrics_listen.empty()) return;
  check_address("metrics-listen", options.metrics_listen);
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(options.metrics_listen, 2);
  } catch (const std::exception& e) {
    sys::fail(EADDRNOTAVAIL, "--metrics-listen " + options.metrics_listen + ": " + e.what());
  }
  exposer_->RegisterCollectable(metrics_.registry());
  log_(1, "metrics: serving http://" + options.metrics_listen.substr(0, options.metrics_listen.rfind(':')) + ":" +
              std::to_string(exposer_->GetListeningPorts().front()) + "/metrics");
}

void Server::guard_gone() {
  if (server_) server_->GetHealthCheckService()->SetServingStatus(false);  // of every name
}

void Server::stop() {
  guard_gone();
  service_.stop();
  view_.chronicle().flush();
  view_.chronicle().tell({});
  office_.stop();  // and so the audit log is written, and the calls have their answers
  if (!socket_.empty()) ::unlink(std::exchange(socket_, {}).c_str());
}

}  // namespace mrlease::admin

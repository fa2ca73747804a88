// SPDX-License-Identifier: Apache-2.0
// The admin service on its sockets, the metrics' address, and what connects them with the broker.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/admin/audit.h"
#include "daemon/admin/configuration.h"
#include "daemon/admin/events.h"
#include "daemon/admin/metrics.h"
#include "daemon/admin/options.h"
#include "daemon/admin/service.h"

namespace prometheus {
class Exposer;
}

namespace mrlease::admin {

// Made and used in the loop's thread, while the loop runs or before.
class Server {
 public:
  using Log = std::function<void(int level, std::string line)>;
  // Throws std::system_error with a sentence: a socket is taken, a file is missing, an address is wrong. in_any_case: says so
  // in the log instead, and goes on without what cannot be had: leases of a predecessor do not pay for that. drains: what
  // outlives the daemon, or nullptr; it must outlive the server.
  Server(asio::io_context& loop, session::Broker& broker, const Options& options, Configuration configuration,
         std::vector<std::string> roots, Drains* drains, Log log, bool in_any_case);
  ~Server();
  // Nothing is held any more: health is NOT_SERVING. Thread-safe.
  void guard_gone();
  // Ends every call, and the audit log is complete. Then nobody is listened to any more.
  void stop();

 private:
  void listen(const Options& options);
  void expose(const Options& options);

  session::AdminView view_;
  Log log_;
  Office office_;
  Events events_;
  Metrics metrics_;
  std::unique_ptr<Audit> audit_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string socket_;  // to be removed
};

}  // namespace mrlease::admin

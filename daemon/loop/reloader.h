// SPDX-License-Identifier: Apache-2.0
// Reads the configuration again while the daemon runs: SIGHUP and the admin service's Reload both come here.
#pragma once

#include <asio.hpp>
#include <functional>
#include <string>
#include <vector>

#include "daemon/config/settings.h"

namespace mrlease::loop {

// Lives in the loop's thread.
class Reloader {
 public:
  using Log = std::function<void(int level, std::string line)>;
  using Apply = std::function<void(const config::Options&, const config::Difference&)>;
  // apply: a file without problems was read, and what may change has changed.
  Reloader(asio::io_context& loop, config::CommandLine line, config::Settings settings, Apply apply, Log log);

  struct Result {
    std::vector<std::string> problems;  // any: nothing has changed
    config::Difference difference;
  };
  // done is called in the loop. Whoever asks while one runs waits for a run of its own: the file may have changed since.
  void reload(std::function<void(const Result&)> done);
  // Likewise: what a reload would do now, and with which options (without problems); nothing changes. done is called in the loop.
  void try_out(std::function<void(const Result&, const config::Options&)> done);
  const config::Settings& settings() const { return settings_; }

 private:
  void begin();
  void loaded(config::Loaded loaded);
  void tell(const Result& result) const;

  asio::io_context& loop_;
  config::CommandLine line_;
  config::Settings settings_;
  Apply apply_;
  Log log_;
  bool running_ = false;
  // Who waits: for this run, for one after it.
  std::vector<std::function<void(const Result&)>> now_, next_;
  std::vector<std::function<void(const Result&, const config::Options&)>> trying_now_, trying_next_;
};

}  // namespace mrlease::loop

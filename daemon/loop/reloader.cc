// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/reloader.h"

#include <thread>
#include <utility>

namespace mrlease::loop {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

Reloader::Reloader(asio::io_context& loop, config::CommandLine line, config::Settings settings, Apply apply, Log log)
    : loop_(loop), line_(std::move(line)), settings_(std::move(settings)), apply_(std::move(apply)), log_(std::move(log)) {}

void Reloader::reload(std::function<void(const Result&)> done) {
  next_.push_back(std::move(done));
  if (!running_) begin();
}

void Reloader::try_out(std::function<void(const Result&, const config::Options&)> done) {
  trying_next_.push_back(std::move(done));
  if (!running_) begin();
}

void Reloader::begin() {
  running_ = true;
  now_ = std::exchange(next_, {});
  trying_now_ = std::exchange(trying_next_, {});
  // The file's file system may keep us waiting, and the loop waits for nobody.
  std::thread([this, line = line_, must_have = settings_.file] {
    asio::post(loop_, [this, result = config::load(line, must_have)]() mutable { loaded(std::move(result)); });
  }).detach();
}

void Reloader::loaded(config::Loaded loaded) {
  Result result;
  result.problems = std::move(loaded.problems);
  config::Settings would_be = settings_;
  if (loaded.settings) result.difference = config::take_over(*loaded.settings, &would_be);
  for (const auto& done : std::exchange(trying_now_, {})) done(result, would_be.options);  // before anything has changed
  if (!now_.empty()) {
    settings_ = std::move(would_be);
    if (loaded.settings) apply_(settings_.options, result.difference);
    tell(result);
  }
  running_ = false;
  for (const auto& done : std::exchange(now_, {}))
    if (done) done(result);
  if (!(next_.empty() && trying_next_.empty()) && !running_) begin();
}

void Reloader::tell(const Result& result) const {
  for (const auto& problem : result.problems) log_(3, problem);
  if (!result.problems.empty()) return log_(3, "configuration not reloaded: nothing has changed");
  const auto& [changed, needs_restart] = result.difference;
  if (!needs_restart.empty()) log_(2, "needs a restart: " + joined(needs_restart));
  log_(1, "configuration reloaded: " + (changed.empty() ? "nothing has changed" : "changed: " + joined(changed)));
}

}  // namespace mrlease::loop

// SPDX-License-Identifier: Apache-2.0
// What no single option can say of itself, and what 0 is replaced by.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

constexpr core::Time kWritebackMin = 100;  // else a file is always being synced, and who waits for that always waits

}  // namespace

core::Time kernel_lease_break_time_ms() {
  // fs.lease-break-time, Documentation/admin-guide/sysctl/fs.rst: seconds. Not by sys/own_proc.h: that opens a descriptor for good, and this is read before
  // those that a predecessor has left have their numbers (loop/office.h).
  std::ifstream in("/proc/sys/fs/lease-break-time");
  core::Time seconds = 45;
  in >> seconds;
  return seconds * 1000;
}

std::vector<Clash> nesting_clashes(const core::Terms& p, core::Time work_deadline, core::Time lease_break_time_ms) {
  const auto ms = [](core::Time t) { return std::to_string(t) + " ms"; };
  std::vector<Clash> found;
  if (p.fence_deadline >= p.recall_deadline)
    found.push_back({"fence-deadline-ms", "fence-deadline-ms (" + ms(p.fence_deadline) +
                                              ") must be shorter than recall-deadline-ms (" + ms(p.recall_deadline) + ")"});
  // The kernel lets a lease's breaker through by itself after lease-break-time (the lease guard): we must be done before.
  // A sync that nobody has asked for may be in front of the recall.
  const bool syncs = p.writeback_interval != 0;
  const core::Time bound = p.recall_deadline + 2 * p.fence_deadline + (syncs ? work_deadline : 0);
  if (bound >= lease_break_time_ms)
    found.push_back({"recall-deadline-ms", std::string("recall-deadline-ms + 2 x fence-deadline-ms") +
                                               (syncs ? " + work-deadline-ms, with a writeback-interval-ms (" : " (") + ms(bound) +
                                               ") must stay under the kernel's fs.lease-break-time (" + ms(lease_break_time_ms) +
                                               "); shorten them or raise the sysctl"});
  if (syncs && p.writeback_interval < kWritebackMin)
    found.push_back({"writeback-interval-ms", "writeback-interval-ms (" + ms(p.writeback_interval) + ") must be 0 or at least " + ms(kWritebackMin)});
  return found;
}

std::vector<Clash> tls_clashes(const admin::Options& admin) {
  std::vector<Clash> found;
  const std::pair<const char*, const std::string*> files[] = {{"admin-tls-cert", &admin.tls_cert},
                                                              {"admin-tls-key", &admin.tls_key},
                                                              {"admin-tls-client-ca", &admin.tls_client_ca}};
  for (const auto& [name, value] : files) {
    if (!admin.listen.empty() && value->empty())
      found.push_back({"admin-listen", std::string("admin-listen wants ") + name + ": over TCP there is nothing but mutual TLS"});
    if (admin.listen.empty() && !value->empty()) found.push_back({name, std::string(name) + " is of no use without admin-listen"});
  }
  return found;
}

std::vector<Clash> clashes(const Options& options) {
  auto found = nesting_clashes(options.session.policy, options.session.policy.work_deadline, kernel_lease_break_time_ms());
  const auto tls = tls_clashes(options.admin);
  found.insert(found.end(), tls.begin(), tls.end());
  return found;
}

session::Options for_session(const Options& options) {
  session::Options result = options.session;
  const std::uint64_t memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (result.bounce_bytes_max == 0) result.bounce_bytes_max = memory / 2;
  if (result.frozen_bytes_max == 0) result.frozen_bytes_max = memory / 4;
  return result;
}

admin::Options for_admin(const Options& options) {
  admin::Options result = options.admin;
  if (result.socket == "auto")
    result.socket = (std::filesystem::absolute(options.socket).parent_path() / "admin.sock").string();
  result.healthy = !options.session.break_something;
  return result;
}

}  // namespace mrlease::config

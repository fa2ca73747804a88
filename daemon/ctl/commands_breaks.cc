// SPDX-License-Identifier: Apache-2.0
// sync, freeze, thaw, revoke, drain, undrain.
#include "daemon/ctl/format.h"
#include "daemon/ctl/hold.h"
#include "daemon/ctl/program.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

using std::chrono::milliseconds;

// Sync, revoke and thaw end by the daemon's own deadlines; this is for the case that it hangs.
constexpr milliseconds kLong{300000};

std::string leases(std::uint64_t n) { return std::to_string(n) + (n == 1 ? " lease" : " leases"); }

template <typename Request>
void set_range(const std::string& text, Request* request) {
  if (text.empty()) return;
  const auto range = parse_range(text);
  if (!range) throw Failed{kUsage, "--range: '" + text + "' is not allowed: OFFSET[:LENGTH], as 4096:64K"};
  *request->mutable_range() = *range;
}

std::uint32_t duration_ms(const std::string& option, const std::string& text) {
  const auto ms = text.empty() ? std::optional<std::uint64_t>(0) : parse_duration_ms(text);
  if (!ms || *ms > UINT32_MAX || (!text.empty() && *ms == 0)) throw Failed{kUsage, option + ": '" + text + "' is not allowed: a duration, as 500ms, 30s, 2m"};
  return static_cast<std::uint32_t>(*ms);
}

int sync(Program& p, const std::string& file, const std::string& range) {
  v1::SyncRequest request;
  *request.mutable_file() = file_id(file);
  set_range(range, &request);
  const auto r = p.connect().call(&v1::Admin::Stub::Sync, request, kLong);
  p.print(r, "on the disk: " + leases(r.leases()) + ", took " + duration(seconds(r.took())) + "\n");
  return kDone;
}

struct Freeze {
  std::string file, range, hold;
  bool detach = false;
};

int freeze(Program& p, const Freeze& f) {
  v1::FreezeRequest request;
  *request.mutable_file() = file_id(f.file);
  set_range(f.range, &request);
  request.set_hold_ms(duration_ms("--hold", f.hold));
  if (p.has_command && p.command.empty()) throw Failed{kUsage, "freeze: there is no command behind --"};
  if (p.has_command && f.detach) throw Failed{kUsage, "freeze: --detach and a command exclude each other"};
  if (!f.detach) return hold_freeze(p, request);
  const auto r = p.connect().call(&v1::Admin::Stub::Freeze, request, kLong);
  p.print(r, view(r) + (r.leases() == 0 ? "" : "to end it: mrleasectl thaw " + std::to_string(r.freeze()) + "\n"));
  return kDone;
}

int thaw(Program& p, std::uint64_t id) {
  v1::ThawRequest request;
  request.set_freeze(id);
  const auto r = p.connect().call(&v1::Admin::Stub::Thaw, request, kLong);
  p.print(r, r.expired() ? "it was over before: " + r.reason() + "\n" : "thawed, took " + duration(seconds(r.took())) + "\n");
  return kDone;
}

int revoke(Program& p, std::uint64_t lease, const std::string& file) {
  if ((lease == 0) == file.empty()) throw Failed{kUsage, "revoke: a lease's number, or --file FILE for all of a file"};
  v1::RevokeRequest request;
  if (file.empty()) request.set_lease(lease);
  else *request.mutable_file() = file_id(file);
  const auto r = p.connect().call(&v1::Admin::Stub::Revoke, request, kLong);
  p.print(r, leases(r.revoked()) + " revoked, " + std::to_string(r.fenced()) + " by force, took " + duration(seconds(r.took())) + "\n");
  return kDone;
}

struct Drain {
  std::string path, within;
  bool keep = false;
};

int drain(Program& p, const Drain& d) {
  v1::DrainRequest request;
  request.set_path(absolute_path(d.path));
  request.set_timeout_ms(d.within.empty() ? 60000 : duration_ms("--within", d.within));
  request.set_keep(d.keep);
  // The daemon is to answer with what is left, before the call itself ends.
  const auto r = p.connect().call(&v1::Admin::Stub::Drain, request, milliseconds(request.timeout_ms()) + kQuestion);
  p.print(r, view(r, request.path(), p.width()));
  return r.drained() ? kDone : kDeadline;
}

int undrain(Program& p, const std::string& path) {
  v1::UndrainRequest request;
  request.set_path(absolute_path(path));
  const auto r = p.connect().call(&v1::Admin::Stub::Undrain, request);
  p.print(r, "leases are granted there again\n");
  return kDone;
}

constexpr const char* kFileHelp = "A path, or MAJOR:MINOR:INODE";
constexpr const char* kRangeHelp = "Only this part: OFFSET[:LENGTH], as 4096:64K";

void add_freeze(Program& p) {
  const auto f = std::make_shared<Freeze>();
  CLI::App* sub = p.add("freeze", "Let a file stand still: until ^C; or while a command runs (-- COMMAND ...)",
                        [&p, f] { return freeze(p, *f); }, true);
  sub->add_option("FILE", f->file, kFileHelp)->required();
  sub->add_option("--range", f->range, kRangeHelp)->type_name("RANGE");
  sub->add_option("--hold", f->hold, "The longest, as 30s or 2m; the daemon's freeze-hold-max-ms otherwise")->type_name("TIME");
  sub->add_flag("--detach", f->detach, "Return when it stands still; mrleasectl thaw ends it");
}

}  // namespace

void add_break_commands(Program& p) {
  const auto file = std::make_shared<std::string>(), range = std::make_shared<std::string>();
  CLI::App* sub = p.add("sync", "What RDMA wrote to a file is on the disk when this returns", [&p, file, range] { return sync(p, *file, *range); });
  sub->add_option("FILE", *file, kFileHelp)->required();
  sub->add_option("--range", *range, kRangeHelp)->type_name("RANGE");

  add_freeze(p);
  const auto id = std::make_shared<std::uint64_t>(0);
  p.add("thaw", "End a freeze", [&p, id] { return thaw(p, *id); })->add_option("FREEZE", *id, "Its number")->required();

  const auto lease = std::make_shared<std::uint64_t>(0);
  const auto of_file = std::make_shared<std::string>();
  CLI::App* revoking = p.add("revoke", "End leases: the clients are recalled, and fenced when they do not comply",
                             [&p, lease, of_file] { return revoke(p, *lease, *of_file); });
  revoking->add_option("LEASE", *lease, "Its number");
  revoking->add_option("--file", *of_file, "All of this file")->type_name("FILE");

  const auto d = std::make_shared<Drain>();
  CLI::App* draining = p.add("drain", "Before umount: no new leases under a directory, all that are there revoked", [&p, d] { return drain(p, *d); });
  draining->add_option("DIRECTORY", d->path, "A mount point or a directory")->required();
  draining->add_option("--within", d->within, "How long to wait, as 30s (default 60s)")->type_name("TIME");
  draining->add_flag("--keep", d->keep, "No new leases there also when it was not drained in time");
  const auto path = std::make_shared<std::string>();
  p.add("undrain", "Grant leases there again", [&p, path] { return undrain(p, *path); })->add_option("DIRECTORY", *path, "As it was drained")->required();
}

}  // namespace mrlease::ctl

// SPDX-License-Identifier: Apache-2.0
// Leases and files, listed.
#include "daemon/admin/service.h"

#include <algorithm>

#include "daemon/admin/words.h"
#include "daemon/sys/mounts.h"

namespace mrlease::admin {

namespace {

// Leases that are looked at before others get a turn in the loop: a held truncate must not wait for a list.
constexpr std::size_t kSlice = 500;

}  // namespace

struct Service::Scan {
  LeaseQuery query;
  std::optional<core::FileKey> file;
  v1::ListLeasesResponse* response;
  core::LeaseId at = 0;
  core::LeaseId last = 0;  // on the page
  std::uint64_t total = 0;
  bool more = false;
};

namespace {

template <typename T, typename List>
bool one_of(const T& value, const List& list) {
  return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}

bool fits(const LeaseQuery& q, const std::optional<core::FileKey>& file, const session::LeaseNote& note, const session::AdminView& view) {
  if (file && note.file.key != *file) return false;
  if (q.file.device && note.file.key.device != *q.file.device) return false;
  if (q.uid && note.client->uid != *q.uid) return false;
  if (q.pid && note.client->pid != *q.pid) return false;
  if (!one_of(static_cast<int>(to_proto(note.backing)), q.filter.backings())) return false;
  return q.filter.states().empty() || one_of(static_cast<int>(to_proto(view.state(note))), q.filter.states());
}

}  // namespace

Service::Unary* Service::ListLeases(Context* context, const v1::ListLeasesRequest* request, v1::ListLeasesResponse* response) {
  auto job = std::make_shared<Scan>();
  job->response = response;
  return begin(context, check(*request, &job->query), [this, job](const CallPtr& call) {
    if (job->query.file.path.empty()) {
      job->file = job->query.file.key;
      return scan(call, job);
    }
    resolver_.resolve(call, "filter.file", job->query.file, Wants::Key, [this, call, job](Target target) {
      job->file = target.key;
      scan(call, job);
    });
  });
}

void Service::scan(const CallPtr& call, std::shared_ptr<Scan> job) {
  if (call->over()) return;
  std::size_t looked = 0;
  bool end = true;
  p_.view.visit_leases(job->at, [&](const session::LeaseNote& note) {
    if (looked++ == kSlice) return end = false;
    job->at = note.id;
    if (!fits(job->query, job->file, note, p_.view)) return true;
    ++job->total;
    if (note.id <= job->query.after) return true;
    if (static_cast<std::size_t>(job->response->leases_size()) == job->query.page_size) {
      job->more = true;
      return true;
    }
    if (const auto lease = p_.view.lease(note.id)) fill(job->response->add_leases(), *lease);
    job->last = note.id;
    return true;
  });
  if (!end) return asio::post(p_.loop, [this, call, job] { scan(call, job); });
  job->response->set_total(job->total);
  if (job->more) job->response->set_next_page_token(lease_token(job->query.filter, job->last));
  call->finish({});
}

Service::Unary* Service::GetLease(Context* context, const v1::GetLeaseRequest* request, v1::Lease* response) {
  auto checked = request->id() == 0 ? invalid("id", "missing") : grpc::Status();
  return begin(context, std::move(checked), [this, id = request->id(), response](const CallPtr& call) {
    const auto lease = p_.view.lease(id);
    if (!lease) return call->finish({grpc::StatusCode::NOT_FOUND, "id: no lease " + std::to_string(id) + "; it may have ended"});
    fill(response, *lease);
    call->finish({});
  });
}

Service::Unary* Service::ListFiles(Context* context, const v1::ListFilesRequest* request, v1::ListFilesResponse* response) {
  FileQuery query;
  auto checked = check(*request, &query);
  return begin(context, std::move(checked), [this, query, response](const CallPtr& call) {
    if (query.file.empty()) return list_files(call, query, {}, response);
    resolver_.resolve(call, "file", query.file, Wants::Key,
                      [=, this](Target target) { list_files(call, query, target.key, response); });
  });
}

void Service::list_files(const CallPtr& call, const FileQuery& query, std::optional<core::FileKey> only, v1::ListFilesResponse* response) {
  std::vector<core::FileKey> keys = only ? std::vector{*only} : p_.view.files(query.after, query.page_size + 1);
  const bool more = keys.size() > query.page_size;
  if (more) keys.resize(query.page_size);
  const auto mounts = sys::read_mounts();
  for (const auto& key : keys) {
    const auto file = p_.view.file(key);
    if (!file) continue;
    v1::File& to = *response->add_files();
    fill(&to, *file, p_.view.options().policy.freeze_hold_max);
    if (const sys::Mount* mount = sys::find_mount(mounts, file->mount)) to.set_filesystem(mount->type);
  }
  if (more) response->set_next_page_token(file_token(keys.back()));
  call->finish({});
}

}  // namespace mrlease::admin

// SPDX-License-Identifier: Apache-2.0
// Requests of administrators, checked before anything is done: what passes keeps the limits, a page's token is understood with
// the request that it was given to and with no other filter.
#include <climits>
#include <string>

#include "daemon/admin/input.h"
#include "tests/fuzz/fuzz.h"

using namespace mrlease;
using namespace mrlease::admin;

namespace {

void must_refuse_well(const grpc::Status& status) {
  must(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT && !status.error_message().empty(), "refused without a reason");
}

void check_name(const FileName& name) {
  must(name.path.empty() || (name.path[0] == '/' && name.path.size() < PATH_MAX && name.path.find('\0') == std::string::npos), "path");
  must(name.path.empty() || !name.key, "a path and a key");
}

void list_leases(const std::string& bytes) {
  v1::ListLeasesRequest request;
  if (!request.ParseFromString(bytes)) return;
  LeaseQuery query;
  const grpc::Status status = check(request, &query);
  if (!status.ok()) return must_refuse_well(status);
  check_name(query.file);
  must(query.page_size >= 1 && query.page_size <= 1000, "page_size");
  must(!query.pid || *query.pid > 0, "pid");
  request.set_page_token(lease_token(request.filter(), 0xfedcba9876543210));
  if (kPlanted && query.uid) request.mutable_filter()->set_uid(*query.uid + 1);
  LeaseQuery next;
  must(check(request, &next).ok() && next.after == 0xfedcba9876543210, "a token of ours is refused");
  request.mutable_filter()->set_uid(request.filter().uid() + 1);
  must(!check(request, &next).ok(), "a token is taken with another filter");
}

void list_files(const std::string& bytes) {
  v1::ListFilesRequest request;
  if (!request.ParseFromString(bytes)) return;
  FileQuery query;
  const grpc::Status status = check(request, &query);
  if (!status.ok()) return must_refuse_well(status);
  check_name(query.file);
  must(query.page_size >= 1 && query.page_size <= 500, "page_size");
  const core::FileKey last{0xffffffffffffffff, 1};
  request.set_page_token(file_token(last));
  must(check(request, &query).ok() && query.after == last, "a token of ours is refused");
}

void watch(const std::string& bytes) {
  v1::WatchEventsRequest request;
  if (!request.ParseFromString(bytes)) return;
  WatchQuery query;
  const grpc::Status status = check(request, &query);
  if (!status.ok()) return must_refuse_well(status);
  check_name(query.file);
  must(query.types.size() == static_cast<std::size_t>(request.types_size()), "types");
}

void range(const std::string& bytes) {
  v1::Range request;
  if (!request.ParseFromString(bytes)) return;
  core::Extent extent;
  const grpc::Status status = check_range("range", request, &extent);
  if (!status.ok()) return must_refuse_well(status);
  must(extent.begin == request.offset(), "range.offset");
  must(request.length() == 0 ? extent.end == core::kToEnd : extent.end - extent.begin == request.length(), "range.length");
}

}  // namespace

FUZZ(data, size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0: list_leases(bytes); break;
    case 1: list_files(bytes); break;
    case 2: watch(bytes); break;
    default: range(bytes); break;
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Requests, checked before anything is done: every mistake names its field. Pure.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "admin.pb.h"
#include "daemon/core/types.h"

namespace mrlease::admin {

grpc::Status invalid(const std::string& field, const std::string& what);

// Which file is meant: by path, by key, or (may_be_empty) none.
struct FileName {
  std::string path;
  std::optional<core::FileKey> key;
  std::optional<std::uint64_t> device;  // all of its files (filters only)
  bool empty() const { return path.empty() && !key && !device; }
};
grpc::Status check_path(const std::string& field, const std::string& path);
grpc::Status check_file(const std::string& field, const v1::FileId& file, FileName* name);
grpc::Status check_range(const std::string& field, const v1::Range& range, core::Extent* extent);

struct LeaseQuery {
  FileName file;
  std::optional<std::uint32_t> uid;
  std::optional<std::int32_t> pid;
  v1::LeaseFilter filter;
  std::size_t page_size = 0;
  core::LeaseId after = 0;
};
grpc::Status check(const v1::ListLeasesRequest& request, LeaseQuery* query);
std::string lease_token(const v1::LeaseFilter& filter, core::LeaseId last);

struct FileQuery {
  FileName file;
  std::size_t page_size = 0;
  std::optional<core::FileKey> after;
};
grpc::Status check(const v1::ListFilesRequest& request, FileQuery* query);
std::string file_token(const core::FileKey& last);

struct WatchQuery {
  FileName file;
  std::vector<int> types;  // field numbers of Event.what
  std::optional<std::uint64_t> after;
};
grpc::Status check(const v1::WatchEventsRequest& request, WatchQuery* query);

}  // namespace mrlease::admin

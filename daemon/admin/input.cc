// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/input.h"

#include <climits>
#include <cstdio>

#include "daemon/admin/words.h"

namespace mrlease::admin {

namespace {

const grpc::Status kFine;

// FNV-1a: names a filter inside of a page token, so that a token is not used with another filter.
std::uint64_t fingerprint(const std::string& text) {
  std::uint64_t h = 14695981039346656037ull;
  for (const unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

grpc::Status check_page_size(std::uint32_t given, std::uint32_t usual, std::uint32_t most, std::size_t* size) {
  if (given > most) return invalid("page_size", "at most " + std::to_string(most));
  *size = given == 0 ? usual : given;
  return kFine;
}

bool wants_file(const v1::FileId& file) { return !file.path().empty() || file.device() != 0 || file.inode() != 0; }

}  // namespace

grpc::Status invalid(const std::string& field, const std::string& what) {
  return {grpc::StatusCode::INVALID_ARGUMENT, field + ": " + what};
}

grpc::Status check_path(const std::string& field, const std::string& path) {
  if (path.empty()) return invalid(field, "missing");
  if (path[0] != '/') return invalid(field, "must be absolute: the daemon has a working directory of its own");
  if (path.size() >= PATH_MAX) return invalid(field, "longer than " + std::to_string(PATH_MAX - 1) + " bytes");
  if (path.find('\0') != std::string::npos) return invalid(field, "holds a zero byte");
  return kFine;
}

grpc::Status check_file(const std::string& field, const v1::FileId& file, FileName* name) {
  if (!file.path().empty()) {
    if (file.device() != 0 || file.inode() != 0) return invalid(field, "give its path, or device and inode, not both");
    name->path = file.path();
    return check_path(field + ".path", file.path());
  }
  if (file.inode() != 0 && file.device() == 0) return invalid(field + ".device", "missing beside inode");
  if (file.inode() != 0) {
    name->key = core::FileKey{file.device(), file.inode()};
    return kFine;
  }
  if (file.device() != 0) return invalid(field + ".inode", "missing beside device");
  return invalid(field, "missing: give its path, or device and inode");
}

grpc::Status check_range(const std::string& field, const v1::Range& range, core::Extent* extent) {
  *extent = {range.offset(), core::kToEnd};
  if (range.length() == 0) return kFine;
  if (range.offset() > core::kToEnd - range.length()) return invalid(field, "ends beyond 2^64");
  extent->end = range.offset() + range.length();
  return kFine;
}

grpc::Status check(const v1::ListLeasesRequest& request, LeaseQuery* query) {
  query->filter = request.filter();
  const auto& file = request.filter().file();
  if (file.device() != 0 && file.inode() == 0 && file.path().empty()) {
    query->file.device = file.device();
  } else if (wants_file(file)) {
    if (auto status = check_file("filter.file", file, &query->file); !status.ok()) return status;
  }
  if (request.filter().has_uid()) query->uid = request.filter().uid();
  if (request.filter().has_pid()) query->pid = request.filter().pid();
  if (query->pid && *query->pid <= 0) return invalid("filter.pid", "not a process number");
  for (const int backing : request.filter().backings())
    if (!to_core(static_cast<v1::Backing>(backing))) return invalid("filter.backings", "not a backing: " + std::to_string(backing));
  for (const int state : request.filter().states())
    if (!to_session(static_cast<v1::LeaseState>(state))) return invalid("filter.states", "not a state: " + std::to_string(state));
  if (auto status = check_page_size(request.page_size(), 100, 1000, &query->page_size); !status.ok()) return status;
  if (request.page_token().empty()) return kFine;
  unsigned long long id = 0, filter = 0;
  if (std::sscanf(request.page_token().c_str(), "l%llx.%llx", &id, &filter) != 2) return invalid("page_token", "not one of ours");
  if (filter != fingerprint(request.filter().SerializeAsString())) return invalid("page_token", "it belongs to another filter");
  query->after = id;
  return kFine;
}

std::string lease_token(const v1::LeaseFilter& filter, core::LeaseId last) {
  char text[48];
  std::snprintf(text, sizeof text, "l%llx.%llx", static_cast<unsigned long long>(last),
                static_cast<unsigned long long>(fingerprint(filter.SerializeAsString())));
  return text;
}

grpc::Status check(const v1::ListFilesRequest& request, FileQuery* query) {
  if (wants_file(request.file()))
    if (auto status = check_file("file", request.file(), &query->file); !status.ok()) return status;
  if (auto status = check_page_size(request.page_size(), 50, 500, &query->page_size); !status.ok()) return status;
  if (request.page_token().empty()) return kFine;
  unsigned long long device = 0, inode = 0;
  if (std::sscanf(request.page_token().c_str(), "f%llx.%llx", &device, &inode) != 2) return invalid("page_token", "not one of ours");
  query->after = core::FileKey{device, inode};
  return kFine;
}

std::string file_token(const core::FileKey& last) {
  char text[48];
  std::snprintf(text, sizeof text, "f%llx.%llx", static_cast<unsigned long long>(last.device),
                static_cast<unsigned long long>(last.inode));
  return text;
}

grpc::Status check(const v1::WatchEventsRequest& request, WatchQuery* query) {
  if (wants_file(request.file()))
    if (auto status = check_file("file", request.file(), &query->file); !status.ok()) return status;
  const auto* what = v1::Event::descriptor()->FindOneofByName("what");
  for (const auto& type : request.types()) {
    const auto* field = v1::Event::descriptor()->FindFieldByName(type);
    if (field == nullptr || field->containing_oneof() != what) {
      std::string known;
      for (int i = 0; i < what->field_count(); i++) known += (i == 0 ? "" : ", ") + what->field(i)->name();
      return invalid("types", "no event is called '" + type.substr(0, 64) + "'; there are " + known);
    }
    query->types.push_back(field->number());
  }
  if (request.has_after_sequence()) query->after = request.after_sequence();
  return kFine;
}

}  // namespace mrlease::admin

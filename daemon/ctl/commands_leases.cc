// SPDX-License-Identifier: Apache-2.0
// leases, lease, files.
#include <pwd.h>

#include <charconv>

#include "daemon/ctl/format.h"
#include "daemon/ctl/program.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

struct Filter {
  std::string file, user;
  int pid = 0;
  std::vector<std::string> backings, states;
};

template <typename E>
E enum_value(const std::string& option, const std::string& text) {
  const auto& type = *google::protobuf::GetEnumDescriptor<E>();
  const auto value = value_of(type, text);
  if (!value) throw Failed{kUsage, option + ": '" + text + "' is not allowed: " + words_of(type)};
  return static_cast<E>(*value);
}

template <typename E>
void add_words(Program& p, CLI::App* sub, const std::string& option, std::vector<std::string>* into, const std::string& help) {
  const auto& type = *google::protobuf::GetEnumDescriptor<E>();
  sub->add_option(option, *into, help + " (repeatable): " + words_of(type))->allow_extra_args(false)->type_name("WORD");
  for (int i = 0; i < type.value_count(); ++i)
    if (const int value = type.value(i)->number()) p.words[option].push_back(word_of(type, value));
}

std::uint32_t user_id(const std::string& text) {
  std::uint32_t uid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), uid);
  if (error == std::errc() && end == text.data() + text.size()) return uid;
  if (const passwd* user = ::getpwnam(text.c_str())) return user->pw_uid;
  throw Failed{kUsage, "--user: there is no user " + text};
}

// Every page of a list, as one.
template <typename Request, typename Response>
int print_all(Program& p, grpc::Status (v1::Admin::Stub::*list)(grpc::ClientContext*, const Request&, Response*), Request request) {
  Client client = p.connect();
  Response all;
  do {
    Response page = client.call(list, request);
    request.set_page_token(page.next_page_token());
    page.clear_next_page_token();
    all.MergeFrom(page);
  } while (!request.page_token().empty());
  p.print(all, view(all, p.width()));
  return kDone;
}

int list_leases(Program& p, const Filter& f) {
  v1::ListLeasesRequest request;
  request.set_page_size(1000);
  v1::LeaseFilter& filter = *request.mutable_filter();
  if (!f.file.empty()) *filter.mutable_file() = file_id(f.file);
  if (!f.user.empty()) filter.set_uid(user_id(f.user));
  if (f.pid != 0) filter.set_pid(f.pid);
  for (const auto& b : f.backings) filter.add_backings(enum_value<v1::Backing>("--backing", b));
  for (const auto& s : f.states) filter.add_states(enum_value<v1::LeaseState>("--state", s));
  return print_all(p, &v1::Admin::Stub::ListLeases, request);
}

int get_lease(Program& p, std::uint64_t id) {
  v1::GetLeaseRequest request;
  request.set_id(id);
  const v1::Lease lease = p.connect().call(&v1::Admin::Stub::GetLease, request);
  p.print(lease, view(lease, p.width()));
  return kDone;
}

int list_files(Program& p, const std::string& path) {
  v1::ListFilesRequest request;
  request.set_page_size(500);
  if (!path.empty()) *request.mutable_file() = file_id(path);
  return print_all(p, &v1::Admin::Stub::ListFiles, request);
}

}  // namespace

void add_lease_commands(Program& p) {
  const auto filter = std::make_shared<Filter>();
  CLI::App* leases = p.add("leases", "List leases", [&p, filter] { return list_leases(p, *filter); });
  leases->add_option("--file", filter->file, "Of this file: a path, or MAJOR:MINOR:INODE")->type_name("FILE");
  leases->add_option("--pid", filter->pid, "Of this process")->type_name("PID")->check(CLI::PositiveNumber);
  leases->add_option("--user", filter->user, "Of this user")->type_name("USER");
  add_words<v1::Backing>(p, leases, "--backing", &filter->backings, "With this backing");
  add_words<v1::LeaseState>(p, leases, "--state", &filter->states, "In this state");

  const auto id = std::make_shared<std::uint64_t>(0);
  CLI::App* lease = p.add("lease", "All about one lease", [&p, id] { return get_lease(p, *id); });
  lease->add_option("ID", *id, "The lease's number")->required();

  const auto path = std::make_shared<std::string>();
  CLI::App* files = p.add("files", "Files with leases or pending breaks: who holds what, who waits for it",
                          [&p, path] { return list_files(p, *path); });
  files->add_option("FILE", *path, "Only this file: a path, or MAJOR:MINOR:INODE");
}

}  // namespace mrlease::ctl

// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/program.h"

#include <google/protobuf/util/json_util.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "daemon/ctl/terminal.h"

namespace mrlease::ctl {

CLI::App* Program::add(const std::string& name, const std::string& help, std::function<int()> action, bool takes_command) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->fallthrough();
  sub->callback([this, name, action = std::move(action), takes_command] {
    if (has_command && !takes_command) throw CLI::ExtrasError(name, {"--"});
    run = action;
  });
  return sub;
}

std::size_t Program::width() const { return wide ? 0 : terminal_size(STDOUT_FILENO).columns; }

void Program::print(const google::protobuf::Message& answer, const std::string& text) const {
  std::cout << (json ? to_json(answer, false) : text) << std::flush;
}

std::string to_json(const google::protobuf::Message& message, bool one_line) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = !one_line;
  options.always_print_primitive_fields = true;  // else 0 and false are missing, which scripts stumble over
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) throw Failed{kRefused, "the answer cannot be told as JSON: " + std::string(status.message())};
  if (text.empty() || text.back() != '\n') text += '\n';
  return text;
}

std::string absolute_path(const std::string& text) {
  std::error_code error;
  const auto real = std::filesystem::canonical(text, error);
  if (!error) return real.string();
  return std::filesystem::absolute(text, error).string();
}

v1::FileId file_id(const std::string& text) {
  v1::FileId id;
  unsigned device_major = 0, device_minor = 0;
  unsigned long long inode = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%u:%u:%llu%c", &device_major, &device_minor, &inode, &rest) == 3) {
    id.set_device(::makedev(device_major, device_minor));
    id.set_inode(inode);
    return id;
  }
  if (text.empty()) throw Failed{kUsage, "a file's name is empty"};
  id.set_path(absolute_path(text));
  return id;
}

namespace {

const CLI::App* chosen(const CLI::App& app, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
      if (sub->get_name() == words[i]) return sub;
  return nullptr;
}

void add_options(const CLI::App& app, std::vector<std::string>* candidates) {
  for (const CLI::Option* option : app.get_options())
    for (const auto& name : option->get_lnames()) candidates->push_back("--" + name);
}

}  // namespace

std::vector<std::string> complete(const Program& p, const std::vector<std::string>& words) {
  std::vector<std::string> candidates;
  if (words.empty() || std::find(words.begin(), words.end() - 1, "--") != words.end() - 1) return candidates;
  const CLI::App* sub = chosen(p.app, words);
  const auto values = words.size() < 2 ? p.words.end() : p.words.find(words[words.size() - 2]);
  if (values != p.words.end()) {
    candidates = values->second;
  } else if (words.back().rfind("-", 0) == 0) {
    if (sub) add_options(*sub, &candidates);
    add_options(p.app, &candidates);
  } else if (!sub) {
    for (const CLI::App* each : p.app.get_subcommands([](const CLI::App*) { return true; })) candidates.push_back(each->get_name());
  }
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                  [&](const std::string& c) { return c.rfind(words.back(), 0) != 0; }),
                   candidates.end());
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  return candidates;
}

}  // namespace mrlease::ctl

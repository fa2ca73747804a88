// SPDX-License-Identifier: Apache-2.0
#include "daemon/config/settings.h"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "daemon/config/file.h"
#include "daemon/config/table.h"

namespace mrlease::config {
namespace {

struct ReadFile {
  std::string path;  // empty: there is none, and none is needed
  FileContent content;
  std::string error;
};

ReadFile read(const CommandLine& line, const std::string& must_have) {
  ReadFile result;
  const std::string path = line.file.empty() ? kDefaultFile : line.file;
  struct stat st {};
  // A pipe or a device could keep us waiting.
  if (::stat(path.c_str(), &st) != 0) {
    const bool needed = !line.file.empty() || path == must_have;
    if (needed || errno != ENOENT) result.error = "cannot read " + path + ": " + std::strerror(errno);
    return result;
  }
  if (!S_ISREG(st.st_mode)) {
    result.error = "cannot read " + path + ": it is not a regular file";
    return result;
  }
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in.is_open() || in.bad()) {
    result.error = "cannot read " + path + ": " + std::strerror(errno);
    return result;
  }
  result.path = path;
  result.content = parse_file(text.str());
  return result;
}

// From the weakest to the strongest.
Settings combine(const ReadFile& file, const Values& command_line) {
  Settings settings;
  settings.file = file.path;
  for (const Row& row : table()) {
    Source source = Source::Default;
    if (const auto it = file.content.values.find(row.name); it != file.content.values.end()) {
      row.set(settings.options, it->second.texts);
      source = Source::File;
    }
    if (const auto it = command_line.find(row.name); it != command_line.end()) {
      row.set(settings.options, it->second);
      source = Source::CommandLine;
    }
    settings.sources[row.name] = source;
  }
  return settings;
}

constexpr std::size_t kRulesMax = 1000;  // each lease asks them one after the other

// Names are looked up once: a user that is renumbered is another after the next reload.
std::vector<uid_t> uids_of(const session::Rule& rule, std::string* problem) {
  std::vector<uid_t> uids;
  for (const std::string& user : rule.users) {
    uid_t uid = 0;
    const auto [end, error] = std::from_chars(user.data(), user.data() + user.size(), uid);
    if (error == std::errc() && end == user.data() + user.size()) {
      uids.push_back(uid);
    } else if (const passwd* known = ::getpwnam(user.c_str())) {
      uids.push_back(known->pw_uid);
    } else {
      *problem = "user: there is no user '" + user + "'";
    }
  }
  return uids;
}

// Those of the file, after everything else: what they do not say is as the policy for all has it.
void add_rules(FileContent* content, session::Options* options) {
  if (content->rules.size() > kRulesMax) {
    content->problems.push_back({content->rules[kRulesMax].place, "rule: " + std::to_string(kRulesMax) + " are the limit"});
    content->rules.resize(kRulesMax);
  }
  for (const FileRule& written : content->rules) {
    session::Rule rule;
    rule.line = written.place.line;
    for (const RuleRow& row : rule_table())
      if (const auto it = written.values.find(row.name); it != written.values.end()) row.set(rule, it->second.texts);
    const auto problem = [&](const std::string& name, const std::string& text) {
      const auto it = written.values.find(name);
      content->problems.push_back({it != written.values.end() ? it->second.place : written.place, text});
    };
    std::string unknown;
    rule.uids = uids_of(rule, &unknown);
    if (!unknown.empty()) problem("user", unknown);
    if (rule.recall_deadline || rule.fence_deadline || rule.writeback_interval)
      for (const Clash& clash : nesting_clashes(session::terms_of(rule, options->policy), options->policy.work_deadline, kernel_lease_break_time_ms()))
        problem(clash.name, "in this rule, " + clash.text);
    if (rule.userfaultfd && !rule.path.empty())
      problem("userfaultfd", "userfaultfd: a client gets it before any file is known: in a rule without a path only");
    options->rules.push_back(std::move(rule));
  }
}

std::vector<std::string> check_command_line(const Values& values) {
  std::vector<std::string> problems;
  for (const auto& [name, texts] : values) {
    const Row& row = *find_row(name);
    if (row.type != Type::List && texts.size() != 1) problems.push_back("--" + name + ": given more than once");
    for (const auto& text : texts)
      if (const std::string error = wrong(row, text); !error.empty()) problems.push_back("--" + name + ": " + error);
  }
  return problems;
}

std::vector<std::string> told(const std::string& path, std::vector<FileProblem> problems) {
  std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) { return a.place < b.place; });
  std::vector<std::string> lines;
  for (const auto& p : problems)
    lines.push_back(path + ":" + std::to_string(p.place.line) + ":" + std::to_string(p.place.column) + ": " + p.text);
  return lines;
}

}  // namespace

std::string word(Source source) {
  return source == Source::Default ? "default" : source == Source::File ? "file" : "command line";
}

namespace {

Loaded validate(ReadFile file, const CommandLine& line) {
  Loaded loaded;
  if (!file.error.empty()) loaded.problems.push_back(file.error);
  const auto on_line = check_command_line(line.values);
  loaded.problems.insert(loaded.problems.end(), on_line.begin(), on_line.end());
  std::optional<Settings> settings;
  // What is wrong by itself takes no part in what must fit together.
  if (on_line.empty()) {
    settings = combine(file, line.values);
    add_rules(&file.content, &settings->options.session);
    for (const Clash& clash : clashes(settings->options)) {
      const auto it = file.content.values.find(clash.name);
      if (it != file.content.values.end()) file.content.problems.push_back({it->second.place, clash.text});
      else loaded.problems.push_back(clash.text);
    }
  }
  const auto in_file = told(file.path, std::move(file.content.problems));
  loaded.problems.insert(loaded.problems.end(), in_file.begin(), in_file.end());
  if (loaded.problems.empty()) loaded.settings = std::move(settings);
  return loaded;
}

}  // namespace

Loaded load(const CommandLine& line, const std::string& must_have) { return validate(read(line, must_have), line); }

Loaded without_file(const CommandLine& line) { return validate({}, line); }

Difference take_over(const Settings& fresh, Settings* current) {
  Difference difference;
  for (const Row& row : table()) {
    const auto value = row.get(fresh.options);
    if (value == row.get(current->options)) {
      current->sources[row.name] = fresh.sources.at(row.name);
    } else if (row.reloadable) {
      row.set(current->options, value);
      current->sources[row.name] = fresh.sources.at(row.name);
      difference.changed.push_back(row.name);
    } else {
      difference.needs_restart.push_back(row.name);
    }
  }
  auto& rules = current->options.session.rules;
  if (rules != fresh.options.session.rules) difference.changed.emplace_back("rule");
  rules = fresh.options.session.rules;  // their lines may differ in any case
  current->file = fresh.file;
  return difference;
}

}  // namespace mrlease::config

// SPDX-License-Identifier: Apache-2.0
// --name value and --flag, nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace mrlease::load {

class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string name = argv[i];
      const bool has_value = i + 1 < argc && std::string(argv[i + 1]).rfind("--", 0) != 0;
      values_[name] = has_value ? argv[++i] : "1";
    }
  }
  std::string text(const std::string& name, const std::string& otherwise = "") const {
    const auto it = values_.find("--" + name);
    return it == values_.end() ? otherwise : it->second;
  }
  std::uint64_t number(const std::string& name, std::uint64_t otherwise = 0) const {
    const auto it = values_.find("--" + name);
    return it == values_.end() ? otherwise : std::stoull(it->second);
  }
  bool flag(const std::string& name) const { return values_.count("--" + name) != 0; }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace mrlease::load

// SPDX-License-Identifier: Apache-2.0
// One flat JSON object, printed as one line.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace mrlease::load {

class Json {
 public:
  Json& add(const char* key, std::uint64_t value) { return raw(key, std::to_string(value)); }
  Json& add(const char* key, bool value) { return raw(key, value ? "true" : "false"); }
  Json& add(const char* key, const std::string& value) { return raw(key, quote(value)); }
  Json& add(const char* key, const char* value) { return raw(key, quote(value)); }
  Json& raw(const char* key, const std::string& value) {
    text_ += (text_.empty() ? "{" : ", ") + quote(key) + ": " + value;
    return *this;
  }
  void print() const {
    std::printf("%s}\n", text_.empty() ? "{" : text_.c_str());
    std::fflush(stdout);
  }

 private:
  static std::string quote(const std::string& value) {
    std::string out = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + '"';
  }
  std::string text_;
};

}  // namespace mrlease::load

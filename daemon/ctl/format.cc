// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/format.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <vector>

namespace mrlease::ctl {
namespace {

// Bytes of the code point that begins at text[at]; 0: not valid UTF-8, or a control character (C0, C1, DEL).
std::size_t code_point(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const unsigned first = byte(at);
  if (first < 0x80) return first >= 0x20 && first != 0x7f;
  const std::size_t length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  if (length == 2 && first == 0xc2 && byte(at + 1) < 0xa0) return 0;
  // Overlong forms, surrogates; and the marks that turn the direction of writing around (U+202A to U+202E, U+2066 to U+2069).
  if (first == 0xe0 && byte(at + 1) < 0xa0) return 0;
  if (first == 0xed && byte(at + 1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(at + 1) < 0x90) return 0;
  if (first == 0xe2 && byte(at + 1) == 0x80 && byte(at + 2) >= 0xaa && byte(at + 2) <= 0xae) return 0;
  if (first == 0xe2 && byte(at + 1) == 0x81 && byte(at + 2) >= 0xa6 && byte(at + 2) <= 0xa9) return 0;
  return length;
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// The first n code points.
std::string head(const std::string& text, std::size_t n) {
  std::size_t at = 0;
  for (; at < text.size(); ++at)
    if (!continues(text[at]) && n-- == 0) break;
  return text.substr(0, at);
}

std::string tail(const std::string& text, std::size_t n) {
  std::size_t at = text.size();
  while (at > 0 && n > 0)
    if (!continues(text[--at])) --n;
  return text.substr(at);
}

std::string number(double value, const char* unit) {
  char text[64];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f" : "%.0f", value);
  std::string result = text;
  if (result.size() > 2 && result.substr(result.size() - 2) == ".0") result.resize(result.size() - 2);
  return result + unit;
}

std::string prefix_of(const google::protobuf::EnumDescriptor& type) {
  const std::string zero = type.FindValueByNumber(0)->name();
  return zero.substr(0, zero.size() - std::string("UNSPECIFIED").size());
}

// A whole number and what follows it.
std::optional<std::pair<std::uint64_t, std::string>> split(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return {};
  return std::pair{value, std::string(end)};
}

std::optional<std::uint64_t> times(std::uint64_t value, std::uint64_t factor) {
  std::uint64_t result = 0;
  if (__builtin_mul_overflow(value, factor, &result)) return {};
  return result;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = code_point(text, at);
    if (length > 0) {
      result += text.substr(at, length);
    } else {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned char>(text[at]));
      result += code;
    }
    at += std::max<std::size_t>(length, 1);
  }
  return result;
}

std::size_t width(const std::string& text) {
  std::size_t n = 0;
  for (const char c : text) n += !continues(c);
  return n;
}

std::string shortened(const std::string& text, std::size_t columns) {
  if (width(text) <= columns) return text;
  if (columns <= 3) return std::string(columns, '.');
  // The end tells more than the beginning: the file's own name is there.
  const std::size_t front = (columns - 3) / 3;
  return head(text, front) + "..." + tail(text, columns - 3 - front);
}

std::string cut(const std::string& text, std::size_t columns) {
  if (width(text) <= columns) return text;
  return columns <= 3 ? std::string(columns, '.') : head(text, columns - 3) + "...";
}

std::string duration(double s) {
  if (s <= 0) return "0 s";
  if (s < 0.001) return number(s * 1e6, " us");
  if (s < 0.9995) return number(s * 1e3, " ms");
  if (s < 59.5) return number(s, " s");
  const auto whole = static_cast<std::uint64_t>(std::llround(s));
  const auto two = [](std::uint64_t big, const char* big_unit, std::uint64_t small, const char* small_unit) {
    return std::to_string(big) + big_unit + (small ? " " + std::to_string(small) + small_unit : "");
  };
  if (whole < 3600) return two(whole / 60, " m", whole % 60, " s");
  if (whole < 86400) return two(whole / 3600, " h", whole % 3600 / 60, " m");
  return two(whole / 86400, " d", whole % 86400 / 3600, " h");
}

double seconds(const google::protobuf::Duration& d) { return static_cast<double>(d.seconds()) + d.nanos() / 1e9; }

std::string bytes(std::uint64_t n) {
  static constexpr const char* kUnits[] = {"K", "M", "G", "T", "P", "E"};
  const bool whole_k = n >= 1024 && n % 1024 == 0;
  if (n < 10000 && !whole_k) return std::to_string(n);
  double value = static_cast<double>(n);
  int unit = -1;
  while (value >= 1023.5 && unit < 5) {
    value /= 1024;
    ++unit;
  }
  return number(value, unit < 0 ? "" : kUnits[unit]);
}

std::string range(const v1::Range& r) { return bytes(r.offset()) + " " + (r.length() == 0 ? "to end" : bytes(r.length())); }

std::string time_of_day(const google::protobuf::Timestamp& t) {
  const std::time_t whole = t.seconds();
  std::tm local{};
  ::localtime_r(&whole, &local);
  char text[32], result[48];
  std::strftime(text, sizeof text, "%H:%M:%S", &local);
  std::snprintf(result, sizeof result, "%s.%03d", text, t.nanos() / 1000000);
  return result;
}

std::optional<std::uint64_t> parse_duration_ms(const std::string& text) {
  const auto parts = split(text);
  if (!parts) return {};
  const auto& [value, unit] = *parts;
  if (unit == "ms") return value;
  if (unit == "s" || unit.empty()) return times(value, 1000);
  if (unit == "m" || unit == "min") return times(value, 60000);
  if (unit == "h") return times(value, 3600000);
  return {};
}

std::optional<std::uint64_t> parse_bytes(const std::string& text) {
  const auto parts = split(text);
  if (!parts) return {};
  const auto& [value, unit] = *parts;
  if (unit.empty() || unit == "B") return value;
  const std::string units = "KMGT";
  const std::size_t at = units.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
  if (at == std::string::npos || (unit.size() > 1 && unit.substr(1) != "iB")) return {};
  return times(value, 1ull << (10 * (at + 1)));
}

std::optional<v1::Range> parse_range(const std::string& text) {
  const std::size_t colon = text.find(':');
  const auto offset = parse_bytes(text.substr(0, colon));
  const auto length = colon == std::string::npos ? std::optional<std::uint64_t>(0) : parse_bytes(text.substr(colon + 1));
  if (!offset || !length) return {};
  // Length 0 means "to the end" on the wire; said by a person it is a mistake.
  if (colon != std::string::npos && *length == 0) return {};
  v1::Range range;
  range.set_offset(*offset);
  range.set_length(*length);
  return range;
}

std::string word_of(const google::protobuf::EnumDescriptor& type, int value) {
  if (value == 0) return "-";
  const auto* found = type.FindValueByNumber(value);
  if (!found) return std::to_string(value);  // a daemon that is newer than we are
  std::string word = found->name().substr(prefix_of(type).size());
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

std::optional<int> value_of(const google::protobuf::EnumDescriptor& type, const std::string& word) {
  for (int i = 0; i < type.value_count(); ++i) {
    const int value = type.value(i)->number();
    if (value != 0 && word_of(type, value) == word) return value;
  }
  return {};
}

std::string words_of(const google::protobuf::EnumDescriptor& type) {
  std::string words;
  for (int i = 0; i < type.value_count(); ++i)
    if (const int value = type.value(i)->number()) words += (words.empty() ? "one of " : ", ") + word_of(type, value);
  return words;
}

std::string process(const v1::Process& p) {
  const std::string program = p.program().empty() ? "" : " (" + printable(p.program()) + ")";
  const int id = p.pid() != 0 ? p.pid() : p.tid();
  return id == 0 && program.empty() ? "-" : (id == 0 ? "?" : std::to_string(id)) + program;
}

std::string file(const v1::FileId& f) {
  if (!f.path().empty()) return printable(f.path());
  return std::to_string(f.device_major()) + ":" + std::to_string(f.device_minor()) + " inode " + std::to_string(f.inode());
}

std::string guard(v1::Guard g) { return g == v1::GUARD_UNSPECIFIED ? "none" : word(g); }

}  // namespace mrlease::ctl

// SPDX-License-Identifier: Apache-2.0
// Text for people and from people. Pure.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <optional>
#include <string>

#include "admin.pb.h"

namespace mrlease::ctl {

namespace v1 = admin::v1;

// Names of files and programs are chosen by anybody: what a terminal would obey is shown as \xNN. Valid UTF-8 stays.
std::string printable(const std::string& text);
// In columns of a terminal; every code point counts as one.
std::size_t width(const std::string& text);
// At most `columns` wide, the middle replaced by "...": a path is known by its beginning and its end.
std::string shortened(const std::string& text, std::size_t columns);
// The same, the end replaced.
std::string cut(const std::string& text, std::size_t columns);

// "0 s", "250 us", "12 ms", "1.5 s", "2 m 5 s", "3 h 2 m", "4 d 1 h"
std::string duration(double seconds);
double seconds(const google::protobuf::Duration& d);
// "0", "4095", "64K", "1.5G": powers of 1024, exact below 10000 bytes
std::string bytes(std::uint64_t n);
// "0 64K" as offset and length; length 0 is "to end".
std::string range(const v1::Range& r);
// hh:mm:ss.mmm, local time
std::string time_of_day(const google::protobuf::Timestamp& t);

// "500ms", "30s", "2m", "1h", or seconds. Nothing: not a duration.
std::optional<std::uint64_t> parse_duration_ms(const std::string& text);
// "4096", "64K", "1M", "2G", "1T"
std::optional<std::uint64_t> parse_bytes(const std::string& text);
// "OFFSET" or "OFFSET:LENGTH"
std::optional<v1::Range> parse_range(const std::string& text);

// An enum's value as one word: BACKING_ODP_TRANSPARENT is "odp_transparent"; the value 0 is "-".
std::string word_of(const google::protobuf::EnumDescriptor& type, int value);
template <typename E>
std::string word(E value) {
  return word_of(*google::protobuf::GetEnumDescriptor<E>(), value);
}
// Nothing: no such word.
std::optional<int> value_of(const google::protobuf::EnumDescriptor& type, const std::string& word);
// "one of direct, bounce": for a mistake.
std::string words_of(const google::protobuf::EnumDescriptor& type);

std::string process(const v1::Process& p);  // "1234 (trainer)"
std::string file(const v1::FileId& f);      // its path, else "8:1 inode 12"
std::string guard(v1::Guard g);             // "none" is one too

}  // namespace mrlease::ctl

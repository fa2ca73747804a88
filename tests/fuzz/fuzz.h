// SPDX-License-Identifier: Apache-2.0
// What every target has: FUZZ(data, size) { ... } is called with each input; must() is its oracle.
#pragma once

#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#ifdef MRLEASE_PLANTED
inline constexpr bool kPlanted = true;  // the target makes a mistake, so that it is seen that it would be found
#else
inline constexpr bool kPlanted = false;
#endif

// protobuf writes a line to stderr for each string that is not UTF-8, which most are: gigabytes in ten minutes.
inline void only_what_is_fatal(google::protobuf::LogLevel level, const char*, int, const std::string& text) {
  if (level == google::protobuf::LOGLEVEL_FATAL) std::fprintf(stderr, "WRONG: %s\n", text.c_str());
}

// Of a thread that ends at that moment LeakSanitizer finds glibc's note of what is to be destroyed with it, which nothing points to.
#define FUZZ(data, size)                                     \
  extern "C" int LLVMFuzzerInitialize(int*, char***) {       \
    google::protobuf::SetLogHandler(only_what_is_fatal);     \
    return 0;                                                \
  }                                                          \
  extern "C" const char* __lsan_default_suppressions() {     \
    return "leak:__cxa_thread_atexit_impl\n";                \
  }                                                          \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)

inline void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "WRONG: %s\n", what);
  std::abort();
}

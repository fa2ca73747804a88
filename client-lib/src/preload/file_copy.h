// SPDX-License-Identifier: Apache-2.0
// Without a daemon, on a kernel that refuses to pin the file's pages: a copy of them in memory under the same addresses, which
// goes into the file when the registration ends. Nobody arbitrates: what others write to the file meanwhile, or cut off, is
// not seen.
#pragma once

#include <memory>

#include "client-lib/src/region/file_mapping.h"

namespace mrlease::preload {

// Not thread-safe.
class FileCopy {
 public:
  // The pages of [address, address + length), which are page-aligned and of that file, are memory of their own afterwards.
  // On an error they are the file's as before. What another thread stores there meanwhile is lost.
  static client::Outcome create(char* address, std::size_t length, client::FileMapping file, std::unique_ptr<FileCopy>* out);
  ~FileCopy();  // without write_back(): the mapping is the file's again, and what is in the copy only is lost
  FileCopy(const FileCopy&) = delete;
  FileCopy& operator=(const FileCopy&) = delete;
  // Writes the pages that differ from the file, as far as the file reaches. ENOSPC, EIO, ...: some may be written.
  client::Outcome write_back();

 private:
  FileCopy(char* address, const char* memory, std::size_t length, client::FileMapping file)
      : address_(address), memory_(memory), length_(length), file_(std::move(file)) {}
  char* const address_;
  const char* const memory_;  // the same pages: the application may have unmapped its own when the copy is written back
  const std::size_t length_;
  const client::FileMapping file_;
  bool exchanged_ = false;
};

}  // namespace mrlease::preload

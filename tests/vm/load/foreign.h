// SPDX-License-Identifier: Apache-2.0
// Everything that somebody else does to the file, each call timed: how long it waited.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/vm/load/checker.h"
#include "tests/vm/load/options.h"
#include "tests/vm/load/table.h"

struct mrl_ctx;
struct mrl_freeze;

namespace mrlease::load {

class Json;

// One thread. The file is never left open: the lease guard needs the client to be its only opener.
class Foreign {
 public:
  explicit Foreign(const Options& options);  // throws std::system_error
  ~Foreign();
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;

  // Each puts its results into json and returns 0 or errno.
  int truncate(std::uint64_t size, Json* json);
  int zeros(std::uint64_t from, Json* json);  // nothing but zeros from there to the end
  void extended(std::uint64_t at_ns);
  void reattached(std::uint64_t size, std::uint64_t at_ns);
  int sync(std::uint32_t stable_ms, Json* json);  // stable_ms: how long the file may stand still for it; 0: it need not
  int reconnected(std::uint64_t times);  // waits until it has found another daemon that often; ETIMEDOUT
  int freeze(std::uint32_t hold_ms, Json* json);
  int copy(Json* json);  // of the frozen file, compared with the copy before it
  int thaw(Json* json);
  int check(bool direct_io, Json* json);
  void waits(Json* json) const;

  // Pages [first, first + count), which lie in the file (foreign_breaks.cc). Each tells how long it waited, its open included.
  int punch(std::uint64_t first, std::uint64_t count, Json* json);
  int collapse(std::uint64_t first, std::uint64_t count, Json* json);
  int insert(std::uint64_t first, std::uint64_t count, Json* json);  // the file gets longer by them
  int overwrite(bool direct_io, std::uint64_t first, std::uint64_t count, Json* json);
  int read_while_written(Json* json);  // nothing that was acknowledged before is missing
  int open_truncate(Json* json);       // O_TRUNC: to nothing
  int unlink(Json* json);
  int rename_over(Json* json);  // another file takes its name
  void ended();                 // Checker::ended()

 private:
  int timed(const char* what, const std::function<int()>& call);
  int opened(int flags, const std::function<int(int)>& use);
  int on_pages(const char* what, int flags, const std::function<int(int)>& call, Json* json);
  int read_file(int flags, bool uring, std::vector<char>* to);
  ssize_t write_at(int fd, char* from, std::uint64_t length, std::uint64_t at);  // as pwrite(2), in this part of the file
  off_t in_file(std::uint64_t at) const { return static_cast<off_t>(begin_ + at); }

  Checker& checker();

  const std::string path_, table_path_, stores_path_;
  const std::uint64_t spare_, begin_;
  const bool uring_;
  mrl_ctx* ctx_ = nullptr;  // nullptr: the plain rows
  std::uint64_t reconnects_ = 0;
  mrl_freeze* freeze_ = nullptr;
  std::unique_ptr<TableFile> table_, stores_;
  std::unique_ptr<Checker> checker_;
  char* buffer_ = nullptr;  // page-aligned, for O_DIRECT
  std::uint64_t size_ = 0;
  std::vector<char> copy_;
  std::map<std::string, std::vector<std::uint64_t>> waits_;
};

}  // namespace mrlease::load

// SPDX-License-Identifier: Apache-2.0
// What breaks a lease beside truncates: each by the system call that users have for it, and told to the checker.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/vm/load/foreign.h"
#include "tests/vm/load/json.h"

namespace mrlease::load {
namespace {

int result_of(int returned) { return returned == 0 ? 0 : errno; }

}  // namespace

int Foreign::opened(int flags, const std::function<int(int)>& use) {
  const int fd = open(path_.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return errno;
  const int code = use(fd);
  close(fd);
  return code;
}

int Foreign::on_pages(const char* what, int flags, const std::function<int(int)>& call, Json* json) {
  const int code = timed(what, [&] { return opened(flags, call); });
  json->add("wait_ns", waits_[what].back());
  return code;
}

int Foreign::punch(std::uint64_t first, std::uint64_t count, Json* json) {
  const std::uint64_t begin = now_ns();
  const int code = on_pages("punch", O_RDWR, [&](int fd) {
    return result_of(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, in_file(first * kPage), static_cast<off_t>(count * kPage)));
  }, json);
  if (code == 0) checker().zeroed(first, first + count, begin, now_ns());
  return code;
}

int Foreign::collapse(std::uint64_t first, std::uint64_t count, Json* json) {
  const std::vector<Acked> before = checker().acked_now();
  const std::uint64_t begin = now_ns(), pages = size_ / kPage;
  const int code = on_pages("collapse", O_RDWR, [&](int fd) {
    return result_of(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, in_file(first * kPage), static_cast<off_t>(count * kPage)));
  }, json);
  if (code) return code;
  checker().moved(first, pages - count, first + count, before, begin, now_ns());
  checker().cut((pages - count) * kPage, begin);
  return 0;
}

int Foreign::insert(std::uint64_t first, std::uint64_t count, Json* json) {
  const std::vector<Acked> before = checker().acked_now();
  const std::uint64_t begin = now_ns();
  const int code = on_pages("insert", O_RDWR, [&](int fd) {
    return result_of(fallocate(fd, FALLOC_FL_INSERT_RANGE, in_file(first * kPage), static_cast<off_t>(count * kPage)));
  }, json);
  if (code) return code;
  checker().moved(first + count, size_ / kPage, first, before, begin, now_ns());
  checker().zeroed(first, first + count, begin, now_ns());
  return 0;
}

int Foreign::overwrite(bool direct_io, std::uint64_t first, std::uint64_t count, Json* json) {
  for (std::uint64_t page = first; page < first + count; ++page) fill(buffer_ + page * kPage, kPage, foreign_stamp(page));
  const std::uint64_t begin = now_ns();
  const int code = on_pages(direct_io ? "write-direct" : "write", O_RDWR | (direct_io ? O_DIRECT : 0), [&](int fd) {
    const ssize_t done = write_at(fd, buffer_ + first * kPage, count * kPage, first * kPage);
    return done < 0 ? errno : done == static_cast<ssize_t>(count * kPage) ? 0 : EIO;
  }, json);
  if (code == 0) checker().written(first, first + count, begin, now_ns());
  return code;
}

int Foreign::read_while_written(Json* json) {
  const std::vector<Acked> before = checker().acked_now();
  std::vector<char> file;
  const int code = read_file(0, uring_, &file);
  json->add("wait_ns", waits_["open"].back() + waits_["read"].back());
  if (code) return code;
  const Verdict verdict = checker().read(file.data(), before);
  json->add("lost", verdict.lost).add("first", verdict.first);
  return 0;
}

int Foreign::open_truncate(Json* json) {
  checker().cut(0, now_ns());
  return on_pages("open-truncate", O_WRONLY | O_TRUNC, [](int) { return 0; }, json);
}

int Foreign::unlink(Json* json) {
  const int code = timed("unlink", [&] { return result_of(::unlink(path_.c_str())); });
  json->add("wait_ns", waits_["unlink"].back());
  return code;
}

int Foreign::rename_over(Json* json) {
  const std::string other = path_ + ".other";
  const int fd = open(other.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  close(fd);
  const int code = timed("rename", [&] { return result_of(std::rename(other.c_str(), path_.c_str())); });
  json->add("wait_ns", waits_["rename"].back());
  return code;
}

void Foreign::ended() { checker().ended(); }

}  // namespace mrlease::load

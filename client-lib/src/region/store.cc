// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/store.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace mrlease::client {

PageSpan Layout::pages_of(std::uint64_t offset, std::uint64_t bytes) const {
  const std::uint64_t last = file_offset + length;
  if (offset >= last) return {0, 0};
  const std::uint64_t from = std::max(offset, file_offset), to = bytes == 0 || bytes > last - offset ? last : offset + bytes;
  if (from >= to) return {0, 0};
  return {(from - file_offset) / kPage, page_up(to - file_offset) / kPage};
}

Outcome map_file(const Layout& layout, std::uint64_t begin, std::uint64_t end, int protection, bool over, char** out) {
  void* at = over ? layout.base + begin * kPage : nullptr;
  void* got = ::mmap(at, (end - begin) * kPage, protection, MAP_SHARED | (over ? MAP_FIXED : 0), layout.file,
                     static_cast<off_t>(layout.file_offset + begin * kPage));
  if (got == MAP_FAILED) return from_errno("mmap of the file");
  // A forked child that inherited it could not be fenced together with its parent.
  if (::madvise(got, (end - begin) * kPage, MADV_DONTFORK) != 0) return from_errno("madvise(MADV_DONTFORK)");
  if (out != nullptr) *out = static_cast<char*>(got);
  return {};
}

Outcome write_back(int file, std::uint64_t offset, const char* from, std::uint64_t length) {
  struct stat now {};
  if (::fstat(file, &now) != 0) return from_errno("fstat");
  const std::uint64_t size = static_cast<std::uint64_t>(now.st_size);
  length = offset >= size ? 0 : std::min(length, size - offset);
  char there[kPage];
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t part = std::min(kPage, length - done);
    const ssize_t had = ::pread(file, there, part, static_cast<off_t>(offset + done));
    if (had != static_cast<ssize_t>(part) || std::memcmp(there, from + done, part) != 0) {
      const ssize_t n = ::pwrite(file, from + done, part, static_cast<off_t>(offset + done));
      if (n != static_cast<ssize_t>(part)) return from_errno("write to the leased file", n < 0 ? errno : ENOSPC);
    }
    done += part;
  }
  return {};
}

Outcome write_back_store(int file, const Store& store, const std::vector<protocol::FileRange>& ranges) {
  char page[kPage];
  for (const auto& range : ranges) {
    for (std::uint64_t done = 0; done < range.length;) {
      const std::uint64_t at = range.offset + done, part = std::min(kPage, range.length - done);
      const ssize_t n = ::pread(store.memfd.get(), page, part, static_cast<off_t>(at - store.begin));
      if (n <= 0) return from_errno("read from the store", n < 0 ? errno : EIO);
      Outcome written = write_back(file, at, page, static_cast<std::uint64_t>(n));
      if (!written.ok()) return written;
      done += static_cast<std::uint64_t>(n);
    }
  }
  return {};
}

Outcome store_of_recall(const wire::v1::Recall& recall, wire::Fd memfd, Store* out) {
  if (!memfd) return {EPROTO, "a recall came without its store"};
  if (recall.offset() % kPage != 0) {
    return {EINVAL, "a store at offset " + std::to_string(recall.offset()) + " cannot be mapped: not a whole page"};
  }
  *out = {recall.store(), std::move(memfd), recall.offset(),
          recall.length() == 0 ? ~0ull : recall.offset() + recall.length()};
  return {};
}

std::vector<protocol::FileRange> ranges_of(const std::vector<bool>& pages, std::uint64_t first_byte,
                                           const Store& store) {
  std::vector<protocol::FileRange> out;
  for (std::uint64_t i = 0; i < pages.size(); i++) {
    if (!pages[i]) continue;
    if (i > 0 && pages[i - 1]) {
      out.back().length += kPage;
    } else {
      out.push_back({first_byte + i * kPage, kPage});
    }
  }
  while (!out.empty() && out.back().offset >= store.end) out.pop_back();
  if (!out.empty()) out.back().length = std::min(out.back().length, store.end - out.back().offset);
  return out;
}

}  // namespace mrlease::client

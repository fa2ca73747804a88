// SPDX-License-Identifier: Apache-2.0
// Stores (memfds, page for page as in the file) to and from the file.
#include <sys/mman.h>
#include <unistd.h>

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/store/file_work.h"
#include "daemon/store/inside_writer.h"
#include "daemon/store/page_io.h"

namespace mrlease::store {
namespace {

// How many of [begin, begin + length) are inside the file now. 0 or errno.
int inside_file(int file, std::uint64_t begin, std::uint64_t length, std::uint64_t* inside) {
  std::uint64_t size = 0;
  if (const int code = file_size(file, &size); code != 0) return code;
  *inside = size <= begin ? 0 : std::min(length, size - begin);
  return 0;
}

// Where the next data of a store begins and ends, within [at, end). False: there is none. Never on the client's file:
// it moves the file position.
bool next_data(int fd, std::uint64_t at, std::uint64_t end, std::uint64_t* begin, std::uint64_t* data_end) {
  const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return false;
  *begin = data < 0 ? at : static_cast<std::uint64_t>(data);  // holes cannot be told: all is data
  if (*begin >= end) return false;
  const off_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
  *data_end = hole < 0 ? end : std::min(end, static_cast<std::uint64_t>(hole));
  return true;
}

constexpr std::uint64_t kToEndOfFile = ~0ull;

// Bytes from which a second thread is worth its making (about 50 us; as long as 256 KiB take).
constexpr std::uint64_t kForTwo = 4 << 20;

// Writes those pages of [offset, offset + length) of the file that differ in ours and theirs, runs of them at once.
// 0 or errno (the first). refusals: how many errors it goes on after.
int write_differing(const char* ours, const char* theirs, std::uint64_t length, int store, std::uint64_t store_begin,
                    InsideWriter* writer, std::uint64_t offset, std::uint64_t* pages, std::uint64_t* refusals) {
  int first_error = 0;
  for (std::uint64_t at = 0; at < length && *refusals > 0;) {
    std::uint64_t end = at;
    while (end < length && std::memcmp(ours + end, theirs + end, std::min(kPage, length - end)) != 0) {
      end = std::min(length, end + kPage);
    }
    if (end > at) {
      std::uint64_t written = 0;
      const int code = writer->write({store, offset + at - store_begin}, offset + at, end - at, &written);
      if (code != 0 && first_error == 0) first_error = code;
      if (code != 0) --*refusals;
      *pages += (written + kPage - 1) / kPage;
    }
    at = std::max(end, at + kPage);
  }
  return first_error;
}

// Compares and writes [begin, end) of the file, all of it data in the store. 0 or errno (the first).
int merge_data(int store, std::uint64_t store_begin, int file, std::uint64_t begin, std::uint64_t end,
               std::vector<char>* buffer, std::uint64_t* pages, Truncates truncates, std::uint64_t* refusals) {
  InsideWriter writer(file, begin, end - begin, truncates);
  int first_error = 0;
  for (std::uint64_t at = begin; at < end && *refusals > 0; at += kBatch) {
    std::uint64_t inside = 0;
    int code = inside_file(file, at, std::min<std::uint64_t>(kBatch, end - at), &inside);
    if (code == 0 && inside == 0) break;
    char* ours = buffer->data();
    char* theirs = buffer->data() + kBatch;
    if (code == 0) code = read_zero_filled(store, ours, inside, at - store_begin);
    if (code == 0) code = read_zero_filled(file, theirs, inside, at);
    if (code == 0) code = write_differing(ours, theirs, inside, store, store_begin, &writer, at, pages, refusals);
    if (code != 0 && first_error == 0) first_error = code;  // go on: what can be saved is saved
  }
  if (*pages > 0) writer.touch();
  return first_error;
}

// The first `bytes` of them, up to the end of a page, and the rest.
std::pair<std::vector<MergeRange>, std::vector<MergeRange>> halves(const std::vector<MergeRange>& ranges, std::uint64_t bytes) {
  std::pair<std::vector<MergeRange>, std::vector<MergeRange>> out;
  for (const auto& [begin, length] : ranges) {
    const std::uint64_t cut = bytes == 0 ? begin : (begin + bytes + kPage - 1) / kPage * kPage;
    const std::uint64_t lead = std::min(length, cut - begin);
    if (lead > 0) out.first.push_back({begin, lead});
    if (lead < length) out.second.push_back({begin + lead, length - lead});
    bytes -= std::min(bytes, lead);
  }
  return out;
}

// Through a mapping: a write(2) of ours is an event for our own guard (FAN_PRE_ACCESS), a page fault is none.
int merge_in_order(int store, std::uint64_t store_begin, int file, const std::vector<MergeRange>& ranges, const std::function<bool()>& stop,
                   std::once_flag* touched) {
  std::uint64_t first = kToEndOfFile, last = 0;
  for (const MergeRange& range : ranges) {
    first = std::min(first, range.begin);
    last = std::max(last, range.begin + range.length);
  }
  if (last <= first) return 0;
  InsideWriter writer(file, first, last - first, Truncates::Possible);
  for (const MergeRange& range : ranges) {
    if (stop()) return EKEYREVOKED;
    std::uint64_t inside = 0, written = 0;
    int code = inside_file(file, range.begin, range.length, &inside);
    if (code == 0 && inside > 0)
      code = writer.write({store, range.begin - store_begin}, range.begin, inside, &written);
    if (written > 0) std::call_once(*touched, [&] { writer.touch(); });
    if (code != 0) return code;
  }
  return 0;
}

}  // namespace

int merge_pages(int store, std::uint64_t store_begin, int file, std::uint64_t begin, std::uint64_t length,
                Truncates truncates) {
  if (begin < store_begin) return EINVAL;
  std::uint64_t inside = 0;
  if (const int code = inside_file(file, begin, length, &inside); code != 0) return code;
  for (std::uint64_t at = 0; at < inside; at += kWindow) {
    const std::uint64_t n = std::min(kWindow, inside - at);
    InsideWriter writer(file, begin + at, n, truncates);
    std::uint64_t written = 0;
    const int code = writer.write({store, begin + at - store_begin}, begin + at, n, &written);
    if (at == 0 && written > 0) writer.touch();
    if (code != 0) return code;
    if (written < n) return 0;  // cut off since: those pages are orphans
  }
  return 0;
}

int merge_ranges(int store, std::uint64_t store_begin, int file, const std::vector<MergeRange>& ranges,
                 const std::function<bool()>& stop) {
  std::uint64_t bytes = 0;
  for (const MergeRange& range : ranges) {
    if (range.begin < store_begin) return EINVAL;
    bytes += range.length;
  }
  std::atomic<int> code = 0;  // the first one's
  std::once_flag touched;
  const auto merge = [&](const std::vector<MergeRange>& some) {
    int own = 0, none = 0;
    try {
      own = merge_in_order(store, store_begin, file, some, [&] { return code != 0 || stop(); }, &touched);
    } catch (const std::bad_alloc&) {
      own = ENOMEM;
    }
    code.compare_exchange_strong(none, own);
  };
  if (bytes < kForTwo) {
    merge(ranges);
    return code;
  }
  // Two threads fault pages of a mapping side by side, where two that called write(2) would wait for each other.
  const auto [first, second] = halves(ranges, bytes / 2);
  std::thread other;
  try {
    other = std::thread(merge, std::cref(second));
  } catch (const std::system_error&) {  // no thread to be had
    merge(second);
  }
  merge(first);
  if (other.joinable()) other.join();
  return code;
}

int merge_all(int store, std::uint64_t store_begin, std::uint64_t store_length, int file, std::uint64_t* pages,
              Truncates truncates, std::uint64_t refusals_max) {
  *pages = 0;
  if (store_begin % kPage != 0) return EINVAL;
  int first_error = 0;
  std::vector<char> buffer(2 * kBatch);
  std::uint64_t begin = 0, end = 0;
  for (std::uint64_t at = 0; at < store_length && refusals_max > 0 && next_data(store, at, store_length, &begin, &end); at = end) {
    begin &= ~(kPage - 1);
    end = std::min(end, begin + kWindow);
    const int code = merge_data(store, store_begin, file, store_begin + begin, store_begin + end, &buffer, pages, truncates, &refusals_max);
    if (code != 0 && first_error == 0) first_error = code;
  }
  return first_error;
}

int open_store(const char* name) {
  const int fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "memfd_create");
  return fd;
}

void size_store(int store, std::uint64_t length) {
  const std::uint64_t rounded = (length + kPage - 1) & ~(kPage - 1);
  const bool sized = ::ftruncate(store, static_cast<off_t>(rounded)) == 0;
  // A client that could shrink it would make whoever maps it die of SIGBUS.
  if (!sized || ::fcntl(store, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    throw std::system_error(errno, std::generic_category(), sized ? "cannot seal a memfd" : "cannot size a memfd");
}

int create_store(const char* name, std::uint64_t length) {
  const int fd = open_store(name);
  try {
    size_store(fd, length);
  } catch (...) {
    ::close(fd);
    throw;
  }
  return fd;
}

}  // namespace mrlease::store

// SPDX-License-Identifier: Apache-2.0
// Three contents of each page matter: OURS in the memfd, which the device changes at any moment; THEIRS in the file; and
// the BASE, what both were when they last agreed, of which only a hash is kept. Ours differs from the base: to be
// written. Theirs does: to be taken over. Both: a conflict, ours wins. Every decision is made on a copy of our page, so
// that what is hashed is what is written. All three are looked at up to the lease's END ON THE FILE only; what lies
// beyond it in the last page counts as zeros.
#include <sys/mman.h>
#include <unistd.h>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>
#include <system_error>

#include "daemon/store/busy_page.h"
#include "daemon/store/exchange_page.h"
#include "daemon/store/file_work.h"
#include "daemon/store/inside_writer.h"
#include "daemon/store/page_hash.h"
#include "daemon/store/page_io.h"
#include "daemon/store/settle.h"

namespace mrlease::store {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kBatchPages = kBatch / kPage;
constexpr std::uint64_t kGlancePages = 32;  // what read(2) and readahead(2) ask for at a time, usually

// Of an extend, which only a page that somebody writes to at the same time has to wait for.
constexpr std::chrono::milliseconds kExtendPause{20};
constexpr std::chrono::milliseconds kExtendPatience{500};

// Of a page that is to be written as a whole: two copies that agree; or, better, one at rest, where it can be had.
enum class Copies { Any, Agreeing, AtRest };

std::uint64_t pages_of(std::uint64_t bytes) { return (bytes + kPage - 1) / kPage; }

std::system_error failure(int code, const char* what) { return {code, std::generic_category(), what}; }

}  // namespace

// What is to outlive the process beside the pages: it lies in a memfd of its own, for a successor.
struct Bounce::Notes {
  std::uint64_t end = 0;  // bytes of the lease that are on the file
  std::uint64_t space[7] = {};
  PageHash base[];        // one for each page
  static std::uint64_t bytes(std::uint64_t length) { return sizeof(Notes) + pages_of(length) * sizeof(PageHash); }
};

struct Bounce::Impl {
  Impl(fence::SharedFd f, std::uint64_t o, std::uint64_t l, Truncates truncates);
  ~Impl();

  void open();                                      // throws std::system_error
  int fill(std::uint64_t file_end);
  void adopt(int kept_memfd, int kept_notes);       // throws std::system_error; takes ownership
  void reclaim(const Reclaimed& from);              // throws std::system_error; takes ownership
  void map_notes();
  void map_aside();
  void map_shadow();
  void doubt_all() { in_doubt.assign(pages_of(length), true); }  // a predecessor's, for all we know
  std::size_t batch_bytes() const { return std::min<std::uint64_t>(kBatch, pages_of(length) * kPage); }  // no more than there is

  // ---- a batch of pages ----
  struct Batch {
    std::uint64_t first = 0, count = 0;  // pages
    std::uint64_t end_on_file = 0;       // bytes of the lease, when the batch was copied
  };
  int copy_ours(std::uint64_t first, Batch* batch, const Pages* only = nullptr);
  int copy_only(const Batch& batch, std::uint64_t bytes, const Pages& only);
  int end_now(std::uint64_t* end) const;
  PageHash hash_ours(const Batch& b, std::uint64_t page) const { return hash_page(ours + (page - b.first) * kPage); }

  // ---- flush ----
  PageHash copy_again(const Batch& batch, Copies copies, std::uint64_t page);
  void flush_batch(const Batch& batch, const Pages* only, Copies copies, Result* result, Pages* written);
  void write_run(const Batch& batch, std::uint64_t begin, std::uint64_t end, const PageHash* fresh, Result* result,
                 Pages* written);
  Pages flush_pages(const Pages* only, Result* result, Copies copies);
  void write_again(Result* result);

  // ---- what else happens to the file ----
  void merge_batch(const Batch& batch, Result* result);
  int move_end(std::uint64_t file_end, Pages* taken);
  int take_stretch(std::uint64_t begin, std::uint64_t end, bool begin_clean, Pages* taken);
  int take_bytes(std::uint64_t begin, std::uint64_t stop, const char* bytes, Pages* taken);
  int take_again(const Pages& pages, std::uint64_t begin, Pages* taken);

  void fail(Result* result, int code, std::uint64_t page, const char* verb) const;

  std::mutex mutex;
  const fence::SharedFd file;
  const std::uint64_t offset, length;
  InsideWriter writer;            // under mutex
  int memfd = -1;
  int aside = -1;                 // a memfd of one batch, ours alone: what the file is written from
  int notes_fd = -1;
  Notes* notes = nullptr;         // under mutex
  std::uint64_t& end() const { return notes->end; }
  PageHash* base() const { return notes->base; }
  Clock::time_point last_written;  // under mutex: by a flush of any kind
  Pages busy, at_rest;             // under mutex, of a settled flush: looked at again; of those, copied at rest
  std::vector<bool> in_doubt;      // under mutex: pages written since an fsync(2) succeeded
  char* ours = nullptr;           // under mutex: a batch of our pages, aside's mapping
  void* shadow = nullptr;         // of all pages, for mincore(2) only
  const std::unique_ptr<char[]> theirs_data;  // under mutex: a batch of the file's
  char* const theirs;
};

Bounce::Impl::Impl(fence::SharedFd f, std::uint64_t o, std::uint64_t l, Truncates truncates)
    : file(std::move(f)),
      offset(o),
      length(l),
      writer(file.get(), o, l, truncates),
      in_doubt(pages_of(l)),
      theirs_data(std::make_unique_for_overwrite<char[]>(batch_bytes())),
      theirs(theirs_data.get()) {}

Bounce::Impl::~Impl() {
  if (ours != nullptr) ::munmap(ours, batch_bytes());
  if (shadow != nullptr) ::munmap(shadow, length);
  if (notes != nullptr) ::munmap(notes, Notes::bytes(length));
  if (notes_fd >= 0) ::close(notes_fd);
  if (aside >= 0) ::close(aside);
  if (memfd >= 0) ::close(memfd);
}

void Bounce::Impl::open() {
  memfd = create_store("mrlease-bounce", length);
  notes_fd = create_store("mrlease-notes", Notes::bytes(length));
  map_notes();  // zeros: kDirty
  map_aside();
  map_shadow();
  std::uint64_t size = 0;
  int code = file_size(file.get(), &size);
  if (code == 0) code = fill(size);
  if (code != 0) throw failure(code, "cannot fill the bounce pages from the file");
}

// Nobody else has the pages yet: nothing of ours is there to be looked at first. Pages of zeros stay holes.
int Bounce::Impl::fill(std::uint64_t file_end) {
  static constexpr char kZeros[kPage] = {};
  const std::uint64_t to = file_end <= offset ? 0 : std::min(length, file_end - offset);
  for (std::uint64_t begin = 0; begin < to; begin += kBatch) {
    const std::uint64_t bytes = std::min<std::uint64_t>(kBatch, to - begin), first = begin / kPage, count = pages_of(bytes);
    if (const int code = read_zero_filled(file.get(), theirs, bytes, offset + begin); code != 0) return code;
    std::memset(theirs + bytes, 0, count * kPage - bytes);
    const auto is_hole = [&](std::uint64_t page) { return page == count || std::memcmp(theirs + page * kPage, kZeros, kPage) == 0; };
    std::uint64_t run = 0;  // begins where the last hole ended
    for (std::uint64_t page = 0; page <= count; page++) {
      if (page < count) base()[first + page] = hash_page(theirs + page * kPage);
      if (!is_hole(page)) continue;
      std::size_t written = 0;
      const std::uint64_t end_of_run = std::min(page * kPage, bytes);
      const int code = page == run ? 0 : write_all(memfd, theirs + run * kPage, end_of_run - run * kPage, begin + run * kPage, &written);
      if (code != 0) return code;
      run = page + 1;
    }
    end() = begin + bytes;
  }
  return 0;
}

void Bounce::Impl::map_notes() {
  void* p = ::mmap(nullptr, Notes::bytes(length), PROT_READ | PROT_WRITE, MAP_SHARED, notes_fd, 0);
  if (p == MAP_FAILED) throw failure(errno, "cannot map the memory for page hashes");
  notes = static_cast<Notes*>(p);
}

void Bounce::Impl::map_aside() {
  aside = create_store("mrlease-aside", batch_bytes());
  void* p = ::mmap(nullptr, batch_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, aside, 0);
  if (p == MAP_FAILED) throw failure(errno, "cannot map the memory to copy pages aside");
  ours = static_cast<char*>(p);
}

// Without access: nothing is ever there that the kernel would have to take away.
void Bounce::Impl::map_shadow() {
  void* p = ::mmap(nullptr, length, PROT_NONE, MAP_SHARED, memfd, 0);
  if (p == MAP_FAILED) throw failure(errno, "cannot map the bounce pages");
  shadow = p;
}

void Bounce::Impl::adopt(int kept_memfd, int kept_notes) {
  memfd = kept_memfd;
  notes_fd = kept_notes;
  const auto big_enough = [](int fd, std::uint64_t bytes) {
    std::uint64_t size = 0;
    return file_size(fd, &size) == 0 && size >= bytes;
  };
  if (!big_enough(memfd, length) || !big_enough(notes_fd, Notes::bytes(length)))
    throw failure(EINVAL, "the kept bounce pages are not this lease's");
  map_notes();
  if (end() > length) throw failure(EINVAL, "the kept notes on the bounce pages are damaged");
  map_aside();
  map_shadow();
  last_written = Clock::now();  // by the predecessor, for all we know
  doubt_all();
}

void Bounce::Impl::reclaim(const Reclaimed& from) {
  memfd = from.memfd;
  std::uint64_t size = 0;
  if (file_size(memfd, &size) != 0 || size < length)
    throw failure(EINVAL, "the bounce pages to reclaim are smaller than the lease");
  notes_fd = create_store("mrlease-notes", Notes::bytes(length));
  map_notes();  // zeros: kDirty
  map_aside();
  map_shadow();
  int code = file_size(file.get(), &size);
  if (code != 0) throw failure(code, "cannot look at the file");
  end() = size <= offset ? 0 : std::min({length, size - offset, from.on_file});
  for (std::uint64_t page = 0; page < pages_of(end()); page += kBatchPages) {
    Batch batch;
    code = copy_ours(page, &batch);
    const std::uint64_t bytes = batch.count == 0 ? 0 : std::min(batch.count * kPage, batch.end_on_file - page * kPage);
    if (code == 0) code = read_zero_filled(file.get(), theirs, bytes, offset + page * kPage);
    if (code != 0) throw failure(code, "cannot compare the bounce pages with the file");
    std::memset(theirs + bytes, 0, batch.count * kPage - bytes);
    for (std::uint64_t i = 0; i < batch.count; i++) {
      const PageHash here = hash_ours(batch, page + i);
      const PageHash in_file = hash_page(theirs + i * kPage);
      // Nobody has written to what is for reading: what differs was written to the file.
      if (here != in_file && !from.write) code = exchange_page(memfd, (page + i) * kPage, ours + i * kPage, theirs + i * kPage);
      if (code != 0) throw failure(code, "cannot take over a page of the file");
      if (here == in_file || !from.write) base()[page + i] = in_file;
    }
  }
  last_written = Clock::now();  // by the predecessor, for all we know
  if (from.write) doubt_all();
}

void Bounce::Impl::fail(Result* result, int code, std::uint64_t page, const char* verb) const {
  if (result->code != 0) return;  // the first one tells
  result->code = code;
  result->text = std::string("cannot ") + verb + " the file at offset " + std::to_string(offset + page * kPage) + ": " +
                 std::strerror(code) + "; nothing is forgotten, the next flush tries again";
}

// The lease's end on the file as it is now: a truncate may have come that nobody has told us yet.
int Bounce::Impl::end_now(std::uint64_t* now) const {
  std::uint64_t size = 0;
  if (const int code = file_size(file.get(), &size); code != 0) return code;
  *now = size <= offset ? 0 : std::min(end(), size - offset);
  return 0;
}

// only: the others of the batch are left as they are, and are not to be looked at.
int Bounce::Impl::copy_ours(std::uint64_t first, Batch* batch, const Pages* only) {
  batch->first = first;
  if (const int code = end_now(&batch->end_on_file); code != 0) return code;
  const std::uint64_t begin = first * kPage;
  const std::uint64_t bytes = batch->end_on_file <= begin ? 0 : std::min<std::uint64_t>(kBatch, batch->end_on_file - begin);
  batch->count = pages_of(bytes);
  // pread, not a mapping: a page that the client has punched out, or bad memory, is then an errno and not a SIGBUS.
  const int code = only != nullptr ? copy_only(*batch, bytes, *only) : read_zero_filled(memfd, ours, bytes, begin);
  if (code != 0) return code;
  std::memset(ours + bytes, 0, batch->count * kPage - bytes);
  return 0;
}

// In runs of pages that follow each other.
int Bounce::Impl::copy_only(const Batch& batch, std::uint64_t bytes, const Pages& only) {
  const auto end = std::lower_bound(only.begin(), only.end(), batch.first + batch.count);
  for (auto run = std::lower_bound(only.begin(), only.end(), batch.first); run != end;) {
    auto next = run + 1;
    while (next != end && *next == next[-1] + 1) next++;
    const std::uint64_t from = (*run - batch.first) * kPage, to = std::min((next[-1] + 1 - batch.first) * kPage, bytes);
    if (const int code = read_zero_filled(memfd, ours + from, to - from, batch.first * kPage + from); code != 0) return code;
    run = next;
  }
  return 0;
}

// Writes pages [begin, end) of the batch. The bases are kept only after full success.
void Bounce::Impl::write_run(const Batch& batch, std::uint64_t begin, std::uint64_t run_end, const PageHash* fresh,
                             Result* result, Pages* written) {
  std::uint64_t now = 0;
  if (const int code = end_now(&now); code != 0) return fail(result, code, begin, "stat");
  const std::uint64_t from = begin * kPage;
  const std::uint64_t to = std::min(run_end * kPage, std::min(now, batch.end_on_file));
  if (to <= from) return;  // cut off since
  const std::uint64_t in_aside = from - batch.first * kPage;
  std::uint64_t done = 0;
  const int code = writer.write({aside, in_aside, ours + in_aside}, offset + from, to - from, &done);
  for (std::uint64_t page = begin; page < run_end; page++) {
    const bool whole = from + done >= std::min((page + 1) * kPage, batch.end_on_file);
    if (!whole) break;
    base()[page] = fresh[page - batch.first];
    in_doubt[page] = true;
    written->push_back(page);
    result->pages_written++;
  }
  if (code != 0) fail(result, code, begin + done / kPage, "write");
}

PageHash Bounce::Impl::copy_again(const Batch& batch, Copies copies, std::uint64_t page) {
  const PageCopy copy{memfd, page, std::min(kPage, batch.end_on_file - page * kPage), ours + (page - batch.first) * kPage};
  if (copies != Copies::AtRest) {
    copy_agreeing(copy);
  } else if (copy_at_rest(copy, busy)) {
    at_rest.push_back(page);
  }
  return hash_ours(batch, page);
}

void Bounce::Impl::flush_batch(const Batch& batch, const Pages* only, Copies copies, Result* result, Pages* written) {
  PageHash fresh[kBatchPages];
  const std::uint64_t batch_end = batch.first + batch.count;
  std::uint64_t run = batch_end;  // where the run of changed pages begins; batch_end: none
  for (std::uint64_t page = batch.first; page < batch_end; page++) {
    const bool wanted = only == nullptr || std::binary_search(only->begin(), only->end(), page);
    bool changed = false;
    if (wanted) {
      fresh[page - batch.first] = hash_ours(batch, page);
      changed = fresh[page - batch.first] != base()[page];
      if (changed && copies != Copies::Any) fresh[page - batch.first] = copy_again(batch, copies, page);
    }
    if (changed && run == batch_end) run = page;
    if (!changed && run != batch_end) {
      write_run(batch, run, page, fresh, result, written);
      run = batch_end;
    }
  }
  if (run != batch_end) write_run(batch, run, batch_end, fresh, result, written);
}

// Returns the pages that were written, and may have been written to meanwhile. An error does not end it: what can be saved
// is saved.
Pages Bounce::Impl::flush_pages(const Pages* only, Result* result, Copies copies) {
  Pages written;
  at_rest.clear();
  // The last one of them is not alone: the others are written still.
  if (copies != Copies::Any && only != nullptr && only->size() > 1) busy = *only;
  std::uint64_t page = 0;
  for (std::size_t i = 0;; page += kBatchPages) {
    if (only != nullptr) {
      while (i < only->size() && (*only)[i] < page) i++;
      if (i == only->size()) break;
      page = (*only)[i];
    }
    Batch batch;
    if (const int code = copy_ours(page, &batch, only); code != 0) {
      fail(result, code, page, "copy a page for");
      break;
    }
    if (batch.count == 0) break;
    flush_batch(batch, only, copies, result, &written);
  }
  if (!written.empty()) {
    writer.touch();
    last_written = Clock::now();
  }
  std::erase_if(written, [this](std::uint64_t each) { return std::binary_search(at_rest.begin(), at_rest.end(), each); });
  return written;
}

void Bounce::Impl::write_again(Result* result) {
  Pages pages;
  for (std::uint64_t page = 0; page < in_doubt.size(); page++)
    if (in_doubt[page]) pages.push_back(page);
  for (const std::uint64_t page : pages) base()[page] = kDirty;
  flush_pages(&pages, result, Copies::Any);
}

void Bounce::Impl::merge_batch(const Batch& batch, Result* result) {
  const std::uint64_t begin = batch.first * kPage;
  const std::uint64_t bytes = std::min(batch.count * kPage, batch.end_on_file - begin);
  if (const int code = read_zero_filled(file.get(), theirs, bytes, offset + begin); code != 0) {
    return fail(result, code, batch.first, "read");
  }
  std::memset(theirs + bytes, 0, batch.count * kPage - bytes);
  for (std::uint64_t i = 0; i < batch.count; i++) {
    const std::uint64_t page = batch.first + i;
    const PageHash in_file = hash_page(theirs + i * kPage), here = hash_ours(batch, page);
    if (in_file == base()[page]) continue;
    if (in_file == here) {
      base()[page] = here;
    } else if (here != base()[page]) {
      result->conflicts++;
    } else if (const int code = exchange_page(memfd, page * kPage, ours + i * kPage, theirs + i * kPage); code == EBUSY) {
      result->conflicts++;  // as if it had been written before we looked
    } else if (code != 0) {
      return fail(result, code, page, "take over a page of");
    } else {
      base()[page] = in_file;
    }
  }
}

// Bytes [begin, stop) of the lease, a batch at most, become those at `bytes`, page by page where they differ; these pages
// are added to `taken`. A page that does not differ is not written: a device may be in the middle of it.
int Bounce::Impl::take_bytes(std::uint64_t begin, std::uint64_t stop, const char* bytes, Pages* taken) {
  if (const int code = read_zero_filled(memfd, ours, stop - begin, begin); code != 0) return code;
  for (std::uint64_t at = begin; at < stop;) {
    const std::uint64_t next = std::min(stop, (at / kPage + 1) * kPage);
    if (std::memcmp(ours + (at - begin), bytes + (at - begin), next - at) != 0) {
      std::size_t done = 0;
      if (const int code = write_all(memfd, bytes + (at - begin), next - at, at, &done); code != 0) return code;
      taken->push_back(at / kPage);
    }
    at = next;
  }
  return 0;
}

// Takes file content for bytes [begin, end) of the lease, within one batch that starts at begin's page.
int Bounce::Impl::take_stretch(std::uint64_t begin, std::uint64_t stretch_end, bool begin_clean, Pages* taken) {
  const std::uint64_t first = begin / kPage, bytes = stretch_end - begin, lead = begin % kPage;
  char* buffer = theirs;
  // The part of the first page that was on the file before stays ours.
  if (const int code = read_zero_filled(memfd, buffer, lead, first * kPage); code != 0) return code;
  if (const int code = read_zero_filled(file.get(), buffer + lead, bytes, offset + begin); code != 0) return code;
  const std::uint64_t count = pages_of(lead + bytes);
  std::memset(buffer + lead + bytes, 0, count * kPage - lead - bytes);
  if (const int code = take_bytes(begin, stretch_end, buffer + lead, taken); code != 0) return code;
  for (std::uint64_t i = 0; i < count; i++) base()[first + i] = i > 0 || begin_clean ? hash_page(buffer + i * kPage) : kDirty;
  return 0;
}

// What lies before `begin` stays ours.
int Bounce::Impl::take_again(const Pages& pages, std::uint64_t begin, Pages* taken) {
  for (const std::uint64_t page : pages) {
    const std::uint64_t from = std::max(begin, page * kPage), to = std::min(end(), (page + 1) * kPage);
    if (from >= to) continue;
    int code = read_zero_filled(file.get(), theirs, to - from, offset + from);
    if (code == 0) code = take_bytes(from, to, theirs, taken);
    if (code != 0) return code;
  }
  return 0;
}

// Moves the lease's end on the file. The page that the old end cuts, and the one that the new end cuts, get a base for
// what is on the file of them now; a page of which something was still to be written stays so.
int Bounce::Impl::move_end(std::uint64_t file_end, Pages* taken) {
  const std::uint64_t to = file_end <= offset ? 0 : std::min(length, file_end - offset);
  if (to == end()) return 0;
  const std::uint64_t cut = std::min(end(), to) / kPage;
  bool clean = true;
  if (cut * kPage < end()) {
    const std::uint64_t bytes = std::min(kPage, end() - cut * kPage);
    const int code = read_zero_filled(memfd, ours, bytes, cut * kPage);
    if (code != 0 && to > end()) return code;  // a trim always succeeds: what we cannot look at counts as changed
    std::memset(ours + bytes, 0, kPage - bytes);
    clean = code == 0 && hash_page(ours) == base()[cut];
  }
  if (to < end()) {
    end() = to;
    if (to % kPage == 0) return 0;
    std::memset(ours + to % kPage, 0, kPage - to % kPage);
    base()[cut] = clean ? hash_page(ours) : kDirty;
    return 0;
  }
  while (end() < to) {
    const std::uint64_t stop = std::min(to, end() / kPage * kPage + kBatch);
    if (const int code = take_stretch(end(), stop, clean, taken); code != 0) return code;
    end() = stop;
    clean = true;
  }
  return 0;
}

Bounce::Bounce(fence::SharedFd file, std::uint64_t offset, std::uint64_t length, Truncates truncates)
    : impl_(std::make_unique<Impl>(std::move(file), offset, length, truncates)) {
  Impl& i = *impl_;
  if (offset % kPage != 0 || length == 0) throw failure(EINVAL, "a bounce lease starts on a page and is not empty");
  const int flags = ::fcntl(i.file.get(), F_GETFL);
  if (flags < 0) throw failure(errno, "cannot use the descriptor of the file");
  if ((flags & O_APPEND) != 0) throw failure(EINVAL, "open the file without O_APPEND: it would append every page");
  if ((flags & O_ACCMODE) == O_WRONLY) throw failure(EACCES, "open the file for reading too: bounce pages start from it");
  i.open();
}

Bounce::Bounce(fence::SharedFd file, std::uint64_t offset, std::uint64_t length, Truncates truncates, int memfd, int notes)
    : impl_(std::make_unique<Impl>(std::move(file), offset, length, truncates)) {
  impl_->adopt(memfd, notes);
}

Bounce::Bounce(fence::SharedFd file, std::uint64_t offset, std::uint64_t length, Truncates truncates, Reclaimed reclaimed)
    : impl_(std::make_unique<Impl>(std::move(file), offset, length, truncates)) {
  impl_->reclaim(reclaimed);
}

Bounce::~Bounce() = default;

int Bounce::notes() const { return impl_->notes_fd; }

int Bounce::memfd() const { return impl_->memfd; }

Bounce::Result Bounce::flush(std::uint64_t begin, std::uint64_t end) {
  std::lock_guard lock(impl_->mutex);
  Result result;
  const std::uint64_t stop = pages_of(std::min(end, impl_->end()));
  if (begin == 0 && end >= impl_->end()) {
    impl_->flush_pages(nullptr, &result, Copies::Any);
  } else if (begin / kPage < stop) {
    Pages pages(stop - begin / kPage);
    std::iota(pages.begin(), pages.end(), begin / kPage);
    impl_->flush_pages(&pages, &result, Copies::Any);
  }
  return result;
}

bool Bounce::nothing_to_flush(std::uint64_t begin, std::uint64_t end) {
  std::unique_lock lock(impl_->mutex, std::try_to_lock);
  if (!lock) return false;
  const Impl& i = *impl_;
  const std::uint64_t first = begin / kPage, stop = pages_of(std::min(end, i.end()));
  if (first >= stop) return true;
  if (stop - first > kGlancePages) return false;
  // What the device's memory region holds is there; of what is not, a client could have the loop wait for the swap device.
  unsigned char there[kGlancePages];
  if (::mincore(static_cast<char*>(i.shadow) + first * kPage, (stop - first) * kPage, there) != 0) return false;
  if (!std::all_of(there, there + (stop - first), [](unsigned char page) { return page & 1; })) return false;
  // Up to the end as it is noted: where the file has been cut since, the part that was cut is looked at too.
  const std::uint64_t bytes = std::min(stop * kPage, i.end()) - first * kPage, count = stop - first;
  if (read_zero_filled(i.memfd, i.ours, bytes, first * kPage) != 0) return false;
  std::memset(i.ours + bytes, 0, count * kPage - bytes);
  for (std::uint64_t page = 0; page < count; page++)
    if (hash_page(i.ours + page * kPage) != i.base()[first + page]) return false;
  return true;
}

Bounce::Result Bounce::sync(int (*fsync)(int)) {
  Result result;
  std::vector<bool> answered_for;  // by this fsync: what is written while it runs may be, or not
  {
    std::lock_guard lock(impl_->mutex);
    impl_->flush_pages(nullptr, &result, Copies::Any);
    if (result.code != 0) return result;
    answered_for = std::exchange(impl_->in_doubt, std::vector<bool>(impl_->in_doubt.size()));
  }
  // Not under the mutex: a foreign read may wait for a flush.
  if (fsync(impl_->file.get()) == 0) return result;
  result.code = errno;
  result.text = std::string("fsync: ") + std::strerror(result.code) + "; what was written is written again";
  std::lock_guard lock(impl_->mutex);
  for (std::size_t page = 0; page < answered_for.size(); page++)
    if (answered_for[page]) impl_->in_doubt[page] = true;
  Result again = result;  // it has failed already: what this comes to, the next one tells
  impl_->write_again(&again);
  return result;
}

void Bounce::sync_failed() {
  std::lock_guard lock(impl_->mutex);
  Result result;
  impl_->write_again(&result);
}

Bounce::Result Bounce::flush_settled(std::chrono::milliseconds patience, std::chrono::milliseconds pause) {
  Impl& i = *impl_;
  std::lock_guard lock(i.mutex);
  Result result;
  // What a sync or a read has written just now was perhaps caught in the middle too, and need not have changed since.
  const bool others = Clock::now() - i.last_written < kStillPauses * pause;
  i.busy.clear();
  Pages written = i.flush_pages(nullptr, &result, Copies::Agreeing);
  result.unsettled = settle({i.memfd, pages_of(i.end()), std::move(written), others}, patience, pause,
                            [&](const Pages* only, bool hot) { return i.flush_pages(only, &result, hot ? Copies::AtRest : Copies::Agreeing); });
  return result;
}

void Bounce::trim(std::uint64_t file_size) {
  std::lock_guard lock(impl_->mutex);
  if (file_size < impl_->offset + impl_->end()) impl_->move_end(file_size, nullptr);  // takes nothing
}

Bounce::Result Bounce::extend(std::uint64_t file_size) {
  std::lock_guard lock(impl_->mutex);
  Result result;
  Impl& i = *impl_;
  if (file_size <= i.offset + i.end()) return result;
  const std::uint64_t begin = i.end();
  Pages taken;
  int code = i.move_end(file_size, &taken);
  // A write that was under way has lost a part: it loses all of it, since it began before the page was on the file.
  settle({i.memfd, pages_of(i.end()), std::move(taken)}, kExtendPatience, kExtendPause, [&](const Pages* only, bool) {
    Pages again;
    if (const int failed = i.take_again(*only, begin, &again); failed != 0) code = failed;
    return again;
  });
  if (code != 0) i.fail(&result, code, i.end() / kPage, "take back");
  return result;
}

Bounce::Result Bounce::merge_from_file() {
  std::lock_guard lock(impl_->mutex);
  Result result;
  for (std::uint64_t page = 0;; page += kBatchPages) {
    Impl::Batch batch;
    const int code = impl_->copy_ours(page, &batch);
    if (code != 0) impl_->fail(&result, code, page, "copy a page for");
    if (code != 0 || batch.count == 0) return result;
    impl_->merge_batch(batch, &result);
  }
}

}  // namespace mrlease::store

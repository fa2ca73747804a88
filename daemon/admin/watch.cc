// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/watch.h"

#include <algorithm>
#include <utility>

#include "daemon/admin/words.h"

namespace mrlease::admin {

namespace {

constexpr std::size_t kBatch = 64;

// The file that an event is about; nothing: about none.
const session::FileRef* file_of(const session::Happening& h) {
  namespace happening = session::happening;
  return std::visit(
      [](const auto& x) -> const session::FileRef* {
        if constexpr (requires { x.lease.file; }) return &x.lease.file;
        else if constexpr (requires { x.note.file; }) return &x.note.file;
        else if constexpr (requires { x.file; }) return &x.file;
        else return nullptr;
      },
      h.what);
}

}  // namespace

class Watch::Reactor final : public WatchReactor {
 public:
  explicit Reactor(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}
  void OnWriteDone(bool ok) override {
    watch_->office_.post([watch = watch_, ok] {
      watch->writing_ = false;
      if (ok) watch->pump();
      else watch->finish({grpc::StatusCode::CANCELLED, "the caller has gone"});
    });
  }
  void OnCancel() override {
    watch_->office_.post([watch = watch_] { watch->finish({grpc::StatusCode::CANCELLED, "the caller has gone"}); });
  }
  void OnDone() override { delete this; }

 private:
  std::shared_ptr<Watch> watch_;
};

WatchReactor* Watch::begin() {
  reactor_ = new Reactor(shared_from_this());
  return reactor_;
}

void Watch::finish(grpc::Status status) {
  if (std::exchange(over_, true)) return;
  std::exchange(reactor_, nullptr)->Finish(std::move(status));
}

void Watch::start(std::optional<core::FileKey> file) {
  if (over_) return;
  file_ = file;
  const auto bounds = events_.bounds();
  cursor_ = query_.after.value_or(bounds.head);
  if (cursor_ > bounds.head || cursor_ + 1 < bounds.oldest)
    return finish({grpc::StatusCode::OUT_OF_RANGE,
                   "after_sequence: " + std::to_string(cursor_) + " is not kept; there are " + std::to_string(bounds.oldest) + " to " +
                       std::to_string(bounds.head) + ": list anew, then watch without it"});
  events_.listen(weak_from_this());
  message_.set_epoch(events_.epoch());
  write();
}

void Watch::write() {
  message_.set_head(events_.bounds().head);
  writing_ = true;
  reactor_->StartWrite(&message_);
}

// A reader that is too slow holds a write up; when that ends, what it has missed is known.
void Watch::pump() {
  while (!writing_ && !over_) {
    const auto entries = events_.read(cursor_, kBatch);
    if (!entries) return lost();
    if (entries->empty()) return;
    for (const auto& entry : *entries) {
      cursor_ = entry.sequence;
      if (!wanted(*entry.happening)) continue;
      message_.Clear();
      fill(message_.mutable_event(), *entry.happening);
      message_.mutable_event()->set_sequence(entry.sequence);
      const int type = message_.event().what_case();
      if (!query_.types.empty() && std::find(query_.types.begin(), query_.types.end(), type) == query_.types.end()) continue;
      write();
      break;
    }
  }
}

// Not the oldest that is kept: that one is gone before the reader is back. It gets half of what is kept as a start.
void Watch::lost() {
  const auto [oldest, head] = events_.bounds();
  const std::uint64_t resume = oldest - 1 + (head - (oldest - 1)) / 2;
  finish({grpc::StatusCode::RESOURCE_EXHAUSTED,
          "read too slowly: events " + std::to_string(cursor_ + 1) + " to " + std::to_string(resume) +
              " are lost; go on with after_sequence " + std::to_string(resume) + ", or read faster"});
}

// One that does not read at all is never told, since what is told first is in its way. It has had the time in which all that
// is kept came twice anew.
void Watch::drop_idle() {
  const auto [oldest, head] = events_.bounds();
  if (writing_ && !over_ && cursor_ + 2 * (head - oldest + 1) < oldest) context_->TryCancel();
}

bool Watch::wanted(const session::Happening& happening) const {
  if (!file_) return true;
  const session::FileRef* file = file_of(happening);
  return file != nullptr && file->key == *file_;
}

}  // namespace mrlease::admin

// SPDX-License-Identifier: Apache-2.0
// Bounce: the daemon has the same memfd mapped and does all the work; only a revoke comes here, and the region serves
// that.
#include <sys/mman.h>

#include "client-lib/src/backing/backing.h"

namespace mrlease::client {
namespace {

class Bounce final : public Backing {
 public:
  explicit Bounce(Services& services) : services_(services) {}
  Outcome comply(RecallOrder order) override { return not_for_this_backing(order.recall, "bounce"); }
  Outcome extend(std::uint64_t file_size, TakeBack) override {
    services_.set_file_size(file_size);
    return {};
  }
  Outcome come_back(const RecallOrder&) override { return {}; }  // the pages go to the next daemon
  Outcome merge_locally() override {
    const Layout& l = services_.layout();
    if ((l.protection & PROT_WRITE) == 0) return {};
    return write_back(l.file, l.file_offset, l.base, services_.on_file());
  }

 private:
  Services& services_;
};

}  // namespace

std::unique_ptr<Backing> make_bounce(Services& services) { return std::make_unique<Bounce>(services); }

}  // namespace mrlease::client

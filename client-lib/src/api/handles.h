// SPDX-License-Identifier: Apache-2.0
// What the opaque pointers of mrlease.h point at.
#pragma once

#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <vector>

#include "client-lib/src/api/last_error.h"
#include "client-lib/src/cache/registration_cache.h"
#include "client-lib/src/region/context.h"
#include "client-lib/src/region/region.h"
#include "mrlease/mrlease.h"

struct mrl_region : mrlease::client::CachedRange {
  mrl_ctx* context = nullptr;
  std::shared_ptr<mrlease::client::Region> impl;
};

struct mrl_ctx {
  std::unique_ptr<mrlease::client::Context> impl;
  std::mutex mutex;
  mrlease::client::RegistrationCache cache;  // of the regions
  std::mutex adopting;                       // of mrl_reg_mr(): one registers what the other finds. Before mutex
  std::map<mrl_region*, std::unique_ptr<mrl_region>> regions;  // those that mrl_close() would have to end
  std::vector<std::unique_ptr<mrl_region>> ended;              // their handles, for others; see CachedRange
  std::map<mrl_freeze*, std::unique_ptr<mrl_freeze>> freezes;
};

struct mrl_freeze {
  mrl_ctx* context = nullptr;
  std::uint64_t id = 0;
  std::shared_ptr<mrlease::client::Connection> connection;  // the freeze ends with it
};

namespace mrlease::client {

// No exception crosses the C boundary.
template <typename Call>
int guarded(Call&& call) noexcept {
  try {
    return remember(call());
  } catch (const std::system_error& e) {
    return remember({e.code().value() > 0 ? e.code().value() : EIO, e.what()});
  } catch (const std::bad_alloc&) {
    return remember({ENOMEM, "out of memory"});
  } catch (const std::exception& e) {
    return remember({EIO, e.what()});
  }
}

// Its last reference is gone. EBUSY: it goes on as it was (Region::dereg()); else it has ended, and ctx->regions has it no more.
Outcome end_region(mrl_region* region);

inline Outcome missing(const char* what) { return {EINVAL, std::string(what) + " is NULL"}; }

}  // namespace mrlease::client

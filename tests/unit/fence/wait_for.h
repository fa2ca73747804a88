// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "daemon/fence/fence.h"

namespace mrlease::fence {

// What a fence comes to; Failed where it says nothing for 20 s.
inline Result wait_for(Order order) {
  auto promise = std::make_shared<std::promise<Result>>();  // a second call of done would throw
  auto future = promise->get_future();
  run(std::move(order), [promise](Result r) { promise->set_value(std::move(r)); });
  if (future.wait_for(std::chrono::seconds(20)) != std::future_status::ready) return {Outcome::Failed, "done never came"};
  return future.get();
}

}  // namespace mrlease::fence

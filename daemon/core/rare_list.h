// SPDX-License-Identifier: Apache-2.0
// A list that is nearly always empty: one pointer then, where a vector has three.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace mrlease::core {

template <typename T>
class RareList {
 public:
  RareList() = default;
  RareList(std::vector<T> all) : all_(all.empty() ? nullptr : std::make_unique<std::vector<T>>(std::move(all))) {}

  bool empty() const { return all_ == nullptr; }
  const T* begin() const { return all_ ? all_->data() : nullptr; }
  const T* end() const { return all_ ? all_->data() + all_->size() : nullptr; }
  void push_back(const T& one) {
    if (!all_) all_ = std::make_unique<std::vector<T>>();
    all_->push_back(one);
  }
  // All that equal it.
  void remove(const T& one) {
    if (all_ && std::erase(*all_, one) > 0 && all_->empty()) all_.reset();
  }

 private:
  std::unique_ptr<std::vector<T>> all_;  // never an empty one
};

}  // namespace mrlease::core

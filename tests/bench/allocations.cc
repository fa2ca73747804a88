// SPDX-License-Identifier: Apache-2.0
#include "allocations.h"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace {
std::size_t living = 0;
}

namespace mrlease::bench {
std::size_t allocated() { return living; }
}

// The array and nothrow forms come to these two; over-aligned types, which do not, are not used here.
void* operator new(std::size_t size) {
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  living += ::malloc_usable_size(memory);
  return memory;
}

void operator delete(void* memory) noexcept {
  living -= ::malloc_usable_size(memory);
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

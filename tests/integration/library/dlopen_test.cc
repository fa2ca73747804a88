// SPDX-License-Identifier: Apache-2.0
// libmrlease in a plugin's life: dlopen, threads of the caller, dlclose in its order and out of it.
#include <dlfcn.h>
#include <mrlease/mrlease.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

std::size_t entries(const char* folder) {
  const auto all = std::filesystem::directory_iterator(folder);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class Library {
 public:
  Library() : handle_(::dlopen(MRLEASE_LIBRARY, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw std::runtime_error(::dlerror());
  }
  ~Library() { ::dlclose(handle_); }
  template <typename Function>
  Function* find(const char* name) const {
    void* symbol = ::dlsym(handle_, name);
    if (symbol == nullptr) throw std::runtime_error(std::string(name) + " is not there");
    return reinterpret_cast<Function*>(symbol);
  }

 private:
  void* handle_;
};
#define FIND(library, name) (library).find<decltype(name)>(#name)  // the prototype is the header's, the function the library's

class DlopenTest : public DaemonTest {
 protected:
  mrl_open_options options() {
    mrl_open_options o{};
    o.struct_size = sizeof o;
    o.socket_path = daemon->socket().c_str();
    return o;
  }
  void use(const Library& library) {
    const mrl_open_options o = options();
    mrl_ctx* ctx = nullptr;
    ASSERT_EQ(FIND(library, mrl_open)(&o, &ctx), 0) << FIND(library, mrl_last_error)();
    EXPECT_EQ(FIND(library, mrl_file_sync)(ctx, fd.get(), 0, 0), 0);
    EXPECT_EQ(FIND(library, mrl_file_sync)(ctx, -1, 0, 0), EBADF);
    EXPECT_EQ(FIND(library, mrl_close)(ctx), 0);
  }
};

TEST_F(DlopenTest, ComesAndGoesWithoutATrace) {
  start();
  {
    const Library library;
    use(library);
  }
  const std::size_t threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
  for (int i = 0; i < 20; i++) {
    const Library library;
    use(library);
  }
  EXPECT_EQ(entries("/proc/self/task"), threads);
  EXPECT_EQ(entries("/proc/self/fd"), descriptors);
}

TEST_F(DlopenTest, ThreadsOfTheCallerShareAContext) {
  start();
  const Library library;
  const mrl_open_options o = options();
  mrl_ctx* ctx = nullptr;
  ASSERT_EQ(FIND(library, mrl_open)(&o, &ctx), 0);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) threads.emplace_back([&, i] {
    const int bad = -1 - i;
    for (int k = 0; k < 50; k++) {
      wrong += FIND(library, mrl_file_sync)(ctx, fd.get(), 0, 0) != 0;
      wrong += FIND(library, mrl_file_sync)(ctx, bad, 0, 0) != EBADF;
      // The sentence is of this thread.
      wrong += std::string(FIND(library, mrl_last_error)()).find("descriptor " + std::to_string(bad) + " ") == std::string::npos;
    }
  });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(FIND(library, mrl_close)(ctx), 0);
}

// The library's threads, and the thread-local sentence of a caller's thread, outlive the careless dlclose.
TEST_F(DlopenTest, ClosedOutOfOrderNothingCrashes) {
  start();
  Child careless([&] {
    mrl_ctx* ctx = nullptr;
    std::thread caller([&] {
      const Library library;
      const mrl_open_options o = options();
      if (FIND(library, mrl_open)(&o, &ctx) != 0) ::_exit(10);
      (void)FIND(library, mrl_file_sync)(ctx, -1, 0, 0);  // leaves a sentence
    });
    caller.join();
    const Library again;  // the same one: its threads go on
    if (FIND(again, mrl_file_sync)(ctx, -1, 0, 0) != EBADF) return 11;
    return FIND(again, mrl_close)(ctx) == 0 ? 0 : 12;
  });
  EXPECT_EQ(careless.wait(), 0);
}

}  // namespace mrlease::test

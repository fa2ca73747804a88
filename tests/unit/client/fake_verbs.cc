// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/client/fake_verbs.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

namespace mrlease::client {

std::atomic<int> FakeDevice::live{0}, FakeDevice::deregistered{0}, FakeDevice::fail_with{0}, FakeDevice::windows{0};

FakeDevice::FakeDevice() {
  std::strcpy(device.name, "fake0");
  context.device = &device;
  context.cmd_fd = ::eventfd(0, EFD_CLOEXEC);
  pd.context = &context;
  live = deregistered = fail_with = windows = 0;
}
FakeDevice::~FakeDevice() { ::close(context.cmd_fd); }

}  // namespace mrlease::client

using mrlease::client::FakeDevice;

namespace {
// As a provider's: what nobody deregisters (a fenced region must not be) stays until the process ends.
std::mutex mutex;
std::map<ibv_mr*, std::unique_ptr<ibv_mr>> regions;
}  // namespace

extern "C" {

#undef ibv_reg_mr
ibv_mr* ibv_reg_mr(ibv_pd* pd, void* address, size_t length, int) {
  static std::atomic<std::uint32_t> next{100};
  if (const int code = FakeDevice::fail_with.exchange(0); code != 0) {
    errno = code;
    return nullptr;
  }
  auto made = std::make_unique<ibv_mr>();
  ibv_mr* mr = made.get();
  mr->context = pd->context;
  mr->pd = pd;
  mr->addr = address;
  mr->length = length;
  mr->handle = next++;
  mr->lkey = mr->handle * 2;
  mr->rkey = mr->handle * 2 + 1;
  FakeDevice::live++;
  std::lock_guard lock(mutex);
  regions[mr] = std::move(made);
  return mr;
}

int ibv_dereg_mr(ibv_mr* mr) {
  if (FakeDevice::windows > 0) return EINVAL;  // as rxe_dereg_mr(), drivers/infiniband/sw/rxe/rxe_verbs.c
  {
    std::lock_guard lock(mutex);
    if (regions.erase(mr) != 1) {
      std::fprintf(stderr, "WRONG: a memory region that is not there is deregistered\n");
      std::abort();
    }
  }
  FakeDevice::live--;
  FakeDevice::deregistered++;
  return 0;
}

const char* ibv_get_device_name(ibv_device* device) { return device->name; }
__be64 ibv_get_device_guid(ibv_device*) { return 42; }

}  // extern "C"

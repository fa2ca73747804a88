// SPDX-License-Identifier: Apache-2.0
// vm_fabric FILE SOCKET [ADDRESS]: a range that is registered already, registered again and let go: by mrl_reg_mr, and by
// libfabric's verbs provider with its cache of memory regions. The same pages, pair by pair.
// Exit 1: the interval of the ratio is not below 0.7; 2: libfabric's cache does not work here.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.hpp>
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tests/bench/ratios.h"
#include "tests/bench/samples.h"

namespace {

using mrlease::bench::measure_pairs;
using mrlease::bench::microseconds;
using mrlease::bench::percentile;

constexpr int kPairs = 101, kCalls = 2000, kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
constexpr std::size_t kSize = 1 << 20;

void need(bool good, const char* what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

class Fabric {
 public:
  explicit Fabric(const char* address) {
    fi_info* const hints = fi_allocinfo();
    if (hints == nullptr) throw std::bad_alloc();
    hints->fabric_attr->prov_name = ::strdup("verbs");
    hints->ep_attr->type = FI_EP_MSG;
    hints->caps = FI_MSG | FI_RMA;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    const int code = fi_getinfo(FI_VERSION(1, 17), address, "7477", FI_SOURCE, hints, &info_);
    fi_freeinfo(hints);
    check(code, "fi_getinfo");
    check(fi_fabric(info_->fabric_attr, &fabric_, nullptr), "fi_fabric");
    check(fi_domain(fabric_, info_, &domain_, nullptr), "fi_domain");
  }
  ~Fabric() {
    if (domain_ != nullptr) fi_close(&domain_->fid);
    if (fabric_ != nullptr) fi_close(&fabric_->fid);
    if (info_ != nullptr) fi_freeinfo(info_);
  }
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;
  void register_and_close(const void* at) const {
    fid_mr* made = nullptr;
    check(fi_mr_reg(domain_, at, kSize, FI_RECV | FI_REMOTE_WRITE, 0, 0, 0, &made, nullptr), "fi_mr_reg");
    check(fi_close(&made->fid), "fi_close");
  }

 private:
  static void check(int code, const char* what) {
    if (code != 0) throw std::runtime_error(std::string(what) + ": " + fi_strerror(-code));
  }
  fi_info* info_ = nullptr;
  fid_fabric* fabric_ = nullptr;
  fid_domain* domain_ = nullptr;
};

int run(const char* file, const char* socket, const char* address) {
  const Fabric fabric(address);
  const int fd = ::open(file, O_RDWR | O_CLOEXEC);
  need(fd >= 0, file);
  int count = 0;
  ibv_device** const devices = ibv_get_device_list(&count);
  ibv_context* const device = count > 0 ? ibv_open_device(devices[0]) : nullptr;
  ibv_pd* const pd = device != nullptr ? ibv_alloc_pd(device) : nullptr;
  need(pd != nullptr, "a protection domain of the first RDMA device");
  mrlease::Context context({}, socket);
  mrlease::RegOptions bounce;  // pages that libfabric can register too
  bounce.backing = MRL_BACKING_BOUNCE;
  auto region = context.reg_file(pd, fd, 0, kSize, kAccess, bounce);

  const auto per_call = [](const auto& call) {
    return microseconds([&] {
             for (int i = 0; i < kCalls; i++) call();
           }) / kCalls;
  };
  const double once = microseconds([&] {
    ibv_mr* const made = (ibv_reg_mr)(pd, region.addr(), kSize, kAccess);
    need(made != nullptr, "ibv_reg_mr");
    ibv_dereg_mr(made);
  });
  // The two C interfaces, with as little as each can be asked with.
  const auto register_and_dereg = [&, at = region.addr()] {
    mrl_region* again = nullptr;
    mrlease::check(mrl_reg_mr(context.get(), pd, at, kSize, kAccess, nullptr, &again));
    mrlease::check(mrl_dereg(again));
  };
  const auto pairs = measure_pairs(kPairs, [&] { return per_call(register_and_dereg); },
                                   [&] { return per_call([&] { fabric.register_and_close(region.addr()); }); });
  region.dereg();
  std::printf("microseconds; theirs: libfabric's verbs provider, cached (uncached: %.0f)\n", once);
  if (percentile(pairs.theirs, 0.5) * 4 > once) {
    std::fputs(mrlease::bench::row("registered already", pairs, "its cache is off").c_str(), stdout);
    return 2;
  }
  const bool good = pairs.ratio().high <= 0.7;
  std::fputs(mrlease::bench::row("registered already", pairs, good ? "<= 0.7 held" : "<= 0.7 NOT HELD").c_str(), stdout);
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3 || argc > 4) throw std::runtime_error("usage: vm_fabric FILE SOCKET [ADDRESS]");
  ::setenv("FI_MR_CACHE_MONITOR", "memhooks", 0);  // its default on Linux, said in case that changes
  return run(argv[1], argv[2], argc == 4 ? argv[3] : "10.99.0.1");
} catch (const std::exception& error) {
  std::fprintf(stderr, "vm_fabric: %s\n", error.what());
  return 1;
}

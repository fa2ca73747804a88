// SPDX-License-Identifier: Apache-2.0
// vm_several FILE SOCKET BACKING: one lease of the file with a memory region in two protection domains of the first RDMA device, and
// one more on each other device. Writes through each of them, says "written", and on a line of standard input does so again, in
// other pages, "gone N" where that device was removed; "sync" makes it durable. At the end of the input it deregisters. Lines on standard output say what it has done.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "client-lib/src/verbs/loopback.h"
#include "tests/vm/load/backing_named.h"

namespace {

using mrlease::client::verbs::Loopback;

constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
constexpr std::size_t kPage = 4096;

std::unique_ptr<Loopback> loopback(ibv_context* device) {
  std::unique_ptr<Loopback> made;
  const auto o = Loopback::create(device, &made);
  if (!o.ok()) throw std::runtime_error(o.text);
  return made;
}

// Page `first` + n by the n-th memory region; which of them are there.
void write_each(const mrlease::Region& region, std::vector<std::unique_ptr<Loopback>>& connections, std::size_t first) {
  for (unsigned i = 0; i < connections.size(); i++) {
    ibv_mr* const mr = region.mr(i);
    if (mr == nullptr) throw std::runtime_error("there is no memory region " + std::to_string(i));
    const auto address = reinterpret_cast<std::uint64_t>(region.addr()) + (first + i) * kPage;
    const auto o = connections[i]->write(address, mr->rkey, kPage);
    if (o.code == EIO) {  // of ibv_post_send: the device was removed
      std::cout << "gone " << i << std::endl;
      continue;
    }
    if (!o.ok()) throw std::runtime_error("write by memory region " + std::to_string(i) + ": " + o.text);
  }
  std::cout << "written " << connections.size() << " pages from " << first << std::endl;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) throw std::runtime_error("usage: vm_several FILE SOCKET BACKING");
  const int fd = ::open(argv[1], O_RDWR | O_CLOEXEC);
  struct stat about {};
  if (fd < 0 || ::fstat(fd, &about) != 0) throw std::system_error(errno, std::generic_category(), argv[1]);
  int count = 0;
  ibv_device** const devices = ibv_get_device_list(&count);
  if (count == 0) throw std::runtime_error("no RDMA device");
  std::vector<std::unique_ptr<Loopback>> connections;
  for (int i = 0; i < count; i++) {
    ibv_context* const device = ibv_open_device(devices[i]);
    if (device == nullptr) throw std::system_error(errno, std::generic_category(), ibv_get_device_name(devices[i]));
    connections.push_back(loopback(device));
    if (i == 0) connections.push_back(loopback(device));
  }
  mrlease::Context context([](const mrlease::Event& event) {
    std::cout << "event " << event.type << " " << event.message << std::endl;
    return 0;
  }, argv[2]);
  mrlease::RegOptions options;
  options.backing = mrlease::load::backing_named(argv[3]);
  options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
  auto region = context.reg_file(connections[0]->pd(), fd, 0, static_cast<std::size_t>(about.st_size), kAccess, options);
  for (std::size_t i = 1; i < connections.size(); i++)
    if (region.add_mr(connections[i]->pd(), kAccess) != i) throw std::runtime_error("another index");
  std::cout << "devices " << count << " regions " << connections.size() << " source " << static_cast<int>(connections[0]->source()[0]) << std::endl;
  std::size_t first = 0;
  write_each(region, connections, first);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "sync") {
      region.sync(0);
      std::cout << "durable" << std::endl;
    } else {
      write_each(region, connections, first += connections.size());
    }
  }
  region.dereg();
  std::cout << "deregistered" << std::endl;
  return 0;
} catch (const std::exception& error) {
  std::cout << "failed: " << error.what() << std::endl;
  return 1;
}

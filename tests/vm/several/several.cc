// SPDX-License-Identifier: Apache-2.0
// vm_several FILE SOCKET BACKING [DEVICE]: one lease of the file with a memory region in two protection domains of the first RDMA
// device, and one more on each other device; DEVICE: with one on that device and no other, and what is cut off is kept. Writes through each of them, says
// "written", and on a line of standard input does so again, in other pages, "gone N" where that device was removed. Other lines:
// "write PAGE" does so from that page on; "sync" makes it durable; "kept" looks whether its memory has what was written; "told" says what
// an application hears of its first device, and "another" what one that wants a further memory region there hears. At the end of the
// input it deregisters. Lines on standard output say what it has done.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.hpp>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <memory>
#include <set>
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

// Page `first` + n by the n-th memory region; which of them are there. done: the pages that were written.
void write_each(const mrlease::Region& region, std::vector<std::unique_ptr<Loopback>>& connections, std::size_t first, std::set<std::size_t>* done) {
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
    done->insert(first + i);
  }
  std::cout << "written " << connections.size() << " pages from " << first << std::endl;
}

void look(const mrlease::Region& region, const Loopback& writer, const std::set<std::size_t>& done) {
  std::size_t lost = 0;
  for (const std::size_t page : done)
    if (std::memcmp(static_cast<const char*>(region.addr()) + page * kPage, writer.source(), kPage) != 0) lost++;
  std::cout << "kept " << done.size() - lost << " of " << done.size() << std::endl;
}

// The device's own word to the application; 5 s: it is there when the removal has returned.
void say_what_is_told(ibv_context* device) {
  pollfd ready{device->async_fd, POLLIN, 0};
  ibv_async_event event{};
  const bool came = ::poll(&ready, 1, 5000) > 0 && ibv_get_async_event(device, &event) == 0;
  std::cout << "told " << (came ? ibv_event_type_str(event.event_type) : "nothing") << std::endl;
  if (came) ibv_ack_async_event(&event);
}

void ask_for_another(const mrlease::Region& region, ibv_pd* pd) {
  unsigned index = 0;
  const int code = mrl_add_mr(region.get(), pd, kAccess, &index);
  std::cout << "another " << code << " " << (code != 0 ? mrl_last_error() : "") << std::endl;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4 && argc != 5) throw std::runtime_error("usage: vm_several FILE SOCKET BACKING [DEVICE]");
  const int fd = ::open(argv[1], O_RDWR | O_CLOEXEC);
  struct stat about {};
  if (fd < 0 || ::fstat(fd, &about) != 0) throw std::system_error(errno, std::generic_category(), argv[1]);
  int count = 0;
  ibv_device** const devices = ibv_get_device_list(&count);
  if (count == 0) throw std::runtime_error("no RDMA device");
  std::vector<std::unique_ptr<Loopback>> connections;
  for (int i = 0; i < count; i++) {
    if (argc == 5 && std::string(ibv_get_device_name(devices[i])) != argv[4]) continue;
    ibv_context* const device = ibv_open_device(devices[i]);
    if (device == nullptr) throw std::system_error(errno, std::generic_category(), ibv_get_device_name(devices[i]));
    connections.push_back(loopback(device));
    if (argc == 4 && i == 0) connections.push_back(loopback(device));
  }
  if (connections.empty()) throw std::runtime_error(std::string("no RDMA device ") + argv[4]);
  mrlease::Context context([](const mrlease::Event& event) {
    std::cout << "event " << event.type << " " << event.message << std::endl;
    return 0;
  }, argv[2]);
  mrlease::RegOptions options;
  options.backing = mrlease::load::backing_named(argv[3]);
  options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
  options.preserve_orphans = argc == 5;
  auto region = context.reg_file(connections[0]->pd(), fd, 0, static_cast<std::size_t>(about.st_size), kAccess, options);
  for (std::size_t i = 1; i < connections.size(); i++)
    if (region.add_mr(connections[i]->pd(), kAccess) != i) throw std::runtime_error("another index");
  std::cout << "devices " << count << " regions " << connections.size() << " source " << static_cast<int>(connections[0]->source()[0]) << std::endl;
  std::size_t first = 0;
  std::set<std::size_t> done;
  write_each(region, connections, first, &done);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "sync") {
      region.sync(0);
      std::cout << "durable" << std::endl;
    } else if (line == "kept") {
      look(region, *connections[0], done);
    } else if (line == "told") {
      say_what_is_told(connections[0]->pd()->context);
    } else if (line == "another") {
      ask_for_another(region, connections[0]->pd());
    } else if (line.starts_with("write ")) {
      write_each(region, connections, std::stoul(line.substr(6)), &done);
    } else {
      write_each(region, connections, first += connections.size(), &done);
    }
  }
  region.dereg();
  std::cout << "deregistered" << std::endl;
  return 0;
} catch (const std::exception& error) {
  std::cout << "failed: " << error.what() << std::endl;
  return 1;
}

// SPDX-License-Identifier: Apache-2.0
//
// A pool of buffers in persistent memory: a file of an ext4 that is mounted with -o dax, leased once. A peer that connects gets
// a free buffer (address and rkey are the connection's private data); when it hangs up, what it wrote is durable and the buffer
// free again. A device cannot pin such memory: with odp it writes there all the same, with bounce the daemon does. Who truncates
// the file takes buffers out of the pool and harms no peer; who makes it longer again brings them back.
//   06_dax_pool serve FILE ADDRESS PORT BUFFER_BYTES [SOCKET]      until standard input ends
//   06_dax_pool use ADDRESS PORT TIMES                             fill a buffer, read it back and compare, TIMES times
#include <fcntl.h>
#include <poll.h>
#include <rdma/rdma_verbs.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <mrlease/mrlease.hpp>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace {

struct Buffer {  // the private data of a connection
  std::uint64_t address, length;
  std::uint32_t rkey, number;
};

void need(bool good, const std::string& what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

constexpr ibv_qp_init_attr kQueue{.cap = {2, 1, 1, 1, 0}, .qp_type = IBV_QPT_RC, .sq_sig_all = 1};

using Endpoint = std::unique_ptr<rdma_cm_id, decltype(&rdma_destroy_ep)>;

Endpoint endpoint(const char* address, const char* port, int flags) {
  rdma_addrinfo hints{.ai_flags = flags, .ai_port_space = RDMA_PS_TCP}, *found = nullptr;
  ibv_qp_init_attr wanted = kQueue;
  rdma_cm_id* id = nullptr;
  need(rdma_getaddrinfo(address, port, &hints, &found) == 0 && rdma_create_ep(&id, found, nullptr, &wanted) == 0, address);
  rdma_freeaddrinfo(found);
  return {id, rdma_destroy_ep};
}

// ---- the pool ----

class Pool {
 public:
  Pool(const std::string& path, ibv_context* device, std::size_t bytes, const std::string& socket)
      : bytes_(bytes), pd_(ibv_alloc_pd(device)), mrlease_([this](const mrl_event& e) { return hear(e); }, socket) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    need(pd_ && fd >= 0, path);
    mrlease::RegOptions options;
    options.preserve_orphans = true;  // a peer reads what it wrote, also where the file has been cut off meanwhile
    ibv_port_attr port{};             // buffers are whole pages, written whole: right with any odp when packets fit a page
    if (ibv_query_port(device, 1, &port) == 0 && port.active_mtu == IBV_MTU_4096)
      options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
    const std::size_t buffers = std::filesystem::file_size(path) / bytes;
    const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    region_ = mrlease_.reg_file(pd_, fd, 0, buffers * bytes, access, options);
    ::close(fd);
    for (std::uint32_t n = 0; n < buffers; n++) free_.insert(n);
    const mrlease::Info info = region_.info();
    std::cout << buffers << " buffers, backing " << mrl_backing_name(info.backing)
              << (info.transparent ? ", transparent" : "") << ", guard " << info.guard << std::endl;
  }
  ~Pool() {
    region_ = {};
    ibv_dealloc_pd(pd_);
  }

  // A new peer gets a buffer, or a refusal, after which it comes again.
  bool welcome(rdma_cm_id* id) {
    const std::uint64_t size = region_.info().size;
    if (size < region_.length() && region_.extend() > size) std::cout << "the file has grown" << std::endl;
    const std::lock_guard lock(mutex_);  // a RECALL finds this peer among the others, or sends it away
    const auto posting = mrlease::Posting::try_enter(region_);
    const auto first = free_.begin();
    if (!posting || first == free_.end() || !on_file(*first)) return false;
    const Buffer buffer{reinterpret_cast<std::uintptr_t>(region_.addr()) + *first * bytes_, bytes_, region_.rkey(), *first};
    rdma_conn_param answer{.private_data = &buffer, .private_data_len = sizeof buffer, .responder_resources = 1};
    ibv_qp_init_attr wanted = kQueue;
    if (rdma_create_qp(id, pd_, &wanted) != 0 || rdma_accept(id, &answer) != 0) return false;
    peers_[id] = *first;
    free_.erase(first);
    return true;
  }

  // It has hung up. The others wait here for the disk meanwhile: a larger pool has a thread for that.
  void farewell(rdma_cm_id* id) {
    const std::uint32_t number = leave(id);
    if (on_file(number)) region_.sync(number * bytes_, bytes_);
    free_.insert(number);
  }

 private:
  // A RECALL comes where a break cannot be hidden from peers: they lose their connection, and come again.
  int hear(const mrl_event& event) {
    std::cout << "event " << event.type << ", size " << event.size << ": " << event.message << std::endl;
    if (event.type != MRL_EVENT_RECALL) return 0;
    const std::lock_guard lock(mutex_);
    ibv_qp_attr stop{.qp_state = IBV_QPS_ERR};
    for (const auto& [id, number] : peers_) ibv_modify_qp(id->qp, &stop, IBV_QP_STATE);
    return 0;
  }

  std::uint32_t leave(rdma_cm_id* id) {
    const std::lock_guard lock(mutex_);
    rdma_destroy_qp(id);  // nobody writes there any more
    return peers_.extract(id).mapped();
  }
  bool on_file(std::uint32_t number) const { return (number + 1) * bytes_ <= region_.info().size; }

  const std::size_t bytes_;
  ibv_pd* const pd_;
  std::mutex mutex_;  // over peers_ and their queue pairs
  std::map<rdma_cm_id*, std::uint32_t> peers_;
  std::set<std::uint32_t> free_;
  mrlease::Context mrlease_;
  mrlease::Region region_;
};

void serve(const std::string& path, const char* address, const char* port, std::size_t bytes, const std::string& socket) {
  rdma_event_channel* const channel = rdma_create_event_channel();
  const Endpoint listener = endpoint(address, port, RAI_PASSIVE);
  need(channel && rdma_migrate_id(listener.get(), channel) == 0, "rdma_migrate_id");
  Pool pool(path, listener->verbs, bytes, socket);
  need(rdma_listen(listener.get(), 64) == 0, "rdma_listen");
  std::cout << "listening" << std::endl;
  std::size_t served = 0, refused = 0;
  pollfd ready[] = {{channel->fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  char input[64];
  while (::poll(ready, 2, -1) > 0 && !(ready[1].revents && ::read(STDIN_FILENO, input, sizeof input) < 1)) {
    rdma_cm_event* event = nullptr;
    if (!ready[0].revents || rdma_get_cm_event(channel, &event) != 0) continue;
    rdma_cm_id* const id = event->id;
    const rdma_cm_event_type what = event->event;
    rdma_ack_cm_event(event);
    const bool comes = what == RDMA_CM_EVENT_CONNECT_REQUEST;
    if (what == RDMA_CM_EVENT_ESTABLISHED || (comes && pool.welcome(id))) continue;
    comes ? refused++ : served++;
    if (comes) rdma_reject(id, nullptr, 0);
    else pool.farewell(id);
    rdma_destroy_ep(id);
  }
  std::cout << "served " << served << ", refused " << refused << std::endl;
}

// ---- a peer: plain verbs, it knows nothing of leases ----

void await(rdma_cm_id* id, const char* what) {
  ibv_wc done{};
  need(rdma_get_send_comp(id, &done) == 1, what);
  if (done.status != IBV_WC_SUCCESS) throw std::runtime_error(std::string(what) + ": " + ibv_wc_status_str(done.status));
}

bool use(const char* address, const char* port, std::uint64_t time) {
  const Endpoint owner = endpoint(address, port, 0);
  rdma_cm_id* const id = owner.get();
  rdma_conn_param param{.initiator_depth = 1, .retry_count = 7, .rnr_retry_count = 7};
  if (rdma_connect(id, &param) != 0) return false;  // none is free
  Buffer buffer;
  std::memcpy(&buffer, id->event->param.conn.private_data, sizeof buffer);
  const std::size_t length = buffer.length;
  std::vector<std::uint64_t> memory(length / 8 * 2, time << 32 | (buffer.number + 1));  // to send, and to read
  std::uint64_t* const back = &memory[length / 8];
  ibv_mr* const mr = rdma_reg_msgs(id, memory.data(), length * 2);
  need(mr && rdma_post_write(id, nullptr, memory.data(), length, mr, 0, buffer.address, buffer.rkey) == 0, "write");
  await(id, "write");
  std::memset(back, 0, length);
  need(rdma_post_read(id, nullptr, back, length, mr, 0, buffer.address, buffer.rkey) == 0, "read");
  await(id, "read");
  if (std::memcmp(memory.data(), back, length) != 0) throw std::runtime_error("the buffer holds something else");
  rdma_dereg_mr(mr);
  rdma_disconnect(id);
  return true;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve" && argc >= 6)
    return serve(argv[2], argv[3], argv[4], std::stoul(argv[5]), argc > 6 ? argv[6] : ""), 0;
  if (mode != "use" || argc < 5)
    throw std::runtime_error("usage: 06_dax_pool serve FILE ADDRESS PORT BUFFER_BYTES [SOCKET] | use ADDRESS PORT TIMES");
  for (std::uint64_t time = 1; time <= std::stoul(argv[4]); time++)
    while (!use(argv[2], argv[3], time)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::cout << "done" << std::endl;
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

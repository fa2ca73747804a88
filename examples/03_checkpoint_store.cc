// SPDX-License-Identifier: Apache-2.0
//
// A store that takes checkpoints from many senders at once, each into a slot of its own of one leased file. The sender's RDMA
// write ends with an immediate: the checkpoint is complete; the store's answer says: it is durable. While they write, anybody
// takes a snapshot, which has every checkpoint that was durable before and no word that is half written:
//   mrleasectl freeze FILE -- cp --reflink=always FILE SNAPSHOT
//   03_checkpoint_store store FILE ADDRESS PORT SENDERS SLOT_BYTES [SOCKET]   slots: whole pages; ends with its last sender
//   03_checkpoint_store send ADDRESS PORT ROUNDS
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <rdma/rdma_verbs.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <memory>
#include <mrlease/mrlease.hpp>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace {

struct Slot {  // the private data of a connection
  std::uint64_t address, bytes;
  std::uint32_t rkey, number;
};

void need(bool good, const std::string& what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

using Endpoint = std::unique_ptr<rdma_cm_id, decltype(&rdma_destroy_ep)>;

Endpoint endpoint(const char* address, const char* port, int flags) {
  rdma_addrinfo hints{.ai_flags = flags, .ai_port_space = RDMA_PS_TCP}, *found = nullptr;
  ibv_qp_init_attr queue{.cap = {4, 2, 1, 1, 0}, .sq_sig_all = 1};
  rdma_cm_id* id = nullptr;
  need(rdma_getaddrinfo(address, port, &hints, &found) == 0 && rdma_create_ep(&id, found, nullptr, &queue) == 0, address);
  rdma_freeaddrinfo(found);
  return {id, rdma_destroy_ep};
}

// ---- messages: a round, as the immediate of a send or of the write that it completes ----

void make_room(rdma_cm_id* id) {
  ibv_recv_wr request{}, *bad = nullptr;
  need(ibv_post_recv(id->qp, &request, &bad) == 0, "ibv_post_recv");
}

// Nothing: the other side has hung up, or was stopped.
std::optional<std::uint32_t> hear(rdma_cm_id* id) {
  ibv_wc done{};
  while (ibv_poll_cq(id->recv_cq, 1, &done) == 0) {
    ibv_req_notify_cq(id->recv_cq, 0);
    if (ibv_poll_cq(id->recv_cq, 1, &done) != 0) break;
    pollfd either[] = {{id->recv_cq_channel->fd, POLLIN, 0}, {id->channel->fd, POLLIN, 0}};
    if (::poll(either, 2, -1) < 1 || !either[0].revents) return std::nullopt;
    ibv_cq* cq = nullptr;
    void* context = nullptr;
    if (ibv_get_cq_event(id->recv_cq_channel, &cq, &context) == 0) ibv_ack_cq_events(cq, 1);
  }
  if (done.status != IBV_WC_SUCCESS) return std::nullopt;
  make_room(id);
  return ntohl(done.imm_data);
}

// Waits for nothing: the other side may be dead. What was said before has arrived when it was answered, or hear() will tell.
void say(rdma_cm_id* id, ibv_send_wr request) {
  ibv_send_wr* bad = nullptr;
  ibv_wc done[4];
  ibv_poll_cq(id->send_cq, 4, done);
  need(ibv_post_send(id->qp, &request, &bad) == 0, "ibv_post_send");
}

// ---- the store ----

class Store {
 public:
  Store(const std::string& file, std::size_t senders, std::size_t slot_bytes, const std::string& socket)
      : file_(::open(file.c_str(), O_RDWR | O_CLOEXEC)), senders_(senders), slot_bytes_(slot_bytes),
        mrlease_([this](const mrl_event& event) { return told(event); }, socket) {
    need(file_ >= 0, file);
  }

  void run(const char* address, const char* port) {
    const Endpoint listener = endpoint(address, port, RAI_PASSIVE);
    need(rdma_listen(listener.get(), static_cast<int>(senders_)) == 0, "rdma_listen");
    std::cout << "listening" << std::endl;
    std::vector<std::jthread> threads;
    for (std::uint32_t n = 0; n < senders_; n++) {
      rdma_cm_id* id = nullptr;
      need(rdma_get_request(listener.get(), &id) == 0, "rdma_get_request");
      if (!region_) lease(id);
      const std::lock_guard lock(mutex_);
      connected_.emplace_back(id, rdma_destroy_ep);
      threads.emplace_back([this, id, n] { serve(id, n); });
    }
    threads.clear();
    region_.dereg();
  }

 private:
  // All connections are in the protection domain of the first.
  void lease(rdma_cm_id* id) {
    mrlease::RegOptions options;
    options.peer_budget_ms = 2000;  // what retry_count 7 and rdma_cm's timeouts over RoCE give
    ibv_port_attr port{};           // slots are whole pages: right with any odp, when packets fit a page
    if (ibv_query_port(id->verbs, id->port_num, &port) == 0 && port.active_mtu == IBV_MTU_4096)
      options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
    constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    region_ = mrlease_.reg_file(id->pd, file_, 0, senders_ * slot_bytes_, kAccess, options);
    const mrlease::Info info = region_.info();
    std::cout << "leased, backing " << mrl_backing_name(info.backing) << ", guard " << info.guard << std::endl;
  }

  void serve(rdma_cm_id* id, std::uint32_t number) try {
    make_room(id);
    const auto start = reinterpret_cast<std::uintptr_t>(region_.addr());
    const Slot slot{start + number * slot_bytes_, slot_bytes_, region_.rkey(), number};
    rdma_conn_param answer{.private_data = &slot, .private_data_len = sizeof slot, .rnr_retry_count = 7};
    if (auto posting = mrlease::Posting::try_enter(region_); !posting || rdma_accept(id, &answer) != 0) {
      rdma_reject(id, nullptr, 0);
      throw std::runtime_error("not connected");  // a recall is under way, or the sender has gone
    }
    while (const auto round = hear(id)) {
      region_.sync(number * slot_bytes_, slot_bytes_);
      say(id, {.opcode = IBV_WR_SEND_WITH_IMM, .imm_data = htonl(*round)});
    }
  } catch (const std::exception& error) {
    std::cerr << "slot " << number << ": " << error.what() << std::endl;
  }

  // A RECALL comes where a break cannot be hidden from senders (odp without userfaultfd): they lose their connection.
  int told(const mrl_event& event) {
    std::cout << "event " << event.type << ": " << event.message << std::endl;
    if (event.type != MRL_EVENT_RECALL) return 0;
    const std::lock_guard lock(mutex_);
    ibv_qp_attr stop{.qp_state = IBV_QPS_ERR};
    for (const Endpoint& id : connected_) ibv_modify_qp(id->qp, &stop, IBV_QP_STATE);
    return 0;
  }

  const int file_;
  const std::size_t senders_, slot_bytes_;
  std::mutex mutex_;  // over connected_
  std::vector<Endpoint> connected_;
  mrlease::Context mrlease_;
  mrlease::Region region_;
};

// ---- a sender: plain verbs, it knows nothing of leases ----

std::uint64_t mix(std::uint64_t x) {  // splitmix64: who looks for torn words finds them
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

void send(const char* address, const char* port, std::uint32_t rounds) {
  const Endpoint id = endpoint(address, port, 0);
  make_room(id.get());
  rdma_conn_param wanted{.retry_count = 7, .rnr_retry_count = 7};
  need(rdma_connect(id.get(), &wanted) == 0, "rdma_connect");
  Slot slot;
  std::memcpy(&slot, id->event->param.conn.private_data, sizeof slot);
  std::cout << "slot " << slot.number << std::endl;
  std::vector<std::uint64_t> checkpoint(slot.bytes / 8);
  ibv_mr* const mr = rdma_reg_msgs(id.get(), checkpoint.data(), slot.bytes);
  need(mr != nullptr, "rdma_reg_msgs");
  ibv_sge data{reinterpret_cast<std::uintptr_t>(mr->addr), static_cast<std::uint32_t>(slot.bytes), mr->lkey};
  for (std::uint32_t round = 1; round <= rounds; round++) {
    const std::uint64_t own = mix(std::uint64_t{slot.number} << 32 | round);
    for (std::size_t p = 0; p < checkpoint.size(); p++) checkpoint[p] = own ^ mix(p);
    say(id.get(), {.sg_list = &data, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE_WITH_IMM, .imm_data = htonl(round),
                   .wr = {.rdma = {slot.address, slot.rkey}}});
    if (hear(id.get()) != round) throw std::runtime_error("the store has hung up");
    std::cout << "durable " << round << std::endl;
  }
  rdma_disconnect(id.get());
  rdma_dereg_mr(mr);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "store" && argc >= 7)
    Store(argv[2], std::stoul(argv[5]), std::stoul(argv[6]), argc > 7 ? argv[7] : "").run(argv[3], argv[4]);
  else if (mode == "send" && argc == 5)
    send(argv[2], argv[3], static_cast<std::uint32_t>(std::stoul(argv[4])));
  else
    throw std::runtime_error("usage: store FILE ADDRESS PORT SENDERS SLOT_BYTES [SOCKET] | send ADDRESS PORT ROUNDS");
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

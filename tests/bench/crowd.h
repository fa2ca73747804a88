// SPDX-License-Identifier: Apache-2.0
// Thousands of connections that are all asked something at once and answer at once: of mrleased's clients, and of a bare echo.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "processes.h"

namespace mrlease::bench {

// Within what one user may have by default, sessions and leases.
inline constexpr int kUsers = 20, kEach = 250, kConnections = kUsers * kEach;
inline constexpr std::uint64_t kBytesEach = 4096;

// Milliseconds since the asking began.
struct Round {
  double last_asked = 0;     // the last of them has got its message
  double last_answered = 0;  // who asked has every answer
};

// Processes of kUsers users, each with kEach connections.
class Crowd {
 public:
  // mrleased's: each connection has a direct lease, shared, of its own page of the file, and complies with every recall.
  static Crowd of_daemon(const std::string& socket, const std::string& file);
  // Who sends each message back, on SOCK_SEQPACKET.
  static Crowd of_echo(const std::string& socket);

  double connected_in() const { return connected_in_; }  // milliseconds; all of them
  // When the last connection had the message it was waiting for, on the steady clock, ns. Leases are waiting for the recall that
  // takes them away, then for the one that gives them back.
  double last_asked();
  // Every lease takes its page back, after the file has grown.
  void extend();

 private:
  explicit Crowd(const std::function<void(int control, int first)>& be);  // first: of its connections
  std::vector<std::unique_ptr<Process>> processes_;
  double connected_in_ = 0;
};

// A process that asks every connection of the crowd and waits for all answers, by epoll.
class EchoServer {
 public:
  explicit EchoServer(const std::string& socket);
  void accept_all();  // once the crowd is there
  Round ask_all(Crowd& crowd);

 private:
  Process process_;
};

// A file of which every page is leased; somebody without privilege truncates it.
class TruncatedFile {
 public:
  explicit TruncatedFile(const std::string& path);  // makes it
  ~TruncatedFile();
  TruncatedFile(const TruncatedFile&) = delete;
  TruncatedFile& operator=(const TruncatedFile&) = delete;
  const std::string& path() const { return path_; }
  // And back again, when all have their memory back. back_in: from the answer until then.
  Round cut(Crowd& crowd, double* back_in);

 private:
  const std::string path_;
  const int fd_;
  Process foreign_;
};

}  // namespace mrlease::bench

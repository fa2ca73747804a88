// SPDX-License-Identifier: Apache-2.0
// Helper processes of a benchmark: each does one blocking thing, and dies with the benchmark.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

namespace mrlease::bench {

inline constexpr std::uint64_t kFileSize = 1 << 20;
inline constexpr std::uint64_t kCutSize = kFileSize / 2;

// Ends the program with a sentence: a benchmark that cannot do its work has no result.
[[noreturn]] void die(const std::string& what);

// A forked process at the other end of a SOCK_SEQPACKET socket; killed and reaped with the object.
class Process {
 public:
  Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();
  void start(const std::function<void(int socket)>& body);
  // One byte there, one byte back; dies when none comes in 20 s.
  char ask(char question) const;
  void tell(const void* bytes, std::size_t size) const;
  void hear(void* bytes, std::size_t size) const;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
};

// Of a helper process: one blocking packet. receive() ends the process when the benchmark is gone.
void send(int socket, const void* bytes, std::size_t size);
void receive(int socket, void* bytes, std::size_t size);

// Foreign tasks and clients have no privilege.
inline constexpr uid_t kNobody = 65534;
void become(uid_t user);
inline void become_nobody() { become(kNobody); }

// The foreign task: an unprivileged process of its own, and what it does with a path; nanoseconds.
class Foreign {
 public:
  using Operation = double (*)(const char* path);
  static double cut(const char* path);        // truncate(2) to kCutSize
  static double read_page(const char* path);  // pread(2) of its first 4096 bytes; without the open(2)

  explicit Foreign(Operation operation);
  double perform(const std::string& path) const;

 private:
  Process process_;
};

// A file of kFileSize that everybody may write. Gives its descriptor.
int make_file(const std::string& path);
// Nothing of it is cut off.
bool is_whole(int fd);
// Data in all of it again, if it is not whole, so that every truncate has as much to remove.
void refill(int fd);

}  // namespace mrlease::bench

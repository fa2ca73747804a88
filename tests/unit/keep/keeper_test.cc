// SPDX-License-Identifier: Apache-2.0
// What the manager keeps must fit the successor's environment. The manager here is a socket that is read, as sd_notify(3) has it.
#include "daemon/keep/keeper.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mrlease::keep {
namespace {

class KeeperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    socket_ = sys::Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
    reader_ = std::thread([this] {
      char word[16];
      while (::recv(socket_.get(), word, sizeof word, 0) > 0) {
      }
    });
  }
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    ::shutdown(socket_.get(), SHUT_RDWR);
    reader_.join();
    std::filesystem::remove(path_);
  }

  const std::string path_ = "/var/tmp/mrlease-keeper-" + std::to_string(::getpid());
  sys::Fd socket_;
  std::thread reader_;
};

// 0, or the errno with which the kernel refuses to start /bin/true with this variable.
int start_with(std::string variable) {
  char* const words[] = {const_cast<char*>("true"), nullptr};
  char* const environment[] = {variable.data(), nullptr};
  pid_t child = 0;
  const int code = ::posix_spawn(&child, "/bin/true", nullptr, nullptr, words, environment);
  if (code == 0) ::waitpid(child, nullptr, 0);
  return code;
}

TEST_F(KeeperTest, TheNamesOfAllFitTheSuccessorsEnvironment) {
  Keeper keeper({});
  std::string names = "LISTEN_FDNAMES=mrleased.socket";
  std::size_t count = 0;
  int code = 0;
  for (; count < kStoreMax; ++count) {
    const std::string name = "b" + std::to_string(count);
    code = keeper.put(name, STDERR_FILENO);
    if (code != 0) break;
    names += ":" + name;
  }
  EXPECT_EQ(code, ENOSPC);
  EXPECT_GT(count, 15000u);
  EXPECT_EQ(start_with(names), 0);
  EXPECT_EQ(start_with(names + std::string(2048, ':')), E2BIG) << "the bound is no longer the kernel's";
  // What is dropped makes room again.
  keeper.drop("b7");
  EXPECT_EQ(keeper.put("b" + std::to_string(count), STDERR_FILENO), ENOSPC) << "a longer name than the one that went";
  EXPECT_EQ(keeper.put("n7", STDERR_FILENO), 0);
}

TEST_F(KeeperTest, WhatIsKeptMovesOutOfTheWayAndStaysWhatItIs) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::vector<NamedFd> inherited;
  inherited.push_back({"r", sys::Fd(ends[0])});
  inherited.push_back({"w", sys::Fd(ends[1])});
  const int low = std::min(ends[0], ends[1]);
  Keeper keeper(std::move(inherited));
  EXPECT_TRUE(keeper.vacate(low));
  const sys::Fd r = keeper.take("r"), w = keeper.take("w");
  EXPECT_GT(std::min(r.get(), w.get()), low);
  char c = 'k';
  EXPECT_EQ(::write(w.get(), &c, 1), 1);
  EXPECT_EQ(::read(r.get(), &c, 1), 1);
  EXPECT_EQ(::fcntl(low, F_GETFD), -1) << "its number is free";
}

}  // namespace
}  // namespace mrlease::keep

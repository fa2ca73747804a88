// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>

#include "daemon/guard/guard.h"
#include "tests/integration/guard/recorder.h"
#include "tests/integration/guard/scratch.h"
#include "tests/support/foreign.h"

namespace mrlease::guard::test {

using mrlease::test::Foreign;
using mrlease::test::outcome;

// A guard on one file, that wants to hear of everything.
class PrecontentTest : public testing::Test {
 protected:
  virtual void before_guard() {}
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    before_guard();
    options.roots = {file.dir()};
    guard = Guard::create(options, recorder.listener());
    fd = file.open();
    Coverage coverage = guard->watch(file.key(), fd.get());
    if (coverage.kind != Kind::Precontent) GTEST_SKIP() << "needs FAN_PRE_ACCESS";
    guard->publish(file.key(), core::Needs{true, true, true, true});
  }

  Scratch file;
  Recorder recorder;
  Options options;
  std::unique_ptr<Guard> guard;
  sys::Fd fd;
};

}  // namespace mrlease::guard::test

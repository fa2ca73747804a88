// SPDX-License-Identifier: Apache-2.0
// Somebody puts another file under the number of a descriptor while a call of his own that names it is held: what the number leads to
// when the guard looks is not what the call writes to.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "tests/integration/guard/precontent_fixture.h"
#include "tests/support/sharer.h"

namespace mrlease::guard::test {
namespace {

using mrlease::test::Sharer;

class SwappedDescriptor : public PrecontentTest {
 protected:
  void SetUp() override {
    PrecontentTest::SetUp();
    if (IsSkipped()) return;
    source_fd_ = source_.open();
    guard->watch(source_.key(), source_fd_.get());
    guard->publish(source_.key(), core::Needs{.read = true});
  }

  Scratch source_;
  sys::Fd source_fd_;
};

// copy_file_range(2) is held twice: where it reads its source, and then where it writes to the file. In between the file's number is taken.
TEST_F(SwappedDescriptor, AWriteToWhatIsThereNoMoreIsHeldAsDestructive) {
  int to = -1, from = -1;
  std::optional<Sharer> sender;
  Foreign child({[&] {
                   to = ::open(file.path(), O_RDWR);
                   from = ::open(source_.path(), O_RDONLY);
                   if (to < 0 || from < 0) return errno;
                   sender.emplace([&] { return outcome(::copy_file_range(from, nullptr, to, nullptr, 8192, 0)); });
                   return 0;
                 },
                 [&] {
                   const int decoy = ::open("/dev/null", O_RDWR);
                   return decoy < 0 ? errno : outcome(::dup2(decoy, to));
                 },
                 [&] { return sender->result(); }});
  child.next();
  ASSERT_EQ(child.result(), 0);
  const auto read = recorder.wait_held();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->file, source_.key());
  EXPECT_EQ(read->kind, core::BreakKind::Read) << read->what;
  child.next();
  ASSERT_EQ(child.result(), 0) << "the number leads elsewhere";
  guard->answer(read->id, 0, false);
  const auto written = recorder.wait_held();
  ASSERT_TRUE(written);
  EXPECT_EQ(written->file, file.key());
  EXPECT_EQ(written->kind, core::BreakKind::Destructive) << written->what;
  guard->answer(written->id, 0, false);
  child.next();
  EXPECT_EQ(child.result(), 0);
}

}  // namespace
}  // namespace mrlease::guard::test

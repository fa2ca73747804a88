// SPDX-License-Identifier: Apache-2.0
// Somebody on duty is lost: a look of his takes as long as the test wants.
#include "daemon/guard/lookout.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>

namespace mrlease::guard {
namespace {

constexpr std::chrono::seconds kDeadline{10};

// What happens so many times, and can be waited for. Copies are the same one: those that are lost outlive the test.
class Gate {
 public:
  explicit Gate(int times = 1) : state_(std::make_shared<State>(times)) {}
  void open() const {
    if (--state_->left == 0) state_->promise.set_value();
  }
  void pass() const { state_->future.wait(); }
  bool opens() const { return state_->future.wait_for(kDeadline) == std::future_status::ready; }

 private:
  struct State {
    explicit State(int times) : left(times) {}
    std::atomic<int> left;
    std::promise<void> promise;
    std::shared_future<void> future = promise.get_future().share();
  };
  std::shared_ptr<State> state_;
};

// In a look at task 7, until he is let back.
void is_lost(Lookout* lookout, Lookout::Shift shift, const Gate& let_back, const Gate& told) {
  EXPECT_TRUE(lookout->goes(shift, 7));
  let_back.pass();
  EXPECT_FALSE(lookout->is_back(shift));
  told.open();
}

TEST(Lookout, WhoIsLostIsReplacedAndTouchesNothing) {
  const Gate let_back, replaced, told, end;
  const auto lookout = Lookout::begin([=](Lookout& self, Lookout::Shift shift) {
    if (shift == 1) return is_lost(&self, shift, let_back, told);
    EXPECT_FALSE(self.goes(shift, 7)) << "a second one would be lost there";
    EXPECT_TRUE(self.goes(shift, 8));
    EXPECT_TRUE(self.is_back(shift));
    replaced.open();
    end.pass();
  }, kDeadline);
  EXPECT_TRUE(replaced.opens());
  let_back.open();
  EXPECT_TRUE(told.opens());
  end.open();
  lookout->end();
}

TEST(Lookout, WhoComesBackTakesTheTaskOffTheList) {
  const Gate let_back, told, seen_again;
  const auto lookout = Lookout::begin([=](Lookout& self, Lookout::Shift shift) {
    if (shift == 1) return is_lost(&self, shift, let_back, told);
    let_back.open();
    told.pass();
    EXPECT_TRUE(self.goes(shift, 7));
    EXPECT_TRUE(self.is_back(shift));
    seen_again.open();
  });
  EXPECT_TRUE(seen_again.opens());
  lookout->end();
}

TEST(Lookout, EndsWhileSomebodyIsLost) {
  const Gate let_back, told;
  auto lookout = Lookout::begin([=](Lookout& self, Lookout::Shift shift) {
    if (shift == 1) is_lost(&self, shift, let_back, told);
  });
  lookout->end();  // by the second, who has nothing to do
  lookout.reset();
  let_back.open();
  EXPECT_TRUE(told.opens());
}

TEST(Lookout, WhoLooksALotIsNotTakenForLost) {
  Lookout::Shift last = 0;
  const auto lookout = Lookout::begin([&](Lookout& self, Lookout::Shift shift) {
    last = shift;
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(600);  // longer than a look may take
    while (std::chrono::steady_clock::now() < until && self.goes(shift, 7))
      if (!self.is_back(shift)) return;
  });
  lookout->end();
  EXPECT_EQ(last, 1u);
}

TEST(Lookout, NoMoreAreLostThanThat) {
  const Gate let_back, full, all_back(Lookout::kLostMax);
  const auto lookout = Lookout::begin([=](Lookout& self, Lookout::Shift shift) {
    if (!self.goes(shift, static_cast<int>(shift))) return full.open();
    let_back.pass();
    EXPECT_FALSE(self.is_back(shift));
    all_back.open();
  }, std::chrono::milliseconds(5));
  EXPECT_TRUE(full.opens());
  lookout->end();
  let_back.open();
  EXPECT_TRUE(all_back.opens());
}

}  // namespace
}  // namespace mrlease::guard

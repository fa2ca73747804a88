// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/input.h"

#include <gtest/gtest.h>

namespace mrlease::admin {
namespace {

TEST(Input, ATokenBelongsToItsFilter) {
  v1::ListLeasesRequest request;
  request.mutable_filter()->set_uid(7);
  request.set_page_token(lease_token(request.filter(), 42));
  LeaseQuery query;
  ASSERT_TRUE(check(request, &query).ok());
  EXPECT_EQ(query.after, 42u);
  EXPECT_EQ(query.page_size, 100u);
  request.mutable_filter()->set_uid(8);
  const auto status = check(request, &query);
  EXPECT_EQ(status.error_message(), "page_token: it belongs to another filter");
}

TEST(Input, AFileTokenComesBackAsItsKey) {
  v1::ListFilesRequest request;
  request.set_page_token(file_token({0xfe00, 0xffffffffffffffffull}));
  FileQuery query;
  ASSERT_TRUE(check(request, &query).ok());
  EXPECT_EQ(query.after, (core::FileKey{0xfe00, 0xffffffffffffffffull}));
}

TEST(Input, RangesMayEndAtTheLastByteAndNotBeyond) {
  v1::Range range;
  core::Extent extent;
  range.set_offset(~0ull - 10);
  range.set_length(10);
  EXPECT_TRUE(check_range("range", range, &extent).ok());
  EXPECT_EQ(extent.end, ~0ull);
  range.set_length(11);
  EXPECT_EQ(check_range("range", range, &extent).error_message(), "range: ends beyond 2^64");
  range.set_length(0);
  EXPECT_TRUE(check_range("range", range, &extent).ok());
  EXPECT_EQ(extent.end, core::kToEnd);
}

TEST(Input, PathsWithAZeroByteOrTooLongAreRefused) {
  EXPECT_TRUE(check_path("path", "/a").ok());
  EXPECT_EQ(check_path("path", std::string("/a\0b", 4)).error_message(), "path: holds a zero byte");
  EXPECT_EQ(check_path("path", "/" + std::string(5000, 'a')).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(Input, EventTypesAreTheNamesOfTheProto) {
  v1::WatchEventsRequest request;
  request.add_types("break_done");
  request.add_types("lease_fenced");
  WatchQuery query;
  ASSERT_TRUE(check(request, &query).ok());
  EXPECT_EQ(query.types, (std::vector<int>{v1::Event::kBreakDone, v1::Event::kLeaseFenced}));
  request.add_types("sequence");
  EXPECT_EQ(check(request, &query).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace mrlease::admin

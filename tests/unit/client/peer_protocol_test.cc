// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/peer_protocol.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace mrlease::client::peers {
namespace {

Message region() { return {Kind::kRegion, 7, 0, {0x7f0012345000, 65536, 4096, 0xabcd1234, 3}}; }

TEST(PeerProtocol, WhatIsSaidIsHeard) {
  Message heard;
  ASSERT_TRUE(decode(encode(region()), &heard).ok());
  EXPECT_EQ(heard.kind, Kind::kRegion);
  EXPECT_EQ(heard.region, 7u);
  EXPECT_EQ(heard.place.address, 0x7f0012345000u);
  EXPECT_EQ(heard.place.length, 65536u);
  EXPECT_EQ(heard.place.size, 4096u);
  EXPECT_EQ(heard.place.rkey, 0xabcd1234u);
  EXPECT_EQ(heard.place.generation, 3u);
  for (const Kind kind : {Kind::kRecall, Kind::kHeld, Kind::kGone, Kind::kBye}) {
    ASSERT_TRUE(decode(encode({kind, 9, 11, {}}), &heard).ok());
    EXPECT_EQ(heard.kind, kind);
    EXPECT_EQ(heard.region, 9u);
    EXPECT_EQ(heard.recall, 11u);
  }
}

// Another machine reads it: the layout is what the header says, whatever this one's byte order.
TEST(PeerProtocol, TheLayoutIsFixed) {
  const Bytes bytes = encode(region());
  EXPECT_EQ(std::vector<int>(bytes.begin(), bytes.begin() + 16),
            (std::vector<int>{'M', 'R', 'L', 'P', 1, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(std::vector<int>(bytes.begin() + 48, bytes.begin() + 57), (std::vector<int>{0x34, 0x12, 0xcd, 0xab, 0, 0, 0, 0, 3}));
}

TEST(PeerProtocol, WhatIsWrongIsNamed) {
  Message heard;
  const auto refused = [&](auto change) {
    Bytes bytes = encode(region());
    change(bytes);
    Outcome o = decode(bytes, &heard);
    EXPECT_EQ(o.code, EPROTO);
    return o.text;
  };
  EXPECT_EQ(refused([](Bytes& b) { b[0] = 'X'; }), "a message that is none of mrlease's");
  EXPECT_EQ(refused([](Bytes& b) { b[4] = 2; }), "a message of version 2; this library speaks 1");
  EXPECT_EQ(refused([](Bytes& b) { b[6] = 0; }), "a message of kind 0, which there is not");
  EXPECT_EQ(refused([](Bytes& b) { b[6] = 6; }), "a message of kind 6, which there is not");
  const auto refused_place = [&](Place place) { return decode(encode({Kind::kRegion, 1, 0, place}), &heard).text; };
  EXPECT_EQ(refused_place({4096, 0, 0, 1, 1}), "a region of 0 bytes");
  EXPECT_EQ(refused_place({~0ull - 10, 4096, 0, 1, 1}), "a region that wraps around");
  EXPECT_EQ(refused_place({4096, 4096, 4097, 1, 1}), "a region with more bytes on the file than it has");
}

TEST(PeerProtocol, AnyLengthAndAnyBytesAreSurvived) {
  std::mt19937_64 random(1);
  Message heard;
  const Bytes whole = encode(region());
  for (std::size_t length = 0; length < kMessageBytes; length++) {
    EXPECT_EQ(decode(std::span(whole).first(length), &heard).code, EPROTO);
  }
  EXPECT_EQ(decode(std::vector<unsigned char>(kMessageBytes + 1), &heard).code, EPROTO);
  for (int round = 0; round < 20000; round++) {
    Bytes bytes = whole;
    for (int i = 0; i < 4; i++) bytes[random() % bytes.size()] = static_cast<unsigned char>(random());
    if (!decode(bytes, &heard).ok() || heard.kind != Kind::kRegion) continue;
    EXPECT_LE(heard.place.size, heard.place.length);
    EXPECT_GE(heard.place.address + heard.place.length, heard.place.address);
  }
}

}  // namespace
}  // namespace mrlease::client::peers

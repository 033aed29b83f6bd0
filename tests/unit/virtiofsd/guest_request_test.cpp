#include "virtiofsd/guest_request.h"

#include <gtest/gtest.h>

#include <string>

#include "base/byte_parts.h"
#include "support/fuse_messages.h"

namespace stellarium::virtiofsd {
namespace {

namespace abi = fs::fuse::abi;
constexpr std::size_t kHead = sizeof(abi::InHeader) + sizeof(abi::WriteIn);

/// A chain that brings these bytes in pieces of `piece`.
DescriptorChain chain_of(std::string& bytes, std::size_t piece) {
  DescriptorChain chain;
  const MutableByteSpan all = std::as_writable_bytes(std::span{bytes});
  for (std::size_t at = 0; at < all.size(); at += piece)
    chain.readable.push_back(all.subspan(at, std::min(piece, all.size() - at)));
  chain.readable_bytes = all.size();
  return chain;
}

std::string write_of(const std::string& data) {
  abi::WriteIn in{};
  in.size = static_cast<std::uint32_t>(data.size());
  return test::make_request(abi::Opcode::write, 1, 2, test::bytes_of(in) + data);
}

TEST(GuestRequest, IsCopied) {
  std::string bytes = test::make_request(abi::Opcode::lookup, 1, 2, test::make_name(std::string(200, 'n')));
  std::vector<std::byte> room(4096);
  for (const std::size_t piece : {1u, 40u, 80u, 100u, 4096u}) {
    const GuestRequest brought = take_in(chain_of(bytes, piece), false, room);
    EXPECT_EQ(as_text(brought.message), bytes) << piece;
    EXPECT_TRUE(brought.data.empty());
  }
  EXPECT_TRUE(take_in(chain_of(bytes, 40), false, MutableByteSpan{room}.first(100)).message.empty());
}

TEST(GuestRequest, WhatAWriteBringsStaysWhereItIs) {
  const std::string data = "0123456789";
  std::string bytes = write_of(data);
  std::vector<std::byte> room(4096);
  for (const std::size_t piece : {1u, 40u, 80u, 83u, 4096u}) {
    const GuestRequest brought = take_in(chain_of(bytes, piece), false, room);
    EXPECT_EQ(as_text(brought.message), bytes.substr(0, kHead)) << piece;
    std::string found(size_of(brought.data), '?');
    gather(brought.data, std::as_writable_bytes(std::span{found}));
    EXPECT_EQ(found, data) << piece;
    EXPECT_EQ(brought.data.back().data() + brought.data.back().size(),
              reinterpret_cast<const std::byte*>(bytes.data() + bytes.size()));
  }
}

TEST(GuestRequest, AWriteWithoutDataOrWithMoreThanThatIsCopied) {
  std::vector<std::byte> room(4096);
  std::string empty = write_of("");
  EXPECT_EQ(as_text(take_in(chain_of(empty, 40), false, room).message), empty);
  EXPECT_TRUE(take_in(chain_of(empty, 40), false, room).data.empty());
  std::string extended = write_of("12345678");
  const std::uint16_t units = 1;  // what follows the data is an extension
  std::memcpy(extended.data() + offsetof(abi::InHeader, extension_units), &units, sizeof units);
  EXPECT_EQ(as_text(take_in(chain_of(extended, 40), false, room).message), extended);
  EXPECT_TRUE(take_in(chain_of(extended, 40), false, room).data.empty());
  std::string torn = write_of("12345678").substr(0, 60);
  EXPECT_EQ(as_text(take_in(chain_of(torn, 40), false, room).message), torn);
}

TEST(GuestRequest, WhatADeviceBeforeHadInHandIsMarked) {
  std::vector<std::byte> room(4096);
  for (std::string bytes : {test::make_request(abi::Opcode::lookup, 1, 6, test::make_name("name")), write_of("data")}) {
    fs::fuse::abi::InHeader header;
    std::memcpy(&header, take_in(chain_of(bytes, 40), true, room).message.data(), sizeof header);
    EXPECT_EQ(header.unique & ~abi::kResentBit, header.opcode == 16 ? 2u : 6u);
    EXPECT_NE(header.unique & abi::kResentBit, 0u);
  }
  std::string short_one = "short";
  EXPECT_EQ(as_text(take_in(chain_of(short_one, 40), true, room).message), short_one);
}

}  // namespace
}  // namespace stellarium::virtiofsd

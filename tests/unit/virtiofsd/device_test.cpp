#include "virtiofsd/device.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "support/fuse_messages.h"
#include "support/guest_frontend.h"
#include "support/guest_window.h"
#include "support/quiet_filesystem.h"
#include "support/temp_dir.h"
#include "virtiofsd/guest_server.h"

namespace stellarium::virtiofsd {
namespace {

namespace abi = fs::fuse::abi;
using protocol::Request;
using test::bytes_of;
using test::make_name;
using test::make_request;

constexpr std::uint16_t kMore = test::GuestRing::kNext, kDeviceWrites = test::GuestRing::kWrite;

/// A served socket, a machine connected to it, and its queues as a guest's kernel would set them up.
class DeviceTest : public testing::Test {
 protected:
  void SetUp() override { serve(true); }
  void serve(bool tells_tag) {
    export_.reset();
    ::unlink(address_.sun_path);
    server_ = std::move(*GuestServer::start(2));
    address_.sun_family = AF_UNIX;
    const std::string path = (dir_.path() / "socket").string();
    ASSERT_LT(path.size(), sizeof address_.sun_path);
    path.copy(address_.sun_path, path.size());
    UniqueFd listening{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ASSERT_EQ(::bind(listening.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    ASSERT_EQ(::listen(listening.get(), 4), 0);
    auto served = server_->serve(
        std::move(listening), {.tag = "root", .tells_tag = tells_tag, .request_queues = 1, .dax_window = 4u << 20},
        [this](const auto& window) {
          window_ = window;
          ++sessions_;
          return Result<std::shared_ptr<fs::fuse::Session>>{
              std::make_shared<fs::fuse::Session>(std::make_unique<test::QuietFilesystem>(), fs::fuse::Peer::guest)};
        });
    ASSERT_TRUE(served);
    export_ = std::move(*served);
    connect();
  }
  void connect() {
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    machine_.emplace(std::move(socket));
  }
  /// Ends the machine, and waits until another one can come.
  void connect_anew() {
    machine_->disconnect();
    for (int tries = 0; tries < 2000; ++tries) {
      connect();
      if (machine_->ask(Request::get_features)) return;
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    FAIL() << "nobody is served any more";
  }

  void agree(std::uint64_t features = protocol::feature::kOffered) {
    ASSERT_TRUE(machine_->ask(Request::get_features));
    machine_->send(16, std::as_bytes(std::span{&protocol::protocol_feature::kOffered, 1}));
    ASSERT_EQ(machine_->tell(Request::set_features, features), 0u);
    event_idx_ = (features & protocol::feature::kEventIdx) != 0;
  }
  void give_memory() {
    const protocol::OneMemoryRegion all{0, ram_.region()};
    ASSERT_EQ(machine_->tell(Request::add_mem_reg, all, {ram_.file()}), 0u);
  }
  std::optional<std::uint64_t> start(std::uint32_t index) {
    test::GuestRing& ring = rings_[index];
    machine_->tell(Request::set_vring_num, protocol::VringState{index, ring.size});
    machine_->tell(Request::set_vring_base, protocol::VringState{index, 0});
    machine_->tell(Request::set_vring_addr,
                   protocol::VringAddresses{index, 0, ram_.user_address(ring.descriptors), ram_.user_address(ring.used),
                                            ram_.user_address(ring.available), 0});
    machine_->tell(Request::set_vring_call, std::uint64_t{index}, {call_.get()});
    const auto started = machine_->tell(Request::set_vring_kick, std::uint64_t{index}, {kicks_[index].get()});
    machine_->tell(Request::set_vring_enable, protocol::VringState{index, 1});
    return started;
  }
  void boot() {
    agree();
    give_memory();
    for (const std::uint32_t index : {0u, 1u}) ASSERT_EQ(start(index), 0u);
  }

  /// Puts a request into a queue; `room`: for its answer. Returns the bytes written, or nothing after 20 seconds.
  std::optional<std::string> request(std::uint32_t index, const std::string& message, std::uint32_t room) {
    test::GuestRing& ring = rings_[index];
    message.copy(reinterpret_cast<char*>(ram_.at(in_)), message.size());
    const auto length = static_cast<std::uint32_t>(message.size());
    // In two pieces each, as a kernel does.
    ring.set(0, {ram_.guest_address(in_), 40, kMore, 1});
    ring.set(1, {ram_.guest_address(in_) + 40, length - 40, static_cast<std::uint16_t>(room != 0 ? kMore : 0), 2});
    ring.set(2, {ram_.guest_address(out_), std::min(room, 10u),
                 static_cast<std::uint16_t>(room > 10 ? kDeviceWrites | kMore : kDeviceWrites), 3});
    ring.set(3, {ram_.guest_address(out_) + 10, room > 10 ? room - 10 : 0, kDeviceWrites, 0});
    const std::uint16_t before = ring.used_index();
    if (event_idx_) ring.want_call_at(before);
    ring.offer(0);
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(kicks_[index].get(), &one, sizeof one), 8);
    for (pollfd waiting{call_.get(), POLLIN, 0}; ring.used_index() == before;) {
      if (::poll(&waiting, 1, 20'000) != 1) return std::nullopt;
      std::uint64_t calls = 0;
      (void)!::read(call_.get(), &calls, sizeof calls);
    }
    const auto used = ring.used_at(before);
    EXPECT_EQ(used.id, 0u);
    return std::string{reinterpret_cast<const char*>(ram_.at(out_)), used.length};
  }
  static std::string init_request() {
    abi::InitIn in{};
    in.major = abi::kMajor;
    in.minor = abi::kMinor;
    in.flags = in.flags2 = ~0u;
    return make_request(abi::Opcode::init, 0, 2, bytes_of(in));
  }
  static abi::OutHeader header_of(const std::optional<std::string>& answer) {
    abi::OutHeader header{};
    if (answer && answer->size() >= sizeof header) std::memcpy(&header, answer->data(), sizeof header);
    return header;
  }
  /// The error of a LOOKUP: 0 where the device works.
  std::optional<int> looked_up() {
    const auto answer = request(1, make_request(abi::Opcode::lookup, 1, 4, make_name("name")), 200);
    if (!answer) return std::nullopt;
    return header_of(answer).error;
  }

  test::TempDir dir_;
  sockaddr_un address_{};
  test::GuestRam ram_;
  test::GuestRing rings_[2]{{ram_, 16}, {ram_, 16}};
  const std::size_t in_ = ram_.allocate(4096), out_ = ram_.allocate(64 << 10);
  const UniqueFd kicks_[2]{UniqueFd{::eventfd(0, EFD_CLOEXEC)}, UniqueFd{::eventfd(0, EFD_CLOEXEC)}};
  const UniqueFd call_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool event_idx_ = true;
  std::atomic<int> sessions_ = 0;
  std::shared_ptr<fs::fuse::DaxWindow> window_;
  std::unique_ptr<GuestServer> server_;
  std::unique_ptr<GuestServer::Export> export_;
  std::optional<test::GuestFrontend> machine_;
};

TEST_F(DeviceTest, AnswersRequestsOfAGuest) {
  boot();
  const auto begun = request(1, init_request(), 80);
  ASSERT_TRUE(begun);
  EXPECT_EQ(header_of(begun).error, 0);
  EXPECT_EQ(header_of(begun).unique, 2u);
  EXPECT_EQ(begun->size(), sizeof(abi::OutHeader) + sizeof(abi::InitOut));
  EXPECT_EQ(looked_up(), 0);
  EXPECT_EQ(request(0, make_request(abi::Opcode::forget, 1, 6, bytes_of(std::uint64_t{1})), 0), "");
}

TEST_F(DeviceTest, WorksWithoutWhatIsNew) {
  agree(protocol::feature::kVersion1);
  struct {
    protocol::MemoryTableHead head{1, 0};
    protocol::MemoryRegion region;
  } table{.region = ram_.region()};
  ASSERT_EQ(machine_->tell(Request::set_mem_table, table, {ram_.file()}), 0u);
  for (const std::uint32_t index : {0u, 1u}) ASSERT_EQ(start(index), 0u);
  EXPECT_EQ(header_of(request(1, init_request(), 80)).error, 0);
  EXPECT_EQ(looked_up(), 0);
}

TEST_F(DeviceTest, AGuestThatMountsAgainBeginsAnew) {
  boot();
  EXPECT_EQ(looked_up(), -EIO);  // before INIT
  for (int mounts = 0; mounts < 3; ++mounts) {
    EXPECT_EQ(header_of(request(1, init_request(), 80)).error, 0);
    EXPECT_EQ(looked_up(), 0);
    EXPECT_EQ(header_of(request(1, make_request(abi::Opcode::destroy, 0, 8, ""), 16)).error, 0);
    EXPECT_EQ(looked_up(), -EIO);
  }
  EXPECT_EQ(sessions_, 1);
}

TEST_F(DeviceTest, AStoppedQueueGoesOnWhereItWas) {
  boot();
  request(1, init_request(), 80);
  looked_up();
  const auto base = machine_->ask(Request::get_vring_base, protocol::VringState{1, 0});
  ASSERT_TRUE(base);
  protocol::VringState state{};
  std::memcpy(&state, base->data(), std::min(base->size(), sizeof state));
  EXPECT_EQ(state.value, 2u);
  machine_->tell(Request::set_vring_base, state);
  EXPECT_EQ(machine_->tell(Request::set_vring_kick, std::uint64_t{1}, {kicks_[1].get()}), 0u);
  EXPECT_EQ(looked_up(), 0);
}

TEST_F(DeviceTest, SaysWhatItIsCalledAndHowManyQueuesItHas) {
  struct {
    protocol::ConfigHead head;
    std::array<char, 60> space;
  } wanted{{0, 60, 0}, {}};
  const auto config = machine_->ask(Request::get_config, wanted);
  ASSERT_TRUE(config);
  ASSERT_EQ(config->size(), sizeof wanted);
  EXPECT_EQ(config->substr(12, 5), std::string("root\0", 5));
  EXPECT_EQ((*config)[12 + 36], 1);
  for (const protocol::ConfigHead beyond :
       {protocol::ConfigHead{250, 60, 0}, {257, 0, 0}, {0xffff'fff0, 60, 0}, {0, 0xffff'ffff, 0}}) {
    wanted.head = beyond;
    EXPECT_EQ(machine_->ask(Request::get_config, wanted), "") << beyond.offset;
  }
  EXPECT_EQ(machine_->ask(Request::get_queue_num), bytes_of(std::uint64_t{2}));
  EXPECT_EQ(machine_->ask(Request::get_max_mem_slots), bytes_of(std::uint64_t{509}));
}

TEST_F(DeviceTest, TellsItsTagOnlyIfItShould) {
  constexpr std::uint64_t kConfig = protocol::protocol_feature::kConfig;
  std::vector<std::uint64_t> offered;
  for (const bool tells_tag : {true, false}) {
    serve(tells_tag);
    const auto answer = machine_->ask(Request::get_protocol_features);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->size(), sizeof(std::uint64_t));
    std::memcpy(&offered.emplace_back(), answer->data(), sizeof(std::uint64_t));
  }
  EXPECT_EQ(offered[0], offered[1] | kConfig);
  EXPECT_EQ(offered[1] & kConfig, 0u);
}

TEST_F(DeviceTest, AnAnswerWithoutRoomIsAnErrorOrNothing) {
  boot();
  request(1, init_request(), 80);
  abi::ReadIn in{};
  in.size = 4000;
  const std::string read = make_request(abi::Opcode::read, 1, 4, bytes_of(in));
  EXPECT_EQ(header_of(request(1, read, 16 + 4000)).error, 0);
  const auto cut = request(1, read, 16 + 3999);
  EXPECT_EQ(header_of(cut).error, -EIO);
  EXPECT_EQ(cut->size(), 16u);
  EXPECT_EQ(request(1, read, 15), "");
  EXPECT_EQ(request(1, read, 0), "");
  EXPECT_EQ(looked_up(), 0);
}

TEST_F(DeviceTest, MessagesThatCannotBeAreRefusedAndChangeNothing) {
  boot();
  request(1, init_request(), 80);
  const auto refused = [this](std::uint32_t message, const auto& payload, const std::vector<int>& descriptors = {}) {
    return machine_->tell(static_cast<Request>(message), payload, descriptors) == 1u;
  };
  const protocol::OneMemoryRegion again{0, ram_.region()};
  EXPECT_TRUE(refused(2, ~std::uint64_t{0}));                // features
  EXPECT_TRUE(refused(2, std::uint32_t{0}));                 // half of them
  EXPECT_TRUE(refused(5, protocol::MemoryTableHead{9, 0}));  // memory that is not there
  EXPECT_TRUE(refused(5, protocol::MemoryTableHead{1, 0}, {ram_.file()}));
  EXPECT_TRUE(refused(37, again, {ram_.file()}));  // memory that is there already
  EXPECT_TRUE(refused(37, again));                 // without its file
  EXPECT_TRUE(refused(38, protocol::OneMemoryRegion{0, {1, 2, 3, 4}}));
  EXPECT_TRUE(refused(8, protocol::VringState{2, 16}));  // a third queue
  EXPECT_TRUE(refused(9, protocol::VringAddresses{~0u, 0, 0, 0, 0, 0}));
  EXPECT_TRUE(refused(12, std::uint64_t{7}, {kicks_[0].get()}));
  EXPECT_TRUE(refused(12, std::uint64_t{1}, {ram_.file()}));  // no eventfd
  EXPECT_TRUE(refused(12, std::uint64_t{1}));
  EXPECT_TRUE(refused(12, std::uint64_t{1 | 1u << 8}));  // to be polled
  EXPECT_TRUE(refused(18, protocol::VringState{2, 1}));
  EXPECT_TRUE(refused(25, protocol::ConfigHead{0, 0, 0}));
  EXPECT_TRUE(refused(77, std::uint64_t{0}));
  EXPECT_EQ(looked_up(), 0);
}

TEST_F(DeviceTest, WhoSendsNoMessagesIsNotServed) {
  const auto ended = [this](const protocol::Header& header, std::size_t follows, std::size_t descriptors = 0) {
    connect_anew();
    std::vector<std::byte> bytes(sizeof header + follows);
    std::memcpy(bytes.data(), &header, sizeof header);
    machine_->send_raw(bytes, std::vector<int>(descriptors, call_.get()));
    return machine_->receive() == std::nullopt;
  };
  EXPECT_TRUE(ended({1, 0, 0}, 0));            // no version
  EXPECT_TRUE(ended({1, 2, 0}, 0));            // another one
  EXPECT_TRUE(ended({1, 1, 4097}, 0));         // too long
  EXPECT_TRUE(ended({1, 1, 0xffff'ffff}, 0));  // 4 GiB
  EXPECT_TRUE(ended({1, 1, 0}, 0, 9));         // nine descriptors
  EXPECT_TRUE(ended({1, 1, 0}, 0, 100));
  EXPECT_TRUE(ended({2, 1, 4}, 4));               // a payload that cannot be, and nobody who is told so
  EXPECT_TRUE(ended({11, 1, 8}, 8, 1) == false);  // while this is one
}

TEST_F(DeviceTest, AMessageMayComeInPieces) {
  const protocol::Header header{15, 1, 0};
  const auto bytes = std::as_bytes(std::span{&header, 1});
  for (const std::byte& byte : bytes) {
    ASSERT_TRUE(machine_->send_raw({&byte, 1}));
    std::this_thread::yield();
  }
  EXPECT_EQ(machine_->receive(), bytes_of(protocol::protocol_feature::kOffered | protocol::protocol_feature::kOfWindow |
                                          1ull << protocol::protocol_feature::kSharedMemoryBit));
}

TEST_F(DeviceTest, ItsWindowIsTheMonitorsToMapInto) {
  const auto config = machine_->ask(Request::get_shmem_config);
  ASSERT_TRUE(config);
  protocol::SharedMemoryConfig said{};
  ASSERT_EQ(config->size(), sizeof said);
  std::memcpy(&said, config->data(), sizeof said);
  EXPECT_EQ(said.regions, 1u);
  EXPECT_EQ(said.sizes[0], 4u << 20);
  boot();
  test::GuestWindow window{4u << 20};
  EXPECT_FALSE(window_->map(0, ram_.file(), 0, 4096));
  EXPECT_EQ(machine_->tell(Request::set_backend_req_fd, std::uint64_t{0}, {ram_.file()}), 1u);
  EXPECT_EQ(machine_->tell(Request::set_backend_req_fd, std::uint64_t{0}), 1u);
  EXPECT_EQ(machine_->tell(Request::set_backend_req_fd, std::uint64_t{0}, {window.channel()}), 0u);
  EXPECT_TRUE(window_->map(0, ram_.file(), 0, 4096));
  EXPECT_EQ(window.mapped().size(), 1u);
  EXPECT_EQ(window.broken_rules, 0);
}

TEST_F(DeviceTest, AQueueWithoutItsMemoryStops) {
  boot();
  request(1, init_request(), 80);
  EXPECT_EQ(machine_->tell(Request::rem_mem_reg, protocol::OneMemoryRegion{0, ram_.region()}), 1u);
  EXPECT_EQ(start(1), 1u);  // nor does it start
  give_memory();
  EXPECT_EQ(start(1), 0u);
  EXPECT_EQ(looked_up(), 0);
}

TEST_F(DeviceTest, OneMachineAfterTheOther) {
  boot();
  test::GuestFrontend first = std::move(*machine_);
  connect();
  EXPECT_EQ(machine_->ask(Request::get_features), std::nullopt);  // a second one is refused
  std::atomic<int> told = 0;
  export_->set_on_ended([&] { ++told; });
  EXPECT_EQ(told, 0);
  machine_.emplace(std::move(first));
  connect_anew();
  EXPECT_EQ(told, 1);
  export_->set_on_ended([&] { ++told; });  // at once: it was before
  EXPECT_EQ(told, 2);
  export_->set_on_ended([] {});
  EXPECT_TRUE(machine_->ask(Request::get_features));
  EXPECT_EQ(sessions_, 2);
}

TEST_F(DeviceTest, EndsWithWhatIsServed) {
  boot();
  export_.reset();
  EXPECT_EQ(machine_->receive(), std::nullopt);
}

}  // namespace
}  // namespace stellarium::virtiofsd

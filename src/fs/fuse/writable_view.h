#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "base/mutex.h"
#include "fs/clone_bodies.h"
#include "fs/fuse/answered_requests.h"
#include "fs/fuse/filesystem.h"
#include "fs/fuse/open_files.h"
#include "fs/fuse/read_only_view.h"
#include "fs/fuse/sparse_map.h"
#include "fs/fuse/window_nodes.h"
#include "fs/maybe_mapped.h"
#include "fs/writable_tree.h"

namespace stellarium::fs::fuse {

/// A clone as a writable file system.
///
/// This mount is the only one that writes the clone, and every change comes through it, so the kernel may remember
/// names and attributes for ever: it forgets by itself what it changes.
/// Bodies:  what nobody wrote is read as in an image, programs through their hot files. New files, and small ones that
///          are opened for writing, are staged files that the kernel reads and writes without us; large ones are
///          staged by the first write, and go through the page cache until everybody has closed them. A file that is
///          written while it is open through its hot file becomes another inode for the kernel; who has it open goes
///          on reading the old bytes. So does one that a guest reads by way of its DAX window.
/// Answers: a change and its answer are one batch of the database (AnsweredRequests), so that a killed server neither
///          loses nor repeats it. Requests that may be executed twice (WRITE, SETATTR) need no record.
/// Threads: all operations may be called concurrently.
class WritableView final : public Filesystem {
 public:
  struct Clone {
    TreeId tree = 0;
    std::shared_ptr<WritableTree> records;
    std::shared_ptr<CloneBodies> bodies;
    std::filesystem::path host;  ///< a folder of the file system that holds staged files, for statfs
    std::shared_ptr<MaybeMapped> mapped = std::make_shared<MaybeMapped>();
    std::shared_ptr<const void> known = {};  ///< that it is mounted, to OpenClones
  };
  WritableView(const ViewParts& parts, Clone clone, std::shared_ptr<OpenFiles> open_files,
               std::unique_ptr<AnsweredRequests> answered, bool want_passthrough);

  std::uint64_t features() const override;
  std::uint32_t max_write() const override;
  void started(std::uint64_t features, bool resumed) override;

  // writable_view.cpp: names
  void lookup(const Request& request, std::string_view name, Reply reply) override;
  void opendir(const Request& request, Reply reply) override;
  void readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) override;
  void symlink(const Request& request, std::string_view name, std::string_view target, Reply reply) override;
  void mknod(const Request& request, const abi::MknodIn& in, std::string_view name, Reply reply) override;
  void mkdir(const Request& request, const abi::MkdirIn& in, std::string_view name, Reply reply) override;
  void unlink(const Request& request, std::string_view name, Reply reply) override;
  void rmdir(const Request& request, std::string_view name, Reply reply) override;
  void rename(const Request& request, NodeId new_parent, std::uint32_t flags, std::string_view old_name,
              std::string_view new_name, Reply reply) override;
  void link(const Request& request, NodeId target, std::string_view new_name, Reply reply) override;
  void forget(NodeId node) override;

  // writable_attributes.cpp
  void getattr(const Request& request, Reply reply) override;
  void statx(const Request& request, Reply reply) override;
  void readlink(const Request& request, Reply reply) override;
  void setattr(const Request& request, const abi::SetattrIn& in, Reply reply) override;
  void getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) override;
  void listxattr(const Request& request, std::uint32_t size, Reply reply) override;
  void setxattr(const Request& request, const abi::SetxattrIn& in, std::string_view name, ByteSpan value,
                Reply reply) override;
  void removexattr(const Request& request, std::string_view name, Reply reply) override;
  void statfs(const Request& request, Reply reply) override;

  // writable_files.cpp: bytes
  void create(const Request& request, const abi::CreateIn& in, std::string_view name, Reply reply) override;
  void tmpfile(const Request& request, const abi::CreateIn& in, Reply reply) override;
  void open(const Request& request, const abi::OpenIn& in, Reply reply) override;
  void read(const Request& request, const abi::ReadIn& in, Reply reply) override;
  void write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply) override;
  void lseek(const Request& request, const abi::LseekIn& in, Reply reply) override;
  void fallocate(const Request& request, const abi::FallocateIn& in, Reply reply) override;
  void copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply) override;
  void fsync(const Request& request, const abi::FsyncIn& in, Reply reply) override;
  void fsyncdir(const Request& request, const abi::FsyncIn& in, Reply reply) override;
  void syncfs(const Request& request, Reply reply) override;
  void release(const Request& request, const abi::ReleaseIn& in, Reply reply) override;

  // writable_window.cpp
  void setup_mapping(const Request& request, const abi::SetupMappingIn& in, Reply reply) override;
  void remove_mappings(const Request& request, std::span<const abi::RemoveMappingOne> which, Reply reply) override;

 private:
  using Entry = WritableTree::Entry;
  using Note = WritableTree::Note;

  static WritableTree::NewNode node_for(const Request& request, std::uint32_t mode, std::uint32_t umask);
  Result<Ino> locate(NodeId node) const;  ///< ESTALE for ids of other trees
  Result<Entry> find(NodeId node) const;  ///< … or of no inode; what a staged file knows is filled in
  NodeId first_node_of(Ino ino) const { return ino == kRootIno ? NodeId::root() : NodeId::of(clone_.tree, ino); }
  NodeId node_of(Ino ino) const { return open_files_->current(first_node_of(ino)); }
  /// How long the kernel may remember attributes of an inode.
  template <typename Out>
  void set_validity(Out& out, const Entry& entry) const;
  bool may_be_written(const Entry& entry) const;  ///< behind our back, through a staged file
  abi::EntryOut entry_out(const Entry& entry) const;
  abi::Attr attr_of(const Entry& entry) const;
  void start_window(std::uint64_t features, bool resumed);
  /// Whether the guest reads this node by way of its window, now and for as long as it knows it.
  bool in_window(NodeId node) const;
  std::optional<tier::ContentRef> content_below(Ino ino) const;
  /// Before the bytes of such a node change: another one takes its place (ESTALE), and it goes on showing what it
  /// shows.
  [[nodiscard]] Result<void> leave_window(NodeId node, Ino ino);
  /// Answers a request that was executed already. False: it is to be executed.
  bool answered_before(const Request& request, Reply& reply) const;
  /// What a change of names adds to the records of the clone.
  struct Growth {
    std::uint64_t bytes = OwnRecords::kNode;
    Ino ino = 0;  ///< of an inode that is there already
  };
  /// Executes a change of names whose answer is the entry it made.
  void make(const Request& request, Reply reply, const Growth& growth,
            const std::function<Result<Entry>(Ino parent, const Note&)>& change);
  /// … or an answer without content.
  void change(const Request& request, Reply reply, const std::function<Result<Entry>(Ino parent, const Note&)>& change);
  /// Answers a change that failed, unless the next server shall try it.
  void refuse_change(Reply& reply, const Error& error, bool may_fail = true);
  /// The kernel has forgotten the inode and nobody has it open: without links, its bytes and record go. Until then it
  /// can be opened, by way of /proc/self/fd.
  void forget_record(Ino ino);
  /// A file that is open through its hot file, or in a guest's window, gets another node id: ESTALE, and the kernel
  /// asks for it. Also ETXTBSY.
  Result<void> may_write(NodeId node, Ino ino);
  /// suid, sgid and file capabilities, of a file that was written.
  [[nodiscard]] Result<void> drop_privileges(const Request& request, Ino ino);
  [[nodiscard]] Result<void> drop_capabilities(Ino ino);
  std::optional<std::string> introspect(const Entry& entry, std::string_view name) const;
  using MakeFile = std::function<Result<Entry>(Ino parent, const WritableTree::NewNode&, const Note&)>;
  void open_made(const Request& request, const abi::CreateIn& in, Reply reply, const MakeFile& make);
  /// Whether staged files are passed through: the kernel, the quota and the room on the host permit it.
  bool passes_through() const;
  /// The staged file that an open of an existing file is passed through to; null: it is not.
  Result<std::shared_ptr<StagedFile>> file_to_open(NodeId node, Ino ino, const Inode& inode, bool for_writing);
  /// The write itself: how much was written.
  Result<std::size_t> write_now(NodeId node, const abi::WriteIn& in, ByteParts data);
  void answer_write(Reply reply, const Result<std::size_t>& written);
  void open_existing(const Request& request, Ino ino, std::uint32_t flags, bool drop_privileges, Reply reply);

  ViewParts parts_;
  const Clone clone_;
  std::shared_ptr<OpenFiles> open_files_;
  const std::unique_ptr<AnsweredRequests> answered_;
  const bool want_passthrough_;
  std::atomic<std::uint64_t> features_ = 0;  ///< what INIT agreed on
  SparseMaps sparse_;
  std::atomic<bool> maps_ = false;  ///< the guest has a window and uses it
  /// Parked requests of a tier outlive nothing that they need: they keep it.
  const std::shared_ptr<WindowNodes> window_nodes_ = std::make_shared<WindowNodes>();
  mutable Mutex mutex_;
  std::unordered_set<Ino> forgotten_ GUARDED_BY(mutex_);  // FORGET came before the last RELEASE
};

}  // namespace stellarium::fs::fuse

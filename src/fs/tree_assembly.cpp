#include "fs/tree_assembly.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <limits>

#include "base/bytes.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kNodeMemory = 8u << 20;       // of names waiting for their numbers
constexpr std::size_t kDirectoryMemory = 2u << 20;  // of path keys of directories
/// To be changed whenever equal names and links become another layer than before.
constexpr std::string_view kFingerprinted = "stellarium layer, version 1";
constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

tl::unexpected<Error> impossible(std::string_view key, const std::string& why) {
  return fail(Errc::invalid_argument, path_of_key(key) + ": " + why);
}

// A directory that no member describes.
std::string made_directory() {
  Inode inode;
  inode.mode = S_IFDIR | 0755;
  return encode_attributes(inode, {});
}

// What a node record holds before its attributes.
struct TreeNode {
  std::uint32_t parent = 0;  // index of the directory
  DirCookie cookie = 0;
  bool link = false;
  std::string_view name = {};
  std::string_view attributes = {};  // of links: none
};

std::string encode_node(const TreeNode& node) {
  std::string out;
  out.reserve(32 + node.name.size() + node.attributes.size());
  put_varint(out, node.parent);
  put_le<std::uint64_t>(out, node.cookie);
  out.push_back(node.link ? 1 : 0);
  out.push_back(static_cast<char>(node.name.size()));
  out += node.name;
  out += node.attributes;
  return out;
}

TreeNode decode_node(std::string_view record) {
  ByteReader reader{as_bytes(record)};
  TreeNode node;
  node.parent = static_cast<std::uint32_t>(reader.varint());
  node.cookie = reader.le<std::uint64_t>();
  node.link = reader.le<std::uint8_t>() != 0;
  node.name = reader.text(reader.le<std::uint8_t>());
  node.attributes = reader.text(reader.left());
  return node;
}

}  // namespace

std::string encode_attributes(const Inode& inode, const Xattrs& xattrs) {
  Inode complete = inode;
  complete.nlink = 1;  // worked out later, as the parent's number is
  complete.parent = S_ISDIR(inode.mode) ? kRootIno : 0;
  complete.has_xattrs = !xattrs.empty();
  const std::string record = encode_inode(complete);
  std::string out;
  out.push_back(static_cast<char>(dirent_type(inode.mode)));
  put_varint(out, record.size());
  out += record;
  for (const auto& [name, value] : xattrs) {
    out.push_back(static_cast<char>(name.size()));
    out += name;
    put_varint(out, value.size());
    out += value;
  }
  return out;
}

Result<void> decode_attributes(std::string_view attributes, Inode& inode, Xattrs& xattrs) {
  if (attributes.empty()) return fail(Errc::corrupt, "attributes of nothing");
  ByteReader reader{as_bytes(attributes.substr(1))};
  Result<Inode> decoded = decode_inode(reader.text(reader.varint()));
  if (!decoded) return fail(decoded.error());
  inode = std::move(*decoded);
  while (!reader.at_end()) {
    std::string name{reader.text(reader.le<std::uint8_t>())};
    std::string value{reader.text(reader.varint())};
    xattrs.emplace_back(std::move(name), std::move(value));
  }
  return {};
}

std::string TreeAssembly::encode_member(MemberKind kind, std::uint64_t number, std::string_view payload) {
  std::string out;
  out.reserve(10 + payload.size());
  out.push_back(static_cast<char>(kind));
  put_varint(out, number);
  out += payload;
  return out;
}

struct TreeAssembly::Group {
  std::string key;
  bool directory = false;                     // something makes it one
  bool member = false;                        // some member describes it
  MemberKind kind = MemberKind::made_parent;  // of the last one
  std::uint64_t first_number = 0, number = 0;
  std::string payload;              // of the last one
  std::size_t first_reference = 0;  // index into references_
  std::string referrer;             // path of one of those who link here

  std::uint8_t type() const {
    return kind == MemberKind::link ? std::uint8_t{DT_UNKNOWN} : static_cast<std::uint8_t>(payload.front());
  }
};

TreeAssembly::TreeAssembly(std::filesystem::path scratch)
    : nodes_{scratch, kNodeMemory},
      directory_keys_{std::move(scratch), kDirectoryMemory},
      parents_{directory_keys_},
      emitted_{nodes_} {}

Result<void> TreeAssembly::take(EntrySorter& members) {
  Group group;
  bool any = false;
  while (true) {
    const Result<std::optional<EntrySorter::Pair>> pair = members.next();
    if (!pair) return fail(pair.error());
    if (any && (!*pair || (*pair)->key != group.key)) {
      if (Result<void> finished = finish_group(group); !finished) return finished;
      any = false;
    }
    if (!*pair) return {};
    if (!any) {
      group = Group{};
      group.key = (*pair)->key;
      group.first_reference = references_.size();
      any = true;
    }
    ByteReader reader{as_bytes((*pair)->value)};
    const auto kind = static_cast<MemberKind>(reader.le<std::uint8_t>());
    const std::uint64_t number = reader.varint();
    const std::string_view payload = reader.text(reader.left());
    switch (kind) {
      case MemberKind::made_parent:
        group.directory = true;
        break;
      case MemberKind::reference:
        references_.push_back({number, static_cast<Rank>(names_)});
        group.referrer = payload;
        break;
      case MemberKind::inode:
      case MemberKind::link:
        if (!group.member) group.first_number = number;
        group.member = true;
        group.kind = kind;
        group.number = number;
        group.payload = payload;
        if (group.type() == DT_DIR) group.directory = true;
        break;
    }
  }
}

Result<void> TreeAssembly::finish_group(Group& group) {
  if (names_ >= kNone) return impossible(group.key, "more than 4,294,967,295 names");
  if (!group.member && !group.directory) {
    return fail(Errc::invalid_argument,
                group.referrer + ": a hard link to " + path_of_key(group.key) + ", which is not in the archive");
  }
  if (!group.member) {
    group.kind = MemberKind::inode;
    group.payload = made_directory();
  }
  const bool directory = group.type() == DT_DIR;
  if (group.directory && !directory) {
    if (group.type() == DT_LNK) return impossible(group.key, "a symlink where other members need a directory");
    return impossible(group.key, "no directory, but other members need one there");
  }
  TreeNode node;
  const LastComponent last = is_root_key(group.key) ? LastComponent{} : last_component(group.key);
  if (!is_root_key(group.key)) {
    const Result<std::uint32_t> parent = find_parent(group.key);
    if (!parent) return fail(parent.error());
    node.parent = *parent;
    rank_in_hash_ = last.hash == last_hash_ && node.parent == last_parent_ ? rank_in_hash_ + 1 : 0;
    if (rank_in_hash_ > 0xff) return impossible(group.key, "over 256 names with one hash in a directory");
    last_hash_ = last.hash;
    last_parent_ = node.parent;
    node.cookie = make_cookie(last.hash, static_cast<std::uint8_t>(rank_in_hash_));
    node.name = last.name;
    ++children_[node.parent];
    if (directory) ++subdirectories_[node.parent];
  }
  node.link = group.kind == MemberKind::link;
  if (!node.link) node.attributes = group.payload;
  if (node.link) links_.push_back({group.number, static_cast<Rank>(names_)});
  const Result<std::uint64_t> record = nodes_.append(encode_node(node));
  if (!record) return fail(record.error());
  if (references_.size() > group.first_reference) {
    if (Result<void> checked = check_references(group, *record); !checked) return checked;
  }
  if (directory) {
    if (const Result<std::uint64_t> kept = directory_keys_.append(group.key); !kept) return fail(kept.error());
    children_.push_back(0);
    subdirectories_.push_back(0);
  }
  ++names_;
  return {};
}

Result<void> TreeAssembly::check_references(const Group& group, std::uint64_t record) {
  if (group.type() == DT_DIR)
    return fail(Errc::invalid_argument, group.referrer + ": a hard link to the directory " + path_of_key(group.key));
  for (std::size_t i = group.first_reference; i < references_.size(); ++i) {
    // An extracting tar would have linked to the file as it was before.
    if (group.first_number < references_[i].number && references_[i].number < group.number) {
      return fail(Errc::invalid_argument,
                  group.referrer + ": a hard link to " + path_of_key(group.key) + ", which a later member replaces");
    }
  }
  targets_.push_back({static_cast<Rank>(names_), record});
  return {};
}

// Parents come in the order of their children, and all of them come before.
Result<std::uint32_t> TreeAssembly::find_parent(std::string_view key) {
  const std::string wanted = parent_of_key(key);
  while (!parent_known_ || parent_key_ != wanted) {
    const Result<std::optional<std::string_view>> next = parents_.next();
    if (!next) return fail(next.error());
    if (!*next) return impossible(key, "below no directory");
    parent_key_ = **next;
    if (parent_known_) ++parent_index_;
    parent_known_ = true;
  }
  return parent_index_;
}

// The name that `from`, which may be a link, finally stands for. Links may lead to links; what was found shortens later
// ways.
Result<TreeAssembly::Rank> TreeAssembly::follow(Rank from) {
  const auto link_at = [&](Rank rank) {
    const auto found = std::ranges::lower_bound(links_, rank, {}, &Link::rank);
    return found != links_.end() && found->rank == rank ? static_cast<std::size_t>(found - links_.begin())
                                                        : links_.size();
  };
  Rank end = from;
  std::size_t steps = 0;
  for (std::size_t link = link_at(end); link != links_.size(); link = link_at(end)) {
    end = link_targets_[link];
    if (++steps > links_.size()) return fail(Errc::invalid_argument, "hard links that lead to each other in a circle");
  }
  for (std::size_t link = link_at(from); link != links_.size(); link = link_at(from)) {
    from = link_targets_[link];
    link_targets_[link] = end;
  }
  return end;
}

Result<void> TreeAssembly::resolve_links() {
  std::ranges::sort(references_, {}, &Link::number);
  for (const Link& link : links_) {
    const auto reference = std::ranges::lower_bound(references_, link.number, {}, &Link::number);
    assert(reference != references_.end() && reference->number == link.number);  // LayerBuilder adds both
    link_targets_.push_back(reference->rank);
  }
  references_ = {};
  std::vector<std::uint32_t> shared_of_target(targets_.size(), kNone);
  for (const Link& link : links_) {
    const Result<Rank> end = follow(link.rank);
    if (!end) return fail(end.error());
    const auto target = std::ranges::lower_bound(targets_, *end, {}, &Target::rank);
    assert(target != targets_.end() && target->rank == *end);
    std::uint32_t& index = shared_of_target[static_cast<std::size_t>(target - targets_.begin())];
    if (index == kNone) {
      index = static_cast<std::uint32_t>(shared_.size());
      shared_.push_back({.record = target->record, .nlink = 1, .ino = 0, .type = 0});
      link_names_.push_back({*end, index});
    }
    ++shared_[index].nlink;
    link_names_.push_back({link.rank, index});
  }
  std::ranges::sort(link_names_, {}, &LinkName::rank);
  later_names_ = links_.size();
  links_ = {};
  link_targets_ = {};
  targets_ = {};
  return {};
}

Result<cas::Hash> TreeAssembly::fingerprint() const {
  const Result<cas::Hash> nodes = nodes_.fingerprint();
  if (!nodes) return fail(nodes.error());
  cas::Hasher hasher;
  hasher.update(as_bytes(kFingerprinted));
  hasher.update(nodes->span());
  std::string links;
  for (const LinkName& name : link_names_) {
    put_le(links, name.rank);
    put_le(links, shared_[name.inode].record);
  }
  hasher.update(as_bytes(links));
  return hasher.finish();
}

Result<std::optional<LayerEntry>> TreeAssembly::next() {
  const Result<std::optional<std::string_view>> record = emitted_.next();
  if (!record) return fail(record.error());
  if (!*record) return std::nullopt;
  const Rank rank = next_rank_++;
  const TreeNode node = decode_node(**record);
  LayerEntry entry;
  entry.parent = directory_inos_.empty() ? kRootIno : directory_inos_[node.parent];
  entry.cookie = node.cookie;
  entry.name = node.name;
  Shared* shared = nullptr;
  if (next_link_name_ < link_names_.size() && link_names_[next_link_name_].rank == rank) {
    shared = &shared_[link_names_[next_link_name_++].inode];
  }
  if (shared != nullptr && shared->ino != 0) {
    entry.first = false;
    entry.ino = shared->ino;
    entry.inode.mode = std::uint32_t{shared->type} << 12;
    return entry;
  }
  entry.ino = ++last_ino_;
  if (!node.link) {
    if (Result<void> taken = take_attributes(entry, node.attributes); !taken) return fail(taken.error());
  } else {  // the first of several names, but not the one that carries the attributes
    const Result<std::string> holder = nodes_.record_at(shared->record);
    if (!holder) return fail(holder.error());
    if (Result<void> taken = take_attributes(entry, decode_node(*holder).attributes); !taken)
      return fail(taken.error());
  }
  if (shared != nullptr) {
    entry.inode.nlink = shared->nlink;
    shared->ino = entry.ino;
    shared->type = dirent_type(entry.inode.mode);
  }
  return entry;
}

Result<void> TreeAssembly::take_attributes(LayerEntry& entry, std::string_view attributes) {
  if (Result<void> decoded = decode_attributes(attributes, entry.inode, entry.xattrs); !decoded) return decoded;
  if (S_ISDIR(entry.inode.mode)) {
    const std::size_t index = directory_inos_.size();
    entry.inode.parent = entry.parent;
    entry.inode.nlink = 2 + subdirectories_[index];
    entry.children = children_[index];
    directory_inos_.push_back(entry.ino);
  }
  return {};
}

}  // namespace stellarium::fs

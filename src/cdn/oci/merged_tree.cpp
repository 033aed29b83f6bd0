#include "cdn/oci/merged_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "fs/records.h"
#include "fs/tree_assembly.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::size_t kRecordMemory = 16u << 20;
constexpr std::uint64_t kMostNames = 16u << 20;
constexpr int kMostSymlinks = 40;  // as Linux follows at most in one path

void put_components(std::deque<std::string>& components, std::string_view path) {
  std::deque<std::string> added;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (slash != 0) added.emplace_back(path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  components.insert(components.begin(), added.begin(), added.end());
}

std::string below(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

MergedTree::MergedTree(std::filesystem::path scratch) : records_{std::move(scratch), kRecordMemory} {
  root_.kind = Kind::directory;
  root_.children = std::make_unique<Children>();
}

Result<std::uint64_t> MergedTree::keep(const fs::Inode& inode, const fs::Xattrs& xattrs) {
  const auto attributes = fs::checked_attributes(inode, xattrs);
  if (!attributes) return fail(attributes.error());
  return records_.append(*attributes);
}

Result<void> MergedTree::count_one() {
  if (++names_ > kMostNames) return fail(Errc::invalid_argument, "the image has over 16 million names");
  return {};
}

Result<MergedTree::Node> MergedTree::make_directory() {
  if (auto counted = count_one(); !counted) return fail(counted.error());
  fs::Inode inode;
  inode.mode = S_IFDIR | 0755;
  const auto record = keep(inode, {});
  if (!record) return fail(record.error());
  return Node{.record = *record, .layer = layer_, .kind = Kind::directory, .children = std::make_unique<Children>()};
}

Result<std::string> MergedTree::target_of(const Node& symlink) const {
  const auto record = records_.record_at(symlink.record);
  if (!record) return fail(record.error());
  fs::Inode inode;
  fs::Xattrs xattrs;
  if (auto decoded = fs::decode_attributes(*record, inode, xattrs); !decoded) return fail(decoded.error());
  return inode.inline_bytes;
}

Result<MergedTree::Node*> MergedTree::directory(std::string_view path, Missing missing) {
  std::vector<Node*> way{&root_};
  std::deque<std::string> left;
  put_components(left, path);
  int symlinks = 0;
  while (!left.empty()) {
    const std::string name = std::move(left.front());
    left.pop_front();
    if (name == "." || name == "..") {  // of a symlink's target
      if (name == ".." && way.size() > 1) way.pop_back();
      continue;
    }
    Children& children = *way.back()->children;
    auto found = children.find(name);
    if (found == children.end()) {
      if (missing == Missing::leave) return nullptr;
      if (!fs::valid_name(name)) return fail(Errc::invalid_argument, "it lies below a symlink to an impossible name");
      auto made = make_directory();
      if (!made) return fail(made.error());
      found = children.emplace(name, std::move(*made)).first;
    }
    Node& node = found->second;
    if (node.kind == Kind::other)
      return fail(Errc::invalid_argument, "it lies below " + name + ", which is no directory");
    if (node.kind == Kind::directory) {
      way.push_back(&node);
      continue;
    }
    if (++symlinks > kMostSymlinks) return fail(Errc::invalid_argument, "it lies below symlinks that lead in a circle");
    const auto target = target_of(node);
    if (!target) return fail(target.error());
    if (target->starts_with('/')) way.resize(1);
    put_components(left, *target);
  }
  return way.back();
}

Result<MergedTree::Place> MergedTree::place(std::string_view path, Missing missing) {
  const std::size_t slash = path.rfind('/');
  const auto parent = directory(slash == std::string_view::npos ? "" : path.substr(0, slash), missing);
  if (!parent) return fail(parent.error());
  return Place{.parent = *parent, .name = std::string{path.substr(slash == std::string_view::npos ? 0 : slash + 1)}};
}

Result<void> MergedTree::add(std::string_view path, const fs::Inode& inode, const fs::Xattrs& xattrs) {
  if (auto counted = count_one(); !counted) return counted;
  const auto record = keep(inode, xattrs);
  if (!record) return fail(record.error());
  Node* node = &root_;
  if (!path.empty()) {
    const auto at = place(path, Missing::make);
    if (!at) return fail(at.error());
    node = &(*at->parent->children)[at->name];
  } else if (!S_ISDIR(inode.mode)) {
    return fail(Errc::invalid_argument, "the root is no directory");
  }
  node->record = *record;
  node->layer = layer_;
  node->kind = S_ISDIR(inode.mode) ? Kind::directory : S_ISLNK(inode.mode) ? Kind::symlink : Kind::other;
  if (node->kind != Kind::directory) {
    node->children.reset();
  } else if (!node->children) {
    node->children = std::make_unique<Children>();
  }
  return {};
}

Result<void> MergedTree::add_link(std::string_view path, std::string_view target) {
  if (auto counted = count_one(); !counted) return counted;
  if (path.empty()) return fail(Errc::invalid_argument, "the root is no directory");
  const auto from = place(target, Missing::leave);
  if (!from) return fail(from.error());
  const auto no_target = [&] {
    return fail(Errc::invalid_argument, "a hard link to " + std::string{target} + ", which is not there");
  };
  if (from->parent == nullptr || target.empty()) return no_target();
  const auto found = from->parent->children->find(from->name);
  if (found == from->parent->children->end()) return no_target();
  if (found->second.kind == Kind::directory)
    return fail(Errc::invalid_argument, "a hard link to the directory " + std::string{target});
  const Node link{.record = found->second.record, .layer = layer_, .kind = found->second.kind};
  const auto at = place(path, Missing::make);
  if (!at) return fail(at.error());
  Node& node = (*at->parent->children)[at->name];
  node.children.reset();
  node.record = link.record;
  node.layer = link.layer;
  node.kind = link.kind;
  return {};
}

// What the layer itself has added stays, and with it the directories on the way to it.
bool MergedTree::prune(Node& directory) const {
  Children& children = *directory.children;
  for (auto child = children.begin(); child != children.end();) {
    Node& node = child->second;
    const bool holds_something = node.kind == Kind::directory && prune(node);
    child = node.layer == layer_ || holds_something ? std::next(child) : children.erase(child);
  }
  return !directory.children->empty();
}

Result<void> MergedTree::white_out(std::string_view path) {
  const auto at = place(path, Missing::leave);
  if (!at) return fail(at.error());
  if (at->parent == nullptr) return {};
  const auto found = at->parent->children->find(at->name);
  if (found == at->parent->children->end()) return {};
  Node& node = found->second;
  if (node.kind == Kind::directory && prune(node)) return {};
  if (node.layer != layer_) at->parent->children->erase(found);
  return {};
}

Result<void> MergedTree::make_opaque(std::string_view path) {
  const auto found = directory(path, Missing::leave);
  if (!found) return fail(found.error());
  if (*found != nullptr) prune(**found);
  return {};
}

/// The first name of an inode carries it, further ones are links to that.
class MergedTree::Emission {
 public:
  Emission(const MergedTree& tree, fs::LayerBuilder& builder) : tree_{tree}, builder_{builder} {}

  Result<void> run() {
    if (tree_.root_.layer != 0) {  // else no layer describes it
      if (auto added = add("", tree_.root_); !added) return added;
    }
    return walk("", tree_.root_);
  }

 private:
  Result<void> walk(const std::string& path, const Node& directory) {
    for (const auto& [name, node] : *directory.children) {
      const std::string child = below(path, name);
      if (auto taken = take(child, node); !taken) return taken;
      if (node.kind != Kind::directory) continue;
      if (auto walked = walk(child, node); !walked) return walked;
    }
    return {};
  }

  Result<void> take(const std::string& path, const Node& node) {
    if (node.kind != Kind::directory) {
      const auto [first, is_new] = first_names_.try_emplace(node.record, path);
      if (!is_new) return builder_.add_link(path, first->second);
    }
    return add(path, node);
  }

  Result<void> add(const std::string& path, const Node& node) {
    const auto record = tree_.records_.record_at(node.record);
    if (!record) return fail(record.error());
    fs::Inode inode;
    fs::Xattrs xattrs;
    if (auto decoded = fs::decode_attributes(*record, inode, xattrs); !decoded) return decoded;
    return builder_.add(path, inode, xattrs);
  }

  const MergedTree& tree_;
  fs::LayerBuilder& builder_;
  std::unordered_map<std::uint64_t, std::string> first_names_;  // by record
};

Result<void> MergedTree::emit(fs::LayerBuilder& builder) const {
  return Emission{*this, builder}.run();
}

}  // namespace stellarium::cdn::oci

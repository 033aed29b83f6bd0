#include <fmt/format.h>
#include <sys/stat.h>

#include <condition_variable>
#include <functional>
#include <unordered_set>

#include "base/mutex.h"
#include "fs/records.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

int show_tier(CommandContext& context) {
  const auto stats = context.store.tier().stats();
  if (context.global.json) {
    context.io.out(dump(Json{{"schema", 1},
                             {"hot_files", stats.hot_files},
                             {"hot_bytes", stats.hot_bytes},
                             {"hot_budget", stats.hot_budget},
                             {"pinned_files", stats.pinned_files},
                             {"pinned_bytes", stats.pinned_bytes},
                             {"hot_hits", stats.hot_hits},
                             {"fills", stats.fills},
                             {"evictions", stats.evictions},
                             {"integrity", stats.integrity}}));
    return 0;
  }
  context.io.out(fmt::format("{} hot files, {} of {}; {} pinned ({}); {} hits, {} fills, {} evictions; checked by {}\n",
                             stats.hot_files, text::format_bytes(stats.hot_bytes), text::format_bytes(stats.hot_budget),
                             stats.pinned_files, text::format_bytes(stats.pinned_bytes), stats.hot_hits, stats.fills,
                             stats.evictions, stats.integrity));
  return 0;
}

/// The distinct contents below a path of an image.
Result<std::vector<tier::ContentRef>> contents_below(CommandContext& context, const std::string& ref,
                                                     const std::string& path) {
  const auto opened = open_image(context.store, ref);
  if (!opened) return fail(opened.error());
  const auto found = opened->reader.resolve(path.empty() ? "/" : path, true);
  if (!found) return fail(found.error(), ref);
  std::vector<tier::ContentRef> contents;
  std::unordered_set<cas::ContentId, cas::HashOfHash> seen;
  auto walked = walk(opened->reader, normal_path(path), found->ino, [&](const Visited& visited) {
    const auto content = fs::content_of(visited.inode);
    if (content && seen.insert(content->id).second) contents.push_back(*content);
    return !context.io.cancelled();
  });
  if (!walked) return fail(walked.error(), ref);
  if (context.io.cancelled()) return fail(Errc::cancelled, "cancelled");
  return contents;
}

/// Fills hot files, a few at a time, and remembers the first failure.
class Warmer {
 public:
  explicit Warmer(CommandContext& context) : context_{context} {}
  ~Warmer() { wait_for_less_than(1); }

  void fill(const tier::ContentRef& content) {
    wait_for_less_than(kAtOnce);
    {
      MutexLock lock{mutex_};
      ++running_;
    }
    context_.store.tier().make_hot(content, [this](Result<tier::HotFilePtr> made) {
      MutexLock lock{mutex_};
      if (!made && !failure_) failure_ = made.error();
      --running_;
      ended_.notify_one();
    });
  }
  std::optional<Error> finish() {
    wait_for_less_than(1);
    MutexLock lock{mutex_};
    return failure_;
  }
  bool failed() {
    MutexLock lock{mutex_};
    return failure_.has_value();
  }

 private:
  static constexpr unsigned kAtOnce = 16;
  void wait_for_less_than(unsigned count) {
    MutexLock lock{mutex_};
    while (running_ >= count) lock.wait(ended_);
  }
  CommandContext& context_;
  Mutex mutex_;
  std::condition_variable ended_;
  unsigned running_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
};

/// Runs `each` over the contents with a display; the first error ends it.
int for_each(CommandContext& context, const std::vector<tier::ContentRef>& contents, const char* phase,
             const std::function<std::optional<Error>(const tier::ContentRef&)>& each) {
  std::uint64_t total = 0, done = 0;
  for (const auto& content : contents) total += content.size;
  for (const auto& content : contents) {
    if (context.io.cancelled()) return 1;
    if (auto error = each(content)) return context.io.complain(*error);
    done += content.size;
    context.io.progress({.phase = phase, .done = done, .total = total});
  }
  return 0;
}

int report(CommandContext& context, std::size_t contents, std::uint64_t bytes, const char* what) {
  if (context.global.json) {
    context.io.out(dump(Json{{"schema", 1}, {"contents", contents}, {"bytes", bytes}}));
  } else if (!context.global.quiet) {
    context.io.out(fmt::format("{} {} contents, {}\n", what, contents, text::format_bytes(bytes)));
  }
  return 0;
}

std::uint64_t bytes_of(const std::vector<tier::ContentRef>& contents) {
  std::uint64_t bytes = 0;
  for (const auto& content : contents) bytes += content.size;
  return bytes;
}

}  // namespace

int run(const cli::TierOptions& options, CommandContext& context) {
  using Action = cli::TierOptions::Action;
  tier::Tier& tier = context.store.tier();
  if (options.action == Action::status) return show_tier(context);
  if (options.action == Action::evict && options.ref.empty()) {
    const auto before = tier.stats().hot_files;
    const std::uint64_t freed = tier.evict(std::nullopt);
    return report(context, before - std::min(before, tier.stats().hot_files), freed, "evicted");
  }
  if (options.ref.empty()) {
    return context.io.complain(
        Error{Errc::invalid_argument,
              "tier: of which image? Name it behind the action, as in 'stellarium tier warm NAME'", 0});
  }
  const auto contents = contents_below(context, options.ref, options.path);
  if (!contents) return context.io.complain(contents.error());
  int code = 0;
  std::uint64_t evicted = 0;
  switch (options.action) {
    case Action::status:
      break;
    case Action::warm: {
      Warmer warmer{context};
      code = for_each(context, *contents, "warm", [&](const tier::ContentRef& content) -> std::optional<Error> {
        if (warmer.failed()) return warmer.finish();
        warmer.fill(content);
        return {};
      });
      const auto failure = warmer.finish();
      if (code == 0 && failure) code = context.io.complain(*failure);
      return code != 0 ? code : report(context, contents->size(), bytes_of(*contents), "warmed");
    }
    case Action::pin:
      code = for_each(context, *contents, "pin", [&](const tier::ContentRef& content) -> std::optional<Error> {
        if (auto pinned = tier.pin(content); !pinned) return pinned.error();
        return {};
      });
      return code != 0 ? code : report(context, contents->size(), bytes_of(*contents), "pinned");
    case Action::unpin:
      for (const auto& content : *contents) tier.unpin(content.id);
      return report(context, contents->size(), bytes_of(*contents), "unpinned");
    case Action::evict:
      for (const auto& content : *contents) evicted += tier.evict(content.id);
      return report(context, contents->size(), evicted, "evicted of");
  }
  return 0;
}

}  // namespace stellarium::server

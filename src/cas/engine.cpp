#include "cas/engine.h"

#include <algorithm>
#include <cassert>
#include <string>

#include "cas/database_status.h"

namespace stellarium::cas {
namespace {

/// The smallest string above every string that starts with `prefix`; empty if there is none.
std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

/// Whether every key of [lower, upper) starts with the first `size` bytes of `lower`.
bool shares_prefix(std::string_view lower, std::string_view upper, std::size_t size) {
  if (size == 0 || lower.size() < size || upper.empty()) return false;
  const std::string_view prefix = lower.substr(0, size);
  return upper.substr(0, size) == prefix || upper == after_prefix(std::string{prefix});
}

class EngineCursor final : public Database::Cursor {
 public:
  EngineCursor(std::shared_ptr<const Engine> engine, std::string_view from, const Family& family,
               std::string_view lower, std::string_view upper)
      : engine_{std::move(engine)},
        family_{family.name},
        lower_{lower},
        upper_{upper},
        lower_slice_{slice(lower_)},
        upper_slice_{slice(upper_)} {
    rocksdb::ReadOptions options;
    options.iterate_lower_bound = &lower_slice_;
    if (!upper_.empty()) options.iterate_upper_bound = &upper_slice_;
    options.total_order_seek = !shares_prefix(lower, upper, family.prefix_size);
    iterator_.reset(engine_->db().NewIterator(options, engine_->handle(family)));
    seek(from);
  }

  void seek(std::string_view key) override {
    // With a prefix filter, seeking below or above the range would ask for another prefix than the one it was made for.
    past_end_ = !upper_.empty() && key >= upper_;
    if (!past_end_) iterator_->Seek(slice(std::max<std::string_view>(key, lower_)));
  }
  bool valid() const override { return !past_end_ && iterator_->Valid(); }
  void next() override { iterator_->Next(); }
  std::string_view key() const override { return iterator_->key().ToStringView(); }
  std::string_view value() const override { return iterator_->value().ToStringView(); }
  Result<void> status() const override {
    if (const rocksdb::Status status = iterator_->status(); !status.ok())
      return fail_status(status, std::string{"walking over family "} + family_);
    return {};
  }

 private:
  std::shared_ptr<const Engine> engine_;  // first: the iterator must go before the engine can
  const char* family_;
  std::string lower_, upper_;
  rocksdb::Slice lower_slice_, upper_slice_;  // the iterator keeps pointers to them
  std::unique_ptr<rocksdb::Iterator> iterator_;
  bool past_end_ = false;
};

}  // namespace

Engine::Engine(const EngineSettings& settings, std::unique_ptr<rocksdb::DB> db,
               std::vector<rocksdb::ColumnFamilyHandle*> handles)
    : settings_{settings}, db_{std::move(db)}, handles_{std::move(handles)} {}

Engine::~Engine() {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  // Nothing depends on the outcome: what was acknowledged is in the log, and the next open reports what it finds.
  db_->Close().PermitUncheckedError();
}

rocksdb::ColumnFamilyHandle* Engine::handle(const Family& family) const {
  const auto found = std::find_if(handles_.begin(), handles_.end(), [&](const rocksdb::ColumnFamilyHandle* handle) {
    return handle->GetName() == family.name;
  });
  assert(found != handles_.end() && "the family was not named at open");
  return *found;
}

std::unique_ptr<Database::Cursor> make_cursor(std::shared_ptr<const Engine> engine, std::string_view from,
                                              const Family& family, std::string_view lower, std::string_view upper) {
  return std::make_unique<EngineCursor>(std::move(engine), from, family, lower, upper);
}

}  // namespace stellarium::cas

#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/keeper/link.h"

namespace stellarium::keeper {

/// Every record the keeper holds, by name. Bounded: a server that has lost its way cannot exhaust the keeper.
///
/// Threads: one. Errors: out_of_space (the limit), not_found.
class RecordTable {
 public:
  static constexpr std::size_t kMaxRecords = 16384;

  [[nodiscard]] Result<void> put(Record record);
  [[nodiscard]] Result<void> remove(const std::string& name);
  const std::map<std::string, Record>& records() const { return records_; }

  /// Everything in a memfd whose descriptors survive execve, for a keeper that replaces its own program; its number is
  /// what `inherit` takes.
  [[nodiscard]] Result<int> bequeath(const std::vector<int>& also) const;
  struct Inherited;
  static Result<Inherited> inherit(int fd);

 private:
  std::map<std::string, Record> records_;
};

struct RecordTable::Inherited {
  RecordTable table;
  std::vector<UniqueFd> also;
};

}  // namespace stellarium::keeper

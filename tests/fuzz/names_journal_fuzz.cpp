// A journal that nobody vouches for; and, with their checksums made right as a forger would, its records once more.
#include <cstdlib>
#include <string>

#include "fs/names_journal.h"

using namespace stellarium;
using namespace stellarium::fs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const auto parsed = NamesJournal::parse(bytes);
  if (!parsed) return 0;
  if (parsed->end > size) std::abort();
  std::string again = NamesJournal::encode_header(parsed->uuid);
  for (const JournalRecord& record : parsed->records) again += NamesJournal::encode_record(parsed->uuid, record);
  const auto reread = NamesJournal::parse(again);
  if (!reread || !reread->damage.empty() || reread->records.size() != parsed->records.size()) std::abort();
  if (replay(reread->records).size() != replay(parsed->records).size()) std::abort();
  return 0;
}

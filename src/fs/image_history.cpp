#include "fs/image_history.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace stellarium::fs {

std::optional<std::vector<Catalog::Event>> history_of(const std::vector<JournalRecord>& records,
                                                      const ImageName& name) {
  using Events = std::vector<Catalog::Event>;
  // A renamed image takes its past along; the name it left keeps only what comes later.
  struct Past {
    Events events;
    cas::ContentId manifest;
  };
  std::map<ImageName, Past> pasts;
  for (const JournalRecord& record : records) {
    switch (record.kind) {
      case JournalRecord::Kind::publish: {
        Past& past = pasts[record.name];
        past.manifest = record.image.manifest;
        past.events.push_back({record.when, "import", record.name, past.manifest, record.detail});
        break;
      }
      case JournalRecord::Kind::remove: {
        Past& past = pasts[record.name];
        past.events.push_back({record.when, "remove", record.name, past.manifest, record.detail});
        break;
      }
      case JournalRecord::Kind::rename: {
        Past past = std::move(pasts[record.name]);
        pasts.erase(record.name);
        past.events.push_back({record.when, "rename", record.to, past.manifest, "from " + record.name.text()});
        Past& before = pasts[record.to];
        std::ranges::move(past.events, std::back_inserter(before.events));
        before.manifest = past.manifest;
        break;
      }
      case JournalRecord::Kind::clone:
      case JournalRecord::Kind::remove_clone:
      case JournalRecord::Kind::snapshot:
      case JournalRecord::Kind::remove_snapshot:
        break;
    }
  }
  const auto found = pasts.find(name);
  if (found == pasts.end()) return std::nullopt;
  return std::move(found->second.events);
}

}  // namespace stellarium::fs

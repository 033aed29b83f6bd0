#include "tools/server/clone_quotas.h"

#include "base/log.h"
#include "fs/own_records.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

constexpr std::uint64_t kLeast = 1u << 20;

/// The clone, if it is mounted.
Result<std::optional<fs::OpenClones::Clone>> mounted(Store& store, const fs::Clone& clone) {
  std::optional<fs::OpenClones::Clone> found;
  auto asked = store.open_clones().with({clone.layers.front()},
                                        [&](std::span<const fs::OpenClones::Clone> open) -> Result<void> {
                                          if (!open.empty()) found = open.front();
                                          return {};
                                        });
  if (!asked) return fail(asked.error());
  return found;
}

Result<std::uint32_t> free_project(Store& store) {
  if (store.projects() == nullptr) return std::uint32_t{0};
  while (true) {
    const auto found = store.projects()->find_free();
    if (!found) return found;
    const auto taken = fs::is_project_taken(store.database(), *found);  // by a clone that wrote nothing yet
    if (!taken) return fail(taken.error());
    if (!*taken) return found;
  }
}

}  // namespace

std::string to_text(const QuotaState& state) {
  return text::format_bytes(state.used) + (state.limit ? " of " + text::format_bytes(*state.limit) : ", no quota");
}

void put_quota(Json& object, const QuotaState& state) {
  object["used"] = state.used;
  object["limit"] = state.limit ? Json(*state.limit) : Json(nullptr);
  object["kept_by"] = state.limit ? Json(state.by_host ? "host" : "server") : Json(nullptr);
}

Result<std::uint64_t> parse_limit(const std::string& text) {
  const auto size = text::parse_bytes(text);
  if (size && *size >= kLeast && *size <= INT64_MAX) return *size;
  return fail(Errc::invalid_argument, "'" + text + "' is no quota: write 1M or more, as 512M or 10G");
}

Result<QuotaState> quota_of(Store& store, const std::string& name) {
  const auto clone = store.clones().find(name);
  if (!clone) return fail(clone.error());
  const auto record = fs::read_quota(store.database(), name);
  if (!record) return fail(record.error());
  QuotaState state;
  if (*record) {
    state.limit = (*record)->limit;
    state.by_host = (*record)->project != 0 && store.projects() != nullptr;
  }
  const auto open = mounted(store, *clone);
  if (!open) return fail(open.error());
  if (*open && (*open)->bodies->quota().limited()) {
    const auto usage = (*open)->bodies->quota().usage();
    if (!usage) return fail(usage.error());
    state.used = usage->used;
    return state;
  }
  const auto records = fs::OwnRecords::open(store.database(), clone->layers);
  if (!records) return fail(records.error());
  const auto used = records->used(store.staging());
  if (!used) return fail(used.error());
  state.used = *used;
  return state;
}

Result<std::size_t> set_quota(Store& store, const std::string& name, std::optional<std::uint64_t> limit) {
  auto clone = store.clones().find(name);
  if (!clone) return fail(clone.error());
  auto before = fs::read_quota(store.database(), name);
  if (!before) return fail(before.error());
  std::optional<fs::QuotaRecord> record;
  if (limit) {
    const bool keeps = *before && (*before)->project != 0;
    const auto project = keeps ? Result<std::uint32_t>{(*before)->project} : free_project(store);
    if (!project) return fail(project.error());
    record = fs::QuotaRecord{*limit, *project};
  }
  auto written = store.catalog().change_clones([&](cas::Database::Batch& batch) -> Result<void> {
    const auto there = fs::is_clone(store.database(), name);
    if (!there) return fail(there.error());
    if (!*there) return fail(Errc::not_found, "there is no clone " + name);
    fs::put_quota(batch, name, record);
    return {};
  });
  if (!written) return fail(written.error());
  if (!record && *before) forget_quota(store, **before);
  clone = store.clones().find(name);  // a snapshot may have come in between
  if (!clone) return fail(clone.error());
  const auto open = mounted(store, *clone);
  if (!open) return fail(open.error());
  if (!*open) return std::size_t{0};
  if (auto set = (*open)->bodies->quota().set(record); !set) return fail(set.error());
  const bool by_host = record && record->project != 0 && store.projects() != nullptr;
  return record && !by_host && (*open)->open_staged ? (*open)->open_staged().size() : 0;
}

Result<std::vector<fs::QuotaRecord>> new_quotas(Store& store, std::uint64_t limit, std::size_t count) {
  std::vector<fs::QuotaRecord> quotas;
  while (quotas.size() < count) {
    const auto project = free_project(store);
    if (!project) return fail(project.error());
    quotas.push_back({limit, *project});
  }
  return quotas;
}

Result<void> recount(Store& store, const std::string& name) {
  const auto clone = store.clones().find(name);
  if (!clone) return fail(clone.error());
  const auto open = mounted(store, *clone);
  if (!open) return fail(open.error());
  return *open ? (*open)->bodies->quota().recount() : Result<void>{};
}

void forget_quota(Store& store, const fs::QuotaRecord& record) {
  if (record.project == 0 || store.projects() == nullptr) return;
  if (auto lifted = store.projects()->limit(record.project, 0); !lifted) log::warn("{}", to_string(lifted.error()));
}

}  // namespace stellarium::server

#include "fs/import_sealing.h"

#include <sys/stat.h>
#include <time.h>

#include <optional>

namespace stellarium::fs {
namespace {

/// What is under way of one import once its stream was read.
class Sealing {
 public:
  Sealing(cas::Database& database, Catalog& catalog, LayerBuilder& builder, cas::WriteSession& session)
      : database_{database}, catalog_{catalog}, builder_{builder}, session_{session} {}

  Result<void> run(ImportReport& report) {
    session_.begin_commit();  // the layer's records are made meanwhile
    const Result<cas::Hash> fingerprint = builder_.assemble();
    if (!fingerprint) return fail(fingerprint.error());
    auto sealed = catalog_.find_sealed(*fingerprint);
    if (!sealed) return fail(sealed.error());
    // One whose layer object was damaged, or cannot be looked up, is made anew.
    if (*sealed && session_.knows((*sealed)->image.manifest, (*sealed)->image.manifest_size).value_or(false))
      return name_again(**sealed, report);
    return make(*fingerprint, report);
  }

 private:
  /// The same tree is in the store already: it gets one more name.
  Result<void> name_again(const Catalog::SealedLayer& sealed, ImportReport& report) {
    Image image = sealed.image;
    image.name = report.image.name;
    image.source = report.image.source;
    report.image = std::move(image);
    if (Result<void> committed = session_.commit(); !committed) return committed;
    return publish(report, {});
  }

  // The order makes it safe: records and contents are durable before the one small batch that makes them an image.
  Result<void> make(const cas::Hash& fingerprint, ImportReport& report) {
    Result<Catalog::NewLayer> layer = catalog_.begin_layer();
    if (!layer) return fail(layer.error());
    Result<void> done = seal(*layer, report);
    if (done) done = publish(report, fingerprint);
    if (!done) {
      layer->pin.reset();
      (void)catalog_.sweep();  // records that are in the database already go now, not at the next gc
    }
    return done;
  }

  Result<void> seal(const Catalog::NewLayer& layer, ImportReport& report) {
    const Result<LayerBuilder::Sealed> sealed = builder_.seal(database_, layer.layer, session_);
    if (!sealed) return fail(sealed.error());
    Image& image = report.image;
    image.layer = layer.layer;
    image.tree = layer.tree;
    image.manifest = sealed->manifest;
    image.manifest_size = sealed->manifest_size;
    image.files = sealed->files;
    image.bytes = sealed->bytes;
    return session_.commit();
  }

  Result<void> publish(ImportReport& report, const cas::Hash& fingerprint) {
    timespec created{};
    ::clock_gettime(CLOCK_REALTIME, &created);
    report.image.created = {created.tv_sec, static_cast<std::uint32_t>(created.tv_nsec)};
    report.totals = session_.totals();
    return catalog_.publish(report.image, fingerprint);
  }

  cas::Database& database_;
  Catalog& catalog_;
  LayerBuilder& builder_;
  cas::WriteSession& session_;
};

}  // namespace

void ImportReport::count(std::uint32_t mode) {
  if (S_ISREG(mode)) {
    ++files;
  } else if (S_ISDIR(mode)) {
    ++directories;
  } else if (S_ISLNK(mode)) {
    ++links;
  } else {
    ++others;
  }
}

Result<void> seal_import(cas::Database& database, Catalog& catalog, LayerBuilder& builder, cas::WriteSession& session,
                         ImportReport& report) {
  return Sealing{database, catalog, builder, session}.run(report);
}

}  // namespace stellarium::fs

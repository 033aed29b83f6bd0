#include "tools/cli/definitions.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cassert>
#include <map>

namespace stellarium::cli {
namespace {

constexpr const char* kImageMeaning = "image, as NAME[:TAG] (TAG is 'latest' if left out)";
constexpr const char* kRefMeaning =
    "image, as NAME[:TAG] (TAG is 'latest' if left out); clone, as NAME; or NAME@SNAPSHOT";
constexpr const char* kSnapshotMeaning = "clone and snapshot, as NAME@SNAPSHOT";

template <auto member>
CommandOptions of(const Definitions& definitions) {
  return definitions.*member;
}
template <typename Options>
CommandOptions none(const Definitions& /*definitions*/) {
  return Options{};
}

}  // namespace

CLI::App& Definitions::command(CLI::App& app, const char* group, const char* name, const char* summary) {
  CLI::App* made = app.add_subcommand(name, summary);
  made->group(group);
  made->fallthrough();  // options for all commands may stand behind the command's name
  return *made;
}

void Definitions::define(CLI::App& app, std::string_view only) {
  app.name("stellarium");
  app.description("Keeps every unique byte of system images once, and shows them as ordinary files.");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "show help and exit");
  define_globals(app);
  if (const Command* chosen = find(only)) {
    (this->*chosen->define)(app);
    return;
  }
  const Command* before = nullptr;
  for (const Command& each : commands()) {
    if (before == nullptr || each.define != before->define) (this->*each.define)(app);
    before = &each;
  }
}

void Definitions::define_globals(CLI::App& app) {
  const std::map<std::string, ProgressStyle> styles{{"auto", ProgressStyle::automatic},
                                                    {"plain", ProgressStyle::plain},
                                                    {"json", ProgressStyle::json},
                                                    {"none", ProgressStyle::none}};
  app.add_option("--store", global.store,
                 "folder of the store; else $STELLARIUM_STORE, else /var/lib/stellarium for root and "
                 "$XDG_DATA_HOME/stellarium for others")
      ->type_name("DIR");
  app.add_flag("--json", global.json, "print one JSON object instead of text");
  app.add_option("--progress", global.progress,
                 "auto: a bar on a terminal; plain: a line a second; json: an object a second; none")
      ->type_name("auto|plain|json|none")
      ->transform(CLI::CheckedTransformer(styles).description(""));
  app.add_flag("-q,--quiet", global.quiet, "print results and errors only; for 'images', names only");
  app.add_flag("-v,--verbose", global.verbose, "say more");
  app.add_flag_callback(
      "--version", [] {}, "show version and exit");
  app.add_flag_callback(
      "--man", [] {}, "show the manual page of the program or of one command, for man(1)");
}

void Definitions::define_images(CLI::App& app) {
  constexpr const char* kGroup = "Images";
  CLI::App& i = command(app, kGroup, "import",
                        "Take a directory tree, a tar archive, an OCI image or a disk's files into the store");
  i.add_option(
       "SOURCE", import.source,
       "directory, tar archive of any usual compression, or '-' for a tar on standard input; folder with an OCI image "
       "layout, archive of one or of 'docker save'; 'docker://NAME' for an image of a registry (through skopeo); with "
       "'--as tree' a disk image or a block device")
      ->required();
  i.add_option("NAME", import.name, "name of the new image, as NAME[:TAG]; a taken name moves to the new image")
      ->required();
  i.add_option(
       "--as", import.as,
       "tree: SOURCE is a disk image with an ext2, ext3 or ext4 file system (not a partitioned one), of which the "
       "files are taken; it is not mounted; files: take what is in a folder or an archive, though it looks like an OCI "
       "image")
      ->type_name("tree|files")
      ->check(CLI::IsMember({"tree", "files", "oci"}).description(""));
  i.add_option("--oci", import.oci,
               "what to keep of an OCI image besides its files and configuration: exact, what gives the same layers, "
               "digests included, at 'export --oci'; equivalent, what gives the same files of each layer, which takes "
               "less space")
      ->type_name("exact|equivalent")
      ->check(CLI::IsMember({"exact", "equivalent"}).description(""));
  i.add_option("--ref", import.ref, "which image of several: its tag or full name")->type_name("REF");
  i.add_option("--platform", import.platform, "which image of one for several machines, if not this machine's")
      ->type_name("OS/ARCHITECTURE[/VARIANT]");
  i.add_option("--manifest", import.manifest)->group("");  // the command's own word to the server
  i.add_flag("--rehash", import.rehash,
             "read every file, also those that have not changed since they were last imported");
  i.add_option("--exclude", import.excludes,
               "leave out paths of a directory that match this shell pattern; may be given several times")
      ->type_name("PATTERN")
      ->allow_extra_args(false);  // one each time it is given

  CLI::App& e = command(app, kGroup, "export", "Write an image as a tar archive or as an OCI image");
  e.add_option("NAME", export_.ref, kRefMeaning)->required();
  e.add_option("TARGET", export_.target,
               "file to write, or '-' for standard output; with --oci also the name of a new folder, without '.tar' "
               "at its end")
      ->required();
  e.add_flag("--oci", export_.oci,
             "write an OCI image layout, as a folder or as an archive: the layers and the configuration that the image "
             "came with, or one layer");

  CLI::App& m = command(app, kGroup, "rename", "Give an image or a clone another name");
  m.add_option("FROM", rename.from, kRefMeaning)->required();
  m.add_option("TO", rename.to, "the new name, which must be free")->required();

  CLI::App& r =
      command(app, kGroup, "rm", "Remove images, clones and snapshots, all or none; 'gc' frees the space of contents");
  r.add_option("REF", rm.refs, kRefMeaning)->required()->expected(1, 4000);
}

void Definitions::define_clones(CLI::App& app) {
  constexpr const char* kGroup = "Clones";
  CLI::App& c = command(app, kGroup, "clone", "Make writable clones of an image or of a clone's snapshot");
  c.add_option("REF", clone.ref, "image, as NAME[:TAG] (TAG is 'latest' if left out); or snapshot, as NAME@SNAPSHOT")
      ->required();
  c.add_option("NAME", clone.names, "names of the new clones, which no image or clone may have; all are made or none")
      ->required()
      ->expected(1, 4000);
  c.add_option("--quota", clone.quota,
               "how much each may hold of its own, in bytes or with K, M, G or T behind it (powers of 1,024)")
      ->type_name("SIZE");

  CLI::App& s = command(app, kGroup, "snapshot", "Keep a clone as it is now, under a name; it may be mounted");
  s.add_option("REF", snapshot.ref, kSnapshotMeaning)->required();
  s.add_flag("--freeze", snapshot.freeze,
             "stop every process that works in the clone's mount until the snapshot is made; needs root");
  s.footer(
      "Files that programs have open for writing are copied for the snapshot. One that changes all the time is told as "
      "'fuzzy: PATH': the snapshot has bytes of different moments, as after a crash of the machine at best. With "
      "--freeze (processes whose root or current directory is in the mount are stopped and continued by SIGSTOP and "
      "SIGCONT) there is none.");

  CLI::App& r = command(app, kGroup, "rollback", "Make a clone what it was at a snapshot; it must not be mounted");
  r.add_option("REF", rollback.ref, kSnapshotMeaning)->required();

  CLI::App& m = command(app, kGroup, "commit", "Make an image of what a clone is now; it must not be mounted");
  m.add_option("CLONE", commit.clone, kRefMeaning)->required();
  m.add_option("NAME", commit.name, "name of the image, as NAME[:TAG]; a taken name moves to the new image")
      ->required();

  CLI::App& q = command(app, kGroup, "quota", "Show or set how much a clone may hold of its own; it may be mounted");
  q.add_option("CLONE", quota.clone, "clone, as NAME")->required();
  q.add_option("SIZE", quota.size,
               "the new limit, at least 1M, in bytes or with K, M, G or T behind it (powers of 1,024); or none");
  q.footer(
      "What counts: what the clone wrote since its last snapshot, as blocks of the host until it is settled, then as "
      "bytes; and 512 bytes for each file, folder and further name. Beyond it, writing fails with EDQUOT; removing "
      "always works. Where the store's file system has project quotas (ext4 with prjquota, XFS with pquota) clones "
      "with a "
      "quota are written at full speed; elsewhere everything that they write comes through the daemon.");

  CLI::App& t =
      command(app, kGroup, "settle", "Bring what clones wrote into the store, where equal bytes are kept once");
  t.add_option("CLONE", settle.clones, "clone, as NAME, mounted or not; all clones if left out");
  t.footer(
      "The daemon does so by itself with files that nobody has open and nobody has changed for 30 seconds; this does "
      "not wait for that. Files that are in use are left as they are and counted as busy.");

  command(app, kGroup, "clones", "List the clones and their snapshots");

  CLI::App& n = command(app, kGroup, "nspawn", "Run a container from a clone, in one step");
  n.add_option("REF", nspawn.ref,
               "image or snapshot, of which a clone is made for this run; or a clone, which keeps what is written")
      ->required();
  n.add_option("COMMAND", nspawn.command, "what to run, behind '--'; a shell if left out")->expected(1, 1000);
  n.add_flag("-b,--boot", nspawn.boot, "start the image's init as process 1");
  n.add_flag("--keep", nspawn.keep, "keep the clone that was made for this run, and say its name");
  n.add_option("-M,--machine", nspawn.machine, "name of the container; the clone's if left out")->type_name("NAME");
  n.add_flag("-U,--private-users", nspawn.private_users,
             "give the container users of its own: its root is nobody outside; what it writes is stored as its own ids "
             "(Linux 6.12)");
  n.add_flag("--keep-unit", nspawn.keep_unit,
             "leave the container in the systemd unit that starts it, as stellarium@.service does");
  n.footer(
      "The container ends with SIGTERM or Ctrl-C, with --boot by an orderly shutdown; a second one does not wait for "
      "that. Then the mount is gone, and the clone that was made for this run, too. Network, bind mounts and limits: "
      "/etc/systemd/nspawn/NAME.nspawn, see systemd.nspawn(5).");
}

void Definitions::define_volumes(CLI::App& app) {
  const std::map<std::string, VolumeOptions::Action> actions{
      {"create", VolumeOptions::Action::create},  {"clone", VolumeOptions::Action::clone},
      {"resize", VolumeOptions::Action::resize},  {"import", VolumeOptions::Action::import},
      {"export", VolumeOptions::Action::export_}, {"manifest", VolumeOptions::Action::manifest},
      {"map", VolumeOptions::Action::map},        {"rm", VolumeOptions::Action::rm},
      {"list", VolumeOptions::Action::list}};
  CLI::App& v = command(app, "Volumes", "volume", "Make, clone, grow, import, export and list disk images");
  v.add_option("ACTION", volume.action,
               "create NAME --size SIZE; clone FROM NAME; resize NAME SIZE (only larger); import FILE NAME (raw, "
               "qcow2, or a manifest of blocks that the store has); export NAME FILE (raw; '-' for standard output); "
               "manifest NAME [FILE] (which blocks it has, by content id); map NAME (which ranges have data); rm NAME; "
               "list")
      ->required()
      ->type_name("create|clone|resize|import|export|manifest|map|rm|list")
      ->transform(CLI::CheckedTransformer(actions).description(""));
  v.add_option("WORDS", volume.words, "names, files and sizes, as the action wants them")->expected(0, 2);
  v.add_option("--size", volume.size, "of a new volume, in bytes or with K, M, G or T behind it (powers of 1,024)")
      ->type_name("SIZE");
  v.add_option("--format", volume.format, "of the file to import, if it is not what it looks like")
      ->type_name("raw|qcow2|tinyvol")
      ->check(CLI::IsMember({"raw", "qcow2", "tinyvol"}).description(""));
  v.footer("In a mount of the whole store, volumes are the files volumes/NAME.img, which can be written.");
}

void Definitions::define_looking(CLI::App& app) {
  constexpr const char* kGroup = "Looking";
  command(app, kGroup, "images", "List the images");

  CLI::App& i = command(app, kGroup, "info", "Show what is known about an image, a clone or a snapshot");
  i.add_option("REF", info.ref, kRefMeaning)->required();

  CLI::App& l = command(app, kGroup, "ls", "List files of an image");
  l.add_option("REF", ls.ref, kRefMeaning)->required();
  l.add_option("PATH", ls.path, "file or directory in the image");
  l.add_flag("-l,--long", ls.long_format, "mode, links, owner, size and time too");
  l.add_flag("-R,--recursive", ls.recursive, "directories below too");

  CLI::App& c = command(app, kGroup, "cat", "Print a file of an image");
  c.add_option("REF", cat.ref, kRefMeaning)->required();
  c.add_option("PATH", cat.path, "file in the image")->required();

  CLI::App& s = command(app, kGroup, "stat", "Show one file's attributes");
  s.add_option("REF", stat.ref, kRefMeaning)->required();
  s.add_option("PATH", stat.path, "file in the image")->required();
  s.add_flag("--chunks", stat.chunks, "list the chunks of its content too");
  s.add_flag("-L,--dereference", stat.follow, "follow a symbolic link at the end of the path");

  CLI::App& d = command(app, kGroup, "diff", "Compare two images file by file");
  d.add_option("BEFORE", diff.before, kRefMeaning)->required();
  d.add_option("AFTER", diff.after, kRefMeaning)->required();

  CLI::App& h = command(app, kGroup, "history", "Show what happened to a name");
  h.add_option("REF", history.ref, kImageMeaning)->required();
}

void Definitions::define_mounts(CLI::App& app) {
  constexpr const char* kGroup = "Mounts";
  CLI::App& m = command(app, kGroup, "mount", "Show an image, a clone, or the whole store, as files");
  m.add_option(
       "WORDS", mount.words,
       "[REF] DIR: an image, or a clone, which can be written, and the directory to mount it on; without REF the "
       "whole store, as images/NAME/TAG")
      ->required()
      ->expected(1, 2)
      ->type_name("[REF] DIR");
  m.add_option("-o,--options", mount.options,
               "comma-separated mount options: ro, nodev, nosuid, noexec, noatime and others of mount(8); source=NAME, "
               "allow_other")
      ->type_name("OPTIONS");
  m.add_flag("--no-passthrough", mount.no_passthrough,
             "read files through the daemon and the page cache, as on kernels that cannot pass reads through");
  m.footer(
      "Also as 'mount -t stellarium REF DIR -o store=DIR' and in fstab, with 'none' in place of REF for the whole "
      "store; "
      "of the options above, --no-passthrough is called no_passthrough there.");

  CLI::App& u = command(app, kGroup, "umount", "Undo a mount");
  u.add_option("DIR", umount.dir, "where it is mounted")->required();
  u.add_flag("-l,--lazy", umount.lazy, "take it out of sight now; it ends when nobody uses it any more");
}

void Definitions::define_store(CLI::App& app) {
  constexpr const char* kGroup = "The store";
  CLI::App& g = command(app, kGroup, "gc", "Free the space of what no image needs");
  g.add_flag("-n,--dry-run", gc.dry_run, "only say how much that is");
  g.add_flag("--allow-empty", gc.allow_empty, "go on even if there is no image left, so that everything is freed");
  g.add_flag("--recompress{19}", gc.level,
             "also compress everything anew, at zstd level LEVEL (--recompress=LEVEL, 1 to 22)");

  CLI::App& f =
      command(app, kGroup, "fsck", "Check the store; exit code 0: sound, 1: repaired, 4: damaged, 8: could not check");
  f.add_flag("--deep", fsck.deep, "also read everything and compare it with its hash");
  f.add_flag("--repair", fsck.repair,
             "also mend: a lost or damaged database from the segments and the names journal; damaged "
             "contents from hot files and from what the database knows");

  command(app, kGroup, "scrub", "Read every hot file and drop those whose bytes have changed");
  command(app, kGroup, "stats", "Show sizes, hit rates and limits");

  const std::map<std::string, TierOptions::Action> actions{{"status", TierOptions::Action::status},
                                                           {"pin", TierOptions::Action::pin},
                                                           {"unpin", TierOptions::Action::unpin},
                                                           {"warm", TierOptions::Action::warm},
                                                           {"evict", TierOptions::Action::evict}};
  CLI::App& t = command(app, kGroup, "tier", "See and steer which contents are kept as hot files");
  t.add_option("ACTION", tier.action, "what to do: status, pin (fill and keep), unpin, warm (fill), evict")
      ->required()
      ->type_name("status|pin|unpin|warm|evict")
      ->transform(CLI::CheckedTransformer(actions).description(""));
  t.add_option("REF", tier.ref, kImageMeaning);
  t.add_option("PATH", tier.path, "file or directory in the image; everything if left out");

  CLI::App& o = command(app, kGroup, "top", "Show what the mounts are doing, one line a second");
  o.add_option("-n,--count", top.count, "stop after so many lines")->type_name("N");
}

void Definitions::define_program(CLI::App& app) {
  constexpr const char* kGroup = "The program";
  command(app, kGroup, "doctor", "Check kernel, permissions, space and the daemon; touches no mount");

  const std::map<std::string, DaemonOptions::Action> actions{
      {"start", DaemonOptions::Action::start},     {"stop", DaemonOptions::Action::stop},
      {"status", DaemonOptions::Action::status},   {"restart", DaemonOptions::Action::restart},
      {"upgrade", DaemonOptions::Action::upgrade}, {"mounts", DaemonOptions::Action::mounts}};
  CLI::App& d =
      command(app, kGroup, "daemon", "Start, stop or replace the daemon; commands start it when they need it");
  d.add_option("ACTION", daemon.action,
               "start; stop; status; restart (a new server takes over the mounts); upgrade (the keeper too); mounts "
               "(list them)")
      ->required()
      ->type_name("start|stop|status|restart|upgrade|mounts")
      ->transform(CLI::CheckedTransformer(actions).description(""));
  CLI::Option* unmount = d.add_flag("--unmount", daemon.unmount,
                                    "stop: unmount everything first, lazily, and end what virtual machines are served");
  d.add_flag("--force", daemon.force, "stop: even if there are mounts, which then fail with ENOTCONN")
      ->excludes(unmount);

  CLI::App& c = command(app, kGroup, "completion", "Print a completion script for a shell");
  c.add_option("SHELL", completion.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
}

std::span<const Definitions::Command> Definitions::commands() {
  using D = Definitions;
  static constexpr Command kCommands[]{
      {"import", &D::define_images, of<&D::import>},
      {"export", &D::define_images, of<&D::export_>},
      {"rename", &D::define_images, of<&D::rename>},
      {"rm", &D::define_images, of<&D::rm>},
      {"publish", &D::define_distribution, of<&D::publish>},
      {"pull", &D::define_distribution, of<&D::pull>},
      {"remote", &D::define_distribution, of<&D::remote>},
      {"clone", &D::define_clones, of<&D::clone>},
      {"snapshot", &D::define_clones, of<&D::snapshot>},
      {"rollback", &D::define_clones, of<&D::rollback>},
      {"commit", &D::define_clones, of<&D::commit>},
      {"quota", &D::define_clones, of<&D::quota>},
      {"settle", &D::define_clones, of<&D::settle>},
      {"clones", &D::define_clones, none<ClonesOptions>},
      {"nspawn", &D::define_clones, of<&D::nspawn>},
      {"volume", &D::define_volumes, of<&D::volume>},
      {"images", &D::define_looking, none<ImagesOptions>},
      {"info", &D::define_looking, of<&D::info>},
      {"ls", &D::define_looking, of<&D::ls>},
      {"cat", &D::define_looking, of<&D::cat>},
      {"stat", &D::define_looking, of<&D::stat>},
      {"diff", &D::define_looking, of<&D::diff>},
      {"history", &D::define_looking, of<&D::history>},
      {"mount", &D::define_mounts, of<&D::mount>},
      {"umount", &D::define_mounts, of<&D::umount>},
      {"vm", &D::define_machines, of<&D::vm>},
      {"virtiofsd", &D::define_machines, of<&D::virtiofsd>},
      {"gc", &D::define_store, of<&D::gc>},
      {"fsck", &D::define_store, of<&D::fsck>},
      {"scrub", &D::define_store, none<ScrubOptions>},
      {"stats", &D::define_store, none<StatsOptions>},
      {"tier", &D::define_store, of<&D::tier>},
      {"top", &D::define_store, of<&D::top>},
      {"doctor", &D::define_program, none<DoctorOptions>},
      {"daemon", &D::define_program, of<&D::daemon>},
      {"completion", &D::define_program, of<&D::completion>},
  };
  return kCommands;
}

const Definitions::Command* Definitions::find(std::string_view name) {
  const auto found = std::ranges::find(commands(), name, &Command::name);
  return found == commands().end() ? nullptr : &*found;
}

CommandOptions Definitions::chosen(std::string_view name) const {
  const Command* const command = find(name);
  assert(command != nullptr);
  return command->options(*this);
}

}  // namespace stellarium::cli

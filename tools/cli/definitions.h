#pragma once
#include <span>
#include <string_view>

#include "tools/cli/options.h"

namespace CLI {
class App;
}

namespace stellarium::cli {

/// Every option's name, meaning and place, bound to the structs of options.h. Address-stable while an App that was
/// defined on it lives.
struct Definitions {
  GlobalOptions global;
  ImportOptions import;
  ExportOptions export_;
  RenameOptions rename;
  RmOptions rm;
  PublishOptions publish;
  PullOptions pull;
  RemoteOptions remote;
  CloneOptions clone;
  SnapshotOptions snapshot;
  RollbackOptions rollback;
  CommitOptions commit;
  QuotaOptions quota;
  SettleOptions settle;
  NspawnOptions nspawn;
  VolumeOptions volume;
  InfoOptions info;
  LsOptions ls;
  CatOptions cat;
  StatOptions stat;
  DiffOptions diff;
  HistoryOptions history;
  MountOptions mount;
  UmountOptions umount;
  VmOptions vm;
  VirtiofsdOptions virtiofsd;
  GcOptions gc;
  FsckOptions fsck;
  TierOptions tier;
  TopOptions top;
  DaemonOptions daemon;
  CompletionOptions completion;

  /// Defines every command; if `only` is the name of one, that one and those of its group: to define all is a quarter
  /// of what a short command takes.
  void define(CLI::App& app, std::string_view only = {});
  /// The options of the subcommand `name`, which must be one that `define` made.
  CommandOptions chosen(std::string_view name) const;

 private:
  struct Command {
    std::string_view name;
    void (Definitions::*define)(CLI::App&);  ///< defines its whole group
    CommandOptions (*options)(const Definitions&);
  };
  static std::span<const Command> commands();  ///< by group
  static const Command* find(std::string_view name);
  static CLI::App& command(CLI::App& app, const char* group, const char* name, const char* summary);

  void define_globals(CLI::App& app);
  void define_images(CLI::App& app);
  void define_distribution(CLI::App& app);
  void define_clones(CLI::App& app);
  void define_volumes(CLI::App& app);
  void define_looking(CLI::App& app);
  void define_mounts(CLI::App& app);
  void define_machines(CLI::App& app);
  void define_store(CLI::App& app);
  void define_program(CLI::App& app);
};

}  // namespace stellarium::cli

#pragma once
#include "tools/cli/options.h"
#include "tools/server/command_context.h"

// The server's part of every subcommand, one file each. They get the parsed options and return the exit code; what went
// wrong they have said through `context.io`. Tests call them in-process.
namespace stellarium::server {

int run(const cli::ImportOptions& options, CommandContext& context);
int run(const cli::ExportOptions& options, CommandContext& context);
int run(const cli::RenameOptions& options, CommandContext& context);
int run(const cli::RmOptions& options, CommandContext& context);
int run(const cli::PublishOptions& options, CommandContext& context);
int run(const cli::PullOptions& options, CommandContext& context);
int run(const cli::CloneOptions& options, CommandContext& context);
int run(const cli::SnapshotOptions& options, CommandContext& context);
int run(const cli::RollbackOptions& options, CommandContext& context);
int run(const cli::CommitOptions& options, CommandContext& context);
int run(const cli::QuotaOptions& options, CommandContext& context);
int run(const cli::SettleOptions& options, CommandContext& context);
int run(const cli::ClonesOptions& options, CommandContext& context);
int run(const cli::VolumeOptions& options, CommandContext& context);
int run(const cli::ImagesOptions& options, CommandContext& context);
int run(const cli::InfoOptions& options, CommandContext& context);
int run(const cli::LsOptions& options, CommandContext& context);
int run(const cli::CatOptions& options, CommandContext& context);
int run(const cli::StatOptions& options, CommandContext& context);
int run(const cli::DiffOptions& options, CommandContext& context);
int run(const cli::HistoryOptions& options, CommandContext& context);
int run(const cli::MountOptions& options, CommandContext& context);
int run(const cli::VirtiofsdOptions& options, CommandContext& context);
int run(const cli::GcOptions& options, CommandContext& context);
int run(const cli::FsckOptions& options, CommandContext& context);
int run(const cli::ScrubOptions& options, CommandContext& context);
int run(const cli::StatsOptions& options, CommandContext& context);
int run(const cli::TierOptions& options, CommandContext& context);
int run(const cli::TopOptions& options, CommandContext& context);
int run(const cli::DaemonOptions& options, CommandContext& context);

/// remote, umount, nspawn, vm, doctor and completion run in the command process alone: asking the server for them is a
/// usage error.
int run_any(const cli::CommandOptions& options, CommandContext& context);

}  // namespace stellarium::server

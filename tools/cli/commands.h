#pragma once
#include <filesystem>

#include "tools/cli/command_line.h"

// The part of each subcommand that runs in the command process, because it touches the user's files, mounts or
// terminal. Every function returns the exit code. Subcommands that are not here are all the server's (run_remotely).
namespace stellarium::cli {

int run_import(const Invocation& invocation, const std::filesystem::path& store);
int run_export(const Invocation& invocation, const std::filesystem::path& store);
int run_publish(const Invocation& invocation, const std::filesystem::path& store);
int run_pull(const Invocation& invocation, const std::filesystem::path& store);
int run_remote(const Invocation& invocation);
int run_mount(const Invocation& invocation, const std::filesystem::path& store);
int run_umount(const Invocation& invocation);
int run_virtiofsd(const Invocation& invocation, const std::filesystem::path& store);
int run_snapshot(const Invocation& invocation, const std::filesystem::path& store);
int run_nspawn(const Invocation& invocation, const std::filesystem::path& store);
int run_vm(const Invocation& invocation, const std::filesystem::path& store);
int run_volume(const Invocation& invocation, const std::filesystem::path& store);
int run_daemon(const Invocation& invocation, const std::filesystem::path& store);
int run_doctor(const Invocation& invocation, const std::filesystem::path& store);

}  // namespace stellarium::cli

#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tools/transport/remote_access.h"

// What a user can ask for, one struct per subcommand, as the command line fills it (definitions.cpp) and the command
// functions read it.
namespace stellarium::cli {

enum class ProgressStyle : std::uint8_t { automatic, plain, json, none };

/// Options that every subcommand takes, before or after its name.
struct GlobalOptions {
  std::string store;  ///< empty: default_store()
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  ProgressStyle progress = ProgressStyle::automatic;
};

// Images in and out.
struct ImportOptions {
  std::string source, name;
  std::vector<std::string> excludes;
  bool rehash = false;
  std::string as;  ///< "tree": of a disk image its files, "files": what is in a folder or archive; "oci": to the server
  std::string oci, ref;  ///< of an OCI image: what is kept of its layers; which one is meant
  std::string platform;  ///< OS/ARCHITECTURE of the one that is meant
  std::string manifest;  ///< the command's word to the server: the digest of the image's manifest
};
struct ExportOptions {
  std::string ref, target;
  bool oci = false;  ///< as an OCI image, else as a tar of its files
};
struct RenameOptions {
  std::string from, to;
};
struct RmOptions {
  std::vector<std::string> refs;
};

// Distribution.
struct PublishOptions {
  std::string ref, target;
  std::string as = {};          ///< NAME[:TAG] that it gets there; empty: the image's
  std::string key = {};         ///< file; empty: the default key, made if there is none
  std::string repository = {};  ///< empty: the remote's, or "default"
  unsigned days = 0;            ///< until the name expires; 0: never
  int level = 9;
  transport::RemoteAccess access = {};
};
struct PullOptions {
  std::string source, name;
  std::vector<std::string> keys = {};  ///< trusted for this pull
  transport::RemoteAccess access = {};
  bool full = false, lazy_only = false;
  std::string manifest = {};  ///< what the command found the name to stand for
  std::string remote = {};    ///< by which the transport finds the remote later on
};
struct RemoteOptions {
  enum class Action : std::uint8_t { list, add, rm, trust, key } action = Action::list;
  std::vector<std::string> words;
  std::string repository = {};
  transport::RemoteAccess access = {};
};
/// What is wrong with the words for the action, for a person; empty if nothing is.
std::string why_wrong(const RemoteOptions& options);

// Clones.
struct CloneOptions {
  std::string ref;
  std::vector<std::string> names;  ///< of the new ones
  std::string quota = {};          ///< of each; empty: none
};
struct QuotaOptions {
  std::string clone;
  std::string size = {};  ///< "none": no quota from now on; empty: only show it
};
struct SnapshotOptions {
  std::string ref;  ///< CLONE@SNAPSHOT
  bool freeze = false;
};
struct RollbackOptions {
  std::string ref;  ///< CLONE@SNAPSHOT
};
struct CommitOptions {
  std::string clone, name;
};
struct SettleOptions {
  std::vector<std::string> clones;  ///< empty: all
};
struct ClonesOptions {};
struct NspawnOptions {
  std::string ref;
  std::vector<std::string> command = {};
  bool boot = false, keep = false;
  bool private_users = false;  ///< the container's ids are others outside of it
  bool keep_unit = false;      ///< the container's processes stay in the unit that this command runs in
  std::string machine = {};    ///< empty: after the clone
};

// Volumes.
struct VolumeOptions {
  enum class Action : std::uint8_t {
    create,
    clone,
    resize,
    import,
    export_,
    manifest,
    map,
    rm,
    list
  } action = Action::list;
  std::vector<std::string> words;  ///< names, files and sizes, as the action wants them (why_wrong)
  std::string size;                ///< of create
  std::string format;              ///< of import: raw, qcow2 or tinyvol; empty: what the file looks like
};
/// What is wrong with the words for the action, for a person; empty if nothing is.
std::string why_wrong(const VolumeOptions& options);

// Looking.
struct ImagesOptions {};
struct InfoOptions {
  std::string ref;
};
struct LsOptions {
  std::string ref, path = "/";
  bool long_format = false, recursive = false;
};
struct CatOptions {
  std::string ref, path;
};
struct StatOptions {
  std::string ref, path;
  bool chunks = false, follow = false;
};
struct DiffOptions {
  std::string before, after;
};
struct HistoryOptions {
  std::string ref;
};

// Mounts.
struct MountOptions {
  std::vector<std::string> words;  ///< [REF] DIR
  std::string options;             ///< as mount -o takes them
  bool no_passthrough = false;
};
struct UmountOptions {
  std::string dir;
  bool lazy = false;
};
struct VirtiofsdOptions {
  std::string ref = {};  ///< empty: what `shared_dir` says
  std::string socket_path = {};
  std::string tag = {};  ///< empty: the machine's monitor has its own
  unsigned request_queues = 1;
  std::string dax_window = "512M";
  unsigned shmem_feature_bit = 22;
  bool readonly = false;
  // The command's own.
  int fd = -1;                    ///< a listening socket instead of socket_path
  std::string socket_group = {};  ///< whose members may connect, too
  std::string shared_dir = {};
  bool print_capabilities = false;
  std::vector<std::string> foreign = {};  ///< what other virtiofsds take, without "--", as NAME or NAME=VALUE
};
struct VmOptions {
  std::string ref;
  std::vector<std::string> qemu_words = {};  ///< more of QEMU's own
  bool keep = false, dry_run = false;
  std::string kernel = {}, initrd = {};  ///< files; empty: the image's
  std::string append = {};               ///< to the kernel's command line
  std::string memory = "1G";
  unsigned cpus = 2;
  std::string net = "user";  ///< QEMU's -netdev without its id; or none
  std::string accel = {};    ///< empty: what the host has
  std::string qemu = "qemu-system-x86_64";
};

// The store.
struct GcOptions {
  bool dry_run = false, allow_empty = false;
  int level = 0;  ///< zstd level to compress everything anew with; 0: leave it as it is
};
struct FsckOptions {
  bool deep = false, repair = false;
};
struct ScrubOptions {};
struct StatsOptions {};
struct TierOptions {
  enum class Action : std::uint8_t { status, pin, unpin, warm, evict } action = Action::status;
  std::string ref, path;
};
struct TopOptions {
  std::uint64_t count = 0;  ///< lines; 0: until interrupted
};

// The program itself.
struct DoctorOptions {};
struct DaemonOptions {
  enum class Action : std::uint8_t { start, stop, status, restart, upgrade, mounts } action = Action::status;
  bool force = false, unmount = false;
};
struct CompletionOptions {
  std::string shell;
};

using CommandOptions =
    std::variant<ImportOptions, ExportOptions, RenameOptions, RmOptions, PublishOptions, PullOptions, RemoteOptions,
                 CloneOptions, SnapshotOptions, RollbackOptions, CommitOptions, QuotaOptions, SettleOptions,
                 ClonesOptions, NspawnOptions, VolumeOptions, ImagesOptions, InfoOptions, LsOptions, CatOptions,
                 StatOptions, DiffOptions, HistoryOptions, MountOptions, UmountOptions, VirtiofsdOptions, VmOptions,
                 GcOptions, FsckOptions, ScrubOptions, StatsOptions, TierOptions, TopOptions, DoctorOptions,
                 DaemonOptions, CompletionOptions>;

}  // namespace stellarium::cli

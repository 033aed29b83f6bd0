#include "tools/cli/clone_for_run.h"

#include <sys/random.h>

#include <cstdint>

namespace stellarium::cli {

int run_words(const Invocation& invocation, const std::filesystem::path& store, const std::vector<std::string>& words,
              const Handlers& handlers) {
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  if (auto sent = connection->request(words, false); !sent) return complain(sent.error());
  return follow(*connection, invocation.global, handlers);
}

Result<bool> is_clone(const Invocation& invocation, const std::filesystem::path& store, const std::string& ref,
                      Handlers handlers) {
  std::string names;
  handlers.capture_output = &names;
  if (const int code = run_words(invocation, store, {"--quiet", "clones"}, handlers); code != 0)
    return fail(Errc::unavailable, "the clones cannot be listed");
  return ("\n" + names).find("\n" + ref + "\n") != std::string::npos && ref.find('@') == std::string::npos;
}

Result<std::string> fresh_name(const std::string& ref) {
  std::uint32_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return fail_errno("getrandom");
  std::string name = ref.substr(0, ref.find_first_of(":@")).substr(0, 100) + "-";
  for (int digit = 0; digit < 8; ++digit, number >>= 4) name += "0123456789abcdef"[number & 15];
  return name;
}

}  // namespace stellarium::cli

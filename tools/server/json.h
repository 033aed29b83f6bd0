#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "fs/types.h"
#include "tools/server/command_io.h"
#include "tools/text/escape.h"

// JSON as every listing prints it: one object with "schema": 1, keys in a fixed order, two spaces of indentation.
namespace stellarium::server {

using Json = nlohmann::ordered_json;

/// JSON holds Unicode, file names are bytes: a name that is not UTF-8 is given escaped, and exactly as `KEY_hex`.
inline void put_name(Json& object, const std::string& key, const std::string& bytes) {
  if (text::is_utf8(bytes)) {
    object[key] = bytes;
    return;
  }
  object[key] = text::escape(bytes);
  std::string hex;
  for (const char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    hex.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  object[key + "_hex"] = hex;
}

inline Json time_of(const fs::Timespec& time) {
  return Json{{"s", time.seconds}, {"ns", time.nanoseconds}};
}

inline std::string dump(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// {"schema": 1, KEY: [ … ]} written entry by entry, so that a listing of two million files needs no memory.
class JsonListing {
 public:
  JsonListing(CommandIo& io, const std::string& key) : io_{io} { io_.out("{\n  \"schema\": 1,\n  \"" + key + "\": ["); }
  void add(const Json& entry) {
    io_.out((first_ ? "\n    " : ",\n    ") + entry.dump(-1, ' ', false, Json::error_handler_t::replace));
    first_ = false;
  }
  void finish() { io_.out(first_ ? "]\n}\n" : "\n  ]\n}\n"); }

 private:
  CommandIo& io_;
  bool first_ = true;
};

}  // namespace stellarium::server

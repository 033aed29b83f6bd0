#include "cdn/s3/xml.h"

#include <expat.h>

#include <climits>
#include <memory>
#include <string>
#include <vector>

namespace stellarium::cdn::s3 {
namespace {

constexpr std::size_t kMaxDepth = 8;
constexpr std::size_t kMaxName = 128;
constexpr std::size_t kMaxText = 64u << 10;

struct Reading {
  const XmlElement& element;
  XML_Parser parser;
  std::string path;
  std::vector<std::string> texts;  // one per open element
  Result<void> outcome;

  void stop(tl::unexpected<Error> why) {
    if (!outcome) return;  // expat finishes the call that it is in
    outcome = std::move(why);
    XML_StopParser(parser, XML_FALSE);
  }
  void stop(const char* why) { stop(fail(Errc::invalid_argument, why)); }
};

void on_start(void* data, const XML_Char* name, const XML_Char** /*attributes*/) {
  auto& reading = *static_cast<Reading*>(data);
  const std::string_view text{name};
  if (reading.texts.size() == kMaxDepth) return reading.stop("XML nested too deeply");
  if (text.size() > kMaxName || text.find('/') != std::string_view::npos)
    return reading.stop("XML with a strange name");
  if (!reading.path.empty()) reading.path += '/';
  reading.path += text;
  reading.texts.emplace_back();
}

void on_end(void* data, const XML_Char* /*name*/) {
  auto& reading = *static_cast<Reading*>(data);
  if (!reading.outcome) return;
  if (auto done = reading.element(reading.path, reading.texts.back()); !done) return reading.stop(fail(done.error()));
  reading.texts.pop_back();
  const std::size_t slash = reading.path.rfind('/');
  reading.path.resize(slash == std::string::npos ? 0 : slash);
}

void on_text(void* data, const XML_Char* text, int size) {
  auto& reading = *static_cast<Reading*>(data);
  if (!reading.outcome || reading.texts.empty()) return;
  if (reading.texts.back().size() + static_cast<std::size_t>(size) > kMaxText)
    return reading.stop("XML with a text that is too long");
  reading.texts.back().append(text, static_cast<std::size_t>(size));
}

void on_doctype(void* data, const XML_Char* /*name*/, const XML_Char* /*system*/, const XML_Char* /*public_id*/,
                int /*internal*/) {
  static_cast<Reading*>(data)->stop("XML with a document type");
}

}  // namespace

Result<void> read_xml(std::string_view document, const XmlElement& element) {
  // Servers that are busy for long send blanks to keep the connection, before the declaration, where XML has none.
  const std::size_t begin = document.find_first_not_of(" \t\r\n");
  document.remove_prefix(begin == std::string_view::npos ? document.size() : begin);
  if (document.size() > INT_MAX) return fail(Errc::invalid_argument, "XML that is too large");

  const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser{XML_ParserCreate("UTF-8"), &XML_ParserFree};
  if (parser == nullptr) return fail(Errc::io, "no memory to read XML");
  Reading reading{element, parser.get(), {}, {}, {}};
  XML_SetUserData(parser.get(), &reading);
  XML_SetElementHandler(parser.get(), on_start, on_end);
  XML_SetCharacterDataHandler(parser.get(), on_text);
  XML_SetStartDoctypeDeclHandler(parser.get(), on_doctype);
  const XML_Status status =
      XML_Parse(parser.get(), document.data(), static_cast<int>(document.size()), /*isFinal=*/XML_TRUE);
  if (!reading.outcome) return reading.outcome;
  if (status != XML_STATUS_OK)
    return fail(Errc::invalid_argument, "not XML: line " + std::to_string(XML_GetCurrentLineNumber(parser.get())) +
                                            ": " + XML_ErrorString(XML_GetErrorCode(parser.get())));
  return {};
}

}  // namespace stellarium::cdn::s3

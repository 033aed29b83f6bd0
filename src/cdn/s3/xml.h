#pragma once
#include <functional>
#include <string_view>

#include "base/result.h"

namespace stellarium::cdn::s3 {

/// Reads the little XML that S3 servers answer with, of which nobody vouches for anything.
///
/// Shape:  `element` is called at the end of every element, with its path from the root
/// ("ListBucketResult/Contents/Key")
///         and the text that stands directly in it; its first error ends the reading.
/// Limits: no document type (so no entities but the five of XML, and nothing outside is read), 8 elements deep, 64 KiB
/// of
///         text in an element. Memory: the path and the texts of the elements that are open.
/// Errors: invalid_argument (not well-formed, beyond the limits), and those of `element`.
using XmlElement = std::function<Result<void>(std::string_view path, std::string_view text)>;
[[nodiscard]] Result<void> read_xml(std::string_view document, const XmlElement& element);

}  // namespace stellarium::cdn::s3

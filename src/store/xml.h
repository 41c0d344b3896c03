// Xml: as much of XML as S3 answers in: elements by name, text with entities. Tolerant: what is malformed is not there.
// Private to store.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace mlops::store {

/// The text of the first element of that name, entities resolved; "" when there is none.
std::string xml_text(std::string_view xml, std::string_view name);
/// The inside of each element of that name, in order. One that holds another of its name ends at the inner one's end.
void xml_each(std::string_view xml, std::string_view name, const std::function<void(std::string_view inside)>& visit);
std::string xml_escape(std::string_view text);

}  // namespace mlops::store

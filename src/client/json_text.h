// JsonText: the little JSON that is written here by hand; what servers say is the dialect's business.
#pragma once

#include <string>
#include <string_view>

#include "mlops/status.h"

namespace mlops::client {

std::string json_string(std::string_view utf8);  // quoted
std::string json_number(double finite);          // shortest digits that read back the same
/// invalid_argument: where it stops to be a JSON text.
Status check_json(std::string_view text);

}  // namespace mlops::client

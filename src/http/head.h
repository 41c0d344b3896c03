// Head: the header lines of an answer, read into the Response's fields. Private to http.
#pragma once

#include <cstdint>
#include <ctime>
#include <string_view>

#include "http/http.h"

namespace mlops::http {

/// Without blanks and line breaks at both ends.
std::string_view strip(std::string_view s);

class HeadReader {
 public:
  /// Reads dates (of any of HTTP's three forms); -1 when it is none.
  using DateReader = std::time_t (*)(const char* text);
  HeadReader(Response* out, DateReader date) : out_(out), date_(date) {}
  /// One line, the empty one at the end too. A status line begins anew: only the last answer's headers count.
  void line(std::string_view line);
  bool whole() const { return whole_; }  // the empty line was there

 private:
  void field(std::string_view name, std::string_view value);
  Response* out_;
  DateReader date_;
  bool whole_ = false;
};

}  // namespace mlops::http

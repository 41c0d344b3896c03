// Auth: which of the credentials go with requests to our server, and how none of them gets into a message. Private to
// http.
#pragma once

#include <string>
#include <string_view>

#include "http/http.h"
#include "http/uri.h"

namespace mlops::http {

struct Auth {
  enum class Kind { none, basic, bearer, callback, sigv4 };
  Kind kind = Kind::none;
  std::string token;  // of bearer and sigv4; of callback the last answer
  Status unusable;    // why nothing may be sent with them
};
Auth choose_auth(const Credentials& credentials, const Uri& uri);

/// Asks the callback; empty when it has none, throws or talks nonsense.
std::string ask_token(const Credentials& credentials);

bool has_control(std::string_view text);

/// libcurl's words without anything that is secret, whatever it quotes.
std::string scrub(std::string text, const Credentials& credentials, const std::string& token, const Request& request);

}  // namespace mlops::http

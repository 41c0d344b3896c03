#include "authorities.h"

#include <pybind11/pybind11.h>

#include <string>

namespace mlops_python {

namespace py = pybind11;

mlops::Credentials base_credentials() {
  mlops::Credentials out;
  try {
    const py::object found = py::module_::import("importlib.machinery").attr("PathFinder").attr("find_spec")("certifi");
    if (!found.is_none() && !found.attr("origin").is_none()) {
      const std::string init = found.attr("origin").cast<std::string>();
      out.ca_fallback = init.substr(0, init.rfind('/') + 1) + "cacert.pem";
    }
  } catch (py::error_already_set&) {  // somebody's import hook: then there is no fallback
  }
  return out;
}

}  // namespace mlops_python

// Authorities: what the library cannot know of Python's.
#pragma once

#include "mlops/options.h"

namespace mlops_python {

/// Credentials to start from: none, and certifi's bundle, where certifi is installed, for a machine without one of its
/// own. certifi is looked for as an import would, and not imported. Call with the GIL held.
mlops::Credentials base_credentials();

}  // namespace mlops_python

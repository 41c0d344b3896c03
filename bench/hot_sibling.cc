// The hot path is measured as users have it: in a program of its own that links libmlops.so.
#include "support.h"

namespace mlops::bench {
namespace {

const Group g("hot.", [](Report& report) { run_sibling(report, "mlops_bench_hot"); });

}  // namespace
}  // namespace mlops::bench

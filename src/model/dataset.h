// Dataset: what the record of an input may say beside its name (key) and digest (value), and the limits of a dataset.
//
// Pairs: the names below, in any order, absent when empty; "tag:" and a key: a tag of the input. A value that does not
// fit a record stands in the spool: the pair's key then ends in "@", its value is the name of the bytes. The record of
// these bytes is an artifact record with the pair kPartOf, which is not uploaded.
#pragma once

#include <string_view>

#include "mlops/dataset.h"
#include "mlops/status.h"
#include "model/record.h"

namespace mlops::model {

inline constexpr std::string_view kSourceType = "source_type", kDataSource = "data_source", kSchema = "schema",
                                  kProfile = "profile", kTagPrefix = "tag:";
/// Of an artifact record: its bytes are part of another record (the value: "input"), and no file of the run.
inline constexpr std::string_view kPartOf = "part_of";
/// Of a model_metric record: the dataset it was measured on.
inline constexpr std::string_view kDatasetName = "dataset", kDatasetDigest = "digest";
inline constexpr std::string_view kContextTag = "mlflow.data.context";

inline constexpr std::size_t kDatasetNameChars = 500, kDigestChars = 36, kSourceTypeChars = 36, kSourceChars = 65'535,
                             kSchemaChars = 1'048'575, kProfileChars = 16'777'215, kInputTagKeyChars = 255,
                             kInputTagChars = 500;

/// An artifact record with kPartOf.
bool is_part(const Op& artifact);

/// invalid_argument names the field, the rule and the mend.
Status check_dataset(const Dataset& dataset, std::string_view context);

}  // namespace mlops::model

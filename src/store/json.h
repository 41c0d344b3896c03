// Json: the bodies of MLflow's artifact calls. Whatever a server says is read without trusting it. Private to store.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/store.h"

namespace mlops::store {

/// error_code and message of an MLflow error; both empty when it is none.
void read_error(std::string_view body, std::string* code, std::string* message);
/// files[] as they are named there, and the next page's token; false when the body is no such answer.
bool read_files(std::string_view body, std::vector<Entry>* out, std::string* next_page);
/// upload_id and the parts' URLs of mpu/create.
bool read_upload(std::string_view body, Upload* out);
/// A presigned URL, its headers and the object's size (-1 not said).
bool read_presigned(std::string_view body, PartUrl* out, std::int64_t* size);

std::string write_create(std::string_view name, std::size_t parts);
std::string write_complete(std::string_view name, const Upload& upload);
std::string write_abort(std::string_view name, const Upload& upload);
std::string write_presign(std::string_view run_id, std::string_view model_id, std::string_view path, int seconds);

}  // namespace mlops::store

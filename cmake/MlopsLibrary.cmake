# The library: compiled once (PIC, hidden), linked as libmlops.so, which exports mlops::v0 and nothing else, and, for
# our own tests and benches that look inside, as the static mlops_private.
file(GLOB mlops_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*/*.cc)
list(FILTER mlops_sources EXCLUDE REGEX "/src/cli/")
mlops_spare_heavy_files(${mlops_sources})

# By hand: the same rule for protobuf 3.21 (MODULE) and newer (CONFIG).
file(GLOB mlops_protos CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*/*.proto)
set(mlops_gen ${PROJECT_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${mlops_gen})
set(mlops_generated)
foreach(proto IN LISTS mlops_protos)
  file(RELATIVE_PATH rel ${PROJECT_SOURCE_DIR}/src ${proto})
  string(REGEX REPLACE "\\.proto$" ".pb" base ${mlops_gen}/${rel})
  add_custom_command(OUTPUT ${base}.cc ${base}.h
    COMMAND protobuf::protoc --proto_path=${PROJECT_SOURCE_DIR}/src --cpp_out=${mlops_gen} ${rel}
    DEPENDS ${proto} COMMENT "protoc ${rel}" VERBATIM)
  list(APPEND mlops_generated ${base}.cc)
endforeach()
set_source_files_properties(${mlops_generated} PROPERTIES SKIP_LINTING ON COMPILE_OPTIONS -w)

add_library(mlops_usage INTERFACE)
target_compile_features(mlops_usage INTERFACE cxx_std_20)
target_include_directories(mlops_usage INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_include_directories(mlops_usage SYSTEM INTERFACE ${mlops_gen})
target_link_libraries(mlops_usage INTERFACE mlops_flags ${MLOPS_DEPS})

add_library(mlops_objects OBJECT ${mlops_sources} ${mlops_generated})
target_link_libraries(mlops_objects PRIVATE mlops_usage)
set_target_properties(mlops_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF UNITY_BUILD OFF)

add_library(mlops_private STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:mlops_objects>)
target_link_libraries(mlops_private PUBLIC mlops_usage)

add_library(mlops SHARED $<TARGET_OBJECTS:mlops_objects>)
add_library(mlops::mlops ALIAS mlops)
set_target_properties(mlops PROPERTIES LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/mlops.map)
target_compile_features(mlops INTERFACE cxx_std_17)
target_include_directories(mlops INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(mlops PRIVATE $<BUILD_INTERFACE:mlops_usage>)
target_link_options(mlops PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/mlops.map -Wl,--exclude-libs,ALL
  -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now -Wl,--as-needed)
if(NOT MLOPS_SANITIZE)
  target_link_options(mlops PRIVATE -Wl,-z,defs)
endif()

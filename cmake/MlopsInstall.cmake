# install, find_package(mlops CONFIG), pkg-config. The library is shared and hides what it links, so a consumer needs
# none of our dependencies' development files. Components: runtime (library, command), dev (headers, cmake, .pc).
include(CMakePackageConfigHelpers)
set(mlops_cmakedir ${CMAKE_INSTALL_LIBDIR}/cmake/mlops)

install(TARGETS mlops EXPORT mlopsTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/mlops DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
  FILES_MATCHING PATTERN "*.h")
if(TARGET mlops_cli)
  set_target_properties(mlops_cli PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS mlops_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
  # The command itself prints its manual page and its completions, where it can run as it is.
  if(NOT CMAKE_CROSSCOMPILING AND NOT MLOPS_SANITIZE)
    set(mlops_printed)
    foreach(one IN ITEMS "man|man1/mlops.1|${CMAKE_INSTALL_MANDIR}/man1"
        "completions bash|bash/mlops|${CMAKE_INSTALL_DATADIR}/bash-completion/completions"
        "completions zsh|zsh/_mlops|${CMAKE_INSTALL_DATADIR}/zsh/site-functions"
        "completions fish|fish/mlops.fish|${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
      string(REPLACE "|" ";" one "${one}")
      list(GET one 0 words)
      list(GET one 1 file)
      list(GET one 2 folder)
      separate_arguments(words)
      set(file ${PROJECT_BINARY_DIR}/share/${file})
      cmake_path(GET file PARENT_PATH parent)
      file(MAKE_DIRECTORY ${parent})
      add_custom_command(OUTPUT ${file} COMMAND mlops_cli ${words} > ${file}.new
        COMMAND ${CMAKE_COMMAND} -E rename ${file}.new ${file} DEPENDS mlops_cli COMMENT "mlops ${words}" VERBATIM)
      install(FILES ${file} DESTINATION ${folder} COMPONENT runtime)
      list(APPEND mlops_printed ${file})
    endforeach()
    add_custom_target(mlops_printed ALL DEPENDS ${mlops_printed})
  endif()
endif()
install(EXPORT mlopsTargets NAMESPACE mlops:: DESTINATION ${mlops_cmakedir} COMPONENT dev)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mlopsConfig.cmake.in
  ${PROJECT_BINARY_DIR}/mlopsConfig.cmake INSTALL_DESTINATION ${mlops_cmakedir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mlopsConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mlopsConfig.cmake ${PROJECT_BINARY_DIR}/mlopsConfigVersion.cmake
  DESTINATION ${mlops_cmakedir} COMPONENT dev)

# ${pcfiledir} makes the prefix relocatable; below /usr Debian's libdir is lib/<multiarch>.
file(RELATIVE_PATH MLOPS_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/mlops.pc.in ${PROJECT_BINARY_DIR}/mlops.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mlops.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

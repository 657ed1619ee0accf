# What `cmake --install` puts where, by component: lib, dev, program, mpi. cmake/debs.cmake makes a
# Debian package of each.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME program)
install(TARGETS capscl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS capscl_shared EXPORT capscl
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT lib NAMELINK_COMPONENT dev)
install(TARGETS capscl_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
install(DIRECTORY include/capscl DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
if(TARGET capscl_mpi)
  install(TARGETS capscl_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/capscl COMPONENT mpi)
endif()

# For find_package(capscl) and pkg-config. Until 1.0 a minor version may break programs.
include(CMakePackageConfigHelpers)
set(compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatibility SameMinorVersion)
endif()
install(EXPORT capscl NAMESPACE capscl:: FILE capscl-targets.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/capscl COMPONENT dev)
configure_file(cmake/capscl-config.cmake.in ${PROJECT_BINARY_DIR}/capscl-config.cmake @ONLY)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/capscl-config-version.cmake
                                 COMPATIBILITY ${compatibility})
# Relative, so that an installation may be moved, and `cmake --install --prefix` works.
file(RELATIVE_PATH capscl_pc_to_prefix /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
configure_file(cmake/capscl.pc.in ${PROJECT_BINARY_DIR}/capscl.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/capscl-config.cmake ${PROJECT_BINARY_DIR}/capscl-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/capscl COMPONENT dev)
install(FILES ${PROJECT_BINARY_DIR}/capscl.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

# Debian's zsh looks for the scripts of packages elsewhere than for those of /usr/local.
set(zsh_folder ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version)
  set(zsh_folder ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
endif()
install(DIRECTORY ${PROJECT_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
        FILES_MATCHING PATTERN "*.1*")
install(FILES ${PROJECT_BINARY_DIR}/completion/capscl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${PROJECT_BINARY_DIR}/completion/_capscl DESTINATION ${zsh_folder})
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES examples/own_context.c examples/train_api.c
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libcapscl-dev/examples COMPONENT dev)

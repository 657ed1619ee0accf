# Debian packages by CPack, one of each component (docs/packages.md); scripts/make-debs runs it.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME capscl)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
if("$ENV{DEBEMAIL}" STREQUAL "")
  set(CPACK_PACKAGE_CONTACT "The capscl authors <noreply@capscl.invalid>")
elseif("$ENV{DEBFULLNAME}" STREQUAL "")
  set(CPACK_PACKAGE_CONTACT "The capscl authors <$ENV{DEBEMAIL}>")
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_COMPONENTS_ALL lib dev program)
if(TARGET capscl_mpi)
  list(APPEND CPACK_COMPONENTS_ALL mpi)
endif()
set(deb_version ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})
set(lib_package libcapscl${CAPSCL_SOVERSION})

set(CPACK_DEBIAN_LIB_PACKAGE_NAME ${lib_package})
set(CPACK_DEBIAN_LIB_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIB_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_LIB_PACKAGE_RECOMMENDS "pocl-opencl-icd | opencl-icd")
set(CPACK_DEBIAN_LIB_DESCRIPTION "capsule networks on any OpenCL device: library
Trains and runs capsule networks (dynamic and EM routing) on GPUs of any
vendor and on plain CPUs, by OpenCL kernels, forward and backward.

This package has the shared library.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libcapscl-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
string(CONCAT CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "${lib_package} (= ${deb_version}), "
       "ocl-icd-opencl-dev | opencl-dev, opencl-c-headers | opencl-headers, libclblast-dev, "
       "libjansson-dev, libjpeg-dev, libpng-dev, zlib1g-dev")
set(CPACK_DEBIAN_DEV_DESCRIPTION "capsule networks on any OpenCL device: development files
Trains and runs capsule networks (dynamic and EM routing) on GPUs of any
vendor and on plain CPUs, by OpenCL kernels, forward and backward.

This package has the headers, the static library, examples, and files for
pkg-config and CMake.")

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME capscl)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
if(MICROHTTPD_FOUND) # it is loaded at run time, so that dpkg-shlibdeps does not see it
  execute_process(COMMAND dpkg-query -S ${microhttpd_file} OUTPUT_VARIABLE owner COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "[:,].*" "" CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS "${owner}")
endif()
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS "pocl-opencl-icd | opencl-icd")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "dataset-fashion-mnist")
set(CPACK_DEBIAN_PROGRAM_DESCRIPTION "capsule networks on any OpenCL device: program
Trains and runs capsule networks (dynamic and EM routing) on GPUs of any
vendor and on plain CPUs, by OpenCL kernels, forward and backward.

This package has the program capscl: it trains, evaluates, draws what a
network has learnt, and measures devices.")

set(CPACK_DEBIAN_MPI_PACKAGE_NAME capscl-mpi)
set(CPACK_DEBIAN_MPI_PACKAGE_SECTION science)
set(CPACK_DEBIAN_MPI_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_MPI_PACKAGE_DEPENDS "capscl (= ${deb_version}) | ${lib_package} (= ${deb_version})")
set(CPACK_DEBIAN_MPI_PACKAGE_RECOMMENDS "openmpi-bin")
set(CPACK_DEBIAN_MPI_DESCRIPTION "capsule networks on any OpenCL device: several machines
Trains and runs capsule networks (dynamic and EM routing) on GPUs of any
vendor and on plain CPUs, by OpenCL kernels, forward and backward.

This package has the module by which trainings under mpirun or srun exchange
gradients.")

# ---- the control files of the library: what programs that are built with it depend on
set(deb_folder ${PROJECT_BINARY_DIR}/debian)
set(at_most "")
if(PROJECT_VERSION_MAJOR EQUAL 0) # until 1.0 a minor version may break programs
  math(EXPR next_minor "${PROJECT_VERSION_MINOR} + 1")
  set(at_most ", ${lib_package} (<< 0.${next_minor}~)")
endif()
set(symbols "libcapscl.so.${CAPSCL_SOVERSION} ${lib_package} #MINVER#${at_most}\n")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tests/abi/symbols.txt)
file(STRINGS tests/abi/symbols.txt exported)
foreach(symbol IN LISTS exported)
  string(APPEND symbols " ${symbol}@Base ${PROJECT_VERSION}\n")
endforeach()
file(WRITE ${deb_folder}/symbols "${symbols}")
set(shlibs "libcapscl ${CAPSCL_SOVERSION} ${lib_package} (>= ${PROJECT_VERSION})${at_most}\n")
file(WRITE ${deb_folder}/shlibs "${shlibs}")
file(WRITE ${deb_folder}/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIB_PACKAGE_CONTROL_EXTRA ${deb_folder}/symbols ${deb_folder}/shlibs ${deb_folder}/triggers)

# ---- documents that every package has
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # of $SOURCE_DATE_EPOCH where it is set
file(WRITE ${deb_folder}/changelog.Debian
     "capscl (${deb_version}) unstable; urgency=medium\n\n  * See changelog.gz of capscl.\n\n"
     " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
configure_file(CHANGELOG.md ${deb_folder}/changelog COPYONLY)
execute_process(COMMAND gzip -9nf ${deb_folder}/changelog.Debian ${deb_folder}/changelog
                COMMAND_ERROR_IS_FATAL ANY)
configure_file(cmake/copyright.in ${deb_folder}/copyright @ONLY)
install(FILES ${deb_folder}/changelog.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/capscl)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  install(FILES ${deb_folder}/copyright ${deb_folder}/changelog.Debian.gz
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
  set(overrides "# Not made for Debian's archive, so that no bug waits for it.\n"
      "${package}: initial-upload-closes-no-bugs *\n")
  if(component STREQUAL "lib")
    list(APPEND overrides "# CPack writes these scripts, for Debians without triggers.\n"
         "${package}: maintscript-calls-ldconfig *\n")
  endif()
  file(WRITE ${deb_folder}/overrides/${package} ${overrides})
  install(FILES ${deb_folder}/overrides/${package} DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides
          COMPONENT ${component})
endforeach()
include(CPack)

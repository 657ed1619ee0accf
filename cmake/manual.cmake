# Writes manual pages (OUT/man/*.1.gz) and completion scripts (OUT/completion/) as PROGRAM prints them.
#
#   cmake -DPROGRAM=build/capscl -DOUT=build [-DGZIP=/usr/bin/gzip] -P cmake/manual.cmake
set(ENV{ASAN_OPTIONS} detect_leaks=0)

# Prints into a file. The arguments are those of the program.
function(print_into file)
  execute_process(COMMAND ${PROGRAM} ${ARGN} OUTPUT_FILE ${file} RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    file(REMOVE ${file})
    message(FATAL_ERROR "${PROGRAM} ${ARGN}: exit code ${code}")
  endif()
endfunction()

file(REMOVE_RECURSE ${OUT}/man ${OUT}/completion)
file(MAKE_DIRECTORY ${OUT}/man ${OUT}/completion)
# The rows of the overview's table.
execute_process(COMMAND ${PROGRAM} help OUTPUT_VARIABLE overview RESULT_VARIABLE code)
string(REGEX MATCH "\nsubcommands:\n(  [^\n]*\n)+" rows "${overview}")
string(REGEX MATCHALL "\n  [a-z0-9-]+" names "${rows}")
if(NOT code EQUAL 0 OR NOT names)
  message(FATAL_ERROR "${PROGRAM} help: exit code ${code}, or no subcommands")
endif()
print_into(${OUT}/man/capscl.1 help --man)
foreach(name IN LISTS names)
  string(STRIP "${name}" name)
  print_into(${OUT}/man/capscl-${name}.1 help ${name} --man)
endforeach()
print_into(${OUT}/completion/capscl help --completion bash)
print_into(${OUT}/completion/_capscl help --completion zsh)
if(GZIP)
  file(GLOB pages ${OUT}/man/*.1)
  execute_process(COMMAND ${GZIP} -9n ${pages} RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${GZIP}: exit code ${code}")
  endif()
endif()
file(TOUCH ${OUT}/man/made)

# shellcheck shell=bash
# Python modules in a package: compiled when the package is built, so that nothing is compiled on a node.

# compile_python INTERPRETER DIRECTORY...: hash-based pycs that are not checked against their source (packages never
# change), whose file names are those on the node, whatever directory the package was built in. -B and -f: an interpreter
# that compiles its own library would otherwise leave what it imported with a time in it, and compileall would keep it.
compile_python() {
    local interpreter=$1
    shift
    "$interpreter" -I -B -m compileall -q -f -j 1 --invalidation-mode unchecked-hash \
        -s "$PKG_PATH" -p "$PKG_INSTALL_PATH" "$@"
}

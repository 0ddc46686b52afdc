# shellcheck shell=bash
# Programs out of Debian packages, made to live in a package of ours.
#
# A recipe sources this file (a `local` source, so its text is part of the package's id). What a program needs comes
# from the recipe's other sources, is copied to usr/lib/ (private to the package: nothing of it is linked into
# /opt/mesosphere/lib) and is found there by a RUNPATH relative to the file, wherever the package stands. glibc is the
# node's: a loader and a libc of ours would not know the node's users, hosts and locales.

glibc=' ld-linux-x86-64.so.2 libc.so.6 libdl.so.2 libm.so.6 libpthread.so.0 libresolv.so.2 librt.so.1 libutil.so.1 '

patch_elf() {
    local multiarch=usr/lib/x86_64-linux-gnu
    LD_LIBRARY_PATH="$PKG_SRC/libstdc++6/$multiarch:$PKG_SRC/libgcc-s1/lib/x86_64-linux-gnu" \
        "$PKG_SRC/patchelf/usr/bin/patchelf" "$@"
}

# copyright_of SOURCE: the licence of what is shipped goes with it. Debian links some doc directories to another package's.
copyright_of() {
    local doc="$PKG_SRC/$1/usr/share/doc" kept="$PKG_PATH/usr/share/doc/$1" name target
    [ ! -e "$kept" ] || return 0
    name=$(ls "$doc")
    if [ -L "$doc/$name" ]; then
        target=$(readlink "$doc/$name")
        doc="$PKG_SRC/$target/usr/share/doc" name=$target
    fi
    install -D -m 644 "$doc/$name/copyright" "$kept/copyright"
}

# install_program SOURCE PATH DESTINATION: a program of a Debian package, in the package at DESTINATION.
install_program() {
    install -D -m 755 "$PKG_SRC/$1/$2" "$PKG_PATH/$3"
    copyright_of "$1"
}

# provide_library SONAME: copies the library from the first source that has it; prints where it stands now.
provide_library() {
    local found source kept="$PKG_PATH/usr/lib/$1"
    for found in "$PKG_SRC"/*/{usr/,}lib/x86_64-linux-gnu/"$1"; do
        [ -e "$found" ] || continue
        install -D -m 644 "$found" "$kept"
        source=${found#"$PKG_SRC/"}
        copyright_of "${source%%/*}"
        echo "$kept"
        return
    done
    echo "no source of this recipe has $1: add the Debian package it comes from" >&2
    return 1
}

# bundle_libraries FILE...: every library the files need, and what those need, down to glibc; sets the RUNPATHs.
bundle_libraries() {
    local todo=("$@") file name needed own
    while [ ${#todo[@]} -gt 0 ]; do
        file=${todo[0]} todo=("${todo[@]:1}") own=
        needed=$(patch_elf --print-needed "$file")
        for name in $needed; do
            [[ $glibc != *" $name "* ]] || continue
            own=yes
            [ -e "$PKG_PATH/usr/lib/$name" ] || todo+=("$(provide_library "$name")")
        done
        if [ -n "$own" ]; then
            # shellcheck disable=SC2016  # the loader expands $ORIGIN
            patch_elf --set-rpath '$ORIGIN/'"$(realpath --relative-to="$(dirname "$file")" "$PKG_PATH/usr/lib")" "$file"
        fi
    done
}

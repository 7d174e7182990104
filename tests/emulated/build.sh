#!/bin/sh
# usage: build.sh PYTHON COMPILER FOLDER
# Builds the package for the processor of FOLDER/debian into FOLDER/lib, with PYTHON's setuptools and Cython.
set -eu
python=$1 compiler=$2 folder=$(realpath "$3")
headers=$(echo "$folder"/debian/usr/include/python3.*)
cd "$(dirname "$0")/../.."
TINYNET_WERROR=1 CC=$compiler LDSHARED="$compiler -shared" SETUPTOOLS_EXT_SUFFIX=.so \
    CFLAGS="--sysroot=$folder/debian -I$headers" \
    "$python" setup.py -q build --build-base "$folder/build" --build-lib "$folder/lib"

#!/bin/sh
# usage: python.sh "QEMU WITH OPTIONS" FOLDER [ARGUMENTS OF PYTHON ...]
# Runs the Python of FOLDER/debian on the package in FOLDER/lib.
set -eu
qemu=$1 folder=$(realpath "$2")
shift 2
unset PYTHONDONTWRITEBYTECODE # compiling anew what a test imports takes a minute under emulation
PYTHONPATH="$folder/lib" exec $qemu -L "$folder/debian" "$folder/debian/usr/bin/python3" -P "$@"

#!/bin/sh
# usage: debian.sh ARCHITECTURE FOLDER
# Unpacks Debian's packages of Python, numpy, pytest and hypothesis for another processor into FOLDER/debian, by apt with state of
# its own: nothing is installed, and no root rights are needed.  The mirror is the one that this machine uses for Debian.
set -eu
architecture=$1 folder=$(realpath -m "$2")
suite=trixie # the first whose numpy (2.2) is as new as pyproject.toml asks for
packages="python3-numpy python3-pytest python3-hypothesis libpython3-dev"

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -z "$mirror" ] || [ ! -e $keys ]; then
    echo "$0: needs the package lists and the keys of Debian: make arm-packages" >&2
    exit 1
fi

rm -rf "$folder/debian" "$folder/new" "$folder/apt"
mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/new/usr/lib"
: > "$folder/apt/status"
echo "deb [signed-by=$keys] $mirror $suite main" > "$folder/apt/sources.list"
cat > "$folder/apt/conf" <<END
#clear APT::Architectures;
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::State "$folder/apt";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt";
Dir::Cache::archives "archives";
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
END
export APT_CONFIG="$folder/apt/conf"
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq --yes --download-only install $packages
ln -s usr/lib "$folder/new/lib"
for package in "$folder"/apt/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder/new"
done
# What update-alternatives would do.
for library in libblas.so.3 liblapack.so.3; do
    at=$(find "$folder/new/usr/lib" -name $library)
    ln -s "$(basename "$(dirname "$at")")/$library" "$(dirname "$(dirname "$at")")"
done
rm -rf "$folder/apt"
mv "$folder/new" "$folder/debian"

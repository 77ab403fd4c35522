#!/bin/sh
# Puts promtool, the checker of Prometheus' rules, into a folder: get_promtool.sh .venv/bin
# Nothing is installed on the machine: the Debian package is only unpacked, and no service starts.
set -eu
folder=$1
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ -x "$folder/promtool" ]; then
    exit 0
fi
if found=$(command -v promtool); then
    ln -s "$found" "$folder/promtool"
    exit 0
fi

explain() {
    cat >&2 <<TEXT
promtool was not found and could not be fetched ($1). Either install Prometheus 2.42 or newer so that promtool is
on PATH, or take promtool from a release at https://prometheus.io/download/ and put it into $folder.
TEXT
    exit 1
}

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || explain "there is no $tool here"
done
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
# apt fetches as a user of its own, who must be able to write here.
chmod 755 "$unpacked"
cd "$unpacked"
# A machine that was never updated knows no packages; updating needs root.
apt-get -qq download prometheus 2>/dev/null \
    || { apt-get -qq update && apt-get -qq download prometheus; } \
    || explain "apt-get could not download the package prometheus"
dpkg-deb -x prometheus_*.deb .
# Renamed into place, so that a second run at the same time finds all of it or nothing.
cp usr/bin/promtool "$folder/.promtool.$$"
mv "$folder/.promtool.$$" "$folder/promtool"

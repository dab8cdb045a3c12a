#!/usr/bin/env bash
# Runs a tool of cargo's that is no part of it, in the version that is pinned here, and installs it first where it is not there:
#
#   scripts/cargo-tool.sh deny check licenses        what crates may be in a build (some 5 minutes to build it)
#   scripts/cargo-tool.sh cyclonedx --format json    what crates are in a build (2 minutes)
#
# It lies in ${XDG_CACHE_HOME:-~/.cache}/windlass/cargo-NAME-VERSION/bin. It is built without optimisation: it is quick enough so, and
# built in a third of the time.
set -euo pipefail

name=${1:?usage: cargo-tool.sh NAME ARGUMENT...}
shift
case $name in
  deny) version=0.20.2 ;;
  cyclonedx) version=0.5.9 ;;
  *)
    echo "'$name' is none of deny and cyclonedx" >&2
    exit 64
    ;;
esac

cache=${XDG_CACHE_HOME:-$HOME/.cache}/windlass
place=$cache/cargo-$name-$version
mkdir -p "$cache/locks"
exec 9>"$cache/locks/cargo-$name"
flock 9
if [[ ! -x $place/bin/cargo-$name ]]; then
  echo "Building cargo-$name $version" >&2
  # What the project's own programs are built with is none of its business.
  env -u RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$place/target" CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install --quiet --locked --debug --root "$place" "cargo-$name" --version "$version" >&2
  rm -rf "$place/target"
fi
exec 9>&-
exec "$place/bin/cargo-$name" "$name" "$@"

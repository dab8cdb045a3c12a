#!/usr/bin/env bash
# Builds a program twice from the same commit, in folders of different names and lengths with nothing in common, and compares the bytes:
#
#   scripts/reproducible.sh [PACKAGE [PROGRAM]]     without one, the operator (some 10 minutes)
#
# PACKAGE is one of the workspace, and PROGRAM one of its binaries; by default that of its name. It ends with 1 where they differ.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=${1:-windlass}
program=${2:-$package}
target=${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # where
  mkdir -p "$work/$1"
  git archive HEAD | tar -x -C "$work/$1"
  # Where the sources and the crates lie is in panics' messages otherwise.
  (cd "$work/$1" && CARGO_TARGET_DIR="$work/$1/target" CARGO_INCREMENTAL=0 \
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$work/$1=/windlass --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo build --quiet --locked --release --target "$target" --package "$package" --bin "$program")
  sha256sum <"$work/$1/target/$target/release/$program" | cut -d' ' -f1
}

first=$(build a)
second=$(build another/folder/of/a/longer/name)
echo "$program: $first, $second"
if [[ $first != "$second" ]]; then
  echo "two builds of $program differ" >&2
  cmp "$work/a/target/$target/release/$program" "$work/another/folder/of/a/longer/name/target/$target/release/$program" >&2 || true
  exit 1
fi
if strings "$work/a/target/$target/release/$program" | grep -qF "$work"; then
  echo "$program names the folder that it was built in" >&2
  exit 1
fi

#!/usr/bin/env bash
# Makes cargo's shared target folder this checkout's.
#
# All checkouts of a user build in one folder, so that dependencies are built once. Cargo tells what is out of date by
# the time of the files alone: after another checkout built here, it would take that one's crates for this one's
# wherever its files are the newer. So the workspace's own crates are built anew whenever the checkout changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

claimed=${CARGO_TARGET_DIR:?is set by the Makefile}/checkout
if [[ -d $CARGO_TARGET_DIR && $(cat "$claimed" 2>/dev/null) != "$PWD" ]]; then
  echo "The target folder was last used by another checkout: the workspace's own crates are built anew."
  crates=()
  for crate in $(cargo metadata --locked --no-deps --format-version 1 | python3 -c \
    'import json, sys; print(*[package["name"] for package in json.load(sys.stdin)["packages"]])'); do
    crates+=(--package "$crate")
  done
  cargo clean --quiet --locked ${CARGO_BUILD_TARGET:+--target "$CARGO_BUILD_TARGET"} "${crates[@]}"
  cargo clean --quiet --locked --release ${CARGO_BUILD_TARGET:+--target "$CARGO_BUILD_TARGET"} "${crates[@]}"
fi
mkdir -p "$CARGO_TARGET_DIR"
echo "$PWD" >"$claimed"

#!/usr/bin/env bash
# Runs what `make bench-drift` has built, beside the peers that can be had, and writes target/bench/drift.json.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}
program=$(find "$target/release/deps" -maxdepth 1 -name 'drift_data-*' -type f -executable -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
peers=()
for peer in evidently nannyml whylogs; do
  if place=$(scripts/install-servers.sh "$peer"); then
    peers+=("$peer=$place/bin/python")
  fi
done
python3 crates/agent/benches/drift/drift.py "$target/release/windlass-agent" "$program" target/bench/drift.json "${peers[@]}"

#!/usr/bin/env bash
# Writes what the images are made of, as CycloneDX 1.5:
#
#   scripts/sbom.sh OUTDIR
#     OUTDIR/windlass.cdx.json         the crates in the operator's program
#     OUTDIR/windlass-agent.cdx.json   the crates in the agent's programs
#
# Both images hold these static programs and nothing else. What is compiled in is named, in the versions of Cargo.lock, and the
# procedural macros that wrote some of it: no other tool of the build, and nothing of another target. Features are those that any crate
# of the workspace asks for, so that some are named that a program leaves out; none is missing. The same commit gives the same bytes.
set -euo pipefail
mkdir -p "${1:?usage: sbom.sh OUTDIR}"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}

# It knows no --locked, and would write a lock file that is out of date anew.
cargo metadata --locked --format-version 1 >/dev/null
# It writes beside each manifest of the workspace.
rm -f ./*.cdx.json crates/*/*.cdx.json
trap 'rm -f ./*.cdx.json crates/*/*.cdx.json' EXIT
# Then it dates them so, and gives them no random number.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} \
  scripts/cargo-tool.sh cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps --override-filename sbom.cdx
# Where the checkout lies is nobody's business.
sed "s|file://$PWD|file:///windlass|g" sbom.cdx.json >"$out/windlass.cdx.json"
sed "s|file://$PWD|file:///windlass|g" crates/agent/sbom.cdx.json >"$out/windlass-agent.cdx.json"

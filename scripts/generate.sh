#!/usr/bin/env bash
# Makes what is generated from what is written:
#
#   crates/api ──> crds/ ──> charts/windlass/files/crds/
#   charts/windlass ──> deploy/default/ (but namespace.yaml) ──> deploy/windlass.yaml
#
# With --check, nothing is written; it ends with 1 and the differences where something is out of date.
# HELM and KUBECTL name the programs; by default those of the test cluster are used, and built if need be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

testcluster() { cargo run --quiet --package windlass-testcluster --bin testcluster -- "$@"; }
helm=${HELM:-$(testcluster which helm)}
kubectl=${KUBECTL:-$(testcluster which kubectl)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/crds" "$work/deploy/default"

cargo run --quiet --package windlass-api --example generate-crds -- "$work/crds" >/dev/null

# The chart, with the CRDs as they are to be.
cp -R charts/windlass "$work/chart"
rm -rf "$work/chart/files/crds"
mkdir -p "$work/chart/files/crds"
cp "$work"/crds/*.yaml "$work/chart/files/crds/"
"$helm" template windlass "$work/chart" --namespace windlass-system --output-dir "$work/rendered" >/dev/null

default=$work/deploy/default
cp deploy/default/namespace.yaml "$default/"
{
  echo "# Made by scripts/generate.sh from charts/windlass. To change something, write an overlay, see docs/installation.md."
  echo "apiVersion: kustomize.config.k8s.io/v1beta1"
  echo "kind: Kustomization"
  echo "resources:"
  echo "- namespace.yaml"
  for file in "$work"/rendered/windlass/templates/*.yaml; do
    name=$(basename "$file")
    # Helm's comments say where it found a template; nobody needs them here.
    { echo "# Made by scripts/generate.sh from charts/windlass."; sed -e '/^# Source: /d' -e 's/[[:space:]]*$//' "$file" | cat -s | sed '1{/^---$/d}'; } >"$default/$name"
    echo "- $name"
  done
} >"$default/kustomization.yaml"
{
  echo "# Made by scripts/generate.sh from charts/windlass: kubectl apply -f windlass.yaml"
  "$kubectl" kustomize "$default"
} >"$work/deploy/windlass.yaml"

outdated=0
put() { # what was made, where it belongs
  if [[ ${check:-} ]]; then
    diff -ruN "$2" "$1" || outdated=1
  elif [[ -d $1 ]]; then
    mkdir -p "$2"
    rm -f "$2"/*.yaml
    cp "$1"/*.yaml "$2/"
  else
    cp "$1" "$2"
  fi
}
[[ ${1:-} == --check ]] && check=yes
put "$work/crds" crds
put "$work/chart/files/crds" charts/windlass/files/crds
put "$default" deploy/default
put "$work/deploy/windlass.yaml" deploy/windlass.yaml
exit "$outdated"

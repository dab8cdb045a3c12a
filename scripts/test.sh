#!/usr/bin/env bash
# All tests of the workspace, in two rows beside each other: those on a real node mostly wait for it, and so leave room for
# the others. What the first row says is shown as it comes, what the second said when the first has ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The names of the test targets that bring up a node; a name stands for that target of every crate.
on_node=(bad_input devices frameworks gateway idle_gpus loop mlflow node queues rollouts training)

mapfile -t targets < <(cargo metadata --locked --no-deps --format-version 1 | python3 -c \
  'import json, sys; print(*sorted({target["name"] for package in json.load(sys.stdin)["packages"]
   for target in package["targets"] if "test" in target["kind"]}), sep="\n")')
first=() second=(--lib --bins)
for target in "${targets[@]}"; do
  if [[ " ${on_node[*]} " == *" $target "* ]]; then first+=(--test "$target"); else second+=(--test "$target"); fi
done
if ((${#first[@]} != 2 * ${#on_node[@]})); then
  echo "scripts/test.sh names tests that are not there: ${on_node[*]}" >&2
  exit 2
fi

# Built before anything runs, so that no test waits for the compiler.
cargo test --locked --workspace --no-run
log=$(mktemp)
# The second row is a group of processes of its own, which goes with this one.
trap 'rm -f "$log"; [[ -z ${row:-} ]] || kill -- "-$row" 2>/dev/null || true' EXIT
set -m
{
  failed=0
  cargo test --locked --workspace --no-fail-fast "${second[@]}" -- --test-threads=2 || failed=$?
  cargo test --locked --workspace --no-fail-fast --doc || failed=$?
  exit "$failed"
} >"$log" 2>&1 &
row=$!
set +m
failed=0
cargo test --locked --workspace --no-fail-fast "${first[@]}" -- --test-threads=2 || failed=$?
echo "The tests that need no node:"
tail -n +1 -f --pid="$row" "$log"
wait "$row" || failed=$?
row=
exit "$failed"

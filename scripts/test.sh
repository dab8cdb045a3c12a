#!/usr/bin/env bash
# All tests of the workspace. Those of the operator before an API server mostly wait, and run beside those that need no
# cluster; those on a real node, and those that have many operators at once, take all that the machine has, and run alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Names of test targets; each stands for that target of every crate.
beside=(operator)
alone=(bad_input crashes devices faults frameworks gateway idle_gpus loop mlflow node queues rollouts training)

mapfile -t targets < <(cargo metadata --locked --no-deps --format-version 1 | python3 -c \
  'import json, sys; print(*sorted({target["name"] for package in json.load(sys.stdin)["packages"]
   for target in package["targets"] if "test" in target["kind"]}), sep="\n")')
first=(--lib --bins) second=() third=()
for target in "${targets[@]}"; do
  case " ${beside[*]} | ${alone[*]} " in
    *" $target "*"|"*) second+=(--test "$target") ;;
    *"|"*" $target "*) third+=(--test "$target") ;;
    *) first+=(--test "$target") ;;
  esac
done
if ((${#second[@]} != 2 * ${#beside[@]} || ${#third[@]} != 2 * ${#alone[@]})); then
  echo "scripts/test.sh names tests that are not there: ${beside[*]} ${alone[*]}" >&2
  exit 2
fi

# Built before anything runs, so that no test waits for the compiler.
cargo test --locked --workspace --no-run
run=(cargo test --locked --workspace --no-fail-fast)
log=$(mktemp)
# What runs beside is a group of processes of its own, which goes with this one.
trap 'rm -f "$log"; [[ -z ${row:-} ]] || kill -- "-$row" 2>/dev/null || true' EXIT
set -m
"${run[@]}" "${second[@]}" -- --test-threads=2 >"$log" 2>&1 &
row=$!
set +m
failed=0
"${run[@]}" "${first[@]}" -- --test-threads=2 || failed=$?
"${run[@]}" --doc || failed=$?
echo "Beside them: ${beside[*]}"
tail -n +1 -f --pid="$row" "$log"
wait "$row" || failed=$?
row=
"${run[@]}" "${third[@]}" -- --test-threads=2 || failed=$?
exit "$failed"

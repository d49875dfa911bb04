#!/usr/bin/env bash
# Format, lints, documentation's links, every test (those that need real counterparts included), then one line: N passed, N failed.
# Lints see the program as it is built by default, and with every feature; tests are built once, with every feature.
set -uo pipefail
cd "$(dirname "$0")/.."

features=(--features cli/gssapi)
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() { # name, command…
  local name=$1
  shift
  printf '== %s\n' "$name"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); printf 'FAILED: %s\n' "$name"; fi
}

tests() { # name, cargo test arguments…
  local name=$1 status
  shift
  printf '== %s\n' "$name"
  cargo test --locked --no-fail-fast "${features[@]}" "$@" 2>&1 | tee "$log" | grep -vE '^(test .* \.\.\. (ok|ignored)|running [0-9]+ tests?|)$'
  status=${PIPESTATUS[0]}
  while read -r ok bad; do
    passed=$((passed + ok))
    failed=$((failed + bad))
  done < <(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed.*/\1 \2/p' "$log")
  if [ "$status" != 0 ] && ! grep -q 'test result: FAILED' "$log"; then
    failed=$((failed + 1))
    printf 'FAILED: %s did not build or run\n' "$name"
  fi
}

step "format" cargo fmt --all --check
step "lints" cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
step "lints with every feature" cargo clippy --locked --workspace --all-targets "${features[@]}" --quiet -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet
step "house rules" cargo run --locked --quiet -p xtask -- tidy
tests "tests" --workspace --all-targets
tests "documentation examples" --workspace --doc
tests "real counterparts" --workspace --tests -- --ignored --test-threads=1

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

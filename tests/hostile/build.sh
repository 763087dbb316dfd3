#!/bin/sh
# Builds the malicious engines into target/hostile/<name>.wasm (or below
# CARGO_TARGET_DIR), for the host's
# tests. CARGO may name another cargo, with its target's standard library.
set -eu
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
target=../../engines-wasm/target/wasm32-wasip2/release/examples
out=${CARGO_TARGET_DIR:-../../target}/hostile
"$cargo" build --quiet --release --target wasm32-wasip2 --target-dir ../../engines-wasm/target --examples
mkdir -p "$out"
for source in examples/*.rs; do
    name=$(basename "$source" .rs)
    # cargo names a library file with underscores.
    made=$target/$(echo "$name" | tr - _).wasm
    cmp -s "$made" "$out/$name.wasm" || cp "$made" "$out/$name.wasm"
done

#!/bin/sh
# Builds the pinned helm command (the peer that the helm engine is compared
# with) once into a cache outside the checkout, keyed by go.sum, and prints
# the path of the binary. About 70 s when cold, nothing when it is there.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
key=$(sha256sum "$here/go.sum" | cut -c1-16)
cache=${NESTOR_PEERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nestor/peers}
binary="$cache/helm-$key/helm"
if [ ! -x "$binary" ]; then
    echo "building helm (usually 70 s) into $binary" >&2
    mkdir -p "$cache/helm-$key"
    # Built beside its final name and moved: two callers at once never see a
    # half-written program.
    (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags="-s -w \
        -X helm.sh/helm/v4/internal/version.version=v4.3.1" \
        -o "$binary.$$" helm.sh/helm/v4/cmd/helm)
    mv "$binary.$$" "$binary"
fi
echo "$binary"

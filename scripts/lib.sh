# Shared by the scripts in this folder; sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_mode=${WEFT_BUILD:-release}

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Builds the daemon if needed, and sets weft to its path.
build_weft() {
    "$root/scripts/setup" --quiet
    local flags=()
    if [ "$build_mode" = release ]; then flags=(-c release --static-swift-stdlib --product weft); fi
    (cd "$root" && swift build "${flags[@]}" 2>&1 | grep -E 'error:|warning: unre|Build complete|Compiling|^\[' | tail -n 2) >&2
    weft="$root/.build/$build_mode/weft"
    [ -x "$weft" ] || die "the build failed; run swift build for its output"
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds.
wait_until() {
    local deadline=$(($(date +%s) + $1)); shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

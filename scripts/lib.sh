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

# The daemon is never root: what it is started with when root starts it.
service=()
if [ "$(id -u)" = 0 ]; then
    service=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all)
fi

# give_to_service PATH...: makes whom the daemon runs as the owner of what root put there.
give_to_service() { [ ${#service[@]} -eq 0 ] || chown -R 65534:65534 "$@"; }

# wait_until SECONDS COMMAND...: repeats the command until it succeeds.
wait_until() {
    local deadline=$(($(date +%s) + $1)); shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

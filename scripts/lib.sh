# Shared by the scripts: where things are, how a long step is shown.
# shellcheck shell=bash
# Source it: . "$(dirname "$0")/lib.sh"

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# What is installed for the project alone, kept across checkouts.
NESTOR_CACHE=${NESTOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nestor}
LOGS=$ROOT/.cache/log
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

# A checkout that is built once, as in CI, gains nothing from what rustc keeps
# for the next build, which is gigabytes.
[ -n "${CI:-}" ] && export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "error: $*"
    exit 1
}

# Seconds as people say them: 42 s, 3 min 10 s.
duration() {
    if [ "$1" -lt 60 ]; then printf '%d s' "$1"; else printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); fi
}

# Numbers steps when the caller set STEPS: [2/5].
STEP=0
STEPS=${STEPS:-0}

# step LOG "What is done" "how long it usually takes" "what to do when it fails" COMMAND...
# Output of the command goes to a log file; a line on screen says where it is.
# When it fails, the end of the log is shown, and the advice, and the script ends.
step() {
    local log=$LOGS/$1.log what=$2 usual=$3 advice=$4 number='' began status=0 pid tail_pid
    shift 4
    mkdir -p "$LOGS"
    STEP=$((STEP + 1))
    [ "$STEPS" -gt 0 ] && number="[$STEP/$STEPS] "
    say "$number$what (usually $usual)"
    began=$SECONDS
    ("$@") </dev/null >"$log" 2>&1 &
    pid=$!
    progress "$pid" "$log" &
    tail_pid=$!
    wait "$pid" || status=$?
    kill "$tail_pid" 2>/dev/null || true
    wait "$tail_pid" 2>/dev/null || true
    [ -t 1 ] && printf '\r\033[K'
    if [ "$status" -ne 0 ]; then
        warn "$number$what: failed with status $status after $(duration $((SECONDS - began)))."
        # What failed can be far above the end, when the rest went on.
        grep -nE '^error|panicked at|\.\.\. FAILED|^ *--- FAIL|^FAIL' "$log" | head -n 30 | sed 's/^/    /' >&2 || true
        warn "The end of $log:"
        tail -n 40 "$log" | sed 's/^/    /' >&2
        warn "What to do: $advice"
        exit "$status"
    fi
    say "    done in $(duration $((SECONDS - began)))"
}

# Shows the last line of a log while a process runs: in place on a terminal,
# else a line a minute, so that a build that is watched by nobody is not silent.
progress() {
    local pid=$1 log=$2 seconds=0 width line
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        line=$(tail -n 1 "$log" 2>/dev/null | tr -d '\r' | sed 's/\x1b\[[0-9;]*[A-Za-z]//g; s/^ *//')
        if [ -t 1 ]; then
            width=$(tput cols 2>/dev/null || echo 80)
            line="    $(duration "$seconds")  $line"
            printf '\r\033[K%s' "${line:0:$((width - 1))}"
        elif [ $((seconds % 60)) -eq 0 ]; then
            say "    … $(duration "$seconds"): ${line:0:100}"
        fi
    done
}

# What setup found: PATH with Go, which Rust toolchain. Quiet before setup ran.
load_environment() {
    # shellcheck source=/dev/null
    [ -f "$ROOT/.cache/env" ] && . "$ROOT/.cache/env"
    # Every run of cargo here, tests' own included, sees the same target folder.
    return 0
}

# The programs that tests and benchmarks compare with or drive, in variables
# that they read. What is on PATH is used; else the pinned Go module is built.
tofu_program() {
    command -v tofu || "$ROOT/scripts/peers" tofu
}
terraform_program() {
    if [ -n "${NESTOR_TERRAFORM:-}" ]; then
        echo "$NESTOR_TERRAFORM"
    else
        command -v tofu || command -v terraform || tofu_program
    fi
}

#!/usr/bin/env bash
# Checks style, types and behaviour. The first call makes `.venv` and installs into it.
#
#   ./launch/test.sh                # all but the slow tests, in two processes
#   ./launch/test.sh --slow         # all tests; installs PyTorch and, if possible, a browser
#   ./launch/test.sh -k lab -x      # arguments go to pytest, which then runs in one process
#
# Relative paths in the arguments are relative to the repository's root.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# Debian's browser, if it can be installed without asking.
prepare_browser() {
    if type chromium chromedriver &>/dev/null; then
        return
    fi
    if [[ $(id -u) != 0 ]] || ! type apt-get &>/dev/null; then
        say "no chromium with chromedriver: tests in a browser are skipped" \
            "(Debian: apt-get install chromium chromium-driver)"
        return
    fi
    say "installing chromium and chromium-driver, for tests in a browser"
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
                chromium chromium-driver
    } >.venv/browser.log 2>&1 </dev/null ||
        say "they cannot be installed (.venv/browser.log): tests in a browser are skipped"
}

case " $* " in
*" --slow "*)
    prepare_environment all test parity
    prepare_browser
    ;;
*)
    prepare_environment all test
    say "without --slow: no slow tests, and no comparison with PyTorch unless it is installed"
    ;;
esac
workers=()
if [[ $* == "" || $* == --slow ]]; then
    # A test that hangs or crashes is named and ends the run: a new worker would run it again.
    workers=(--numprocesses=2 --dist=loadfile --max-worker-restart=0)
fi

.venv/bin/python -m ruff check
.venv/bin/python -m ruff format --check
.venv/bin/python -m mypy
exec .venv/bin/python -m pytest "${workers[@]}" "$@"

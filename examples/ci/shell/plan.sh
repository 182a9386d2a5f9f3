#!/bin/sh
# plan.sh PATH: what applying PATH would do, in plan.json and as plan.md. Exits with
# 0 where there is nothing to do, 2 for changes, 6 where there is no safe plan.
set -eu
code=0
requorum plan --detailed-exitcode --out plan.json "$1" >&2 || code=$?
case $code in
  0 | 2 | 6) requorum show --format markdown plan.json > plan.md ;;
esac
exit "$code"

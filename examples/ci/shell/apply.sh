#!/bin/sh
# apply.sh DIGEST: carries out plan.json, if that is the plan with this digest. Exits
# as requorum apply does: 4 says that it has to be planned, and approved, anew.
set -eu
exec requorum apply --expect="${1:?the digest that was approved}" plan.json

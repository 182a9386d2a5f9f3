# What may be applied without a person who has looked at it: nothing that removes a
# member, loses data, or stops writes. conftest reads the plan that requorum saved:
#
#     requorum plan --out plan.json etcd
#     conftest test --policy examples/policy plan.json
package main

import rego.v1

deny contains msg if {
	input.refusal
	msg := sprintf("there is no safe plan: %s", [input.refusal.code])
}

deny contains msg if {
	input.loss.kind != "none"
	msg := input.loss.text
}

deny contains msg if {
	some need in input.needs
	msg := sprintf("it takes the consent %s: %s", [need.consent, need.why])
}

# Terraform's form: the same rule as for any other plan.
deny contains msg if {
	some r in input.resource_changes
	r.type == "etcd_member"
	r.change.actions == ["delete"]
	msg := sprintf("%s goes away (%s)", [r.address, r.action_reason])
}

deny contains msg if {
	some s in input.steps
	s.risk.level in {"downtime", "no-quorum"}
	msg := sprintf("step %d, %s: %s", [s.id, s.title, s.risk.text])
}

warn contains msg if {
	some s in input.steps
	s.risk.level == "no-margin"
	msg := sprintf("after step %d no further voter may fail", [s.id])
}

# What may be applied without a person who has looked at it: nothing that removes or
# replaces a member, loses data, stops writes, or can't be undone. conftest reads the plan
# that requorum saved:
#
#     requorum plan --out plan.json etcd
#     conftest test --policy examples/policy plan.json
#
# It says what is fine, and denies the rest: what a plan lacks, and what these rules do
# not know, is for a person. So each denial is "not" of a rule of its own: "not" of an
# expression says nothing where a part of that is missing.
package main

import rego.v1

fine_routes := {"in-sync", "start", "reconfigure"}

fine_kinds := {
	"adopt", "add-learner", "claim", "install", "join", "move-leader", "promote", "save-snapshot",
	"start", "stop", "trial", "unfence", "update-member", "verify",
}

fine_levels := {"none", "no-margin"}

# Whoever was made a voter can only be removed and added again: that is how a cluster
# grows, and no step back is wanted.
fine_for_good := {"promote"}

# Terraform's form: each has to be one of these as a whole, so that a replacement
# (delete and create, in either order) is none.
fine_actions := {["no-op"], ["create"], ["update"]}

fine_types := {"etcd_cluster", "etcd_member"}

deny contains "this is no plan of requorum's that these rules know" if not is_plan

is_plan if {
	is_object(input)
	regex.match(`^1\.[0-9]+$`, input.requorum_plan)
}

deny contains "the plan was not made from a cluster that was looked at" if not is_observed

is_observed if input.basis == "observed"

deny contains msg if {
	object.get(input, "refusal", null) != null
	msg := sprintf("there is no safe plan: %v", [word(input.refusal, "code")])
}

deny contains msg if {
	not fine_route
	msg := sprintf("the route %v is for a person", [word(input, "route")])
}

fine_route if input.route in fine_routes

deny contains msg if {
	not loses_nothing
	msg := sprintf("data may be lost: %v", [word(word(input, "loss"), "text")])
}

loses_nothing if input.loss.kind == "none"

deny contains "what the plan needs can't be read" if {
	needs := object.get(input, "needs", [])
	not is_array(needs)
}

deny contains msg if {
	some need in input.needs
	msg := sprintf("it takes the consent %v: %v", [word(need, "consent"), word(need, "why")])
}

deny contains "the plan does not say what changes" if not has_changes

has_changes if {
	is_array(input.resource_changes)
	count(input.resource_changes) > 0
}

deny contains msg if {
	some r in input.resource_changes
	not fine_change(r)
	msg := sprintf("%v: %v (%v)", [word(r, "address"), went(r), word(r, "action_reason")])
}

fine_change(r) if {
	r.type in fine_types
	r.change.actions in fine_actions
}

went(r) := "it goes away" if {
	r.change.actions == ["delete"]
} else := "it is replaced" if {
	"delete" in r.change.actions
} else := "what becomes of it these rules don't know"

deny contains "the plan does not say which steps it has" if not has_steps

has_steps if is_array(input.steps)

deny contains msg if {
	some s in input.steps
	not fine_step(s)
	risk := word(s, "risk")
	msg := sprintf("step %v, %v: %v, %v", [word(s, "id"), word(s, "kind"), word(risk, "level"), word(risk, "text")])
}

fine_step(s) if {
	s.kind in fine_kinds
	s.risk.level in fine_levels
}

fine_step(s) if {
	s.kind in fine_for_good
	s.risk.level == "irreversible"
}

# The worst of all steps, as requorum itself has it.
deny contains msg if {
	not fine_risk
	msg := sprintf("the plan's risk: %v", [word(word(input, "risk"), "level")])
}

fine_risk if input.risk.level in (fine_levels | {"irreversible"}) # which steps may be that is said above

warn contains msg if {
	some s in input.steps
	s.risk.level == "no-margin"
	msg := sprintf("after step %v no further voter may fail", [word(s, "id")])
}

# word is what a message says of x: a rule that lacks a word would not deny.
word(x, key) := object.get(x, key, "not said") if {
	is_object(x)
} else := "not said"

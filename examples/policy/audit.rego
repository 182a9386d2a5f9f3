# When a night's audit is fine: each file was looked at, nothing is broken, and nobody is
# without a backup. The rest is told as a warning.
#
#     requorum audit --format json --out audit.json fleet/*.hcl || true
#     conftest test --namespace audit --policy examples/policy audit.json
#
# As for plans, what a report lacks and what these rules do not know is denied.
package audit

import rego.v1

fine_severities := {"info", "warning"}

# Of these nobody waits until they are errors.
never_fine := {"backup-missing", "backup-old", "no-boot-start"}

deny contains "this is no audit of requorum's that these rules know" if not is_audit

is_audit if {
	is_object(input)
	regex.match(`^1\.[0-9]+$`, input.requorum_audit)
}

deny contains "no cluster was audited" if not has_clusters

has_clusters if {
	is_array(input.clusters)
	count(input.clusters) > 0
}

deny contains msg if {
	some c in input.clusters
	object.get(c, "problem", "") != ""
	msg := sprintf("%v could not be looked at: %v", [word(c, "path"), c.problem])
}

deny contains msg if {
	some c in input.clusters
	not is_array(object.get(c, "findings", null))
	msg := sprintf("%v: its findings are not said", [word(c, "path")])
}

deny contains msg if {
	some c in input.clusters
	some f in c.findings
	not fine(f)
	msg := sprintf("%v: %v %v: %v", [word(c, "cluster"), word(f, "code"), member(f), word(f, "fact")])
}

fine(f) if {
	f.severity in fine_severities
	is_string(f.code)
	not f.code in never_fine
}

warn contains msg if {
	some c in input.clusters
	some f in c.findings
	fine(f)
	f.severity == "warning"
	msg := sprintf("%v: %v", [word(c, "cluster"), f.code])
}

word(o, name) := object.get(o, name, "not said") if is_object(o)

word(o, _) := "not said" if not is_object(o)

member(f) := object.get(f, "member", "") if is_object(f)

member(f) := "" if not is_object(f)

package planner

// origin is the record of where the data of the cluster came from: of what was restored
// or recovered, where the directory beside the record is of that identity (S18). Members
// that were added since copied theirs from those. nil for a cluster that was begun empty,
// or that requorum did not restore.
func (b *builder) origin() *Provenance {
	for _, m := range b.members {
		p := m.provenance()
		if p == nil || !m.hasData() {
			continue
		}
		switch p.Kind {
		case ProvenanceRestore, ProvenanceRecover, ProvenanceForceNew:
			return p
		}
	}
	return nil
}
